#include "source/tls/session.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>

#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "source/event/io.h"
#include "source/tls/certificate.h"
#include "source/tls/openssl_ptr.h"
#include "source/tls/session_callbacks.h"

namespace outrider::tls {
namespace {

constexpr size_t kRecord = 16 * 1024;  // plaintext in a record (RFC 8446 5.1)
constexpr size_t kSealBeforeSend = 4 * kRecord;
// A piece this long makes a record of its own rather than being copied together with its neighbours.
constexpr size_t kAloneFrom = kRecord / 2;
// Messages after the handshake that bring no bytes (key updates, tickets, renegotiation): so many in a row end the
// connection.
constexpr int kMostIdleMessages = 32;
// A client that resumes again and again proves itself anew after this (RFC 8446 4.6.1 allows no ticket a longer life).
constexpr int64_t kMostResumedSeconds = 7 * 24 * 3600;

// Cheaper than clearing an empty queue of errors, which it nearly always is.
void forgetErrors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

using net::IoResult;
using net::IoState;

IoState stateOf(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR ? IoState::kAgain : IoState::kReset; }

std::string upperCaseReason(const char* reason) {
  std::string out = reason != nullptr ? reason : "unknown";
  for (char& c : out) {
    if (c == ' ') c = '_';
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

std::string_view groupName(int nid) {
  switch (nid) {
    case NID_X25519: return "X25519";
    case NID_X9_62_prime256v1: return "P-256";
    case NID_secp384r1: return "P-384";
    case NID_secp521r1: return "P-521";
    default: return "other";
  }
}

std::string_view signatureName(int kind, int digest) {
  const bool s256 = digest == NID_sha256;
  const bool s384 = digest == NID_sha384;
  switch (kind) {
    case EVP_PKEY_RSA_PSS: return s256 ? "rsa_pss_rsae_sha256" : s384 ? "rsa_pss_rsae_sha384" : "rsa_pss_rsae_sha512";
    case EVP_PKEY_EC: return s256 ? "ecdsa_secp256r1_sha256" : s384 ? "ecdsa_secp384r1_sha384" : "ecdsa_secp521r1_sha512";
    case EVP_PKEY_RSA: return s256 ? "rsa_pkcs1_sha256" : s384 ? "rsa_pkcs1_sha384" : "rsa_pkcs1_sha512";
    case EVP_PKEY_ED25519: return "ed25519";
    default: return {};
  }
}

class Session;
Session& sessionOf(const SSL* ssl);

class Session final : public net::Transport {
 public:
  Session(ServerContextRef context, SslStatsRef stats);
  Session(ClientContextRef context, SslStatsRef stats, const ClientArgs& args);
  ~Session() override;

  void prime(base::Buffer& prefix) override { prefix_.move(prefix); }
  IoState handshake(int fd) override;
  bool slowHandshake() const override { return ssl_ != nullptr; }
  bool peerSpeaksFirst() const override { return server_ != nullptr && prefix_.empty() && sealed_.empty(); }
  IoResult read(int fd, base::Buffer& in, size_t most) override;
  IoResult write(int fd, base::Buffer& out) override;
  bool hasSealed() const override { return !sealed_.empty(); }
  bool pending() const override { return more_ || !prefix_.empty(); }
  IoState finishWriting(int fd) override;
  std::string_view alpn() const override;
  const net::SecurityInfo* security() override;
  std::string_view failure() const override { return failure_; }

  // Of OpenSSL.
  int bioRead(char* to, size_t room, size_t* got);
  void bioWrite(const char* data, size_t size);
  bool atEof() const { return eof_; }
  void onIdleMessage() { ++idle_messages_; }
  int verify(X509_STORE_CTX& store);
  bool keepSession(SSL_SESSION* session);
  SSL_SESSION* findSession(std::string_view id);
  // Until when the session stands for what its handshake proved; seconds since the epoch.
  int64_t sessionGoodUntil() const;
  void resumedUntil(int64_t seconds) { resumed_until_ = seconds; }
  const ServerContext* server() const { return server_.get(); }
  bool mayIgnoreExpiry() const { return verifier().allowExpired(); }
  void count(SslStat stat) const { stats_->counters.inc(stat); }

 private:
  bool begin(SSL_CTX* ctx);
  const Verifier& verifier() const { return server_ != nullptr ? server_->verifier() : client_->verifier(); }
  IoState flushSealed(int fd);
  IoState afterFailure(int code);
  void explain();
  void onEstablished();
  int64_t chainGoodUntil(X509_STORE_CTX& store) const;
  void fillPeer(net::SecurityInfo& info);

  ServerContextRef server_;  // one of the two
  ClientContextRef client_;
  SslStatsRef stats_;
  SslPtr ssl_;
  base::Buffer prefix_;                 // ciphertext that came before the socket's
  base::Buffer sealed_;                 // records for the socket
  std::string ticket_;                  // sealed before all of sealed_, and waits for something to go with
  int64_t verified_until_ = INT64_MAX;  // what a full handshake looked at is good until then
  int64_t resumed_until_ = 0;           // the session that was offered is
  std::string failure_;
  std::string verify_failure_;
  std::string sni_;
  std::string session_key_;
  std::unique_ptr<net::SecurityInfo> info_;
  int fd_ = -1;                 // during a call
  bool direct_ = false;         // write(): the record goes to the socket as it is
  int error_ = 0;               // of the last recv that failed
  int idle_messages_ = 0;       // since the last byte
  std::optional<IoState> end_;  // read(): comes after the bytes that were given first
  bool established_ = false;
  bool counted_ = false;     // this failure has its own counter
  bool eof_ = false;         // the socket's end
  bool short_read_ = false;  // read(): the socket had less than was asked for
  bool stop_when_short_ = false;
  bool would_block_ = false;  // read(): recv said so
  bool more_ = false;         // read() stopped before the library asked for more
  bool finishing_ = false;    // FIN once sealed_ is out
  bool broken_ = false;
  bool violated_ = false;  // broken_ by what the peer said, not by how it left
};

Session& sessionOf(const SSL* ssl) { return *static_cast<Session*>(SSL_get_app_data(ssl)); }

// ---- The BIO ----

BIO_METHOD* bioMethod() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
    BIO_meth_set_read_ex(made, [](BIO* bio, char* to, size_t room, size_t* got) {
      BIO_clear_retry_flags(bio);
      const int state = static_cast<Session*>(BIO_get_data(bio))->bioRead(to, room, got);
      if (state < 0) BIO_set_retry_read(bio);
      return state > 0 ? 1 : 0;
    });
    BIO_meth_set_write_ex(made, [](BIO* bio, const char* data, size_t size, size_t* written) {
      BIO_clear_retry_flags(bio);
      static_cast<Session*>(BIO_get_data(bio))->bioWrite(data, size);
      *written = size;
      return 1;
    });
    BIO_meth_set_ctrl(made, [](BIO* bio, int command, long, void*) -> long {
      switch (command) {
        case BIO_CTRL_FLUSH: return 1;
        case BIO_CTRL_EOF: return static_cast<Session*>(BIO_get_data(bio))->atEof() ? 1 : 0;
        default: return 0;
      }
    });
    return made;
  }();
  return method;
}

// 1: bytes; 0: the end or an error; -1: nothing now.
int Session::bioRead(char* to, size_t room, size_t* got) {
  if (!prefix_.empty()) {
    const size_t n = std::min(room, prefix_.size());
    prefix_.copyOut(n, to);
    prefix_.drain(n);
    *got = n;
    return 1;
  }
  if (idle_messages_ > kMostIdleMessages) {
    error_ = ECONNABORTED;
    return 0;
  }
  // A short read emptied the socket; what comes later raises an edge. After a hang-up the connection calls read()
  // again.
  if (stop_when_short_ && short_read_) return -1;
  const ssize_t n = event::io::recv(fd_, to, room);
  if (n > 0) {
    short_read_ = static_cast<size_t>(n) < room;
    *got = static_cast<size_t>(n);
    return 1;
  }
  if (n == 0) {
    eof_ = true;
    return 0;
  }
  if (stateOf(errno) == IoState::kAgain) {
    short_read_ = would_block_ = true;
    return -1;
  }
  error_ = errno;
  return 0;
}

void Session::bioWrite(const char* data, size_t size) {
  if (!ticket_.empty()) {
    sealed_.append(ticket_);
    ticket_ = std::string();
  }
  if (direct_ && sealed_.empty()) {
    const ssize_t n = event::io::send(fd_, data, size);
    if (n == static_cast<ssize_t>(size)) return;
    if (n > 0) {
      data += n;
      size -= static_cast<size_t>(n);
    }
  }
  sealed_.append(std::string_view(data, size));
}

// ---- Life ----

Session::Session(ServerContextRef context, SslStatsRef stats) : server_(std::move(context)), stats_(std::move(stats)) {
  if (server_->ready() && begin(server_->native()->ctx())) SSL_set_accept_state(ssl_.get());
}

Session::Session(ClientContextRef context, SslStatsRef stats, const ClientArgs& args)
    : client_(std::move(context)), stats_(std::move(stats)), sni_(args.sni.empty() ? client_->sni() : args.sni) {
  if (!begin(client_->native()->ctx())) return;
  SSL_set_connect_state(ssl_.get());
  if (!sni_.empty()) SSL_set_tlsext_host_name(ssl_.get(), sni_.c_str());
  const std::string_view alpn = args.alpn.empty() ? client_->alpn() : args.alpn;
  if (!alpn.empty()) {
    SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(alpn.data()), static_cast<unsigned>(alpn.size()));
  }
  if (client_->keepsSessions()) {
    session_key_ = std::string(args.peer) + " " + sni_;
    const SessionCache::Found found = client_->takeSession(session_key_, ::time(nullptr));
    if (const SessionPtr kept{found.session}; kept != nullptr) {
      resumed_until_ = found.good_until;
      SSL_set_session(ssl_.get(), kept.get());
    }
  }
}

bool Session::begin(SSL_CTX* ctx) {
  ssl_.reset(SSL_new(ctx));
  if (ssl_ == nullptr) return false;
  SSL_set_app_data(ssl_.get(), this);
  BIO* bio = BIO_new(bioMethod());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  return true;
}

Session::~Session() {
  if (ssl_ == nullptr) return;
  // OpenSSL forgets the session of a connection that ends without both alerts, which most do; only a violation of the
  // protocol is a reason to (RFC 5246 7.2.1).
  if (established_ && !violated_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

// ---- Handshake ----

IoState Session::handshake(int fd) {
  if (ssl_ == nullptr) {
    if (server_ != nullptr && !server_->ready()) {
      failure_ = "TLS error: Secret is not supplied by SDS";
      stats_->factory.inc(SslFactoryStat::kDownstreamSecretsNotReady);
    } else {
      failure_ = "TLS error: out of memory";
    }
    broken_ = true;
    return IoState::kError;
  }
  fd_ = fd;
  if (!established_) {
    forgetErrors();
    stop_when_short_ = false;
    int result;
    int code = SSL_ERROR_NONE;
    do {
      short_read_ = false;
      result = SSL_do_handshake(ssl_.get());
      if (result != 1) code = SSL_get_error(ssl_.get(), result);
      // The library may want more while the socket still has some: only an empty socket raises an edge.
    } while (result != 1 && code == SSL_ERROR_WANT_READ && !short_read_);
    if (result != 1) {
      if (code == SSL_ERROR_WANT_READ) return flushSealed(fd) == IoState::kReset ? IoState::kReset : IoState::kAgain;
      const IoState state = afterFailure(code);
      flushSealed(fd);  // the alert, if it goes at once
      return state;
    }
    established_ = true;
    onEstablished();
    SSL_set_msg_callback(ssl_.get(), [](int writing, int, int type, const void*, size_t, SSL* ssl, void*) {
      if (writing == 0 && type == SSL3_RT_HANDSHAKE) sessionOf(ssl).onIdleMessage();
    });
  }
  // A server's last words in TLS 1.3 are tickets, for which nobody waits. When a request is here already they go with its
  // answer, in one call. Else at once: they carry the acknowledgement that a client with Nagle's algorithm waits for (40 ms).
  if (server_ != nullptr && !sealed_.empty() && SSL_has_pending(ssl_.get()) != 0 && SSL_version(ssl_.get()) == TLS1_3_VERSION) {
    ticket_ = sealed_.str();
    sealed_.clear();
  }
  // Else the last flight is part of the handshake: established means that the socket took it.
  const IoState sent = flushSealed(fd);
  if (sent == IoState::kOk) more_ = true;  // what came behind the peer's last flight raises no edge
  return sent;
}

void Session::onEstablished() {
  count(SslStat::kHandshake);
  if (SSL_session_reused(ssl_.get()) != 0) count(SslStat::kSessionReused);
  if (SSL_get0_peer_certificate(ssl_.get()) == nullptr) count(SslStat::kNoCertificate);
  stats_->versions->inc(SSL_get_version(ssl_.get()));
  stats_->ciphers->inc(SSL_get_cipher_name(ssl_.get()));
  if (const int group = static_cast<int>(SSL_get_negotiated_group(ssl_.get())); group != NID_undef) {
    stats_->curves->inc(groupName(group));
  }
  int kind = NID_undef;
  int digest = NID_undef;
  if (SSL_get_peer_signature_type_nid(ssl_.get(), &kind) == 1) {
    SSL_get_peer_signature_nid(ssl_.get(), &digest);
    if (const std::string_view name = signatureName(kind, digest); !name.empty()) stats_->sigalgs->inc(name);
  }
}

// ---- Reading ----

IoResult Session::read(int fd, base::Buffer& in, size_t most) {
  if (end_) {
    more_ = false;
    return {*end_, 0, true};
  }
  if (ssl_ == nullptr || broken_) return {IoState::kError, 0, true};
  fd_ = fd;
  forgetErrors();
  stop_when_short_ = true;
  short_read_ = would_block_ = false;
  more_ = false;
  size_t total = 0;
  while (total < most) {
    const auto room = in.reserve(std::min<size_t>(most, 4096));
    size_t got = 0;
    if (SSL_read_ex(ssl_.get(), room.data, room.size, &got) == 1) {
      in.commit(got);
      total += got;
      idle_messages_ = 0;
      // Asking once more would only fetch a read buffer to find nothing in it.
      if (short_read_ && SSL_has_pending(ssl_.get()) == 0) {
        if (!sealed_.empty()) flushSealed(fd);
        return {IoState::kOk, total, true};
      }
      continue;
    }
    in.commit(0);
    const int code = SSL_get_error(ssl_.get(), 0);
    if (code == SSL_ERROR_WANT_READ && !short_read_) continue;  // a message without bytes; the socket may hold more
    if (code == SSL_ERROR_WANT_READ && total == 0 && !would_block_) {
      stop_when_short_ = false;  // kAgain is a promise that the socket is empty and not at its end
      short_read_ = false;
      continue;
    }
    if (code == SSL_ERROR_WANT_READ) {
      if (!sealed_.empty()) flushSealed(fd);  // the answer to a key update
      return {total > 0 ? IoState::kOk : IoState::kAgain, total, true};
    }
    // The library takes the socket's end for close_notify; only what came before that end was one.
    end_ = code == SSL_ERROR_ZERO_RETURN && !eof_ ? IoState::kEof : afterFailure(code);
    if (!sealed_.empty()) flushSealed(fd);  // an alert
    if (total == 0) return {*end_, 0, true};
    more_ = true;  // the end comes with the next call, after the bytes
    return {IoState::kOk, total, false};
  }
  if (!sealed_.empty()) flushSealed(fd);
  more_ = true;
  return {IoState::kOk, total, false};
}

// ---- Writing ----

IoState Session::flushSealed(int fd) {
  while (!sealed_.empty()) {
    iovec pieces[16];
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = static_cast<size_t>(sealed_.iovecs(pieces, 16));
    const ssize_t n =
        message.msg_iovlen == 1 ? event::io::send(fd, pieces[0].iov_base, pieces[0].iov_len) : event::io::sendmsg(fd, message);
    if (n < 0) return stateOf(errno);
    sealed_.drain(static_cast<size_t>(n));
  }
  if (finishing_) {
    finishing_ = false;
    if (::shutdown(fd, SHUT_WR) != 0) return IoState::kReset;
  }
  return IoState::kOk;
}

IoResult Session::write(int fd, base::Buffer& out) {
  if (ssl_ == nullptr || broken_) return {IoState::kError, 0, false};
  thread_local char gathered[kRecord];
  fd_ = fd;
  forgetErrors();
  size_t total = 0;
  // The socket did not take the last records: sealing more would only move the bytes from one queue to another.
  if (!sealed_.empty()) {
    if (const IoState state = flushSealed(fd); state != IoState::kOk) return {state, 0, false};
  }
  while (!out.empty()) {
    const char* data = out.front().data();
    size_t size = std::min(out.front().size(), kRecord);
    if (size < kAloneFrom && out.sliceCount() > 1) {
      size = std::min(out.size(), kRecord);
      out.copyOut(size, gathered);
      data = gathered;
    }
    size_t written = 0;
    direct_ = size == out.size() && sealed_.empty();
    const int done = SSL_write_ex(ssl_.get(), data, size, &written);
    direct_ = false;
    if (done != 1) {
      const IoState state = afterFailure(SSL_get_error(ssl_.get(), 0));
      return {state, total, false};
    }
    out.drain(written);
    total += written;
    if (out.empty() || sealed_.size() >= kSealBeforeSend) {
      if (const IoState state = flushSealed(fd); state != IoState::kOk) return {state, total, false};
    }
  }
  return {IoState::kOk, total, false};
}

IoState Session::finishWriting(int fd) {
  if (ssl_ == nullptr) return IoState::kError;
  fd_ = fd;
  forgetErrors();
  if (established_ && !broken_ && (SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) == 0) SSL_shutdown(ssl_.get());
  ERR_clear_error();
  finishing_ = true;
  return flushSealed(fd);
}

// ---- Failure ----

IoState Session::afterFailure(int code) {
  broken_ = true;
  if (ERR_peek_error() != 0 && !(eof_ && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
    explain();
    violated_ = true;
    if (!counted_) count(SslStat::kConnectionError);
    counted_ = true;
    return IoState::kError;
  }
  ERR_clear_error();
  if (eof_) {
    if (!established_) return IoState::kEof;
    failure_ = "TLS error: the peer ended without close_notify";
    return IoState::kReset;
  }
  if (error_ == ECONNABORTED) {
    failure_ = "TLS error: too many messages without data";
    violated_ = true;
    count(SslStat::kConnectionError);
    return IoState::kError;
  }
  if (error_ != 0) return IoState::kReset;
  failure_ = "TLS error: " + std::to_string(code);
  return IoState::kError;
}

// "TLS_error:|167772294:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:TLS_error_end", Envoy's form.
void Session::explain() {
  failure_ = "TLS_error:";
  while (const unsigned long error = ERR_get_error()) {
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
      count(SslStat::kFailVerifyNoCert);
      counted_ = true;
    }
    const char* library = ERR_lib_error_string(error);
    failure_ += '|';
    failure_ += std::to_string(error);
    failure_ += ':';
    failure_ += library != nullptr ? library : "unknown";
    failure_ += ":OPENSSL_internal:";
    failure_ += upperCaseReason(ERR_reason_error_string(error));
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED && !verify_failure_.empty()) {
      failure_ += ':';
      failure_ += verify_failure_;
    }
  }
  failure_ += ":TLS_error_end";
}

// A full handshake would look at these again; nothing else that it looks at changes with time.
int64_t Session::chainGoodUntil(X509_STORE_CTX& store) const {
  const NativeContext& native = server_ != nullptr ? *server_->native() : *client_->native();
  int64_t until = native.crlsGoodUntil();
  STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(&store);
  if (chain == nullptr || verifier().allowExpired()) return until;
  for (int i = 0; i < sk_X509_num(chain); ++i) until = std::min(until, notAfter(*sk_X509_value(chain, i)));
  return until;
}

int Session::verify(X509_STORE_CTX& store) {
  const bool by_sni = client_ != nullptr && client_->verifiesSni();
  Verifier::Verdict verdict;
  if (by_sni && sni_.empty() && !verifier().pinsOrNames()) {
    verify_failure_ = "verify cert failed: there is no SNI to verify";
    X509_STORE_CTX_set_error(&store, X509_V_ERR_PERMITTED_VIOLATION);
    verdict = Verifier::Verdict::kName;
  } else {
    verdict = verifier().verify(store, by_sni ? std::string_view(sni_) : std::string_view(), verify_failure_);
  }
  switch (verdict) {
    case Verifier::Verdict::kOk: verified_until_ = chainGoodUntil(store); return 1;
    case Verifier::Verdict::kChain: count(SslStat::kFailVerifyError); break;
    case Verifier::Verdict::kName: count(SslStat::kFailVerifySan); break;
    case Verifier::Verdict::kHash: count(SslStat::kFailVerifyCertHash); break;
  }
  if (verifier().acceptUntrusted()) return 1;
  counted_ = true;
  return 0;
}

int64_t Session::sessionGoodUntil() const {
  if (SSL_session_reused(ssl_.get()) != 0) return resumed_until_;
  return std::min(verified_until_, static_cast<int64_t>(::time(nullptr)) + kMostResumedSeconds);
}

bool Session::keepSession(SSL_SESSION* session) {
  if (SSL_SESSION_is_resumable(session) == 0) return false;
  if (server_ != nullptr) {
    const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
    server_->native()->keepSession(session, name != nullptr ? name : std::string_view(), sessionGoodUntil());
    return true;
  }
  if (!client_->keepsSessions()) return false;
  client_->keepSession(session_key_, session, sessionGoodUntil());
  return true;
}

// Called while the ClientHello is read, before the library has looked at its server_name (RFC 6066 3).
SSL_SESSION* Session::findSession(std::string_view id) {
  std::string_view name;
  const unsigned char* data = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl_.get(), TLSEXT_TYPE_server_name, &data, &size) == 1 && size > 5 &&
      data[2] == TLSEXT_NAMETYPE_host_name) {
    const size_t length = static_cast<size_t>(data[3]) << 8 | data[4];
    if (length + 5 == size) name = {reinterpret_cast<const char*>(data + 5), length};
  }
  const SessionCache::Found found = server_->native()->findSession(id, name, ::time(nullptr));
  resumed_until_ = found.good_until;
  return found.session;
}

