#include "source/config/validate.h"

#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include "api/descriptors.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/core/v3/protocol.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "source/config/schema.h"
#include "source/config/yaml.h"

namespace outrider::config {
namespace {

namespace cluster = envoy::config::cluster::v3;
namespace core = envoy::config::core::v3;
namespace route = envoy::config::route::v3;
using envoy::config::bootstrap::v3::Bootstrap;

template <class M>
M parse(std::string text) {
  M out;
  UnknownFields unknown;
  Problems problems;
  EXPECT_TRUE(parseContent(std::move(text), "t", out, unknown, problems).ok) << problems.str();
  return out;
}

// What is wrong with it, by the message alone; by its bytes it must be the same.
template <class M>
std::string violations(std::string text) {
  static const Checker checker;
  const M message = parse<M>(std::move(text));
  Problems problems;
  const bool fine = checker.check(message, problems);
  EXPECT_EQ(fine, problems.empty());
  Problems by_bytes;
  EXPECT_EQ(checker.check(message, message.SerializeAsString(), by_bytes), fine);
  EXPECT_EQ(by_bytes.str(), problems.str());
  return problems.str();
}

struct Row {
  const char* text;
  const char* says;  // empty: valid
};

TEST(Validate, ClusterRules) {
  const Row table[] = {
      {"name: a", ""},
      {"{}", "name: must not be empty"},
      {"name: a\nconnect_timeout: 0s", "connect_timeout: '0s': out of range; must be greater than 0s"},
      {"name: a\nconnect_timeout: -1.5s", "connect_timeout: '-1.5s': out of range; must be greater than 0s"},
      {"name: a\nlb_policy: 77", "lb_policy: '77': is no value of envoy.config.cluster.v3.Cluster.LbPolicy"},
      {"name: a\nhealth_checks: [{timeout: 1s, interval: 1s, healthy_threshold: 1, unhealthy_threshold: 1}]",
       "health_checks[0].health_checker: one of its fields must be set; give one of http_health_check, "
       "tcp_health_check, "
       "grpc_health_check, custom_health_check"},
      {"name: a\nhealth_checks: [{timeout: 1s, interval: 0s, healthy_threshold: 1, tcp_health_check: {}}]",
       "health_checks[0].unhealthy_threshold: must be set\nhealth_checks[0].interval: '0s': out of range; must be "
       "greater than 0s"},
      {"name: a\nload_assignment: {endpoints: [{lb_endpoints: [{load_balancing_weight: 0}]}]}",
       "load_assignment.cluster_name: must not be empty\n"
       "load_assignment.endpoints[0].lb_endpoints[0].load_balancing_weight: '0': out of range; must be at least 1"},
      {"name: a\nload_assignment: {cluster_name: a, endpoints: [{priority: 129}]}",
       "load_assignment.endpoints[0].priority: '129': out of range; must be at most 128"},
      {"name: a\nload_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: "
       "{address: '', port_value: 65536}}}}]}]}",
       "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: must not be empty\n"
       "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value: '65536': out of "
       "range; must be at most 65535"},
      {"name: a\nload_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {}}}]}]}",
       "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.address: one of its fields must be set; "
       "give one of socket_address, pipe, envoy_internal_address"},
  };
  for (const Row& row : table) EXPECT_EQ(violations<cluster::Cluster>(row.text), row.says) << row.text;
}

TEST(Validate, RouteAndHeaderRules) {
  const Row table[] = {
      {"name: r\nvirtual_hosts: [{name: v, domains: ['*']}]", ""},
      {"name: r\nvirtual_hosts: [{name: v}]", "virtual_hosts[0].domains: must not be empty; at least 1"},
      {"name: r\nvirtual_hosts: [{name: v, domains: [\"a\\nb\"]}]", "virtual_hosts[0].domains[0]: 'a\nb': is not a header value"},
      {"name: r\nvirtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}}]}]",
       "virtual_hosts[0].routes[0].action: one of its fields must be set; give one of route, redirect, "
       "direct_response, "
       "filter_action, non_forwarding_action"},
      {"name: r\nvirtual_hosts: [{name: v, domains: ['*'], routes: [{route: {cluster: a}}]}]",
       "virtual_hosts[0].routes[0].match: must be set"},
      {"name: r\nvirtual_hosts: [{name: v, domains: ['*'], routes: [{match: {prefix: /}, direct_response: {status: "
       "99}}]}]",
       "virtual_hosts[0].routes[0].direct_response.status: '99': out of range; must be at least 200"},
      {"name: r\nresponse_headers_to_remove: [\"a\\nb\", ok]", "response_headers_to_remove[0]: 'a\nb': is not a header name"},
      {"name: r\nrequest_headers_to_add: [{header: {key: '', value: x}}]", "request_headers_to_add[0].header.key: must not be empty"},
  };
  for (const Row& row : table) EXPECT_EQ(violations<route::RouteConfiguration>(row.text), row.says) << row.text;
}

TEST(Validate, ARangeMayBeExcluded) {
  using Quic = core::QuicKeepAliveSettings;
  EXPECT_EQ(violations<Quic>("initial_interval: 0s"), "");
  EXPECT_EQ(violations<Quic>("initial_interval: 0.001s"), "");
  EXPECT_EQ(violations<Quic>("initial_interval: 0.0001s"), "initial_interval: '0.0001s': out of range; must be at least 0.001s");
}

TEST(Validate, MapsAndWrappers) {
  EXPECT_EQ(violations<core::Metadata>("filter_metadata: {'': {}}"), "filter_metadata[\"\"]: must not be empty");
  EXPECT_EQ(violations<core::Metadata>("filter_metadata: {a: {}}"), "");
}

// Two halves of a message are merged by the parser: only together they have too much.
TEST(Validate, MergedPartsAreCheckedAsTheyAreMerged) {
  const auto part = [](int thresholds, const char* name) {
    cluster::Cluster out;
    out.set_name(name);
    for (int i = 0; i < thresholds; ++i) out.mutable_load_assignment()->add_endpoints();
    out.mutable_load_assignment()->set_cluster_name(name);
    return out.SerializeAsString();
  };
  cluster::Cluster merged;
  const std::string bytes = part(1, "a") + part(2, "");
  ASSERT_TRUE(merged.ParseFromString(bytes));
  Problems problems;
  EXPECT_TRUE(Checker().check(merged, bytes, problems)) << problems.str();
  Problems cut;
  EXPECT_FALSE(Checker().check(cluster::Cluster(), std::string_view(bytes).substr(0, 2), cut));  // broken bytes decide nothing
  EXPECT_EQ(cut.str(), "name: must not be empty");
}

// A value of another wire type is an unknown field: it neither sets a field nor chooses one of several.
TEST(Validate, AFieldGivenAsAnotherTypeIsMissing) {
  for (const std::string& bytes : {std::string("\x08\x00", 2), std::string("\x0d\0\0\0\0", 5), std::string("\x09\0\0\0\0\0\0\0\0", 9)}) {
    core::Address address;  // its field 1 is a message, one of several of which one is required
    ASSERT_TRUE(address.ParseFromString(bytes));
    Problems by_message, by_bytes;
    EXPECT_FALSE(Checker().check(address, by_message));
    EXPECT_FALSE(Checker().check(address, bytes, by_bytes));
    EXPECT_EQ(by_bytes.str(), by_message.str());
    EXPECT_NE(by_bytes.str(), "");
  }
}

// All of the API: a rule that this class does not know would be a rule that nobody checks.
TEST(Validate, KnowsEveryRuleOfTheApi) {
  const std::string_view bytes = api::descriptorSet();
  google::protobuf::FileDescriptorSet set;
  ASSERT_TRUE(set.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  const Checker checker;
  size_t types = 0;
  for (const auto& file : set.file()) {
    if (!file.package().starts_with("envoy.")) continue;
    for (const auto& message : file.message_type()) {
      const auto* type = findType(file.package() + "." + message.name());
      ASSERT_NE(type, nullptr) << message.name();
      EXPECT_EQ(checker.unknownRules(*type), std::vector<std::string>()) << type->full_name();
      ++types;
    }
  }
  EXPECT_GT(types, 700U);
}

// A type that is not compiled in has its rules all the same.
TEST(Validate, TypesOfTheEmbeddedSet) {
  const auto* type = findType("envoy.extensions.compression.gzip.decompressor.v3.Gzip");
  ASSERT_NE(type, nullptr);
  const auto message = newMessage(*type);
  UnknownFields unknown;
  Problems problems;
  ASSERT_TRUE(parseContent("window_bits: 3", "t", *message, unknown, problems).ok) << problems.str();
  EXPECT_FALSE(Checker().check(*message, problems));
  EXPECT_EQ(problems.str(), "window_bits: '3': out of range; must be at least 9");
}

class HonoredFields : public ::testing::Test {
 protected:
  HonoredFields() {
    honored_.fields<cluster::Cluster>({"name", "connect_timeout", "health_checks", "load_assignment"});
    honored_.refuse<cluster::Cluster>({"transport_socket"});
    honored_.fields<core::HealthCheck>({"timeout", "interval", "healthy_threshold", "unhealthy_threshold", "tcp_health_check"});
  }
  Honored honored_;
};

TEST_F(HonoredFields, WhatHasNoEffectIsReportedOnceWithItsPath) {
  const Checker checker(&honored_);
  Problems problems;
  EXPECT_TRUE(checker.check(parse<cluster::Cluster>(R"(
name: a
connect_timeout: 1s
lb_policy: RANDOM
outlier_detection: {consecutive_5xx: 3}
health_checks:
- {timeout: 1s, interval: 1s, healthy_threshold: 1, unhealthy_threshold: 1, tcp_health_check: {}, reuse_connection: false}
- {timeout: 1s, interval: 1s, healthy_threshold: 1, unhealthy_threshold: 1, tcp_health_check: {}, event_log_path: /x}
)"),
                            problems))
      << problems.str();
  EXPECT_EQ(problems.unsupportedPaths(), (std::vector<std::string>{"lb_policy", "health_checks[0].reuse_connection",
                                                                   "health_checks[1].event_log_path", "outlier_detection"}));
}

TEST_F(HonoredFields, WhatGuardsIsRefused) {
  const Checker checker(&honored_);
  Problems problems;
  EXPECT_FALSE(checker.check(parse<cluster::Cluster>("name: a\ntransport_socket: {name: tls}"), problems));
  EXPECT_EQ(problems.str(), "transport_socket: is not implemented, and ignoring it would weaken security");
}

TEST_F(HonoredFields, AllIsRefusedWhenAskedFor) {
  const Checker checker(&honored_, true);
  Problems problems;
  EXPECT_FALSE(checker.check(parse<cluster::Cluster>("name: a\nlb_policy: RANDOM"), problems));
  EXPECT_EQ(problems.str(), "lb_policy: is not implemented; remove it, or do not give --reject-unsupported");
}

// The report says it once for the whole subtree; the rules below are still Envoy's.
TEST_F(HonoredFields, RulesHoldBelowAFieldWithoutEffect) {
  honored_.fields<cluster::OutlierDetection>({});
  const Checker checker(&honored_);
  Problems problems;
  EXPECT_FALSE(checker.check(parse<cluster::Cluster>("name: a\noutlier_detection: {max_ejection_percent: 101, interval: 1s}"), problems));
  EXPECT_EQ(problems.str(), "outlier_detection.max_ejection_percent: '101': out of range; must be at most 100");
  EXPECT_EQ(problems.unsupportedPaths(), (std::vector<std::string>{"outlier_detection"}));
}

TEST_F(HonoredFields, UndeclaredTypesAreListed) {
  const auto undeclared = honored_.undeclared(*cluster::Cluster::descriptor());
  EXPECT_NE(std::find(undeclared.begin(), undeclared.end(), "envoy.config.endpoint.v3.ClusterLoadAssignment"), undeclared.end());
  EXPECT_EQ(std::find(undeclared.begin(), undeclared.end(), "envoy.config.core.v3.HealthCheck"), undeclared.end());
  EXPECT_EQ(std::find(undeclared.begin(), undeclared.end(), "envoy.config.cluster.v3.OutlierDetection"), undeclared.end());
}

}  // namespace
}  // namespace outrider::config
