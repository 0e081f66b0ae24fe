// What a server may answer and what it gets for the rest: raw frames against the client codec.
// "matrix: NNN" names the row of the security matrix that a case stands for, seen from the other end.
#include <gtest/gtest.h>

#include "source/http/h2/harness.h"

namespace outrider::http::h2::testing {
namespace {

constexpr std::string_view kInvalidField = "http2.invalid.header.field";
constexpr std::string_view kInvalidMessage = "http2.violation.of.messaging.rule";

Fields ok(const Fields& more = {}) { return with({{":status", "200"}}, more); }

TEST(H2Client, AnAnswerIsDelivered) {
  RawServer peer;
  Call& call = peer.client.get("/a", {{"x", "y"}});
  peer.collect();
  EXPECT_TRUE(peer.wrote("HEADERS 1 end :method=GET :scheme=http :path=/a :authority=host.test x=y\n")) << peer.wire;
  peer.send(headersFrame(1, ok({{"set-cookie", "a=1"}, {"set-cookie", "b=2"}}), false) + dataFrame(1, "one") + dataFrame(1, "two") +
            headersFrame(1, {{"t", "u"}}));
  EXPECT_EQ(call.status, 200);
  EXPECT_EQ(call.text, "set-cookie=a=1\nset-cookie=b=2\n");
  EXPECT_EQ(call.body, "onetwo");
  EXPECT_EQ(call.trailers, "t=u\n");
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.reason, ResetReason::kNone);
  EXPECT_EQ(peer.client.done, 1);
}

TEST(H2Client, FieldsOfTheConnectionDoNotGoOut) {
  RawServer peer;
  peer.client.get(
      "/", {{"connection", "x"}, {"keep-alive", "1"}, {"transfer-encoding", "chunked"}, {"te", "gzip"}, {"host", "other"}, {"y", "z"}});
  peer.collect();
  EXPECT_TRUE(peer.wrote("HEADERS 1 end :method=GET :scheme=http :path=/ :authority=host.test y=z\n")) << peer.wire;
}

// matrix: 161, 171, 172, 173, 174, 175, 176, 178, 179, 181, 182
TEST(H2Client, AMalformedAnswerIsResetAndTheConnectionGoesOn) {
  using namespace std::string_literals;
  struct Bad {
    const char* what;
    std::string bytes;
    std::string_view details;
  };
  std::string hints;
  for (int i = 0; i < 65; ++i) hints += headersFrame(1, {{":status", "103"}}, false);
  const auto head = [](const Fields& fields) { return headersFrame(1, fields); };
  const Bad cases[] = {
      {"no status", head({{"x", "y"}}), kInvalidMessage},
      {"two statuses", head({{":status", "200"}, {":status", "200"}}), kInvalidField},
      {"short status", head({{":status", "20"}}), kInvalidField},
      {"status in letters", head({{":status", "abc"}}), kInvalidField},
      {"status 099", head({{":status", "099"}}), kInvalidField},
      {"status 600", head({{":status", "600"}}), kInvalidField},
      {"status 101", head({{":status", "101"}}), kInvalidField},
      {"status behind a field", head({{"x", "y"}, {":status", "200"}}), kInvalidField},
      {"pseudo field of a request", head(ok({{":path", "/"}})), kInvalidField},
      {"unknown pseudo field", head(ok({{":foo", "x"}})), kInvalidField},
      {"upper case", head(ok({{"X-Y", "1"}})), kInvalidField},
      {"space in a name", head(ok({{"x y", "1"}})), kInvalidField},
      {"line end in a value", head(ok({{"x", "a\r\nb: c"}})), kInvalidField},
      {"nul in a value", head(ok({{"x", "a\0b"s}})), kInvalidField},
      {"control in a value", head(ok({{"x", "a\1"}})), kInvalidField},
      {"space around a value", head(ok({{"x", " a "}})), kInvalidField},
      {"connection", head(ok({{"connection", "close"}})), kInvalidField},
      {"transfer-encoding", head(ok({{"transfer-encoding", "chunked"}})), kInvalidField},
      {"upgrade", head(ok({{"upgrade", "h2c"}})), kInvalidField},
      {"bad length", head(ok({{"content-length", "+2"}})), kInvalidField},
      {"two lengths", head(ok({{"content-length", "0"}, {"content-length", "0"}})), kInvalidField},
      {"length without body", head(ok({{"content-length", "2"}})), kInvalidMessage},
      {"body over the length", headersFrame(1, ok({{"content-length", "2"}}), false) + dataFrame(1, "abc", true), kInvalidMessage},
      {"body under the length", headersFrame(1, ok({{"content-length", "2"}}), false) + dataFrame(1, "a", true), kInvalidMessage},
      {"hint that ends", head({{":status", "103"}}), kInvalidMessage},
      {"too many hints", hints, kInvalidField},
      {"trailers with a pseudo field", headersFrame(1, ok(), false) + head({{":status", "200"}}), kInvalidField},
      {"trailers with a length", headersFrame(1, ok(), false) + head({{"content-length", "0"}}), kInvalidField},
      {"trailers that do not end", headersFrame(1, ok(), false) + headersFrame(1, {{"x", "y"}}, false), kInvalidMessage},
  };
  for (const Bad& each : cases) {
    SCOPED_TRACE(each.what);
    for (const bool slow : {false, true}) {
      RawServer peer;
      Call& call = peer.client.get("/");
      Call& other = peer.client.get("/other");
      peer.collect();
      if (slow) {
        for (const char c : each.bytes) peer.send(std::string_view(&c, 1));
      } else {
        peer.send(each.bytes);
      }
      EXPECT_TRUE(call.ended);
      EXPECT_FALSE(call.complete);
      EXPECT_EQ(call.reason, ResetReason::kProtocolError);
      EXPECT_EQ(call.details, each.details);
      EXPECT_TRUE(peer.wrote("RST 1 PROTOCOL_ERROR\n")) << peer.wire;
      EXPECT_EQ(peer.client.error, "");
      EXPECT_EQ(peer.client.counters.rx_messaging_error, 1u);
      peer.send(headersFrame(3, ok()));
      EXPECT_TRUE(other.complete);
      EXPECT_EQ(other.reason, ResetReason::kNone);
    }
  }
}

// matrix: 184, 185, 187
TEST(H2Client, AHeadOverALimitIsCancelled) {
  Settings settings;
  settings.max_header_count = 20;
  settings.max_header_bytes = 4000;
  Fields many = ok(), big = ok();
  for (int i = 0; i < 30; ++i) many.emplace_back("x-" + std::to_string(i), "v");
  for (int i = 0; i < 5; ++i) big.emplace_back("x-" + std::to_string(i), std::string(1000, 'v'));
  for (const auto& [fields, details] : {std::pair(many, "http2.too_many_headers"), std::pair(big, "http2.header_list_size_too_large")}) {
    RawServer peer(settings);
    Call& call = peer.client.get("/");
    peer.collect();
    peer.send(headersFrame(1, fields));
    EXPECT_EQ(call.reason, ResetReason::kProtocolError);
    EXPECT_EQ(call.details, details);
    EXPECT_EQ(call.status, 0);
    EXPECT_EQ(peer.client.counters.header_overflow, 1u);
    Call& next = peer.client.get("/");
    peer.collect();
    peer.send(headersFrame(3, ok()));
    EXPECT_TRUE(next.complete);
  }
}

// matrix: 188, 193, 194, 203, 208, 209, 210, 211, 212
TEST(H2Client, FramesThatBreakTheConnection) {
  struct Broken {
    const char* what;
    std::string bytes;
    const char* code;
  };
  const Broken cases[] = {
      {"push promise", frame(NGHTTP2_PUSH_PROMISE, kEndHeaders, 1, number(2) + block(request())), "PROTOCOL_ERROR"},
      {"body before the head", dataFrame(1, "abc", true), "PROTOCOL_ERROR"},
      {"bad index", frame(NGHTTP2_HEADERS, 5, 1, "\xff\xff\x01"), "COMPRESSION_ERROR"},
      {"continuation alone", frame(NGHTTP2_CONTINUATION, 4, 1, block(ok())), "PROTOCOL_ERROR"},
      {"ping inside a head", frame(NGHTTP2_HEADERS, 1, 1, block(ok())) + pingFrame(), "PROTOCOL_ERROR"},
      {"head on an idle stream", headersFrame(9, ok()), "PROTOCOL_ERROR"},
      {"head on a stream of ours", headersFrame(2, ok()), "PROTOCOL_ERROR"},
      {"data on an idle stream", dataFrame(9, "x"), "PROTOCOL_ERROR"},
      {"window overflow", windowFrame(0, 0x7fffffff), "FLOW_CONTROL_ERROR"},
      {"frame too big", dataFrame(1, std::string(16385, 'x')), "FRAME_SIZE_ERROR"},
      {"padding",
       frame(NGHTTP2_DATA, kPadded, 1,
             "\x05"
             "abc"),
       "PROTOCOL_ERROR"},
      {"settings length", frame(NGHTTP2_SETTINGS, 0, 0, "12345"), "FRAME_SIZE_ERROR"},
      {"enable push from a server", settingsFrame({{2, 1}}), "PROTOCOL_ERROR"},
  };
  for (const Broken& each : cases) {
    SCOPED_TRACE(each.what);
    RawServer peer;
    Call& call = peer.client.get("/");
    peer.collect();
    EXPECT_EQ(peer.client.codec->openStreams(), 1u);
    peer.send(frame(NGHTTP2_SETTINGS, kAck, 0, ""));
    peer.send(each.bytes);
    EXPECT_NE(peer.wire.find(each.code, std::min(peer.wire.find("GOAWAY"), peer.wire.size())), std::string::npos) << peer.wire;
    EXPECT_NE(peer.client.error, "");
    EXPECT_TRUE(call.ended);
    EXPECT_EQ(call.reason, ResetReason::kProtocolError);
    EXPECT_TRUE(peer.client.codec->finished());
    EXPECT_EQ(peer.client.codec->freeStreams(), 0u);
    EXPECT_EQ(peer.client.codec->openStreams(), 0u);
  }
}

TEST(H2Client, AServerThatSendsBeyondTheWindowIsLeft) {
  Settings settings;
  settings.initial_stream_window = 20000;
  RawServer peer(settings);
  Call& call = peer.client.get("/");
  peer.collect();
  peer.send(frame(NGHTTP2_SETTINGS, kAck, 0, ""));
  call.stream->pause(true);
  peer.send(headersFrame(1, ok(), false) + dataFrame(1, std::string(16000, 'x')) + dataFrame(1, std::string(16000, 'x')));
  EXPECT_TRUE(peer.wrote("FLOW_CONTROL_ERROR")) << peer.wire;
  EXPECT_EQ(call.reason, ResetReason::kProtocolError);
}

// ---- GOAWAY and refusals: what may be tried again elsewhere ----

TEST(H2Client, GoAwayRefusesWhatItDidNotSee) {
  RawServer peer;
  Call& first = peer.client.get("/1");
  Call& second = peer.client.get("/2");
  Call& third = peer.client.get("/3");
  peer.collect();
  Call& unsent = peer.client.get("/4");  // still in the queue
  peer.send(frame(NGHTTP2_GOAWAY, 0, 0, number(3) + number(NGHTTP2_NO_ERROR)));
  EXPECT_EQ(peer.client.goaways, 1);
  EXPECT_FALSE(first.ended);
  EXPECT_FALSE(second.ended);
  EXPECT_EQ(third.reason, ResetReason::kRemoteRefused);
  EXPECT_EQ(unsent.reason, ResetReason::kRemoteRefused);
  EXPECT_EQ(peer.client.codec->freeStreams(), 0u);
  EXPECT_EQ(peer.client.codec->openStreams(), 2u);
  EXPECT_FALSE(peer.client.codec->finished());
  peer.send(headersFrame(1, ok(), false) + dataFrame(1, "whole", true));
  EXPECT_EQ(first.body, "whole");
  EXPECT_EQ(first.reason, ResetReason::kNone);
  peer.send(frame(NGHTTP2_GOAWAY, 0, 0, number(1) + number(NGHTTP2_NO_ERROR)));
  EXPECT_EQ(peer.client.goaways, 1);  // told once
  EXPECT_EQ(second.reason, ResetReason::kRemoteRefused);
  EXPECT_TRUE(peer.client.codec->finished());
}

TEST(H2Client, GoAwayWithAnErrorLeavesOpenStreamsToTheirEnd) {
  RawServer peer;
  Call& call = peer.client.get("/");
  peer.collect();
  peer.send(frame(NGHTTP2_GOAWAY, 0, 0, number(1) + number(NGHTTP2_ENHANCE_YOUR_CALM)));
  EXPECT_EQ(peer.client.goaways, 1);
  EXPECT_FALSE(call.ended);
  peer.client.codec->onPeerFinished();
  EXPECT_EQ(call.reason, ResetReason::kConnectionClosed);
  EXPECT_TRUE(peer.client.codec->finished());
}

TEST(H2Client, AResetSaysWhetherTheRequestWasProcessed) {
  struct Case {
    const char* what;
    std::string bytes;
    uint32_t code;
    ResetReason reason;
  };
  const std::string whole = headersFrame(1, ok());
  const std::string part = headersFrame(1, ok(), false) + dataFrame(1, "part");
  const Case cases[] = {
      {"refused", "", NGHTTP2_REFUSED_STREAM, ResetReason::kRemoteRefused},
      {"cancelled", "", NGHTTP2_CANCEL, ResetReason::kRemoteReset},
      {"no error but no answer", "", NGHTTP2_NO_ERROR, ResetReason::kRemoteReset},
      {"called wrong", "", NGHTTP2_PROTOCOL_ERROR, ResetReason::kProtocolError},
      {"cut", part, NGHTTP2_INTERNAL_ERROR, ResetReason::kRemoteReset},
      {"no error in the middle", part, NGHTTP2_NO_ERROR, ResetReason::kRemoteReset},
      {"answered early", whole, NGHTTP2_NO_ERROR, ResetReason::kNone},
      {"error behind an early answer", whole, NGHTTP2_CANCEL, ResetReason::kRemoteReset},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.what);
    RawServer peer;
    Call& call = peer.client.open();
    call.sendHead("POST", "/", {}, false);
    peer.collect();
    peer.send(each.bytes + resetFrame(1, each.code));
    EXPECT_TRUE(call.ended);
    EXPECT_STREQ(reasonName(call.reason), reasonName(each.reason));
    EXPECT_EQ(peer.client.codec->openStreams(), 0u);
    EXPECT_EQ(peer.client.codec->freeStreams(), 100u);
  }
}

