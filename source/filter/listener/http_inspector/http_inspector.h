// Finds out whether a plain connection begins with HTTP, and with which version, so that filter chains can be chosen by
// application_protocols ("http/1.0", "http/1.1", "h2c").
// Thread: the accepting worker. Lifetime: until it answered. Bytes are only looked at. Source:
// envoy.extensions.filters.listener.http_inspector.v3; Envoy docs "http_inspector", statistics "http_inspector.".
#pragma once

#include "source/filter/listener.h"
#include "source/stats/stats.h"

namespace outrider::filter::listener::http_inspector {

#define OUTRIDER_HTTP_INSPECTOR_STATS(C, G, H) \
  C(kHttp10Found, "http10_found")              \
  C(kHttp11Found, "http11_found")              \
  C(kHttp2Found, "http2_found")                \
  C(kHttpNotFound, "http_not_found")           \
  C(kReadError, "read_error")
OUTRIDER_STATS(HttpInspectorStat, kHttpInspectorTable, OUTRIDER_HTTP_INSPECTOR_STATS)
using HttpInspectorStats = stats::Set<HttpInspectorStat>;

struct HttpInspectorConfig final : ListenerFilterFactory {
  static constexpr size_t kMostBytes = 8192;
  HttpInspectorStats stats;
  std::unique_ptr<ListenerFilter> make() const override;
  size_t mostBytes() const override { return kMostBytes; }
};

// What the beginning of a connection is.
enum class Beginning : uint8_t { kUnknownYet, kHttp10, kHttp11, kHttp2, kOther };
Beginning beginningOf(std::string_view bytes);

class HttpInspector final : public ListenerFilter {
 public:
  explicit HttpInspector(const HttpInspectorConfig& config) : config_(config) {}
  Answer onAccept(int fd, const base::Address& local, FirstBytes& found) override;
  Answer onBytes(std::string_view so_far, bool eof, FirstBytes& found) override;

 private:
  Answer is(HttpInspectorStat stat, const char* protocol, FirstBytes& found);
  const HttpInspectorConfig& config_;
};

}  // namespace outrider::filter::listener::http_inspector
