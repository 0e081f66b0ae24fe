// Who wants what of one type from one source: the union of names, what was last accepted, and who still has to answer.
//
// The same table serves state-of-the-world streams, delta streams and files; it knows nothing of a wire.
// Thread: main. Lifetime: its session's or file's; deliveries may be answered after it is gone.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "source/event/loop.h"
#include "source/stats/stats.h"
#include "source/xds/read_response.h"
#include "source/xds/watcher.h"

namespace outrider::xds {

// Envoy's names (configuration/overview/mgmt_server, "xDS subscription statistics").
#define OUTRIDER_XDS_SUBSCRIPTION_STATS(C, G, H) \
  C(kUpdateAttempt, "update_attempt")            \
  C(kUpdateSuccess, "update_success")            \
  C(kUpdateFailure, "update_failure")            \
  C(kUpdateRejected, "update_rejected")          \
  C(kInitFetchTimeout, "init_fetch_timeout")     \
  G(kUpdateTime, "update_time")                  \
  G(kVersion, "version")
OUTRIDER_STATS(SubscriptionStat, kSubscriptionTable, OUTRIDER_XDS_SUBSCRIPTION_STATS)

class Subscription final {
 public:
  Subscription(event::Loop& loop, stats::Store& store, std::string type_url, std::function<void()> names_changed);
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;

  // An empty name: all there are. What is held already is delivered later in this turn. `fetch_timeout` 0: never.
  void add(WatchId id, std::string_view name, Watcher& watcher, const std::string& stats_prefix, base::Nanos fetch_timeout);
  bool remove(WatchId id);  // false: not of this table

  const std::string& typeUrl() const { return type_url_; }
  bool unused() const { return watches_.empty(); }
  bool wildcard() const { return wildcard_watches_ > 0; }
  // The names, sorted and without the wildcard, as a request carries them: field 3 in both protocols (resource_names,
  // resource_names_subscribe). Every answer of a state-of-the-world stream has them, so they are encoded once a change.
  const std::string& namesOfRequest() const;

  // What changed since the last call: for delta requests. Clears the marks.
  struct Changes {
    std::vector<std::string> added;  // "*" for the wildcard
    std::vector<std::string> removed;
    bool any = false;
  };
  Changes takeChanges();
  bool changed() const { return changed_; }
  // Everything that is held, with its version.
  std::vector<std::pair<std::string, std::string>> held() const;
  // The same and more, for dumps: what was accepted, what was refused since, and names that nothing came for.
  void visit(const std::function<void(const ResourceView& resource)>& fn) const;
  const std::string& version() const { return version_; }
  // From now on what a newer version replaces is kept until dropReplaced(): it may serve while the newer one warms.
  void keepReplaced() { keep_replaced_ = true; }
  void dropReplaced();

  // Delivers what is news; `done` gets the joint verdict, perhaps before apply() returns. One at a time: busy() until then. Thousands
  // of resources are compared, handed over and taken up some at a time, so that none of it makes a long turn.
  void apply(Incoming in, std::function<void(const Verdict&)> done);
  bool busy() const { return round_ != nullptr; }

  void countFailure();   // the stream or file broke
  void countRejected();  // the response as a whole was refused

 private:
  struct Watch;
  struct Round;
  struct Held {
    uint64_t hash = 0;
    std::string version;
    std::shared_ptr<const std::string> bytes;
    base::Nanos expires = 0;
    base::Nanos at = 0;  // wall clock
    std::unique_ptr<ResourceView::Version> replaced;
  };
  struct Refused {
    ResourceView::Version version;
    std::string error;
  };

  void advance(const std::shared_ptr<Round>& round);
  bool compareSome(Round& round);
  void closeComparison(const std::shared_ptr<Round>& round);
  bool handOverSome(const std::shared_ptr<Round>& round);
  bool settleSome(Round& round);
  void deliverOne(const std::shared_ptr<Round>& round, size_t at);
  void handOver(WatchId id, Delivery delivery);
  void settleOne(Round& round, size_t at);
  void finish(Round& round);
  void deliverLate();
  void expire();
  void setExpiry(const std::string& name, Held& held, base::Nanos ttl);
  void forget(const std::string& name);
  void bindAnswer(Delivery& delivery, const std::shared_ptr<Round>& round, WatchId id, std::string name);
  void onTimeout(Watch& watch);
  std::vector<Watch*> watchesOf(const std::string& name) const;

  event::Loop& loop_;
  stats::Store& store_;
  const std::string type_url_;
  const bool absence_deletes_;
  std::function<void()> names_changed_;
  std::map<WatchId, std::unique_ptr<Watch>> watches_;
  absl::flat_hash_map<std::string, std::vector<Watch*>> by_name_;  // "" : the wildcard
  mutable std::string names_encoded_;
  mutable bool names_known_ = false;
  size_t wildcard_watches_ = 0;
  std::set<std::string> added_;
  std::set<std::string> removed_;
  bool changed_ = false;
  absl::flat_hash_map<std::string, Held> held_;
  absl::flat_hash_map<std::string, Refused> refused_;  // latest update that was not accepted
  std::vector<std::string> replaced_;                  // names with Held::replaced
  bool keep_replaced_ = false;
  std::string version_;
  bool ever_ = false;  // a response was settled
  std::shared_ptr<Round> round_;
  std::set<std::pair<base::Nanos, std::string>> expiring_;
  event::Timer expiry_;
  event::Deferred late_;
  std::set<WatchId> latecomers_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace outrider::xds
