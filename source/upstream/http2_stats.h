// What the HTTP/2 codecs of both sides count, as statistics: "http2.<name>" of all client connections, "cluster.<name>.http2.<name>"
// of those to a cluster. Names and meaning: Envoy docs, "configuration/http/http_conn_man/stats", "Http2 codec statistics".
// Thread: any; who adds is the worker whose counters they are.
#pragma once

#include "source/http/h2/settings.h"
#include "source/stats/stats.h"

namespace outrider::upstream {

#define OUTRIDER_HTTP2_STAT_ONE(name) {#name, ::outrider::stats::Kind::kCounter},
inline constexpr stats::Stat kHttp2TableStats[] = {OUTRIDER_H2_COUNTERS(OUTRIDER_HTTP2_STAT_ONE)};
#undef OUTRIDER_HTTP2_STAT_ONE
inline constexpr stats::Table kHttp2Table{kHttp2TableStats, sizeof(kHttp2TableStats) / sizeof(kHttp2TableStats[0])};

// Adds what is counted; a cell that is not needed stays unmade.
inline void addHttp2(const stats::ScopeRef& scope, const http::h2::Counters& counters) {
  size_t index = 0;
  const auto put = [&](uint64_t value) {
    if (value > 0) scope->add(index, static_cast<int64_t>(value));
    ++index;
  };
#define OUTRIDER_HTTP2_ADD(name) put(counters.name);
  OUTRIDER_H2_COUNTERS(OUTRIDER_HTTP2_ADD)
#undef OUTRIDER_HTTP2_ADD
}

}  // namespace outrider::upstream