TEST(H2Client, WhatCameBeforeAResetIsDelivered) {
  Pair pair;
  Call& call = pair.client.get("/");
  pair.run();
  pair.server.at(0).reply(200, {}, "half", false);
  pair.server.at(0).reset(ResetReason::kLocal);
  pair.run();
  EXPECT_EQ(call.status, 200);
  EXPECT_EQ(call.body, "half");
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.reason, ResetReason::kRemoteReset);
}

TEST(H2Client, StreamsAreCountedAgainstWhatTheServerAllows) {
  RawServer peer;
  EXPECT_EQ(peer.client.codec->freeStreams(), 100u);
  const int before = peer.client.capacities;
  peer.send(settingsFrame({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}}));
  EXPECT_EQ(peer.client.capacities, before + 1);
  EXPECT_EQ(peer.client.codec->freeStreams(), 2u);
  peer.client.get("/");
  Call& second = peer.client.get("/");
  EXPECT_EQ(peer.client.codec->freeStreams(), 0u);
  peer.collect();
  peer.send(headersFrame(1, ok()));
  EXPECT_EQ(peer.client.codec->freeStreams(), 1u);
  second.reset(ResetReason::kLocal);
  peer.collect();
  EXPECT_EQ(peer.client.codec->freeStreams(), 2u);
  peer.send(settingsFrame({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0}}));
  EXPECT_EQ(peer.client.codec->freeStreams(), 0u);
}

