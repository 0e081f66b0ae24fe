// Who wants what of one type from one source: the union of names, what was last accepted, and who still has to answer.
//
// The same table serves state-of-the-world streams, delta streams and files; it knows nothing of a wire. A name is one entry, with
// what is held under it and a chain of those who watch it; what few names have (a refusal, a time to live) stands beside.
// Thread: main. Lifetime: its session's or file's; deliveries may be answered after it is gone.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
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
  bool wildcard() const { return wildcard_.watches != nullptr; }
  // The names, without the wildcard, as a request carries them: field 3 in both protocols (resource_names,
  // resource_names_subscribe). Every answer of a state-of-the-world stream has them, so they are encoded once a change. A few are sorted.
  const std::string& namesOfRequest() const;
  std::string takeNamesOfRequest();  // the same for those who need them once a stream: nothing is kept

  // What changed since the last call: for delta requests. Clears the marks.
  struct Changes {
    std::vector<std::string_view> added;  // "*" for the wildcard; good until the next call of this table
    std::vector<std::string> removed;
    bool any = false;
  };
  Changes takeChanges();
  bool changed() const { return changed_; }
  // Everything that is held, with its version.
  void forEachHeld(const std::function<void(const std::string& name, const std::string& version)>& fn) const;
  // For dumps: what is held, what was refused, and names that nothing came for; in no order, those that were refused perhaps twice.
  void visitNames(const std::function<void(std::string_view name)>& fn) const;
  // What was accepted and what was refused since; no call for a name that visitNames() does not tell.
  void visit(const std::string& name, const std::function<void(const ResourceView& resource)>& fn) const;
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
  struct Fetch;
  struct Round;
  using Text = std::shared_ptr<const std::string>;  // shared by all that have the same
  struct Entry {
    explicit Entry(std::string_view of) : name(of) {}
    const std::string name;
    uint64_t hash = 0;
    Text bytes;  // null: nothing is held
    Text version;
    base::Nanos at = 0;        // wall clock
    Watch* watches = nullptr;  // a chain
    bool asked = false;        // takeChanges() gave the name as wanted
    bool touched = false;      // is in touched_
  };
  struct ByName {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return hashBytes(name); }
    size_t operator()(const std::unique_ptr<Entry>& entry) const { return hashBytes(entry->name); }
    bool operator()(std::string_view a, const std::unique_ptr<Entry>& b) const { return a == b->name; }
    bool operator()(const std::unique_ptr<Entry>& a, std::string_view b) const { return a->name == b; }
    bool operator()(const std::unique_ptr<Entry>& a, const std::unique_ptr<Entry>& b) const { return a->name == b->name; }
  };
  struct Refused {
    ResourceView::Version version;
    std::string error;
  };

  Entry* find(std::string_view name) const;  // null: nobody wants it and nothing is held
  const Entry* findHeld(std::string_view name) const;
  Entry& need(std::string_view name);
  void touch(Entry& entry);
  void dropIfEmpty(Entry& entry);
  Text shared(const std::string& version);
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
  void deliverLateOne(WatchId id);
  void expire();
  void setExpiry(const std::string& name, base::Nanos ttl);
  void forget(std::string_view name);
  void bindAnswer(Delivery& delivery, const std::shared_ptr<Round>& round, WatchId id, std::string name);
  void onTimeout(Watch& watch);

  event::Loop& loop_;
  stats::Store& store_;
  const std::string type_url_;
  const bool absence_deletes_;
  std::function<void()> names_changed_;
  absl::flat_hash_map<WatchId, Watch*> watches_;  // owned
  absl::flat_hash_set<std::unique_ptr<Entry>, ByName, ByName> entries_;
  Entry wildcard_{""};           // watches of everything
  size_t watched_names_ = 0;     // entries with watches
  std::vector<Entry*> touched_;  // since the last takeChanges(): wanted now and not before, or the other way round
  bool changed_ = false;
  mutable std::string names_encoded_;
  mutable bool names_known_ = false;
  absl::flat_hash_map<std::string, Refused> refused_;                 // latest update that was not accepted
  absl::flat_hash_map<std::string, ResourceView::Version> replaced_;  // by a version that may still warm
  bool keep_replaced_ = false;
  Text last_version_;  // of those that were shared
  std::string version_;
  bool ever_ = false;  // a response was settled
  std::shared_ptr<Round> round_;
  absl::flat_hash_map<std::string, base::Nanos> expires_;  // what has a time to live
  std::set<std::pair<base::Nanos, std::string>> expiring_;
  event::Timer expiry_;
  event::Deferred late_;
  std::set<WatchId> latecomers_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace outrider::xds
