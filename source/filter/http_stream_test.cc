// The chain's promises, each as a story: see the contract in http_filter.h.
#include <functional>

#include <gtest/gtest.h>

#include "test/fakes/filter_harness.h"
#include "test/fakes/proving_filters.h"

namespace outrider::filter {
namespace {

using namespace outrider::test;  // NOLINT: the harness is the language of these stories

TEST(HttpStream, PassesBothWaysThroughAnEmptyChain) {
  FilterHarness proxy;
  proxy.send("POST", "/a", false);
  proxy.sendBody("hello ", false);
  proxy.sendBody("world", true);
  EXPECT_EQ(proxy.upstream.path, "/a");
  EXPECT_EQ(proxy.upstream.body, "hello world");
  EXPECT_TRUE(proxy.upstream.ended);
  proxy.respond(200, false);
  (void)proxy.respondBody("answer", true);
  EXPECT_EQ(proxy.client.status, 200);
  EXPECT_EQ(proxy.client.body, "answer");
  EXPECT_TRUE(proxy.over());
  EXPECT_EQ(proxy.end_reason, http::ResetReason::kNone);
}

TEST(HttpStream, TrailersPassBothWays) {
  FilterHarness proxy;
  proxy.send("POST", "/a", false);
  proxy.sendBody("x", false);
  proxy.sendTrailers();
  EXPECT_TRUE(proxy.upstream.got_trailers);
  proxy.respond(200, false);
  proxy.respondTrailers();
  EXPECT_EQ(proxy.client.trailers["x-trailer"], "t");
  EXPECT_TRUE(proxy.over());
}

TEST(HttpStream, AFilterMayWaitForATimerWhileTheBodyWaitsBehindIt) {
  FilterHarness proxy;
  proxy.add<WaitsForATimer>("wait", WaitsForATimer::Config{5 * base::kMilli});
  proxy.send("POST", "/a", false);
  proxy.sendBody("early", true);
  EXPECT_EQ(proxy.upstream.heads, 0);
  proxy.pass(10 * base::kMilli);
  EXPECT_EQ(proxy.upstream.heads, 1);
  EXPECT_EQ(proxy.upstream.body, "early");
  EXPECT_TRUE(proxy.upstream.ended);
}

TEST(HttpStream, AFilterMayRefuseAfterATimer) {
  FilterHarness proxy;
  proxy.add<WaitsForATimer>("wait", WaitsForATimer::Config{5 * base::kMilli, true});
  proxy.send("GET", "/a");
  proxy.pass(10 * base::kMilli);
  EXPECT_EQ(proxy.client.status, 403);
  EXPECT_EQ(proxy.client.body, "refused late");
  EXPECT_EQ(proxy.upstream.heads, 0);
  EXPECT_EQ(proxy.details, "late");
  EXPECT_TRUE(proxy.over());
}

TEST(HttpStream, ALateAnswerToADeadStreamIsNoAnswer) {
  std::vector<StreamHandle> questions;
  FilterHarness proxy;
  proxy.add<AsksASide>("ask", AsksASide::Config{&questions});
  proxy.send("GET", "/a");
  ASSERT_EQ(questions.size(), 1u);
  EXPECT_TRUE(questions[0].alive());
  proxy.clientResets();
  EXPECT_FALSE(questions[0].alive());
  questions[0].resume(Direction::kRequest, Verdict::next());
  proxy.turns();
  EXPECT_EQ(proxy.upstream.heads, 0);
}

TEST(HttpStream, AnAnswerOfASideCallLetsTheRequestGo) {
  std::vector<StreamHandle> questions;
  FilterHarness proxy;
  proxy.add<AsksASide>("ask", AsksASide::Config{&questions});
  proxy.send("POST", "/a", false);
  proxy.sendBody("one", false);
  questions[0].resume(Direction::kRequest, Verdict::next());
  proxy.turns();
  EXPECT_EQ(proxy.upstream.body, "one");
  proxy.sendBody("two", true);
  EXPECT_EQ(proxy.upstream.body, "onetwo");
  questions[0].resume(Direction::kRequest, Verdict::next());  // a second answer changes nothing
  proxy.turns();
  EXPECT_EQ(proxy.upstream.heads, 1);
}

TEST(HttpStream, ABodyThatWaitsForASideCallPausesItsSource) {
  std::vector<StreamHandle> questions;
  FilterHarness proxy;
  proxy.add<AsksASide>("ask", AsksASide::Config{&questions}).limit(1000);
  proxy.send("POST", "/a", false);
  proxy.sendBody(std::string(2000, 'x'), false);
  EXPECT_TRUE(proxy.client.paused);
  questions[0].resume(Direction::kRequest, Verdict::next());
  proxy.turns();
  EXPECT_FALSE(proxy.client.paused);
  EXPECT_EQ(proxy.upstream.body.size(), 2000u);
}

TEST(HttpStream, AWholeBodyIsHeldThenPasses) {
  FilterHarness proxy;
  proxy.add<HoldsTheBody>("hold", HoldsTheBody::Config{true, true});
  proxy.send("POST", "/a", false);
  proxy.sendBody("one", false);
  proxy.sendBody("two", false);
  EXPECT_EQ(proxy.upstream.heads, 0);
  proxy.sendBody("three", true);
  EXPECT_EQ(proxy.upstream.heads, 1);
  EXPECT_EQ(proxy.upstream.body, "onetwothree");
  proxy.respond(200, false);
  (void)proxy.respondBody("a", false);
  EXPECT_EQ(proxy.client.heads, 0);
  (void)proxy.respondBody("b", true);
  EXPECT_EQ(proxy.client.body, "ab");
  EXPECT_TRUE(proxy.over());
}

TEST(HttpStream, AHeldBodyThatEndsWithTrailersPasses) {
  FilterHarness proxy;
  proxy.add<HoldsTheBody>("hold", HoldsTheBody::Config{true, true});
  proxy.send("POST", "/a", false);
  proxy.sendBody("one", false);
  proxy.sendTrailers();
  EXPECT_EQ(proxy.upstream.body, "one");
  EXPECT_TRUE(proxy.upstream.got_trailers);
}

TEST(HttpStream, ABodyTooLargeToHoldIs413AndAResponseTooLargeIs500) {
  FilterHarness request;
  request.add<HoldsTheBody>("hold", HoldsTheBody::Config{true, false}).limit(100);
  request.send("POST", "/a", false);
  request.sendBody(std::string(200, 'x'), false);
  EXPECT_EQ(request.client.status, 413);
  EXPECT_EQ(request.upstream.heads, 0);

  FilterHarness response;
  response.add<HoldsTheBody>("hold", HoldsTheBody::Config{false, true}).limit(100);
  response.send("GET", "/a");
  response.respond(200, false);
  (void)response.respondBody(std::string(200, 'x'), false);
  EXPECT_EQ(response.client.status, 500);
  EXPECT_EQ(response.details, "response_payload_too_large");
}

TEST(HttpStream, ABodyIsRewrittenAndTrailersBecomeBody) {
  FilterHarness proxy;
  proxy.add<RewritesTheBody>("rewrite", RewritesTheBody::Config{});
  proxy.send("POST", "/a", false);
  proxy.sendBody("abc", false);
  proxy.sendTrailers();
  EXPECT_EQ(proxy.upstream.body, "ABC[x-trailer]");
  EXPECT_TRUE(proxy.upstream.ended);
  EXPECT_FALSE(proxy.upstream.got_trailers);
  proxy.respond(200, false);
  (void)proxy.respondBody("xyz", false);
  proxy.respondTrailers();
  EXPECT_EQ(proxy.client.body, "XYZ[x-trailer]");
  EXPECT_TRUE(proxy.client.ended);
  EXPECT_TRUE(proxy.client.trailers.empty());
  EXPECT_TRUE(proxy.over());
}

TEST(HttpStream, AStreamedReplyKeepsToTheClientsPace) {
  FilterHarness proxy;
  proxy.add<ServesAStream>("serve", ServesAStream::Config{5, 1000});
  proxy.client.full = true;
  proxy.send("GET", "/a");
  EXPECT_EQ(proxy.client.body.size(), 1000u);  // one piece, then full
  EXPECT_FALSE(proxy.client.ended);
  proxy.clientReads();
  EXPECT_EQ(proxy.client.body.size(), 5000u);
  EXPECT_TRUE(proxy.over());
  EXPECT_EQ(proxy.upstream.heads, 0);
}

TEST(HttpStream, ARestartMatchesAgainAndBringsTheBody) {
  for (const bool after_body : {false, true}) {
    FilterHarness proxy;
    proxy.add<RestartsElsewhere>("restart", RestartsElsewhere::Config{"/elsewhere", after_body});
    proxy.send("POST", "/a", false);
    proxy.sendBody("bo", false);
    proxy.sendBody("dy", true);
    EXPECT_EQ(proxy.matches, 2);
    EXPECT_EQ(proxy.matched_paths.back(), "/elsewhere");
    EXPECT_EQ(proxy.upstream.path, "/elsewhere");
    EXPECT_EQ(proxy.upstream.body, "body");
    EXPECT_TRUE(proxy.upstream.ended);
    proxy.respond(200, true);
    EXPECT_TRUE(proxy.over());
  }
}

TEST(HttpStream, AReplyBeforeTheHeadLeftReplacesTheAnswer) {
  FilterHarness proxy;
  proxy.add<RepliesOnTheResponse>("reply", RepliesOnTheResponse::Config{RepliesOnTheResponse::When::kHead});
  proxy.send("GET", "/a");
  proxy.respond(200, false);
  EXPECT_EQ(proxy.client.status, 502);
  EXPECT_EQ(proxy.client.body, "replaced");
  EXPECT_EQ(proxy.client.heads, 1);
  EXPECT_TRUE(proxy.over());
}

TEST(HttpStream, AReplyAfterTheHeadLeftIsAReset) {
  FilterHarness proxy;
  proxy.add<RepliesOnTheResponse>("reply", RepliesOnTheResponse::Config{RepliesOnTheResponse::When::kData});
  proxy.send("GET", "/a");
  proxy.respond(200, false);
  (void)proxy.respondBody("x", false);
  EXPECT_EQ(proxy.client.status, 200);
  EXPECT_TRUE(proxy.client.was_reset);
  EXPECT_TRUE(proxy.over());
}

TEST(HttpStream, AReplyWalksTheResponseHooksOfAllFilters) {
  std::vector<std::string> trace;
  {
    FilterHarness proxy;
    proxy.add<LeavesATrace>("a", LeavesATrace::Config{&trace, "a"});
    proxy.add<ServesAStream>("serve", ServesAStream::Config{1, 3});
    proxy.add<LeavesATrace>("b", LeavesATrace::Config{&trace, "b"});
    proxy.send("GET", "/a");
    EXPECT_TRUE(proxy.over());
  }
  EXPECT_EQ(trace, (std::vector<std::string>{"a:request", "b:response", "a:response", "b:gone", "a:gone"}));
}

TEST(HttpStream, AFilterThatTheRouteDisablesSeesNothing) {
  config::RouteTableSpec spec;
  spec.hosts.push_back({.name = "h", .domains = {"*"}});
  config::RouteSpec changed;
  changed.match.path = "/changed";
  changed.action = config::RouteSpec::Action::kNonForwarding;
  changed.filters.push_back({.filter = "a", .type_url = {}, .bytes = {}, .disabled = true, .parsed = nullptr});
  changed.filters.push_back({.filter = "c", .type_url = {}, .bytes = {}, .disabled = false, .parsed = nullptr});
  config::RouteSpec plain;
  plain.action = config::RouteSpec::Action::kNonForwarding;
  spec.hosts[0].routes = {changed, plain};
  config::NameTable names;
  const auto table = config::RouteTable::compile(spec, names);
  ASSERT_TRUE(table.ok());
  const auto traceOf = [&](const std::string& path) {
    std::vector<std::string> trace;
    {
      FilterHarness proxy;
      proxy.table = *table;
      proxy.add<LeavesATrace>("a", LeavesATrace::Config{&trace, "a"});
      proxy.add<LeavesATrace>("b", LeavesATrace::Config{&trace, "b"});
      proxy.add<LeavesATrace>("c", LeavesATrace::Config{&trace, "c"}).disabled();
      proxy.send("GET", path);
      proxy.respond(200, true);
      EXPECT_TRUE(proxy.over());
    }
    std::erase_if(trace, [](const std::string& each) { return each.ends_with(":gone"); });
    return trace;
  };
  EXPECT_EQ(traceOf("/plain"), (std::vector<std::string>{"a:request", "b:request", "b:response", "a:response"}));
  EXPECT_EQ(traceOf("/changed"), (std::vector<std::string>{"b:request", "c:request", "c:response", "b:response"}));
}

TEST(HttpStream, AnExchangeThatTakesTooLongEnds) {
  FilterHarness proxy;
  proxy.send("GET", "/a");
  proxy.stream()->setDuration(5 * base::kMilli);
  proxy.pass(4 * base::kMilli);
  EXPECT_EQ(proxy.client.status, 0);
  proxy.pass(2 * base::kMilli);
  EXPECT_EQ(proxy.client.status, 504);
  EXPECT_EQ(proxy.details, "max_duration_timeout");
}

TEST(HttpStream, AResetAtEveryEventEndsOnceAndTellsTheFilters) {
  // The script's steps; the client leaves after the n-th.
  for (int leave = 0; leave < 7; ++leave) {
    std::vector<std::string> trace;
    std::vector<StreamHandle> questions;
    {
      FilterHarness proxy;
      proxy.add<LeavesATrace>("t", LeavesATrace::Config{&trace, "t"});
      proxy.add<AsksASide>("ask", AsksASide::Config{&questions});
      proxy.add<HoldsTheBody>("hold", HoldsTheBody::Config{true, true});
      proxy.add<RewritesTheBody>("rewrite", RewritesTheBody::Config{});
      const auto step = [&](int n, auto&& action) {
        if (n == leave) proxy.clientResets();
        action();
      };
      step(-1, [&] { proxy.send("POST", "/a", false); });
      step(0, [&] { proxy.sendBody("b", false); });
      step(1, [&] {
        questions[0].resume(Direction::kRequest, Verdict::next());
        proxy.turns();
      });
      step(2, [&] { proxy.sendBody("c", true); });
      step(3, [&] { proxy.respond(200, false); });
      step(4, [&] { (void)proxy.respondBody("x", false); });
      step(5, [&] { (void)proxy.respondBody("y", true); });
      step(6, [&] {});
      EXPECT_TRUE(proxy.over()) << leave;
      EXPECT_FALSE(proxy.client.late) << leave;
      if (leave < 6) {
        EXPECT_EQ(proxy.end_reason, http::ResetReason::kRemoteReset) << leave;
      }
      if (proxy.upstream.heads > 0) {
        EXPECT_TRUE(proxy.upstream.over) << leave;
      }
    }
    EXPECT_EQ(trace.back(), "t:gone");
    const auto resets = std::count(trace.begin(), trace.end(), "t:reset");
    EXPECT_EQ(resets, leave < 6 ? 1 : 0) << leave;
  }
}

TEST(HttpStream, AGrpcCallIsRefusedInTrailersOnly) {
  FilterHarness proxy;
  proxy.grpc = true;
  proxy.add<WaitsForATimer>("wait", WaitsForATimer::Config{0, true});
  proxy.send("POST", "/pkg.Service/Method");
  proxy.pass(5 * base::kMilli);
  EXPECT_EQ(proxy.client.status, 200);
  EXPECT_EQ(proxy.client.headers["grpc-status"], "7");
  EXPECT_EQ(proxy.client.headers["grpc-message"], "refused late");
  EXPECT_EQ(proxy.client.body, "");
}

TEST(HttpStream, ASlowUpstreamPausesTheClient) {
  FilterHarness proxy;
  proxy.upstream.full = true;
  proxy.send("POST", "/a", false);
  proxy.sendBody("x", false);
  EXPECT_TRUE(proxy.client.paused);
  proxy.stream()->pauseRequest(false);
  EXPECT_FALSE(proxy.client.paused);
}

TEST(HttpStream, ASlowClientStopsTheUpstreamAndLaterGivesRoom) {
  FilterHarness proxy;
  proxy.send("GET", "/a");
  proxy.client.full = true;
  proxy.respond(200, false);
  EXPECT_EQ(proxy.respondBody("x", false), http::Room::kFull);
  EXPECT_FALSE(proxy.upstream.room);
  proxy.clientReads();
  EXPECT_TRUE(proxy.upstream.room);
}

// A filter that answers the request's and the response's head as it is told.
struct Answers {
  struct Config {
    std::function<Verdict(StreamContext&)> request, trailers, response;
  };
  Answers(const Config& config, StreamContext context) : config_(config), context_(context) {}
  Verdict onRequest(http::RequestHead&, bool) { return config_.request ? config_.request(context_) : Verdict::next(); }
  Verdict onRequestTrailers(http::HeaderMap&, base::Buffer&) { return config_.trailers ? config_.trailers(context_) : Verdict::next(); }
  Verdict onResponse(http::ResponseHead&, bool) { return config_.response ? config_.response(context_) : Verdict::next(); }
  const Config& config_;
  StreamContext context_;
};

struct CountedSource final : BodySource {
  CountedSource() { ++live; }
  ~CountedSource() override { --live; }
  State read(base::Buffer& out, size_t) override {
    out.append("source");
    return State::kDone;
  }
  static inline int live = 0;
};

TEST(HttpStream, NothingIsSentBehindAResetThatAReplysOwnHookCaused) {
  FilterHarness proxy;
  proxy.limit(10);
  proxy.add<HoldsTheBody>("hold", HoldsTheBody::Config{true, false});
  proxy.add<Answers>("answers", Answers::Config{{}, {}, [](StreamContext&) { return Verdict::restart(); }});
  proxy.send("POST", "/a", false);
  proxy.sendBody("more than ten bytes", false);  // 413, whose head the second filter refuses
  EXPECT_TRUE(proxy.client.was_reset);
  EXPECT_EQ(proxy.client.heads, 0);
  EXPECT_EQ(proxy.client.body, "");
  EXPECT_FALSE(proxy.client.late);
}

TEST(HttpStream, AReplyInPlaceOfAHeldResponseIsNotHeld) {
  StreamHandle held;
  FilterHarness proxy;
  proxy.limit(10);
  proxy.add<Answers>("answers", Answers::Config{{}, {}, [&](StreamContext& context) {
                                                  held = context.handle();
                                                  return Verdict::hold();
                                                }});
  proxy.send("GET", "/a");
  proxy.respond(200, false);
  EXPECT_EQ(proxy.respondBody("more than ten bytes", false), http::Room::kFull);
  Reply& reply = proxy.stream()->makeReply(503, {}, "instead");
  reply.source = new CountedSource;
  held.resume(Direction::kResponse, Verdict::reply(reply));
  proxy.turns();
  EXPECT_EQ(proxy.client.status, 503);
  EXPECT_EQ(proxy.client.body, "source");
  EXPECT_TRUE(proxy.over());
}

TEST(HttpStream, ASourceInAReplyThatComesTooLateIsFreed) {
  StreamHandle held;
  {
    FilterHarness proxy;
    proxy.add<Answers>("answers", Answers::Config{[&](StreamContext& context) {
                                                    held = context.handle();
                                                    return Verdict::hold();
                                                  },
                                                  {},
                                                  {}});
    proxy.send("GET", "/a");
    Reply& reply = proxy.stream()->makeReply(200, {}, "late");
    reply.source = new CountedSource;
    held.resume(Direction::kRequest, Verdict::reply(reply));
    proxy.clientResets();
    EXPECT_TRUE(proxy.over());
  }
  EXPECT_EQ(CountedSource::live, 0);
}

TEST(HttpStream, ARestartDuringARestartTakesBodyAndTrailersRoundOnce) {
  int restarts = 0;
  FilterHarness proxy;
  const auto twice = [&](StreamContext&) { return ++restarts <= 1 ? Verdict::restart() : Verdict::next(); };
  int heads = 0;
  proxy.add<HoldsTheBody>("hold", HoldsTheBody::Config{true, false});
  proxy.add<Answers>("answers", Answers::Config{[&](StreamContext&) {
                                                  return ++heads == 2 ? Verdict::restart() : heads == 1 ? Verdict::hold() : Verdict::next();
                                                },
                                                twice,
                                                {}});
  proxy.send("POST", "/a", false);
  proxy.sendBody("body", false);
  proxy.sendTrailers();
  EXPECT_EQ(proxy.upstream.heads, 1);
  EXPECT_EQ(proxy.upstream.body, "body");
  EXPECT_TRUE(proxy.upstream.got_trailers);
  EXPECT_FALSE(proxy.upstream.late);
}

}  // namespace
}  // namespace outrider::filter
