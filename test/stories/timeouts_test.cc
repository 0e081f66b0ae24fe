// What ends an exchange or a connection because time passed: told on a clock that the test moves.
#include <string>

#include "gtest/gtest.h"
#include "test/stories/world.h"

namespace outrider::test {
namespace {

using base::kMilli;
using base::kSecond;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

bool starts(const Wire& wire, std::string_view with) { return wire.received().starts_with(with); }
std::string portOf(const Backend& backend) { return std::to_string(backend.port()); }

// One listener, one backend that the test speaks for.
struct Story {
  explicit Story(const std::string& route = {}, const std::string& manager = {}, const std::string& cluster = {})
      : world(edge({manager, route, cluster, portOf(backend)})) {
    world.watch(backend);
  }
  // The backend has a whole request head.
  bool asked(size_t connections = 1) {
    return world.until([&] { return backend.connections() == connections && backend.last().received().ends_with("\r\n\r\n"); });
  }
  Backend backend;
  World world;
};

TEST(Timeouts, ASteadyExchangeIsServed) {
  Story story;
  Wire& client = story.world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(story.asked());
  story.backend.last().send(kOk);
  EXPECT_TRUE(story.world.until([&] { return client.received().ends_with("hi"); }));
  EXPECT_TRUE(starts(client, "HTTP/1.1 200 OK\r\n"));
}

TEST(Timeouts, TheRouteTimeoutAnswers504AndResetsTheBackend) {
  Story story("timeout: 3s");
  Wire& client = story.world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(story.asked());
  story.world.advance(3 * kSecond - 10 * kMilli);
  EXPECT_EQ(client.received(), "");
  story.world.advance(20 * kMilli);
  EXPECT_TRUE(starts(client, "HTTP/1.1 504 Gateway Timeout\r\n")) << client.received();
  EXPECT_TRUE(client.received().ends_with("upstream request timeout")) << client.received();
  EXPECT_TRUE(story.backend.last().ended());
  EXPECT_EQ(story.world.counter("cluster.backend.upstream_rq_timeout"), 1u);
}

TEST(Timeouts, TheDefaultRouteTimeoutIs15Seconds) {
  Story story;
  Wire& client = story.world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(story.asked());
  story.world.advance(15 * kSecond - 10 * kMilli);
  EXPECT_EQ(client.received(), "");
  story.world.advance(20 * kMilli);
  EXPECT_TRUE(starts(client, "HTTP/1.1 504 ")) << client.received();
}

TEST(Timeouts, TheRouteTimeoutStartsWhenTheRequestIsComplete) {
  Story story("timeout: 3s");
  Wire& client = story.world.connect("in");
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n");
  ASSERT_TRUE(story.asked());
  story.world.advance(10 * kSecond);
  EXPECT_EQ(client.received(), "");
  client.send("ab");
  ASSERT_TRUE(story.world.until([&] { return story.backend.last().received().ends_with("ab"); }));
  story.world.advance(2 * kSecond);
  EXPECT_EQ(client.received(), "");
  story.world.advance(kSecond + 10 * kMilli);
  EXPECT_TRUE(starts(client, "HTTP/1.1 504 ")) << client.received();
}

TEST(Timeouts, APerTryTimeoutTriesAgain) {
  Story story("timeout: 10s\nretry_policy: { retry_on: 5xx, num_retries: 2, per_try_timeout: 1s }");
  Wire& client = story.world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(story.asked(1));
  story.world.advance(kSecond + 10 * kMilli);
  story.world.advance(100 * kMilli);  // back-off: at most 25 ms at first
  ASSERT_TRUE(story.asked(2));
  EXPECT_TRUE(story.backend.at(0).ended());
  story.backend.at(1).send(kOk);
  EXPECT_TRUE(story.world.until([&] { return client.received().ends_with("hi"); }));
  EXPECT_EQ(story.world.counter("cluster.backend.upstream_rq_per_try_timeout"), 1u);
  EXPECT_EQ(story.world.counter("cluster.backend.upstream_rq_retry"), 1u);
}

TEST(Timeouts, ARetryWaitsForItsBackOff) {
  Story story("retry_policy: { retry_on: 5xx, num_retries: 1, retry_back_off: { base_interval: 2s, max_interval: 2s } }");
  Wire& client = story.world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(story.asked());
  story.backend.last().take();
  story.backend.last().send("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
  story.world.settle();
  EXPECT_EQ(client.received(), "");
  story.world.advance(2 * kSecond + 10 * kMilli);
  ASSERT_TRUE(story.asked(1));  // the connection is used again
  story.backend.last().send(kOk);
  EXPECT_TRUE(story.world.until([&] { return client.received().ends_with("hi"); }));
}

TEST(Timeouts, AnIdleStreamIsEnded) {
  Story story("timeout: 0s\nidle_timeout: 4s");
  Wire& client = story.world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(story.asked());
  story.world.advance(3 * kSecond);
  story.backend.last().send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
  ASSERT_TRUE(story.world.until([&] { return client.received().ends_with("abc"); }));
  story.world.advance(3 * kSecond);
  EXPECT_FALSE(client.ended());
  story.world.advance(kSecond + 10 * kMilli);
  EXPECT_TRUE(story.world.until([&] { return client.ended(); }));
  EXPECT_EQ(story.world.counter("http.in.downstream_rq_idle_timeout"), 1u);
}

TEST(Timeouts, AHalfSentHeadIsAnswered408) {
  Story story({}, "request_headers_timeout: 5s");
  Wire& client = story.world.connect("in");
  client.send("GET / HTTP/1.1\r\nhost:");
  story.world.settle();
  story.world.advance(5 * kSecond - 10 * kMilli);
  EXPECT_EQ(client.received(), "");
  story.world.advance(20 * kMilli);
  EXPECT_TRUE(starts(client, "HTTP/1.1 408 Request Timeout\r\n")) << client.received();
  EXPECT_EQ(story.world.counter("http.in.downstream_rq_header_timeout"), 1u);
}

TEST(Timeouts, AHeadTakesAtMostTenSecondsUnlessToldOtherwise) {
  Story story;
  Wire& client = story.world.connect("in");
  client.send("GET / HTTP/1.1\r\nhost:");
  story.world.settle();
  story.world.advance(10 * kSecond + 10 * kMilli);
  EXPECT_TRUE(starts(client, "HTTP/1.1 408 ")) << client.received();
}

TEST(Timeouts, AnIdleConnectionIsClosed) {
  Story story({}, "common_http_protocol_options: { idle_timeout: 60s }");
  Wire& client = story.world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(story.asked());
  story.backend.last().send(kOk);
  ASSERT_TRUE(story.world.until([&] { return client.received().ends_with("hi"); }));
  story.world.advance(59 * kSecond);
  EXPECT_FALSE(client.ended());
  story.world.advance(2 * kSecond);
  EXPECT_TRUE(story.world.until([&] { return client.ended(); }));
  EXPECT_EQ(story.world.counter("http.in.downstream_cx_idle_timeout"), 1u);
}

TEST(Timeouts, AConnectionThatOnlyConnectsIsClosedToo) {
  Story story({}, "common_http_protocol_options: { idle_timeout: 60s }");
  Wire& client = story.world.connect("in");
  story.world.settle();
  story.world.advance(59 * kSecond);
  EXPECT_FALSE(client.ended());
  story.world.advance(2 * kSecond);
  EXPECT_TRUE(story.world.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received(), "");
}

TEST(Timeouts, HalfAPrefaceIsSlowToo) {
  Story story({}, "request_headers_timeout: 5s");
  Wire& client = story.world.connect("in");
  client.send("PRI * HTTP/2.0\r\n");
  story.world.settle();
  story.world.advance(5 * kSecond + 10 * kMilli);
  EXPECT_TRUE(story.world.until([&] { return client.ended(); }));
}

TEST(Timeouts, ARequestTakesAtMostItsRequestTimeout) {
  Story story({}, "request_timeout: 2s");
  Wire& client = story.world.connect("in");
  client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab");
  ASSERT_TRUE(story.world.until([&] { return story.backend.connections() == 1 && story.backend.last().received().ends_with("ab"); }));
  story.world.advance(2 * kSecond + 10 * kMilli);
  EXPECT_TRUE(starts(client, "HTTP/1.1 408 ")) << client.received();
  EXPECT_EQ(story.world.counter("http.in.downstream_rq_timeout"), 1u);
}

TEST(Timeouts, IdleUpstreamConnectionsAreClosed) {
  Story story({}, {}, R"(typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    common_http_protocol_options: { idle_timeout: 30s }
    explicit_http_config: { http_protocol_options: {} })");
  Wire& client = story.world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(story.asked());
  story.backend.last().send(kOk);
  ASSERT_TRUE(story.world.until([&] { return client.received().ends_with("hi"); }));
  story.world.advance(29 * kSecond);
  EXPECT_FALSE(story.backend.last().ended());
  story.world.advance(2 * kSecond);
  EXPECT_TRUE(story.world.until([&] { return story.backend.last().ended(); }));
  EXPECT_EQ(story.world.counter("cluster.backend.upstream_cx_idle_timeout"), 1u);
}

TEST(Timeouts, ADrainClosesIdleConnectionsAndLetsExchangesEnd) {
  Story story;
  Wire& idle = story.world.connect("in");
  Wire& busy = story.world.connect("in");
  idle.send(kGet);
  ASSERT_TRUE(story.asked());
  story.backend.last().send(kOk);
  ASSERT_TRUE(story.world.until([&] { return idle.received().ends_with("hi"); }));
  busy.send(kGet);
  ASSERT_TRUE(story.world.until([&] { return story.backend.last().received().size() > 100; }));
  story.world.server().shutdown();
  story.world.settle();
  EXPECT_TRUE(idle.ended());
  EXPECT_FALSE(busy.ended());
  story.backend.last().send(kOk);
  EXPECT_TRUE(story.world.until([&] { return busy.ended(); }));
  EXPECT_NE(busy.received().find("connection: close\r\n"), std::string::npos) << busy.received();
  EXPECT_TRUE(busy.received().ends_with("hi"));
}

TEST(Timeouts, WhoWaitsToBeAcceptedWhenTheListenerClosesIsServed) {
  Story story;
  Wire& client = story.world.connect("in");
  client.send(kGet);
  story.world.server().drainListeners(false, false, false);
  ASSERT_TRUE(story.asked());
  story.backend.last().send(kOk);
  EXPECT_TRUE(story.world.until([&] { return client.received().ends_with("hi"); }));
}

TEST(Timeouts, ADrainingListenerAsksClientsToLeaveOverItsTime) {
  Story story;
  Wire& client = story.world.connect("in");
  story.world.settle();
  story.world.server().drainListeners(true, false, false);
  story.world.advance(600 * kSecond);
  // Idle for that long, it was not closed: nothing was asked of it (its idle timeout is an hour).
  EXPECT_FALSE(client.ended());
  client.send(kGet);
  ASSERT_TRUE(story.asked());
  story.backend.last().send(kOk);
  EXPECT_TRUE(story.world.until([&] { return client.ended(); }));
  EXPECT_NE(client.received().find("connection: close\r\n"), std::string::npos) << client.received();
}

}  // namespace
}  // namespace outrider::test
