// Real gRPC on both ends: the transport against a server in the same process, over a relayed connection and over gRPC's own.
#include "source/xds/grpc_transport.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "source/xds/hub.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace core = envoy::config::core::v3;
namespace discovery = envoy::service::discovery::v3;
using Cluster = envoy::config::cluster::v3::Cluster;

// Answers the first request of each stream with `clusters` clusters, and writes down what follows.
class Server final : public discovery::AggregatedDiscoveryService::Service {
 public:
  using Deltas = grpc::ServerReaderWriter<discovery::DeltaDiscoveryResponse, discovery::DeltaDiscoveryRequest>;

  Server() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Server() override { stop(); }
  void stop() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  int port() const { return port_; }

  grpc::Status DeltaAggregatedResources(grpc::ServerContext* context, Deltas* stream) override {
    discovery::DeltaDiscoveryRequest request;
    while (stream->Read(&request)) {
      note(context, request);
      if (refuse) return {grpc::StatusCode::PERMISSION_DENIED, "not this proxy"};
      if (request.response_nonce().empty()) {
        discovery::DeltaDiscoveryResponse response;
        response.set_type_url(request.type_url());
        response.set_nonce("n1");
        for (int i = 0; i < clusters; ++i) {
          Cluster cluster;
          cluster.set_name("cluster-" + std::to_string(i));
          cluster.set_alt_stat_name(std::string(padding, 'x'));
          auto& resource = *response.add_resources();
          resource.set_name(cluster.name());
          resource.set_version("1");
          resource.mutable_resource()->PackFrom(cluster);
        }
        stream->Write(response);
      }
    }
    return grpc::Status::OK;
  }

  size_t count() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return requests_.size();
  }
  discovery::DeltaDiscoveryRequest request(size_t i) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return requests_.at(i);
  }
  std::string token() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return token_;
  }

  std::atomic<int> clusters{2};
  std::atomic<int> padding{0};
  std::atomic<bool> refuse{false};

 private:
  void note(grpc::ServerContext* context, const discovery::DeltaDiscoveryRequest& request) {
    const std::lock_guard<std::mutex> lock(mutex_);
    requests_.push_back(request);
    const auto at = context->client_metadata().find("x-token");
    if (at != context->client_metadata().end()) token_ = std::string(at->second.begin(), at->second.end());
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::vector<discovery::DeltaDiscoveryRequest> requests_;
  std::string token_;
};

class Taker final : public Watcher {
 public:
  void onDelivery(Delivery delivery) override {
    for (const ResourceIn& resource : delivery.resources) {
      ++resources;
      bytes += resource.bytes->size();
    }
    delivery.done(Verdict::ok());
  }
  void onFetchTimeout(std::string_view) override {}
  size_t resources = 0;
  size_t bytes = 0;
};

class GrpcStreams : public testing::Test {
 protected:
  void start(int port, bool google = false) {
    port_ = port;
    core::ApiConfigSource source;
    source.set_api_type(core::ApiConfigSource::DELTA_GRPC);
    source.set_transport_api_version(core::ApiVersion::V3);
    auto& service = *source.add_grpc_services();
    if (google) {
      service.mutable_google_grpc()->set_target_uri("127.0.0.1:" + std::to_string(port));
    } else {
      service.mutable_envoy_grpc()->set_cluster_name("outbound|15010||istiod");
      service.mutable_envoy_grpc()->set_authority("istiod:15010");
    }
    auto& header = *service.add_initial_metadata();
    header.set_key("x-token");
    header.set_value("secret");
    HubOptions options;
    options.node.set_id("proxy-1");
    hub_.emplace(
        loop_, store_,
        [this](const Target& target) {
          return std::make_unique<GrpcTransport>(loop_, target, [this](std::string_view cluster) { return dial(cluster); });
        },
        std::move(options));
    config::Problems problems;
    ASSERT_TRUE(hub_->setAds(source, problems)) << problems.str();
    core::ConfigSource ads;
    ads.mutable_ads();
    hub_->watch(ads, kClusterType, "", taker_);
  }
  Dialed dial(std::string_view cluster) {
    dialed_ = std::string(cluster);
    Dialed dialed;
    if (port_ == 0) {
      dialed.error = "no healthy host";
      return dialed;
    }
    const base::Address to = *base::Address::parseIp("127.0.0.1", static_cast<uint16_t>(port_));
    dialed.connection = std::make_unique<net::Connection>(loop_, net::makeSocket(to), net::makePlainTransport(), base::Address(), to);
    return dialed;
  }
  bool until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop_.turn(20);
    }
    return true;
  }
  uint64_t stat(const std::string& wanted) {
    uint64_t found = 0;
    stats::Store::Visitor visitor;
    visitor.number = [&](const std::string& name, stats::Kind, const stats::Scope::Reading& reading) {
      if (name == wanted) found = reading.value;
    };
    visitor.histogram = [](const std::string&, const stats::Histogram::Sample&) {};
    visitor.text = [](const std::string&, const std::string&) {};
    store_.visit(visitor);
    return found;
  }

  int port_ = 0;
  std::string dialed_;
  event::Loop loop_;
  stats::Store store_;
  Taker taker_;
  std::optional<Hub> hub_;
};

