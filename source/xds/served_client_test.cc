// What clients of the control plane are sent, from files on disk.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "source/xds/served_client.h"
#include "source/xds/served_files.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;

const std::string kCds(kClusterType);
const std::string kEds(kEndpointType);

class ServedClients : public testing::Test {
 protected:
  ServedClients() : folder_(std::filesystem::path(testing::TempDir()) / ("served_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    files_.emplace(folder_.string());
    write("clusters.yaml", R"(
resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: a
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: b
)");
    write("endpoints.yaml", R"(
"@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
cluster_name: a
)");
    load();
  }
  ~ServedClients() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  void load() {
    problems_.clear();
    files_->load(problems_);
  }
  ServedClient client(bool delta, std::string only_type = "") {
    return {delta, std::move(only_type), [this](std::string bytes) { sent_.push_back(std::move(bytes)); },
            [this](const std::string& line) { lines_.push_back(line); }};
  }
  template <class R>
  std::vector<R> taken() {
    std::vector<R> all;
    for (const std::string& bytes : sent_) EXPECT_TRUE(all.emplace_back().ParseFromString(bytes));
    sent_.clear();
    return all;
  }
  static discovery::DiscoveryRequest sotw(const std::string& type, const std::vector<std::string>& names = {},
                                          const std::string& nonce = "") {
    discovery::DiscoveryRequest request;
    request.mutable_node()->set_id("proxy-1");
    request.set_type_url(type);
    request.set_response_nonce(nonce);
    for (const std::string& name : names) request.add_resource_names(name);
    return request;
  }
  static discovery::DeltaDiscoveryRequest delta(const std::string& type, const std::vector<std::string>& names = {},
                                                const std::string& nonce = "") {
    discovery::DeltaDiscoveryRequest request;
    request.mutable_node()->set_id("proxy-1");
    request.set_type_url(type);
    request.set_response_nonce(nonce);
    for (const std::string& name : names) request.add_resource_names_subscribe(name);
    return request;
  }
  void ask(ServedClient& client, const google::protobuf::Message& request) {
    EXPECT_TRUE(client.onRequest(request.SerializeAsString(), files_->resources()));
  }
  void refresh(ServedClient& client) {
    load();
    client.onResources(files_->resources());
  }

  const std::filesystem::path folder_;
  std::optional<ServedFiles> files_;
  std::vector<std::string> problems_;
  std::vector<std::string> sent_;
  std::vector<std::string> lines_;
};

TEST_F(ServedClients, ServesEverythingToAWildcardAndReportsTheAck) {
  ServedClient proxy = client(false);
  ask(proxy, sotw(kCds));
  const auto first = taken<discovery::DiscoveryResponse>();
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].resources_size(), 2);
  EXPECT_EQ(first[0].type_url(), kCds);
  ask(proxy, sotw(kCds, {}, first[0].nonce()));
  EXPECT_TRUE(sent_.empty());
  EXPECT_EQ(lines_, std::vector<std::string>({"ACK  proxy-1 CDS nonce 1 version " + first[0].version_info()}));
}

TEST_F(ServedClients, ANackIsOneLineWithItsReasonAndBringsNoLoop) {
  ServedClient proxy = client(true);
  ask(proxy, delta(kCds));
  const auto first = taken<discovery::DeltaDiscoveryResponse>();
  ASSERT_EQ(first.size(), 1u);
  auto nack = delta(kCds, {}, first[0].nonce());
  nack.mutable_error_detail()->set_message("a: bad\nb: worse");
  ask(proxy, nack);
  EXPECT_TRUE(sent_.empty());
  ASSERT_EQ(lines_.size(), 1u);
  EXPECT_EQ(lines_[0], "NACK proxy-1 CDS delta nonce 1 version " + first[0].system_version_info() + ": a: bad; b: worse");
}

