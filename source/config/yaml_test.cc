#include "source/config/yaml.h"

#include <fcntl.h>
#include <google/protobuf/struct.pb.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/base.pb.h"
#include "envoy/config/core/v3/health_check.pb.h"
#include "envoy/config/route/v3/route_components.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "google/protobuf/util/message_differencer.h"
#include "source/config/any.h"

namespace outrider::config {
namespace {

namespace cluster = envoy::config::cluster::v3;
namespace core = envoy::config::core::v3;
using envoy::config::bootstrap::v3::Bootstrap;

template <class M>
struct Read {
  M message;
  Problems problems;
  UnknownFields unknown;
  Parsed parsed;
  std::string first() const { return problems.empty() ? std::string() : problems.list()[0].str(); }
};

template <class M>
void read(Read<M>& out, std::string text, std::string_view name = "c.yaml") {
  out.parsed = parseContent(std::move(text), name, out.message, out.unknown, out.problems);
  EXPECT_EQ(out.parsed.ok, out.problems.empty());
}

template <class M>
M mustRead(std::string text) {
  Read<M> out;
  read(out, text);
  EXPECT_TRUE(out.problems.empty()) << out.problems.str() << "\nin " << text;
  return out.message;
}

TEST(Yaml, EverySpellingGivesTheSameCluster) {
  cluster::Cluster want;
  want.set_name("one");
  want.set_type(cluster::Cluster::STRICT_DNS);
  want.mutable_connect_timeout()->set_seconds(1);
  want.mutable_connect_timeout()->set_nanos(250'000'000);
  want.mutable_per_connection_buffer_limit_bytes()->set_value(32768);
  want.add_health_checks()->mutable_timeout()->set_seconds(5);
  const struct {
    const char* what;
    const char* text;
  } spellings[] = {
      {"block style",
       "name: one\ntype: STRICT_DNS\nconnect_timeout: 1.25s\nper_connection_buffer_limit_bytes: 32768\n"
       "health_checks:\n- timeout: 5s\n"},
      {"camelCase, lower-case enum",
       "name: one\ntype: strict_dns\nconnectTimeout: 1.250s\nperConnectionBufferLimitBytes: 32768\n"
       "healthChecks:\n- timeout: 5s\n"},
      {"object durations, single for a list",
       "name: one\ntype: 1\nconnect_timeout: {seconds: 1, nanos: 250000000}\n"
       "per_connection_buffer_limit_bytes: {value: 32768}\nhealth_checks: {timeout: {seconds: 5}}\n"},
      {"numbers as strings",
       "name: one\ntype: '1'\nconnect_timeout: {seconds: '1', nanos: '250000000'}\n"
       "per_connection_buffer_limit_bytes: '32768'\nhealth_checks:\n- timeout: 5.0s\n"},
      {"JSON", R"({"name":"one","type":"STRICT_DNS","connect_timeout":"1.25s","perConnectionBufferLimitBytes":32768,
                   "health_checks":[{"timeout":"5s"}]})"},
      {"JSON with comments is YAML",
       "{\"name\": \"one\", # first\n type: STRICT_DNS, connect_timeout: 1.25s, "
       "per_connection_buffer_limit_bytes: 0x8000, health_checks: [{timeout: 5s}],}"},
      {"anchors and merge keys",
       "name: one\ntype: STRICT_DNS\n<<: {connect_timeout: &t 1.25s, name: two}\n"
       "per_connection_buffer_limit_bytes: 32768\nhealth_checks:\n- timeout: 5s\n"},
  };
  for (const auto& spelling : spellings) {
    const auto got = mustRead<cluster::Cluster>(spelling.text);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(got, want)) << spelling.what << "\n" << got.DebugString();
  }
}

