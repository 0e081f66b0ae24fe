// Envoy's ssl.* and *_ssl_socket_factory.* counters of one listener or cluster.
// Thread: made anywhere; written by sessions on their workers. Lifetime: shared by the transports' makers and their
// sessions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "source/stats/stats.h"

namespace outrider::tls {

#define OUTRIDER_SSL_STATS(C, G, H)                \
  C(kConnectionError, "connection_error")          \
  C(kHandshake, "handshake")                       \
  C(kSessionReused, "session_reused")              \
  C(kNoCertificate, "no_certificate")              \
  C(kFailVerifyNoCert, "fail_verify_no_cert")      \
  C(kFailVerifyError, "fail_verify_error")         \
  C(kFailVerifySan, "fail_verify_san")             \
  C(kFailVerifyCertHash, "fail_verify_cert_hash")  \
  C(kOcspStapleFailed, "ocsp_staple_failed")       \
  C(kOcspStapleOmitted, "ocsp_staple_omitted")     \
  C(kOcspStapleResponses, "ocsp_staple_responses") \
  C(kOcspStapleRequests, "ocsp_staple_requests")
OUTRIDER_STATS(SslStat, kSslTable, OUTRIDER_SSL_STATS)

#define OUTRIDER_SSL_FACTORY_STATS(C, G, H)                         \
  C(kContextUpdateBySds, "ssl_context_update_by_sds")               \
  C(kUpstreamSecretsNotReady, "upstream_context_secrets_not_ready") \
  C(kDownstreamSecretsNotReady, "downstream_context_secrets_not_ready")
OUTRIDER_STATS(SslFactoryStat, kSslFactoryTable, OUTRIDER_SSL_FACTORY_STATS)

enum class SslSide : uint8_t { kServer, kClient };

struct SslStats {
  // `owner` ends in a dot: "listener.0.0.0.0_443.", "cluster.a.".
  static std::shared_ptr<const SslStats> make(stats::Store& store, const std::string& owner, SslSide side) {
    auto made = std::make_shared<SslStats>();
    const std::string prefix = owner + "ssl.";
    const char* factory = side == SslSide::kServer ? "server_ssl_socket_factory." : "client_ssl_socket_factory.";
    made->factory = stats::Set<SslFactoryStat>(store.scope(owner + factory, kSslFactoryTable));
    made->counters = stats::Set<SslStat>(store.scope(prefix, kSslTable));
    made->ciphers = store.series(prefix + "ciphers.", 64);
    made->versions = store.series(prefix + "versions.", 16);
    made->curves = store.series(prefix + "curves.", 32);
    made->sigalgs = store.series(prefix + "sigalgs.", 32);
    return made;
  }

  stats::Set<SslStat> counters;
  stats::Set<SslFactoryStat> factory;
  stats::SeriesRef ciphers, versions, curves, sigalgs;
};
using SslStatsRef = std::shared_ptr<const SslStats>;

}  // namespace outrider::tls