TEST_F(ServedClients, AChangedFileSendsWhatChangedAndTheRestKeepsItsVersion) {
  ServedClient proxy = client(true);
  ask(proxy, delta(kCds));
  const auto first = taken<discovery::DeltaDiscoveryResponse>();
  write("clusters.yaml", R"(
resources:
- { name: c, "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster }
- { name: b, connect_timeout: 1s, "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster }
)");
  refresh(proxy);
  const auto second = taken<discovery::DeltaDiscoveryResponse>();
  ASSERT_EQ(second.size(), 1u);
  ASSERT_EQ(second[0].resources_size(), 2);
  EXPECT_EQ(second[0].resources(0).name(), "b");
  EXPECT_EQ(second[0].resources(1).name(), "c");
  EXPECT_EQ(second[0].removed_resources(0), "a");
  refresh(proxy);
  EXPECT_TRUE(sent_.empty());
}

TEST_F(ServedClients, AFileThatCannotBeReadKeepsItsLastGoodContentAndSaysWhere) {
  ServedClient proxy = client(false);
  ask(proxy, sotw(kCds));
  (void)taken<discovery::DiscoveryResponse>();
  for (const char* const bad :
       {"", "resources: [", "resources:\n- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  nmae: a\n"}) {
    write("clusters.yaml", bad);
    refresh(proxy);
    EXPECT_TRUE(sent_.empty()) << bad;
    ASSERT_FALSE(problems_.empty()) << bad;
    EXPECT_NE(problems_[0].find("clusters.yaml"), std::string::npos) << problems_[0];
  }
  EXPECT_NE(problems_[0].find("clusters.yaml:3:"), std::string::npos) << problems_[0];
  EXPECT_EQ(files_->resources().at(kCds).size(), 2u);
}

TEST_F(ServedClients, NamedResourcesComeWhenAskedForAndWhenTheyAppear) {
  ServedClient proxy = client(false);
  ask(proxy, sotw(kEds, {"a", "later"}));
  auto got = taken<discovery::DiscoveryResponse>();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].resources_size(), 1);
  ask(proxy, sotw(kEds, {"a", "later"}, got[0].nonce()));
  write("more.yaml", "\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\ncluster_name: later\n");
  refresh(proxy);
  got = taken<discovery::DiscoveryResponse>();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].resources_size(), 2);
}

TEST_F(ServedClients, DeltaTellsThatANameDoesNotExistAndWhatAReturningClientMissed) {
  ServedClient proxy = client(true);
  ask(proxy, delta(kEds, {"nobody"}));
  auto got = taken<discovery::DeltaDiscoveryResponse>();
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].removed_resources(0), "nobody");

  ServedClient back = client(true);
  auto again = delta(kCds);
  (*again.mutable_initial_resource_versions())["a"] = files_->resources().at(kCds).at("a").version;
  (*again.mutable_initial_resource_versions())["gone"] = "1";
  ask(back, again);
  got = taken<discovery::DeltaDiscoveryResponse>();
  ASSERT_EQ(got.size(), 1u);
  ASSERT_EQ(got[0].resources_size(), 1);
  EXPECT_EQ(got[0].resources(0).name(), "b");
  EXPECT_EQ(got[0].removed_resources(0), "gone");
}

TEST_F(ServedClients, AnUpdateOfSeveralTypesIsSentInTheOrderThatBreaksNothing) {
  ServedClient proxy = client(true);
  ask(proxy, delta(kEds, {"a"}));
  ask(proxy, delta(kCds));
  (void)taken<discovery::DeltaDiscoveryResponse>();
  write("endpoints.yaml",
        "\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\ncluster_name: a\n"
        "policy: { overprovisioning_factor: 150 }\n");
  write("clusters.yaml", "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: z\n");
  refresh(proxy);
  const auto got = taken<discovery::DeltaDiscoveryResponse>();
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].type_url(), kCds);
  EXPECT_EQ(got[1].type_url(), kEds);
}

TEST_F(ServedClients, ARequestWithAnOldNonceIsIgnored) {
  ServedClient proxy = client(false);
  ask(proxy, sotw(kCds));
  write("clusters.yaml", "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: z\n");
  refresh(proxy);
  const auto got = taken<discovery::DiscoveryResponse>();
  ASSERT_EQ(got.size(), 2u);
  ask(proxy, sotw(kCds, {}, got[0].nonce()));
  EXPECT_TRUE(lines_.empty());
  ask(proxy, sotw(kCds, {}, got[1].nonce()));
  EXPECT_EQ(lines_.size(), 1u);
}

TEST_F(ServedClients, BytesThatAreNoRequestAreRefused) {
  ServedClient proxy = client(false);
  EXPECT_FALSE(proxy.onRequest("\xff\xff", files_->resources()));
}

}  // namespace
}  // namespace outrider::xds