TEST(Yaml, BinaryIsToldFromTextByContent) {
  cluster::Cluster want;
  want.set_name("binary");
  want.mutable_connect_timeout()->set_seconds(3);
  Read<cluster::Cluster> got;
  read(got, want.SerializeAsString(), "/dev/fd/7");
  EXPECT_EQ(got.first(), "");
  EXPECT_EQ(got.message.DebugString(), want.DebugString());
  Read<cluster::Cluster> garbage;
  read(garbage, std::string("\x01\x02\xff\xff\xff", 5), "x");
  EXPECT_EQ(garbage.first(), "x: is neither text nor a serialized envoy.config.cluster.v3.Cluster; give YAML, JSON or a binary message");
}

TEST(Yaml, ProblemsPointAtTheValue) {
  const struct {
    const char* text;
    const char* says;
  } table[] = {
      {"name: x\nconnect_timout: 1s\n",
       "c.yaml:2:17: connect_timout: no such field in envoy.config.cluster.v3.Cluster; did you mean "
       "'connect_timeout'?"},
      {"name: x\nconnectTimout: 1s\n",
       "c.yaml:2:16: connectTimout: no such field in envoy.config.cluster.v3.Cluster; did you mean 'connect_timeout'?"},
      {"connect_timeout: 1m\n",
       "c.yaml:1:18: connect_timeout: '1m': is not a duration; seconds with an 's' at the end, such as 5s or 0.25s"},
      {"connect_timeout: 1.0000000001s\n",
       "c.yaml:1:18: connect_timeout: '1.0000000001s': is not a duration; seconds with an 's' at the end, such as 5s "
       "or 0.25s"},
      {"connect_timeout: 315576000001s\n", "c.yaml:1:18: connect_timeout: '315576000001s': out of range; at most 315576000000s"},
      {"name: [a]\n", "c.yaml:1:7: name: expected a string, found a list"},
      {"name: {a: b}\n", "c.yaml:1:7: name: expected a string, found a map"},
      {"name: x\nname: y\n", "c.yaml:2:7: name: 'y': given twice; keep one of the two"},
      {"connect_timeout: 1s\nconnectTimeout: 2s\n", "c.yaml:2:17: connect_timeout: '2s': given twice; keep one of the two"},
      {"type: EDS\ncluster_type: {name: a}\n", "c.yaml:2:15: cluster_type: excludes 'type', which is also given; keep one of the two"},
      {"type: NEAR\n", nullptr},
      {"per_connection_buffer_limit_bytes: -1\n",
       "c.yaml:1:36: per_connection_buffer_limit_bytes: '-1': out of range; a whole number from 0 to 4294967295"},
      {"per_connection_buffer_limit_bytes: 4294967296\n",
       "c.yaml:1:36: per_connection_buffer_limit_bytes: '4294967296': out of range; a whole number from 0 to "
       "4294967295"},
      {"per_connection_buffer_limit_bytes: 1.5\n",
       "c.yaml:1:36: per_connection_buffer_limit_bytes: '1.5': is not a whole number; a whole number from 0 to "
       "4294967295"},
      {"- a\n- b\n", "c.yaml:1:1: expected a map with the fields of envoy.config.cluster.v3.Cluster, found a list"},
      {"just words",
       "c.yaml:1:1: 'just words': expected a map with the fields of envoy.config.cluster.v3.Cluster, found a single "
       "value"},
      {"health_checks:\n- timeout: 1s\n- interval: never\n",
       "c.yaml:3:13: health_checks[1].interval: 'never': is not a duration; seconds with an 's' at the end, such as 5s "
       "or 0.25s"},
      {"health_checks:\n- timeout: 1s\n- ~\n", "c.yaml:3:3: health_checks[1]: an element of a list cannot be null"},
      {"ignore_health_on_host_removal: maybe\n", "c.yaml:1:32: ignore_health_on_host_removal: 'maybe': is neither true nor false"},
      {"{\"name\": \"x\", \"lb_policy\": \"RANDOMLY\"}", nullptr},
      {"metadata: {filter_metadata: {a.b: 7}}\n",
       "c.yaml:1:35: metadata.filter_metadata[\"a.b\"]: '7': expected a map, found a single value"},
  };
  for (const auto& row : table) {
    Read<cluster::Cluster> got;
    read(got, row.text);
    ASSERT_FALSE(got.parsed.ok) << row.text;
    ASSERT_EQ(got.problems.size(), 1U) << row.text << got.problems.str();
    if (row.says != nullptr) {
      EXPECT_EQ(got.first(), row.says);
    } else {
      EXPECT_NE(got.problems.list()[0].valid, "") << got.first();
      EXPECT_GT(got.problems.list()[0].line, 0);
    }
  }
}

