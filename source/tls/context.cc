#include "source/tls/context.h"

#include <algorithm>
#include <ctime>

#include <openssl/err.h>

#include "source/tls/certificate.h"
#include "source/tls/openssl_ptr.h"
#include "source/tls/session_callbacks.h"

namespace outrider::tls {
namespace {

// Envoy's list; suites of one bracket group are neighbours (see SSL_OP_PRIORITIZE_CHACHA below).
constexpr char kDefaultCiphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-"
    "POLY1305:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
constexpr char kSuites13[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr char kDefaultGroups[] = "X25519:P-256";
constexpr size_t kReadAhead = 32 * 1024;
constexpr long kSessionSeconds = 7200;
constexpr size_t kMostPeersKept = 1024;

int wireVersion(config::TlsVersion version) {
  switch (version) {
    case config::TlsVersion::kTls10: return TLS1_VERSION;
    case config::TlsVersion::kTls11: return TLS1_1_VERSION;
    case config::TlsVersion::kTls12: return TLS1_2_VERSION;
    case config::TlsVersion::kTls13: return TLS1_3_VERSION;
    case config::TlsVersion::kAuto: break;
  }
  return 0;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) {
    if (!out.empty()) out += ':';
    out += part;
  }
  return out;
}

// A text that is equal only for equal content: each part with its length in front.
class Key final {
 public:
  Key& add(std::string_view part) {
    text_ += std::to_string(part.size());
    text_ += ':';
    text_ += part;
    return *this;
  }
  Key& add(uint64_t number) { return add(std::to_string(number)); }
  Key& add(const std::vector<std::string>& list) {
    add(list.size());
    for (const std::string& part : list) add(part);
    return *this;
  }
  Key& add(const config::DataSpec& data) { return add(data.path).add(data.bytes); }
  Key& add(const config::TlsParamsSpec& params) {
    return add(static_cast<uint64_t>(params.min))
        .add(static_cast<uint64_t>(params.max))
        .add(params.ciphers)
        .add(params.groups)
        .add(params.signatures);
  }
  Key& add(const config::CertificateSpec& certificate) {
    return add(certificate.chain).add(certificate.key).add(certificate.pkcs12).add(certificate.password).add(certificate.ocsp_staple);
  }
  Key& trust(const config::ValidationSpec& spec) {
    return add(spec.trusted_ca)
        .add(spec.crl)
        .add(spec.system_roots)
        .add(spec.only_leaf_crl)
        .add(spec.allow_expired)
        .add(spec.max_depth.value_or(~0u));
  }
  Key& checks(const config::ValidationSpec& spec) {
    add(spec.accept_untrusted).add(spec.sans.size());
    for (const config::SanMatcherSpec& san : spec.sans) {
      add(static_cast<uint64_t>(san.type)).add(static_cast<uint64_t>(san.text.kind)).add(san.text.value).add(san.text.ignore_case);
    }
    for (const auto* list : {&spec.spki, &spec.hashes}) {
      add(list->size());
      for (const config::Sha256& hash : *list) add(std::string_view(reinterpret_cast<const char*>(hash.data()), hash.size()));
    }
    return *this;
  }
  Key& identity(const config::CommonTlsSpec& spec) {
    add(spec.params).add(spec.certificates.size());
    for (const config::CertificateSpec& certificate : spec.certificates) add(certificate);
    return *this;
  }
  // Keys hold secrets; only their hash is kept.
  std::string hash() const {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_Digest(text_.data(), text_.size(), bytes, &size, EVP_sha256(), nullptr);
    return {reinterpret_cast<const char*>(bytes), size};
  }

