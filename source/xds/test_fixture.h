// The hub on a fake clock with a management server that the test plays.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "source/xds/fake_transport.h"
#include "source/xds/hub.h"
#include "source/xds/types.h"

namespace outrider::xds {

namespace core = envoy::config::core::v3;
using Request = envoy::service::discovery::v3::DiscoveryRequest;
using DeltaRequest = envoy::service::discovery::v3::DeltaDiscoveryRequest;
using Response = envoy::service::discovery::v3::DiscoveryResponse;
using DeltaResponse = envoy::service::discovery::v3::DeltaDiscoveryResponse;
using Cluster = envoy::config::cluster::v3::Cluster;

inline Cluster cluster(const std::string& name, const std::string& alt = "") {
  Cluster made;
  made.set_name(name);
  made.set_alt_stat_name(alt);
  return made;
}

inline envoy::config::endpoint::v3::ClusterLoadAssignment endpoints(const std::string& name, uint32_t overprovisioning = 0) {
  envoy::config::endpoint::v3::ClusterLoadAssignment made;
  made.set_cluster_name(name);
  if (overprovisioning > 0) made.mutable_policy()->mutable_overprovisioning_factor()->set_value(overprovisioning);
  return made;
}

// Writes down what it gets. Answers at once with `verdict`, or keeps the delivery when `patient`.
class Recorder final : public Watcher {
 public:
  void onDelivery(Delivery delivery) override {
    std::string text = delivery.version + ":";
    for (const ResourceIn& resource : delivery.resources) text += " +" + resource.name;
    for (const std::string& name : delivery.removed) text += " -" + name;
    seen.push_back(text);
    if (before_answer) before_answer();
    if (patient) {
      kept.push_back(std::move(delivery));
    } else {
      delivery.done(verdict);
    }
  }
  void onFetchTimeout(std::string_view name) override { timeouts.push_back(std::string(name)); }

  Verdict verdict;
  bool patient = false;
  std::function<void()> before_answer;
  std::vector<std::string> seen;
  std::vector<std::string> timeouts;
  std::vector<Delivery> kept;
};

class XdsTest : public testing::Test {
 protected:
  XdsTest() {
    HubOptions options;
    options.node.set_id("proxy-1");
    hub_.emplace(
        loop_, store_,
        [this](const Target& target) {
          targets_.push_back(target);
          return std::make_unique<FakeTransport>(server_);
        },
        std::move(options));
  }

  static core::ApiConfigSource api(bool delta) {
    core::ApiConfigSource source;
    source.set_api_type(delta ? core::ApiConfigSource::DELTA_GRPC : core::ApiConfigSource::GRPC);
    source.set_transport_api_version(core::ApiVersion::V3);
    source.add_grpc_services()->mutable_envoy_grpc()->set_cluster_name("xds");
    return source;
  }
  void useAds(bool delta) {
    config::Problems problems;
    ASSERT_TRUE(hub_->setAds(api(delta), problems)) << problems.str();
  }
  static core::ConfigSource ads() {
    core::ConfigSource source;
    source.mutable_ads();
    source.set_resource_api_version(core::ApiVersion::V3);
    return source;
  }

  void turns(int count = 3) {
    for (int i = 0; i < count; ++i) loop_.turn(0);
  }
  void advance(base::Nanos by) {
    clock_.advance(by);
    turns();
  }

  template <class R>
  std::vector<R> requests() {
    turns();
    std::vector<R> all;
    FakeServer::Call* call = server_.last();
    if (call == nullptr) return all;
    for (const std::string& bytes : call->requests) EXPECT_TRUE(all.emplace_back().ParseFromString(bytes));
    call->requests.clear();
    return all;
  }
  std::vector<Request> sotw() { return requests<Request>(); }
  std::vector<DeltaRequest> delta() { return requests<DeltaRequest>(); }

  template <class Resource>
  Response response(std::string_view type, const std::string& version, const std::string& nonce, const std::vector<Resource>& resources) {
    Response made;
    made.set_type_url(std::string(type));
    made.set_version_info(version);
    made.set_nonce(nonce);
    for (const Resource& resource : resources) made.add_resources()->PackFrom(resource);
    return made;
  }
  template <class Resource>
  DeltaResponse deltaResponse(std::string_view type, const std::string& nonce,
                              const std::vector<std::pair<Resource, std::string>>& resources,
                              const std::vector<std::string>& removed = {}) {
    DeltaResponse made;
    made.set_type_url(std::string(type));
    made.set_nonce(nonce);
    for (const auto& [resource, version] : resources) {
      auto& out = *made.add_resources();
      out.mutable_resource()->PackFrom(resource);
      (void)readResourceName(out.resource().value(), *out.mutable_name());
      out.set_version(version);
    }
    for (const std::string& name : removed) made.add_removed_resources(name);
    return made;
  }
  void serve(const google::protobuf::Message& message) {
    server_.last()->sink->onStreamMessage(message.SerializeAsString());
    turns();
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
  std::string textStat(const std::string& wanted) {
    std::string found = "(none)";
    stats::Store::Visitor visitor;
    visitor.number = [](const std::string&, stats::Kind, const stats::Scope::Reading&) {};
    visitor.histogram = [](const std::string&, const stats::Histogram::Sample&) {};
    visitor.text = [&](const std::string& name, const std::string& value) {
      if (name == wanted) found = value;
    };
    store_.visit(visitor);
    return found;
  }

  using Lines = std::vector<std::string>;
  base::FakeClock clock_;
  event::Loop loop_{clock_};
  stats::Store store_{3};
  FakeServer server_;
  std::vector<Target> targets_;
  std::optional<Hub> hub_;
};

}  // namespace outrider::xds