TEST(Yaml, BrokenTextIsLocated) {
  const struct {
    const char* text;
    int line;
  } table[] = {
      {"name: 'x\n", 2},
      {"a: b: c\n", 1},
      {"{\"name\": \"x\",\n \"type\" 1}", 2},
      {"name: x\n\tb: c\n", 2},
      {"name: x\n---\nname: y\n", 2},
      {"name: *nobody\n", 1},
      {"{\"a\": \"\\ud800\"}", 1},
      {"? [a]\n: b\n", 1},
  };
  for (const auto& row : table) {
    Read<cluster::Cluster> got;
    read(got, row.text);
    ASSERT_EQ(got.problems.size(), 1U) << row.text;
    EXPECT_EQ(got.problems.list()[0].line, row.line) << row.text << " " << got.first();
    EXPECT_EQ(got.problems.list()[0].file, "c.yaml");
  }
}

TEST(Yaml, EveryProblemOfATextIsListed) {
  Read<cluster::Cluster> got;
  read(got, "nam: x\ntype: 99999999999\nconnect_timeout: soon\nhealth_checks: [{timeout: 1, tls_option: 3}]\n");
  EXPECT_EQ(got.problems.size(), 5U) << got.problems.str();
}

TEST(Yaml, UnknownFieldsAreCountedWhenAllowed) {
  Read<cluster::Cluster> got;
  got.unknown.allow = true;
  read(got, "name: x\nnew_thing: {a: [1, 2]}\nhealth_checks: [{timeout: 1s, other: 2}]\n");
  EXPECT_EQ(got.first(), "");
  EXPECT_EQ(got.message.name(), "x");
  EXPECT_EQ(got.unknown.count, 2U);
  EXPECT_EQ(got.unknown.paths, (std::vector<std::string>{"new_thing", "health_checks[0].other"}));
}

TEST(Yaml, WellKnownTypes) {
  const auto node = mustRead<core::Node>(
      "metadata:\n  whole: 7\n  text: '7'\n  yes: true\n  none: ~\n  list: [1, two, {three: 3}]\n  nested: {a: {b: "
      "c}}\n");
  const auto& fields = node.metadata().fields();
  EXPECT_EQ(fields.at("whole").number_value(), 7);
  EXPECT_EQ(fields.at("text").string_value(), "7");
  EXPECT_TRUE(fields.at("yes").bool_value());
  EXPECT_EQ(fields.at("none").kind_case(), google::protobuf::Value::kNullValue);
  EXPECT_EQ(fields.at("list").list_value().values(2).struct_value().fields().at("three").number_value(), 3);
  EXPECT_EQ(fields.at("nested").struct_value().fields().at("a").struct_value().fields().at("b").string_value(), "c");

  // As Envoy reads them: YAML has numbers of 32 bits, other numbers are text; JSON has numbers.
  const auto numbers =
      mustRead<google::protobuf::Struct>("{a: 1.5, b: 12345678901, c: 0x10, d: 010, e: -7, f: 2147483648, g: -2147483648, h: 1e3}");
  const auto jsons = mustRead<google::protobuf::Struct>(R"({"a": 1.5, "b": 12345678901, "c": "7", "d": -0.5, "e": 1e3})");
  const auto shown = [](const google::protobuf::Value& value) {
    return value.has_number_value() ? "number " + std::to_string(value.number_value()) : "text " + value.string_value();
  };
  const std::pair<const char*, const char*> yaml_want[] = {
      {"a", "text 1.5"},         {"b", "text 12345678901"}, {"c", "number 16.000000"},          {"d", "number 8.000000"},
      {"e", "number -7.000000"}, {"f", "text 2147483648"},  {"g", "number -2147483648.000000"}, {"h", "text 1e3"}};
  for (const auto& [key, want] : yaml_want) EXPECT_EQ(shown(numbers.fields().at(key)), want) << key;
  const std::pair<const char*, const char*> json_want[] = {{"a", "number 1.500000"},
                                                           {"b", "number 12345678901.000000"},
                                                           {"c", "text 7"},
                                                           {"d", "number -0.500000"},
                                                           {"e", "number 1000.000000"}};
  for (const auto& [key, want] : json_want) EXPECT_EQ(shown(jsons.fields().at(key)), want) << key;

  const auto source = mustRead<core::DataSource>("inline_bytes: aGVsbG8=");
  EXPECT_EQ(source.inline_bytes(), "hello");
  EXPECT_EQ(mustRead<core::DataSource>("inline_bytes: _-8").inline_bytes(), "\xff\xef");
  Read<core::DataSource> bad;
  read(bad, "inline_bytes: 'a*b'");
  EXPECT_EQ(bad.problems.size(), 1U);

  const auto route =
      mustRead<envoy::config::route::v3::Route>("route: {cluster: a, timeout: 0s, auto_host_rewrite: 'true'}\nmatch: {prefix: /}");
  EXPECT_TRUE(route.route().has_timeout());
  EXPECT_TRUE(route.route().auto_host_rewrite().value());
}

