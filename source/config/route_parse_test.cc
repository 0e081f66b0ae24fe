#include "source/config/route_parse.h"

#include <gtest/gtest.h>

#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "source/config/yaml.h"

namespace outrider::config {
namespace {

template <class M>
M read(std::string text) {
  M out;
  UnknownFields unknown;
  Problems problems;
  parseContent(std::move(text), "test.yaml", out, unknown, problems);
  EXPECT_TRUE(problems.empty()) << problems.str();
  return out;
}

RouteTableSpec parse(std::string yaml, Problems& problems, const OverrideParser& overrides = {}) {
  return parseRoutes(read<envoy::config::route::v3::RouteConfiguration>(std::move(yaml)), problems, overrides);
}

// A table of one route from the lines of the route, which are indented by six.
std::string table(std::string_view route) {
  return "name: t\nvirtual_hosts:\n- name: h\n  domains: ['*']\n  routes:\n  - " + std::string(route);
}

RouteSpec one(std::string_view route) {
  Problems problems;
  RouteTableSpec spec = parse(table(route), problems);
  EXPECT_TRUE(problems.empty()) << problems.str();
  return spec.hosts.at(0).routes.at(0);
}

TEST(RouteParse, UnsetFieldsHaveEnvoysDefaults) {
  const RouteSpec route = one("{match: {prefix: /}, route: {cluster: c}}");
  EXPECT_EQ(route.forward.cluster, "c");
  EXPECT_EQ(route.forward.timeout, 15 * base::kSecond);
  EXPECT_FALSE(route.forward.idle_timeout.has_value());
  EXPECT_FALSE(route.forward.retry.has_value());
  EXPECT_EQ(route.forward.cluster_not_found_code, 503);
  EXPECT_TRUE(route.match.case_sensitive);
}

TEST(RouteParse, ARouteSaysWhereHowLongAndHowOften) {
  const RouteSpec route = one(R"({name: r, match: {path: /A, case_sensitive: false}, route: {
      weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 3}]}, timeout: 0s, idle_timeout: 2.5s,
      prefix_rewrite: /b, host_rewrite_literal: up, cluster_not_found_response_code: NOT_FOUND,
      retry_policy: {retry_on: "5xx, connect-failure", num_retries: 3, per_try_timeout: 0.25s, retriable_status_codes: [503, 429],
                     retry_back_off: {base_interval: 0.01s}}}})");
  EXPECT_EQ(route.match.kind, RouteMatchSpec::Path::kExact);
  EXPECT_FALSE(route.match.case_sensitive);
  EXPECT_EQ(route.forward.weighted.at(1).weight, 3u);
  EXPECT_EQ(route.forward.timeout, 0);
  EXPECT_EQ(route.forward.idle_timeout, 2500 * base::kMilli);
  EXPECT_EQ(route.forward.cluster_not_found_code, 404);
  ASSERT_TRUE(route.forward.retry.has_value());
  EXPECT_EQ(route.forward.retry->on, uint32_t{kRetry5xx | kRetryConnectFailure});
  EXPECT_EQ(route.forward.retry->retries, 3u);
  EXPECT_EQ(route.forward.retry->per_try_timeout, 250 * base::kMilli);
  EXPECT_EQ(route.forward.retry->status_codes, (std::vector<uint16_t>{429, 503}));
  EXPECT_EQ(route.forward.retry->back_off_max, 100 * base::kMilli);
}

TEST(RouteParse, ALimitOfTheWholeExchangeTakesTheTimeoutsPlace) {
  const RouteSpec route =
      one("{match: {prefix: /}, route: {cluster: c, timeout: 3s, max_stream_duration: {max_stream_duration: 1s, grpc_timeout_header_max: "
          "2s}}}");
  EXPECT_EQ(route.forward.timeout, 0);
  EXPECT_EQ(route.forward.max_stream_duration, base::kSecond);
  EXPECT_EQ(route.forward.grpc_timeout_max, 2 * base::kSecond);
}

TEST(RouteParse, UpgradesAreTheRoutesOwnButConnectIsNotEndedHere) {
  const RouteSpec route =
      one("{match: {prefix: /}, route: {cluster: c, upgrade_configs: [{upgrade_type: WebSocket}, {upgrade_type: chat, enabled: false}]}}");
  ASSERT_EQ(route.forward.upgrades.size(), 2u);
  EXPECT_TRUE(route.forward.upgrades[0].enabled);
  EXPECT_FALSE(route.forward.upgrades[1].enabled);
  Problems problems;
  parse(table("{match: {connect_matcher: {}}, route: {cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}"),
        problems);
  EXPECT_NE(problems.str().find("connect_config"), std::string::npos) << problems.str();
}

