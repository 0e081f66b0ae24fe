// Our client and our server, joined in memory.
#include <random>

#include <gtest/gtest.h>

#include "source/http/h2/harness.h"
#include "source/http/h2/keepalive.h"
#include "source/http/h2/memory.h"

namespace outrider::http::h2::testing {
namespace {

std::string pattern(size_t size) {
  std::string out(size, '\0');
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + i * 7 % 26);
  return out;
}

TEST(H2Pair, CarriesARequestAndItsAnswer) {
  Pair pair;
  Call& call = pair.client.get("/a?b=1", {{"x-one", "1"}, {"user-agent", "test"}});
  pair.run();
  ASSERT_EQ(pair.server.count(), 1u);
  Exchange& exchange = pair.server.at(0);
  EXPECT_EQ(exchange.text, "GET http://host.test/a?b=1\nx-one=1\nuser-agent=test\n");
  EXPECT_TRUE(exchange.complete);
  EXPECT_FALSE(exchange.ended);
  exchange.reply(200, {{"content-type", "text/plain"}}, "hello");
  pair.run();
  EXPECT_EQ(call.status, 200);
  EXPECT_EQ(call.text, "content-type=text/plain\n");
  EXPECT_EQ(call.body, "hello");
  EXPECT_TRUE(call.complete);
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.reason, ResetReason::kNone);
  EXPECT_TRUE(exchange.ended);
  EXPECT_EQ(exchange.reason, ResetReason::kNone);
  EXPECT_EQ(pair.server.codec->openStreams(), 0u);
  EXPECT_EQ(pair.server.idles, 1);
  EXPECT_EQ(pair.client.codec->openStreams(), 0u);
}

TEST(H2Pair, CarriesBodiesAndTrailersBothWays) {
  Pair pair;
  Call& call = pair.client.open();
  call.sendHead("POST", "/", {}, false);
  const std::string up = pattern(300000), down = pattern(700001);
  call.send(up, false);
  call.sendTrailers({{"x-sum", "1"}});
  pair.run();
  Exchange& exchange = pair.server.at(0);
  EXPECT_EQ(exchange.body, up);
  EXPECT_EQ(exchange.trailers, "x-sum=1\n");
  EXPECT_EQ(exchange.stream->bytesIn(), up.size());
  exchange.reply(200, {}, down, false);
  exchange.sendTrailers({{"grpc-status", "0"}});
  pair.run();
  EXPECT_EQ(call.body, down);
  EXPECT_EQ(call.trailers, "grpc-status=0\n");
  EXPECT_EQ(call.reason, ResetReason::kNone);
  EXPECT_TRUE(call.ended);
  EXPECT_TRUE(exchange.ended);
  EXPECT_EQ(pair.server.counters.trailers, 1u);
}

TEST(H2Pair, TrailersRightBehindTheHeadMakeNoEmptyDataFrame) {
  RawClient peer;
  peer.send(headersFrame(1, request()));
  peer.takeWire();
  peer.server.at(0).reply(200, {}, "", false);
  peer.server.at(0).sendTrailers({{"grpc-status", "12"}});
  peer.collect();
  EXPECT_EQ(peer.wire, "HEADERS 1 :status=200\nHEADERS 1 end grpc-status=12\n");
}

TEST(H2Pair, AnyCutOfTheWireMeansTheSame) {
  for (const size_t piece : {1, 2, 3, 5, 9, 10, 100}) {
    Pair pair;
    Call& call = pair.client.open();
    call.sendHead("POST", "/cut", {{"cookie", "a=1"}, {"x", "y"}}, false);
    call.send(pattern(5000), true);
    pair.run(piece);
    ASSERT_EQ(pair.server.count(), 1u) << piece;
    EXPECT_EQ(pair.server.at(0).text, "POST http://host.test/cut\ncookie=a=1\nx=y\n");
    EXPECT_EQ(pair.server.at(0).body, pattern(5000));
    pair.server.at(0).reply(201, {{"z", "w"}}, pattern(3000), false);
    pair.server.at(0).sendTrailers({{"t", "u"}});
    pair.run(piece);
    EXPECT_EQ(call.status, 201);
    EXPECT_EQ(call.body, pattern(3000));
    EXPECT_EQ(call.trailers, "t=u\n");
    EXPECT_TRUE(call.ended);
  }
}