TEST(Yaml, AnyIsFilledByItsType) {
  const auto filter = mustRead<envoy::config::listener::v3::Filter>(R"(
name: hcm
typed_config:
  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
  stat_prefix: in
  http_filters:
  - name: r
    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}
)");
  envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager hcm;
  Problems problems;
  ASSERT_TRUE(unpack(filter.typed_config(), hcm, problems)) << problems.str();
  EXPECT_EQ(hcm.stat_prefix(), "in");
  envoy::extensions::filters::http::router::v3::Router router;
  ASSERT_TRUE(unpack(hcm.http_filters(0).typed_config(), router, problems)) << problems.str();
  EXPECT_TRUE(router.suppress_envoy_headers());
}

// The gzip decompressor is not compiled in; its bytes come out all the same.
TEST(Yaml, AnyOfATypeThatIsNotCompiledIn) {
  const auto filter = mustRead<core::TypedExtensionConfig>(R"(
name: x
typed_config:
  "@type": type.googleapis.com/envoy.extensions.compression.gzip.decompressor.v3.Gzip
  window_bits: 12
)");
  EXPECT_EQ(filter.typed_config().value(), std::string("\x0a\x02\x08\x0c", 4));
}

TEST(Yaml, AnyProblemsNameTheirPlace) {
  const struct {
    const char* text;
    const char* says;
  } table[] = {
      {"name: a\ntyped_config: {a: b}\n",
       "c.yaml:2:15: typed_config: has no '@type'; name its message, such as '@type': "
       "type.googleapis.com/envoy.config.cluster.v3.Cluster"},
      {"typed_config: {'@type': type.googleapis.com/no.Such}\n",
       "c.yaml:1:25: typed_config.@type: 'type.googleapis.com/no.Such': no message type of this name is known"},
      {"typed_config:\n  '@type': type.googleapis.com/envoy.config.cluster.v3.Cluster\n  nme: 3\n",
       "c.yaml:3:8: typed_config.nme: no such field in envoy.config.cluster.v3.Cluster; did you mean 'name'?"},
      {"typed_config: 3\n", "c.yaml:1:15: typed_config: '3': expected a map with '@type', found a single value"},
  };
  for (const auto& row : table) {
    Read<core::TypedExtensionConfig> got;
    read(got, row.text);
    EXPECT_EQ(got.problems.str(), row.says);
  }
}

