#include "source/config/json_print.h"

#include <google/protobuf/struct.pb.h>
#include <gtest/gtest.h>

#include "envoy/admin/v3/server_info.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/extension.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "google/protobuf/util/message_differencer.h"
#include "source/config/yaml.h"
#include "udpa/type/v1/typed_struct.pb.h"

namespace outrider::config {
namespace {

namespace tls = envoy::extensions::transport_sockets::tls::v3;

template <class M>
M parse(std::string text) {
  M out;
  UnknownFields unknown;
  Problems problems;
  EXPECT_TRUE(parseContent(std::move(text), "t", out, unknown, problems).ok) << problems.str();
  return out;
}

template <class M>
std::string compact(std::string text) {
  return toJson(parse<M>(std::move(text)), {.compact = true, .secret = isSensitive});
}

// What Envoy 1.40's /config_dump shows of this cluster.
TEST(JsonPrint, LooksAsInEnvoysDump) {
  EXPECT_EQ(toJson(parse<envoy::config::cluster::v3::Cluster>(R"(
name: one
type: strict_dns
connect_timeout: 0.25s
dns_refresh_rate: 5s
per_connection_buffer_limit_bytes: 0
load_assignment: {cluster_name: one, endpoints: {lb_endpoints: {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}, load_balancing_weight: 3}}}
transport_socket:
  name: tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
    sni: x
    common_tls_context: {alpn_protocols: [h2]}
common_lb_config: {healthy_panic_threshold: {value: 0}}
ring_hash_lb_config: {maximum_ring_size: 2000}
)")),
            R"({
 "name": "one",
 "type": "STRICT_DNS",
 "connect_timeout": "0.250s",
 "per_connection_buffer_limit_bytes": 0,
 "dns_refresh_rate": "5s",
 "ring_hash_lb_config": {
  "maximum_ring_size": "2000"
 },
 "transport_socket": {
  "name": "tls",
  "typed_config": {
   "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
   "common_tls_context": {
    "alpn_protocols": [
     "h2"
    ]
   },
   "sni": "x"
  }
 },
 "common_lb_config": {
  "healthy_panic_threshold": {}
 },
 "load_assignment": {
  "cluster_name": "one",
  "endpoints": [
   {
    "lb_endpoints": [
     {
      "endpoint": {
       "address": {
        "socket_address": {
         "address": "127.0.0.1",
         "port_value": 0
        }
       }
      },
      "load_balancing_weight": 3
     }
    ]
   }
  ]
 }
})");
}

// What Envoy's /server_info shows of a node.
TEST(JsonPrint, ZerosOfWhatHasNoPresence) {
  EXPECT_EQ(toJson(parse<envoy::config::core::v3::Node>("{id: n, cluster: c, locality: {zone: z}}"), {.zeros = true}),
            R"({
 "id": "n",
 "cluster": "c",
 "locality": {
  "region": "",
  "zone": "z",
  "sub_zone": ""
 },
 "user_agent_name": "",
 "extensions": [],
 "client_features": [],
 "dynamic_parameters": {}
})");
}

