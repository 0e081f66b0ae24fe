// The connection manager's counters, under Envoy's names ("http.<stat_prefix>." and "listener.<address>.http.<stat_prefix>.").
#pragma once

#include "source/http/h1/settings.h"
#include "source/http/h2/settings.h"
#include "source/stats/stats.h"
#include "source/upstream/http2_stats.h"

namespace outrider::filter::network::http_connection_manager {

#define OUTRIDER_HCM_STATS(C, G, H)                                          \
  C(kCxTotal, "downstream_cx_total")                                         \
  C(kCxHttp1Total, "downstream_cx_http1_total")                              \
  C(kCxHttp2Total, "downstream_cx_http2_total")                              \
  C(kCxHttp3Total, "downstream_cx_http3_total")                              \
  C(kCxSslTotal, "downstream_cx_ssl_total")                                  \
  C(kCxDestroy, "downstream_cx_destroy")                                     \
  C(kCxDestroyRemote, "downstream_cx_destroy_remote")                        \
  C(kCxDestroyLocal, "downstream_cx_destroy_local")                          \
  C(kCxDestroyActiveRq, "downstream_cx_destroy_active_rq")                   \
  C(kCxDestroyLocalActiveRq, "downstream_cx_destroy_local_active_rq")        \
  C(kCxDestroyRemoteActiveRq, "downstream_cx_destroy_remote_active_rq")      \
  C(kCxProtocolError, "downstream_cx_protocol_error")                        \
  C(kCxDrainClose, "downstream_cx_drain_close")                              \
  C(kCxIdleTimeout, "downstream_cx_idle_timeout")                            \
  C(kCxMaxDuration, "downstream_cx_max_duration_reached")                    \
  C(kCxMaxRequests, "downstream_cx_max_requests_reached")                    \
  C(kCxDelayedCloseTimeout, "downstream_cx_delayed_close_timeout")           \
  C(kCxOverloadDisableKeepalive, "downstream_cx_overload_disable_keepalive") \
  C(kCxRxBytes, "downstream_cx_rx_bytes_total")                              \
  C(kCxTxBytes, "downstream_cx_tx_bytes_total")                              \
  C(kCxUpgradesTotal, "downstream_cx_upgrades_total")                        \
  G(kCxActive, "downstream_cx_active")                                       \
  G(kCxHttp1Active, "downstream_cx_http1_active")                            \
  G(kCxHttp2Active, "downstream_cx_http2_active")                            \
  G(kCxSslActive, "downstream_cx_ssl_active")                                \
  G(kCxUpgradesActive, "downstream_cx_upgrades_active")                      \
  G(kCxRxBuffered, "downstream_cx_rx_bytes_buffered")                        \
  G(kCxTxBuffered, "downstream_cx_tx_bytes_buffered")                        \
  G(kRqActive, "downstream_rq_active")                                       \
  C(kRqTotal, "downstream_rq_total")                                         \
  C(kRqHttp1Total, "downstream_rq_http1_total")                              \
  C(kRqHttp2Total, "downstream_rq_http2_total")                              \
  C(kRqCompleted, "downstream_rq_completed")                                 \
  C(kRq1xx, "downstream_rq_1xx")                                             \
  C(kRq2xx, "downstream_rq_2xx")                                             \
  C(kRq3xx, "downstream_rq_3xx")                                             \
  C(kRq4xx, "downstream_rq_4xx")                                             \
  C(kRq5xx, "downstream_rq_5xx")                                             \
  C(kRqRxReset, "downstream_rq_rx_reset")                                    \
  C(kRqTxReset, "downstream_rq_tx_reset")                                    \
  C(kRqTooLarge, "downstream_rq_too_large")                                  \
  C(kRqNonRelativePath, "downstream_rq_non_relative_path")                   \
  C(kRqFailedPathNormalization, "downstream_rq_failed_path_normalization")   \
  C(kRqIdleTimeout, "downstream_rq_idle_timeout")                            \
  C(kRqHeaderTimeout, "downstream_rq_header_timeout")                        \
  C(kRqTimeout, "downstream_rq_timeout")                                     \
  C(kRqMaxDuration, "downstream_rq_max_duration_reached")                    \
  C(kRqTooManyPrematureResets, "downstream_rq_too_many_premature_resets")    \
  C(kRqOverloadClose, "downstream_rq_overload_close")                        \
  C(kRqWsOnNonWsRoute, "downstream_rq_ws_on_non_ws_route")                   \
  C(kRsTooLarge, "rs_too_large")                                             \
  H(kCxLength, "downstream_cx_length_ms")                                    \
  H(kRqTime, "downstream_rq_time")
OUTRIDER_STATS(HcmStat, kHcmTable, OUTRIDER_HCM_STATS)

#define OUTRIDER_LISTENER_HTTP_STATS(C, G, H) \
  C(kRq1xx, "downstream_rq_1xx")              \
  C(kRq2xx, "downstream_rq_2xx")              \
  C(kRq3xx, "downstream_rq_3xx")              \
  C(kRq4xx, "downstream_rq_4xx")              \
  C(kRq5xx, "downstream_rq_5xx")              \
  C(kRqCompleted, "downstream_rq_completed")
OUTRIDER_STATS(ListenerHttpStat, kListenerHttpTable, OUTRIDER_LISTENER_HTTP_STATS)

#define OUTRIDER_HTTP1_STATS(C, G, H)                                      \
  C(kDroppedUnderscores, "dropped_headers_with_underscores")               \
  C(kRejectedUnderscores, "requests_rejected_with_underscores_in_headers") \
  C(kResponseFlood, "response_flood")
OUTRIDER_STATS(Http1Stat, kHttp1Table, OUTRIDER_HTTP1_STATS)

#define OUTRIDER_LENIENT_STAT_ONE(name, kind) {"rejected_lenient." #name, ::outrider::stats::Kind::kCounter},
inline constexpr stats::Stat kLenientTableStats[] = {OUTRIDER_H1_LENIENT(OUTRIDER_LENIENT_STAT_ONE)};
inline constexpr stats::Table kLenientTable{kLenientTableStats, sizeof(kLenientTableStats) / sizeof(kLenientTableStats[0])};

// What the codecs count ("http1.", "http2."), folded in when a connection ends or broke a rule.
class CodecStats final {
 public:
  explicit CodecStats(stats::Store& store)
      : http1_(store.scope("http1.", kHttp1Table)),
        lenient_(store.scope("http1.", kLenientTable)),
        http2_(store.scope("http2.", upstream::kHttp2Table)) {}
  void add(const http::h1::Counters& h1, const http::h2::Counters& h2) const {
    const auto put = [](const stats::ScopeRef& scope, size_t index, uint64_t value) {
      if (value > 0) scope->add(index, static_cast<int64_t>(value));
    };
    put(http1_, 0, h1.dropped_headers_with_underscores);
    put(http1_, 1, h1.requests_rejected_with_underscores_in_headers);
    put(http1_, 2, h1.response_flood);
    for (size_t i = 0; i < http::h1::kLenientKinds; ++i) put(lenient_, i, h1.rejected_lenient[i]);
    upstream::addHttp2(http2_, h2);
  }

 private:
  stats::ScopeRef http1_, lenient_, http2_;
};

using HcmStats = stats::Set<HcmStat>;
using ListenerHttpStats = stats::Set<ListenerHttpStat>;

}  // namespace outrider::filter::network::http_connection_manager
