// Asks DNS for the addresses behind a name, again and again.
// Thread: main. Lifetime: a Query stops when destroyed; a Resolver outlives its queries. Source: Envoy docs "upstream/dns_resolution".
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "source/config/cluster_spec.h"
#include "source/event/loop.h"

namespace outrider::upstream::dns {

struct Answer {
  bool ok = false;                       // false: the last addresses stay
  std::vector<base::Address> addresses;  // with the port 0
  base::Nanos ttl = 0;                   // the least; 0: not known
  std::string_view failure;              // static text
};

class Query;
class QueryOwner {
 public:
  virtual void onAnswer(Query& query, const Answer& answer) = 0;  // must not destroy the query

 protected:
  ~QueryOwner() = default;
};

class Channel;  // one c-ares channel
struct Lookup;

class Resolver final {
 public:
  Resolver(event::Loop& loop, const config::DnsSpec& spec);
  ~Resolver();
  event::Loop& loop() { return loop_; }
  const config::DnsSpec& spec() const { return spec_; }

 private:
  friend class Query;
  event::Loop& loop_;
  const config::DnsSpec spec_;
  std::unique_ptr<Channel> channel_;
};

// One name: asked at start(), then whenever the spec's times say so.
class Query final {
 public:
  Query(Resolver& resolver, QueryOwner& owner, std::string name);
  ~Query();
  void start();
  const std::string& name() const { return name_; }

 private:
  friend class Channel;
  void ask();
  void finish(const Answer& answer);
  base::Nanos random(base::Nanos below);

  Resolver& resolver_;
  QueryOwner& owner_;
  const std::string name_;
  event::Timer timer_;
  Lookup* pending_ = nullptr;  // the one under way; a Channel's
  uint64_t random_;            // spreads refreshes, nothing more
  uint32_t failures_ = 0;
};

}  // namespace outrider::upstream::dns
