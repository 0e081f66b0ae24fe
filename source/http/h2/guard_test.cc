// Floods and broken frames against the server codec: what ends a stream, what ends the connection, and what it counts.
#include <gtest/gtest.h>

#include "source/http/h2/harness.h"

namespace outrider::http::h2::testing {
namespace {

std::string repeat(std::string_view bytes, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += bytes;
  return out;
}

// C2: GOAWAY with that code, the owner is told, nothing is read any more.
void expectConnectionError(RawClient& peer, std::string_view code, std::string_view details = {}) {
  EXPECT_TRUE(peer.wrote("GOAWAY")) << peer.wire;
  EXPECT_NE(peer.wire.find(std::string(" ") + std::string(code) + "\n", peer.wire.find("GOAWAY")), std::string::npos) << peer.wire;
  EXPECT_FALSE(peer.server.error.empty());
  if (!details.empty()) {
    EXPECT_EQ(peer.server.error, details);
  }
  EXPECT_TRUE(peer.server.codec->finished());
  EXPECT_EQ(peer.server.codec->openStreams(), 0u);
  for (auto& exchange : peer.server.exchanges) EXPECT_TRUE(exchange->ended);
  const size_t streams = peer.server.count();
  EXPECT_EQ(peer.send(headersFrame(9999, request())), Feed::kFinished);
  EXPECT_EQ(peer.server.count(), streams);
}

struct Broken {
  const char* row;
  std::string bytes;
  const char* code;
};

TEST(H2Guard, FramesThatBreakTheConnection) {
  const std::string open = headersFrame(1, request("POST"), false);
  const std::string whole = headersFrame(1, request());
  const Broken cases[] = {
      {"188 hpack bad index", frame(NGHTTP2_HEADERS, 5, 1, "\xff\xff\x01"), "COMPRESSION_ERROR"},
      {"188 hpack integer overflow", frame(NGHTTP2_HEADERS, 5, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), "COMPRESSION_ERROR"},
      {"188 hpack table size", frame(NGHTTP2_HEADERS, 5, 1, std::string("\x3f\xe1\xff\x03", 4) + block(request())), "COMPRESSION_ERROR"},
      {"193 cont-interleave", frame(NGHTTP2_HEADERS, 1, 1, block(request())) + pingFrame(), "PROTOCOL_ERROR"},
      {"194 cont-alone", frame(NGHTTP2_CONTINUATION, 4, 1, block(request())), "PROTOCOL_ERROR"},
      {"202 wu-zero connection", windowFrame(0, 0), "PROTOCOL_ERROR"},
      {"203 wu-ovf connection", windowFrame(0, 0x7fffffff), "FLOW_CONTROL_ERROR"},
      {"208 data-idle", dataFrame(1, "x"), "PROTOCOL_ERROR"},
      {"208 rst-idle", resetFrame(1, 8), "PROTOCOL_ERROR"},
      {"208 wu-idle", windowFrame(1, 1), "PROTOCOL_ERROR"},
      {"208 even-id", headersFrame(2, request()), "PROTOCOL_ERROR"},
      {"208 sid-0", headersFrame(0, request()), "PROTOCOL_ERROR"},
      {"208 data sid-0", dataFrame(0, "x"), "PROTOCOL_ERROR"},
      {"209 push-promise", open + frame(NGHTTP2_PUSH_PROMISE, 4, 1, number(2) + block(request())), "PROTOCOL_ERROR"},
      {"210 frame-too-big", open + dataFrame(1, std::string(16385, 'x')), "FRAME_SIZE_ERROR"},
      {"210 hdr-frame-too-big", frame(NGHTTP2_HEADERS, 5, 1, block(request()) + std::string(16385, '\0')), "FRAME_SIZE_ERROR"},
      {"211 pad-ovf",
       open + frame(NGHTTP2_DATA, kPadded, 1,
                    "\x05"
                    "abc"),
       "PROTOCOL_ERROR"},
      {"211 pad-ovf headers", frame(NGHTTP2_HEADERS, 5 | kPadded, 1, "\xff" + block(request())), "PROTOCOL_ERROR"},
      {"212 settings-len", frame(NGHTTP2_SETTINGS, 0, 0, "12345"), "FRAME_SIZE_ERROR"},
      {"212 settings window", settingsFrame({{4, 0x80000000u}}), "FLOW_CONTROL_ERROR"},
      {"212 settings frame size", settingsFrame({{5, 1}}), "PROTOCOL_ERROR"},
      {"212 settings push", settingsFrame({{2, 2}}), "PROTOCOL_ERROR"},
      {"212 settings ack with payload", frame(NGHTTP2_SETTINGS, kAck, 0, "123456"), "FRAME_SIZE_ERROR"},
      {"212 settings on a stream", frame(NGHTTP2_SETTINGS, 0, 1, ""), "PROTOCOL_ERROR"},
      {"213 ping-len", frame(NGHTTP2_PING, 0, 0, "1234567"), "FRAME_SIZE_ERROR"},
      {"213 ping-sid", frame(NGHTTP2_PING, 0, 1, "12345678"), "PROTOCOL_ERROR"},
      {"rst-len", open + frame(NGHTTP2_RST_STREAM, 0, 1, "123"), "FRAME_SIZE_ERROR"},
      {"goaway sid", frame(NGHTTP2_GOAWAY, 0, 1, number(0) + number(0)), "PROTOCOL_ERROR"},
      {"199 settings-33entries", frame(NGHTTP2_SETTINGS, 0, 0, repeat(std::string("\0\x04\0\0\xff\xff", 6), 33)), "ENHANCE_YOUR_CALM"},
  };
  for (const Broken& each : cases) {
    SCOPED_TRACE(std::string("matrix: ") + each.row);
    RawClient peer;
    peer.send(each.bytes);
    expectConnectionError(peer, each.code);
    // The same, cut into single bytes.
    RawClient slow;
    for (const char c : each.bytes) slow.feedOnly(std::string_view(&c, 1));
    slow.collect();
    expectConnectionError(slow, each.code);
  }
}

TEST(H2Guard, FramesThatBreakTheirStream) {
  const Broken cases[] = {
      {"202 wu-zero stream", windowFrame(1, 0), "PROTOCOL_ERROR"},
      {"203 wu-ovf stream", windowFrame(1, 0x7fffffff), "FLOW_CONTROL_ERROR"},
  };
  for (const Broken& each : cases) {
    SCOPED_TRACE(std::string("matrix: ") + each.row);
    RawClient peer;
    peer.send(headersFrame(1, request("POST"), false) + each.bytes);
    if (peer.wrote("GOAWAY")) {
      expectConnectionError(peer, each.code);
      continue;
    }
    EXPECT_TRUE(peer.wrote(std::string("RST 1 ") + each.code)) << peer.wire;
    EXPECT_EQ(peer.server.at(0).reason, ResetReason::kProtocolError);
  }
}

// matrix: 208
TEST(H2Guard, FramesOnStreamsThatAreOver) {
  {
    RawClient peer;  // data-after-es
    peer.send(headersFrame(1, request()) + dataFrame(1, "x"));
    EXPECT_TRUE(peer.wrote("STREAM_CLOSED")) << peer.wire;
  }
  {
    RawClient peer;  // hdrs-after-es
    peer.send(headersFrame(1, request()) + headersFrame(1, {{"x", "y"}}));
    EXPECT_TRUE(peer.wrote("STREAM_CLOSED")) << peer.wire;
  }
  for (const std::string& late : {dataFrame(1, "x"), headersFrame(1, {{"x", "y"}})}) {
    RawClient peer;  // the exchange is over
    peer.send(headersFrame(1, request()));
    peer.server.at(0).reply(200, {}, "ok");
    peer.collect();
    peer.send(late);
    expectConnectionError(peer, "STREAM_CLOSED");
  }
  for (const std::string& late : {dataFrame(1, "x"), headersFrame(1, {{"x", "y"}})}) {
    RawClient peer;  // the client gave it up
    peer.send(headersFrame(1, request("POST"), false) + resetFrame(1, NGHTTP2_CANCEL) + late);
    expectConnectionError(peer, "STREAM_CLOSED");
  }
  {
    RawClient peer;  // we gave it up: what crosses our RST_STREAM is no fault
    peer.send(headersFrame(1, request("POST"), false));
    peer.server.at(0).reset(ResetReason::kLocal);
    peer.collect();
    peer.send(dataFrame(1, "x", true) + headersFrame(3, request()));
    EXPECT_EQ(peer.server.error, "");
    EXPECT_EQ(peer.server.count(), 2u);
  }
  {
    RawClient peer;  // sid-decr: never opened, and closed by the higher one
    peer.send(headersFrame(5, request()) + headersFrame(3, request()));
    EXPECT_EQ(peer.server.count(), 1u);
    EXPECT_TRUE(peer.wrote("GOAWAY 5 PROTOCOL_ERROR")) << peer.wire;
  }
}

// matrix: 217
TEST(H2Guard, TheFirstBytesMustBeThePreface) {
  RawClient http1({}, false);
  http1.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  expectConnectionError(http1, "PROTOCOL_ERROR", "http2.bad_preface");
  RawClient no_settings({}, false);
  no_settings.send(kPreface + headersFrame(1, request()));
  expectConnectionError(no_settings, "PROTOCOL_ERROR");
  RawClient part({}, false);  // matrix: 218
  EXPECT_EQ(part.send("PRI * HTTP/2.0\r\n"), Feed::kMore);
  EXPECT_FALSE(part.server.codec->finished());
}

// matrix: 189, 190
TEST(H2Guard, ContinuationFloods) {
  Fields first = request();
  RawClient many;
  std::string flood = frame(NGHTTP2_HEADERS, kEndStream, 1, block(first));
  for (int i = 0; i < 200; ++i) flood += frame(NGHTTP2_CONTINUATION, 0, 1, block({{"x-" + std::to_string(i), "v"}}));
  many.send(flood);
  expectConnectionError(many, "ENHANCE_YOUR_CALM", "http2.too_many_header_frames");
  EXPECT_EQ(many.server.counters.too_many_header_frames, 1u);
  RawClient few;
  flood = frame(NGHTTP2_HEADERS, kEndStream, 1, block(first));
  for (int i = 0; i < 15; ++i) {
    flood += frame(NGHTTP2_CONTINUATION, i == 14 ? kEndHeaders : 0, 1, block({{"x-" + std::to_string(i), "v"}}));
  }
  few.send(flood);
  EXPECT_EQ(few.server.at(0).head->headers.count(), 15u);
}

// matrix: 192, 195
TEST(H2Guard, EmptyFramesInARow) {
  const std::string open = headersFrame(1, request("POST"), false);
  const std::pair<const char*, std::string> cases[] = {
      {"cont-empty-10", frame(NGHTTP2_HEADERS, kEndStream, 1, block(request())) + repeat(frame(NGHTTP2_CONTINUATION, 0, 1, ""), 10)},
      {"headers-empty-2", frame(NGHTTP2_HEADERS, kEndStream & 0, 1, "") + frame(NGHTTP2_CONTINUATION, 0, 1, "")},
      {"data-empty-10", open + repeat(dataFrame(1, ""), 10)},
      {"data-empty-pad-10", open + repeat(frame(NGHTTP2_DATA, kPadded, 1, std::string("\x03\0\0\0", 4)), 10)},
  };
  for (const auto& [name, bytes] : cases) {
    SCOPED_TRACE(name);
    RawClient peer;
    peer.send(bytes);
    expectConnectionError(peer, "ENHANCE_YOUR_CALM", "http2.inbound_empty_frames_flood");
    EXPECT_EQ(peer.server.counters.inbound_empty_frames_flood, 1u);
  }
  // One now and then is allowed, and so is an empty end.
  RawClient peer;
  peer.send(open + dataFrame(1, "") + dataFrame(1, "x") + dataFrame(1, "") + dataFrame(1, "y") + dataFrame(1, "", true));
  EXPECT_EQ(peer.server.at(0).body, "xy");
  EXPECT_TRUE(peer.server.at(0).complete);
}

// matrix: 197
TEST(H2Guard, PingFloods) {
  RawClient unread;
  unread.feedOnly(repeat(pingFrame(), 1200));
  unread.collect();
  EXPECT_TRUE(unread.wrote("ENHANCE_YOUR_CALM")) << unread.wire.substr(0, 300);
  // Answered each, and still too many for the time.
  RawClient read;
  for (int i = 0; i < 100; ++i) read.send(pingFrame());
  EXPECT_EQ(read.server.error, "");
  for (int i = 0; i < 3; ++i) read.send(pingFrame());
  expectConnectionError(read, "ENHANCE_YOUR_CALM", "http2.inbound_control_flood");
  EXPECT_EQ(read.server.counters.inbound_control_flood, 1u);
  // 20 a second for ever.
  RawClient steady;
  for (int i = 0; i < 1000; ++i) {
    steady.send(pingFrame());
    steady.server.now += base::kSecond / 20;
  }
  EXPECT_EQ(steady.server.error, "");
}

TEST(H2Guard, APingForDataThatWeSentIsFree) {
  RawClient peer;
  peer.send(headersFrame(1, request()));
  peer.server.at(0).reply(200, {}, "x", false);
  peer.collect();
  for (int i = 0; i < 500; ++i) {
    peer.server.at(0).send("y", false);
    peer.collect();
    peer.send(pingFrame());
  }
  EXPECT_EQ(peer.server.error, "");
}

// matrix: 197, 198: answers that are not read
TEST(H2Guard, QueuedAnswersAreBounded) {
  Settings settings;
  settings.pings.burst = 0;
  settings.peer_settings.burst = 0;
  for (const std::string& one : {pingFrame(), settingsFrame()}) {
    RawClient peer(settings);
    peer.feedOnly(repeat(one, 999));
    EXPECT_EQ(peer.server.error, "");
    peer.feedOnly(repeat(one, 200));
    peer.collect();
    expectConnectionError(peer, "ENHANCE_YOUR_CALM", "http2.outbound_control_flood");
    EXPECT_EQ(peer.server.counters.outbound_control_flood, 1u);
  }
}

// matrix: 198
TEST(H2Guard, SettingsFlood) {
  RawClient peer;
  for (int i = 0; i < 110; ++i) peer.send(settingsFrame());
  expectConnectionError(peer, "ENHANCE_YOUR_CALM", "http2.inbound_control_flood");
}

// matrix: 200
TEST(H2Guard, PriorityFlood) {
  RawClient peer;
  const std::string one = frame(NGHTTP2_PRIORITY, 0, 1, number(0) + "\x10");
  peer.send(repeat(one, 100));
  EXPECT_EQ(peer.server.error, "");
  peer.send(repeat(one, 200));
  expectConnectionError(peer, "ENHANCE_YOUR_CALM", "http2.inbound_priority_frames_flood");
  EXPECT_EQ(peer.server.counters.inbound_priority_frames_flood, 1u);
}

// matrix: 223
TEST(H2Guard, PrioritiesAreCheckedAndNotUsed) {
  RawClient peer;
  const std::string itself = frame(NGHTTP2_PRIORITY, 0, 3, number(3) + "\x10");
  const std::string other = frame(NGHTTP2_PRIORITY, 0, 3, number(1) + "\x10");
  peer.send(headersFrame(1, request("POST"), false) + other + dataFrame(1, "abc") + other);
  EXPECT_FALSE(peer.wrote("RST")) << peer.wire;
  for (const char byte : headersFrame(3, request("POST"), false) + dataFrame(1, itself) + itself) {
    peer.send(std::string(1, byte));  // however the bytes are cut
  }
  EXPECT_TRUE(peer.wrote("RST 3 PROTOCOL_ERROR\n")) << peer.wire;
  EXPECT_FALSE(peer.wrote("RST 1")) << peer.wire;
  EXPECT_EQ(peer.server.error, "");
  peer.send(frame(NGHTTP2_PRIORITY, 0, 0, number(1) + "\x10"));
  expectConnectionError(peer, "PROTOCOL_ERROR");
  RawClient idle;
  idle.send(frame(NGHTTP2_PRIORITY, 0, 9, number(9) + "\x10"));  // idle: there is no stream to reset
  expectConnectionError(idle, "PROTOCOL_ERROR");
}

// matrix: 201
TEST(H2Guard, WindowUpdateFlood) {
  RawClient peer;
  peer.send(repeat(windowFrame(0, 1), 50));
  expectConnectionError(peer, "ENHANCE_YOUR_CALM", "http2.inbound_window_update_frames_flood");
  EXPECT_EQ(peer.server.counters.inbound_window_update_frames_flood, 1u);
}

// matrix: 204
TEST(H2Guard, RapidReset) {
  RawClient peer;
  uint32_t id = 1;
  const auto strike = [&] {
    peer.send(headersFrame(id, request()) + resetFrame(id, NGHTTP2_CANCEL));
    id += 2;
  };
  for (int i = 0; i < 100; ++i) strike();
  EXPECT_EQ(peer.server.error, "");
  peer.server.now += base::kSecond;  // 20 more
  for (int i = 0; i < 20; ++i) strike();
  EXPECT_EQ(peer.server.error, "");
  for (int i = 0; i < 2; ++i) strike();
  expectConnectionError(peer, "ENHANCE_YOUR_CALM", "http2.too_many_premature_resets");
  EXPECT_EQ(peer.server.counters.too_many_premature_resets, 1u);
  EXPECT_EQ(peer.server.at(0).reason, ResetReason::kRemoteReset);
}

TEST(H2Guard, CancellingAnOldRequestIsNoAttack) {
  RawClient peer;
  for (uint32_t id = 1; id < 1000; id += 2) {
    peer.send(headersFrame(id, request()));
    peer.server.now += base::kSecond;
    peer.send(resetFrame(id, NGHTTP2_CANCEL));
  }
  EXPECT_EQ(peer.server.error, "");
}

// matrix: 206
TEST(H2Guard, ResetsThatThePeerProvokesCountAsWell) {
  const auto flood = [](auto&& bytes) {
    auto peer = std::make_unique<RawClient>();
    for (uint32_t id = 1; id < 1200 && peer->server.error.empty(); id += 2) peer->send(bytes(id));
    return peer;
  };
  auto zero = flood([](uint32_t id) { return headersFrame(id, request("POST"), false) + windowFrame(id, 0); });
  EXPECT_FALSE(zero->server.error.empty());
  EXPECT_LE(zero->server.count(), 250u);
  auto overflow = flood([](uint32_t id) { return headersFrame(id, request("POST"), false) + windowFrame(id, 0x7fffffff); });
  EXPECT_FALSE(overflow->server.error.empty());
  EXPECT_LE(overflow->server.count(), 250u);
  auto after_end = flood([](uint32_t id) { return headersFrame(id, request()) + dataFrame(id, "x"); });
  EXPECT_FALSE(after_end->server.error.empty());
  EXPECT_LE(after_end->server.count(), 250u);
  auto malformed = flood([](uint32_t id) { return headersFrame(id, with(request(), {{"connection", "x"}})); });
  expectConnectionError(*malformed, "ENHANCE_YOUR_CALM", "http2.too_many_premature_resets");
  EXPECT_EQ(malformed->server.count(), 101u);
  auto bad_length = flood([](uint32_t id) {
    return headersFrame(id, with(request("POST"), {{"content-length", "1"}}), false) + dataFrame(id, "xx", true);
  });
  expectConnectionError(*bad_length, "ENHANCE_YOUR_CALM", "http2.too_many_premature_resets");
  // Self-dependency is ignored, and is no way to make us reset anything.
  auto self = flood([](uint32_t id) {
    return frame(NGHTTP2_HEADERS, kEndHeaders | kEndStream | kPriorityFlag, id, number(id) + "\x10" + block(request()));
  });
  EXPECT_LE(self->server.count(), 600u);
}

// matrix: 207
TEST(H2Guard, StreamsAboveTheLimitAreRefused) {
  RawClient peer;
  std::string wire;
  for (uint32_t i = 0; i < 101; ++i) wire += headersFrame(1 + 2 * i, request());
  peer.send(wire);
  EXPECT_EQ(peer.server.count(), 100u);
  EXPECT_TRUE(peer.wrote("RST 201 REFUSED_STREAM\n")) << peer.wire;
  EXPECT_EQ(peer.server.counters.stream_refused_errors, 1u);
  EXPECT_EQ(peer.server.error, "");
  // The refused head changed the compression state like any other.
  peer.server.at(0).reply(200, {}, "");
  peer.collect();
  peer.send(headersFrame(301, request("GET", "/again")));
  EXPECT_EQ(peer.server.last().text, "GET http://h/again\n");
  // Far above: the connection.
  RawClient greedy;
  wire.clear();
  for (uint32_t i = 0; i < 1100; ++i) wire += headersFrame(1 + 2 * i, request());
  greedy.send(wire);
  EXPECT_EQ(greedy.server.count(), 100u);
  EXPECT_TRUE(greedy.wrote("GOAWAY")) << greedy.wire.substr(0, 500);
  EXPECT_FALSE(greedy.server.error.empty());
  // The same, one by one and answered each time.
  RawClient patient;
  for (uint32_t i = 0; i < 1100 && patient.server.error.empty(); ++i) patient.send(headersFrame(1 + 2 * i, request()));
  EXPECT_EQ(patient.server.count(), 100u);
  EXPECT_EQ(patient.server.counters.stream_refused_errors, 201u);
  EXPECT_EQ(patient.server.error, "http2.too_many_refused_streams");
}

// matrix: 214, 215
TEST(H2Guard, UnknownFramesAreIgnoredWithinReason) {
  RawClient peer;
  peer.send(repeat(frame(0x42, 0, 0, "?"), 500) + headersFrame(1, request()));
  EXPECT_EQ(peer.server.count(), 1u);
  peer.send(repeat(frame(0x42, 0, 0, "?"), 100000));
  expectConnectionError(peer, "ENHANCE_YOUR_CALM", "http2.glitch_flood");
  EXPECT_EQ(peer.server.counters.glitch_flood, 1u);
}

TEST(H2Guard, WhatWeQueueIsBounded) {
  Settings settings;
  settings.max_outbound_frames = 50;
  RawClient peer(settings);
  for (uint32_t id = 1; id < 200; id += 2) {
    peer.feedOnly(headersFrame(id, request()));
    if (peer.server.last().stream != nullptr) peer.server.last().reply(200, {}, "");
  }
  EXPECT_EQ(peer.server.counters.outbound_flood, 1u);
  EXPECT_EQ(peer.server.error, "http2.outbound_frames_flood");
}

// matrix: 222
TEST(H2Guard, AClosingClientIsNoFlood) {
  Pair pair;
  for (int i = 0; i < 80; ++i) pair.client.get("/");
  pair.run();
  EXPECT_EQ(pair.server.count(), 80u);
  for (auto& call : pair.client.calls) call->reset(ResetReason::kLocal);
  pair.run();
  EXPECT_EQ(pair.server.error, "");
  EXPECT_EQ(pair.server.codec->openStreams(), 0u);
  EXPECT_EQ(pair.server.counters.outbound_control_flood, 0u);
}

}  // namespace
}  // namespace outrider::http::h2::testing