TEST(H2Client, DrainSaysGoAwayAndFinishesWhatIsOpen) {
  RawServer peer;
  Call& call = peer.client.get("/");
  peer.collect();
  peer.client.codec->drain();
  peer.collect();
  EXPECT_TRUE(peer.wrote("GOAWAY 0 NO_ERROR\n")) << peer.wire;
  EXPECT_EQ(peer.client.codec->freeStreams(), 0u);
  EXPECT_FALSE(peer.client.codec->finished());
  peer.send(headersFrame(1, ok()));
  EXPECT_TRUE(call.complete);
  EXPECT_TRUE(peer.client.codec->finished());
}

TEST(H2Client, ARequestThatBeganBeforeTheDrainLeavesBeforeTheGoAway) {
  RawServer peer;
  peer.collect();
  Call& call = peer.client.get("/");
  peer.client.codec->drain();  // in the same turn: nothing of the request was written yet
  peer.collect();
  EXPECT_FALSE(call.ended) << "refused by its own side";
  const size_t head = peer.wire.find("HEADERS 1"), goaway = peer.wire.find("GOAWAY 0 NO_ERROR");
  ASSERT_NE(head, std::string::npos) << peer.wire;
  ASSERT_NE(goaway, std::string::npos) << peer.wire;
  EXPECT_LT(head, goaway);
  peer.send(headersFrame(1, ok()));
  EXPECT_TRUE(call.complete);
  EXPECT_TRUE(peer.client.codec->finished());
}

