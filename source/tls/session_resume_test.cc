// A session is resumed only where a full handshake would succeed in the same way.
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>

#include "source/tls/test_peers.h"

namespace outrider::tls {
namespace {

class ResumeTest : public TlsTest {
 protected:
  ResumeTest() {
    server_spec_.require_client_certificate = true;
    server_spec_.common.validation.emplace();
    validation().trusted_ca = inlined(authority_.pem());
    come({.sans = "DNS:client.test"});
  }
  config::ValidationSpec& validation() { return *server_spec_.common.validation; }
  void come(const testing::Wish& wish) { client_spec_.common.certificates = {certificateOf(authority_.issue(wish))}; }
  void speak(config::TlsVersion version) { client_spec_.common.params.max = version; }
  void useTickets(bool yes) {
    server_spec_.ticket_keys.clear();
    if (yes) server_spec_.ticket_keys = {std::string(80, 'k')};
  }
  // What a connection came to: 'r'esumed, 'f'ull handshake, '-' refused. Each brings its client a session for the next.
  char outcome() {
    const uint64_t reused = serverStat(SslStat::kSessionReused);
    connect({.peer = "10.0.0.1:443"});
    server_held_ = serverContext();
    client_held_ = clientContext();
    if (!server_->connected) return '-';
    client_->say("x");
    server_->say("y");  // a ticket of TLS 1.3 goes with it
    turns();
    EXPECT_EQ(server_->text, "x");
    EXPECT_EQ(client_->text, "y");
    return serverStat(SslStat::kSessionReused) == reused ? 'f' : 'r';
  }