TEST(JsonPrint, ValuesOfEveryKind) {
  using Struct = google::protobuf::Struct;
  EXPECT_EQ(compact<Struct>(R"({"n": null, "t": true, "d": 1.5, "i": 7, "big": 1e30, "l": [1, "a", {}], "e": [], "neg": -0.25})"),
            R"({"big":1e+30,"d":1.5,"e":[],"i":7,"l":[1,"a",{}],"n":null,"neg":-0.25,"t":true})");
  EXPECT_EQ(compact<Struct>(R"({"s": "<b>&'é\n\t\u0001\u007f\"\\\u2028\ud83d\ude00"})"),
            R"({"s":"\u003cb\u003e&'é\n\t\u0001\u007f\"\\\u2028😀"})");
  EXPECT_EQ(compact<envoy::config::cluster::v3::Cluster>("lb_policy: 99"), R"({"lb_policy":99})");
  EXPECT_EQ(compact<envoy::config::core::v3::Node>("{}"), "{}");
  EXPECT_EQ(compact<envoy::config::core::v3::BuildVersion>("version: {major_number: 1}"), R"({"version":{"major_number":1}})");
}

TEST(JsonPrint, SecretsAreReplaced) {
  EXPECT_EQ(compact<tls::Secret>("{name: s, generic_secret: {secret: {inline_string: hidden}}}"),
            R"({"name":"s","generic_secret":{"secret":{"inline_string":"[redacted]"}}})");
  EXPECT_EQ(compact<tls::Secret>("{name: s, tls_certificate: {private_key: {inline_bytes: aGlkZGVu}, certificate_chain: {filename: f}}}"),
            R"({"name":"s","tls_certificate":{"certificate_chain":{"filename":"f"},"private_key":{"inline_bytes":"W3JlZGFjdGVkXQ=="}}})");
  EXPECT_EQ(toJson(parse<tls::Secret>("{generic_secret: {secret: {inline_string: shown}}}"), {.compact = true}),
            R"({"generic_secret":{"secret":{"inline_string":"shown"}}})");
}

TEST(JsonPrint, SecretsInsideOfATypedStructAreReplaced) {
  const std::string got = compact<envoy::config::core::v3::TypedExtensionConfig>(R"(
name: x
typed_config:
  "@type": type.googleapis.com/udpa.type.v1.TypedStruct
  type_url: type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
  value: {name: s, genericSecret: {secret: {inline_string: hidden}}}
)");
  EXPECT_EQ(got.find("hidden"), std::string::npos) << got;
  EXPECT_NE(got.find(R"("secret":"[redacted]")"), std::string::npos) << got;
}

TEST(JsonPrint, AnysShowWhatTheyHold) {
  // Not compiled in: through the embedded descriptors.
  EXPECT_EQ(compact<envoy::config::core::v3::TypedExtensionConfig>(
                "typed_config: {'@type': type.googleapis.com/envoy.extensions.compression.gzip.decompressor.v3.Gzip, "
                "window_bits: 12}"),
            R"({"typed_config":{"@type":"type.googleapis.com/envoy.extensions.compression.gzip.decompressor.v3.Gzip","window_bits":12}})");
  // A well-known type has its value.
  EXPECT_EQ(compact<envoy::config::core::v3::TypedExtensionConfig>(
                "typed_config: {'@type': type.googleapis.com/google.protobuf.Duration, value: 3s}"),
            R"({"typed_config":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"3s"}})");
  envoy::config::core::v3::TypedExtensionConfig config;
  config.mutable_typed_config()->set_type_url("type.googleapis.com/nobody.Knows");
  config.mutable_typed_config()->set_value("abc");
  EXPECT_EQ(toJson(config, {.compact = true}), R"({"typed_config":{"@type":"type.googleapis.com/nobody.Knows","value":"YWJj"}})");
  config.mutable_typed_config()->set_type_url("type.googleapis.com/envoy.config.cluster.v3.Cluster");
  config.mutable_typed_config()->set_value("\xff\xff");
  EXPECT_EQ(toJson(config, {.compact = true}),
            R"({"typed_config":{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","value":"//8="}})");
}

TEST(JsonPrint, AnysInAnysAreBounded) {
  google::protobuf::Any inner;
  for (int i = 0; i < 20000; ++i) {
    google::protobuf::Any outer;
    outer.set_type_url("a/google.protobuf.Any");
    outer.set_value(inner.SerializeAsString());
    inner = std::move(outer);
    if (i % 1000 == 0 && inner.ByteSizeLong() > 200'000) break;
  }
  const std::string text = toJson(inner, {.compact = true});
  EXPECT_NE(text.find("\"value\":\""), std::string::npos);
}

// What is printed reads back as the same message.
TEST(JsonPrint, RoundTrip) {
  const auto before = parse<envoy::config::bootstrap::v3::Bootstrap>(R"(
node: {id: n, metadata: {a: [1, {b: "c"}], d: true}}
static_resources:
  clusters:
  - name: one
    connect_timeout: 1.000000001s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
)");
  const auto after = parse<envoy::config::bootstrap::v3::Bootstrap>(toJson(before));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(before, after)) << toJson(after);
}

}  // namespace
}  // namespace outrider::config
