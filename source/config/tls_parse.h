// Envoy's TLS messages into specs: reads the files, maps BoringSSL's names, collects every problem with its path.
// Thread: any; reads files, so off the workers. What would weaken a connection's security when left out is refused;
// what only costs a convenience is reported as unsupported. What only OpenSSL can tell (bad PEM, key of another
// certificate) is told by tls::checkDownstream / checkUpstream / checkSecret.
#pragma once

#include "source/config/problems.h"
#include "source/config/tls_spec.h"

namespace envoy::extensions::transport_sockets::tls::v3 {
class DownstreamTlsContext;
class UpstreamTlsContext;
class Secret;
}  // namespace envoy::extensions::transport_sockets::tls::v3
namespace envoy::config::core::v3 {
class DataSource;
class ConfigSource;
}  // namespace envoy::config::core::v3

namespace outrider::config {

DownstreamTlsSpec parseDownstreamTls(const envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext& in, Problems& problems);
UpstreamTlsSpec parseUpstreamTls(const envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext& in, Problems& problems);
SecretSpec parseSecret(const envoy::extensions::transport_sockets::tls::v3::Secret& in, Problems& problems);

// At the current path. An unreadable file is a problem that names the file and the cause.
DataSpec readDataSource(const envoy::config::core::v3::DataSource& in, Problems& problems);

// BoringSSL's cipher text ("[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]") into OpenSSL's names, at
// the current path.
void mapCiphers(std::string_view text, std::vector<std::string>& out, Problems& problems);

}  // namespace outrider::config
