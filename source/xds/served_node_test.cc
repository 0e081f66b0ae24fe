// In what order a scripted client gets the parts of one change, and what it cannot hold up.
#include "source/xds/served_node.h"

#include <gtest/gtest.h>

#include <deque>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;
using Lines = std::vector<std::string>;

// One answer of the server, as "CDS a b" or "CDS +c -a" by delta.
struct Response {
  std::string type_url, nonce, text;
};

struct Mode {
  const char* name;
  bool delta;
  bool own_streams;
};

class ServedNodes : public testing::TestWithParam<Mode> {
 protected:
  static constexpr std::string_view kTypes[] = {kClusterType, kEndpointType, kListenerType, kRouteType};

  ServedNodes() { client(kClusterType), client(kEndpointType), client(kListenerType), client(kRouteType); }
  ~ServedNodes() override {
    for (auto& [type, stream] : streams_) node_.leave(*stream);
  }

  // -- what is served --
  void put(std::string_view type, const std::string& name, const google::protobuf::Message& message, const std::string& version = "1") {
    ServedResource resource;
    resource.version = version;
    resource.any.set_type_url(std::string(type));
    resource.any.set_value(message.SerializeAsString());
    served_[std::string(type)][name] = resource;
  }
  void remove(std::string_view type, const std::string& name) { served_[std::string(type)].erase(name); }
  void cluster(const std::string& name, bool eds = true) {
    envoy::config::cluster::v3::Cluster message;
    message.set_name(name);
    if (eds) {
      message.set_type(envoy::config::cluster::v3::Cluster::EDS);
      message.mutable_eds_cluster_config()->mutable_eds_config()->mutable_ads();
    }
    put(kClusterType, name, message);
  }
  void endpoints(const std::string& name) { put(kEndpointType, name, envoy::config::endpoint::v3::ClusterLoadAssignment()); }
  void routes(const std::string& name, const std::string& version) {
    put(kRouteType, name, envoy::config::route::v3::RouteConfiguration(), version);
  }
  void listener(const std::string& name, const std::string& routes) {
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager hcm;
    hcm.mutable_rds()->set_route_config_name(routes);
    hcm.mutable_rds()->mutable_config_source()->mutable_ads();
    envoy::config::listener::v3::Listener message;
    message.add_filter_chains()->add_filters()->mutable_typed_config()->PackFrom(hcm);
    put(kListenerType, name, message, routes);
  }
  void serve() { node_.onResources(std::make_shared<const ServedResources>(served_)); }

  // -- the client --
  ServedClient& client(std::string_view type) {
    const std::string key(GetParam().own_streams ? type : "");
    std::unique_ptr<ServedClient>& stream = streams_[key];
    if (stream == nullptr) {
      stream = std::make_unique<ServedClient>(
          GetParam().delta, key, [this](std::string bytes) { received(bytes); },
          [this](const std::string& line) { lines_.push_back(line); });
      node_.join(*stream);
    }
    return *stream;
  }
  void received(const std::string& bytes) {
    Response in;
    if (GetParam().delta) {
      discovery::DeltaDiscoveryResponse response;
      ASSERT_TRUE(response.ParseFromString(bytes));
      in = {response.type_url(), response.nonce(), std::string(typeLabel(response.type_url()))};
      for (const auto& each : response.resources()) in.text += " +" + each.name();
      for (const auto& name : response.removed_resources()) in.text += " -" + name;
    } else {
      discovery::DiscoveryResponse response;
      ASSERT_TRUE(response.ParseFromString(bytes));
      in = {response.type_url(), response.nonce(), std::string(typeLabel(response.type_url()))};
      in.text += " " + std::to_string(response.resources_size());
    }
    inbox_.push_back(in);
  }
  // Subscribes to one more name, or answers, or both.
  void request(std::string_view type, const std::string& name, const std::string& nonce, bool refuse = false) {
    if (!name.empty()) names_[std::string(type)].insert(name);
    std::string bytes;
    const auto fill = [&](auto& request) {
      request.mutable_node()->set_id("proxy-1");
      request.set_type_url(std::string(type));
      request.set_response_nonce(nonce);
      if (refuse) request.mutable_error_detail()->set_message("bad");
    };
    if (GetParam().delta) {
      discovery::DeltaDiscoveryRequest request;
      fill(request);
      if (!name.empty()) request.add_resource_names_subscribe(name);
      bytes = request.SerializeAsString();
    } else {
      discovery::DiscoveryRequest request;
      fill(request);
      for (const std::string& each : names_[std::string(type)]) request.add_resource_names(each);
      bytes = request.SerializeAsString();
      last_[std::string(type)] = nonce;
    }
    ASSERT_TRUE(node_.onRequest(client(type), bytes));
  }
  void subscribe(std::string_view type, const std::string& name = "") {
    request(type, name, GetParam().delta ? "" : last_[std::string(type)]);
  }
  void answer(bool refuse = false) {
    ASSERT_FALSE(inbox_.empty());
    const Response in = inbox_.front();
    inbox_.pop_front();
    request(in.type_url, "", in.nonce, refuse);
  }
  Lines inbox() const {
    Lines all;
    for (const Response& each : inbox_) all.push_back(each.text);
    return all;
  }
  Lines either(Lines sotw, Lines delta) const { return GetParam().delta ? delta : sotw; }
  void wait(base::Nanos time) {
    clock_.advance(time);
    (void)loop_.turn(0);
  }