 private:
  std::string text_;
};

std::string nativeKey(const config::UpstreamTlsSpec& spec) {
  Key key;
  key.add("client").identity(spec.common).add(spec.max_session_keys > 0);
  if (spec.common.validation) {
    const config::ValidationSpec& validation = *spec.common.validation;
    key.trust(validation).add(validation.verifiesChain() || validation.pinsOrNames());
  }
  return key.hash();
}

std::string fullKey(const config::UpstreamTlsSpec& spec) {
  Key key;
  key.add(nativeKey(spec)).add(spec.sni).add(spec.auto_host_sni).add(spec.auto_sni_san_validation).add(spec.max_session_keys);
  key.add(spec.common.alpn);
  if (spec.common.validation) key.checks(*spec.common.validation);
  return key.hash();
}

// Sessions may be resumed only where everything that decides on the client is the same; so all of it makes the context.
std::string fullKey(const config::DownstreamTlsSpec& spec) {
  Key key;
  key.add("server").identity(spec.common).add(spec.common.alpn);
  key.add(spec.require_client_certificate).add(spec.full_scan_on_sni_mismatch).add(spec.prefer_client_ciphers);
  key.add(spec.stateless_resumption).add(spec.stateful_resumption).add(spec.ticket_keys);
  key.add(spec.session_timeout.value_or(~0u)).add(static_cast<uint64_t>(spec.ocsp_policy)).add(spec.session_timeout.has_value());
  if (spec.common.validation) key.trust(*spec.common.validation).checks(*spec.common.validation);
  return key.hash();
}

// Tickets that other processes seal with the same keys must be of the same rules; certificates may differ meanwhile.
std::string sessionScope(const config::DownstreamTlsSpec& spec) {
  Key key;
  key.add("scope").add(spec.require_client_certificate);
  if (spec.common.validation) key.trust(*spec.common.validation).checks(*spec.common.validation);
  return key.hash();
}

bool unresolved(const config::CommonTlsSpec& spec) { return !spec.certificate_sds.empty() || spec.validation_sds.has_value(); }

// A secret's context laid over the defaults, as protobuf merges messages: single values replace, lists grow.
void merge(config::ValidationSpec& into, const config::ValidationSpec& from) {
  if (from.trusted_ca.set()) into.trusted_ca = from.trusted_ca;
  if (from.crl.set()) into.crl = from.crl;
  into.system_roots |= from.system_roots;
  into.sans.insert(into.sans.end(), from.sans.begin(), from.sans.end());
  into.spki.insert(into.spki.end(), from.spki.begin(), from.spki.end());
  into.hashes.insert(into.hashes.end(), from.hashes.begin(), from.hashes.end());
  into.allow_expired |= from.allow_expired;
  into.accept_untrusted |= from.accept_untrusted;
  into.only_leaf_crl |= from.only_leaf_crl;
  if (from.max_depth) into.max_depth = from.max_depth;
}

bool resolveCommon(config::CommonTlsSpec& spec, const SecretLookup& secrets) {
  bool complete = true;
  if (!spec.certificate_sds.empty()) {
    std::vector<config::CertificateSpec> found;
    for (const config::SdsRef& ref : spec.certificate_sds) {
      const config::SecretSpec* secret = secrets(ref);
      if (secret != nullptr && secret->kind == config::SecretSpec::Kind::kCertificate) found.push_back(secret->certificate);
    }
    if (found.size() == spec.certificate_sds.size()) {
      spec.certificates = std::move(found);
      spec.certificate_sds.clear();
    } else {
      complete = false;
    }
  }
  if (spec.validation_sds) {
    const config::SecretSpec* secret = secrets(*spec.validation_sds);
    if (secret != nullptr && secret->kind == config::SecretSpec::Kind::kValidation) {
      if (!spec.validation) spec.validation.emplace();
      merge(*spec.validation, secret->validation);
      spec.validation_sds.reset();
    } else {
      complete = false;
    }
  }
  return complete;
}

// A name or a list of revocations says nothing about a certificate that anybody could have made.
void checkTrust(const config::CommonTlsSpec& spec, config::Problems& problems) {
  if (!spec.validation || spec.validation->verifiesChain()) return;
  const auto at = problems.field("validation_context");
  if (!spec.validation->sans.empty()) problems.addAt("trusted_ca", "", "is required to verify subject alternative names");
  if (spec.validation->crl.set()) problems.addAt("trusted_ca", "", "is required to verify with a crl");
}

}  // namespace

std::string alpnWire(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    out += static_cast<char>(name.size());
    out += name;
  }
  return out;
}

bool resolve(config::DownstreamTlsSpec& spec, const SecretLookup& secrets) {
  bool complete = resolveCommon(spec.common, secrets);
  if (spec.ticket_keys_sds) {
    const config::SecretSpec* secret = secrets(*spec.ticket_keys_sds);
    if (secret != nullptr && secret->kind == config::SecretSpec::Kind::kTicketKeys) {
      spec.ticket_keys = secret->ticket_keys;
      spec.ticket_keys_sds.reset();
    } else {
      complete = false;
    }
  }
  return complete;
}

bool resolve(config::UpstreamTlsSpec& spec, const SecretLookup& secrets) { return resolveCommon(spec.common, secrets); }

