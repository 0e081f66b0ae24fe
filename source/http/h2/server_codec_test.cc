// What a client may say and what it gets for the rest: raw frames against the server codec.
// "matrix: NNN" names the row of the security matrix that a case stands for.
#include <gtest/gtest.h>

#include "source/http/h2/harness.h"

namespace outrider::http::h2::testing {
namespace {

constexpr std::string_view kInvalidField = "http2.invalid.header.field";
constexpr std::string_view kInvalidMessage = "http2.violation.of.messaging.rule";

Fields without(std::string_view name) {
  Fields out = request();
  std::erase_if(out, [&](const auto& field) { return field.first == name; });
  return out;
}
Fields changed(std::string_view name, std::string_view value) {
  Fields out = request();
  for (auto& field : out) {
    if (field.first == name) field.second = value;
  }
  return out;
}
Fields plus(const Fields& more) { return with(request(), more); }

struct Bad {
  const char* row;
  Fields fields;
  std::string_view details;
};

// Each costs its stream and nothing else.
TEST(H2Server, AMalformedHeadIsResetAndTheConnectionGoesOn) {
  using namespace std::string_literals;
  const Bad cases[] = {
      {"157 no-method", without(":method"), kInvalidMessage},
      {"157 no-scheme", without(":scheme"), kInvalidMessage},
      {"157 no-path", without(":path"), kInvalidMessage},
      {"158 no-authority", without(":authority"), kInvalidMessage},
      {"160 dup-path", with(request(), {{":path", "/b"}}), kInvalidField},
      {"160 dup-auth", with(request(), {{":authority", "b"}}), kInvalidField},
      {"161 pseudo-after", with(with({}, {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"x", "y"}}), {{":authority", "h"}}),
       kInvalidField},
      {"161 pseudo-unk", plus({{":foo", "bar"}}), kInvalidField},
      {"161 pseudo-status", plus({{":status", "200"}}), kInvalidField},
      {"162 path-empty", changed(":path", ""), kInvalidField},
      {"162 path-noslash", changed(":path", "a"), kInvalidMessage},
      {"162 path-star-get", changed(":path", "*"), kInvalidMessage},
      {"162 path-abs", changed(":path", "http://h/a"), kInvalidMessage},
      {"163 path-space", changed(":path", "/a b"), kInvalidField},
      {"163 path-crlf", changed(":path", "/a\r\nx: y"), kInvalidField},
      {"165 path-hi", changed(":path", "/\xff"), kInvalidField},
      {"166 method-space", changed(":method", "GE T"), kInvalidField},
      {"166 method-crlf", changed(":method", "GET\r\n"), kInvalidField},
      {"168 scheme-bad", changed(":scheme", "ht tp"), kInvalidField},
      {"169 scheme-ftp", changed(":scheme", "ftp"), kInvalidField},
      {"170 auth-userinfo", changed(":authority", "user@h"), kInvalidField},
      {"170 auth-space", changed(":authority", "h h"), kInvalidField},
      {"170 auth-slash", changed(":authority", "h/x"), kInvalidField},
      {"170 auth-empty", changed(":authority", ""), kInvalidField},
      {"170 auth-port", changed(":authority", "h:99999"), kInvalidField},
      {"170 auth-bracket", changed(":authority", "[::1"), kInvalidField},
      {"170 host-bad", with(without(":authority"), {{"host", "a b"}}), kInvalidField},
      {"159 host-other", plus({{"host", "other"}}), kInvalidField},
      {"171 hdr-upper", plus({{"X-Upper", "1"}}), kInvalidField},
      {"172 hdr-name-space", plus({{"x y", "1"}}), kInvalidField},
      {"172 hdr-name-colon", plus({{"x:y", "1"}}), kInvalidField},
      {"172 hdr-name-crlf", plus({{"x\r\ny", "1"}}), kInvalidField},
      {"172 hdr-name-nul", plus({{"x\0y"s, "1"}}), kInvalidField},
      {"172 hdr-name-hi", plus({{"x\xff", "1"}}), kInvalidField},
      {"172 hdr-name-empty", plus({{"", "1"}}), kInvalidField},
      {"173 hdr-val-cr", plus({{"x", "a\rb"}}), kInvalidField},
      {"173 hdr-val-lf", plus({{"x", "a\nb"}}), kInvalidField},
      {"173 hdr-val-crlf", plus({{"x", "a\r\nb: c"}}), kInvalidField},
      {"173 hdr-val-nul", plus({{"x", "a\0b"s}}), kInvalidField},
      {"174 hdr-val-ctl", plus({{"x", "a\1b"}}), kInvalidField},
      {"174 hdr-val-del", plus({{"x", "a\x7f"}}), kInvalidField},
      {"175 hdr-val-ws front", plus({{"x", " a"}}), kInvalidField},
      {"175 hdr-val-ws back", plus({{"x", "a\t"}}), kInvalidField},
      {"176 cs-connection", plus({{"connection", "close"}}), kInvalidField},
      {"176 cs-keep-alive", plus({{"keep-alive", "1"}}), kInvalidField},
      {"176 cs-proxy-connection", plus({{"proxy-connection", "close"}}), kInvalidField},
      {"176 cs-upgrade", plus({{"upgrade", "h2c"}}), kInvalidField},
      {"176 cs-transfer-encoding", plus({{"transfer-encoding", "chunked"}}), kInvalidField},
      {"178 te-gzip", plus({{"te", "gzip"}}), kInvalidField},
      {"180 cl-endstream", plus({{"content-length", "5"}}), kInvalidMessage},
      {"181 cl-dup", plus({{"content-length", "0"}, {"content-length", "0"}}), kInvalidField},
      {"181 cl-dup-diff", plus({{"content-length", "0"}, {"content-length", "1"}}), kInvalidField},
      {"181 cl-bad", plus({{"content-length", "+2"}}), kInvalidField},
      {"183 connect-path", {{":method", "CONNECT"}, {":authority", "h:1"}, {":path", "/"}}, kInvalidMessage},
      {"183 connect-ext",
       {{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", "/"}, {":authority", "h"}},
       kInvalidField},
      {"183 protocol on GET", plus({{":protocol", "websocket"}}), kInvalidField},
      {"086 underscore twin", plus({{"content_length", "5"}}), "http2.unexpected_underscore"},
      {"086 underscore twin of identity", plus({{"x_forwarded_for", "1.1.1.1"}}), "http2.unexpected_underscore"},
  };
  for (const Bad& each : cases) {
    SCOPED_TRACE(std::string("matrix: ") + each.row);
    RawClient peer;
    peer.send(headersFrame(1, each.fields));
    ASSERT_EQ(peer.server.count(), 1u);
    Exchange& exchange = peer.server.at(0);
    EXPECT_EQ(exchange.head, nullptr);
    EXPECT_EQ(exchange.fault, each.details);
    EXPECT_EQ(exchange.status, 400);
    EXPECT_TRUE(exchange.ended);
    EXPECT_EQ(exchange.reason, ResetReason::kProtocolError);
    EXPECT_TRUE(peer.wrote("RST 1 PROTOCOL_ERROR\n")) << peer.wire;
    EXPECT_FALSE(peer.wrote("GOAWAY")) << peer.wire;
    EXPECT_EQ(peer.server.counters.rx_messaging_error, 1u);
    EXPECT_EQ(peer.server.counters.tx_reset, 1u);
    EXPECT_EQ(peer.server.codec->openStreams(), 0u);
    // The next one is served, and the compression state is in step.
    peer.send(headersFrame(3, request("GET", "/next")));
    ASSERT_EQ(peer.server.count(), 2u);
    EXPECT_EQ(peer.server.at(1).text, "GET http://h/next\n");
  }
}

TEST(H2Server, WhatLooksOddButIsRightIsServed) {
  struct Good {
    const char* row;
    Fields fields;
    std::string text;
  };
  const Good cases[] = {
      {"159 host-only", with(without(":authority"), {{"host", "h"}}), "GET http://h/\n"},
      {"159 host-eq-auth", plus({{"host", "H"}}), "GET http://h/\n"},
      {"164 path-frag", changed(":path", "/a#b"), "GET http://h/a#b\n"},  // the path rules above the codec answer 400
      {"167 method-lower", changed(":method", "get"), "get http://h/\n"},
      {"167 method-custom", changed(":method", "FOO"), "FOO http://h/\n"},
      {"169 scheme-https-plain", changed(":scheme", "https"), "GET http://h/\n"},
      {"169 scheme-upper", changed(":scheme", "HTTP"), "GET http://h/\n"},
      {"177 cs-http2-settings", plus({{"http2-settings", "AAMAAABk"}}), "GET http://h/\n"},
      {"178 te-trailers", plus({{"te", "trailers"}}), "GET http://h/\nte=trailers\n"},
      {"084 high bytes in a value", plus({{"x", "a\xff"}}), "GET http://h/\nx=a\xff\n"},
      {"086 underscore", plus({{"x_y", "1"}}), "GET http://h/\nx_y=1\n"},
      {"162 options", {{":method", "OPTIONS"}, {":scheme", "http"}, {":path", "*"}, {":authority", "h"}}, "OPTIONS http://h*\n"},
      {"170 ipv6", changed(":authority", "[::1]:80"), "GET http://[::1]:80/\n"},
      {"cookie crumbs", plus({{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}, {"cookie", "c=3"}}),
       "GET http://h/\ncookie=a=1; b=2; c=3\nx=y\n"},
      {"empty value", plus({{"x", ""}}), "GET http://h/\nx=\n"},
  };
  for (const Good& each : cases) {
    SCOPED_TRACE(std::string("matrix: ") + each.row);
    RawClient peer;
    peer.send(headersFrame(1, each.fields));
    ASSERT_EQ(peer.server.count(), 1u);
    EXPECT_EQ(peer.server.at(0).text, each.text);
    EXPECT_TRUE(peer.server.at(0).complete);
    EXPECT_EQ(peer.wire.find("RST"), std::string::npos) << peer.wire;
  }
}

// matrix: 086
TEST(H2Server, UnderscoresAreTreatedAsConfigured) {
  Settings settings;
  settings.underscores = Underscores::kDrop;
  RawClient drops(settings);
  drops.send(headersFrame(1, plus({{"x_y", "1"}, {"z", "2"}})));
  EXPECT_EQ(drops.server.at(0).text, "GET http://h/\nz=2\n");
  EXPECT_EQ(drops.server.counters.dropped_headers_with_underscores, 1u);
  settings.underscores = Underscores::kReject;
  RawClient rejects(settings);
  rejects.send(headersFrame(1, plus({{"x_y", "1"}})));
  EXPECT_EQ(rejects.server.at(0).fault, "http2.unexpected_underscore");
  EXPECT_EQ(rejects.server.counters.requests_rejected_with_underscores_in_headers, 1u);
}

TEST(H2Server, AMalformedMessageMayCostTheConnectionIfAskedFor) {
  Settings settings;
  settings.stream_error_on_invalid_http_message = false;
  RawClient peer(settings);
  EXPECT_EQ(peer.send(headersFrame(1, plus({{"connection", "close"}}))), Feed::kFinished);
  EXPECT_TRUE(peer.wrote("GOAWAY 1 PROTOCOL_ERROR")) << peer.wire;
  EXPECT_EQ(peer.server.error, kInvalidField);
  EXPECT_TRUE(peer.server.at(0).ended);
  EXPECT_TRUE(peer.server.codec->finished());
}

// matrix: 179
TEST(H2Server, ABodyThatContradictsItsLengthIsReset) {
  for (const bool too_long : {true, false}) {
    RawClient peer;
    peer.send(headersFrame(1, plus({{"content-length", "5"}}), false));
    peer.send(dataFrame(1, too_long ? "123456" : "1234", true));
    EXPECT_TRUE(peer.wrote("RST 1 PROTOCOL_ERROR\n")) << peer.wire;
    EXPECT_FALSE(peer.server.at(0).complete);
    EXPECT_EQ(peer.server.at(0).reason, ResetReason::kProtocolError);
    EXPECT_EQ(peer.server.counters.rx_messaging_error, 1u);
  }
}

// matrix: 182
TEST(H2Server, TrailersFollowTheirRules) {
  const auto run = [](const Fields& trailers, bool last = true) {
    auto peer = std::make_unique<RawClient>();
    peer->send(headersFrame(1, request("POST"), false));
    peer->send(dataFrame(1, "body"));
    peer->send(headersFrame(1, trailers, last));
    return peer;
  };
  auto plain = run({{"x-sum", "1"}});
  EXPECT_EQ(plain->server.at(0).body, "body");
  EXPECT_EQ(plain->server.at(0).trailers, "x-sum=1\n");
  EXPECT_TRUE(plain->server.at(0).complete);
  for (const Fields& bad : std::vector<Fields>{{{":path", "/"}},
                                               {{"te", "trailers"}},
                                               {{"content-length", "4"}},
                                               {{"host", "h"}},
                                               {{"authorization", "x"}},
                                               {{"transfer-encoding", "chunked"}}}) {
    auto refused = run(bad);
    EXPECT_TRUE(refused->wrote("RST 1 PROTOCOL_ERROR\n")) << bad[0].first << refused->wire;
    EXPECT_EQ(refused->server.at(0).trailers, "");
    EXPECT_FALSE(refused->server.at(0).complete);
    EXPECT_EQ(refused->server.at(0).reason, ResetReason::kProtocolError);
  }
  auto open = run({{"x-sum", "1"}}, false);
  EXPECT_TRUE(open->wrote("RST 1 PROTOCOL_ERROR\n") || open->wrote("GOAWAY")) << open->wire;
  EXPECT_FALSE(open->server.at(0).complete);
}

// matrix: 184, 185, 187
TEST(H2Server, AHeadOverALimitIsAnswered431) {
  Fields many = request();
  for (int i = 0; i < 120; ++i) many.emplace_back("x-" + std::to_string(i), "v");
  Fields cookies = request();
  for (int i = 0; i < 200; ++i) cookies.emplace_back("cookie", "a=" + std::to_string(i));
  Fields big = request();
  for (int i = 0; i < 10; ++i) big.emplace_back("x-" + std::to_string(i), std::string(7000, 'v'));
  const std::pair<Fields, std::string_view> cases[] = {
      {many, "http2.too_many_headers"}, {cookies, "http2.too_many_headers"}, {big, "http2.header_list_size_too_large"}};
  for (const auto& [fields, details] : cases) {
    SCOPED_TRACE(std::string(details));
    for (const bool last : {true, false}) {
      RawClient peer;
      const std::string bytes = block(fields);
      std::string wire;
      for (size_t at = 0; at < bytes.size(); at += 16000) {
        const bool ends = at + 16000 >= bytes.size();
        wire += frame(at == 0 ? NGHTTP2_HEADERS : NGHTTP2_CONTINUATION, (ends ? kEndHeaders : 0) | (at == 0 && last ? kEndStream : 0), 1,
                      bytes.substr(at, 16000));
      }
      peer.send(wire);
      EXPECT_EQ(peer.server.at(0).head, nullptr);
      EXPECT_EQ(peer.server.at(0).status, 431);
      EXPECT_EQ(peer.server.at(0).fault, details);
      EXPECT_EQ(peer.server.at(0).reason, ResetReason::kOverflow);
      EXPECT_TRUE(peer.wrote("HEADERS 1 end :status=431 content-length=0\n")) << peer.wire;
      EXPECT_EQ(peer.wrote("RST 1 NO_ERROR\n"), !last) << peer.wire;
      EXPECT_FALSE(peer.wrote("GOAWAY"));
      EXPECT_EQ(peer.server.counters.header_overflow, 1u);
      peer.send(headersFrame(3, request()));
      EXPECT_EQ(peer.server.at(1).text, "GET http://h/\n");
    }
  }
}

// matrix: 185 (within the limit)
TEST(H2Server, AHeadJustBelowTheLimitsIsServed) {
  Fields fields = request();
  for (int i = 0; i < 90; ++i) fields.emplace_back("x-" + std::to_string(i), std::string(600, 'v'));
  const std::string bytes = block(fields);
  RawClient peer;
  std::string wire = frame(NGHTTP2_HEADERS, kEndStream, 1, bytes.substr(0, 16000));
  for (size_t at = 16000; at < bytes.size(); at += 16000) {
    wire += frame(NGHTTP2_CONTINUATION, at + 16000 >= bytes.size() ? kEndHeaders : 0, 1, bytes.substr(at, 16000));
  }
  peer.send(wire);
  ASSERT_NE(peer.server.at(0).head, nullptr) << peer.wire;
  EXPECT_EQ(peer.server.at(0).head->headers.count(), 90u);
  EXPECT_EQ(peer.server.at(0).head->headers.get("x-89").size(), 600u);
}

// matrix: 187
TEST(H2Server, ACompressionBombCostsItsStreamAndThenTheConnection) {
  RawClient peer;
  // One entry of 3 KB put into the table, then named by one byte each.
  std::string bytes = block(request());
  bytes += std::string(1, '\x40') + literal("x-bomb") + literal(std::string(3000, 'b'));
  const std::string head = bytes;
  peer.send(frame(NGHTTP2_HEADERS, kEndStream, 1, head + std::string(12000, '\xbe')));
  EXPECT_TRUE(peer.wrote("GOAWAY 1 ENHANCE_YOUR_CALM")) << peer.wire;
  EXPECT_EQ(peer.server.error, "http2.header_list_size_too_large");
  EXPECT_LT(peer.server.at(0).arena().held(), 256u * 1024);
  // A smaller one: only its stream.
  RawClient small;
  small.send(frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 1, head + std::string(40, '\xbe')));
  EXPECT_TRUE(small.wrote("HEADERS 1 end :status=431")) << small.wire;
  EXPECT_FALSE(small.wrote("GOAWAY"));
}

TEST(H2Server, TheOwnerMayAnswerBeforeTheHeadIsWhole) {
  // matrix: 219
  RawClient peer;
  peer.send(frame(NGHTTP2_HEADERS, kEndStream, 1, block(request())));
  ASSERT_EQ(peer.server.count(), 1u);
  Exchange& exchange = peer.server.at(0);
  EXPECT_EQ(exchange.head, nullptr);
  exchange.reply(408, {}, "");
  peer.collect();
  EXPECT_TRUE(peer.wrote("HEADERS 1 end :status=408\n")) << peer.wire;
  EXPECT_TRUE(peer.wrote("RST 1 NO_ERROR\n")) << peer.wire;
  EXPECT_TRUE(exchange.ended);
  EXPECT_EQ(exchange.reason, ResetReason::kNone);
}

TEST(H2Server, AClientThatWantsNoAnswerHasGivenUp) {
  for (const uint32_t code : {NGHTTP2_NO_ERROR, NGHTTP2_CANCEL}) {
    RawClient peer;
    peer.send(headersFrame(1, request()) + resetFrame(1, code));
    EXPECT_TRUE(peer.server.at(0).ended);
    EXPECT_EQ(peer.server.at(0).reason, ResetReason::kRemoteReset);
  }
}

TEST(H2Server, ABrokenAnswerShowsWhatCameOfIt) {
  RawClient peer;
  peer.send(headersFrame(1, request()) + headersFrame(3, request()));
  peer.server.at(0).reply(200, {}, "half", false);
  peer.server.at(0).reset(ResetReason::kRemoteReset);
  peer.server.at(1).reply(200, {}, "ok");
  peer.collect();
  EXPECT_TRUE(peer.wrote("HEADERS 1 :status=200\n")) << peer.wire;
  EXPECT_TRUE(peer.wrote("DATA 1 4\n")) << peer.wire;
  EXPECT_TRUE(peer.wrote("RST 1 INTERNAL_ERROR\n")) << peer.wire;
  EXPECT_TRUE(peer.wrote("DATA 3 2 end\n")) << peer.wire;
  EXPECT_EQ(peer.server.codec->openStreams(), 0u);
}

TEST(H2Server, ATimeoutCancels) {
  // matrix: 220
  Settings settings;
  RawClient peer(settings, false);
  peer.send(kPreface + settingsFrame({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}));
  peer.send(headersFrame(1, request()));
  Exchange& exchange = peer.server.at(0);
  EXPECT_EQ(exchange.reply(200, {}, std::string(200000, 'x'), false), Room::kFull);
  peer.collect();
  EXPECT_FALSE(peer.wrote("DATA"));
  EXPECT_EQ(exchange.rooms, 0);
  const size_t blocks = base::Block::liveOnThisThread();
  exchange.reset(ResetReason::kTimeout);
  EXPECT_EQ(peer.server.counters.tx_flush_timeout, 1u);
  EXPECT_LT(base::Block::liveOnThisThread(), blocks);  // what waited is let go at once
  peer.collect();
  EXPECT_TRUE(peer.wrote("RST 1 CANCEL\n")) << peer.wire;
  EXPECT_EQ(peer.server.codec->openStreams(), 0u);
}

TEST(H2Server, SaysWhatItAllowsAndNoMore) {
  Settings settings;
  settings.allow_connect = true;
  ServerSide server(settings);
  base::Buffer out;
  server.codec->fill(out);
  FrameReader reader;
  const std::vector<Frame> frames = reader.read(out);
  ASSERT_GE(frames.size(), 2u);
  std::map<int, uint32_t> entries;
  for (size_t at = 0; at + 6 <= frames[0].payload.size(); at += 6) {
    entries[frames[0].payload[at + 1]] = get32(std::string_view(frames[0].payload).substr(at + 2));
  }
  EXPECT_EQ(entries, (std::map<int, uint32_t>{{3, 100}, {4, 262144}, {8, 1}, {9, 1}}));
  EXPECT_EQ(frames[1].type, NGHTTP2_WINDOW_UPDATE);
  EXPECT_EQ(get32(frames[1].payload), 1024u * 1024 - 65535);
}

// matrix: 216
TEST(H2Server, AClientThatSaysGoAwayIsServedToTheEnd) {
  RawClient peer;
  peer.send(headersFrame(1, request()) + frame(NGHTTP2_GOAWAY, 0, 0, number(0) + number(0)) + headersFrame(3, request()));
  ASSERT_EQ(peer.server.count(), 2u);
  EXPECT_FALSE(peer.server.codec->finished());
  peer.server.at(0).reply(200, {}, "a");
  peer.server.at(1).reply(200, {}, "b");
  peer.collect();
  EXPECT_TRUE(peer.server.at(0).ended);
  EXPECT_TRUE(peer.server.at(1).ended);
  // Its GOAWAY spoke of streams that we would open; it may go on until it leaves.
  peer.send(headersFrame(5, request()));
  ASSERT_EQ(peer.server.count(), 3u) << peer.wire << peer.server.error;
  peer.server.at(2).reply(200, {}, "c");
  peer.collect();
  EXPECT_TRUE(peer.server.at(2).ended);
  EXPECT_FALSE(peer.server.codec->finished());
  peer.server.codec->onPeerFinished();
  EXPECT_TRUE(peer.server.codec->finished());
}

TEST(H2Server, WindowComesBackAtHalfAWindow) {
  RawClient peer;
  peer.takeWire();
  peer.send(settingsFrame());
  peer.send(headersFrame(1, request("POST"), false));
  peer.send(frame(NGHTTP2_SETTINGS, kAck, 0, ""));
  peer.takeWire();
  for (int i = 0; i < 8; ++i) peer.send(dataFrame(1, std::string(16000, 'x')));
  EXPECT_FALSE(peer.wrote("WINDOW 1"));
  peer.send(dataFrame(1, std::string(16000, 'x')));
  EXPECT_TRUE(peer.wrote("WINDOW 1 144000\n")) << peer.wire;
  peer.takeWire();
  peer.server.at(0).stream->pause(true);
  for (int i = 0; i < 16; ++i) peer.send(dataFrame(1, std::string(16000, 'x')));
  EXPECT_EQ(peer.wire, "");
  peer.server.at(0).stream->pause(false);
  base::Buffer none;
  peer.server.codec->feed(none);
  peer.collect();
  EXPECT_TRUE(peer.wrote("WINDOW 1 256000\n")) << peer.wire;
}

// matrix: 196
TEST(H2Server, ManySmallPiecesAreKeptTogether) {
  RawClient peer;
  peer.send(headersFrame(1, request("POST"), false));
  peer.server.at(0).stream->pause(true);
  const size_t before = base::Block::liveOnThisThread();
  for (int i = 0; i < 2000; ++i) peer.feedOnly(dataFrame(1, "x"));
  EXPECT_LE(base::Block::liveOnThisThread() - before, 4u);
  peer.server.at(0).stream->pause(false);
  peer.feedOnly(dataFrame(1, "", true));
  EXPECT_EQ(peer.server.at(0).body, std::string(2000, 'x'));
  EXPECT_TRUE(peer.server.at(0).complete);
}

TEST(H2Server, AnOwnerThatLeftItsResponseToGoOutHearsNothingMore) {
  Settings settings;
  settings.stream_buffer_limit = 100;
  RawClient peer(settings);
  peer.send(headersFrame(1, request("POST"), false));
  Exchange& exchange = peer.server.at(0);
  EXPECT_EQ(exchange.reply(200, {}, std::string(1000, 'a')), Room::kFull);
  exchange.reset(ResetReason::kNone);  // complete: it goes out first
  peer.collect();
  EXPECT_TRUE(peer.wrote("DATA 1 1000 end"));
  EXPECT_EQ(exchange.rooms, 0);
}

}  // namespace
}  // namespace outrider::http::h2::testing