TEST(Yaml, TheLocatorFindsAFieldLater) {
  Read<Bootstrap> got;
  read(got, "static_resources:\n  clusters:\n  - name: a\n    connectTimeout: 1s\n  listeners:\n    name: l\n");
  ASSERT_TRUE(got.parsed.ok) << got.problems.str();
  Problems later;
  later.setLocator(got.parsed.document.get());
  {
    const auto a = later.field("static_resources");
    const auto b = later.element("clusters", 0);
    later.addAt("connect_timeout", "1s", "too short");
    later.addAt("lb_policy", {}, "missing");  // the nearest parent's place
    const auto c = later.element("clusters", 99);
    later.add("nowhere");
  }
  {
    const auto a = later.field("static_resources");
    const auto b = later.element("listeners", 0);  // given without a list
    later.addAt("name", "l", "taken");
  }
  ASSERT_EQ(later.size(), 4U);
  EXPECT_EQ(later.list()[0].str(), "c.yaml:4:21: static_resources.clusters[0].connect_timeout: '1s': too short");
  EXPECT_EQ(later.list()[1].str(), "c.yaml:3:5: static_resources.clusters[0].lb_policy: missing");
  EXPECT_EQ(later.list()[3].str(), "c.yaml:6:11: static_resources.listeners[0].name: 'l': taken");
}

TEST(Yaml, IgnoredMembersOnlyCarryAnchors) {
  const auto got = mustRead<Bootstrap>(R"(
!ignore templates:
- &base {connect_timeout: 3s, lb_policy: RANDOM}
static_resources:
  clusters:
  - {<<: *base, name: a}
  - {name: b, <<: [*base], connect_timeout: 1s}
)");
  ASSERT_EQ(got.static_resources().clusters_size(), 2);
  EXPECT_EQ(got.static_resources().clusters(0).connect_timeout().seconds(), 3);
  EXPECT_EQ(got.static_resources().clusters(1).connect_timeout().seconds(), 1);
  EXPECT_EQ(got.static_resources().clusters(1).lb_policy(), cluster::Cluster::RANDOM);
}

TEST(Yaml, BillionLaughsIsRefusedFast) {
  std::string text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) text += (k == 0 ? "*a" : ", *a") + std::to_string(i - 1);
    text += "]\n";
  }
  Read<google::protobuf::Struct> got;
  read(got, text);
  ASSERT_EQ(got.problems.size(), 1U);
  EXPECT_EQ(got.problems.list()[0].what, "aliases repeat too much");
}

TEST(Yaml, DepthIsBounded) {
  for (const char* open : {"[", "- {a: ", "{\"a\":"}) {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += i > 0 && open[0] == '-' ? open + 2 : open;
    Read<google::protobuf::Struct> got;
    read(got, text);
    ASSERT_EQ(got.problems.size(), 1U);
    EXPECT_EQ(got.problems.list()[0].what, "nested too deeply") << open;
  }
}

TEST(Yaml, AnAliasInsideOfItsOwnAnchorIsRefused) {
  Read<google::protobuf::Struct> got;
  read(got, "a: &a {b: *a}\n");
  EXPECT_EQ(got.first(), "c.yaml:1:11: no anchor 'a' before this alias");
}

TEST(Yaml, AnEmptyTextIsAnEmptyMessage) {
  EXPECT_EQ(mustRead<Bootstrap>("").ByteSizeLong(), 0U);
  EXPECT_EQ(mustRead<Bootstrap>("# nothing\n").ByteSizeLong(), 0U);
  EXPECT_EQ(mustRead<Bootstrap>("{}").ByteSizeLong(), 0U);
}

TEST(Yaml, ReadsWhatCannotSeek) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const std::string want(300'000, 'x');
  std::thread writer([&] {
    size_t done = 0;
    while (done < want.size()) {
      const ssize_t wrote = ::write(ends[1], want.data() + done, want.size() - done);
      if (wrote <= 0) break;
      done += static_cast<size_t>(wrote);
    }
    ::close(ends[1]);
  });
  const auto got = readFile("/dev/fd/" + std::to_string(ends[0]));
  writer.join();
  ::close(ends[0]);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, want);
  EXPECT_EQ(readFile("/nonexistent/x").status().message(), "cannot read /nonexistent/x: No such file or directory");
}

}  // namespace
}  // namespace outrider::config