void checkSecret(const config::SecretSpec& secret, config::Problems& problems) {
  switch (secret.kind) {
    case config::SecretSpec::Kind::kCertificate: {
      const auto at = problems.field("tls_certificate");
      loadCertificate(secret.certificate, problems);
      break;
    }
    case config::SecretSpec::Kind::kValidation: {
      const auto at = problems.field("validation_context");
      Bundle bundle;
      if (secret.validation.trusted_ca.set() && loadBundle("trusted_ca", secret.validation.trusted_ca, bundle, problems) &&
          bundle.certificates.empty()) {
        problems.addAt("trusted_ca", secret.validation.trusted_ca.path, "holds no certificate", "PEM");
      }
      if (secret.validation.crl.set()) loadBundle("crl", secret.validation.crl, bundle, problems);
      break;
    }
    case config::SecretSpec::Kind::kTicketKeys:
    case config::SecretSpec::Kind::kGeneric:
    case config::SecretSpec::Kind::kNone: break;
  }
}

// ---- NativeContext ----

NativeContext::~NativeContext() { SSL_CTX_free(ctx_); }

bool NativeContext::common(const config::CommonTlsSpec& spec, config::Problems& problems) {
  {
    const auto at = problems.field("tls_params");
    SSL_CTX_set_min_proto_version(ctx_, wireVersion(spec.params.min));
    SSL_CTX_set_max_proto_version(ctx_, wireVersion(spec.params.max));
    // Asked for by name, and else refused by the library's own rules.
    if (spec.params.min < config::TlsVersion::kTls12) SSL_CTX_set_security_level(ctx_, 0);
    const std::string ciphers = spec.params.ciphers.empty() ? kDefaultCiphers : joined(spec.params.ciphers);
    if (SSL_CTX_set_cipher_list(ctx_, ciphers.c_str()) != 1) problems.addAt("cipher_suites", ciphers, "none is usable");
    SSL_CTX_set_ciphersuites(ctx_, kSuites13);
    std::string groups = spec.params.groups.empty() ? kDefaultGroups : joined(spec.params.groups);
    if (SSL_CTX_set1_groups_list(ctx_, groups.data()) != 1) problems.addAt("ecdh_curves", groups, "none is usable");
    if (!spec.params.signatures.empty()) {
      std::string list = joined(spec.params.signatures);
      if (SSL_CTX_set1_sigalgs_list(ctx_, list.data()) != 1) problems.addAt("signature_algorithms", list, "none is usable");
    }
  }
  // An end without close_notify is ours to judge (Session::read()): as an error of the library's it would cost the peer its
  // session, which RFC 5246 7.2.1 allows to be resumed.
  SSL_CTX_set_options(ctx_, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(ctx_, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_clear_mode(ctx_, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(ctx_, 1);
  SSL_CTX_set_default_read_buffer_len(ctx_, kReadAhead);
  for (size_t i = 0; i < spec.certificates.size(); ++i) {
    const auto at = problems.element("tls_certificates", i);
    auto loaded = loadCertificate(spec.certificates[i], problems);
    if (loaded == nullptr) continue;
    const config::CertificateSpec& from = spec.certificates[i];
    own_.push_back(describe(*loaded->leaf, from.pkcs12.set() ? from.pkcs12.path : from.chain.path));
    certificates_.push_back(std::move(loaded));
  }
  return true;
}

bool NativeContext::trust(const config::ValidationSpec& spec, bool server, config::Problems& problems) {
  const auto at = problems.field("validation_context");
  X509_STORE* store = SSL_CTX_get_cert_store(ctx_);
  unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;  // an intermediate in trusted_ca is an anchor too, as in Envoy
  Bundle bundle;
  if (spec.trusted_ca.set() && loadBundle("trusted_ca", spec.trusted_ca, bundle, problems)) {
    if (bundle.certificates.empty()) problems.addAt("trusted_ca", spec.trusted_ca.path, "holds no certificate", "PEM");
    for (const X509Ptr& one : bundle.certificates) {
      X509_STORE_add_cert(store, one.get());
      authorities_.push_back(describe(*one, spec.trusted_ca.path));
      if (server) SSL_CTX_add_client_CA(ctx_, one.get());
    }
  }
  if (spec.system_roots) SSL_CTX_set_default_verify_paths(ctx_);
  if (spec.crl.set()) {
    const size_t before = bundle.crls.size();
    if (loadBundle("crl", spec.crl, bundle, problems) && bundle.crls.size() == before) {
      problems.addAt("crl", spec.crl.path, "holds no revocation list", "PEM");
    }
  }
  for (const auto& crl : bundle.crls) {
    X509_STORE_add_crl(store, crl.get());
    if (const int64_t next = nextUpdate(*crl); next != 0) crls_good_until_ = std::min(crls_good_until_, next);
  }
  if (!bundle.crls.empty()) flags |= X509_V_FLAG_CRL_CHECK | (spec.only_leaf_crl ? 0 : X509_V_FLAG_CRL_CHECK_ALL);
  X509_STORE_set_flags(store, flags);
  if (spec.max_depth) SSL_CTX_set_verify_depth(ctx_, static_cast<int>(*spec.max_depth));
  ERR_clear_error();
  return true;
}

std::shared_ptr<const NativeContext> NativeContext::server(const config::DownstreamTlsSpec& spec, std::string_view session_scope,
                                                           std::shared_ptr<SessionCache> sessions, config::Problems& problems) {
  ERR_clear_error();
  const size_t before = problems.size();
  std::shared_ptr<NativeContext> out(new NativeContext());
  out->ctx_ = SSL_CTX_new(TLS_server_method());
  SSL_CTX* ctx = out->ctx_;
  out->common(spec.common, problems);
  out->ocsp_policy_ = spec.ocsp_policy;
  out->full_scan_ = spec.full_scan_on_sni_mismatch;
  out->ticket_keys_ = spec.ticket_keys;
  out->sessions_ = std::move(sessions);
  out->session_scope_ = out->sessions_->newScope();
  Callbacks callbacks;
  callbacks.server = true;
  if (!spec.prefer_client_ciphers) SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);

  int mode = SSL_VERIFY_NONE;
  if (spec.common.validation) {
    const config::ValidationSpec& validation = *spec.common.validation;
    out->trust(validation, true, problems);
    if (validation.verifiesChain() || validation.pinsOrNames()) mode = SSL_VERIFY_PEER;
    if (validation.pinsOrNames()) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  }
  if (spec.require_client_certificate) mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  SSL_CTX_set_verify(ctx, mode, nullptr);

  bool staples = spec.ocsp_policy != config::OcspPolicy::kLenient;
  for (const auto& certificate : out->certificates_) {
    staples |= !certificate->staple.empty() || certificate->must_staple;
    if (spec.ocsp_policy == config::OcspPolicy::kMustStaple && certificate->staple.empty()) {
      problems.addAt("tls_certificates", out->own_[0].path, "has no ocsp_staple", "ocsp_staple_policy is MUST_STAPLE");
    }
    if (certificate->must_staple && certificate->staple.empty()) {
      problems.addAt("tls_certificates", out->own_[0].path, "asks for stapling but has no ocsp_staple");
    }
  }
  callbacks.staple = staples;
  callbacks.choose_certificate = staples || out->certificates_.size() > 1;
  if (!callbacks.choose_certificate && !out->certificates_.empty()) {
    const Certificate& only = *out->certificates_[0];
    if (SSL_CTX_use_cert_and_key(ctx, only.leaf.get(), only.key.get(), only.chain.get(), 1) != 1) {
      problems.addAt("tls_certificates", out->own_[0].path, "cannot be used: " + opensslCause());
    }
  }

  // Resumption: by a session kept here unless ticket keys were given. Without either there is none.
  const bool tickets = !spec.ticket_keys.empty() && spec.stateless_resumption;
  const bool kept = !tickets && spec.stateful_resumption;
  callbacks.tickets = tickets;
  callbacks.kept = kept;
  if (!tickets) SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(ctx, kept ? SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(ctx, spec.session_timeout ? static_cast<long>(*spec.session_timeout) : kSessionSeconds);
  SSL_CTX_set_num_tickets(ctx, tickets || kept ? 1 : 0);
  SSL_CTX_set_session_id_context(ctx, reinterpret_cast<const unsigned char*>(session_scope.data()),
                                 static_cast<unsigned>(std::min<size_t>(session_scope.size(), SSL_MAX_SID_CTX_LENGTH)));
  installCallbacks(ctx, callbacks);
  ERR_clear_error();
  if (problems.size() != before) return nullptr;
  return out;
}

std::shared_ptr<const NativeContext> NativeContext::client(const config::UpstreamTlsSpec& spec, config::Problems& problems) {
  ERR_clear_error();
  const size_t before = problems.size();
  std::shared_ptr<NativeContext> out(new NativeContext());
  out->ctx_ = SSL_CTX_new(TLS_client_method());
  SSL_CTX* ctx = out->ctx_;
  out->common(spec.common, problems);
  int mode = SSL_VERIFY_NONE;
  if (spec.common.validation) {
    out->trust(*spec.common.validation, false, problems);
    if (spec.common.validation->verifiesChain() || spec.common.validation->pinsOrNames()) mode = SSL_VERIFY_PEER;
  }
  SSL_CTX_set_verify(ctx, mode, nullptr);
  if (!out->certificates_.empty()) {
    const Certificate& only = *out->certificates_[0];
    if (SSL_CTX_use_cert_and_key(ctx, only.leaf.get(), only.key.get(), only.chain.get(), 1) != 1) {
      problems.addAt("tls_certificates", out->own_[0].path, "cannot be used: " + opensslCause());
    }
  }
  SSL_CTX_set_session_cache_mode(ctx, spec.max_session_keys > 0 ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF);
  installCallbacks(ctx, Callbacks{});
  ERR_clear_error();
  if (problems.size() != before) return nullptr;
  return out;
}

bool NativeContext::usable(const Certificate& certificate, int64_t now) const {
  const bool fresh = !certificate.staple.empty() && certificate.staple_until > now;
  switch (ocsp_policy_) {
    case config::OcspPolicy::kLenient: return !certificate.must_staple || fresh;
    case config::OcspPolicy::kStrict: return certificate.staple.empty() ? !certificate.must_staple : fresh;
    case config::OcspPolicy::kMustStaple: return fresh;
  }
  return false;
}

bool NativeContext::chooseCertificate(SSL* ssl) const {
  const int64_t now = ::time(nullptr);
  // Does the client take ECDSA signatures? (TLS 1.2 without the extension: SHA-1 of either kind; RSA then.)
  bool ecdsa = false;
  const int count = SSL_get_sigalgs(ssl, 0, nullptr, nullptr, nullptr, nullptr, nullptr);
  for (int i = 0; i < count && !ecdsa; ++i) {
    int kind = NID_undef;
    SSL_get_sigalgs(ssl, i, &kind, nullptr, nullptr, nullptr, nullptr);
    ecdsa = kind == EVP_PKEY_EC || kind == EVP_PKEY_ED25519;
  }
  std::string name;
  if (const char* asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name); asked != nullptr) {
    for (const char* at = asked; *at != 0; ++at) name += *at >= 'A' && *at <= 'Z' ? static_cast<char>(*at - 'A' + 'a') : *at;
  }
  // The first of a kind that the client takes; ECDSA before RSA; else whatever is left.
  const Certificate* chosen = nullptr;
  const auto consider = [&](const Certificate& one) {
    if (!usable(one, now)) return;
    if (one.ecdsa && !ecdsa) return;
    if (chosen == nullptr || (one.ecdsa && !chosen->ecdsa)) chosen = &one;
  };
  if (!name.empty()) {
    for (const bool wildcard : {false, true}) {
      for (const auto& one : certificates_) {
        if (one->covers(name, wildcard)) consider(*one);
      }
      if (chosen != nullptr) break;
    }
  }
  if (chosen == nullptr && full_scan_) {
    for (const auto& one : certificates_) consider(*one);
  }
  if (chosen == nullptr && !full_scan_ && !certificates_.empty() && usable(*certificates_[0], now)) chosen = certificates_[0].get();
  if (chosen == nullptr) return false;
  return SSL_use_cert_and_key(ssl, chosen->leaf.get(), chosen->key.get(), chosen->chain.get(), 1) == 1;
}

std::string_view NativeContext::staple(SSL* ssl) const {
  const X509* leaf = SSL_get_certificate(ssl);
  const int64_t now = ::time(nullptr);
  for (const auto& one : certificates_) {
    if (one->leaf.get() == leaf) return one->staple_until > now ? std::string_view(one->staple) : std::string_view();
  }
  return {};
}

// ---- ClientContext ----

ClientContext::ClientContext(std::shared_ptr<const NativeContext> native, Verifier verifier, const config::UpstreamTlsSpec& spec)
    : native_(std::move(native)),
      verifier_(std::move(verifier)),
      alpn_(alpnWire(spec.common.alpn)),
      sni_(spec.sni),
      max_sessions_(spec.max_session_keys),
      auto_host_sni_(spec.auto_host_sni),
      verifies_sni_(spec.auto_sni_san_validation) {}

ClientContext::~ClientContext() {
  for (const Kept& kept : kept_) SSL_SESSION_free(kept.session);
}

SessionCache::Found ClientContext::takeSession(std::string_view key, int64_t now) const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return {};
  for (size_t i = kept_.size(); i-- > 0;) {
    if (kept_[i].key != key) continue;
    const SessionCache::Found found{kept_[i].session, kept_[i].good_until};
    const bool over = now >= found.good_until;
    if (over || SSL_SESSION_get_protocol_version(found.session) == TLS1_3_VERSION) {
      kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      SSL_SESSION_up_ref(found.session);
    }
    if (!over) return found;
    SSL_SESSION_free(found.session);
  }
  return {};
}

void ClientContext::keepSession(std::string_view key, SSL_SESSION* session, int64_t good_until) const {
  const SessionPtr owned(session);
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  size_t same = 0;
  size_t oldest_same = kept_.size();
  for (size_t i = kept_.size(); i-- > 0;) {
    if (kept_[i].key != key) continue;
    ++same;
    oldest_same = i;
  }
  const size_t drop = same >= max_sessions_ ? oldest_same : kept_.size() >= kMostPeersKept ? 0 : kept_.size();
  if (drop < kept_.size()) {
    SSL_SESSION_free(kept_[drop].session);
    kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(drop));
  }
  SSL_SESSION_up_ref(session);
  kept_.push_back({std::string(key), session, good_until});
}