// ---- What is known ----

std::string_view Session::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  if (ssl_ != nullptr) SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

const net::SecurityInfo* Session::security() {
  if (info_ != nullptr) return info_.get();
  auto info = std::make_unique<net::SecurityInfo>();
  if (ssl_ == nullptr) {
    info_ = std::move(info);
    return info_.get();
  }
  SSL* ssl = ssl_.get();
  if (server_ != nullptr) {
    if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name); name != nullptr) info->sni = name;
  } else {
    info->sni = sni_;
  }
  info->version = SSL_get_version(ssl);
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl); cipher != nullptr) info->cipher = SSL_CIPHER_get_name(cipher);
  info->alpn = alpn();
  if (const SSL_SESSION* session = SSL_get_session(ssl); session != nullptr) {
    unsigned size = 0;
    const unsigned char* id = SSL_SESSION_get_id(session, &size);
    for (unsigned i = 0; i < size; ++i) {
      info->session_id += "0123456789abcdef"[id[i] >> 4];
      info->session_id += "0123456789abcdef"[id[i] & 15];
    }
  }
  fillPeer(*info);
  if (X509* own = SSL_get_certificate(ssl); own != nullptr) {
    info->local_subject = subjectOf(*own);
    for (San& san : sansOf(*own)) {
      if (san.type == config::SanType::kUri)
        info->local_uri_sans.push_back(std::move(san.value));
      else if (san.type == config::SanType::kDns)
        info->local_dns_sans.push_back(std::move(san.value));
    }
  }
  if (!established_) {  // more will be known
    static thread_local net::SecurityInfo early;
    early = std::move(*info);
    return &early;
  }
  info_ = std::move(info);
  return info_.get();
}

