#include "source/filter/listener/tls_inspector/tls_inspector_parse.h"

#include <algorithm>

#include "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.pb.h"
#include "source/filter/listener/tls_inspector/tls_inspector.h"

namespace outrider::filter::listener::tls_inspector {

namespace pb = envoy::extensions::filters::listener::tls_inspector::v3;

std::shared_ptr<const ListenerFilterFactory> parseTlsInspector(std::string_view, std::string_view bytes, FilterContext& context) {
  config::Problems& problems = context.parse.problems;
  pb::TlsInspector in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    problems.add("cannot be decoded as TlsInspector");
    return nullptr;
  }
  auto out = std::make_shared<TlsInspectorConfig>();
  if (in.has_max_client_hello_size()) {
    const uint32_t most = in.max_client_hello_size().value();
    if (most == 0 || most > tls::ClientHelloReader::kMostBytes) {
      problems.addAt("max_client_hello_size", std::to_string(most), "is out of range", "1 to 16384");
      return nullptr;
    }
    out->most_bytes = most;
  }
  out->close_on_errors = in.close_connection_on_client_hello_parsing_errors();
  if (in.enable_ja3_fingerprinting().value()) problems.unsupported("enable_ja3_fingerprinting");
  if (in.enable_ja4_fingerprinting().value()) problems.unsupported("enable_ja4_fingerprinting");
  // initial_read_buffer_size is a hint for memory; a connection's first block is always the same.
  out->stats = TlsInspectorStats(context.parse.stats.scope("tls_inspector.", kTlsInspectorTable));
  return out;
}

}  // namespace outrider::filter::listener::tls_inspector
