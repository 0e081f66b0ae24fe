// What the process says of itself, under Envoy's names ("server."). Gauges are set when somebody looks.
#pragma once

#include "source/stats/stats.h"

namespace outrider::server {

#define OUTRIDER_SERVER_STATS(C, G, H)                      \
  G(kConcurrency, "concurrency")                            \
  G(kDaysUntilExpiry, "days_until_first_cert_expiring")     \
  G(kHotRestartEpoch, "hot_restart_epoch")                  \
  H(kInitializationTime, "initialization_time_ms")          \
  G(kLive, "live")                                          \
  G(kMemoryAllocated, "memory_allocated")                   \
  G(kMemoryHeapSize, "memory_heap_size")                    \
  G(kParentConnections, "parent_connections")               \
  G(kState, "state")                                        \
  G(kTotalConnections, "total_connections")                 \
  G(kUptime, "uptime")                                      \
  G(kVersion, "version")
OUTRIDER_STATS(ServerStat, kServerTable, OUTRIDER_SERVER_STATS)
using ServerStats = stats::Set<ServerStat>;

}  // namespace outrider::server
