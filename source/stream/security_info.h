// What is known of a secured connection's peer and session: filled by its transport, read by formats, filters and logs.
// Thread: the connection's worker. Lifetime: the connection's. Empty strings where there is nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace outrider::stream {

struct SecurityInfo {
  std::string version;  // "TLSv1.3"
  std::string cipher;   // OpenSSL's name as Envoy prints it ("TLS_AES_128_GCM_SHA256")
  std::string sni;
  std::string alpn;
  std::string session_id;       // hex
  bool peer_presented = false;  // a client/server certificate came
  bool peer_validated = false;
  std::string peer_subject, peer_issuer, peer_serial;
  std::string peer_fingerprint_256, peer_fingerprint_1;
  std::string peer_pem;  // URL-encoded PEM, as x-forwarded-client-cert wants it
  std::string peer_chain_pem;
  int64_t peer_valid_from = 0, peer_valid_to = 0;  // seconds since the epoch
  std::vector<std::string> peer_uri_sans, peer_dns_sans, peer_ip_sans;
  std::string local_subject;
  std::vector<std::string> local_uri_sans, local_dns_sans;
};

}  // namespace outrider::stream