  // A client that has cluster "old" with endpoints, and routes to it.
  void running() {
    cluster("old");
    endpoints("old");
    listener("in", "main");
    routes("main", "1");
    serve();
    subscribe(kClusterType);
    answer();
    subscribe(kEndpointType, "old");
    answer();
    subscribe(kListenerType);
    answer();
    subscribe(kRouteType, "main");
    answer();
    ASSERT_TRUE(inbox_.empty());
  }
  // The traffic goes to a new cluster, in one change.
  void moveTo(const std::string& name, const std::string& from) {
    cluster(name);
    endpoints(name);
    routes("main", "to " + name);
    remove(kClusterType, from);
    remove(kEndpointType, from);
    serve();
  }

  base::FakeClock clock_;
  event::Loop loop_{clock_};
  Lines lines_;
  ServedResources served_;
  ServedNode node_{loop_, "proxy-1", std::make_shared<const ServedResources>(),
                   [this](const std::string& line) { lines_.push_back(line); }};
  std::map<std::string, std::unique_ptr<ServedClient>> streams_;
  std::map<std::string, std::set<std::string>> names_;
  std::map<std::string, std::string> last_;
  std::deque<Response> inbox_;
};

TEST_P(ServedNodes, TheNewClusterComesThenTheRouteThenTheRemovalEachAfterTheAnswer) {
  running();
  moveTo("new", "old");
  EXPECT_EQ(inbox(), either({"CDS 2"}, {"CDS +new"}));
  answer();
  EXPECT_TRUE(inbox_.empty()) << "the cluster has no endpoints yet, and the route came: " << inbox().front();
  subscribe(kEndpointType, "new");
  EXPECT_EQ(inbox(), either({"EDS 2"}, {"EDS +new"}));
  answer();
  EXPECT_EQ(inbox(), either({"RDS 1"}, {"RDS +main"}));
  answer();
  // Endpoints of a name that goes are no news by state of the world but a shorter list.
  EXPECT_EQ(inbox(), either({"CDS 1", "EDS 1"}, {"CDS -old", "EDS -old"}));
}

TEST_P(ServedNodes, ARefusalEndsTheWait) {
  running();
  moveTo("new", "old");
  answer(true);
  EXPECT_EQ(inbox(), either({"RDS 1"}, {"RDS +main"}));
  answer(true);
  EXPECT_EQ(inbox().front(), either({"CDS 1"}, {"CDS -old"}).front());
}

TEST_P(ServedNodes, AClientThatNeverAnswersGetsEachStepAfterFiveSeconds) {
  running();
  moveTo("new", "old");
  inbox_.clear();
  wait(4900 * base::kMilli);
  EXPECT_TRUE(inbox_.empty());
  wait(200 * base::kMilli);
  EXPECT_EQ(inbox(), either({"RDS 1"}, {"RDS +main"}));
  EXPECT_EQ(lines_.back(), "LATE proxy-1: CDS not answered within 5 s; the change goes on");
  inbox_.clear();
  wait(5100 * base::kMilli);
  EXPECT_EQ(inbox().front(), either({"CDS 1"}, {"CDS -old"}).front());
}

TEST_P(ServedNodes, EndpointsThatNobodyAsksForHoldUpNoLongerThanThat) {
  running();
  moveTo("new", "old");
  answer();
  wait(5100 * base::kMilli);
  EXPECT_EQ(inbox(), either({"RDS 1"}, {"RDS +main"}));
  EXPECT_EQ(lines_.back(), "LATE proxy-1: did not ask for what a new resource needs within 5 s; the change goes on");
}