TEST(H2Pair, ManyStreamsAtOnceKeepTheirBytesApart) {
  std::minstd_rand random(7);
  Pair pair;
  std::vector<std::string> bodies;
  for (int i = 0; i < 60; ++i) {
    Call& call = pair.client.open();
    bodies.push_back(pattern(random() % 20000) + std::to_string(i));
    call.sendHead("POST", "/" + std::to_string(i), {}, false);
    call.send(bodies.back(), true);
  }
  while (pair.turn(1 + random() % 4000)) {
    for (auto& exchange : pair.server.exchanges) {
      if (exchange->complete && exchange->pieces >= 0 && exchange->stream != nullptr) {
        exchange->pieces = -1000000;
        exchange->reply(200, {{"x-path", std::string(exchange->head->path)}}, exchange->body);
      }
    }
  }
  for (size_t i = 0; i < bodies.size(); ++i) {
    Call& call = *pair.client.calls[i];
    EXPECT_TRUE(call.ended);
    EXPECT_EQ(call.body, bodies[i]);
    EXPECT_EQ(call.text, "x-path=/" + std::to_string(i) + "\n");
  }
}

TEST(H2Pair, InformationalHeadsComeBeforeTheFinalOne) {
  Pair pair;
  Call& call = pair.client.get("/");
  pair.run();
  Exchange& exchange = pair.server.at(0);
  ResponseHead hint(exchange.arena());
  hint.status = 103;
  exchange.stream->sendInformational(hint);
  hint.status = 100;
  exchange.stream->sendInformational(hint);
  exchange.reply(204, {}, "");
  pair.run();
  EXPECT_EQ(call.informational, "103 100 ");
  EXPECT_EQ(call.status, 204);
  EXPECT_TRUE(call.ended);
}

TEST(H2Pair, APausedReaderHoldsTheSenderAtItsWindow) {
  Settings settings;
  settings.initial_stream_window = 65536;
  Pair pair(settings);
  pair.client.get("/");
  Call& call = *pair.client.calls[0];
  pair.run();
  call.stream->pause(true);
  Exchange& exchange = pair.server.at(0);
  EXPECT_EQ(exchange.reply(200, {}, pattern(200000), false), Room::kFull);
  pair.run();
  EXPECT_EQ(call.body, "");      // nothing is delivered to a paused sink
  EXPECT_EQ(exchange.rooms, 0);  // more than half of the limit is still waiting
  call.stream->pause(false);
  pair.run();
  EXPECT_EQ(call.body.size(), 200000u);
  EXPECT_EQ(exchange.rooms, 1);
  exchange.send("end", true);
  pair.run();
  EXPECT_EQ(call.body, pattern(200000) + "end");
  EXPECT_TRUE(call.ended);
}

TEST(H2Pair, APausedRequestIsHeldBackAndItsEndWaits) {
  Settings settings;
  settings.initial_stream_window = 32768;
  Pair pair(settings);
  Call& call = pair.client.open();
  call.sendHead("POST", "/", {}, false);
  pair.run();
  Exchange& exchange = pair.server.at(0);
  exchange.stream->pause(true);
  call.send(pattern(100000), true);
  pair.run();
  EXPECT_EQ(exchange.body, "");
  EXPECT_EQ(exchange.stream->bytesIn(), 32768u);
  exchange.stream->pause(false);
  pair.run();
  EXPECT_EQ(exchange.body, pattern(100000));
  EXPECT_TRUE(exchange.complete);
}

TEST(H2Pair, AResetStreamGivesItsConnectionWindowBack) {
  Settings settings;
  settings.initial_stream_window = 65536;
  settings.initial_connection_window = 131072;
  Pair pair(settings);
  for (int i = 0; i < 20; ++i) {
    Call& call = pair.client.open();
    call.sendHead("POST", "/", {}, false);
    pair.run();
    pair.server.last().stream->pause(true);
    call.send(pattern(60000), false);
    pair.run();
    pair.server.last().reset(ResetReason::kLocal);
    pair.run();
    EXPECT_TRUE(call.ended);
    EXPECT_EQ(call.reason, ResetReason::kRemoteReset);
  }
  Call& call = pair.client.open();
  call.sendHead("POST", "/", {}, false);
  call.send(pattern(200000), true);
  pair.run();
  EXPECT_EQ(pair.server.last().body.size(), 200000u);
}

TEST(H2Pair, AnEarlyAnswerEndsTheExchangeWithoutError) {
  Pair pair;
  Call& call = pair.client.open();
  call.sendHead("POST", "/", {}, false);
  call.send("part", false);
  pair.run();
  Exchange& exchange = pair.server.at(0);
  exchange.reply(413, {}, "too much");
  pair.run();
  EXPECT_TRUE(exchange.ended);
  EXPECT_EQ(exchange.reason, ResetReason::kNone);
  EXPECT_EQ(call.status, 413);
  EXPECT_EQ(call.body, "too much");
  EXPECT_TRUE(call.complete);
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.reason, ResetReason::kNone);
}

