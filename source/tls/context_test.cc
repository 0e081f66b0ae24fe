#include "source/tls/context.h"

#include <string>

#include "source/tls/test_peers.h"

namespace outrider::tls {
namespace {

config::SanMatcherSpec sanIs(config::SanType type, std::string_view value,
                             match::StringMatchSpec::Kind kind = match::StringMatchSpec::Kind::kExact) {
  config::SanMatcherSpec out;
  out.type = type;
  out.text.kind = kind;
  out.text.value = value;
  return out;
}

enum class Fate : uint8_t { kIn, kNoCertificate, kChain, kName, kHash };

// A listener that asks for a certificate, and clients that come with one or another (SECURITY.md 248 to 259).
class MutualTest : public TlsTest {
 protected:
  MutualTest() {
    server_spec_.require_client_certificate = true;
    server_spec_.common.validation.emplace();
    validation().trusted_ca = inlined(authority_.pem());
  }
  config::ValidationSpec& validation() { return *server_spec_.common.validation; }
  void come(const testing::Pair& pair) { client_spec_.common.certificates = {certificateOf(pair)}; }

  void expect(Fate wanted, std::string_view what) {
    for (const auto version : {config::TlsVersion::kTls12, config::TlsVersion::kTls13}) {
      client_spec_.common.params.max = version;
      const uint64_t before[] = {serverStat(SslStat::kHandshake), serverStat(SslStat::kFailVerifyNoCert),
                                 serverStat(SslStat::kFailVerifyError), serverStat(SslStat::kFailVerifySan),
                                 serverStat(SslStat::kFailVerifyCertHash)};
      connect();
      EXPECT_EQ(server_->connected, wanted == Fate::kIn) << what << ": " << server_->failure;
      const SslStat stats[] = {SslStat::kHandshake, SslStat::kFailVerifyNoCert, SslStat::kFailVerifyError, SslStat::kFailVerifySan,
                               SslStat::kFailVerifyCertHash};
      for (size_t i = 0; i < 5; ++i) {
        EXPECT_EQ(serverStat(stats[i]) - before[i], i == static_cast<size_t>(wanted) ? 1u : 0u) << what << ", counter " << i;
      }
      if (wanted != Fate::kIn) {
        client_->say("a request");
        turns();
        EXPECT_EQ(server_->text, "") << what;
        EXPECT_EQ(client_->closed, net::CloseReason::kTransportError) << what;
      }
    }
  }
};

TEST_F(MutualTest, WhoComesInAndWhoDoesNot) {
  const testing::Authority other("Another authority");
  validation().sans = {sanIs(config::SanType::kDns, "good.test")};
  expect(Fate::kNoCertificate, "no certificate");
  come(authority_.issue({.sans = "DNS:good.test"}));
  expect(Fate::kIn, "the right one");
  come(authority_.issue({.sans = "DNS:bad.test"}));
  expect(Fate::kName, "another name");
  come(other.issue({.sans = "DNS:good.test"}));
  expect(Fate::kChain, "another authority");
  come(authority_.issue({.sans = "DNS:good.test", .from_days = -20, .to_days = -10}));
  expect(Fate::kChain, "expired");
  come(authority_.issue({.sans = "DNS:good.test", .from_days = 10, .to_days = 20}));
  expect(Fate::kChain, "not yet valid");
  come(authority_.issue({.common_name = "good.test"}));
  expect(Fate::kName, "the common name is no name");
  come(authority_.issue({.sans = "DNS:good.test", .usage = "serverAuth"}));
  expect(Fate::kChain, "a server's certificate");
  come(authority_.issue({.raw_dns = std::string("good.test\0.evil.test", 20)}));
  expect(Fate::kName, "a zero byte in the name");
  come(authority_.issue({.sans = "DNS:*.test"}));
  expect(Fate::kName, "a wildcard certificate is not the exact name");
  come(authority_.issue({.sans = "URI:good.test,email:good.test"}));
  expect(Fate::kName, "other kinds of names with the same text");
}

TEST_F(MutualTest, NamesMatchByKindAndMatcher) {
  using Kind = match::StringMatchSpec::Kind;
  const testing::Pair pair = authority_.issue({.sans = "DNS:a.good.test,URI:spiffe://mesh/ns/one/sa/two,IP:10.1.2.3,email:who@good.test"});
  come(pair);
  const struct {
    config::SanMatcherSpec matcher;
    Fate fate;
  } rows[] = {
      {sanIs(config::SanType::kDns, "a.good.test"), Fate::kIn},
      {sanIs(config::SanType::kDns, "A.Good.Test"), Fate::kIn},
      {sanIs(config::SanType::kDns, "good.test"), Fate::kName},
      {sanIs(config::SanType::kDns, "good.test", Kind::kSuffix), Fate::kIn},
      {sanIs(config::SanType::kDns, "spiffe://mesh", Kind::kPrefix), Fate::kName},
      {sanIs(config::SanType::kUri, "spiffe://mesh/ns/one/sa/two"), Fate::kIn},
      {sanIs(config::SanType::kUri, "spiffe://mesh/ns/one/sa/tw"), Fate::kName},
      {sanIs(config::SanType::kUri, "spiffe://mesh/ns/one/", Kind::kPrefix), Fate::kIn},
      {sanIs(config::SanType::kUri, "spiffe://mes/", Kind::kPrefix), Fate::kName},
      {sanIs(config::SanType::kIp, "10.1.2.3"), Fate::kIn},
      {sanIs(config::SanType::kIp, "10.1.2.4"), Fate::kName},
      {sanIs(config::SanType::kEmail, "who@good.test"), Fate::kIn},
  };
  for (const auto& row : rows) {
    validation().sans = {row.matcher};
    expect(row.fate, row.matcher.text.value);
  }
  validation().sans = {sanIs(config::SanType::kDns, "x.test"), sanIs(config::SanType::kIp, "10.1.2.3")};
  expect(Fate::kIn, "one of several is enough");
}

TEST_F(MutualTest, PinnedHashes) {
  const testing::Pair pair = authority_.issue({.sans = "DNS:good.test"});
  const testing::Pair stranger = authority_.issue({.sans = "DNS:good.test"});
  std::string raw;
  testing::hashOf(pair.certificate, &raw);
  config::Sha256 hash;
  ASSERT_EQ(raw.size(), hash.size());
  std::copy(raw.begin(), raw.end(), hash.begin());
  validation().hashes = {hash};
  come(pair);
  expect(Fate::kIn, "the pinned certificate");
  come(stranger);
  expect(Fate::kHash, "another certificate");

  validation().hashes.clear();
  raw = testing::spkiRaw(pair.certificate);
  std::copy(raw.begin(), raw.end(), hash.begin());
  validation().spki = {hash};
  expect(Fate::kHash, "another key");
  come(pair);
  expect(Fate::kIn, "the pinned key");
}

TEST_F(MutualTest, ARevokedCertificateIsRefused) {
  const testing::Pair revoked = authority_.issue({.sans = "DNS:good.test"});
  validation().crl = inlined(authority_.revoke({revoked.certificate}));
  come(revoked);
  expect(Fate::kChain, "revoked");
  come(authority_.issue({.sans = "DNS:good.test"}));
  expect(Fate::kIn, "not on the list");
  validation().crl = inlined(authority_.revoke({}, -1));
  expect(Fate::kChain, "the list is over");
}

TEST_F(MutualTest, ExpiryMayBeAllowed) {
  come(authority_.issue({.sans = "DNS:good.test", .from_days = -20, .to_days = -10}));
  validation().allow_expired = true;
  expect(Fate::kIn, "expired");
}

TEST_F(MutualTest, UntrustedMayBeAccepted) {
  const testing::Authority other("Another authority");
  come(other.issue({.sans = "DNS:good.test"}));
  validation().accept_untrusted = true;
  connect();
  EXPECT_TRUE(server_->connected);
  EXPECT_TRUE(server_->security().peer_presented);
  EXPECT_FALSE(server_->security().peer_validated);
  EXPECT_EQ(serverStat(SslStat::kFailVerifyError), 1u);
}

TEST_F(MutualTest, ACertificateThatIsOnlyAskedForMayBeMissing) {
  server_spec_.require_client_certificate = false;
  expect(Fate::kIn, "none");
  const testing::Authority other("Another authority");
  come(other.issue({.sans = "DNS:good.test"}));
  expect(Fate::kChain, "a bad one is still bad");
}

TEST_F(MutualTest, AnIntermediateIsAnAnchor) {
  validation().trusted_ca = inlined(authority_.pem());
  come(authority_.issue({.sans = "DNS:good.test"}));
  connect();
  EXPECT_EQ(server_->security().peer_dns_sans, std::vector<std::string>{"good.test"});
  EXPECT_TRUE(server_->security().peer_validated);
}

// ---- The other side: what a client thinks of a server ----

TEST_F(TlsTest, AClientRefusesServersItCannotTrust) {
  const testing::Authority other("Another authority");
  struct Row {
    testing::Pair pair;
    std::string_view name;
    SslStat counter;
  };
  const Row rows[] = {
      {other.issue({.sans = "DNS:server.test"}), "server.test", SslStat::kFailVerifyError},
      {authority_.issue({.sans = "DNS:server.test", .from_days = -9, .to_days = -1}), "server.test", SslStat::kFailVerifyError},
      {authority_.issue({.sans = "DNS:server.test", .usage = "clientAuth"}), "server.test", SslStat::kFailVerifyError},
      {authority_.issue({.sans = "DNS:server.test"}), "wrong.test", SslStat::kFailVerifySan},
  };
  for (const Row& row : rows) {
    server_spec_.common.certificates = {certificateOf(row.pair)};
    client_spec_.common.validation->sans = {sanIs(config::SanType::kDns, row.name)};
    const uint64_t before = clientStat(row.counter);
    connect();
    EXPECT_FALSE(client_->connected);
    EXPECT_EQ(client_->closed, net::CloseReason::kTransportError);
    EXPECT_EQ(clientStat(row.counter), before + 1) << client_->failure;
    EXPECT_NE(client_->failure.find("CERTIFICATE_VERIFY_FAILED"), std::string::npos) << client_->failure;
  }
}

TEST_F(TlsTest, AServersWildcardCoversOneLabel) {
  server_spec_.common.certificates = {certificateOf(authority_.issue({.sans = "DNS:*.example.com"}))};
  for (const auto& [name, in] : {std::pair{"a.example.com", true}, {"a.b.example.com", false}, {"example.com", false}}) {
    client_spec_.common.validation->sans = {sanIs(config::SanType::kDns, name)};
    connect();
    EXPECT_EQ(client_->connected, in) << name;
  }
}

TEST_F(TlsTest, TheServerNameThatIsSentMayBeTheOneThatIsVerified) {
  client_spec_.auto_sni_san_validation = true;
  connect({.sni = "server.test"});
  EXPECT_TRUE(client_->connected);
  connect({.sni = "other.test"});
  EXPECT_FALSE(client_->connected);
  EXPECT_EQ(clientStat(SslStat::kFailVerifySan), 1u);
  client_spec_.sni.clear();
  connect();
  EXPECT_FALSE(client_->connected) << "no name, nothing verified";
}

// ---- Which certificate ----

TEST_F(TlsTest, TheCertificateIsChosenByServerNameAndKey) {
  server_spec_.common.certificates = {
      certificateOf(authority_.issue({.common_name = "first", .sans = "DNS:first.test"})),
      certificateOf(authority_.issue({.common_name = "rsa", .sans = "DNS:both.test", .rsa = true})),
      certificateOf(authority_.issue({.common_name = "ec", .sans = "DNS:both.test"})),
      certificateOf(authority_.issue({.common_name = "wild", .sans = "DNS:*.wild.test"})),
      certificateOf(authority_.issue({.common_name = "exact", .sans = "DNS:a.wild.test"})),
  };
  const auto subject = [&](std::string_view sni) {
    connect({.sni = sni});
    return client_->connected ? client_->security().peer_subject : client_->failure;
  };
  EXPECT_EQ(subject("first.test"), "CN=first");
  EXPECT_EQ(subject("both.test"), "CN=ec");
  EXPECT_EQ(subject("BOTH.test"), "CN=ec");
  EXPECT_EQ(subject("b.wild.test"), "CN=wild");
  EXPECT_EQ(subject("a.wild.test"), "CN=exact");
  EXPECT_EQ(subject("unknown.test"), "CN=first");
  client_spec_.common.params.signatures = {"rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"};
  EXPECT_EQ(subject("both.test"), "CN=rsa");
}

// ---- One context for equal content ----

class CacheTest : public TlsTest {};

TEST_F(CacheTest, EqualClientsShareEverything) {
  const ClientContextRef first = clientContext();
  EXPECT_EQ(clientContext(), first);
  EXPECT_EQ(cache_.nativeContexts(), 1u);
  // Names of peers and of protocols are no reason for another one of OpenSSL's contexts.
  client_spec_.sni = "other.test";
  client_spec_.common.alpn = {"h2"};
  client_spec_.common.validation->sans = {sanIs(config::SanType::kDns, "other.test")};
  const ClientContextRef second = clientContext();
  EXPECT_NE(second, first);
  EXPECT_EQ(second->native(), first->native());
  client_spec_.common.params.max = config::TlsVersion::kTls12;
  EXPECT_NE(clientContext()->native(), first->native());
}

TEST_F(CacheTest, ThousandClustersWithOneSecretCostFewContexts) {
  std::vector<ClientContextRef> all;
  client_spec_.common.certificates = {certificateOf(authority_.issue({.sans = "URI:spiffe://mesh/me"}))};
  for (int i = 0; i < 1000; ++i) {
    client_spec_.sni = "service" + std::to_string(i) + ".test";
    client_spec_.common.validation->sans = {sanIs(config::SanType::kUri, "spiffe://mesh/" + std::to_string(i))};
    all.push_back(clientContext());
  }
  EXPECT_EQ(cache_.nativeContexts(), 1u);
  all.clear();
  EXPECT_EQ(cache_.nativeContexts(), 0u);
}

TEST_F(CacheTest, WhateverDecidesOnAClientMakesAnotherServer) {
  std::vector<ServerContextRef> all = {serverContext()};
  EXPECT_EQ(serverContext(), all[0]);
  const auto another = [&] {
    all.push_back(serverContext());
    for (size_t i = 0; i + 1 < all.size(); ++i) EXPECT_NE(all[i], all.back()) << i << " of " << all.size();
  };
  server_spec_.common.alpn = {"h2"};
  another();
  server_spec_.common.params.min = config::TlsVersion::kTls13;
  another();
  server_spec_.common.validation.emplace();
  server_spec_.common.validation->trusted_ca = inlined(authority_.pem());
  another();
  server_spec_.require_client_certificate = true;
  another();
  server_spec_.common.validation->sans = {sanIs(config::SanType::kDns, "a")};
  another();
  server_spec_.common.validation->sans = {sanIs(config::SanType::kUri, "a")};
  another();
  server_spec_.ticket_keys = {std::string(80, 'k')};
  another();
}

TEST_F(CacheTest, ListsEveryCertificateThatLives) {
  const ServerContextRef held = serverContext();
  size_t seen = 0;
  cache_.visit([&](const NativeContext& native) {
    ASSERT_EQ(native.ownCertificates().size(), 1u);
    EXPECT_EQ(native.ownCertificates()[0].path, "<inline>");
    ++seen;
  });
  EXPECT_EQ(seen, 1u);
}

TEST_F(CacheTest, BadContentIsNamed) {
  const testing::Pair one = authority_.issue({.sans = "DNS:a.test"});
  const testing::Pair two = authority_.issue({.sans = "DNS:b.test"});
  const auto problemOf = [&](const config::DownstreamTlsSpec& spec) {
    config::Problems problems;
    EXPECT_EQ(cache_.server(spec, problems), nullptr);
    return problems.str();
  };
  config::DownstreamTlsSpec spec = server_spec_;
  spec.common.certificates[0].chain = inlined(one.certificate);
  spec.common.certificates[0].key = inlined(two.key);
  EXPECT_EQ(problemOf(spec),
            "common_tls_context.tls_certificates[0].private_key: '<inline>': is not the key of the certificate in <inline>");
  spec.common.certificates[0].key = inlined("no key at all");
  EXPECT_NE(problemOf(spec).find("common_tls_context.tls_certificates[0].private_key: '<inline>': holds no usable private key"),
            std::string::npos);
  spec = server_spec_;
  spec.common.validation.emplace();
  spec.common.validation->trusted_ca = inlined("");
  EXPECT_NE(problemOf(spec).find("common_tls_context.validation_context.trusted_ca"), std::string::npos) << problemOf(spec);
  spec.common.validation->trusted_ca = {};
  spec.common.validation->sans = {sanIs(config::SanType::kDns, "a")};
  EXPECT_NE(problemOf(spec).find("is required to verify subject alternative names"), std::string::npos);
}

}  // namespace
}  // namespace outrider::tls
