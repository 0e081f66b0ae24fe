// Trying again: what is counted while it happens.
#include <string>

#include "gtest/gtest.h"
#include "test/stories/world.h"

namespace outrider::test {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
constexpr std::string_view kUnavailable = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";

bool asked(const Wire& wire) { return wire.received().ends_with("\r\n\r\n"); }

TEST(Retries, ARetryCountsAgainstMaxRetriesUntilItsAnswerIsKnown) {
  Backend backend;
  World world(edge({{},
                    "retry_policy: { retry_on: 5xx, num_retries: 3 }",
                    "circuit_breakers: { thresholds: [ { max_retries: 1 } ] }",
                    std::to_string(backend.port())}));
  world.watch(backend);
  Wire& first = world.connect("in");
  first.send(kGet);
  ASSERT_TRUE(world.until([&] { return backend.connections() == 1 && asked(backend.at(0)); }));
  backend.at(0).take();
  backend.at(0).send(kUnavailable);
  ASSERT_TRUE(world.until([&] { return world.counter("cluster.backend.upstream_rq_retry") == 1; }));  // its back-off has begun
  world.advance(100 * base::kMilli);
  ASSERT_TRUE(world.until([&] { return asked(backend.at(0)); }));  // the retry; no answer yet

  Wire& second = world.connect("in");
  second.send(kGet);
  ASSERT_TRUE(world.until([&] { return backend.connections() == 2 && asked(backend.at(1)); }));
  backend.at(1).send(kUnavailable);
  ASSERT_TRUE(world.until([&] { return second.received().ends_with("busy"); }));
  EXPECT_EQ(world.counter("cluster.backend.upstream_rq_retry_overflow"), 1u);

  backend.at(0).send(kOk);
  ASSERT_TRUE(world.until([&] { return first.received().ends_with("hi"); }));
  backend.at(1).take();
  second.take();
  second.send(kGet);
  ASSERT_TRUE(world.until([&] { return asked(backend.at(0)) || asked(backend.at(1)); }));
}

TEST(Retries, WhoLeavesWhileARetryWaitsGivesItsPlaceBack) {
  Backend backend;
  World world(edge({{},
                    "retry_policy: { retry_on: 5xx, num_retries: 3, retry_back_off: { base_interval: 60s, max_interval: 60s } }",
                    "circuit_breakers: { thresholds: [ { max_retries: 1, track_remaining: true } ] }",
                    std::to_string(backend.port())}));
  world.watch(backend);
  Wire& client = world.connect("in");
  client.send(kGet);
  ASSERT_TRUE(world.until([&] { return backend.connections() == 1 && asked(backend.at(0)); }));
  backend.at(0).send(kUnavailable);
  world.settle();
  EXPECT_EQ(world.counter("cluster.backend.upstream_rq_retry"), 1u);
  client.reset();
  world.settle();
  Wire& other = world.connect("in");
  backend.at(0).take();
  other.send(kGet);
  ASSERT_TRUE(world.until([&] { return asked(backend.last()); }));
  backend.last().send(kUnavailable);
  world.settle();
  EXPECT_EQ(other.received(), "");  // it waits for its own retry
  EXPECT_EQ(world.counter("cluster.backend.upstream_rq_retry_overflow"), 0u);
  EXPECT_EQ(world.counter("cluster.backend.upstream_rq_retry"), 2u);
}

}  // namespace
}  // namespace outrider::test