// ---- ContextCache ----

namespace {

template <class T>
std::shared_ptr<const T> living(std::map<std::string, std::weak_ptr<const T>, std::less<>>& map, const std::string& key) {
  const auto at = map.find(key);
  return at == map.end() ? nullptr : at->second.lock();
}

template <class T>
void keep(std::map<std::string, std::weak_ptr<const T>, std::less<>>& map, const std::string& key, const std::shared_ptr<const T>& made) {
  // The dead go when the map doubles, so that many contexts cost a constant each.
  if ((map.size() & (map.size() - 1)) == 0) std::erase_if(map, [](const auto& entry) { return entry.second.expired(); });
  map[key] = made;
}

}  // namespace

ServerContextRef ContextCache::server(const config::DownstreamTlsSpec& spec, config::Problems& problems) {
  const bool ready = !unresolved(spec.common) && !spec.ticket_keys_sds;
  const std::string key = fullKey(spec) + (ready ? "" : "-");
  const std::lock_guard lock(mutex_);
  if (auto found = living(servers_, key)) return found;
  const size_t before = problems.size();
  const auto at = problems.field("common_tls_context");
  std::shared_ptr<const NativeContext> native;
  Verifier verifier(spec.common.validation ? &*spec.common.validation : nullptr, false, problems);
  if (ready) {
    checkTrust(spec.common, problems);
    if (spec.common.certificates.empty()) problems.addAt("tls_certificates", "", "a server needs a certificate");
    native = NativeContext::server(spec, sessionScope(spec), sessions_, problems);
  }
  if (problems.size() != before) return nullptr;
  if (native != nullptr) keep(natives_, key, native);
  auto made = std::make_shared<const ServerContext>(std::move(native), std::move(verifier), alpnWire(spec.common.alpn));
  keep(servers_, key, made);
  return made;
}

