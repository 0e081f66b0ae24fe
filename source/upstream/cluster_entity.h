// One version of a cluster as main has it: its hosts with their health, and what finds them (config, EDS, DNS) and checks them.
//
// Thread: main. Lifetime: its ClusterManager's. It never calls back from within a call: it marks itself with its owner, who
// settles it later in the same turn.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "source/event/loop.h"
#include "source/upstream/cluster_part.h"
#include "source/upstream/dns/resolver.h"
#include "source/upstream/health/checker.h"
#include "source/upstream/host_set_builder.h"

namespace outrider::upstream {

class ClusterEntity;

class EntityOwner {
 public:
  virtual void onEntity(ClusterEntity& entity) = 0;  // marks it for settle()

 protected:
  ~EntityOwner() = default;
};

using EndpointsRef = std::shared_ptr<const config::EndpointsSpec>;

class ClusterEntity final : public health::CheckerOwner, public dns::QueryOwner {
 public:
  // `before`: the version that serves now, or null; hosts that are equal are taken over.
  ClusterEntity(event::Loop& loop, stats::Store& stats, EntityOwner& owner, ClusterPartRef part, ClusterEntity* before);
  ~ClusterEntity();

  const ClusterPart& part() const { return *part_; }
  const ClusterPartRef& partRef() const { return part_; }
  const config::ClusterSpec& spec() const { return *part_->spec; }

  void start();                                       // config's endpoints, DNS
  void setEndpoints(const EndpointsRef& endpoints);   // EDS answered
  void takeEndpoints(const EndpointsRef& endpoints);  // what another version or cluster was told
  void endpointsTimedOut();                           // EDS did not: go on without
  bool answered() const { return answered_; }         // EDS gave endpoints
  const config::EndpointsSpec& endpoints() const { return *endpoints_; }
  const EndpointsRef& sharedEndpoints() const { return endpoints_; }

  // What keeps it from being warm, empty when it is: for /init_dump.
  std::string waitsFor() const;
  bool warm() const;

  // Builds the host set if anything changed. False: nothing did.
  struct Settled {
    HostSetRef hosts;
    std::vector<HostRef> removed, failed;
  };
  bool settle(Settled& out);
  const HostSetRef& hosts() const { return set_; }
  void publishGauges() const;                               // membership, for the version that serves
  bool enqueue() { return !std::exchange(queued_, true); }  // of the owner: false, it is marked already
  void dequeue() { queued_ = false; }

  // Flags that others set (outlier ejection). Marks the entity when something changed.
  void setFlag(const Host& host, HealthFlag flag, bool on);

 private:
  struct Entry {
    HostRef host;
    std::unique_ptr<health::Checker> checker;
    uint32_t weight = 1;
    uint32_t locality : 23 = 0;
    uint32_t leaving : 1 = 0;  // no longer among the endpoints, but still healthy by its checks
    uint32_t priority : 8 = 0;
  };
  struct Wanted {  // an endpoint of the update under way
    const config::LocalityEndpoints* in;
    const config::EndpointSpec* endpoint;
    const base::Address* address;
    uint32_t locality;
    uint32_t had;  // where its host stood; kNew: nowhere
  };
  struct Name {  // an endpoint that DNS resolves
    std::unique_ptr<dns::Query> query;
    std::vector<base::Address> addresses;
    bool answered = false;
  };

  void onChecked(health::Checker& checker, const Host& host, bool healthy, bool changed) override;
  void onAnswer(dns::Query& query, const dns::Answer& answer) override;
  void refreshHosts();  // endpoints_ and DNS answers -> entries_
  static void match(std::vector<Wanted>& wanted, const std::vector<Entry>& old);
  static void matchAll(std::vector<Wanted>& wanted, const std::vector<Entry>& old);
  void numberChecks();
  struct MadeDetails {  // in one go, by the place of their locality and of their endpoint's details
    absl::flat_hash_map<std::pair<const void*, const void*>, std::shared_ptr<const HostDetails>> all;
    std::pair<const void*, const void*> last_key;
    std::shared_ptr<const HostDetails> last;
  };
  static std::shared_ptr<const HostDetails> detailsOf(const Wanted& wanted, MadeDetails& made);
  Entry entryOf(const Wanted& wanted, Entry before, bool taken_over, MadeDetails& details);
  void mark();
  bool checked() const { return !spec().health_checks.empty(); }
  void resolveNames();
  void publishTable() const;

  event::Loop& loop_;
  stats::Store& stats_;
  EntityOwner& owner_;
  const ClusterPartRef part_;
  EndpointsRef endpoints_;
  std::vector<uint32_t> locality_weights_;
  std::vector<Entry> entries_;    // in the endpoints' order, then those that leave; no address twice
  std::vector<Entry> inherited_;  // hosts of the version before, until the first endpoints are known
  std::unique_ptr<dns::Resolver> resolver_;
  std::vector<std::unique_ptr<Name>> names_;  // their queries end before the resolver does
  std::shared_ptr<LbShared> shared_;
  HostSetRef set_;
  std::vector<HostRef> removed_, failed_;
  HealthStats health_stats_;
  stats::ScopeRef table_scope_;  // of a hashing policy
  uint32_t most_weight_ = 0;
  size_t unchecked_ = 0;  // hosts whose first check has not ended
  bool known_ = false;    // endpoints are known, or given up on
  bool answered_ = false;
  bool first_round_ = true;
  bool dirty_ = true;
  bool queued_ = false;
};

}  // namespace outrider::upstream
