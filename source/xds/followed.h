// What the follower watches, a class for each type of resource. Each hands a delivery over the config thread to the assembler.
// Thread: main, but what Follower::prepare() runs. Lifetime: the follower's. Private to the follower's own files.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "envoy/config/core/v3/config_source.pb.h"
#include "source/xds/follower.h"

namespace google::protobuf {
class Struct;
}

namespace outrider::xds {

// One resource that is refused.
struct Failure {
  std::string name;
  std::string why;
};
std::string joined(std::string_view intro, const std::vector<Failure>& failures, std::string_view separator);
std::vector<std::string> namesOf(const std::vector<Failure>& failures);
// The answer: all are well, or a refusal of these.
Verdict verdictOf(std::string_view intro, const std::vector<Failure>& failures, std::string_view separator);

struct Report {
  std::string resource;  // "cluster a"
  config::Problems problems;
};

envoy::config::core::v3::ConfigSource readSource(const std::string& bytes);

// A delivery on its way: `work` reads it on the config thread, `apply` has it on main. The config thread keeps nothing of it: what ends
// with it (an answer, a pause of requests, the version of a listener that served before) is main's business.
template <class Trip, class Work, class Apply>
void Follower::prepare(std::shared_ptr<Trip> trip, Work work, Apply apply) {
  parts_.parse([this, trip = std::move(trip), work = std::move(work), apply = std::move(apply), alive = alive_]() mutable {
    work(*trip);
    post([trip = std::move(trip), apply = std::move(apply), alive = std::move(alive)] {
      if (*alive) apply(trip);
    });
  });
}

// ---- CDS ----

class Follower::Clusters final : public Watcher {
 public:
  explicit Clusters(Follower& owner) : owner_(owner) {}
  void onDelivery(Delivery delivery) override;
  void onFetchTimeout(std::string_view) override { first(); }

 private:
  struct Trip;
  void apply(const std::shared_ptr<Trip>& trip);
  void applyOne(const std::shared_ptr<const config::ClusterSpec>& spec, std::vector<Failure>& failures);
  void first();

  Follower& owner_;
  bool first_ = false;
  bool drop_asked_ = false;
};

// ---- LDS ----

class Follower::Listeners final : public Watcher {
 public:
  explicit Listeners(Follower& owner) : owner_(owner) {}
  void onDelivery(Delivery delivery) override;
  void onFetchTimeout(std::string_view) override { first(); }

 private:
  struct Trip;
  void apply(Trip& trip);
  void first();

  Follower& owner_;
  bool first_ = false;
  bool drop_asked_ = false;
};

// ---- RDS: one name of one source ----

class Follower::Routes final : public Watcher {
 public:
  Routes(Follower& owner, std::string name, std::string source, const std::string& stats_prefix);
  ~Routes();
  void onDelivery(Delivery delivery) override;
  void onFetchTimeout(std::string_view) override;

 private:
  Follower& owner_;
  const std::string name_, source_;
  WatchId id_ = 0;
};

// ---- EDS: one name of one source ----

class Follower::Endpoints final : public Watcher {
 public:
  Endpoints(Follower& owner, std::string name, const std::string& source, const std::string& stats_prefix);
  ~Endpoints();
  void onDelivery(Delivery delivery) override;
  void onFetchTimeout(std::string_view) override;

  const std::string& name() const { return name_; }
  bool isOf(const config::ClusterSpec& spec) const { return name_ == spec.eds_name && source_ == spec.eds_source; }
  size_t users = 0;
  std::unique_ptr<Endpoints> other;  // of the same name from another source

 private:
  Follower& owner_;
  const std::string name_;
  const std::string& source_;
  WatchId id_ = 0;
};

// ---- SDS ----

class Follower::Secret final : public Watcher {
 public:
  Secret(Follower& owner, const config::SdsRef& ref);
  ~Secret();
  void onDelivery(Delivery delivery) override;
  void onFetchTimeout(std::string_view) override;
  size_t users = 0;  // clusters, and one for all listeners

 private:
  void watchFiles(const envoy::extensions::transport_sockets::tls::v3::Secret& secret);
  void unwatchFiles();
  void reread();

  Follower& owner_;
  const std::string key_, name_;
  std::string last_;  // what was applied, serialized: with the files' names
  std::vector<FileWatch::Id> watched_;
  WatchId id_ = 0;
};

// ---- SRDS: one set of scopes ----

class Follower::Scopes final : public Watcher {
 public:
  Scopes(Follower& owner, const Assembler::Wants::Scopes& wanted);
  ~Scopes();
  void onDelivery(Delivery delivery) override;
  void onFetchTimeout(std::string_view) override;

 private:
  struct Trip;
  Follower& owner_;
  const config::ScopeSetId set_;
  WatchId id_ = 0;
};

// ---- RTDS: one layer ----

// Outrider has no runtime: its switches are fields of the configuration. A layer is accepted, so that a control plane that sends one
// goes on, and each of its keys is reported as having no effect; Envoy's own guards, which mean nothing here, are not.
class Follower::Runtime final : public Watcher {
 public:
  Runtime(Follower& owner, const std::string& layer) : owner_(owner), layer_(layer) {}
  ~Runtime();
  bool watch(const envoy::config::core::v3::ConfigSource& source, const std::string& name);
  void onDelivery(Delivery delivery) override;
  void onFetchTimeout(std::string_view) override { first(); }
  static void report(Follower& owner, const std::string& where, const google::protobuf::Struct& layer);

 private:
  void first();

  Follower& owner_;
  const std::string layer_;
  WatchId id_ = 0;
  bool first_ = false;
};

}  // namespace outrider::xds
