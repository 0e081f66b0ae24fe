#include "source/format/format.h"

#include <gtest/gtest.h>

#include "source/format/json_format.h"

namespace outrider::format {
namespace {

class FormatTest : public testing::Test {
 protected:
  FormatTest() {
    info_.connection = &connection_;
    info_.start_wall = 1545129600 * base::kSecond + 123'456'789;  // 2018-12-18T10:40:00
    info_.start = 10 * base::kSecond;
    request_.method = "GET";
    request_.authority = "h.test";
    request_.path = "/a?b=c";
    request_.scheme = "http";
  }
  ~FormatTest() override { arena_->unref(); }

  Input input() const { return {&request_, &response_, &trailers_, info_}; }
  std::string print(std::string_view format, bool omit_empty = false) {
    const auto compiled = Format::compile(format);
    if (!compiled.ok()) return std::string(compiled.status().message());
    Text out;
    compiled->print(input(), out, omit_empty);
    return std::string(out.view());
  }
  std::string json(const JsonNode& node, bool omit_empty = false) {
    const auto compiled = JsonFormat::compile(node);
    if (!compiled.ok()) return std::string(compiled.status().message());
    Text out;
    compiled->print(input(), out, omit_empty);
    return std::string(out.view());
  }
  static JsonNode text(std::string value) {
    JsonNode node;
    node.kind = JsonNode::Kind::kString;
    node.text = std::move(value);
    return node;
  }

