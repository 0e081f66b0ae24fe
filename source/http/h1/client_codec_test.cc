#include "source/http/h1/client_codec.h"

#include <gtest/gtest.h>

#include "source/http/h1/harness.h"

namespace outrider::http::h1 {
namespace {

using testing::Call;
using testing::Client;

std::string repeat(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

struct Outcome {
  std::string trace;
  bool reusable;
  std::string connection_error;
  bool operator==(const Outcome&) const = default;
};

// What a caller of `method` sees of these bytes, fed whole; all cuts must agree.
Outcome respond(const std::string& bytes, bool then_fin = false, std::string_view method = "GET", std::string_view upgrade = {},
                const Settings& settings = Settings::upstream()) {
  const auto run = [&](const std::vector<std::string_view>& pieces) {
    Client client(settings);
    Call& call = client.call(method, "/", {}, upgrade.empty(), upgrade);
    for (const std::string_view piece : pieces) client.feed(piece);
    if (then_fin) client.finish();
    return Outcome{call.trace(), client.codec.freeStreams() == 1 && !client.codec.finished(), client.connection_error};
  };
  const std::string_view all = bytes;
  const Outcome outcome = run({all});
  if (bytes.size() < 2000) {
    std::vector<std::string_view> single;
    for (size_t i = 0; i < all.size(); ++i) single.push_back(all.substr(i, 1));
    const Outcome by_byte = run(single);
    EXPECT_EQ(by_byte.trace, outcome.trace) << bytes;
    // Bytes that come after a clean end are found one feed later, on an idle connection.
    EXPECT_EQ(by_byte.reusable, outcome.reusable) << bytes;
    for (size_t cut = 0; cut <= all.size(); ++cut) {
      const Outcome in_two = run({all.substr(0, cut), all.substr(cut)});
      EXPECT_EQ(in_two.trace, outcome.trace) << bytes << " cut at " << cut;
      EXPECT_EQ(in_two.reusable, outcome.reusable) << bytes << " cut at " << cut;
    }
  }
  return outcome;
}

std::string brokenBy(const std::string& details) {
  return "ended " + std::to_string(static_cast<int>(ResetReason::kProtocolError)) + " " + details + "\n";
}

TEST(H1Client, SendsARequestAndIsUsedAgain) {
  Client client;
  EXPECT_EQ(client.codec.freeStreams(), 1u);
  Call& call = client.call("GET", "/a?b", {{"X-A", "b"}, {"Connection", "close"}, {"Keep-Alive", "x"}});
  EXPECT_EQ(client.codec.freeStreams(), 0u);
  EXPECT_EQ(client.takeOut(), "GET /a?b HTTP/1.1\r\nhost: h\r\nx-a: b\r\n\r\n");
  EXPECT_EQ(client.feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), Feed::kMore);
  EXPECT_EQ(call.trace(), "200 HTTP/1.1\ncontent-length=5\nbody=hello\ntrailers=complete\nended 0 \n");
  EXPECT_EQ(client.done, 1);
  EXPECT_EQ(client.codec.freeStreams(), 1u);
  client.call("HEAD", "/");
  EXPECT_EQ(client.takeOut(), "HEAD / HTTP/1.1\r\nhost: h\r\n\r\n");
}

TEST(H1Client, SaysWhetherABodyFollows) {
  const struct {
    std::string_view method;
    std::string_view length;
    std::string_view fields;
  } kBodiless[] = {
      {"GET", "", ""},
      {"DELETE", "", ""},
      {"HEAD", "", ""},
      {"POST", "", "content-length: 0\r\n"},
      {"PUT", "", "content-length: 0\r\n"},
      {"OPTIONS", "", "content-length: 0\r\n"},
      {"POST", "0", "content-length: 0\r\n"},
      {"POST", "7", "content-length: 0\r\n"},  // a length no body will meet
      {"GET", "+7", "content-length: 0\r\n"},
  };
  for (const auto& each : kBodiless) {
    Client client;
    if (each.length.empty()) {
      client.call(each.method, "/");
    } else {
      client.call(each.method, "/", {{"content-length", each.length}});
    }
    EXPECT_EQ(client.takeOut(), std::string(each.method) + " / HTTP/1.1\r\nhost: h\r\n" + std::string(each.fields) + "\r\n");
  }
  {
    Client client;
    Call& call = client.call("POST", "/", {{"content-length", "5"}}, false);
    client.send(call, "hello", true);
    EXPECT_EQ(client.takeOut(), "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello");
  }
  {
    Client client;
    Call& call = client.call("POST", "/", {{"transfer-encoding", "gzip"}}, false);
    client.send(call, "hello", false);
    client.send(call, "", true);
    EXPECT_EQ(client.takeOut(), "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  }
}

TEST(H1Client, NeverSendsMoreOrLessThanAnnounced) {
  for (const std::string_view body : {"abcdefgh", "abc"}) {
    Client client;
    Call& call = client.call("POST", "/", {{"content-length", "5"}}, false);
    client.send(call, body, true);
    client.turn();
    EXPECT_TRUE(call.ended);
    EXPECT_EQ(call.end, ResetReason::kLocal);
    EXPECT_TRUE(client.codec.finished());
    EXPECT_EQ(client.takeOut().find("abcdef"), std::string::npos);
  }
}

TEST(H1Client, SendsNoHeadThatAValueWouldSplit) {
  for (const std::string& value : {std::string("a\r\nx: y"), std::string("a\nb"), std::string("a\0b", 3)}) {
    Client client;
    Call& call = client.call("GET", "/", {{"x-a", value}});
    client.turn();
    EXPECT_EQ(client.takeOut(), "");
    EXPECT_EQ(call.end, ResetReason::kLocal);
    EXPECT_TRUE(client.codec.finished());
  }
  Client client;
  Call& call = client.call("GET", "/a HTTP/1.1 b");
  client.turn();
  EXPECT_EQ(client.takeOut(), "");
  EXPECT_TRUE(call.ended);
}

TEST(H1Client, SendsAHeadLargerThanABlock) {
  Client client;
  client.call("GET", "/", {{"x-a", std::string(20000, 'a')}, {"x-b", std::string(30000, 'b')}});
  EXPECT_EQ(client.takeOut(),
            "GET / HTTP/1.1\r\nhost: h\r\nx-a: " + std::string(20000, 'a') + "\r\nx-b: " + std::string(30000, 'b') + "\r\n\r\n");
  client.codec.resetAll(ResetReason::kLocal);
  Client other;
  Call& call = other.call("GET", "/", {{"x-a", std::string(20000, 'a') + "\r"}});
  other.turn();
  EXPECT_EQ(other.takeOut(), "");
  EXPECT_TRUE(call.ended);
}

TEST(H1Client, ReadsResponsesHoweverTheyAreCut) {
  const struct {
    const char* row;
    std::string bytes;
    std::string trace;
    bool reusable;
  } kRows[] = {
      {"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "200 HTTP/1.1\ncontent-length=2\nbody=ab\ntrailers=complete\nended 0 \n",
       true},
      {"empty", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
       "404 HTTP/1.1\ncontent-length=0\nbody=\ntrailers=complete\nended 0 \n", true},
      {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
       "200 HTTP/1.1\nbody=ab\ntrailers=complete\nended 0 \n", true},
      {"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: y\r\n\r\n",
       "200 HTTP/1.1\nbody=ab\ntrailers=complete\nended 0 \n", true},
      {"close", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
       "200 HTTP/1.1 (closes)\ncontent-length=0\nbody=\ntrailers=complete\nended 0 \n", false},
      {"1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
       "200 HTTP/1.0 (closes)\ncontent-length=0\nbody=\ntrailers=complete\nended 0 \n", false},
      {"1.0 keeps", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
       "200 HTTP/1.0\ncontent-length=0\nbody=\ntrailers=complete\nended 0 \n", true},
      {"204", "HTTP/1.1 204 No Content\r\n\r\n", "204 HTTP/1.1\nbody=\ntrailers=complete\nended 0 \n", true},
      {"204 zero", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "204 HTTP/1.1\nbody=\ntrailers=complete\nended 0 \n", true},
      {"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
       "304 HTTP/1.1\ncontent-length=9\nbody=\ntrailers=complete\nended 0 \n", true},
      {"hop", "HTTP/1.1 200\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Connection: x\r\nContent-Length: 0\r\n\r\n",
       "200 HTTP/1.1\ncontent-length=0\nbody=\ntrailers=complete\nended 0 \n", true},
      {"119", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
       "100 103 200 HTTP/1.1\ncontent-length=1\nbody=a\ntrailers=complete\nended 0 \n", true},
      {"227", "HTTP/1.1 200 OK\nContent-Length: 2\nX: y\n\nab",
       "200 HTTP/1.1\ncontent-length=2\nx=y\nbody=ab\ntrailers=complete\nended 0 \n", true},
      {"229", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
       "200 HTTP/1.1\ncontent-length=1\nbody=a\ntrailers=complete\nended 0 \n", false},
      {"234", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
       "200 HTTP/1.1\nx=a   b\ncontent-length=0\nbody=\ntrailers=complete\nended 0 \n", true},
  };
  for (const auto& each : kRows) {
    const Outcome outcome = respond(each.bytes);
    EXPECT_EQ(outcome.trace, each.trace) << each.row;
    EXPECT_EQ(outcome.reusable, each.reusable) << each.row;
  }
}

TEST(H1Client, TreatsABrokenResponseAsTheUpstreamsFault) {
  const struct {
    const char* row;
    std::string bytes;
    const char* details;
  } kRows[] = {
      {"224", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "http1.codec_error"},
      {"224", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "http1.codec_error"},
      {"225", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
       "http1.content_length_and_chunked_not_allowed"},
      {"226", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", "http1.invalid_transfer_encoding"},
      {"228", std::string("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 27), "http1.invalid_characters"},
      {"230", "HTTP/1.1 200 OK\r\nX: " + std::string(70000, 'x') + "\r\n\r\n", "http1.headers_too_large"},
      {"231", "HTTP/1.1 200 OK\r\n" + repeat("X: y\r\n", 150) + "\r\n", "http1.too_many_headers"},
      {"232", "HTTP/1.1 2x0 OK\r\n\r\n", "http1.codec_error"},
      {"232", "HTTP/1.1 020 OK\r\n\r\n", "http1.codec_error"},
      {"232", "HTTP/1.1 2000 OK\r\n\r\n", "http1.codec_error"},
      {"232", "HTTP/1.1  200 OK\r\n\r\n", "http1.codec_error"},
      {"232", "HTTP/2.0 200 OK\r\n\r\n", "http1.codec_error"},
      {"232", "HTTPS/1.1 200 OK\r\n\r\n", "http1.codec_error"},
      {"232", "\x01\x02\x03garbage", "http1.codec_error"},
      {"232", "\r\nHTTP/1.1 200 OK\r\n\r\n", "http1.codec_error"},
      {"233", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "http1.content_length_not_allowed"},
      {"233", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "http1.transfer_encoding_not_allowed"},
      {"109", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "http1.codec_error"},
      {"120", repeat("HTTP/1.1 100 Continue\r\n\r\n", 65), "http1.codec_error"},
      {"048", "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "http1.invalid_characters"},
      {"length", "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", "http1.codec_error"},
  };
  for (const auto& each : kRows) {
    const Outcome outcome = respond(each.bytes);
    EXPECT_NE(outcome.trace.find(brokenBy(each.details)), std::string::npos) << each.row << "\n" << outcome.trace;
    EXPECT_FALSE(outcome.reusable) << each.row;
    EXPECT_EQ(outcome.trace.find("complete"), std::string::npos) << each.row;
  }
  const Outcome chunk = respond("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabx");
  EXPECT_NE(chunk.trace.find(brokenBy("http1.codec_error")), std::string::npos);
  EXPECT_NE(chunk.trace.find("body=ab\n"), std::string::npos);
}

TEST(H1Client, TakesUpTo64InformationalResponses) {  // matrix: 120
  const Outcome outcome = respond(repeat("HTTP/1.1 100 Continue\r\n\r\n", 64) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(outcome.reusable);
}

TEST(H1Client, RefusesOldLineEndsInStrictMode) {  // matrix: 227
  EXPECT_NE(respond("HTTP/1.1 200 OK\nContent-Length: 0\n\n", false, "GET", {}, Settings()).trace.find(brokenBy("http1.bare_lf")),
            std::string::npos);
}

TEST(H1Client, KnowsWhatTheEndOfTheConnectionMeans) {
  const std::string broken = brokenBy("http1.codec_error");
  // matrix: 236
  const Outcome whole = respond("HTTP/1.1 200 OK\r\n\r\nhello", true);
  EXPECT_EQ(whole.trace, "200 HTTP/1.1 (closes)\nbody=hello\ntrailers=complete\nended 0 \n");
  EXPECT_FALSE(whole.reusable);
  // matrix: 235
  for (const std::string bytes :
       {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
    const Outcome cut = respond(bytes, true);
    EXPECT_NE(cut.trace.find("body=hello\ntrailers=open\n" + broken), std::string::npos) << cut.trace;
  }
  // matrix: 237
  EXPECT_EQ(respond("", true).trace,
            "body=\ntrailers=open\nended " + std::to_string(static_cast<int>(ResetReason::kConnectionClosed)) + " \n");
  // matrix: 238
  EXPECT_NE(respond("HTTP/1.1 20", true).trace.find(broken), std::string::npos);
  const struct {
    std::string bytes;
    ResetReason reason;
  } kResets[] = {
      {"", ResetReason::kConnectionClosed},                                                // matrix: 237
      {"HTTP/1.1 20", ResetReason::kProtocolError},                                        // matrix: 238
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", ResetReason::kProtocolError},  // matrix: 239
      {"HTTP/1.1 200 OK\r\n\r\nhello", ResetReason::kProtocolError},                       // matrix: 239
  };
  for (const auto& each : kResets) {
    Client client;
    Call& call = client.call("GET", "/");
    client.feed(each.bytes);
    client.codec.resetAll(ResetReason::kConnectionClosed);
    EXPECT_EQ(call.end, each.reason) << each.bytes;
  }
}

TEST(H1Client, ReadsNoBodyBehindAnAnswerToHead) {
  EXPECT_EQ(respond("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false, "HEAD").trace,
            "200 HTTP/1.1\ncontent-length=9\nbody=\ntrailers=complete\nended 0 \n");
  EXPECT_TRUE(respond("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, "HEAD").reusable);
  EXPECT_TRUE(respond("HTTP/1.1 200 OK\r\n\r\n", false, "HEAD").reusable);
}

TEST(H1Client, IsNotUsedAgainAfterAnAnswerBeforeTheRequestsEnd) {
  Client client;
  Call& call = client.call("POST", "/", {}, false);
  client.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.end, ResetReason::kNone);
  EXPECT_TRUE(client.codec.finished());
}

TEST(H1Client, FinishesOnBytesThatNobodyAskedFor) {
  Client client;
  EXPECT_EQ(client.feed("HTTP/1.1 408 Request Timeout\r\n\r\n"), Feed::kFinished);
  EXPECT_EQ(client.connection_error, "http1.codec_error");
  EXPECT_EQ(client.codec.freeStreams(), 0u);

  Client idle;
  EXPECT_EQ(idle.finish(), Feed::kFinished);
  EXPECT_EQ(idle.connection_error, "");
}

TEST(H1Client, FinishesWhenDrained) {
  Client client;
  Call& call = client.call("GET", "/");
  client.codec.drain();
  EXPECT_FALSE(client.codec.finished());
  client.feed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(call.ended);
  EXPECT_TRUE(client.codec.finished());
}

TEST(H1Client, ClosesOnAResetAndTellsOnlyTheConnection) {
  Client client;
  Call& call = client.call("GET", "/");
  call.stream->reset(ResetReason::kLocal);
  EXPECT_EQ(client.turn(), Feed::kFinished);
  EXPECT_FALSE(call.ended);
  EXPECT_EQ(client.done, 1);
}

TEST(H1Client, StopsEatingABodyThatIsPaused) {
  Client client;
  Call& call = client.call("GET", "/");
  client.feed("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
  call.stream->pause(true);
  EXPECT_EQ(client.feed("def"), Feed::kPaused);
  EXPECT_EQ(call.body, "abc");
  call.stream->pause(false);
  client.turn();
  EXPECT_EQ(call.body, "abcdef");
  EXPECT_TRUE(call.ended);
}

TEST(H1Client, AsksTheWriterToPauseUntilTheOutputDrained) {
  Client client;
  Call& call = client.call("POST", "/", {}, false);
  base::Buffer data;
  data.append(std::string(100000, 'x'));
  EXPECT_EQ(call.stream->sendData(data, false), Room::kFull);
  client.takeOut();
  client.codec.onOutputDrained();
  EXPECT_EQ(call.rooms, 1);
}

TEST(H1Client, TunnelsAfterAnUpgradeThatWasAsked) {  // matrix: 107
  Client client;
  Call& call = client.call("GET", "/ws", {}, false, "websocket");
  EXPECT_EQ(client.takeOut(), "GET /ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
  client.feed("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello");
  EXPECT_EQ(call.head_text, "101 HTTP/1.1 (closes)\nupgrade=websocket\n");
  EXPECT_EQ(call.body, "hello");
  client.send(call, "up", false);
  EXPECT_EQ(client.takeOut(), "up");
  client.finish();
  EXPECT_TRUE(call.complete);
  EXPECT_FALSE(call.ended);
  client.send(call, "bye", true);
  EXPECT_TRUE(client.codec.outputFinished());
  EXPECT_EQ(client.turn(), Feed::kFinished);
  EXPECT_TRUE(call.ended);
  EXPECT_EQ(call.end, ResetReason::kNone);
}

TEST(H1Client, TunnelsAfterConnect) {
  Client client;
  Call& call = client.open();
  RequestHead head(call.arena());
  head.method = "CONNECT";
  head.authority = "t:443";
  call.stream->sendHead(head, false);
  EXPECT_EQ(client.takeOut(), "CONNECT t:443 HTTP/1.1\r\nhost: t:443\r\n\r\n");
  client.feed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
  EXPECT_EQ(call.head_text, "200 HTTP/1.1 (closes)\n");
  EXPECT_EQ(call.body, "hello");
  EXPECT_FALSE(call.complete);
}

TEST(H1Client, DoesNotUseAConnectionAgainThatRefusedAnUpgrade) {  // matrix: 105
  const Outcome outcome = respond("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, "GET", "websocket");
  EXPECT_EQ(outcome.trace, "200 HTTP/1.1 (closes)\ncontent-length=2\nbody=ok\ntrailers=complete\nended 0 \n");
  EXPECT_FALSE(outcome.reusable);
}

TEST(H1Client, AsksForATunnelOfHttp2InTheWayOfHttp1) {
  Client client;
  Call& call = client.open();
  RequestHead head(call.arena());
  head.method = "CONNECT";
  head.path = "/ws";
  head.authority = "h";
  head.upgrade = "websocket";
  call.stream->sendHead(head, false);
  EXPECT_EQ(client.takeOut(), "GET /ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
}

TEST(H1Client, PassesTrailersWhereEnabled) {
  Settings settings = Settings::upstream();
  settings.enable_trailers = true;
  Client client(settings);
  Call& call = client.call("POST", "/", {}, false);
  client.send(call, "a", false);
  HeaderMap trailers(call.arena());
  trailers.add("x-t", "v");
  call.stream->sendTrailers(trailers);
  EXPECT_EQ(client.takeOut(), "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-t: v\r\n\r\n");
  client.feed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\ngrpc-status: 0\r\n\r\n");
  EXPECT_EQ(call.trailers, "grpc-status=0\n");
  EXPECT_TRUE(call.ended);
}

// What a server took in and a client sends on is the same head, in runs of untouched lines and around edits.
TEST(H1Client, ForwardsAParsedHeadWithItsEdits) {
  testing::Server server;
  server.feed(
      "POST /p?q HTTP/1.1\r\nHost: h.test\r\nX-A: 1\r\nX-B:2\r\nX-C: 3 \r\nConnection: X-D\r\nX-D: gone\r\nContent-Length: 2\r\nX-E: "
      "5\r\nX-F: 6\r\n\r\nab");
  RequestHead& head = *server.last().head;
  head.headers.remove("x-e");
  head.headers.set("x-a", "changed");
  head.headers.add(HeaderId::kForwardedFor, "10.0.0.1");
  Client client;
  Call& call = client.open();
  call.stream->sendHead(head, false);
  client.send(call, "ab", true);
  EXPECT_EQ(client.takeOut(),
            "POST /p?q HTTP/1.1\r\nhost: h.test\r\nx-a: changed\r\nx-b: 2\r\nx-c: 3\r\ncontent-length: 2\r\nx-f: 6\r\n"
            "x-forwarded-for: 10.0.0.1\r\n\r\nab");
}

}  // namespace
}  // namespace outrider::http::h1
