// What a TCP proxy was told, and what it counts. Immutable, shared. Times: nanoseconds; 0: none.
// Source: envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy; Envoy docs "tcp_proxy_filter", statistics.
#pragma once

#include <memory>
#include <vector>

#include "source/accesslog/access_log.h"
#include "source/config/names.h"
#include "source/filter/network.h"
#include "source/stats/stats.h"

namespace outrider::filter::network::tcp_proxy {

#define OUTRIDER_TCP_STATS(C, G, H)                                \
  C(kCxNoRoute, "downstream_cx_no_route")                          \
  G(kCxRxBytesBuffered, "downstream_cx_rx_bytes_buffered")         \
  C(kCxRxBytesTotal, "downstream_cx_rx_bytes_total")               \
  C(kCxTotal, "downstream_cx_total")                               \
  G(kCxTxBytesBuffered, "downstream_cx_tx_bytes_buffered")         \
  C(kCxTxBytesTotal, "downstream_cx_tx_bytes_total")               \
  C(kFlowPaused, "downstream_flow_control_paused_reading_total")   \
  C(kFlowResumed, "downstream_flow_control_resumed_reading_total") \
  C(kIdleTimeout, "idle_timeout")                                  \
  C(kMaxDuration, "max_downstream_connection_duration")            \
  G(kUpstreamFlushActive, "upstream_flush_active")                 \
  C(kUpstreamFlushTotal, "upstream_flush_total")
OUTRIDER_STATS(TcpStat, kTcpTable, OUTRIDER_TCP_STATS)

struct TcpProxyConfig final : NetworkFilterFactory {
  struct Target {
    config::ClusterId cluster;
    uint32_t weight = 1;
  };
  std::vector<Target> targets;  // at least one
  uint32_t total_weight = 1;
  base::Nanos idle_timeout = 3600 * base::kSecond;
  base::Nanos max_duration = 0;
  double max_duration_jitter = 0;  // a fraction of max_duration that is added at random
  uint32_t max_connect_attempts = 1;
  bool log_on_connected = false;
  std::vector<std::shared_ptr<const accesslog::AccessLog>> access_logs;
  stats::Set<TcpStat> stats;

  config::ClusterId choose(Random& random) const {
    if (targets.size() == 1) return targets[0].cluster;
    uint32_t at = random.below(total_weight);
    for (const Target& target : targets) {
      if (at < target.weight) return target.cluster;
      at -= target.weight;
    }
    return targets.back().cluster;
  }
  std::unique_ptr<NetworkFilter> make(const NetworkContext& context) const override;
};

}  // namespace outrider::filter::network::tcp_proxy