void Session::fillPeer(net::SecurityInfo& info) {
  SSL* ssl = ssl_.get();
  X509* peer = SSL_get0_peer_certificate(ssl);
  if (peer == nullptr) return;
  info.peer_presented = true;
  info.peer_validated = verifier().verifiesAnything() && SSL_get_verify_result(ssl) == X509_V_OK;
  info.peer_subject = subjectOf(*peer);
  info.peer_issuer = issuerOf(*peer);
  info.peer_serial = serialOf(*peer);
  info.peer_fingerprint_256 = fingerprint256(*peer);
  info.peer_fingerprint_1 = fingerprint1(*peer);
  info.peer_pem = urlEncoded(pemOf(*peer));
  std::string chain;
  if (server_ != nullptr) chain = pemOf(*peer);  // a server's chain comes without the leaf
  if (STACK_OF(X509)* others = SSL_get_peer_cert_chain(ssl); others != nullptr) {
    for (int i = 0; i < sk_X509_num(others); ++i) chain += pemOf(*sk_X509_value(others, i));
  }
  info.peer_chain_pem = urlEncoded(chain);
  info.peer_valid_from = notBefore(*peer);
  info.peer_valid_to = notAfter(*peer);
  for (San& san : sansOf(*peer)) {
    switch (san.type) {
      case config::SanType::kUri: info.peer_uri_sans.push_back(std::move(san.value)); break;
      case config::SanType::kDns: info.peer_dns_sans.push_back(std::move(san.value)); break;
      case config::SanType::kIp: info.peer_ip_sans.push_back(std::move(san.value)); break;
      case config::SanType::kEmail: break;
    }
  }
}

