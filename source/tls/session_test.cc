#include "source/tls/session.h"

#include <string>

#include <poll.h>

#include "source/tls/test_peers.h"

namespace outrider::tls {
namespace {

TEST_F(TlsTest, TalksBothWays) {
  connect();
  ASSERT_TRUE(server_->connected && client_->connected) << client_->failure << server_->failure;
  client_->say("hello");
  server_->say("welcome");
  turns();
  EXPECT_EQ(server_->text, "hello");
  EXPECT_EQ(client_->text, "welcome");
  EXPECT_EQ(server_->security().version, "TLSv1.3");
  EXPECT_EQ(server_->security().cipher, "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(server_->security().sni, "server.test");
  EXPECT_EQ(client_->security().peer_dns_sans, std::vector<std::string>{"server.test"});
  EXPECT_TRUE(client_->security().peer_validated);
  EXPECT_FALSE(server_->security().peer_presented);
  EXPECT_EQ(serverStat(SslStat::kHandshake), 1u);
  EXPECT_EQ(serverStat(SslStat::kNoCertificate), 1u);
}

TEST_F(TlsTest, SpeaksTls12WithAClientOfEnvoysDefaults) {
  client_spec_.common.params.max = config::TlsVersion::kTls12;
  connect();
  ASSERT_TRUE(server_->connected && client_->connected);
  EXPECT_EQ(client_->security().version, "TLSv1.2");
  EXPECT_EQ(client_->security().cipher, "ECDHE-ECDSA-AES128-GCM-SHA256");
  std::string names;
  const auto collect = [&](const std::string& name, uint64_t value) { names += name + "=" + std::to_string(value) + " "; };
  server_stats_->versions->forEach(collect);
  server_stats_->ciphers->forEach(collect);
  server_stats_->curves->forEach(collect);
  EXPECT_EQ(names,
            "listener.a.ssl.versions.TLSv1.2=1 listener.a.ssl.ciphers.ECDHE-ECDSA-AES128-GCM-SHA256=1 "
            "listener.a.ssl.curves.X25519=1 ");
}

TEST_F(TlsTest, RefusesWhatHasNoCommonVersion) {
  server_spec_.common.params.min = config::TlsVersion::kTls13;
  client_spec_.common.params.max = config::TlsVersion::kTls12;
  connect();
  EXPECT_EQ(server_->closed, net::CloseReason::kTransportError);
  EXPECT_EQ(client_->closed, net::CloseReason::kTransportError);
  EXPECT_EQ(serverStat(SslStat::kConnectionError), 1u);
  EXPECT_EQ(server_->failure.substr(0, 11), "TLS_error:|");
  EXPECT_NE(server_->failure.find(":SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL:TLS_error_end"), std::string::npos)
      << server_->failure;
}

TEST_F(TlsTest, AgreesOnTheServersFirstProtocolThatTheClientOffers) {
  server_spec_.common.alpn = {"h2", "http/1.1"};
  client_spec_.common.alpn = {"http/1.1", "h2"};
  connect();
  EXPECT_EQ(server_->connection().transport().alpn(), "h2");
  EXPECT_EQ(client_->connection().transport().alpn(), "h2");

  // A list for this connection alone.
  const std::string only = alpnWire({"http/1.1"});
  connect({.alpn = only});
  EXPECT_EQ(client_->security().alpn, "http/1.1");
}

TEST_F(TlsTest, GoesOnWithoutAProtocolWhenNoneIsShared) {
  server_spec_.common.alpn = {"h2"};
  client_spec_.common.alpn = {"smtp"};
  connect();
  EXPECT_TRUE(server_->connected && client_->connected);
  EXPECT_EQ(server_->connection().transport().alpn(), "");
}

TEST_F(TlsTest, EndsCleanlyWithCloseNotify) {
  connect();
  client_->say("last words");
  client_->connection().finishWriting();
  turns();
  EXPECT_EQ(server_->text, "last words");
  EXPECT_TRUE(server_->eof);
  EXPECT_EQ(server_->closed, net::CloseReason::kNone);
  server_->say("still here");  // the other half is open
  turns();
  EXPECT_EQ(client_->text, "still here");
  server_->connection().closeAfterFlush(base::kSecond);
  turns();
  EXPECT_TRUE(client_->eof);
}

TEST_F(TlsTest, TakesAnEndWithoutCloseNotifyAsAReset) {
  connect();
  client_->say("half a mess");
  turns();
  ::shutdown(client_->connection().fd(), SHUT_WR);
  turns();
  EXPECT_EQ(server_->text, "half a mess");
  EXPECT_FALSE(server_->eof);
  EXPECT_EQ(server_->closed, net::CloseReason::kRemoteReset);
  EXPECT_EQ(server_->failure, "TLS error: the peer ended without close_notify");
}

TEST_F(TlsTest, SeesTheEndBehindHalfARecord) {
  connect();
  const int fd = client_->connection().fd();
  ASSERT_EQ(::send(fd, "\x17\x03\x03\x00\x20half", 9, 0), 9);
  turns();
  EXPECT_EQ(server_->closed, net::CloseReason::kNone);
  ASSERT_EQ(::send(fd, "more", 4, 0), 4);
  ::shutdown(fd, SHUT_WR);
  turns();
  EXPECT_EQ(server_->closed, net::CloseReason::kRemoteReset);
}

TEST_F(TlsTest, DeliversWhatCameBeforeABrokenRecord) {
  connect();
  client_->say("good");
  client_->connection().flush();
  ASSERT_EQ(::send(client_->connection().fd(),
                   "\x17\x03\x03\x00\x20"
                   "0123456789abcdef0123456789abcdef",
                   37, 0),
            37);
  turns();
  EXPECT_EQ(server_->text, "good");
  EXPECT_EQ(server_->closed, net::CloseReason::kTransportError);
  EXPECT_NE(server_->failure.find("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"), std::string::npos) << server_->failure;
  EXPECT_EQ(serverStat(SslStat::kConnectionError), 1u);
}

TEST_F(TlsTest, ClosesOnPlainTextWithoutAnAnswerInPlainText) {
  const int fd = serverAlone();
  ASSERT_GT(::send(fd, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", 27, 0), 0);
  turns();
  EXPECT_EQ(server_->closed, net::CloseReason::kTransportError);
  EXPECT_EQ(serverStat(SslStat::kConnectionError), 1u);
  ::close(fd);
}

TEST_F(TlsTest, PlainTextFromAServerIsNeverRelayed) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  client_ = std::make_unique<Peer>(loop_, fds[0], makeClientTransport(clientContext(), client_stats_, {}));
  ASSERT_GT(::send(fds[1], "HTTP/1.1 200 OK\r\n\r\n", 19, 0), 0);
  turns();
  EXPECT_EQ(client_->text, "");
  EXPECT_EQ(client_->closed, net::CloseReason::kTransportError);
  ::close(fds[1]);
}

TEST_F(TlsTest, APeerThatLeavesDuringTheHandshakeIsNoError) {
  const int fd = serverAlone();
  ::close(fd);
  turns();
  EXPECT_EQ(server_->closed, net::CloseReason::kRemoteFin);
  EXPECT_EQ(serverStat(SslStat::kConnectionError), 0u);
}

// Every byte of the client's goes through the test, one at a time.
TEST_F(TlsTest, TakesBytesOneByOne) {
  int a[2];
  int b[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
  server_ = std::make_unique<Peer>(loop_, a[0], makeServerTransport(serverContext(), server_stats_));
  client_ = std::make_unique<Peer>(loop_, b[0], makeClientTransport(clientContext(), client_stats_, {}));
  const auto relay = [&] {
    for (int quiet = 0; quiet < 2;) {
      turns();
      bool moved = false;
      for (const auto& [from, to] : {std::pair{b[1], a[1]}, std::pair{a[1], b[1]}}) {
        char byte;
        if (::recv(from, &byte, 1, 0) == 1) {
          ASSERT_EQ(::send(to, &byte, 1, 0), 1);
          moved = true;
        }
      }
      quiet = moved ? 0 : quiet + 1;
    }
  };
  relay();
  ASSERT_TRUE(server_->connected && client_->connected);
  client_->say("drop by drop");
  server_->say("and back");
  relay();
  EXPECT_EQ(server_->text, "drop by drop");
  EXPECT_EQ(client_->text, "and back");
  ::close(a[1]);
  ::close(b[1]);
}

TEST_F(TlsTest, TheFirstBytesMayComeFromAListenerFilter) {
  int a[2];
  int b[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
  client_ = std::make_unique<Peer>(loop_, b[0], makeClientTransport(clientContext(), client_stats_, {}));
  turns();
  char hello[4096];
  const ssize_t n = ::recv(b[1], hello, sizeof hello, 0);
  ASSERT_GT(n, 0);
  auto transport = makeServerTransport(serverContext(), server_stats_);
  base::Buffer prefix;
  prefix.append(std::string_view(hello, static_cast<size_t>(n)));
  transport->prime(prefix);
  server_ = std::make_unique<Peer>(loop_, a[0], std::move(transport));
  for (int i = 0; i < 8; ++i) {
    turns();
    for (const auto& [from, to] : {std::pair{b[1], a[1]}, std::pair{a[1], b[1]}}) {
      const ssize_t m = ::recv(from, hello, sizeof hello, 0);
      if (m > 0) {
        ASSERT_EQ(::send(to, hello, static_cast<size_t>(m), 0), m);
      }
    }
  }
  EXPECT_TRUE(server_->connected && client_->connected);
  ::close(a[1]);
  ::close(b[1]);
}

// Both directions at once through sockets that hold little: a lost edge would hang it.
class BulkTest : public TlsTest, public ::testing::WithParamInterface<int> {};
TEST_P(BulkTest, MovesMuchBothWays) {
  static constexpr size_t kBytes = 6 * 1024 * 1024;
  connect({}, GetParam());
  ASSERT_TRUE(server_->connected && client_->connected);
  const auto pump = [](Peer& peer) {
    auto left = std::make_shared<size_t>(kBytes);
    const auto fill = [&peer, left] {
      while (*left > 0 && peer.connection().out().size() < 64 * 1024) {
        // Odd sizes, so records, blocks and reads never line up.
        const size_t n = std::min<size_t>(*left, 7001);
        peer.connection().out().append(std::string(n, static_cast<char>('a' + *left % 26)));
        *left -= n;
      }
      peer.connection().markDirty();
    };
    peer.keep = false;
    peer.room = fill;
    fill();
    return fill;
  };
  const auto fill_client = pump(*client_);
  const auto fill_server = pump(*server_);
  int idle = 0;
  while ((client_->received < kBytes || server_->received < kBytes) && idle < 100) {
    idle = loop_.turn(0) ? 0 : idle + 1;
    if (client_->connection().out().empty()) fill_client();
    if (server_->connection().out().empty()) fill_server();
  }
  EXPECT_EQ(client_->received, kBytes);
  EXPECT_EQ(server_->received, kBytes);
}
INSTANTIATE_TEST_SUITE_P(SocketBuffers, BulkTest, ::testing::Values(2304, 8192, 65536, 0));

TEST_F(TlsTest, WhatWasReadAheadComesAfterAPause) {
  connect();
  server_->keep = true;
  server_->connection().pauseReading(net::Connection::kPauseUpstream);
  client_->say(std::string(200'000, 'x'));
  turns();
  EXPECT_EQ(server_->received, 0u);
  server_->connection().resumeReading(net::Connection::kPauseUpstream);
  turns();
  EXPECT_EQ(server_->received, 200'000u);

  // Pausing in the midst of what the library already holds.
  server_->heard = [&] { server_->connection().pauseReading(net::Connection::kPauseUpstream); };
  client_->say(std::string(150'000, 'y'));
  for (int i = 0; i < 200 && server_->received < 350'000; ++i) {
    turns();
    server_->connection().resumeReading(net::Connection::kPauseUpstream);
  }
  EXPECT_EQ(server_->received, 350'000u);
}

TEST_F(TlsTest, OneFlushIsOneSend) {
  connect();
  for (int i = 0; i < 50; ++i) client_->say("a small piece ");
  turns();
  EXPECT_EQ(server_->received, 50u * 14);
  EXPECT_EQ(server_->text.substr(0, 28), "a small piece a small piece ");
}

TEST_F(TlsTest, ASecondConnectionResumesTheFirst) {
  for (const auto version : {config::TlsVersion::kTls12, config::TlsVersion::kTls13}) {
    client_spec_.common.params.max = version;
    const ClientContextRef held = clientContext();
    const ServerContextRef server_held = serverContext();
    const uint64_t before = serverStat(SslStat::kSessionReused);
    connect({.peer = "10.0.0.1:443"});
    client_->say("x");
    server_->say("y");  // the ticket of TLS 1.3 comes with the first bytes
    turns();
    connect({.peer = "10.0.0.1:443"});
    EXPECT_EQ(serverStat(SslStat::kSessionReused), before + 1);
    client_->say("resumed");
    turns();
    EXPECT_EQ(server_->text, "resumed");
    connect({.peer = "10.0.0.2:443"});  // another host: a full handshake
    EXPECT_EQ(serverStat(SslStat::kSessionReused), before + 1);
  }
}

TEST_F(TlsTest, ASessionOutlivesAnEndWithoutCloseNotify) {
  for (const auto version : {config::TlsVersion::kTls12, config::TlsVersion::kTls13}) {
    client_spec_.common.params.max = version;
    const ClientContextRef held = clientContext();
    const ServerContextRef server_held = serverContext();
    const uint64_t before = serverStat(SslStat::kSessionReused);
    connect({.peer = "10.0.0.1:443"});
    client_->say("x");
    server_->say("y");
    turns();
    ::shutdown(client_->connection().fd(), SHUT_WR);
    turns();
    ASSERT_EQ(server_->closed, net::CloseReason::kRemoteReset);
    connect({.peer = "10.0.0.1:443"});
    EXPECT_EQ(serverStat(SslStat::kSessionReused), before + 1);
  }
}

TEST_F(TlsTest, NothingIsResumedWhenTheClientKeepsNoSessions) {
  client_spec_.max_session_keys = 0;
  for (int i = 0; i < 2; ++i) {
    connect();
    server_->say("y");
    turns();
  }
  EXPECT_EQ(serverStat(SslStat::kHandshake), 2u);
  EXPECT_EQ(serverStat(SslStat::kSessionReused), 0u);
}

TEST_F(TlsTest, TicketsAreSealedWithTheConfiguredKeys) {
  server_spec_.ticket_keys = {std::string(80, 'k')};
  const ClientContextRef client_held = clientContext();
  for (const auto version : {config::TlsVersion::kTls12, config::TlsVersion::kTls13}) {
    client_spec_.common.params.max = version;
    const ClientContextRef held = clientContext();
    const uint64_t before = serverStat(SslStat::kSessionReused);
    server_spec_.ticket_keys = {std::string(80, 'k')};
    connect();
    server_->say("y");
    turns();
    server_spec_.ticket_keys = {std::string(80, 'n'), std::string(80, 'k')};  // rotated: a new context, the old key second
    connect();
    EXPECT_EQ(serverStat(SslStat::kSessionReused), before + 1);
    server_->say("y");
    turns();
    server_spec_.ticket_keys = {std::string(80, 'z')};  // neither
    connect();
    EXPECT_EQ(serverStat(SslStat::kSessionReused), before + 1);
    EXPECT_TRUE(server_->connected);
  }
}

TEST_F(TlsTest, ASessionIsNotResumedUnderOtherRules) {
  const std::vector<std::string> keys = {std::string(80, 'k')};
  server_spec_.ticket_keys = keys;
  const ClientContextRef held = clientContext();
  connect();
  server_->say("y");
  turns();
  ASSERT_EQ(serverStat(SslStat::kSessionReused), 0u);
  // The same keys on a listener that asks for a certificate: the ticket is worth nothing.
  server_spec_.require_client_certificate = true;
  server_spec_.common.validation.emplace();
  server_spec_.common.validation->trusted_ca = inlined(authority_.pem());
  connect();
  EXPECT_EQ(serverStat(SslStat::kSessionReused), 0u);
  EXPECT_EQ(serverStat(SslStat::kFailVerifyNoCert), 1u);
}

TEST_F(TlsTest, ARotatedCertificateServesNewConnectionsOnly) {
  connect();
  auto old_server = std::move(server_);
  auto old_client = std::move(client_);
  server_spec_.common.certificates[0] = certificateOf(authority_.issue({.common_name = "second", .sans = "DNS:second.test"}));
  client_spec_.sni = "second.test";
  connect();
  EXPECT_EQ(client_->security().peer_dns_sans, std::vector<std::string>{"second.test"});
  old_client->say("still here");
  turns();
  EXPECT_EQ(old_server->text, "still here");
  EXPECT_EQ(old_client->security().peer_dns_sans, std::vector<std::string>{"server.test"});
}

TEST_F(TlsTest, AServerWithoutItsSecretRefusesAndCounts) {
  server_spec_.common.certificates.clear();
  server_spec_.common.certificate_sds.push_back({.name = "late"});
  connect();
  EXPECT_EQ(server_->closed, net::CloseReason::kTransportError);
  EXPECT_EQ(server_->failure, "TLS error: Secret is not supplied by SDS");
  EXPECT_EQ(server_stats_->factory.read(SslFactoryStat::kDownstreamSecretsNotReady), 1u);
  EXPECT_FALSE(client_->connected);

  const testing::Pair pair = authority_.issue({.sans = "DNS:server.test"});
  const config::SecretSpec secret{.name = "late",
                                  .kind = config::SecretSpec::Kind::kCertificate,
                                  .certificate = certificateOf(pair),
                                  .validation = {},
                                  .ticket_keys = {},
                                  .generic = {}};
  ASSERT_TRUE(resolve(server_spec_, [&](const config::SdsRef& ref) { return ref.name == "late" ? &secret : nullptr; }));
  connect();
  EXPECT_TRUE(server_->connected && client_->connected);
}

TEST_F(TlsTest, AClientWithoutItsSecretHasNoTransport) {
  client_spec_.common.validation.reset();
  client_spec_.common.validation_sds = config::SdsRef{.name = "roots"};
  EXPECT_FALSE(clientContext()->ready());
  EXPECT_EQ(makeClientTransport(clientContext(), client_stats_, {}), nullptr);
}

}  // namespace
}  // namespace outrider::tls
