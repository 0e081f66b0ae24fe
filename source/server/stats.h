// What the process says of itself, under Envoy's names ("server."). Gauges are set when somebody looks.
#pragma once

#include "source/stats/stats.h"

namespace outrider::server {

#define OUTRIDER_SERVER_STATS(C, G, H)                  \
  G(kConcurrency, "concurrency")                        \
  G(kDaysUntilExpiry, "days_until_first_cert_expiring") \
  G(kHotRestartEpoch, "hot_restart_epoch")              \
  H(kInitializationTime, "initialization_time_ms")      \
  G(kLive, "live")                                      \
  G(kMemoryAllocated, "memory_allocated")               \
  G(kMemoryHeapSize, "memory_heap_size")                \
  G(kParentConnections, "parent_connections")           \
  G(kState, "state")                                    \
  G(kTotalConnections, "total_connections")             \
  G(kUptime, "uptime")                                  \
  G(kVersion, "version")
OUTRIDER_STATS(ServerStat, kServerTable, OUTRIDER_SERVER_STATS)
using ServerStats = stats::Set<ServerStat>;

// Of one loop, under Envoy's names ("server.dispatcher.", "listener_manager.worker_0.dispatcher."); with enable_dispatcher_stats.
#define OUTRIDER_DISPATCHER_STATS(C, G, H) \
  H(kLoopDuration, "loop_duration_us")     \
  H(kPollDelay, "poll_delay_us")
OUTRIDER_STATS(DispatcherStat, kDispatcherTable, OUTRIDER_DISPATCHER_STATS)
using DispatcherStats = stats::Set<DispatcherStat>;

// The same loop's figures that Envoy has not ("outrider.loop.main.", "outrider.loop.worker_0.").
#define OUTRIDER_LOOP_STATS(C, G, H) \
  G(kLongestTurn, "longest_turn_us") \
  H(kTurnCpu, "turn_cpu_us")
OUTRIDER_STATS(LoopStat, kLoopTable, OUTRIDER_LOOP_STATS)
using LoopFigures = stats::Set<LoopStat>;

}  // namespace outrider::server
