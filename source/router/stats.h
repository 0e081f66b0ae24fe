// The router's counters, under Envoy's names ("http.<stat_prefix>.").
#pragma once

#include "source/stats/stats.h"

namespace outrider::router {

#define OUTRIDER_ROUTER_STATS(C, G, H)                                                    \
  C(kNoRoute, "no_route")                                                                 \
  C(kNoCluster, "no_cluster")                                                             \
  C(kRqTotal, "rq_total")                                                                 \
  C(kRqRedirect, "rq_redirect")                                                           \
  C(kRqDirectResponse, "rq_direct_response")                                              \
  C(kRqResetAfterDownstreamResponseStarted, "rq_reset_after_downstream_response_started") \
  C(kRqRetrySkippedRequestNotComplete, "rq_retry_skipped_request_not_complete")
OUTRIDER_STATS(RouterStat, kRouterTable, OUTRIDER_ROUTER_STATS)
using RouterStats = stats::Set<RouterStat>;

}  // namespace outrider::router
