// The clusters of the process: adds, changes, warms and removes them, follows their endpoints, and tells the workers what changed.
//
// Thread: main. Lifetime: the server's. An update costs what it changes: one entity, one host set, one change a worker; equal
// content costs a comparison. Changes of one batch() reach each worker in one letter.
// Errors: a status that names the cluster and the cause; the version that served before stays.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "source/base/absl_compat.h"
#include "source/config/names.h"
#include "source/upstream/cluster_entity.h"

namespace outrider::upstream {

class ClusterManager final : public EntityOwner {
 public:
  using Post = std::function<void(std::shared_ptr<const ClusterChanges>)>;  // to every worker's mailbox
  // Makes what protects connections from a cluster's transport_socket; absent: only plain bytes are possible.
  using MakeTransport = std::function<absl::StatusOr<TransportSourceRef>(const config::ClusterSpec&)>;

  ClusterManager(event::Loop& loop, stats::Store& stats, config::NameTable& names, Post post, MakeTransport transport = {});
  ~ClusterManager();

  void onEntity(ClusterEntity& entity) override;  // of its entities

  enum class Put : uint8_t { kSame, kAdded, kModified };
  // Dynamic clusters (of CDS) neither replace nor remove static ones.
  absl::StatusOr<Put> put(std::shared_ptr<const config::ClusterSpec> spec, bool dynamic);
  bool remove(std::string_view name);  // false: unknown or static

  // EDS's answer for `eds_name`; false when no cluster asks for it.
  bool updateEndpoints(std::string_view eds_name, const std::shared_ptr<const config::EndpointsSpec>& endpoints);
  std::shared_ptr<const config::EndpointsSpec> endpointsOf(std::string_view eds_name) const;  // what it last answered; null: not yet
  void endpointsTimedOut(std::string_view eds_name);                                          // initial_fetch_timeout
  void secretsChanged();                                                                      // clusters that wait for secrets look again
  // Called (from settle) when the list of wanted EDS names may have changed.
  std::vector<std::string> edsNames() const;

  // Settles and posts now what calls before have changed; else it happens once later in this turn. Call it before posting what
  // refers to these clusters.
  void flush();

  // Runs once, later in the turn in which no cluster that exists now is warming any more.
  void whenWarm(std::function<void()> done);
  size_t warmingCount() const { return warming_count_; }

  struct View {
    const ClusterEntity* active;   // null: none yet
    const ClusterEntity* warming;  // null: none
    bool dynamic;
  };
  // In no order: who wants one sorts names a turn's share at a time.
  void forEach(const std::function<void(const std::string& name, const View& view)>& fn) const;
  View find(std::string_view name) const;
  bool has(std::string_view name) const { return slots_.contains(base::toAbsl(name)); }

  // The breakers' gauges are brought up to date when somebody looks: before statistics are printed.
  void refreshGauges();
  // Of `most` clusters from `at` on, which moves: ten thousand at once would hold up the loop. False: there are no more.
  bool refreshGauges(size_t& at, size_t most) const;

  // Everything there is, for a worker that starts now.
  std::shared_ptr<const ClusterChanges> snapshot() const;
  const ClusterManagerStats& stats() const { return stats_; }
  const UpdateCostStats& updateCost() const { return cost_; }

 private:
  struct Slot {
    std::unique_ptr<ClusterEntity> active, warming;
    std::shared_ptr<Breakers> breakers;
    config::ClusterId id;
    bool dynamic = false;
  };
  void settle();
  void settleOne(Slot& slot, ClusterEntity& entity);
  void promote(Slot& slot);
  void forget(ClusterEntity* entity);
  void unask(const config::ClusterSpec& spec);                         // its cluster asks EDS for this name no longer
  const ClusterEntity* knower(const config::ClusterSpec& spec) const;  // who has endpoints of the same name and source
  void countWarming(int by);
  static void refreshGauges(const Slot& slot);
  absl::StatusOr<ClusterPartRef> makePart(std::shared_ptr<const config::ClusterSpec> spec, Slot& slot, const ClusterEntity* before);

  event::Loop& loop_;
  stats::Store& store_;
  config::NameTable& names_;
  const Post post_;
  const MakeTransport transport_;
  ClusterManagerStats stats_;
  UpdateCostStats cost_;
  absl::flat_hash_map<std::string, std::unique_ptr<Slot>> slots_;
  std::vector<const Slot*> by_id_;                                          // null: no such cluster now
  absl::flat_hash_map<std::string, std::vector<std::string>> by_eds_name_;  // EDS name -> clusters that ask for it
  std::vector<std::pair<std::string, ClusterEntity*>> marked_;
  ClusterChanges changes_;
  event::Deferred settle_;
  std::vector<std::function<void()>> when_warm_;
  std::vector<std::unique_ptr<ClusterEntity>> graves_;
  size_t warming_count_ = 0;
  size_t active_count_ = 0;
};

}  // namespace outrider::upstream
