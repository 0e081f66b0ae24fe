// Both sides of xDS on one loop: the hub as the client, over real gRPC, of the server with its files.
#include "source/xds/discovery_server.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "source/xds/grpc_transport.h"
#include "source/xds/hub.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace core = envoy::config::core::v3;

class Names final : public Watcher {
 public:
  void onDelivery(Delivery delivery) override {
    for (const ResourceIn& resource : delivery.resources) names.insert(resource.name);
    for (const std::string& name : delivery.removed) names.erase(name);
    ++deliveries;
    delivery.done(names.contains("bad") ? Verdict::nack("Error adding/updating cluster(s) bad: it is bad", {"bad"}) : Verdict::ok());
  }
  void onFetchTimeout(std::string_view) override {}
  std::set<std::string> names;
  int deliveries = 0;
};

struct Mode {
  const char* name;
  bool delta;
  bool ads;
};

class BothSides : public testing::TestWithParam<Mode> {
 protected:
  BothSides() : folder_(std::filesystem::path(testing::TempDir()) / ("discovery_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    write({"a", "b"});
  }
  ~BothSides() override {
    hub_.reset();
    bool stopped = false;
    if (server_) server_->stop([&] { stopped = true; });
    EXPECT_TRUE(!server_ || until([&] { return stopped; }));
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  void write(const std::vector<std::string>& clusters) {
    std::ofstream(folder_ / "new") << [&] {
      std::string text = "resources:\n";
      for (const std::string& name : clusters) {
        text += "- { \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: " + name + " }\n";
      }
      return text;
    }();
    std::filesystem::rename(folder_ / "new", folder_ / "clusters.yaml");
  }
  bool until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop_.turn(20);
    }
    return true;
  }
  bool said(const std::string& start) {
    for (const std::string& line : lines_) {
      if (line.rfind(start, 0) == 0) return true;
    }
    return false;
  }

  const std::filesystem::path folder_;
  event::Loop loop_;
  stats::Store store_;
  std::vector<std::string> lines_;
  std::optional<DiscoveryServer> server_;
  std::optional<Hub> hub_;
  Names names_;
};

TEST_P(BothSides, ResourcesArriveChangesFollowAndAnswersAreReported) {
  server_.emplace(loop_, folder_.string(), [this](const std::string& line) { lines_.push_back(line); });
  const auto port = server_->start("127.0.0.1:0");
  ASSERT_TRUE(port.ok()) << port.status();
  HubOptions options;
  options.node.set_id("proxy-1");
  hub_.emplace(
      loop_, store_,
      [&](const Target& target) {
        return std::make_unique<GrpcTransport>(loop_, target, [&](std::string_view) {
          Dialed dialed;
          const base::Address to = *base::Address::parseIp("127.0.0.1", static_cast<uint16_t>(*port));
          dialed.connection = std::make_unique<net::Connection>(loop_, net::makeSocket(to), net::makePlainTransport(), base::Address(), to);
          return dialed;
        });
      },
      std::move(options));

  core::ApiConfigSource api;
  api.set_api_type(GetParam().delta ? core::ApiConfigSource::DELTA_GRPC : core::ApiConfigSource::GRPC);
  api.set_transport_api_version(core::ApiVersion::V3);
  api.add_grpc_services()->mutable_envoy_grpc()->set_cluster_name("xds");
  core::ConfigSource source;
  if (GetParam().ads) {
    config::Problems problems;
    ASSERT_TRUE(hub_->setAds(api, problems)) << problems.str();
    source.mutable_ads();
  } else {
    *source.mutable_api_config_source() = api;
  }
  hub_->watch(source, kClusterType, "", names_);

  ASSERT_TRUE(until([&] { return said("ACK  proxy-1 CDS"); }));
  EXPECT_EQ(names_.names, std::set<std::string>({"a", "b"}));
  write({"b", "c"});
  // First the new one beside the old ones; what goes, goes after the answer to that.
  ASSERT_TRUE(until([&] { return names_.names.contains("c"); }));
  EXPECT_EQ(names_.names, std::set<std::string>({"a", "b", "c"}));
  ASSERT_TRUE(until([&] { return !names_.names.contains("a"); }));
  EXPECT_EQ(names_.names, std::set<std::string>({"b", "c"}));
  EXPECT_EQ(names_.deliveries, 3);
  write({"b", "bad"});
  ASSERT_TRUE(until([&] { return said("NACK proxy-1 CDS"); }));
  EXPECT_NE(lines_.back().find("bad: it is bad"), std::string::npos) << lines_.back();
  // A refusal holds up nothing.
  ASSERT_TRUE(until([&] { return !names_.names.contains("c"); }));
}

INSTANTIATE_TEST_SUITE_P(Modes, BothSides,
                         testing::Values(Mode{"AdsDelta", true, true}, Mode{"AdsSotw", false, true}, Mode{"SingleDelta", true, false},
                                         Mode{"SingleSotw", false, false}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace outrider::xds