// ---- Callbacks ----

int onVerify(X509_STORE_CTX* store, void*) {
  const auto* ssl = static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  Session& session = sessionOf(ssl);
  if (session.mayIgnoreExpiry()) {
    X509_STORE_CTX_set_verify_cb(store, [](int good, X509_STORE_CTX* at) {
      const int error = X509_STORE_CTX_get_error(at);
      if (good == 1 || (error != X509_V_ERR_CERT_HAS_EXPIRED && error != X509_V_ERR_CERT_NOT_YET_VALID)) return good;
      X509_STORE_CTX_set_error(at, X509_V_OK);
      return 1;
    });
  }
  return session.verify(*store);
}

int onAlpn(SSL* ssl, const unsigned char** chosen, unsigned char* size, const unsigned char* offered, unsigned offered_size, void*) {
  const std::string_view own = sessionOf(ssl).server()->alpn();
  if (own.empty()) return SSL_TLSEXT_ERR_NOACK;
  unsigned char* name = nullptr;
  if (SSL_select_next_proto(&name, size, reinterpret_cast<const unsigned char*>(own.data()), static_cast<unsigned>(own.size()), offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;  // goes on without ALPN, as Envoy does
  }
  *chosen = name;
  return SSL_TLSEXT_ERR_OK;
}

int onStatus(SSL* ssl, void*) {
  const Session& session = sessionOf(ssl);
  session.count(SslStat::kOcspStapleRequests);
  const std::string_view response = session.server()->native()->staple(ssl);
  if (response.empty()) {
    session.count(SslStat::kOcspStapleOmitted);
    return SSL_TLSEXT_ERR_NOACK;
  }
  auto* copy = static_cast<unsigned char*>(OPENSSL_memdup(response.data(), response.size()));
  if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
  SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(response.size()));
  session.count(SslStat::kOcspStapleResponses);
  return SSL_TLSEXT_ERR_OK;
}

