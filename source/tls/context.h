// TLS contexts: everything that sessions of one configuration share. Made off the workers, immutable, interned by
// content, so ten thousand clusters with one secret cost one of OpenSSL's contexts. A rotated secret makes a new
// context for new connections; sessions keep theirs alive. Thread: made on any thread; making sessions from them is
// safe on all at once. Lifetime: shared. Sources: envoy.extensions.transport_sockets.tls.v3; RFC 8446, 5246, 6066,
// 5077.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/problems.h"
#include "source/config/tls_spec.h"
#include "source/tls/cert_info.h"
#include "source/tls/session_cache.h"
#include "source/tls/verifier.h"

struct ssl_ctx_st;
struct ssl_session_st;
struct ssl_st;

namespace outrider::tls {

struct Certificate;

// One of OpenSSL's contexts with the certificates that it chooses from.
class NativeContext final {
 public:
  static std::shared_ptr<const NativeContext> server(const config::DownstreamTlsSpec& spec, std::string_view session_scope,
                                                     std::shared_ptr<SessionCache> sessions, config::Problems& problems);
  static std::shared_ptr<const NativeContext> client(const config::UpstreamTlsSpec& spec, config::Problems& problems);
  ~NativeContext();
  NativeContext(const NativeContext&) = delete;
  NativeContext& operator=(const NativeContext&) = delete;

  ssl_ctx_st* ctx() const { return ctx_; }
  const std::vector<CertInfo>& ownCertificates() const { return own_; }
  const std::vector<CertInfo>& authorities() const { return authorities_; }
  const std::vector<std::string>& ticketKeys() const { return ticket_keys_; }
  // When the first revocation list wants a successor; seconds since the epoch. A full handshake may fail from then on.
  int64_t crlsGoodUntil() const { return crls_good_until_; }

  // Server: sessions that are kept here are found again only by this context, which all that decides on a client is part of.
  void keepSession(ssl_session_st* session, std::string_view server_name, int64_t good_until) const {
    sessions_->put(session_scope_, session, server_name, good_until);  // takes over one reference
  }
  SessionCache::Found findSession(std::string_view id, std::string_view server_name, int64_t now) const {
    return sessions_->find(session_scope_, id, server_name, now);
  }

  // Server: installs the certificate that suits the client. False: none does (MUST_STAPLE, STRICT_STAPLING).
  bool chooseCertificate(ssl_st* ssl) const;
  // Server: the OCSP response of the chosen certificate; empty: none, or it is over.
  std::string_view staple(ssl_st* ssl) const;

 private:
  NativeContext() = default;
  bool common(const config::CommonTlsSpec& spec, config::Problems& problems);
  bool trust(const config::ValidationSpec& spec, bool server, config::Problems& problems);
  bool usable(const Certificate& certificate, int64_t now) const;

  ssl_ctx_st* ctx_ = nullptr;
  std::vector<std::unique_ptr<const Certificate>> certificates_;
  std::vector<CertInfo> own_;
  std::vector<CertInfo> authorities_;
  std::vector<std::string> ticket_keys_;
  std::shared_ptr<SessionCache> sessions_;
  uint64_t session_scope_ = 0;
  int64_t crls_good_until_ = INT64_MAX;
  config::OcspPolicy ocsp_policy_ = config::OcspPolicy::kLenient;
  bool full_scan_ = false;
};

class ServerContext final {
 public:
  ServerContext(std::shared_ptr<const NativeContext> native, Verifier verifier, std::string alpn)
      : native_(std::move(native)), verifier_(std::move(verifier)), alpn_(std::move(alpn)) {}
  // False: a secret has not come yet; sessions refuse every handshake.
  bool ready() const { return native_ != nullptr; }
  const NativeContext* native() const { return native_.get(); }
  const Verifier& verifier() const { return verifier_; }
  std::string_view alpn() const { return alpn_; }  // in wire form

 private:
  std::shared_ptr<const NativeContext> native_;
  Verifier verifier_;
  std::string alpn_;
};

class ClientContext final {
 public:
  ClientContext(std::shared_ptr<const NativeContext> native, Verifier verifier, const config::UpstreamTlsSpec& spec);
  ~ClientContext();
  bool ready() const { return native_ != nullptr; }
  const NativeContext* native() const { return native_.get(); }
  const Verifier& verifier() const { return verifier_; }
  std::string_view alpn() const { return alpn_; }
  std::string_view sni() const { return sni_; }
  bool autoHostSni() const { return auto_host_sni_; }
  bool verifiesSni() const { return verifies_sni_; }

  // Sessions to resume, per peer (`key`: address and SNI), shared by all workers. take: the caller owns the result, null when
  // there is none that is still good. Both give up when another worker is at it. A session of TLS 1.3 is used once.
  SessionCache::Found takeSession(std::string_view key, int64_t now) const;
  void keepSession(std::string_view key, ssl_session_st* session, int64_t good_until) const;  // takes over one reference
  bool keepsSessions() const { return max_sessions_ > 0; }

 private:
  struct Kept {
    std::string key;
    ssl_session_st* session;
    int64_t good_until;
  };
  std::shared_ptr<const NativeContext> native_;
  Verifier verifier_;
  std::string alpn_;
  std::string sni_;
  uint32_t max_sessions_;
  bool auto_host_sni_;
  bool verifies_sni_;
  mutable std::mutex mutex_;
  mutable std::vector<Kept> kept_;  // oldest first
};

using ServerContextRef = std::shared_ptr<const ServerContext>;
using ClientContextRef = std::shared_ptr<const ClientContext>;

// ALPN names in wire form; an empty list gives an empty text.
std::string alpnWire(const std::vector<std::string>& names);

// Puts secrets in the place of references. False: one is missing, and its reference stays. Secrets are found by their
// reference; one of the wrong kind counts as missing.
using SecretLookup = std::function<const config::SecretSpec*(const config::SdsRef&)>;
bool resolve(config::DownstreamTlsSpec& spec, const SecretLookup& secrets);
bool resolve(config::UpstreamTlsSpec& spec, const SecretLookup& secrets);

// What only OpenSSL can tell of a secret: PEM, the key belongs to the certificate, the bundle holds certificates.
void checkSecret(const config::SecretSpec& secret, config::Problems& problems);

class ContextCache final {
 public:
  // Null after problems were added (paths below common_tls_context). A spec with references left is not ready but no
  // problem.
  ServerContextRef server(const config::DownstreamTlsSpec& spec, config::Problems& problems);
  ClientContextRef client(const config::UpstreamTlsSpec& spec, config::Problems& problems);
  size_t nativeContexts() const;  // living
  // All living certificates, for /certs.
  void visit(const std::function<void(const NativeContext&)>& fn) const;
  const SessionCache& sessions() const { return *sessions_; }

 private:
  template <class T>
  using Map = std::map<std::string, std::weak_ptr<const T>, std::less<>>;
  const std::shared_ptr<SessionCache> sessions_ = std::make_shared<SessionCache>();  // of all servers
  mutable std::mutex mutex_;
  Map<NativeContext> natives_;
  Map<ServerContext> servers_;
  Map<ClientContext> clients_;
};

}  // namespace outrider::tls
