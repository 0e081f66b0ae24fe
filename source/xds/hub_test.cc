// Sources, shared subscriptions and timeouts.
#include "source/xds/test_fixture.h"

namespace outrider::xds {
namespace {

class HubSources : public XdsTest {};

TEST_F(HubSources, EachTypeOfAnApiSourceHasItsOwnStreamWithItsOwnMethod) {
  core::ConfigSource source;
  *source.mutable_api_config_source() = api(true);
  Recorder clusters, listeners, more;
  hub_->watch(source, kClusterType, "", clusters);
  hub_->watch(source, kListenerType, "", listeners);
  hub_->watch(source, kListenerType, "", more);
  turns();
  ASSERT_EQ(server_.calls.size(), 2u);
  std::vector<std::string> methods = {server_.calls[0]->method, server_.calls[1]->method};
  std::sort(methods.begin(), methods.end());
  EXPECT_EQ(methods, Lines({"/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
                            "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners"}));
}

TEST_F(HubSources, AStreamThatNobodyUsesIsClosed) {
  core::ConfigSource source;
  *source.mutable_api_config_source() = api(false);
  Recorder clusters;
  const WatchId id = hub_->watch(source, kClusterType, "", clusters);
  turns();
  EXPECT_EQ(server_.open(), 1u);
  hub_->unwatch(id);
  turns();
  EXPECT_EQ(server_.open(), 0u);
}

TEST_F(HubSources, AResponseOfAnotherTypeOnAStreamOfOneTypeIsRefused) {
  core::ConfigSource source;
  *source.mutable_api_config_source() = api(false);
  Recorder clusters;
  hub_->watch(source, kClusterType, "", clusters);
  (void)sotw();
  serve(response<envoy::config::listener::v3::Listener>(kListenerType, "v1", "n1", {}));
  const auto nack = sotw();
  ASSERT_EQ(nack.size(), 1u);
  EXPECT_EQ(nack[0].type_url(), kClusterType);
  EXPECT_EQ(nack[0].response_nonce(), "n1");
  EXPECT_TRUE(nack[0].has_error_detail());
  EXPECT_EQ(stat("cluster_manager.cds.update_rejected"), 1u);
}

TEST_F(HubSources, NothingWithinFifteenSecondsIsTold) {
  useAds(true);
  Recorder a;
  hub_->watch(ads(), kEndpointType, "a", a, "cluster.a.");
  advance(14 * base::kSecond);
  EXPECT_TRUE(a.timeouts.empty());
  advance(base::kSecond + 10 * base::kMilli);
  EXPECT_EQ(a.timeouts, Lines({"a"}));
  EXPECT_EQ(stat("cluster.a.init_fetch_timeout"), 1u);
  advance(60 * base::kSecond);
  EXPECT_EQ(a.timeouts.size(), 1u);
}

TEST_F(HubSources, TheTimeoutIsTheSourcesAndZeroIsNever) {
  useAds(true);
  core::ConfigSource quick = ads(), never = ads();
  quick.mutable_initial_fetch_timeout()->set_seconds(2);
  never.mutable_initial_fetch_timeout()->set_seconds(0);
  Recorder a, b;
  hub_->watch(quick, kEndpointType, "a", a);
  hub_->watch(never, kEndpointType, "b", b);
  advance(2 * base::kSecond + 10 * base::kMilli);
  EXPECT_EQ(a.timeouts, Lines({"a"}));
  advance(3600 * base::kSecond);
  EXPECT_TRUE(b.timeouts.empty());
}

TEST_F(HubSources, AnUpdateAfterTheTimeoutStillCounts) {
  useAds(true);
  Recorder a;
  hub_->watch(ads(), kEndpointType, "a", a);
  advance(16 * base::kSecond);
  ASSERT_EQ(a.timeouts.size(), 1u);
  serve(deltaResponse<envoy::config::endpoint::v3::ClusterLoadAssignment>(kEndpointType, "n1", {{endpoints("a"), "1"}}));
  EXPECT_EQ(a.seen, Lines({": +a"}));
}

TEST_F(HubSources, AWatcherMayEndItsWatchWithinTheTimeoutAndWithinADelivery) {
  useAds(true);
  struct Quitter final : Watcher {
    void onDelivery(Delivery) override { hub->unwatch(id); }
    void onFetchTimeout(std::string_view) override { hub->unwatch(id); }
    Hub* hub = nullptr;
    WatchId id = 0;
  } a, b;
  a.hub = b.hub = &*hub_;
  a.id = hub_->watch(ads(), kEndpointType, "a", a);
  b.id = hub_->watch(ads(), kEndpointType, "b", b);
  turns();
  serve(deltaResponse<envoy::config::endpoint::v3::ClusterLoadAssignment>(kEndpointType, "n1", {{endpoints("a"), "1"}}));
  advance(16 * base::kSecond);
  const auto asked = delta();
  ASSERT_FALSE(asked.empty());
  EXPECT_EQ(asked.back().resource_names_unsubscribe(0), "b");
}

TEST_F(HubSources, WhatIsNotImplementedIsRefusedWithItsPath) {
  struct Case {
    const char* what;
    std::function<void(core::ConfigSource&)> make;
    const char* path;
  };
  const Case cases[] = {
      {"nothing", [](core::ConfigSource&) {}, ""},
      {"ads without ads_config", [](core::ConfigSource& s) { s.mutable_ads(); }, "ads"},
      {"rest",
       [](core::ConfigSource& s) {
         *s.mutable_api_config_source() = api(true);
         s.mutable_api_config_source()->set_api_type(core::ApiConfigSource::REST);
       },
       "api_config_source.api_type"},
      {"no transport version",
       [](core::ConfigSource& s) {
         *s.mutable_api_config_source() = api(true);
         s.mutable_api_config_source()->clear_transport_api_version();
       },
       "api_config_source.transport_api_version"},
      {"no server",
       [](core::ConfigSource& s) {
         *s.mutable_api_config_source() = api(true);
         s.mutable_api_config_source()->clear_grpc_services();
       },
       "api_config_source.grpc_services"},
      {"call credentials",
       [](core::ConfigSource& s) {
         *s.mutable_api_config_source() = api(true);
         auto& google = *s.mutable_api_config_source()->mutable_grpc_services(0)->mutable_google_grpc();
         google.set_target_uri("127.0.0.1:1");
         google.add_call_credentials()->set_access_token("x");
       },
       "api_config_source.grpc_services[0].google_grpc.call_credentials"},
  };
  for (const Case& each : cases) {
    core::ConfigSource source;
    each.make(source);
    config::Problems problems;
    EXPECT_FALSE(hub_->check(source, kClusterType, problems)) << each.what;
    ASSERT_FALSE(problems.empty()) << each.what;
    EXPECT_EQ(problems.list()[0].path, each.path) << each.what;
    Recorder nobody;
    EXPECT_EQ(hub_->watch(source, kClusterType, "", nobody), 0u) << each.what;
  }
}

TEST_F(HubSources, TheTargetHasWhatTheServiceSays) {
  core::ApiConfigSource source = api(true);
  auto& service = *source.mutable_grpc_services(0);
  service.mutable_envoy_grpc()->set_authority("istiod.istio-system.svc");
  auto& header = *service.add_initial_metadata();
  header.set_key("x-token");
  header.set_value("t");
  config::Problems problems;
  ASSERT_TRUE(hub_->setAds(source, problems)) << problems.str();
  ASSERT_EQ(targets_.size(), 1u);
  EXPECT_EQ(targets_[0].cluster, "xds");
  EXPECT_EQ(targets_[0].authority, "istiod.istio-system.svc");
  EXPECT_EQ(targets_[0].max_receive_bytes, -1);
  EXPECT_EQ(targets_[0].metadata.at(0).second, "t");
}

TEST_F(HubSources, DeliveriesMayOutliveTheHub) {
  useAds(true);
  Recorder a;
  a.patient = true;
  hub_->watch(ads(), kEndpointType, "a", a);
  turns();
  serve(deltaResponse<envoy::config::endpoint::v3::ClusterLoadAssignment>(kEndpointType, "n1", {{endpoints("a"), "1"}}));
  Hub::Pause pause = hub_->pause(kEndpointType);
  hub_.reset();
  ASSERT_EQ(a.kept.size(), 1u);
  a.kept[0].done(Verdict::ok());
  pause.end();
}

}  // namespace
}  // namespace outrider::xds