// A ticket key's 80 bytes: name 16, HMAC-SHA256 32, AES-256 32.
int onTicketKey(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int sealing) {
  const std::vector<std::string>& keys = sessionOf(ssl).server()->native()->ticketKeys();
  const auto use = [&](const std::string& key, bool seal) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(key.data());
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string("key", const_cast<unsigned char*>(bytes + 16), 32),
        OSSL_PARAM_construct_utf8_string("digest", digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (EVP_MAC_CTX_set_params(mac, params) != 1) return false;
    return (seal ? EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, bytes + 48, iv)
                 : EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, bytes + 48, iv)) == 1;
  };
  if (sealing != 0) {
    std::memcpy(name, keys[0].data(), 16);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
    return use(keys[0], true) ? 1 : -1;
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    if (std::memcmp(name, keys[i].data(), 16) != 0) continue;
    if (!use(keys[i], false)) return -1;
    return i == 0 ? 1 : 2;  // 2: good, but seal a new one
  }
  return 0;
}

// What a ticket says beside the session: until when it is good, 8 bytes. Tickets without that are of another program.
int onMakeTicket(SSL* ssl, void*) {
  const int64_t until = sessionOf(ssl).sessionGoodUntil();
  return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &until, sizeof until);
}

SSL_TICKET_RETURN onOpenTicket(SSL* ssl, SSL_SESSION* session, const unsigned char*, size_t, SSL_TICKET_STATUS status, void*) {
  if (status == SSL_TICKET_EMPTY || status == SSL_TICKET_NO_DECRYPT) return SSL_TICKET_RETURN_IGNORE_RENEW;
  void* data = nullptr;
  size_t size = 0;
  int64_t until = 0;
  if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) != 1 || size != sizeof until) return SSL_TICKET_RETURN_IGNORE_RENEW;
  std::memcpy(&until, data, sizeof until);
  if (::time(nullptr) >= until) return SSL_TICKET_RETURN_IGNORE_RENEW;
  sessionOf(ssl).resumedUntil(until);
  // A client of TLS 1.3 uses a ticket once (RFC 8446 C.4): without another one its next handshake would be a full one.
  const bool renew = status == SSL_TICKET_SUCCESS_RENEW || SSL_version(ssl) == TLS1_3_VERSION;
  return renew ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

}  // namespace

