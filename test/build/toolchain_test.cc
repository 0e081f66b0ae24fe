// The build's own proof: generated API, its descriptors and every third-party library compile, link and run.
#include <ares.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>
#include <google/protobuf/text_format.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <re2/re2.h>
#include <yaml.h>
#include <zlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "api/descriptors.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"

namespace {

TEST(Toolchain, ParsesABootstrapFromText) {
  envoy::config::bootstrap::v3::Bootstrap bootstrap;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"(node { id: "sidecar" } static_resources { clusters { name: "backend" connect_timeout { seconds: 2 } } })", &bootstrap));
  EXPECT_EQ(bootstrap.static_resources().clusters(0).connect_timeout().seconds(), 2);
}

TEST(Toolchain, EmbedsTheDescriptorsOfTheWholeApi) {
  google::protobuf::FileDescriptorSet set;
  const std::string_view bytes = outrider::api::descriptorSet();
  ASSERT_TRUE(set.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  google::protobuf::SimpleDescriptorDatabase database;
  for (const auto& file : set.file()) database.Add(file);
  google::protobuf::DescriptorPool pool(&database);
  EXPECT_NE(pool.FindMessageTypeByName("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"), nullptr);
  EXPECT_GT(set.file_size(), 700);
}

TEST(Toolchain, OpensAnAdsStreamThatNobodyAnswers) {
  auto channel = grpc::CreateChannel("unix:/nonexistent/outrider.sock", grpc::InsecureChannelCredentials());
  auto stub = envoy::service::discovery::v3::AggregatedDiscoveryService::NewStub(channel);
  grpc::ClientContext context;
  auto stream = stub->StreamAggregatedResources(&context);
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(Toolchain, LinksTheOtherLibraries) {
  EXPECT_TRUE(RE2::FullMatch("backend-7", "[a-z]+-\\d"));
  SSL_CTX* context = SSL_CTX_new(TLS_method());
  EXPECT_NE(context, nullptr);
  SSL_CTX_free(context);
  yaml_parser_t parser;
  EXPECT_EQ(yaml_parser_initialize(&parser), 1);
  yaml_parser_delete(&parser);
  EXPECT_GE(nghttp2_version(0)->version_num, 0x012900);
  EXPECT_NE(ares_version(nullptr), nullptr);
  EXPECT_NE(zlibVersion(), nullptr);
  char version[64];
  EXPECT_GT(pcre2_config(PCRE2_CONFIG_VERSION, version), 0);
  absl::flat_hash_map<std::string, int> map;
  map[absl::StrCat("a", 1)] = 1;
  EXPECT_EQ(map.size(), 1u);
}

}  // namespace
