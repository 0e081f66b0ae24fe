#include "source/config/any.h"

#include <gtest/gtest.h>

#include "envoy/config/core/v3/extension.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"
#include "source/config/checked_any.h"

namespace outrider::config {
namespace {

using envoy::extensions::filters::http::router::v3::Router;
using envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
using google::protobuf::Any;

Any parse(std::string text) {
  envoy::config::core::v3::TypedExtensionConfig out;
  UnknownFields unknown;
  Problems problems;
  EXPECT_TRUE(parseContent("typed_config: " + text, "t", out, unknown, problems).ok) << problems.str();
  return out.typed_config();
}

// The two wrappers and the plain form are one to whoever unpacks.
TEST(Any, TypedStructsAreSeenThrough) {
  for (const char* text : {"{'@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, "
                           "stat_prefix: s, cluster: c, idle_timeout: 3s}",
                           "{'@type': type.googleapis.com/udpa.type.v1.TypedStruct, "
                           "type_url: type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, "
                           "value: {stat_prefix: s, cluster: c, idleTimeout: 3s}}",
                           "{'@type': type.googleapis.com/xds.type.v3.TypedStruct, "
                           "type_url: type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, "
                           "value: {stat_prefix: s, cluster: c, idle_timeout: {seconds: 3}}}"}) {
    const Any any = parse(text);
    EXPECT_EQ(innerType(any), "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy") << text;
    TcpProxy out;
    Problems problems;
    ASSERT_TRUE(unpack(any, out, problems)) << problems.str();
    EXPECT_EQ(out.stat_prefix(), "s");
    EXPECT_EQ(out.cluster(), "c");
    EXPECT_EQ(out.idle_timeout().seconds(), 3);
    UnknownFields unknown;
    const auto whatever = unpackAny(any, unknown, problems);
    ASSERT_NE(whatever, nullptr);
    EXPECT_EQ(whatever->DebugString(), out.DebugString());
  }
}

TEST(Any, ProblemsStandAtTheCurrentPath) {
  const struct {
    Any any;
    const char* says;
  } table[] = {
      {parse("{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}"),
       "typed_config: 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router': is another message than "
       "expected; "
       "give envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"},
      {parse("{'@type': type.googleapis.com/udpa.type.v1.TypedStruct, type_url: a/b.C}"),
       "typed_config: 'a/b.C': is another message than expected; give "
       "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"},
      {parse("{'@type': type.googleapis.com/udpa.type.v1.TypedStruct, "
             "type_url: a/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, value: {stat_prefx: s}}"),
       "typed_config.stat_prefx: no such field in envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy; did you mean "
       "'stat_prefix'?"},
  };
  for (const auto& row : table) {
    TcpProxy out;
    Problems problems;
    const auto scope = problems.field("typed_config");
    EXPECT_FALSE(unpack(row.any, out, problems));
    EXPECT_EQ(problems.str(), row.says);
  }
}

TEST(Any, BrokenBytesAreAProblem) {
  Any any;
  any.set_type_url("type.googleapis.com/envoy.extensions.filters.http.router.v3.Router");
  any.set_value("\xff\xff");
  Router out;
  Problems problems;
  EXPECT_FALSE(unpack(any, out, problems));
  EXPECT_EQ(problems.str(), "the bytes are no envoy.extensions.filters.http.router.v3.Router");
  any.set_type_url("type.googleapis.com/xds.type.v3.TypedStruct");
  EXPECT_EQ(innerType(any), "");
  UnknownFields unknown;
  EXPECT_EQ(unpackAny(any, unknown, problems), nullptr);
  any.set_type_url("type.googleapis.com/nobody.Knows");
  EXPECT_EQ(unpackAny(any, unknown, problems), nullptr);
  EXPECT_EQ(problems.list().back().str(), "'type.googleapis.com/nobody.Knows': no message type of this name is known");
}

TEST(Any, UnknownFieldsOfATypedStructAreCountedWhenAllowed) {
  const Any any = parse(
      "{'@type': type.googleapis.com/udpa.type.v1.TypedStruct, "
      "type_url: a/envoy.extensions.filters.http.router.v3.Router, value: {suppress_envoy_headers: true, of_tomorrow: "
      "1}}");
  Router out;
  UnknownFields unknown{.allow = true};
  Problems problems;
  EXPECT_TRUE(unpack(any, out, unknown, problems));
  EXPECT_TRUE(out.suppress_envoy_headers());
  EXPECT_EQ(unknown.paths, (std::vector<std::string>{"of_tomorrow"}));
}

TEST(Any, RulesHoldInBothForms) {
  for (const std::string& prefix : {std::string(), std::string("p")}) {
    const std::string fields = (prefix.empty() ? "" : "stat_prefix: p, ") + std::string("cluster: c");
    for (const std::string& text : {"{'@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, " + fields + "}",
                                    "{'@type': type.googleapis.com/udpa.type.v1.TypedStruct, type_url: "
                                    "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, value: {" +
                                        fields + "}}"}) {
      TcpProxy out, from_bytes;
      Problems one, two;
      EXPECT_EQ(unpackChecked(parse(text), out, one), !prefix.empty());
      const auto bytes = checkedBytes(parse(text), two);
      EXPECT_EQ(bytes.has_value(), !prefix.empty());
      EXPECT_EQ(one.str(), prefix.empty() ? "stat_prefix: must not be empty" : "");
      EXPECT_EQ(two.str(), one.str());
      if (!prefix.empty()) {
        ASSERT_TRUE(from_bytes.ParseFromString(*bytes));
        EXPECT_EQ(from_bytes.stat_prefix(), "p");
      }
    }
  }
}

}  // namespace
}  // namespace outrider::config
