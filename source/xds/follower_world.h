// The follower with all that it hands to, on a clock that moves when told, with a management server and a config thread that the test
// plays. Thread: one. One ADS stream, incremental.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "source/xds/fake_transport.h"
#include "source/xds/follower.h"
#include "source/xds/types.h"

namespace outrider::xds {

class FollowerWorld {
 public:
  using Cluster = envoy::config::cluster::v3::Cluster;
  using Assignment = envoy::config::endpoint::v3::ClusterLoadAssignment;
  using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;
  using Response = envoy::service::discovery::v3::DeltaDiscoveryResponse;
  using Names = std::vector<std::string>;

  FollowerWorld() {
    envoy::config::core::v3::ApiConfigSource source;
    source.set_api_type(envoy::config::core::v3::ApiConfigSource::DELTA_GRPC);
    source.set_transport_api_version(envoy::config::core::v3::ApiVersion::V3);
    source.add_grpc_services()->mutable_envoy_grpc()->set_cluster_name("xds");
    config::Problems problems;
    (void)hub.setAds(source, problems);
    const auto from = ads();
    follower.start({}, &from, nullptr, [] {});
    (void)requests();
  }

  static envoy::config::core::v3::ConfigSource ads() {
    envoy::config::core::v3::ConfigSource source;
    source.mutable_ads();
    source.set_resource_api_version(envoy::config::core::v3::ApiVersion::V3);
    return source;
  }
  static Cluster edsCluster(const std::string& name, const std::string& service = "") {
    Cluster made;
    made.set_name(name);
    made.set_type(Cluster::EDS);
    made.mutable_connect_timeout()->set_seconds(1);
    *made.mutable_eds_cluster_config()->mutable_eds_config() = ads();
    made.mutable_eds_cluster_config()->set_service_name(service);
    return made;
  }
  static Assignment endpointsAt(const std::string& name, const std::vector<uint32_t>& ports) {
    Assignment made;
    made.set_cluster_name(name);
    auto& locality = *made.add_endpoints();
    for (const uint32_t port : ports) {
      auto& at = *locality.add_lb_endpoints()->mutable_endpoint()->mutable_address()->mutable_socket_address();
      at.set_address("127.0.0.1");
      at.set_port_value(port);
    }
    return made;
  }
  template <class Resource>
  static std::string response(std::string_view type, const std::string& nonce, const std::vector<Resource>& resources,
                              const std::string& version, const Names& removed = {}) {
    Response made;
    made.set_type_url(std::string(type));
    made.set_nonce(nonce);
    for (const Resource& resource : resources) {
      auto& out = *made.add_resources();
      out.mutable_resource()->PackFrom(resource);
      (void)readResourceName(out.resource().value(), *out.mutable_name());
      out.set_version(version);
    }
    for (const std::string& name : removed) made.add_removed_resources(name);
    return made.SerializeAsString();
  }

  void turns(int count = 3) {
    for (int i = 0; i < count; ++i) loop.turn(0);
  }
  // Until main has nothing to do and no job is left. Closures that have run stay as they are: a thread may take its time to destroy them.
  void settle() {
    do {
      for (int i = 0; i < 1000 && loop.turn(0); ++i) {
      }
      for (; ran_ < jobs.size(); ++ran_) jobs[ran_]();
    } while (loop.turn(0) || ran_ < jobs.size());
  }
  void send(std::string bytes) { server.last()->sink->onStreamMessage(std::move(bytes)); }
  void serve(std::string bytes) {
    send(std::move(bytes));
    settle();
  }
  std::vector<Request> requests() {
    settle();
    std::vector<Request> all;
    for (const std::string& bytes : server.last()->requests) (void)all.emplace_back().ParseFromString(bytes);
    server.last()->requests.clear();
    return all;
  }
  // "+subscribed" and "-unsubscribed" of EDS since the last look.
  Names asked() {
    Names out;
    for (const Request& request : requests()) {
      if (request.type_url() != kEndpointType) continue;
      for (const std::string& name : request.resource_names_subscribe()) out.push_back("+" + name);
      for (const std::string& name : request.resource_names_unsubscribe()) out.push_back("-" + name);
    }
    return out;
  }
  size_t hostsOf(const std::string& name) const {
    const auto view = clusters.find(name);
    return view.active == nullptr || view.active->hosts() == nullptr ? 0 : view.active->hosts()->hosts.size();
  }
  // So many clusters that serve, cluster-0 and so on, with three endpoints each.
  static std::string nameOf(size_t i) { return "cluster-" + std::to_string(i) + ".default.svc.local"; }
  void load(size_t count) {
    std::vector<Cluster> all;
    std::vector<Assignment> endpoints;
    for (size_t i = 0; i < count; ++i) {
      all.push_back(edsCluster(nameOf(i)));
      endpoints.push_back(endpointsAt(nameOf(i), {1, 2, 3}));
    }
    serve(response(kClusterType, "load", all, "1"));
    serve(response(kEndpointType, "load", endpoints, "1"));
    (void)requests();
    jobs.clear();
    ran_ = 0;
  }

  base::FakeClock clock;
  event::Loop loop{clock};
  stats::Store store{3};
  FakeServer server;
  config::NameTable names;
  filter::Registry registry;
  config::Checker checker;
  tls::Secrets secrets;
  upstream::ClusterManager clusters{loop, store, names, [](const std::shared_ptr<const upstream::ClusterChanges>&) {}};
  listener::ListenerManager listeners{store, 1, [](const std::shared_ptr<const listener::ListenerChange>&) {}};
  Hub hub{loop, store, [this](const Target&) { return std::make_unique<FakeTransport>(server); }, {}};
  Assembler assembler{AssemblerParts{loop,
                                     store,
                                     names,
                                     registry,
                                     checker,
                                     {},
                                     clusters,
                                     listeners,
                                     {std::make_shared<tls::ContextCache>(), secrets, store},
                                     [](config::RouteTableId, const std::shared_ptr<const config::RouteTable>&) {},
                                     [](config::ScopeSetId, const std::shared_ptr<const config::ScopeIndex>&) {},
                                     [](std::string_view, config::Problems&) { return nullptr; },
                                     [](const envoy::config::core::v3::ConfigSource&, std::string_view, config::Problems&) {}}};
  std::deque<std::function<void()>> jobs;  // of the config thread
  Follower follower{FollowerParts{loop, hub, assembler, clusters, [this](std::function<void()> job) { jobs.push_back(std::move(job)); },
                                  [](std::string_view, const config::Problems&) {}}};

 private:
  size_t ran_ = 0;  // of the jobs
};

}  // namespace outrider::xds