TEST_F(GrpcStreams, RequestsAndResponsesGoThroughAConnectionOfTheCluster) {
  Server server;
  start(server.port());
  ASSERT_TRUE(until([&] { return server.count() == 2; }));
  EXPECT_EQ(dialed_, "outbound|15010||istiod");
  EXPECT_EQ(taker_.resources, 2u);
  EXPECT_EQ(server.request(0).node().id(), "proxy-1");
  EXPECT_EQ(server.request(1).response_nonce(), "n1");
  EXPECT_EQ(server.token(), "secret");
  EXPECT_EQ(stat("control_plane.connected_state"), 1u);
}

TEST_F(GrpcStreams, TenThousandClustersInOneMessageOfManyMegabytes) {
  Server server;
  server.clusters = 10'000;
  server.padding = 1000;
  start(server.port());
  ASSERT_TRUE(until([&] { return server.count() == 2; }));
  EXPECT_EQ(taker_.resources, 10'000u);
  EXPECT_GT(taker_.bytes, 10'000'000u);
}

TEST_F(GrpcStreams, GrpcsOwnChannelServesATargetUri) {
  Server server;
  start(server.port(), true);
  ASSERT_TRUE(until([&] { return server.count() == 2; }));
  EXPECT_EQ(dialed_, "");
  EXPECT_EQ(taker_.resources, 2u);
}

TEST_F(GrpcStreams, TheServersStatusEndsTheStreamAndTheNextOneComes) {
  Server server;
  server.refuse = true;
  start(server.port());
  ASSERT_TRUE(until([&] { return stat("cluster_manager.cds.update_failure") == 1; }));
  EXPECT_EQ(stat("control_plane.connected_state"), 0u);
  server.refuse = false;
  ASSERT_TRUE(until([&] { return taker_.resources == 2; }));
}

TEST_F(GrpcStreams, AServerThatGoesAwayAndComesBackIsFoundAgain) {
  auto server = std::make_unique<Server>();
  start(server->port());
  ASSERT_TRUE(until([&] { return taker_.resources == 2; }));
  server->stop();
  ASSERT_TRUE(until([&] { return stat("control_plane.connected_state") == 0; }));
  auto another = std::make_unique<Server>();
  another->clusters = 3;
  port_ = another->port();
  ASSERT_TRUE(until([&] { return another->count() == 2; }));
  EXPECT_EQ(another->request(0).initial_resource_versions().size(), 2u);
  EXPECT_EQ(taker_.resources, 3u);  // only the third is new
}

TEST_F(GrpcStreams, NoHostAndRefusedConnectionsAreFailuresThatAreTriedAgain) {
  start(0);
  ASSERT_TRUE(until([&] { return stat("cluster_manager.cds.update_failure") == 1; }));
  EXPECT_EQ(stat("control_plane.connected_state"), 0u);
  {
    Server gone;
    port_ = gone.port();
  }
  ASSERT_TRUE(until([&] { return stat("cluster_manager.cds.update_failure") >= 2; }));
  Server server;
  port_ = server.port();
  ASSERT_TRUE(until([&] { return taker_.resources == 2; }));
}

TEST_F(GrpcStreams, TheHubMayGoWhileStreamsAreOpen) {
  Server server;
  start(server.port());
  loop_.turn(0);
  hub_.reset();
  loop_.turn(0);
  start(server.port());
  ASSERT_TRUE(until([&] { return taker_.resources == 2; }));
  hub_.reset();
}

}  // namespace
}  // namespace outrider::xds
