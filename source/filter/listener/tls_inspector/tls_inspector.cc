#include "source/filter/listener/tls_inspector/tls_inspector.h"

namespace outrider::filter::listener::tls_inspector {

std::unique_ptr<ListenerFilter> TlsInspectorConfig::make() const { return std::make_unique<TlsInspector>(*this); }

ListenerFilter::Answer TlsInspector::over(TlsInspectorStat stat, size_t bytes, bool error) {
  config_.stats.inc(stat);
  config_.stats.record(TlsInspectorStat::kBytesProcessed, bytes);
  return error && config_.close_on_errors ? Answer::kClose : Answer::kDone;
}

ListenerFilter::Answer TlsInspector::onBytes(std::string_view so_far, bool eof, FirstBytes& found) {
  switch (reader_.read(so_far)) {
    case tls::ClientHelloReader::Answer::kMore:
      if (so_far.size() >= config_.most_bytes) return over(TlsInspectorStat::kClientHelloTooLarge, so_far.size(), true);
      if (eof) return over(TlsInspectorStat::kTlsNotFound, so_far.size(), !so_far.empty());
      return Answer::kMore;
    case tls::ClientHelloReader::Answer::kFound: break;
    case tls::ClientHelloReader::Answer::kNotTls: return over(TlsInspectorStat::kTlsNotFound, so_far.size(), false);
    case tls::ClientHelloReader::Answer::kBad:
      return over(
          so_far.size() >= tls::ClientHelloReader::kMostBytes ? TlsInspectorStat::kClientHelloTooLarge : TlsInspectorStat::kTlsNotFound,
          so_far.size(), true);
  }
  found.transport_protocol = "tls";
  found.server_name = reader_.serverName();
  found.application_protocols = reader_.protocols();
  config_.stats.inc(found.server_name.empty() ? TlsInspectorStat::kSniNotFound : TlsInspectorStat::kSniFound);
  config_.stats.inc(found.application_protocols.empty() ? TlsInspectorStat::kAlpnNotFound : TlsInspectorStat::kAlpnFound);
  return over(TlsInspectorStat::kTlsFound, so_far.size(), false);
}

}  // namespace outrider::filter::listener::tls_inspector
