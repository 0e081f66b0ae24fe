#include "source/tls/live_context.h"

#include <string>

#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "source/tls/socket_parse.h"
#include "source/tls/test_peers.h"

namespace outrider::tls {
namespace {

namespace pb = envoy::extensions::transport_sockets::tls::v3;

// A listener and a cluster whose secrets come by SDS.
class LiveTest : public TlsTest {
 protected:
  LiveTest() {
    auto& common = *down_.mutable_common_tls_context();
    auto& ref = *common.add_tls_certificate_sds_secret_configs();
    ref.set_name("cert");
    ref.mutable_sds_config()->mutable_ads();
    auto& roots = *up_.mutable_common_tls_context()->mutable_validation_context_sds_secret_config();
    roots.set_name("roots");
    roots.mutable_sds_config()->mutable_ads();
    up_.mutable_common_tls_context()->mutable_tls_params()->set_tls_maximum_protocol_version(pb::TlsParameters::TLSv1_3);
  }
  void make() {
    config::Problems problems;
    server_live_ = parseServerSocket(kDownstreamType, down_.SerializeAsString(), "listener.a.", shared_, problems);
    client_live_ = parseClientSocket(kUpstreamType, up_.SerializeAsString(), "cluster.a.", shared_, problems);
    ASSERT_TRUE(problems.empty()) << problems.str();
    ASSERT_TRUE(server_live_ != nullptr && client_live_ != nullptr);
  }
  static std::string key(std::string_view name) {
    config::SdsRef ref;
    ref.name = name;
    ref.from = config::SdsRef::From::kAds;
    return Secrets::keyOf(ref);
  }
  std::string setCertificate(const config::CertificateSpec& value, std::string_view name = "cert") {
    config::SecretSpec secret;
    secret.name = name;
    secret.kind = config::SecretSpec::Kind::kCertificate;
    secret.certificate = value;
    config::Problems problems;
    const bool taken = secrets_.set(key(name), std::move(secret), problems);
    EXPECT_EQ(taken, problems.empty());
    return problems.str();
  }
  std::string setRoots(const std::string& pem, std::string_view name = "roots") {
    config::SecretSpec secret;
    secret.name = name;
    secret.kind = config::SecretSpec::Kind::kValidation;
    secret.validation.trusted_ca = inlined(pem);
    config::Problems problems;
    const bool taken = secrets_.set(key(name), std::move(secret), problems);
    EXPECT_EQ(taken, problems.empty());
    return problems.str();
  }
  void meet() {
    client_.reset();
    server_.reset();
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    server_ = std::make_unique<Peer>(loop_, fds[0], server_live_->makeTransport());
    auto transport = client_live_->makeTransport({});
    ASSERT_NE(transport, nullptr);
    client_ = std::make_unique<Peer>(loop_, fds[1], std::move(transport));
    turns();
  }
  uint64_t factoryStat(const std::string& owner, SslSide side, SslFactoryStat stat) {
    return SslStats::make(store_, owner, side)->factory.read(stat);
  }