ClientContextRef ContextCache::client(const config::UpstreamTlsSpec& spec, config::Problems& problems) {
  const bool ready = !unresolved(spec.common);
  const std::string key = fullKey(spec) + (ready ? "" : "-");
  const std::lock_guard lock(mutex_);
  if (auto found = living(clients_, key)) return found;
  const size_t before = problems.size();
  const auto at = problems.field("common_tls_context");
  std::shared_ptr<const NativeContext> native;
  Verifier verifier(spec.common.validation ? &*spec.common.validation : nullptr, true, problems);
  if (ready) {
    checkTrust(spec.common, problems);
    const std::string native_key = nativeKey(spec);
    native = living(natives_, native_key);
    if (native == nullptr) {
      native = NativeContext::client(spec, problems);
      if (native != nullptr) keep(natives_, native_key, native);
    }
  }
  if (problems.size() != before) return nullptr;
  auto made = std::make_shared<const ClientContext>(std::move(native), std::move(verifier), spec);
  keep(clients_, key, made);
  return made;
}

size_t ContextCache::nativeContexts() const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::count_if(natives_.begin(), natives_.end(), [](const auto& entry) { return !entry.second.expired(); }));
}

void ContextCache::visit(const std::function<void(const NativeContext&)>& fn) const {
  std::vector<std::shared_ptr<const NativeContext>> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, weak] : natives_) {
      if (auto one = weak.lock()) all.push_back(std::move(one));
    }
  }
  for (const auto& one : all) fn(*one);
}

}  // namespace outrider::tls
