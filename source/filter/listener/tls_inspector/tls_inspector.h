// Finds out whether a connection begins with TLS, and for which server name and protocols, before a filter chain is
// chosen. Thread: the accepting worker. Lifetime: until it answered. Bytes are only looked at. Source:
// envoy.extensions.filters.listener.tls_inspector.v3; Envoy docs "tls_inspector", statistics "tls_inspector.".
#pragma once

#include "source/filter/listener.h"
#include "source/stats/stats.h"
#include "source/tls/client_hello.h"

namespace outrider::filter::listener::tls_inspector {

#define OUTRIDER_TLS_INSPECTOR_STATS(C, G, H)       \
  C(kAlpnFound, "alpn_found")                       \
  C(kAlpnNotFound, "alpn_not_found")                \
  H(kBytesProcessed, "bytes_processed")             \
  C(kClientHelloTooLarge, "client_hello_too_large") \
  C(kSniFound, "sni_found")                         \
  C(kSniNotFound, "sni_not_found")                  \
  C(kTlsFound, "tls_found")                         \
  C(kTlsNotFound, "tls_not_found")
OUTRIDER_STATS(TlsInspectorStat, kTlsInspectorTable, OUTRIDER_TLS_INSPECTOR_STATS)
using TlsInspectorStats = stats::Set<TlsInspectorStat>;

struct TlsInspectorConfig final : ListenerFilterFactory {
  size_t most_bytes = tls::ClientHelloReader::kMostBytes;
  bool close_on_errors = false;
  TlsInspectorStats stats;
  std::unique_ptr<ListenerFilter> make() const override;
  size_t mostBytes() const override { return most_bytes; }
};

class TlsInspector final : public ListenerFilter {
 public:
  explicit TlsInspector(const TlsInspectorConfig& config) : config_(config) {}
  Answer onBytes(std::string_view so_far, bool eof, FirstBytes& found) override;

 private:
  Answer over(TlsInspectorStat stat, size_t bytes, bool error);
  const TlsInspectorConfig& config_;
  tls::ClientHelloReader reader_;
};

}  // namespace outrider::filter::listener::tls_inspector