TEST(RouteParse, RetriesOfTheHostHoldUntilTheRouteHasItsOwn) {
  Problems problems;
  const RouteTableSpec spec = parse(R"(
name: t
virtual_hosts:
- name: h
  domains: [H.Test]
  require_tls: EXTERNAL_ONLY
  retry_policy: {retry_on: reset}
  routes:
  - {match: {prefix: /a}, route: {cluster: c, retry_policy: {retry_on: 5xx}}}
  - {match: {prefix: /}, route: {cluster: c}}
)",
                                    problems);
  ASSERT_TRUE(problems.empty()) << problems.str();
  EXPECT_EQ(spec.hosts[0].domains[0], "h.test");
  EXPECT_EQ(spec.hosts[0].require_tls, VirtualHostSpec::Tls::kExternalOnly);
  EXPECT_EQ(spec.hosts[0].routes[0].forward.retry->on, uint32_t{kRetry5xx});
  EXPECT_EQ(spec.hosts[0].routes[1].forward.retry->on, uint32_t{kRetryReset});
}

TEST(RouteParse, RedirectsAndDirectResponses) {
  const RouteSpec redirect =
      one("{match: {prefix: /}, redirect: {https_redirect: true, path_redirect: /x, response_code: SEE_OTHER, strip_query: true}}");
  EXPECT_EQ(redirect.action, RouteSpec::Action::kRedirect);
  EXPECT_TRUE(redirect.redirect.https);
  EXPECT_EQ(redirect.redirect.code, 303);
  const RouteSpec direct = one("{match: {prefix: /}, direct_response: {status: 418, body: {inline_string: tea}}}");
  EXPECT_EQ(direct.action, RouteSpec::Action::kDirect);
  EXPECT_EQ(direct.direct.status, 418);
  EXPECT_EQ(direct.direct.body, "tea");
}

TEST(RouteParse, TheSameBytesGiveEqualSpecs) {
  const std::string text =
      table("{match: {safe_regex: {regex: '/a.*'}, headers: [{name: X, string_match: {prefix: y}}]}, route: {cluster: c}}");
  Problems problems;
  EXPECT_EQ(parse(text, problems), parse(text, problems));
}

// Every problem stands at its field: the route, then the path and words that must come.
TEST(RouteParse, EachProblemNamesItsField) {
  struct Row {
    std::string route, path, what;
  };
  const Row rows[] = {
      {"{match: {prefix: /}}", "", "has no action"},
      {"{route: {cluster: c}}", ".match", "is missing"},
      {"{match: {}, route: {cluster: c}}", ".match", "has no path"},
      {"{match: {safe_regex: {regex: 'a('}}, route: {cluster: c}}", ".match.safe_regex.regex", ""},
      {"{match: {path_separated_prefix: /a/}, route: {cluster: c}}", ".match.path_separated_prefix", "may not end"},
      {"{match: {prefix: /, headers: [{name: 'a b'}]}, route: {cluster: c}}", ".match.headers[0].name", "is no header name"},
      {"{match: {prefix: /, headers: [{name: a, safe_regex_match: {regex: '['}}]}, route: {cluster: c}}",
       ".match.headers[0].safe_regex_match.regex", ""},
      {"{match: {prefix: /, query_parameters: [{name: a, string_match: {prefix: ''}}]}, route: {cluster: c}}",
       ".match.query_parameters[0].string_match.prefix", "is empty"},
      {"{match: {prefix: /, dynamic_metadata: [{filter: f}]}, route: {cluster: c}}", ".match.dynamic_metadata", "is not supported"},
      {"{match: {prefix: /}, route: {}}", ".route", "says no cluster"},
      {"{match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: a, weight: 0}]}}}", ".route.weighted_clusters.clusters",
       "sum is 0"},
      {"{match: {prefix: /}, route: {cluster: c, timeout: -1s}}", ".route.timeout", "is negative"},
      {"{match: {prefix: /}, route: {cluster: c, regex_rewrite: {pattern: {regex: a}, substitution: '\\1'}}}",
       ".route.regex_rewrite.substitution", ""},
      {"{match: {prefix: /}, route: {cluster: c, retry_policy: {retry_back_off: {base_interval: 1s, max_interval: 0.5s}}}}",
       ".route.retry_policy.retry_back_off.max_interval", "is shorter"},
      {"{match: {prefix: /}, direct_response: {status: 99}}", ".direct_response.status", "200 to 599"},
      {"{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: '" + std::string(5000, 'x') + "'}}}",
       ".direct_response.body", "is larger"},
      {"{match: {prefix: /}, direct_response: {status: 200, body: {filename: /nowhere}}}", ".direct_response.body.filename", ""},
      {"{match: {prefix: /}, redirect: {port_redirect: 70000}}", ".redirect.port_redirect", "is no port"},
      {"{match: {prefix: /}, route: {cluster: c}, request_headers_to_add: [{header: {key: ':path', value: x}}]}",
       ".request_headers_to_add[0].header.key", "may not be changed"},
      {"{match: {prefix: /}, route: {cluster: c}, request_headers_to_add: [{header: {key: a, value: '%NO_SUCH%'}}]}",
       ".request_headers_to_add[0].header.value", "unknown operator NO_SUCH"},
      {"{match: {prefix: /}, route: {cluster: c}, response_headers_to_remove: [host]}", ".response_headers_to_remove[0]",
       "may not be removed"},
      {"{match: {prefix: /}, route: {cluster: c}, typed_per_filter_config: {f: {'@type': "
       "type.googleapis.com/envoy.config.route.v3.FilterConfig}}}",
       ".typed_per_filter_config[\"f\"]", "neither a config nor disabled"},
  };
  for (const Row& row : rows) {
    Problems problems;
    parse(table(row.route), problems);
    ASSERT_EQ(problems.size(), 1u) << row.route << "\n" << problems.str();
    EXPECT_EQ(problems.list()[0].path, "virtual_hosts[0].routes[0]" + row.path) << row.route;
    EXPECT_NE(problems.str().find(row.what), std::string::npos) << problems.str();
  }
}