  static constexpr config::TlsVersion kVersions[] = {config::TlsVersion::kTls12, config::TlsVersion::kTls13};
  // Sessions live with their contexts, which live as long as someone uses them.
  ServerContextRef server_held_;
  ClientContextRef client_held_;
};

TEST_F(ResumeTest, TheSameClientAtTheSameListenerIsResumedAgainAndAgain) {
  for (const bool tickets : {false, true}) {
    useTickets(tickets);
    for (const auto version : kVersions) {
      speak(version);
      EXPECT_EQ(outcome(), 'f');
      for (int i = 0; i < 3; ++i)
        EXPECT_EQ(outcome(), 'r') << "tickets " << tickets << ", version " << static_cast<int>(version) << ", " << i;
      EXPECT_EQ(server_->security().peer_dns_sans, std::vector<std::string>{"client.test"});
      EXPECT_TRUE(server_->security().peer_validated);
    }
  }
}

TEST_F(ResumeTest, ListenersThatDecideDifferentlyOnClientsShareNoSessions) {
  const testing::Authority other("Another authority");
  const config::DownstreamTlsSpec first = server_spec_;
  const std::string revoked = authority_.revoke({client_spec_.common.certificates[0].chain.bytes});
  const std::string empty = authority_.revoke({});
  struct Change {
    const char* what;
    std::function<void()> make;
    char wanted;
  };
  const Change changes[] = {
      {"another authority is trusted", [&] { validation().trusted_ca = inlined(other.pem()); }, '-'},
      {"one more authority is trusted", [&] { validation().trusted_ca = inlined(authority_.pem() + other.pem()); }, 'f'},
      {"another name is wanted",
       [&] {
         config::SanMatcherSpec san;
         san.type = config::SanType::kDns;
         san.text.value = "someone.else";
         validation().sans = {san};
       },
       '-'},
      {"the certificate is revoked", [&] { validation().crl = inlined(revoked); }, '-'},
      {"a list that revokes others", [&] { validation().crl = inlined(empty); }, 'f'},
      {"certificates are pinned", [&] { validation().hashes = {config::Sha256{}}; }, '-'},
  };
  for (const bool tickets : {false, true}) {
    for (const auto version : kVersions) {
      speak(version);
      for (const Change& change : changes) {
        server_spec_ = first;
        useTickets(tickets);
        const ServerContextRef before = serverContext();
        outcome();
        ASSERT_EQ(outcome(), 'r') << change.what;
        change.make();
        EXPECT_EQ(outcome(), change.wanted) << change.what << ", tickets " << tickets << ", version " << static_cast<int>(version);
      }
    }
  }
}

TEST_F(ResumeTest, AnotherServerCertificateIsShownAndNotResumedPast) {
  for (const auto version : kVersions) {
    speak(version);
    outcome();
    ASSERT_EQ(outcome(), 'r');
    server_spec_.common.certificates = {certificateOf(authority_.issue({.common_name = "next", .sans = "DNS:server.test"}))};
    EXPECT_EQ(outcome(), 'f');
    EXPECT_EQ(client_->security().peer_subject, "CN=next");
    server_spec_.common.certificates = {certificateOf(authority_.issue({.common_name = "server", .sans = "DNS:server.test"}))};
    outcome();
  }
}

TEST_F(ResumeTest, ASessionEndsWithTheCertificateAndTheRevocationListThatItStandsOn) {
  constexpr int kSeconds = 3;
  struct Case {
    std::string what;
    config::DownstreamTlsSpec server;
    config::UpstreamTlsSpec client;
    ServerContextRef server_held;
    ClientContextRef client_held;
  };
  std::vector<Case> cases;
  const auto plain = client_spec_.common.certificates;
  const time_t start = ::time(nullptr);
  for (const bool by_list : {false, true}) {
    if (by_list) {
      client_spec_.common.certificates = plain;
      validation().crl = inlined(authority_.revoke({}, 0, kSeconds));
    } else {
      come({.sans = "DNS:client.test", .to_seconds = kSeconds});
    }
    for (const bool tickets : {false, true}) {
      useTickets(tickets);
      for (const auto version : kVersions) {
        speak(version);
        outcome();
        EXPECT_EQ(outcome(), 'r');
        EXPECT_EQ(outcome(), 'r');  // the second session stands on what the first one saw
        cases.push_back({std::string(by_list ? "list" : "certificate") + (tickets ? ", tickets" : ", kept") +
                             (version == config::TlsVersion::kTls13 ? ", 1.3" : ", 1.2"),
                         server_spec_, client_spec_, server_held_, client_held_});
      }
    }
  }
  while (::time(nullptr) <= start + kSeconds + 1) ::poll(nullptr, 0, 50);  // the clock of certificates cannot be moved
  for (const Case& one : cases) {
    server_spec_ = one.server;
    client_spec_ = one.client;
    const uint64_t refused = serverStat(SslStat::kFailVerifyError);
    EXPECT_EQ(outcome(), '-') << one.what;
    EXPECT_EQ(serverStat(SslStat::kFailVerifyError), refused + 1) << one.what;
  }
}

TEST_F(ResumeTest, AClientForgetsTheSessionOfAServerWhoseCertificateIsOver) {
  constexpr int kSeconds = 3;
  server_spec_ = {};
  client_spec_.common.certificates.clear();
  server_spec_.common.certificates = {certificateOf(authority_.issue({.sans = "DNS:server.test", .to_seconds = kSeconds}))};
  const time_t start = ::time(nullptr);
  outcome();
  ASSERT_EQ(outcome(), 'r');
  while (::time(nullptr) <= start + kSeconds + 1) ::poll(nullptr, 0, 50);
  const uint64_t refused = clientStat(SslStat::kFailVerifyError);
  connect({.peer = "10.0.0.1:443"});
  EXPECT_FALSE(client_->connected);
  EXPECT_EQ(clientStat(SslStat::kFailVerifyError), refused + 1);  // by a full handshake
}

TEST_F(ResumeTest, TheSessionsOfAllListenersTogetherAreBounded) {
  for (int i = 0; i < 40; ++i) outcome();
  const SessionCache& sessions = cache_.sessions();
  EXPECT_GT(sessions.sessions(), 0u);
  EXPECT_LE(sessions.sessions(), 80u);
  EXPECT_EQ(sessions.bytes(), sessions.sessions() * (SessionCache::kPlainBytes + SessionCache::kPeerBytes));
}

}  // namespace
}  // namespace outrider::tls
