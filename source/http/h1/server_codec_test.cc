#include "source/http/h1/server_codec.h"

#include <gtest/gtest.h>

#include "source/http/h1/harness.h"

namespace outrider::http::h1 {
namespace {

using testing::Exchange;
using testing::Server;

const std::string kGet = "GET /ok HTTP/1.1\r\nHost: h\r\n";
const std::string kPost = "POST /ok HTTP/1.1\r\nHost: h\r\n";

std::string repeat(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

// ---- exchanges ----

TEST(H1Server, AnswersARequestAndKeepsTheConnection) {
  Server server;
  EXPECT_EQ(server.feed(kGet + "User-Agent: x\r\n\r\n"), Feed::kMore);
  ASSERT_EQ(server.exchanges.size(), 1u);
  EXPECT_EQ(server.last().head_text, "GET /ok HTTP/1.1\nscheme=http authority=h\nuser-agent=x\n");
  EXPECT_TRUE(server.last().complete);
  server.answer(server.last(), 200, {{"X-A", "b"}}, "hello");
  server.turn();
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello");
  EXPECT_TRUE(server.last().ended);
  EXPECT_EQ(server.last().end, ResetReason::kNone);
  EXPECT_EQ(server.idles, 1);
  EXPECT_FALSE(server.codec.finished());
  EXPECT_EQ(server.codec.openStreams(), 0u);
}

TEST(H1Server, AnswersPipelinedRequestsInOrderOneAtATime) {  // matrix: 040
  Server server;
  EXPECT_EQ(server.feed(kGet + "\r\n" + kGet + "X-Second: 1\r\n\r\n"), Feed::kPaused);
  ASSERT_EQ(server.exchanges.size(), 1u);
  server.answer(server.last(), 200, {}, "1");
  server.turn();
  ASSERT_EQ(server.exchanges.size(), 2u);
  EXPECT_NE(server.last().head_text.find("x-second=1"), std::string::npos);
  server.answer(server.last(), 200, {}, "2");
  server.turn();
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n2");
}

TEST(H1Server, SplitsAHeadRequestWithABodyFromTheNextRequest) {  // matrix: 042
  Server server;
  server.answers_all = true;
  server.feed("HEAD /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab" + kGet + "\r\n");
  ASSERT_EQ(server.exchanges.size(), 2u);
  EXPECT_EQ(server.exchanges[0]->body, "ab");
  EXPECT_EQ(server.exchanges[1]->head->method, "GET");
  // The answer to HEAD carries the length but no body.
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
}

TEST(H1Server, StopsReadingWhenAnswersPileUp) {  // matrix: 041
  Settings settings;
  settings.buffer_limit = 1000;
  Server server(settings);
  server.answers_all = true;
  EXPECT_EQ(server.feed(repeat(kGet + "\r\n", 1000)), Feed::kPaused);
  EXPECT_LT(server.exchanges.size(), 64u);
  EXPECT_EQ(server.counters.response_flood, 1u);
  const size_t before = server.exchanges.size();
  server.takeOut();
  server.codec.onOutputDrained();
  server.turn();
  EXPECT_GT(server.exchanges.size(), before);
}

TEST(H1Server, SendsABodyOfUnknownLengthInChunks) {
  Server server;
  server.feed(kGet + "\r\n");
  server.sendHead(server.last(), 200, {}, false);
  base::Buffer data;
  data.append("hello world, hello");
  (void)server.last().stream->sendData(data, false);
  data.append("x");
  (void)server.last().stream->sendData(data, true);
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n12\r\nhello world, hello\r\n1\r\nx\r\n0\r\n\r\n");
}

TEST(H1Server, SendsTrailersOnlyWhereEnabled) {
  for (const bool enabled : {false, true}) {
    Settings settings;
    settings.enable_trailers = enabled;
    Server server(settings);
    server.feed(kGet + "\r\n");
    server.sendHead(server.last(), 200, {}, false);
    HeaderMap trailers(server.last().arena());
    trailers.add("x-t", "v");
    server.last().stream->sendTrailers(trailers);
    EXPECT_EQ(server.takeOut(),
              std::string("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n") + (enabled ? "x-t: v\r\n" : "") + "\r\n");
    server.turn();
    EXPECT_TRUE(server.last().ended);
  }
}

TEST(H1Server, SendsNoBodyAndNoLengthWhereTheStatusHasNone) {
  for (const int status : {204, 304}) {
    Server server;
    server.feed(kGet + "\r\n");
    server.sendHead(server.last(), status, {{"etag", "x"}}, true);
    EXPECT_NE(server.takeOut().find("\r\netag: x\r\n\r\n"), std::string::npos) << status;
  }
}

TEST(H1Server, TellsAHeadRequestHowTheBodyWouldBeFramed) {
  Server server;
  server.feed("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
  server.sendHead(server.last(), 200, {}, true);
  server.turn();
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  server.feed("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
  server.sendHead(server.last(), 200, {}, true, 7);
  server.turn();
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
  EXPECT_FALSE(server.codec.finished());
}

TEST(H1Server, ClosesRatherThanSendMoreOrLessThanAnnounced) {
  for (const std::string_view body : {"abc", "abcdefgh"}) {
    Server server;
    server.feed(kGet + "\r\n");
    server.sendHead(server.last(), 200, {}, false, 5);
    base::Buffer data;
    data.append(body);
    (void)server.last().stream->sendData(data, true);
    server.turn();
    EXPECT_TRUE(server.codec.finished());
    EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + std::string(body.substr(0, 5)));
  }
}

TEST(H1Server, SendsNoHeadThatAValueWouldSplit) {  // matrix: 247
  Server server;
  server.feed(kGet + "\r\n");
  server.sendHead(server.last(), 200, {{"x-a", "b\r\nset-cookie: evil=1"}}, true);
  server.turn();
  EXPECT_EQ(server.takeOut(), "");
  EXPECT_TRUE(server.codec.finished());
}

TEST(H1Server, AsksTheWriterToPauseUntilTheOutputDrained) {
  Server server;
  server.feed(kGet + "\r\n");
  server.sendHead(server.last(), 200, {}, false);
  base::Buffer data;
  data.append(std::string(100000, 'x'));
  EXPECT_EQ(server.last().stream->sendData(data, false), Room::kFull);
  EXPECT_TRUE(data.empty());
  server.takeOut();
  server.codec.onOutputDrained();
  EXPECT_EQ(server.last().rooms, 1);
}

TEST(H1Server, StopsEatingABodyThatIsPaused) {
  Server server;
  server.feed(kPost + "Content-Length: 10\r\n\r\nabc");
  server.last().stream->pause(true);
  EXPECT_EQ(server.feed("defg"), Feed::kPaused);
  EXPECT_EQ(server.last().body, "abc");
  server.last().stream->pause(false);
  EXPECT_TRUE(server.wants_feed);
  server.turn();
  EXPECT_EQ(server.last().body, "abcdefg");
  EXPECT_EQ(server.last().stream->bytesIn(), 7u);
}

// ---- ends ----

TEST(H1Server, ClosesAfterTheAnswerWhenAskedTo) {
  Server server;
  server.answers_all = true;
  EXPECT_EQ(server.feed(kGet + "Connection: close\r\n\r\n" + kGet + "\r\n"), Feed::kFinished);
  EXPECT_EQ(server.exchanges.size(), 1u);
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
  EXPECT_TRUE(server.codec.finished());
}

TEST(H1Server, SaysThatTheClientIsDoneOnlyIfItSaidSoItselfAndAllOfItWasRead) {
  const struct {
    std::string request;
    bool done;
  } cases[] = {
      {kGet + "Connection: close\r\n\r\n", true},
      {kPost + "Connection: close\r\nContent-Length: 2\r\n\r\nab", true},
      {kPost + "Connection: close\r\nContent-Length: 3\r\n\r\nab", false},  // one byte is on its way
  };
  for (const auto& each : cases) {
    Server server;
    server.feed(each.request);
    server.sendHead(server.last(), 200, {}, true);
    server.turn();
    EXPECT_TRUE(server.codec.finished()) << each.request;
    EXPECT_EQ(server.codec.clientIsDone(), each.done) << each.request;
  }
  Server server;  // it is the server that wants to close
  server.codec.announceDrain();
  server.answers_all = true;
  server.feed(kGet + "\r\n");
  server.turn();
  EXPECT_TRUE(server.codec.finished());
  EXPECT_FALSE(server.codec.clientIsDone());
}

TEST(H1Server, ClosesBehindAnAnswerThatAllowsNoOther) {  // matrix: 073
  Server server;
  server.feed(kGet + "\r\n");
  Exchange& exchange = server.last();
  ResponseHead head(exchange.arena());
  head.status = 400;
  head.keep_alive = false;
  exchange.stream->sendHead(head, true);
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_NE(server.takeOut().find("connection: close\r\n"), std::string::npos);
}

TEST(H1Server, AnswersWithCloseWhileDraining) {
  Server server;
  server.feed(kGet + "\r\n");
  server.codec.drain();
  EXPECT_FALSE(server.codec.finished());
  server.answer(server.last(), 200, {}, "ok");
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_NE(server.takeOut().find("connection: close\r\n"), std::string::npos);
}

TEST(H1Server, FinishesAtOnceWhenDrainedIdle) {
  Server server;
  server.codec.drain();
  EXPECT_TRUE(server.codec.finished());
}

TEST(H1Server, ReadsAwayAShortRestAfterAnEarlyAnswer) {  // matrix: 043
  Server server;
  server.feed(kPost + "Content-Length: 100\r\n\r\nabc");
  server.answer(server.last(), 200, {}, "early");
  server.turn();
  EXPECT_TRUE(server.last().ended);
  EXPECT_EQ(server.last().body, "abc");
  server.answers_all = true;
  server.answered = 1;
  server.feed(std::string(97, 'G') + kGet + "\r\n");
  ASSERT_EQ(server.exchanges.size(), 2u);
  EXPECT_EQ(server.exchanges[0]->body, "abc");
  EXPECT_FALSE(server.codec.finished());
}

TEST(H1Server, ClosesAfterAnEarlyAnswerToALongRequest) {  // matrix: 043
  Server server;
  server.feed(kPost + "Content-Length: 1000000\r\n\r\nabc");
  server.answer(server.last(), 413, {}, "");
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_NE(server.takeOut().find("connection: close"), std::string::npos);

  Server chunked;
  chunked.feed(kPost + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  chunked.answer(chunked.last(), 413, {}, "");
  chunked.turn();
  EXPECT_FALSE(chunked.codec.finished());
  chunked.feed("20000\r\n");
  EXPECT_EQ(chunked.feed(std::string(70000, 'x')), Feed::kFinished);
  EXPECT_EQ(chunked.exchanges.size(), 1u);
}

TEST(H1Server, AnswersACompleteRequestAfterTheClientHalfClosed) {  // matrix: 044
  Server server;
  server.feed(kGet + "\r\n");
  server.finish();
  EXPECT_FALSE(server.last().ended);
  server.answer(server.last(), 200, {}, "ok");
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");

  Settings strict;
  strict.answer_half_closed = false;
  Server other(strict);
  other.feed(kGet + "\r\n");
  other.finish();
  EXPECT_EQ(other.last().end, ResetReason::kConnectionClosed);
  EXPECT_TRUE(other.codec.finished());
}

TEST(H1Server, GivesUpOnARequestThatTheClientCutShort) {
  Server server;
  server.feed(kPost + "Content-Length: 10\r\n\r\nabc");
  EXPECT_EQ(server.finish(), Feed::kFinished);
  EXPECT_EQ(server.last().end, ResetReason::kConnectionClosed);

  Server idle;
  idle.feed("GET /ok HT");
  EXPECT_EQ(idle.finish(), Feed::kFinished);
  EXPECT_TRUE(idle.exchanges.empty());
}

TEST(H1Server, ReadsPausedBytesToTheirEndAfterTheClientHalfClosed) {
  Server server;
  server.feed(kPost + "Content-Length: 6\r\n\r\nabc");
  server.last().stream->pause(true);
  server.feed("def");
  server.finish();
  EXPECT_FALSE(server.last().ended);
  server.last().stream->pause(false);
  server.turn();
  EXPECT_TRUE(server.last().complete);
  EXPECT_EQ(server.last().body, "abcdef");
}

TEST(H1Server, EndsOpenStreamsWithTheReasonOfTheReset) {
  Server server;
  server.feed(kGet + "\r\n");
  server.codec.resetAll(ResetReason::kConnectionClosed);
  EXPECT_EQ(server.last().end, ResetReason::kConnectionClosed);
}

TEST(H1Server, ClosesOnAResetAndTellsNobody) {
  Server server;
  server.feed(kGet + "\r\n");
  server.last().stream->reset(ResetReason::kLocal);
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_FALSE(server.last().ended);
  EXPECT_TRUE(server.codec.finished());
}

// ---- HTTP/1.0 ----

TEST(H1Server, SpeaksHttp10WhereAllowed) {  // matrix: 054, 055
  Settings settings;
  settings.accept_http_10 = true;
  settings.default_host_for_http_10 = "default.test";
  Server server(settings);
  server.answers_all = true;
  EXPECT_EQ(server.feed("GET /ok HTTP/1.0\r\n\r\n"), Feed::kFinished);
  EXPECT_EQ(server.last().head_text, "GET /ok HTTP/1.0\nscheme=http authority=default.test\n(closes)\n");
  EXPECT_EQ(server.takeOut(), "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");

  Server keeps(settings);
  keeps.answers_all = true;
  EXPECT_EQ(keeps.feed("GET /ok HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"), Feed::kMore);
  EXPECT_EQ(keeps.takeOut(), "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok");
  EXPECT_FALSE(keeps.codec.finished());
}

TEST(H1Server, EndsAnHttp10BodyOfUnknownLengthByClosing) {
  Settings settings;
  settings.accept_http_10 = true;
  Server server(settings);
  server.feed("GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  server.answer(server.last(), 200, {}, "hello", false);
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_EQ(server.takeOut(), "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nhello");
}

// ---- 1xx, upgrades, CONNECT ----

TEST(H1Server, SendsContinueWhenTold) {  // matrix: 116
  Server server;
  server.feed(kPost + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_TRUE(server.last().head->expect_continue);
  EXPECT_FALSE(server.last().head->headers.has(HeaderId::kExpect));
  ResponseHead head(server.last().arena());
  head.status = 100;
  server.last().stream->sendInformational(head);
  server.feed("ab");
  server.answer(server.last(), 200, {}, "ok");
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  server.turn();
  EXPECT_FALSE(server.codec.finished());
}

TEST(H1Server, ClosesWhenItRefusesABodyThatAwaitsLeave) {  // matrix: 117
  Server server;
  server.feed(kPost + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  server.answer(server.last(), 417, {}, "");
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_NE(server.takeOut().find("connection: close"), std::string::npos);
}

TEST(H1Server, PassesBytesBothWaysAfter101) {  // matrix: 107
  Server server;
  EXPECT_EQ(server.feed(kGet + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly"), Feed::kPaused);
  EXPECT_EQ(server.last().head->upgrade, "websocket");
  EXPECT_FALSE(server.last().complete);
  EXPECT_EQ(server.last().body, "");
  server.sendHead(server.last(), 101, {{"upgrade", "websocket"}}, false);
  server.turn();
  EXPECT_EQ(server.last().body, "early");
  base::Buffer data;
  data.append("down");
  (void)server.last().stream->sendData(data, false);
  server.feed("up");
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\ndown");
  EXPECT_EQ(server.last().body, "earlyup");
  // Both halves end apart.
  (void)server.last().stream->sendData(data, true);
  EXPECT_TRUE(server.codec.outputFinished());
  server.turn();
  EXPECT_FALSE(server.codec.finished());
  server.feed("more");
  server.finish();
  EXPECT_EQ(server.last().body, "earlyupmore");
  EXPECT_TRUE(server.last().complete);
  EXPECT_TRUE(server.last().ended);
  EXPECT_TRUE(server.codec.finished());
}

TEST(H1Server, EndsATunnelThatTheClientEndsFirst) {
  Server server;
  server.feed("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
  server.sendHead(server.last(), 200, {}, false);
  EXPECT_EQ(server.takeOut(), "HTTP/1.1 200 OK\r\n\r\n");
  server.finish();
  EXPECT_TRUE(server.last().complete);
  EXPECT_FALSE(server.last().ended);
  base::Buffer data;
  data.append("bye");
  (void)server.last().stream->sendData(data, true);
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_TRUE(server.last().ended);
  EXPECT_EQ(server.takeOut(), "bye");
}

TEST(H1Server, NeverReadsWhatFollowsARefusedUpgradeAsARequest) {  // matrix: 104, 106
  Server server;
  server.feed(kGet + "Connection: upgrade\r\nUpgrade: foo\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
  server.answer(server.last(), 200, {}, "ok");
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_EQ(server.exchanges.size(), 1u);
  EXPECT_EQ(server.last().body, "");
  EXPECT_NE(server.takeOut().find("connection: close"), std::string::npos);
}

TEST(H1Server, HoldsBytesBehindConnectUntilItIsAnswered) {  // matrix: 113
  Server server;
  EXPECT_EQ(server.feed("CONNECT h:443 HTTP/1.1\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"), Feed::kPaused);
  EXPECT_EQ(server.last().body, "");
  server.answer(server.last(), 503, {}, "no");
  EXPECT_EQ(server.turn(), Feed::kFinished);
  EXPECT_EQ(server.last().body, "");
}

}  // namespace
}  // namespace outrider::http::h1