TEST_P(ServedNodes, ChangesThatComeMeanwhileFollowAsOne) {
  running();
  moveTo("new", "old");
  moveTo("second", "new");
  moveTo("third", "second");
  answer();
  subscribe(kEndpointType, "new");
  answer();
  answer();  // RDS
  EXPECT_EQ(inbox(), either({"CDS 1", "EDS 1", "CDS 2"}, {"CDS -old", "EDS -old", "CDS +third"}));
  if (!GetParam().delta) inbox_.pop_front();  // its nonce is the older one
  for (int i = 0; i < (GetParam().delta ? 3 : 2); ++i) answer();
  subscribe(kEndpointType, "third");
  answer();
  EXPECT_EQ(inbox(), either({"RDS 1"}, {"RDS +main"}));
  answer();
  EXPECT_EQ(inbox().front(), either({"CDS 1"}, {"CDS -new"}).front());
}

TEST_P(ServedNodes, AClusterIsNotTakenBeforeTheListenerHasItsNewRoutes) {
  running();
  listener("in", "other");
  routes("other", "1");
  cluster("new", false);
  remove(kRouteType, "main");
  remove(kClusterType, "old");
  serve();
  answer();
  EXPECT_EQ(inbox(), either({"LDS 1"}, {"LDS +in"}));
  answer();
  EXPECT_TRUE(inbox_.empty()) << inbox().front();
  subscribe(kRouteType, "other");
  EXPECT_EQ(inbox(), either({"RDS 2"}, {"RDS +other"}));
  answer();
  EXPECT_EQ(inbox().front(), either({"CDS 1"}, {"CDS -old"}).front());
}

TEST_P(ServedNodes, WhatOneKindOfResourceChangesIsSentAtOnce) {
  running();
  routes("main", "2");
  serve();
  EXPECT_EQ(inbox(), either({"RDS 1"}, {"RDS +main"}));
  answer();
  remove(kClusterType, "old");
  serve();
  EXPECT_EQ(inbox(), either({"CDS 0"}, {"CDS -old"}));
}

TEST_P(ServedNodes, AStreamThatEndsIsNotWaitedFor) {
  if (!GetParam().own_streams) GTEST_SKIP() << "an ADS stream is the whole client";
  running();
  moveTo("new", "old");
  node_.leave(client(kClusterType));
  streams_.erase(std::string(kClusterType));
  EXPECT_EQ(inbox().back(), either({"RDS 1"}, {"RDS +main"}).back());
}

INSTANTIATE_TEST_SUITE_P(Modes, ServedNodes,
                         testing::Values(Mode{"AdsDelta", true, false}, Mode{"AdsSotw", false, false}, Mode{"SingleDelta", true, true},
                                         Mode{"SingleSotw", false, true}),
                         [](const auto& info) { return std::string(info.param.name); });

// What a client fetches because of a resource.
TEST(ServedNeeds, AreEndpointsSecretsAndRoutesWhereverTheyStand) {
  namespace tls = envoy::extensions::transport_sockets::tls::v3;
  envoy::config::cluster::v3::Cluster cluster;
  cluster.set_name("web");
  cluster.set_type(envoy::config::cluster::v3::Cluster::EDS);
  cluster.mutable_eds_cluster_config()->set_service_name("elsewhere");
  cluster.mutable_eds_cluster_config()->mutable_eds_config()->mutable_ads();
  tls::UpstreamTlsContext context;
  auto* secret = context.mutable_common_tls_context()->add_tls_certificate_sds_secret_configs();
  secret->set_name("mine");
  secret->mutable_sds_config()->mutable_ads();
  auto* file = context.mutable_common_tls_context()->mutable_validation_context_sds_secret_config();
  file->set_name("from a file");
  file->mutable_sds_config()->mutable_path_config_source()->set_path("/etc/ca.yaml");
  cluster.mutable_transport_socket()->mutable_typed_config()->PackFrom(context);
  google::protobuf::Any any;
  any.PackFrom(cluster);
  const auto needs = needsOf(any);
  ASSERT_EQ(needs.size(), 2u);
  EXPECT_EQ(needs[0].name, "elsewhere");
  EXPECT_EQ(needs[1].name, "mine");
  EXPECT_EQ(needs[1].type_url, kSecretType);
}

}  // namespace
}  // namespace outrider::xds