  base::Arena* arena_ = base::Arena::create();
  http::RequestHead request_{*arena_};
  http::ResponseHead response_{*arena_};
  http::HeaderMap trailers_{*arena_};
  stream::ConnectionInfo connection_;
  stream::StreamInfo info_;
};

TEST_F(FormatTest, TheDefaultLineIsEnvoysByteForByte) {
  info_.has_protocol = true;
  info_.response_code = 200;
  info_.bytes_sent = 5;
  info_.end = info_.start + 7 * base::kMilli;
  stream::HostInfo host;
  host.address = *base::Address::parseIp("127.0.0.1", 80);
  info_.host = &host;
  request_.headers.add("user-agent", "curl/8");
  EXPECT_EQ(print(defaultAccessLogFormat()),
            "[2018-12-18T10:40:00.123Z] \"GET /a?b=c HTTP/1.1\" 200 - 0 5 7 - \"-\" \"curl/8\" \"-\" \"h.test\" \"127.0.0.1:80\"\n");
}

TEST_F(FormatTest, ALineOfAnUnreadableRequestHasDashes) {
  const auto compiled = Format::compile(defaultAccessLogFormat());
  Text out;
  stream::StreamInfo empty;
  compiled->print({nullptr, nullptr, nullptr, empty}, out);
  EXPECT_EQ(out.view(), "[1970-01-01T00:00:00.000Z] \"- - -\" 0 - 0 0 - - \"-\" \"-\" \"-\" \"-\" \"-\"\n");
}

// Wire bytes of google.protobuf.Value, Struct and core.Metadata.
std::string field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}
std::string entry(const std::string& key, const std::string& value) { return field(1, field(1, key) + field(2, value)); }
std::string number(double value) {
  std::string out(1, 2 << 3 | 1);
  return out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

TEST_F(FormatTest, MetadataOfRoutesClustersAndHosts) {
  const std::string inner = entry("a\"b", field(3, "text")) + entry("list", field(6, field(1, number(1)) + field(1, number(2.5)))) +
                            entry("no", std::string("\x08\x00", 2)) + entry("yes", std::string("\x20\x01", 2));
  const std::string metadata = entry("own", inner + entry("deep", field(5, entry("x", field(3, "y"))))) + entry("void", "");
  info_.route_metadata = metadata;
  EXPECT_EQ(print("%METADATA(ROUTE:own:a\"b)%"), "text");
  EXPECT_EQ(print("%METADATA(ROUTE:own:a\"b):2%"), "te");
  EXPECT_EQ(print("%METADATA(ROUTE:own:list)% %METADATA(ROUTE:own:yes)% %METADATA(ROUTE:own:no)%"), "[1,2.5] true -");
  EXPECT_EQ(print("%ROUTE_METADATA(own:deep:x)% %ROUTE_METADATA(own:deep)% %ROUTE_METADATA(void)%"), "y {\"x\":\"y\"} {}");
  EXPECT_EQ(print("%METADATA(ROUTE:own:deep:x:y)%%METADATA(ROUTE:own:none)%%METADATA(ROUTE:none)%%METADATA(ROUTE)%"), "----");
  EXPECT_EQ(print("%METADATA(CLUSTER:own)% %METADATA(UPSTREAM_HOST:own)%"), "- -");
  stream::ClusterInfo cluster;
  cluster.metadata = metadata;
  info_.cluster = &cluster;
  auto texts = std::make_shared<stream::HostTexts>();
  texts->metadata = metadata;
  stream::HostInfo host;
  host.texts = texts;
  info_.host = &host;
  EXPECT_EQ(print("%CLUSTER_METADATA(own:yes)% %UPSTREAM_METADATA(own:deep:x)%"), "true y");
  EXPECT_EQ(print("%METADATA(WHAT:own)%").substr(0, 36), "at position 0: METADATA takes ROUTE,");
  EXPECT_EQ(print("%METADATA%"), "at position 0: METADATA needs parameters");
  EXPECT_EQ(Format::compile("%METADATA(DYNAMIC:own)%")->withoutData().size(), 1u);
  // In JSON a value keeps its type.
  JsonNode root;
  root.kind = JsonNode::Kind::kObject;
  for (const char* format :
       {"%METADATA(ROUTE:own:deep)%", "%METADATA(ROUTE:own:a\"b):3%", "%METADATA(ROUTE:own:yes)% sure", "%METADATA(ROUTE:none)%"}) {
    JsonNode node;
    node.kind = JsonNode::Kind::kString;
    node.text = format;
    root.keys.push_back(std::string(1, static_cast<char>('a' + root.keys.size())));
    root.children.push_back(node);
  }
  Text out;
  JsonFormat::compile(root)->print({&request_, &response_, &trailers_, info_}, out);
  EXPECT_EQ(out.view(), "{\"a\":{\"x\":\"y\"},\"b\":\"tex\",\"c\":\"true sure\",\"d\":null}\n");
}

TEST_F(FormatTest, MalformedMetadataHasNoValues) {
  const std::string good = entry("own", entry("k", field(5, entry("x", field(3, "y")))));
  for (size_t size = 0; size < good.size(); ++size) {
    info_.route_metadata = std::string_view(good).substr(0, size);
    EXPECT_EQ(print("%METADATA(ROUTE:own:k:x)%"), "-") << size;
  }
  // A value within values, far beyond what anybody writes, is cut.
  std::string deep = field(3, "end");
  for (int i = 0; i < 30; ++i) deep = field(5, entry("k", deep));
  info_.route_metadata = deep;
  EXPECT_EQ(print("%METADATA(ROUTE:k)%"), "-");
}

TEST_F(FormatTest, TheReasonOfAnAnswerOfOurOwn) {
  EXPECT_EQ(print("%OUTRIDER_REASON%"), "-");
  info_.reason = "no_route";
  EXPECT_EQ(print("%OUTRIDER_REASON%"), "no_route");
  EXPECT_EQ(print("%OUTRIDER_REASON(x)%"), "at position 0: OUTRIDER_REASON takes no parameters");
}

TEST_F(FormatTest, HeadersHaveAlternativesAndLengths) {
  request_.headers.add("x-a", "12345");
  response_.headers.add("x-r", "r");
  trailers_.add("x-t", "t");
  EXPECT_EQ(print("%REQ(X-A)%"), "12345");
  EXPECT_EQ(print("%REQ(x-a):3%"), "123");
  EXPECT_EQ(print("%REQ(x-none?x-a):2%"), "12");
  EXPECT_EQ(print("%REQ(x-none)%"), "-");
  EXPECT_EQ(print("%REQ(x-none)%", true), "");
  EXPECT_EQ(print("%RESP(x-r)% %TRAILER(x-t)%"), "r t");
  EXPECT_EQ(print("%REQ(:method)% %REQ(:authority)% %REQ_WITHOUT_QUERY(:path)%"), "GET h.test /a");
  EXPECT_EQ(print("100%% sure"), "100% sure");
}

TEST_F(FormatTest, TimesPrintAsAsked) {
  EXPECT_EQ(print("%START_TIME%"), "2018-12-18T10:40:00.123Z");
  EXPECT_EQ(print("%START_TIME(%Y/%m/%d %H:%M:%S)%"), "2018/12/18 10:40:00");
  EXPECT_EQ(print("%START_TIME(%s.%3f)%"), "1545129600.123");
  EXPECT_EQ(print("%START_TIME(%s.%6f)%"), "1545129600.123456");
  EXPECT_EQ(print("%START_TIME(%f)%"), "123456789");
}

TEST_F(FormatTest, DurationsAreMilliseconds) {
  info_.request_end_at = info_.start + 3 * base::kMilli;
  info_.end = info_.start + 1'999'999;
  EXPECT_EQ(print("%DURATION%"), "1");
  EXPECT_EQ(print("%REQUEST_DURATION%"), "3");
  EXPECT_EQ(print("%RESPONSE_DURATION%"), "-");
  EXPECT_EQ(print("%COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)%"), "3000");
}

TEST_F(FormatTest, FlagsDetailsAndStatusOfGrpc) {
  info_.flags.set(stream::ResponseFlag::kNoRouteFound);
  info_.details = "route not found";
  EXPECT_EQ(print("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG% %RESPONSE_CODE_DETAILS%"), "NR NoRouteFound route_not_found");
  EXPECT_EQ(print("%GRPC_STATUS%"), "-");
  request_.headers.add(http::HeaderId::kContentType, "application/grpc");
  trailers_.add(http::HeaderId::kGrpcStatus, "7");
  EXPECT_EQ(print("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%"), "PermissionDenied PERMISSION_DENIED 7");
}

TEST_F(FormatTest, AServerNameCannotForgeALine) {
  connection_.hello().server_name = "a.test\n\"x";
  EXPECT_EQ(print("%REQUESTED_SERVER_NAME%"), "invalid:a.test__x");
}

TEST_F(FormatTest, WhatIsWrongIsNamedWithItsPosition) {
  EXPECT_EQ(print("ab %NOPE%"), "at position 3: unknown operator NOPE");
  EXPECT_EQ(print("%REQ%"), "at position 0: REQ needs parameters");
  EXPECT_EQ(print("%REQ(a"), "at position 0: a parameter list has no end");
  EXPECT_EQ(print("%REQ(a):x%"), "at position 0: a length is no number");
  EXPECT_EQ(print("%PROTOCOL(a)%"), "at position 0: PROTOCOL takes no parameters");
  EXPECT_EQ(print("50% off"), "at position 2: '%' begins no operator; write '%%' for a percent sign");
}

TEST_F(FormatTest, OperatorsWithoutDataAreKnown) {
  const auto compiled = Format::compile("%DYNAMIC_METADATA(a:b)%");
  ASSERT_TRUE(compiled.ok());
  EXPECT_EQ(compiled->withoutData(), std::vector<std::string>{"DYNAMIC_METADATA"});
  EXPECT_EQ(print("%DYNAMIC_METADATA(a:b)%"), "-");
}

TEST_F(FormatTest, JsonKeepsTypesAndEscapes) {
  info_.response_code = 404;
  request_.headers.add("x-a", "say \"hi\"\n\xff");
  JsonNode root;
  root.kind = JsonNode::Kind::kObject;
  root.keys = {"text", "code", "none", "mix", "list"};
  JsonNode list;
  list.kind = JsonNode::Kind::kList;
  JsonNode number;
  number.kind = JsonNode::Kind::kNumber;
  number.number = 1.5;
  list.children = {number, text("%REQ(:method)%")};
  root.children = {text("%REQ(x-a)%"), text("%RESPONSE_CODE%"), text("%REQ(x-none)%"), text("m %RESPONSE_CODE%"), list};
  EXPECT_EQ(json(root), "{\"code\":404,\"list\":[1.5,\"GET\"],\"mix\":\"m 404\",\"none\":null,\"text\":\"say \\\"hi\\\"\\n\\u00ff\"}\n");
}

TEST_F(FormatTest, JsonOmitsWhatIsMissingAsEnvoyDoes) {
  using Kind = JsonNode::Kind;
  const auto list = [](std::vector<JsonNode> items) {
    JsonNode node;
    node.kind = Kind::kList;
    node.children = std::move(items);
    return node;
  };
  const auto object = [](std::vector<std::string> keys, std::vector<JsonNode> items) {
    JsonNode node;
    node.kind = Kind::kObject;
    node.keys = std::move(keys);
    node.children = std::move(items);
    return node;
  };
  info_.has_protocol = true;
  const JsonNode none = text("%REQ(none)%");
  const JsonNode root = object({"a", "b", "c", "d", "g", "y", "z", "zz"},
                               {object({"n"}, {none}), list({none}), list({}), object({"e"}, {object({"f"}, {none})}),
                                list({object({"n"}, {none}), object({"p"}, {text("%PROTOCOL%")}), list({})}),
                                text("%REQ(none)%%REQ(none)%"), text(""), text("%LOCAL_REPLY_BODY%")});
  EXPECT_EQ(json(root, true), "{\"b\":[],\"c\":[],\"g\":[{\"p\":\"HTTP/1.1\"},[]],\"y\":\"\",\"z\":\"\",\"zz\":\"\"}\n");
  EXPECT_EQ(json(root),
            "{\"a\":{\"n\":null},\"b\":[null],\"c\":[],\"d\":{\"e\":{\"f\":null}},\"g\":[{\"n\":null},{\"p\":\"HTTP/1.1\"},[]],"
            "\"y\":\"--\",\"z\":\"\",\"zz\":\"\"}\n");
  EXPECT_EQ(json(object({"n"}, {none}), true), "{}\n");
}

TEST_F(FormatTest, AJsonProblemNamesItsLeaf) {
  JsonNode root;
  root.kind = JsonNode::Kind::kObject;
  root.keys = {"a"};
  root.children = {text("%NOPE%")};
  EXPECT_EQ(json(root), "a: at position 0: unknown operator NOPE");
}

TEST_F(FormatTest, OperatorsHaveTheirOtherNames) {
  request_.headers.add("x-a", "1");
  response_.headers.add("x-b", "2");
  trailers_.add("x-c", "3");
  EXPECT_EQ(print("%REQUEST_HEADER(X-A)% %RESPONSE_HEADER(X-B)% %RESPONSE_TRAILER(X-C)%"), "1 2 3");
}

TEST_F(FormatTest, PathsComeWithAndWithoutQueryAndAsTheClientSentThem) {
  EXPECT_EQ(print("%PATH% %PATH(NQ)% %PATH(WQ:PATH)% %PATH(NQ:ORIG)%"), "/a?b=c /a /a?b=c -");
  request_.headers.add("x-envoy-original-path", "/before?q");
  EXPECT_EQ(print("%PATH% %PATH(NQ)% %PATH(WQ:PATH)% %PATH(WQ:ORIG):4%"), "/before?q /before /a?b=c /bef");
  EXPECT_EQ(print("%PATH(XX)%"), "at position 0: PATH takes WQ or NQ");
}

TEST_F(FormatTest, QueryParametersAreFoundByName) {
  request_.path = "/a?one=1&two&three=x%20y#end";
  EXPECT_EQ(print("%QUERY_PARAM(one)% %QUERY_PARAM(two)% %QUERY_PARAM(three):2% %QUERY_PARAM(four)%"), "1 - x% -");
  EXPECT_EQ(print("%QUERY_PARAMS%"), "one=1&two&three=x%20y");
  EXPECT_EQ(print("%QUERY_PARAMS(DECODED)%"), "one=1&two&three=x y");
  request_.path = "/a?x=%0a%00";  // what would break a line stays as it is
  EXPECT_EQ(print("%QUERY_PARAMS(DECODED)%"), "x=%0a%00");
  request_.path = "/a";
  EXPECT_EQ(print("%QUERY_PARAMS% %QUERY_PARAM(x)%"), "- -");
}

TEST_F(FormatTest, SizesOfHeadsAreNamesAndValues) {
  request_.headers.add("x-a", "12345");
  response_.headers.add("x-b", "1");
  trailers_.add("t", "22");
  //            :method GET    :path /a?b=c   :authority h.test   :scheme http   x-a 12345
  const int request = 7 + 3 + 5 + 6 + 10 + 6 + 7 + 4 + 3 + 5;
  EXPECT_EQ(print("%REQUEST_HEADERS_BYTES% %RESPONSE_HEADERS_BYTES% %RESPONSE_TRAILERS_BYTES%"),
            std::to_string(request) + " " + std::to_string(7 + 3 + 3 + 1) + " 3");
}

TEST_F(FormatTest, EachUniqueIdIsAnother) {
  const std::string one = print("%UNIQUE_ID%"), two = print("%UNIQUE_ID%");
  EXPECT_EQ(one.size(), 36u);
  EXPECT_EQ(one[14], '4');
  EXPECT_NE(one, two);
}

TEST_F(FormatTest, TheUpstreamsAddressIsOnlyThereWithAConnection) {
  stream::HostInfo host;
  host.address = *base::Address::parseIp("10.0.0.1", 80);
  info_.host = &host;
  EXPECT_EQ(print("%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_PORT%"), "10.0.0.1:80 - -");
  info_.upstream_local = *base::Address::parseIp("10.0.0.2", 999);
  EXPECT_EQ(print("%UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_PORT%"), "10.0.0.1:80 80");
}

TEST_F(FormatTest, WireBytesOfHttp2AreNotKnown) {
  info_.upstream_wire_sent = 10;
  EXPECT_EQ(print("%UPSTREAM_WIRE_BYTES_SENT%"), "10");
  info_.has_upstream_protocol = true;
  info_.upstream_protocol = http::Protocol::kHttp2;
  EXPECT_EQ(print("%UPSTREAM_WIRE_BYTES_SENT%"), "-");
}

TEST_F(FormatTest, AGrpcStatusByNumberIsANumberInJson) {
  request_.headers.add("content-type", "application/grpc");
  trailers_.add("grpc-status", "5");
  EXPECT_EQ(json(text("%GRPC_STATUS(NUMBER)%")), "5\n");
  EXPECT_EQ(json(text("%GRPC_STATUS%")), "\"NotFound\"\n");
}

}  // namespace
}  // namespace outrider::format