TEST(RouteParse, ADomainBelongsToOneHost) {
  Problems problems;
  parse(R"(
virtual_hosts:
- {name: a, domains: [x.test, '*']}
- {name: b, domains: [X.TEST, 'a.*.b']}
- {name: c}
)",
        problems);
  ASSERT_EQ(problems.size(), 3u) << problems.str();
  EXPECT_EQ(problems.list()[0].path, "virtual_hosts[1].domains[0]");
  EXPECT_NE(problems.list()[0].what.find("'a'"), std::string::npos);
  EXPECT_EQ(problems.list()[1].path, "virtual_hosts[1].domains[1]");
  EXPECT_EQ(problems.list()[2].path, "virtual_hosts[2].domains");
}

TEST(RouteParse, WhatHasNoEffectIsReported) {
  Problems problems;
  parse(table("{match: {prefix: /}, decorator: {operation: o}, route: {cluster: c, hash_policy: [{filter_state: {key: a}}]}}"), problems);
  EXPECT_TRUE(problems.empty()) << problems.str();
  EXPECT_EQ(problems.unsupportedPaths(), (std::vector<std::string>{"virtual_hosts[0].routes[0].decorator",
                                                                   "virtual_hosts[0].routes[0].route.hash_policy[0].filter_state"}));
}

TEST(RouteParse, WhatWouldChangeDecisionsIsRefused) {
  Problems problems;
  parse("ignore_path_parameters_in_path_matching: true\nvhds: {config_source: {ads: {}}}", problems);
  EXPECT_EQ(problems.size(), 2u) << problems.str();
}

TEST(RouteParse, AFilterReadsItsOwnConfig) {
  const std::string text = table(
      "{match: {prefix: /}, route: {cluster: c}, typed_per_filter_config: {a: {'@type': "
      "type.googleapis.com/envoy.config.route.v3.Decorator, "
      "operation: o}, b: {'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}}");
  Problems problems;
  const auto value = std::make_shared<const int>(1);
  std::string type;
  const RouteTableSpec spec = parse(text, problems, [&](std::string_view name, const google::protobuf::Any&, Problems&) {
    type = name;
    return value;
  });
  ASSERT_TRUE(problems.empty()) << problems.str();
  EXPECT_EQ(type, "envoy.config.route.v3.Decorator");
  EXPECT_EQ(spec.hosts[0].routes[0].filters.at(0).parsed, value);
  EXPECT_TRUE(spec.hosts[0].routes[0].filters.at(1).disabled);
  parse(text, problems);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems.list()[0].path, "virtual_hosts[0].routes[0].typed_per_filter_config[\"a\"]");
}

TEST(RouteParse, ScopesHaveKeys) {
  Problems problems;
  const ScopeSpec scope = parseScope(read<envoy::config::route::v3::ScopedRouteConfiguration>(
                                         "{name: s, route_configuration_name: r, key: {fragments: [{string_key: a}, {string_key: b}]}}"),
                                     problems);
  EXPECT_EQ(scope.key, (std::vector<std::string>{"a", "b"}));
  using Builder = envoy::extensions::filters::network::http_connection_manager::v3::ScopedRoutes_ScopeKeyBuilder;
  const ScopeKeySpec key = parseScopeKey(
      read<Builder>("{fragments: [{header_value_extractor: {name: X-Key, element_separator: ';', element: {key: k, separator: '='}}}]}"),
      problems);
  EXPECT_TRUE(problems.empty()) << problems.str();
  EXPECT_EQ(key.fragments.at(0).header, "x-key");
  EXPECT_TRUE(key.fragments.at(0).by_key);
  parseScope(read<envoy::config::route::v3::ScopedRouteConfiguration>("{name: s}"), problems);
  parseScopeKey(read<Builder>("{fragments: [{header_value_extractor: {name: a, index: 1}}]}"), problems);
  EXPECT_EQ(problems.size(), 3u) << problems.str();
}

}  // namespace
}  // namespace outrider::config
