// Envoy's statistics of a cluster. Names and meaning: Envoy docs, "configuration/upstream/cluster_manager/cluster_stats".
#pragma once

#include "source/stats/stats.h"

namespace outrider::upstream {

// "cluster.<name>.": what workers count, and what is there for its name alone.
#define OUTRIDER_CLUSTER_STATS(C, G, H)                                                     \
  C(kAssignmentStale, "assignment_stale")                                                   \
  C(kAssignmentTimeoutReceived, "assignment_timeout_received")                              \
  C(kBindErrors, "bind_errors")                                                             \
  C(kLbHealthyPanic, "lb_healthy_panic")                                                    \
  C(kLbRecalculateZoneStructures, "lb_recalculate_zone_structures")                         \
  C(kLbSubsetsCreated, "lb_subsets_created")                                                \
  C(kLbSubsetsFallback, "lb_subsets_fallback")                                              \
  C(kLbSubsetsSelected, "lb_subsets_selected")                                              \
  C(kOriginalDstHostInvalid, "original_dst_host_invalid")                                   \
  C(kRetryOrShadowAbandoned, "retry_or_shadow_abandoned")                                   \
  C(kUpstreamCxCloseNotify, "upstream_cx_close_notify")                                     \
  G(kUpstreamCxActive, "upstream_cx_active")                                                \
  C(kUpstreamCxConnectAttemptsExceeded, "upstream_cx_connect_attempts_exceeded")            \
  C(kUpstreamCxConnectFail, "upstream_cx_connect_fail")                                     \
  H(kUpstreamCxConnectMs, "upstream_cx_connect_ms")                                         \
  C(kUpstreamCxConnectTimeout, "upstream_cx_connect_timeout")                               \
  C(kUpstreamCxDestroy, "upstream_cx_destroy")                                              \
  C(kUpstreamCxDestroyLocal, "upstream_cx_destroy_local")                                   \
  C(kUpstreamCxDestroyLocalWithActiveRq, "upstream_cx_destroy_local_with_active_rq")        \
  C(kUpstreamCxDestroyRemote, "upstream_cx_destroy_remote")                                 \
  C(kUpstreamCxDestroyRemoteWithActiveRq, "upstream_cx_destroy_remote_with_active_rq")      \
  C(kUpstreamCxDestroyWithActiveRq, "upstream_cx_destroy_with_active_rq")                   \
  C(kUpstreamCxHttp1Total, "upstream_cx_http1_total")                                       \
  C(kUpstreamCxHttp2Total, "upstream_cx_http2_total")                                       \
  C(kUpstreamCxHttp3Total, "upstream_cx_http3_total")                                       \
  C(kUpstreamCxIdleTimeout, "upstream_cx_idle_timeout")                                     \
  H(kUpstreamCxLengthMs, "upstream_cx_length_ms")                                           \
  C(kUpstreamCxMaxDurationReached, "upstream_cx_max_duration_reached")                      \
  C(kUpstreamCxMaxRequests, "upstream_cx_max_requests")                                     \
  C(kUpstreamCxNoneHealthy, "upstream_cx_none_healthy")                                     \
  C(kUpstreamCxOverflow, "upstream_cx_overflow")                                            \
  C(kUpstreamCxPoolOverflow, "upstream_cx_pool_overflow")                                   \
  C(kUpstreamCxProtocolError, "upstream_cx_protocol_error")                                 \
  G(kUpstreamCxRxBytesBuffered, "upstream_cx_rx_bytes_buffered")                            \
  C(kUpstreamCxRxBytesTotal, "upstream_cx_rx_bytes_total")                                  \
  C(kUpstreamCxTotal, "upstream_cx_total")                                                  \
  G(kUpstreamCxTxBytesBuffered, "upstream_cx_tx_bytes_buffered")                            \
  C(kUpstreamCxTxBytesTotal, "upstream_cx_tx_bytes_total")                                  \
  C(kUpstreamFlowControlBackedUpTotal, "upstream_flow_control_backed_up_total")             \
  C(kUpstreamFlowControlDrainedTotal, "upstream_flow_control_drained_total")                \
  C(kUpstreamFlowControlPausedReadingTotal, "upstream_flow_control_paused_reading_total")   \
  C(kUpstreamFlowControlResumedReadingTotal, "upstream_flow_control_resumed_reading_total") \
  C(kUpstreamInternalRedirectFailedTotal, "upstream_internal_redirect_failed_total")        \
  C(kUpstreamInternalRedirectSucceededTotal, "upstream_internal_redirect_succeeded_total")  \
  C(kUpstreamRq1xx, "upstream_rq_1xx")                                                      \
  C(kUpstreamRq2xx, "upstream_rq_2xx")                                                      \
  C(kUpstreamRq3xx, "upstream_rq_3xx")                                                      \
  C(kUpstreamRq4xx, "upstream_rq_4xx")                                                      \
  C(kUpstreamRq5xx, "upstream_rq_5xx")                                                      \
  C(kUpstreamRqCompleted, "upstream_rq_completed")                                          \
  G(kUpstreamRqActive, "upstream_rq_active")                                                \
  C(kUpstreamRqActiveOverflow, "upstream_rq_active_overflow")                               \
  C(kUpstreamRqCancelled, "upstream_rq_cancelled")                                          \
  C(kUpstreamRqMaintenanceMode, "upstream_rq_maintenance_mode")                             \
  C(kUpstreamRqMaxDurationReached, "upstream_rq_max_duration_reached")                      \
  G(kUpstreamRqPendingActive, "upstream_rq_pending_active")                                 \
  C(kUpstreamRqPendingFailureEject, "upstream_rq_pending_failure_eject")                    \
  C(kUpstreamRqPendingOverflow, "upstream_rq_pending_overflow")                             \
  C(kUpstreamRqPendingTotal, "upstream_rq_pending_total")                                   \
  C(kUpstreamRq0rtt, "upstream_rq_0rtt")                                                    \
  C(kUpstreamRqPerTryIdleTimeout, "upstream_rq_per_try_idle_timeout")                       \
  C(kUpstreamRqPerTryTimeout, "upstream_rq_per_try_timeout")                                \
  C(kUpstreamRqRetry, "upstream_rq_retry")                                                  \
  C(kUpstreamRqRetryBackoffExponential, "upstream_rq_retry_backoff_exponential")            \
  C(kUpstreamRqRetryBackoffRatelimited, "upstream_rq_retry_backoff_ratelimited")            \
  C(kUpstreamRqRetryLimitExceeded, "upstream_rq_retry_limit_exceeded")                      \
  C(kUpstreamRqRetryOverflow, "upstream_rq_retry_overflow")                                 \
  C(kUpstreamRqRetrySuccess, "upstream_rq_retry_success")                                   \
  C(kUpstreamRqRxReset, "upstream_rq_rx_reset")                                             \
  H(kUpstreamRqTime, "upstream_rq_time")                                                    \
  C(kUpstreamRqTimeout, "upstream_rq_timeout")                                              \
  C(kUpstreamRqTotal, "upstream_rq_total")                                                  \
  C(kUpstreamRqTxReset, "upstream_rq_tx_reset")                                             \
  C(kUpstreamRqStaleReplayed, "upstream_rq_stale_replayed")                                 \
  C(kUpstreamRqUnprocessedReplayed, "upstream_rq_unprocessed_replayed")                     \
  G(kVersion, "version")
OUTRIDER_STATS(ClusterStat, kClusterTable, OUTRIDER_CLUSTER_STATS)
using ClusterStats = stats::Set<ClusterStat>;

// Also of "cluster.<name>.": what main alone writes of every cluster, in cells of its own, so that its first write does not make
// the cells of all that workers count. The gauges of the circuit breakers are of both priorities, in the order of BreakerGauge.
#define OUTRIDER_CLUSTER_MAIN_STATS(C, G, H)                                 \
  G(kDefaultCxOpen, "circuit_breakers.default.cx_open")                      \
  G(kDefaultCxPoolOpen, "circuit_breakers.default.cx_pool_open")             \
  G(kDefaultRqOpen, "circuit_breakers.default.rq_open")                      \
  G(kDefaultRqPendingOpen, "circuit_breakers.default.rq_pending_open")       \
  G(kDefaultRqRetryOpen, "circuit_breakers.default.rq_retry_open")           \
  G(kDefaultRemainingCx, "circuit_breakers.default.remaining_cx")            \
  G(kDefaultRemainingCxPools, "circuit_breakers.default.remaining_cx_pools") \
  G(kDefaultRemainingPending, "circuit_breakers.default.remaining_pending")  \
  G(kDefaultRemainingRetries, "circuit_breakers.default.remaining_retries")  \
  G(kDefaultRemainingRq, "circuit_breakers.default.remaining_rq")            \
  G(kHighCxOpen, "circuit_breakers.high.cx_open")                            \
  G(kHighCxPoolOpen, "circuit_breakers.high.cx_pool_open")                   \
  G(kHighRqOpen, "circuit_breakers.high.rq_open")                            \
  G(kHighRqPendingOpen, "circuit_breakers.high.rq_pending_open")             \
  G(kHighRqRetryOpen, "circuit_breakers.high.rq_retry_open")                 \
  G(kHighRemainingCx, "circuit_breakers.high.remaining_cx")                  \
  G(kHighRemainingCxPools, "circuit_breakers.high.remaining_cx_pools")       \
  G(kHighRemainingPending, "circuit_breakers.high.remaining_pending")        \
  G(kHighRemainingRetries, "circuit_breakers.high.remaining_retries")        \
  G(kHighRemainingRq, "circuit_breakers.high.remaining_rq")                  \
  G(kMaxHostWeight, "max_host_weight")                                       \
  C(kMembershipChange, "membership_change")                                  \
  G(kMembershipDegraded, "membership_degraded")                              \
  G(kMembershipExcluded, "membership_excluded")                              \
  G(kMembershipHealthy, "membership_healthy")                                \
  G(kMembershipTotal, "membership_total")                                    \
  C(kUpdateAttempt, "update_attempt")                                        \
  C(kUpdateEmpty, "update_empty")                                            \
  C(kUpdateFailure, "update_failure")                                        \
  C(kUpdateNoRebuild, "update_no_rebuild")                                   \
  C(kUpdateSuccess, "update_success")
OUTRIDER_STATS(ClusterMainStat, kClusterMainTable, OUTRIDER_CLUSTER_MAIN_STATS)
using ClusterMainStats = stats::Set<ClusterMainStat>;

enum class BreakerGauge : uint8_t {
  kCxOpen,
  kCxPoolOpen,
  kRqOpen,
  kRqPendingOpen,
  kRqRetryOpen,
  kRemainingCx,
  kRemainingCxPools,
  kRemainingPending,
  kRemainingRetries,
  kRemainingRq,
};
constexpr ClusterMainStat breakerStat(bool high, BreakerGauge gauge) {
  constexpr auto kHigh = static_cast<uint16_t>(ClusterMainStat::kHighCxOpen);
  return static_cast<ClusterMainStat>((high ? kHigh : 0) + static_cast<uint16_t>(gauge));
}
static_assert(breakerStat(false, BreakerGauge::kRemainingRq) == ClusterMainStat::kDefaultRemainingRq);
static_assert(breakerStat(true, BreakerGauge::kRemainingRq) == ClusterMainStat::kHighRemainingRq);

// "cluster.<name>.<internal|external|retry>.": answers once more, by who asked, and those that were tried again.
#define OUTRIDER_ANSWER_STATS(C, G, H)   \
  C(kCompleted, "upstream_rq_completed") \
  C(k1xx, "upstream_rq_1xx")             \
  C(k2xx, "upstream_rq_2xx")             \
  C(k3xx, "upstream_rq_3xx")             \
  C(k4xx, "upstream_rq_4xx")             \
  C(k5xx, "upstream_rq_5xx")
OUTRIDER_STATS(AnswerStat, kAnswerTable, OUTRIDER_ANSWER_STATS)
using AnswerStats = stats::Set<AnswerStat>;

// "cluster.<name>.health_check."
#define OUTRIDER_HEALTH_STATS(C, G, H)  \
  C(kAttempt, "attempt")                \
  G(kDegraded, "degraded")              \
  C(kFailure, "failure")                \
  G(kHealthy, "healthy")                \
  C(kNetworkFailure, "network_failure") \
  C(kPassiveFailure, "passive_failure") \
  C(kSuccess, "success")                \
  C(kVerifyCluster, "verify_cluster")
OUTRIDER_STATS(HealthStat, kHealthTable, OUTRIDER_HEALTH_STATS)
using HealthStats = stats::Set<HealthStat>;

// "cluster.<name>.ring_hash_lb." and "cluster.<name>.maglev_lb."
#define OUTRIDER_RING_STATS(C, G, H)       \
  G(kRingMaxHashes, "max_hashes_per_host") \
  G(kRingMinHashes, "min_hashes_per_host") \
  G(kRingSize, "size")
OUTRIDER_STATS(RingStat, kRingTable, OUTRIDER_RING_STATS)
using RingStats = stats::Set<RingStat>;

#define OUTRIDER_MAGLEV_STATS(C, G, H)         \
  G(kMaglevMaxEntries, "max_entries_per_host") \
  G(kMaglevMinEntries, "min_entries_per_host")
OUTRIDER_STATS(MaglevStat, kMaglevTable, OUTRIDER_MAGLEV_STATS)
using MaglevStats = stats::Set<MaglevStat>;

}  // namespace outrider::upstream
