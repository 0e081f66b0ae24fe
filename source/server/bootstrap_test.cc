#include "source/server/bootstrap.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "source/server/version.h"

namespace outrider::server {
namespace {

class Loading : public ::testing::Test {
 protected:
  ~Loading() override {
    if (!flags_.config_path.empty()) std::remove(flags_.config_path.c_str());
  }
  void file(const std::string& text, const std::string& ending = "") {
    flags_.config_path = ::testing::TempDir() + ::testing::UnitTest::GetInstance()->current_test_info()->name() + ending;
    std::ofstream(flags_.config_path, std::ios::binary) << text;
  }
  bool load() {
    loaded_ = loadBootstrap(flags_, extensions_, config::Checker(&honored_, flags_.reject_unsupported), problems_);
    EXPECT_EQ(loaded_ == nullptr, !problems_.empty());
    return loaded_ != nullptr;
  }
  const envoy::config::bootstrap::v3::Bootstrap& message() const { return loaded_->message; }

  Flags flags_;
  config::Honored honored_;
  config::Problems problems_;
  std::vector<NodeExtension> extensions_;
  std::unique_ptr<LoadedBootstrap> loaded_;
};

TEST_F(Loading, AFileGivesNodeAndResources) {
  file(
      "node: {id: n, cluster: c, locality: {zone: z}}\nstatic_resources:\n  clusters:\n  - {name: one, "
      "connect_timeout: 1s}\n");
  extensions_ = {{"envoy.filters.http.router", "envoy.filters.http", {"envoy.extensions.filters.http.router.v3.Router"}}};
  ASSERT_TRUE(load()) << problems_.str();
  EXPECT_EQ(message().node().id(), "n");
  EXPECT_EQ(message().node().user_agent_name(), "outrider");
  EXPECT_EQ(message().node().user_agent_build_version().version().minor_number(), kMinor);
  EXPECT_EQ(message().node().user_agent_build_version().metadata().fields().at("ssl.version").string_value(), "OpenSSL");
  ASSERT_EQ(message().node().extensions_size(), 1);
  EXPECT_EQ(message().node().extensions(0).type_urls(0), "envoy.extensions.filters.http.router.v3.Router");
  EXPECT_EQ(message().static_resources().clusters(0).name(), "one");
}

TEST_F(Loading, TheInlineTextIsMergedOver) {
  file("node: {id: n, cluster: c}\nstats_flush_interval: 5s\nstatic_resources: {clusters: [{name: one}]}\n");
  flags_.config_yaml =
      "{node: {cluster: over, locality: {region: r}}, stats_flush_interval: 7s, static_resources: {clusters: [{name: "
      "two}]}}";
  ASSERT_TRUE(load()) << problems_.str();
  EXPECT_EQ(message().node().id(), "n");
  EXPECT_EQ(message().node().cluster(), "over");
  EXPECT_EQ(message().node().locality().region(), "r");
  EXPECT_EQ(message().stats_flush_interval().seconds(), 7);
  ASSERT_EQ(message().static_resources().clusters_size(), 2);
  EXPECT_EQ(message().static_resources().clusters(1).name(), "two");
}

TEST_F(Loading, TheInlineTextIsEnough) {
  flags_.config_yaml = R"({"node":{"id":"n","cluster":"c"}})";
  ASSERT_TRUE(load()) << problems_.str();
  EXPECT_EQ(message().node().id(), "n");
}

TEST_F(Loading, FlagsNameTheNode) {
  file(
      "node: {id: n, cluster: c, locality: {zone: z, region: r}, user_agent_name: envoy, user_agent_version: "
      "'1.30'}\n");
  flags_.service_node = "flag-node";
  flags_.service_cluster = "flag-cluster";
  flags_.service_zone = "flag-zone";
  ASSERT_TRUE(load()) << problems_.str();
  EXPECT_EQ(message().node().id(), "flag-node");
  EXPECT_EQ(message().node().cluster(), "flag-cluster");
  EXPECT_EQ(message().node().locality().zone(), "flag-zone");
  EXPECT_EQ(message().node().locality().region(), "r");
  EXPECT_EQ(message().node().user_agent_name(), "envoy");  // announced as configured
  EXPECT_EQ(message().node().user_agent_version(), "1.30");
}

TEST_F(Loading, ProblemsPointIntoTheFile) {
  file("node: {id: n}\nstatic_resources:\n  clusters:\n  - name: ''\n    connect_timeout: 0s\n", ".yaml");
  flags_.config_yaml = "{admin: {address: {}}}";
  ASSERT_FALSE(load());
  EXPECT_EQ(problems_.str(), flags_.config_path + ":4:11: static_resources.clusters[0].name: must not be empty\n" + flags_.config_path +
                                 ":5:22: static_resources.clusters[0].connect_timeout: '0s': out of range; must be greater than 0s\n"
                                 "--config-yaml:1:19: admin.address.address: one of its fields must be set; "
                                 "give one of socket_address, pipe, envoy_internal_address");
}

TEST_F(Loading, UnknownFieldsAreRefusedOrCounted) {
  file("node: {id: n, clster: c}\n");
  ASSERT_FALSE(load());
  EXPECT_EQ(problems_.str(),
            flags_.config_path + ":1:23: node.clster: no such field in envoy.config.core.v3.Node; did you mean 'cluster'?");
  problems_ = config::Problems();
  flags_.allow_unknown_static_fields = true;
  ASSERT_TRUE(load()) << problems_.str();
  EXPECT_EQ(loaded_->unknown.count, 1U);
}

TEST_F(Loading, DynamicResourcesNeedAName) {
  file("dynamic_resources: {cds_config: {ads: {}}}\n");
  ASSERT_FALSE(load());
  EXPECT_EQ(problems_.size(), 2U);
  EXPECT_NE(problems_.str().find("node.id: must not be empty with dynamic resources; set it here or with --service-node"),
            std::string::npos);
  problems_ = config::Problems();
  flags_.service_node = "n";
  flags_.service_cluster = "c";
  EXPECT_TRUE(load()) << problems_.str();
}

TEST_F(Loading, WhatHasNoEffectIsReportedOrRefused) {
  declareBootstrap(honored_);
  file("node: {id: n}\nstats_flush_interval: 5s\nnode_context_params: [a]\n");
  ASSERT_TRUE(load()) << problems_.str();
  EXPECT_EQ(problems_.unsupportedPaths(), (std::vector<std::string>{"stats_flush_interval", "node_context_params"}));
  flags_.reject_unsupported = true;
  problems_ = config::Problems();
  ASSERT_FALSE(load());
  EXPECT_EQ(problems_.list()[0].str(),
            flags_.config_path + ":2:23: stats_flush_interval: is not implemented; remove it, or do not give --reject-unsupported");
}

TEST_F(Loading, BinaryAndPipesAreRead) {
  envoy::config::bootstrap::v3::Bootstrap bootstrap;
  bootstrap.mutable_node()->set_id("binary");
  file(bootstrap.SerializeAsString());
  ASSERT_TRUE(load()) << problems_.str();
  EXPECT_EQ(message().node().id(), "binary");
}

TEST_F(Loading, NothingOrNoFileIsAProblem) {
  EXPECT_FALSE(load());
  EXPECT_EQ(problems_.str(), "no bootstrap; give --config-path or --config-yaml");
  problems_ = config::Problems();
  flags_.config_path = "/nonexistent/bootstrap";
  EXPECT_FALSE(load());
  EXPECT_EQ(problems_.str(), "cannot read /nonexistent/bootstrap: No such file or directory");
}

}  // namespace
}  // namespace outrider::server
