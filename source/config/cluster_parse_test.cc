#include "source/config/cluster_parse.h"

#include <gtest/gtest.h>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "source/config/endpoint_parse.h"
#include "source/config/validate.h"
#include "source/config/yaml.h"

namespace outrider::config {
namespace {

struct Read {
  explicit Read(const std::string& yaml) {
    envoy::config::cluster::v3::Cluster in;
    UnknownFields unknown;
    const Parsed parsed = parseContent(yaml, "test.yaml", in, unknown, problems);
    EXPECT_TRUE(parsed.ok) << problems.str();
    spec = parseCluster(in, problems);
    Honored honored;
    declareClusters(honored);
    Checker(&honored).check(in, problems);
  }
  bool has(std::string_view path) const {
    for (const Problem& problem : problems.list()) {
      if (problem.path == path) return true;
    }
    return false;
  }
  Problems problems;
  ClusterSpec spec;
};

TEST(ParseCluster, ReadsAStaticCluster) {
  const Read read(
      std::string("{name: a, connect_timeout: 0.25s, lb_policy: LEAST_REQUEST, "
                  "load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {hostname: h, address: "
                  "{socket_address: {address: 127.0.0.1, port_value: 8080}}}}]}]}}"));
  EXPECT_TRUE(read.problems.empty()) << read.problems.str();
  EXPECT_TRUE(read.problems.unsupportedPaths().empty());
  EXPECT_EQ(read.spec.name, "a");
  EXPECT_EQ(read.spec.stat_name, "a");
  EXPECT_EQ(read.spec.discovery, Discovery::kStatic);
  EXPECT_EQ(read.spec.lb, LbKind::kLeastRequest);
  EXPECT_EQ(read.spec.connect_timeout, 250 * base::kMilli);
  const EndpointSpec& endpoint = read.spec.endpoints.localities.at(0).endpoints.at(0);
  EXPECT_EQ(endpoint.address.str(), "127.0.0.1:8080");
  EXPECT_EQ(endpoint.more().hostname, "h");
}

TEST(ParseCluster, WithoutEndpointsAStaticClusterIsLegal) {
  const Read read("{name: BlackHoleCluster, type: STATIC}");
  EXPECT_TRUE(read.problems.empty()) << read.problems.str();
}

TEST(ParseCluster, EqualMessagesGiveEqualSpecs) {
  const std::string yaml = "name: a\ntype: STATIC\nmetadata: {filter_metadata: {x: {b: 1, a: 2, c: 3}, y: {k: v}}}\n";
  EXPECT_EQ(Read(yaml).spec, Read(yaml).spec);
  EXPECT_FALSE(Read(yaml).spec == Read("{name: a, type: STATIC}").spec);
}

TEST(ParseCluster, EdsIsAskedForByServiceNameElseByName) {
  EXPECT_EQ(Read("{name: a, type: EDS, eds_cluster_config: {eds_config: {ads: {}}, service_name: s}}").spec.eds_name, "s");
  const Read read("{name: a, type: EDS, eds_cluster_config: {eds_config: {ads: {}}}}");
  EXPECT_EQ(read.spec.eds_name, "a");
  EXPECT_FALSE(read.spec.eds_source.empty());
}

TEST(ParseCluster, ReadsProtocolsOldAndNew) {
  EXPECT_EQ(Read("{name: a}").spec.http.protocol, UpstreamProtocol::kHttp1);
  EXPECT_EQ(Read("{name: a, http2_protocol_options: {}}").spec.http.protocol, UpstreamProtocol::kHttp2);
  const std::string head =
      "name: a\ntyped_extension_protocol_options:\n  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n"
      "    '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n";
  const Read h2(head +
                "    explicit_http_config: {http2_protocol_options: {max_concurrent_streams: 7}}\n"
                "    common_http_protocol_options: {idle_timeout: 5s, max_requests_per_connection: 9}\n");
  EXPECT_TRUE(h2.problems.empty()) << h2.problems.str();
  EXPECT_EQ(h2.spec.http.protocol, UpstreamProtocol::kHttp2);
  EXPECT_EQ(h2.spec.http.http2.max_concurrent_streams, 7u);
  EXPECT_EQ(h2.spec.http.idle_timeout, 5 * base::kSecond);
  EXPECT_EQ(h2.spec.http.max_requests_per_connection, 9u);
  EXPECT_EQ(Read(head + "    use_downstream_protocol_config: {http2_protocol_options: {}}\n").spec.http.protocol,
            UpstreamProtocol::kDownstream);
  EXPECT_FALSE(Read(head + "    auto_config: {}\n").problems.empty());  // ALPN needs TLS
}

TEST(ParseCluster, ReadsBreakersByPriority) {
  const Read read(
      "name: a\ncircuit_breakers:\n  thresholds:\n  - {max_connections: 1, max_pending_requests: 2, max_requests: 3, max_retries: 4}\n"
      "  - {priority: HIGH, max_connections: 5}\n");
  EXPECT_TRUE(read.problems.empty()) << read.problems.str();
  EXPECT_EQ(read.spec.breakers[0].connections, 1u);
  EXPECT_EQ(read.spec.breakers[0].pending, 2u);
  EXPECT_EQ(read.spec.breakers[0].requests, 3u);
  EXPECT_EQ(read.spec.breakers[0].retries, 4u);
  EXPECT_EQ(read.spec.breakers[1].connections, 5u);
  EXPECT_EQ(read.spec.breakers[1].pending, 1024u);
}

TEST(ParseCluster, ReadsHealthChecks) {
  const Read read(
      "name: a\nhealth_checks:\n- timeout: 1s\n  interval: 2s\n  unhealthy_threshold: 3\n  healthy_threshold: 4\n"
      "  http_health_check: {path: /ok, host: h, expected_statuses: [{start: 200, end: 300}]}\n");
  EXPECT_TRUE(read.problems.empty()) << read.problems.str();
  const HealthCheckSpec& check = read.spec.health_checks.at(0);
  EXPECT_EQ(check.path, "/ok");
  EXPECT_EQ(check.expected, (std::vector<StatusRange>{{200, 299}}));
  EXPECT_EQ(check.unhealthy_threshold, 3u);
  const Read tcp(
      "name: a\nhealth_checks:\n- {timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, "
      "tcp_health_check: {send: {text: '50494e47'}, receive: [{text: '504f4e47'}]}}\n");
  EXPECT_TRUE(tcp.problems.empty()) << tcp.problems.str();
  EXPECT_EQ(tcp.spec.health_checks.at(0).send, "PING");
  EXPECT_EQ(tcp.spec.health_checks.at(0).receive.at(0), "PONG");
}

TEST(ParseCluster, ReadsPoliciesInTheirNewForm) {
  const Read read(
      "name: a\nload_balancing_policy:\n  policies:\n"
      "  - typed_extension_config: {name: x, typed_config: {'@type': "
      "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, choice_count: 5}}\n");
  EXPECT_TRUE(read.problems.empty()) << read.problems.str();
  EXPECT_EQ(read.spec.lb, LbKind::kLeastRequest);
  EXPECT_EQ(read.spec.choice_count, 5u);
}

TEST(ParseCluster, AnEmptyPanicThresholdIsZero) {
  EXPECT_EQ(Read("{name: a}").spec.panic_threshold, 50);
  EXPECT_EQ(Read("{name: a, common_lb_config: {healthy_panic_threshold: {}}}").spec.panic_threshold, 0);
}

TEST(ParseCluster, DnsTakesNamesAndStaticDoesNot) {
  const std::string tail =
      ", load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: "
      "{socket_address: {address: example.test, port_value: 80}}}}]}]}}";
  const Read dns("{name: a, type: STRICT_DNS, dns_lookup_family: V4_ONLY" + tail);
  EXPECT_TRUE(dns.problems.empty()) << dns.problems.str();
  EXPECT_EQ(dns.spec.endpoints.localities.at(0).endpoints.at(0).more().name, "example.test");
  EXPECT_EQ(dns.spec.dns.family, DnsFamily::kV4Only);
  EXPECT_TRUE(
      Read("{name: a, type: STATIC" + tail).has("load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address"));
}

TEST(ParseCluster, RefusesWhatWouldChangeWhoTalksToWhom) {
  struct Case {
    std::string_view yaml, path;
  };
  for (const Case& each : std::initializer_list<Case>{
           {"lb_policy: CLUSTER_PROVIDED", "lb_policy"},
           {"type: ORIGINAL_DST", "lb_policy"},
           {"connection_pool_per_downstream_connection: true", "connection_pool_per_downstream_connection"},
           {"lb_subset_config: {subset_selectors: [{keys: [a]}]}", "lb_subset_config"},
           {"filters: [{name: x}]", "filters"},
           {"upstream_http_protocol_options: {auto_san_validation: true}", "upstream_http_protocol_options.auto_san_validation"},
           {"circuit_breakers: {per_host_thresholds: [{max_connections: 1}]}", "circuit_breakers.per_host_thresholds"},
       }) {
    const Read read("name: a\n" + std::string(each.yaml) + "\n");
    EXPECT_TRUE(read.has(each.path)) << each.yaml << "\n" << read.problems.str();
  }
}

TEST(ParseCluster, ReportsWhatHasNoEffect) {
  const Read read("name: a\noutlier_detection: {}\ntrack_timeout_budgets: true\n");
  EXPECT_TRUE(read.problems.empty()) << read.problems.str();
  EXPECT_EQ(read.problems.unsupportedPaths(), (std::vector<std::string>{"outlier_detection", "track_timeout_budgets"}));
}

TEST(ParseEndpoints, PrioritiesHaveNoGap) {
  envoy::config::endpoint::v3::ClusterLoadAssignment in;
  in.set_cluster_name("a");
  in.add_endpoints()->set_priority(1);
  Problems problems;
  (void)parseEndpoints(in, Names::kRefused, problems);
  EXPECT_EQ(problems.size(), 1u);
}

TEST(ParseEndpoints, ReadsHealthWeightsAndLocalities) {
  envoy::config::endpoint::v3::ClusterLoadAssignment in;
  in.set_cluster_name("a");
  auto* locality = in.add_endpoints();
  locality->mutable_locality()->set_zone("z");
  locality->mutable_load_balancing_weight()->set_value(7);
  auto* endpoint = locality->add_lb_endpoints();
  endpoint->set_health_status(envoy::config::core::v3::DRAINING);
  endpoint->mutable_load_balancing_weight()->set_value(3);
  endpoint->mutable_endpoint()->mutable_address()->mutable_pipe()->set_path("/run/x");
  Problems problems;
  const EndpointsSpec out = parseEndpoints(in, Names::kRefused, problems);
  EXPECT_TRUE(problems.empty()) << problems.str();
  EXPECT_EQ(out.localities.at(0).weight, 7u);
  EXPECT_EQ(out.localities.at(0).zone, "z");
  EXPECT_EQ(out.localities.at(0).endpoints.at(0).health, HealthStatus::kDraining);
  EXPECT_EQ(out.localities.at(0).endpoints.at(0).weight, 3u);
  EXPECT_TRUE(out.localities.at(0).endpoints.at(0).address.isUnix());
}

}  // namespace
}  // namespace outrider::config
