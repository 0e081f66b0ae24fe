#include "source/config/tls_parse.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"

namespace outrider::config {
namespace {

namespace pb = envoy::extensions::transport_sockets::tls::v3;

pb::DownstreamTlsContext server() {
  pb::DownstreamTlsContext out;
  auto& certificate = *out.mutable_common_tls_context()->add_tls_certificates();
  certificate.mutable_certificate_chain()->set_inline_string("a certificate");
  certificate.mutable_private_key()->set_inline_string("a key");
  return out;
}

std::string problemsOf(const pb::DownstreamTlsContext& in) {
  Problems problems;
  parseDownstreamTls(in, problems);
  return problems.str();
}
std::string problemsOf(const pb::UpstreamTlsContext& in) {
  Problems problems;
  parseUpstreamTls(in, problems);
  return problems.str();
}

TEST(TlsParse, DefaultsAreEnvoys) {
  Problems problems;
  const DownstreamTlsSpec down = parseDownstreamTls(server(), problems);
  const UpstreamTlsSpec up = parseUpstreamTls(pb::UpstreamTlsContext(), problems);
  EXPECT_TRUE(problems.empty()) << problems.str();
  EXPECT_EQ(down.common.params.min, TlsVersion::kTls12);
  EXPECT_EQ(down.common.params.max, TlsVersion::kTls13);
  EXPECT_EQ(up.common.params.min, TlsVersion::kTls12);
  EXPECT_EQ(up.common.params.max, TlsVersion::kTls12);
  EXPECT_EQ(up.max_session_keys, 1u);
  EXPECT_FALSE(down.require_client_certificate);
  EXPECT_EQ(down.common.certificates[0].chain.bytes, "a certificate");
  EXPECT_EQ(down.common.certificates[0].chain.path, "<inline>");
}

TEST(TlsParse, AClientThatAsksForThirteenSpeaksIt) {
  pb::UpstreamTlsContext in;
  in.mutable_common_tls_context()->mutable_tls_params()->set_tls_minimum_protocol_version(pb::TlsParameters::TLSv1_3);
  Problems problems;
  EXPECT_EQ(parseUpstreamTls(in, problems).common.params.max, TlsVersion::kTls13);
  in.mutable_common_tls_context()->mutable_tls_params()->set_tls_maximum_protocol_version(pb::TlsParameters::TLSv1_2);
  EXPECT_EQ(problemsOf(in), "common_tls_context.tls_params.tls_minimum_protocol_version: is above tls_maximum_protocol_version");
}

TEST(TlsParse, CipherGroupsAreFlattened) {
  const struct {
    std::string_view in;
    std::vector<std::string> out;
  } rows[] = {
      {"[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]", {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"}},
      {"ECDHE-RSA-AES256-GCM-SHA384:[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
       {"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"}},
      {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", {"ECDHE-RSA-AES128-GCM-SHA256"}},
      {"AES128-SHA AES128-SHA", {}},
      {"", {}},
  };
  for (const auto& row : rows) {
    Problems problems;
    std::vector<std::string> out;
    mapCiphers(row.in, out, problems);
    EXPECT_EQ(out, row.out) << row.in;
  }
  Problems problems;
  std::vector<std::string> out;
  mapCiphers("[AES128-SHA", out, problems);
  mapCiphers("RC4-MD5", out, problems);
  mapCiphers("TLS_AES_128_GCM_SHA256", out, problems);
  EXPECT_EQ(problems.size(), 3u) << problems.str();
}

TEST(TlsParse, EveryProblemHasItsPath) {
  pb::DownstreamTlsContext in;
  auto& common = *in.mutable_common_tls_context();
  common.mutable_tls_params()->add_cipher_suites("NOT-A-CIPHER");
  common.mutable_tls_params()->add_ecdh_curves("P-192");
  common.add_tls_certificates()->mutable_certificate_chain()->set_filename("/nowhere/cert.pem");
  common.add_alpn_protocols("");
  in.mutable_session_ticket_keys()->add_keys()->set_inline_bytes("short");
  in.mutable_require_sni()->set_value(true);
  const std::string said = problemsOf(in);
  for (const char* wanted : {
           "common_tls_context.tls_params.cipher_suites[0]: 'NOT-A-CIPHER': no such cipher suite",
           "common_tls_context.tls_params.ecdh_curves[0]: 'P-192': no such curve",
           "common_tls_context.tls_certificates[0].certificate_chain.filename: '/nowhere/cert.pem': cannot be read: No "
           "such file or directory",
           "common_tls_context.tls_certificates[0].private_key: is required",
           "common_tls_context.alpn_protocols[0]: is not a list of protocol names",
           "session_ticket_keys.keys[0]: has 5 bytes; a ticket key has exactly 80",
           "require_sni: 'true': is not supported",
       }) {
    EXPECT_NE(said.find(wanted), std::string::npos) << wanted << "\n in \n" << said;
  }
}

TEST(TlsParse, AServerNeedsACertificate) {
  EXPECT_NE(problemsOf(pb::DownstreamTlsContext()).find("a server needs a certificate"), std::string::npos);
}

TEST(TlsParse, ReadsFilesAndTheEnvironment) {
  std::string name = ::testing::TempDir() + "outrider_parse_XXXXXX";
  const int fd = ::mkstemp(name.data());
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::write(fd, "pem", 3), 3);
  ::close(fd);
  ::setenv("OUTRIDER_TEST_KEY", "secret", 1);
  pb::DownstreamTlsContext in = server();
  auto& certificate = *in.mutable_common_tls_context()->mutable_tls_certificates(0);
  certificate.mutable_certificate_chain()->set_filename(name);
  certificate.mutable_private_key()->set_environment_variable("OUTRIDER_TEST_KEY");
  Problems problems;
  const auto spec = parseDownstreamTls(in, problems);
  EXPECT_TRUE(problems.empty()) << problems.str();
  EXPECT_EQ(spec.common.certificates[0].chain.bytes, "pem");
  EXPECT_EQ(spec.common.certificates[0].chain.path, name);
  EXPECT_EQ(spec.common.certificates[0].key.bytes, "secret");
  ::unlink(name.c_str());
}

TEST(TlsParse, ValidationInFull) {
  pb::UpstreamTlsContext in;
  auto& validation = *in.mutable_common_tls_context()->mutable_validation_context();
  validation.mutable_trusted_ca()->set_inline_string("roots");
  auto& typed = *validation.add_match_typed_subject_alt_names();
  typed.set_san_type(pb::SubjectAltNameMatcher::URI);
  typed.mutable_matcher()->set_prefix("spiffe://mesh/");
  validation.add_verify_certificate_hash("DF:6F:F7:2F:E9:11:65:21:26:8F:6F:2D:D4:96:6F:51:DF:47:98:83:FE:70:37:B3:9F:75:91:6A:C3:04:9D:1A");
  validation.add_verify_certificate_spki("NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=");
  validation.set_trust_chain_verification(pb::CertificateValidationContext::ACCEPT_UNTRUSTED);
  validation.mutable_max_verify_depth()->set_value(3);
  Problems problems;
  const auto spec = parseUpstreamTls(in, problems);
  ASSERT_TRUE(problems.empty()) << problems.str();
  ASSERT_TRUE(spec.common.validation.has_value());
  EXPECT_EQ(spec.common.validation->sans.size(), 1u);
  EXPECT_EQ(spec.common.validation->sans[0].type, SanType::kUri);
  EXPECT_EQ(spec.common.validation->hashes.size(), 1u);
  EXPECT_EQ(spec.common.validation->hashes[0][0], 0xDF);
  EXPECT_EQ(spec.common.validation->spki.size(), 1u);
  EXPECT_TRUE(spec.common.validation->accept_untrusted);
  EXPECT_EQ(spec.common.validation->max_depth, 3u);
  validation.set_verify_certificate_hash(0, "zz");
  EXPECT_NE(problemsOf(in).find("validation_context.verify_certificate_hash[0]"), std::string::npos) << problemsOf(in);
}

TEST(TlsParse, WhatWouldWeakenIsRefused) {
  pb::UpstreamTlsContext in;
  in.set_auto_sni_san_validation(true);
  EXPECT_NE(problemsOf(in).find("auto_sni_san_validation"), std::string::npos);
  in.Clear();
  in.mutable_common_tls_context()->mutable_validation_context()->mutable_custom_validator_config()->set_name("x");
  EXPECT_NE(problemsOf(in).find("custom_validator_config"), std::string::npos) << problemsOf(in);
  in.Clear();
  in.mutable_common_tls_context()->mutable_custom_handshaker()->set_name("x");
  EXPECT_NE(problemsOf(in).find("custom_handshaker"), std::string::npos);
}

TEST(TlsParse, SecretsOfEachKind) {
  Problems problems;
  pb::Secret in;
  in.set_name("s");
  in.mutable_validation_context()->mutable_trusted_ca()->set_inline_string("roots");
  EXPECT_EQ(parseSecret(in, problems).kind, SecretSpec::Kind::kValidation);
  in.mutable_tls_certificate()->mutable_certificate_chain()->set_inline_string("c");
  in.mutable_tls_certificate()->mutable_private_key()->set_inline_string("k");
  EXPECT_EQ(parseSecret(in, problems).kind, SecretSpec::Kind::kCertificate);
  in.mutable_session_ticket_keys()->add_keys()->set_inline_bytes(std::string(80, 'k'));
  EXPECT_EQ(parseSecret(in, problems).ticket_keys.size(), 1u);
  in.mutable_generic_secret()->mutable_secret()->set_inline_string("g");
  EXPECT_EQ(parseSecret(in, problems).generic.bytes, "g");
  EXPECT_TRUE(problems.empty()) << problems.str();
  parseSecret(pb::Secret(), problems);
  EXPECT_EQ(problems.size(), 1u);
}

TEST(TlsParse, ReferencesToSecretsSayWhereTheyComeFrom) {
  pb::DownstreamTlsContext in;
  auto& common = *in.mutable_common_tls_context();
  auto& by_ads = *common.add_tls_certificate_sds_secret_configs();
  by_ads.set_name("cert");
  by_ads.mutable_sds_config()->mutable_ads();
  auto& by_file = *common.mutable_validation_context_sds_secret_config();
  by_file.set_name("roots");
  by_file.mutable_sds_config()->mutable_path_config_source()->set_path("/etc/roots.yaml");
  Problems problems;
  const auto spec = parseDownstreamTls(in, problems);
  ASSERT_TRUE(problems.empty()) << problems.str();
  EXPECT_EQ(spec.common.certificate_sds.at(0).from, SdsRef::From::kAds);
  EXPECT_EQ(spec.common.validation_sds->from, SdsRef::From::kPath);
  EXPECT_EQ(spec.common.validation_sds->path, "/etc/roots.yaml");
}

}  // namespace
}  // namespace outrider::config