TEST(H2Pair, GrpcKeepsTheRequestSideOpenAfterTheAnswer) {
  Pair pair;
  Call& call = pair.client.open();
  call.sendHead("POST", "/", {{"content-type", "application/grpc"}}, false);
  pair.run();
  Exchange& exchange = pair.server.at(0);
  exchange.reply(200, {}, "answer");
  pair.run();
  EXPECT_FALSE(exchange.ended);
  call.send("still here", true);
  pair.run();
  EXPECT_EQ(exchange.body, "still here");
  EXPECT_TRUE(exchange.ended);
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.reason, ResetReason::kNone);
}

TEST(H2Pair, AnOwnerThatLeavesBehindACompleteAnswerDoesNotCutIt) {
  Pair pair;
  Call& call = pair.client.open();
  call.sendHead("POST", "/", {{"content-type", "application/grpc"}}, false);
  pair.run();
  Exchange& exchange = pair.server.at(0);
  exchange.reply(200, {}, pattern(90000), true);
  exchange.reset(ResetReason::kNone);
  exchange.letGo();
  pair.run();
  EXPECT_EQ(call.body, pattern(90000));
  EXPECT_TRUE(call.complete);
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.reason, ResetReason::kNone);
  EXPECT_EQ(pair.server.codec->openStreams(), 0u);
}

TEST(H2Pair, ResetsReachTheOtherSide) {
  Pair pair;
  Call& call = pair.client.open();
  call.sendHead("POST", "/", {}, false);
  pair.run();
  call.reset(ResetReason::kTimeout);
  pair.run();
  EXPECT_TRUE(pair.server.at(0).ended);
  EXPECT_EQ(pair.server.at(0).reason, ResetReason::kRemoteReset);
  EXPECT_EQ(pair.client.codec->openStreams(), 0u);
  EXPECT_FALSE(call.ended);  // who resets is told nothing

  Call& second = pair.client.get("/");
  pair.run();
  pair.server.at(1).reset(ResetReason::kRemoteRefused);
  pair.run();
  EXPECT_EQ(second.reason, ResetReason::kRemoteRefused);
}

TEST(H2Pair, ARequestResetBeforeItLeftNeverReachesTheServer) {
  Pair pair;
  pair.run();
  Call& call = pair.client.get("/");
  call.reset(ResetReason::kLocal);
  pair.client.open().reset(ResetReason::kLocal);
  pair.run();
  EXPECT_EQ(pair.server.count(), 0u);
  EXPECT_EQ(pair.client.codec->freeStreams(), 100u);
}

TEST(H2Pair, ExtendedConnectCarriesAWebSocket) {
  Settings settings;
  settings.allow_connect = true;
  Pair pair(settings);
  pair.run();
  ASSERT_TRUE(pair.client.codec->peerAllowsConnect());
  Call& call = pair.client.open();
  call.sendHead("GET", "/chat", {{"sec-websocket-version", "13"}}, false, "websocket");
  pair.run();
  Exchange& exchange = pair.server.at(0);
  EXPECT_EQ(exchange.text, "CONNECT http://host.test/chat\n(upgrade websocket)\nsec-websocket-version=13\n");
  exchange.reply(101, {}, "", false);
  pair.run();
  EXPECT_EQ(call.status, 101);
  EXPECT_EQ(call.text, "upgrade=websocket\n");
  call.send("up", false);
  exchange.send("down", true);
  pair.run();
  EXPECT_EQ(exchange.body, "up");
  EXPECT_EQ(call.body, "down");
  EXPECT_FALSE(exchange.ended);  // half-closed only
  call.send("bye", true);
  pair.run();
  EXPECT_EQ(exchange.body, "upbye");
  EXPECT_TRUE(exchange.ended);
  EXPECT_TRUE(call.ended);
}

TEST(H2Pair, AnUpgradeThatThePeerDidNotOfferIsNotSent) {
  Pair pair;
  pair.run();
  Call& call = pair.client.open();
  call.sendHead("GET", "/chat", {}, false, "websocket");
  EXPECT_FALSE(call.ended);
  pair.run();
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.reason, ResetReason::kRemoteRefused);
  EXPECT_EQ(pair.server.count(), 0u);
  EXPECT_EQ(pair.client.codec->freeStreams(), 100u);
}

