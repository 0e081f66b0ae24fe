// Statistics of all clusters together. "cluster_manager." has Envoy's names; "outrider.clusters." tells what an update cost.
#pragma once

#include "source/stats/stats.h"

namespace outrider::upstream {

#define OUTRIDER_CLUSTER_MANAGER_STATS(C, G, H)            \
  G(kActiveClusters, "active_clusters")                    \
  C(kClusterAdded, "cluster_added")                        \
  C(kClusterModified, "cluster_modified")                  \
  C(kClusterRemoved, "cluster_removed")                    \
  C(kClusterUpdated, "cluster_updated")                    \
  C(kClusterUpdatedViaMerge, "cluster_updated_via_merge")  \
  C(kUpdateMergeCancelled, "update_merge_cancelled")       \
  C(kUpdateOutOfMergeWindow, "update_out_of_merge_window") \
  G(kWarmingClusters, "warming_clusters")
OUTRIDER_STATS(ClusterManagerStat, kClusterManagerTable, OUTRIDER_CLUSTER_MANAGER_STATS)
using ClusterManagerStats = stats::Set<ClusterManagerStat>;

#define OUTRIDER_UPDATE_COST_STATS(C, G, H) \
  C(kHostSetsRebuilt, "host_sets_rebuilt")  \
  C(kPartsRebuilt, "parts_rebuilt")         \
  C(kPoolsDrained, "pools_drained")
OUTRIDER_STATS(UpdateCostStat, kUpdateCostTable, OUTRIDER_UPDATE_COST_STATS)
using UpdateCostStats = stats::Set<UpdateCostStat>;

}  // namespace outrider::upstream