// matrix: 244, in the codec
TEST(H2Client, AStreamAboveTheGoAwayWasNotProcessedAndARefusedOneIsToldApart) {
  RawServer peer;
  peer.collect();
  Call& kept = peer.client.get("/1");
  Call& left = peer.client.get("/3");
  Call& refused = peer.client.get("/5");
  peer.collect();
  peer.send(resetFrame(5, NGHTTP2_REFUSED_STREAM));
  EXPECT_EQ(refused.reason, ResetReason::kRemoteRefused);
  EXPECT_EQ(refused.details, kRefused);
  peer.send(frame(NGHTTP2_GOAWAY, 0, 0, number(1) + number(NGHTTP2_NO_ERROR)));
  EXPECT_EQ(left.reason, ResetReason::kRemoteRefused);
  EXPECT_EQ(left.details, kNotProcessed);
  EXPECT_FALSE(kept.ended);
  peer.send(headersFrame(1, ok()));
  EXPECT_TRUE(kept.complete);
}

TEST(H2Client, AWholeResponseOutlivesItsConnectionEvenWhenItsReaderPauses) {
  RawServer peer;
  peer.collect();
  Call& whole = peer.client.get("/1");
  Call& cut = peer.client.get("/3");
  peer.collect();
  peer.send(headersFrame(1, ok(), false) + headersFrame(3, ok(), false));
  whole.stream->pause(true);
  cut.stream->pause(true);
  peer.send(dataFrame(1, "all of it", true) + dataFrame(3, "a part"));
  EXPECT_EQ(whole.body, "");
  peer.client.codec->onPeerFinished();
  EXPECT_EQ(whole.body, "all of it");
  EXPECT_TRUE(whole.complete);
  EXPECT_EQ(whole.reason, ResetReason::kNone);
  EXPECT_TRUE(whole.ended);
  EXPECT_TRUE(cut.ended);
  EXPECT_EQ(cut.reason, ResetReason::kConnectionClosed);
  EXPECT_EQ(peer.client.codec->openStreams(), 0u);
}