void installCallbacks(SSL_CTX* ctx, const Callbacks& wanted) {
  SSL_CTX_set_cert_verify_callback(ctx, onVerify, nullptr);
  if (!wanted.server) {
    SSL_CTX_sess_set_new_cb(ctx, [](SSL* ssl, SSL_SESSION* session) { return sessionOf(ssl).keepSession(session) ? 1 : 0; });
    return;
  }
  SSL_CTX_set_alpn_select_cb(ctx, onAlpn, nullptr);
  if (wanted.choose_certificate) {
    SSL_CTX_set_cert_cb(
        ctx,
        [](SSL* ssl, void*) {
          const Session& session = sessionOf(ssl);
          if (session.server()->native()->chooseCertificate(ssl)) return 1;
          session.count(SslStat::kOcspStapleFailed);
          return 0;
        },
        nullptr);
  }
  if (wanted.staple) SSL_CTX_set_tlsext_status_cb(ctx, onStatus);
  if (wanted.tickets) {
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, onTicketKey);
    SSL_CTX_set_session_ticket_cb(ctx, onMakeTicket, onOpenTicket, nullptr);
  }
  if (wanted.kept) {
    SSL_CTX_sess_set_new_cb(ctx, [](SSL* ssl, SSL_SESSION* session) { return sessionOf(ssl).keepSession(session) ? 1 : 0; });
    SSL_CTX_sess_set_get_cb(ctx, [](SSL* ssl, const unsigned char* id, int size, int* copy) -> SSL_SESSION* {
      *copy = 0;
      return sessionOf(ssl).findSession({reinterpret_cast<const char*>(id), static_cast<size_t>(size)});
    });
  }
}

std::unique_ptr<net::Transport> makeServerTransport(const ServerContextRef& context, const SslStatsRef& stats) {
  return std::make_unique<Session>(context, stats);
}

std::unique_ptr<net::Transport> makeClientTransport(const ClientContextRef& context, const SslStatsRef& stats, const ClientArgs& args) {
  if (!context->ready()) return nullptr;
  return std::make_unique<Session>(context, stats, args);
}

}  // namespace outrider::tls