TEST(H2Pair, PlainConnectIsATunnel) {
  Pair pair;
  Call& call = pair.client.open();
  call.sendHead("CONNECT", "", {}, false);
  pair.run();
  EXPECT_EQ(pair.server.at(0).text, "CONNECT http://host.test\n");
  pair.server.at(0).reply(200, {}, "", false);
  call.send("x", false);
  pair.run();
  EXPECT_EQ(pair.server.at(0).body, "x");
  EXPECT_EQ(call.status, 200);
}

TEST(H2Pair, ADrainedServerFinishesWhatIsOpenAndTakesNoMore) {
  Pair pair;
  Call& call = pair.client.get("/");
  pair.run();
  pair.server.codec->announceDrain();
  pair.run();
  EXPECT_EQ(pair.client.goaways, 1);
  EXPECT_EQ(pair.client.codec->freeStreams(), 0u);
  pair.server.codec->drain();
  pair.run();
  EXPECT_FALSE(pair.server.codec->finished());
  pair.server.at(0).reply(200, {}, "done");
  pair.run();
  EXPECT_EQ(call.body, "done");
  EXPECT_TRUE(pair.server.codec->finished());
  EXPECT_TRUE(pair.client.codec->finished());
}

TEST(H2Pair, PingComesBack) {
  struct Ping final : PingSink {
    void onPingAck() override { ++acks; }
    int acks = 0;
  } ping;
  Pair pair;
  pair.client.codec->setPingSink(&ping);
  pair.client.codec->sendPing();
  EXPECT_EQ(ping.acks, 0);
  pair.run();
  EXPECT_EQ(ping.acks, 1);
}

TEST(H2Pair, KeepaliveAsksAgainAndNoticesSilence) {
  Pair pair;
  Keepalive keepalive;
  base::Nanos& now = pair.client.now;
  keepalive.start(*pair.client.codec, {10 * base::kSecond, 3 * base::kSecond, 0}, now, 7);
  pair.run();
  EXPECT_EQ(keepalive.deadline(), now + 10 * base::kSecond);
  for (int i = 0; i < 3; ++i) {
    now += 10 * base::kSecond;
    EXPECT_TRUE(keepalive.onTime());
    EXPECT_EQ(keepalive.deadline(), now + 3 * base::kSecond);
    pair.run();  // PING and its answer
    EXPECT_EQ(keepalive.deadline(), now + 10 * base::kSecond);
  }
  now += 10 * base::kSecond;
  EXPECT_TRUE(keepalive.onTime());
  now += 2 * base::kSecond;
  EXPECT_TRUE(keepalive.onTime());  // not yet
  now += base::kSecond;
  EXPECT_FALSE(keepalive.onTime());
  EXPECT_EQ(keepalive.deadline(), 0);
}

TEST(H2Pair, ResetAllTellsEveryOwnerOnce) {
  Pair pair;
  Call& first = pair.client.get("/");
  Call& second = pair.client.get("/");
  pair.run();
  pair.client.codec->resetAll(ResetReason::kConnectionClosed);
  pair.server.codec->resetAll(ResetReason::kConnectionClosed);
  EXPECT_EQ(first.reason, ResetReason::kConnectionClosed);
  EXPECT_TRUE(second.ended);
  EXPECT_TRUE(pair.server.at(1).ended);
  EXPECT_TRUE(pair.client.codec->finished());
  EXPECT_EQ(pair.server.codec->openStreams(), 0u);
}

// It can acknowledge nothing and open no window any more.
TEST(H2Pair, AHalfClosedClientHasLeft) {
  Pair pair;
  pair.client.get("/");
  Call& half = pair.client.open();
  half.sendHead("POST", "/", {}, false);
  pair.run();
  pair.server.codec->onPeerFinished();
  for (size_t i : {0u, 1u}) {
    EXPECT_TRUE(pair.server.at(i).ended);
    EXPECT_EQ(pair.server.at(i).reason, ResetReason::kConnectionClosed);
  }
  EXPECT_TRUE(pair.server.codec->finished());
}

TEST(H2Pair, NothingIsLeftBehind) {
  const size_t arenas = base::Arena::liveOnThisThread(), blocks = base::Block::liveOnThisThread(), pieces = Memory::live();
  {
    Pair pair;
    for (int i = 0; i < 10; ++i) {
      Call& call = pair.client.open();
      call.sendHead("POST", "/", {{"a", "b"}}, false);
      call.send(pattern(static_cast<size_t>(i) * 3000), i % 2 == 0);
      if (i % 3 != 0) pair.run();
    }
  }
  EXPECT_EQ(base::Arena::liveOnThisThread(), arenas);
  EXPECT_EQ(base::Block::liveOnThisThread(), blocks);
  EXPECT_EQ(Memory::live(), pieces);
}

}  // namespace
}  // namespace outrider::http::h2::testing