TEST(H2Client, BeforeThePeersSettingsItOpensAsManyStreamsAsAssumed) {
  Settings settings;
  settings.assumed_peer_streams = 3;
  ClientSide client(settings);
  EXPECT_EQ(client.codec->freeStreams(), 3u);
}

// matrix: 220, from the client's end
TEST(H2Client, ABodyWaitsForTheServersWindow) {
  RawServer peer;
  peer.send(settingsFrame({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}));
  Call& call = peer.client.open();
  call.sendHead("POST", "/", {}, false);
  EXPECT_EQ(call.send(std::string(100000, 'x'), true), Room::kFull);
  peer.collect();
  EXPECT_FALSE(peer.wrote("DATA"));
  peer.send(windowFrame(1, 10));
  EXPECT_TRUE(peer.wrote("DATA 1 10\n")) << peer.wire;
  peer.send(windowFrame(1, 60000));
  EXPECT_EQ(call.rooms, 0);
  peer.send(windowFrame(0, 60000) + windowFrame(1, 20000));
  EXPECT_EQ(call.rooms, 1);
  call.reset(ResetReason::kTimeout);
  peer.collect();
  EXPECT_TRUE(peer.wrote("RST 1 CANCEL\n")) << peer.wire;
}

// matrix: 197, 198, 214, 215 towards us from an upstream
TEST(H2Client, AServerThatFloodsIsLeft) {
  for (const std::string& one : {pingFrame(), settingsFrame(), frame(0x42, 0, 0, "?")}) {
    RawServer peer;
    Call& call = peer.client.get("/");
    peer.collect();
    for (int i = 0; i < 5000 && peer.client.error.empty(); ++i) peer.send(one);
    EXPECT_NE(peer.client.error, "");
    EXPECT_TRUE(peer.wrote("ENHANCE_YOUR_CALM"));
    EXPECT_TRUE(call.ended);
    EXPECT_TRUE(peer.client.codec->finished());
  }
}

}  // namespace
}  // namespace outrider::http::h2::testing