  pb::DownstreamTlsContext down_;
  pb::UpstreamTlsContext up_;
  Secrets secrets_;
  SocketParse shared_{std::make_shared<ContextCache>(), secrets_, store_};
  std::shared_ptr<LiveServerContext> server_live_;
  std::shared_ptr<LiveClientContext> client_live_;
};

TEST_F(LiveTest, ServesOnceItsSecretsHaveCome) {
  make();
  EXPECT_FALSE(server_live_->ready());
  EXPECT_FALSE(client_live_->ready());
  ASSERT_EQ(server_live_->wants().size(), 1u);
  EXPECT_EQ(server_live_->wants()[0].name, "cert");
  EXPECT_EQ(client_live_->makeTransport({}), nullptr);
  EXPECT_EQ(factoryStat("cluster.a.", SslSide::kClient, SslFactoryStat::kUpstreamSecretsNotReady), 1u);

  EXPECT_EQ(setRoots(authority_.pem()), "");
  EXPECT_TRUE(client_live_->ready());
  meet();
  EXPECT_FALSE(server_->connected);
  EXPECT_EQ(factoryStat("listener.a.", SslSide::kServer, SslFactoryStat::kDownstreamSecretsNotReady), 1u);

  EXPECT_EQ(setCertificate(certificateOf(authority_.issue({.sans = "DNS:a.test"}))), "");
  meet();
  EXPECT_TRUE(server_->connected && client_->connected);
  EXPECT_EQ(factoryStat("listener.a.", SslSide::kServer, SslFactoryStat::kContextUpdateBySds), 1u);
}

TEST_F(LiveTest, SecretsThatCameBeforeTheirUserAreUsedAtOnce) {
  EXPECT_EQ(setRoots(authority_.pem()), "");
  EXPECT_EQ(setCertificate(certificateOf(authority_.issue({.sans = "DNS:a.test"}))), "");
  make();
  meet();
  EXPECT_TRUE(server_->connected && client_->connected);
}

TEST_F(LiveTest, ARotationIsForNewConnections) {
  make();
  EXPECT_EQ(setRoots(authority_.pem()), "");
  EXPECT_EQ(setCertificate(certificateOf(authority_.issue({.common_name = "one", .sans = "DNS:a.test"}))), "");
  meet();
  auto old_server = std::move(server_);
  auto old_client = std::move(client_);
  EXPECT_EQ(setCertificate(certificateOf(authority_.issue({.common_name = "two", .sans = "DNS:a.test"}))), "");
  meet();
  EXPECT_EQ(client_->security().peer_subject, "CN=two");
  old_client->say("still here");
  turns();
  EXPECT_EQ(old_server->text, "still here");
  EXPECT_EQ(old_client->security().peer_subject, "CN=one");
  // The authority too: a client that trusts another one refuses what it took before, and its old connection stays.
  const testing::Authority other("Another authority");
  EXPECT_EQ(setRoots(other.pem()), "");
  old_server->say("and back");
  meet();
  EXPECT_FALSE(client_->connected);
  EXPECT_EQ(old_client->text, "and back");
}

TEST_F(LiveTest, ABadSecretChangesNothing) {
  make();
  EXPECT_EQ(setRoots(authority_.pem()), "");
  const testing::Pair good = authority_.issue({.common_name = "good", .sans = "DNS:a.test"});
  EXPECT_EQ(setCertificate(certificateOf(good)), "");
  config::CertificateSpec bad = certificateOf(good);
  bad.key = inlined(authority_.issue({}).key);
  EXPECT_EQ(setCertificate(bad), "tls_certificate.private_key: '<inline>': is not the key of the certificate in <inline>");
  bad.chain = inlined("");
  EXPECT_NE(setCertificate(bad), "");
  meet();
  EXPECT_EQ(client_->security().peer_subject, "CN=good");
  EXPECT_EQ(factoryStat("listener.a.", SslSide::kServer, SslFactoryStat::kContextUpdateBySds), 1u);
}

TEST_F(LiveTest, AnEqualSecretIsNoChange) {
  make();
  const auto pair = certificateOf(authority_.issue({.sans = "DNS:a.test"}));
  EXPECT_EQ(setCertificate(pair), "");
  const ServerContextRef before = server_live_->context();
  EXPECT_EQ(setCertificate(pair), "");
  EXPECT_EQ(server_live_->context(), before);
  EXPECT_EQ(setCertificate(certificateOf(authority_.issue({})), "somebody else's"), "");
  EXPECT_EQ(server_live_->context(), before);
}

TEST_F(LiveTest, ASecretIsMergedIntoTheDefaults) {
  auto& both = *up_.mutable_common_tls_context()->mutable_combined_validation_context();
  auto& name = *both.mutable_default_validation_context()->add_match_typed_subject_alt_names();
  name.set_san_type(pb::SubjectAltNameMatcher::DNS);
  name.mutable_matcher()->set_exact("a.test");
  both.mutable_validation_context_sds_secret_config()->set_name("roots");
  both.mutable_validation_context_sds_secret_config()->mutable_sds_config()->mutable_ads();
  make();
  EXPECT_EQ(setRoots(authority_.pem()), "");
  EXPECT_EQ(setCertificate(certificateOf(authority_.issue({.sans = "DNS:a.test"}))), "");
  meet();
  EXPECT_TRUE(client_->connected);
  EXPECT_EQ(setCertificate(certificateOf(authority_.issue({.sans = "DNS:b.test"}))), "");
  meet();
  EXPECT_FALSE(client_->connected);
}

TEST_F(LiveTest, NamesWithoutAnAuthorityRefuseTheSecret) {
  auto& both = *up_.mutable_common_tls_context()->mutable_combined_validation_context();
  auto& name = *both.mutable_default_validation_context()->add_match_typed_subject_alt_names();
  name.set_san_type(pb::SubjectAltNameMatcher::DNS);
  name.mutable_matcher()->set_exact("a.test");
  both.mutable_validation_context_sds_secret_config()->set_name("roots");
  both.mutable_validation_context_sds_secret_config()->mutable_sds_config()->mutable_ads();
  make();
  config::SecretSpec secret;
  secret.kind = config::SecretSpec::Kind::kValidation;
  config::Problems problems;
  EXPECT_FALSE(secrets_.set(key("roots"), secret, problems));
  EXPECT_FALSE(client_live_->ready());
  EXPECT_FALSE(secrets_.has(key("roots")));
}

TEST_F(LiveTest, OtherSocketsAreRefused) {
  config::Problems problems;
  EXPECT_EQ(parseServerSocket("envoy.extensions.transport_sockets.tap.v3.Tap", "", "listener.a.", shared_, problems), nullptr);
  EXPECT_EQ(parseClientSocket(kUpstreamType, "\xff\xff", "cluster.a.", shared_, problems), nullptr);
  EXPECT_EQ(problems.size(), 2u);
}

}  // namespace
}  // namespace outrider::tls
