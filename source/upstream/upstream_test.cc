#include "source/upstream/harness.h"

namespace outrider::upstream {
namespace {

TEST(Attempt, BringsTheResponseOfAHost) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  Call call(world, "a", "/x");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.status(), 200);
  EXPECT_EQ(call.body(), "ok");
  EXPECT_TRUE(call.attempt->ended());
  EXPECT_EQ(call.attempt->failure(), http::ResetReason::kNone);
  EXPECT_NE(peer.heads.at(0).find("GET /x HTTP/1.1\r\n"), std::string::npos);
}

TEST(Pool, ReusesAnIdleConnection) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  for (int i = 0; i < 5; ++i) {
    Call call(world, "a");
    ASSERT_TRUE(world.until([&] { return call.done(); }));
    EXPECT_EQ(call.status(), 200);
  }
  EXPECT_EQ(peer.accepted, 1);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxTotal), 1u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqTotal), 5u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActive), 0u);
}

TEST(Pool, OpensAConnectionForEachWaitingRequest) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  Call one(world, "a"), two(world, "a"), three(world, "a");
  ASSERT_TRUE(world.until([&] { return one.done() && two.done() && three.done(); }));
  EXPECT_EQ(one.status() + two.status() + three.status(), 600);
  EXPECT_LE(peer.accepted, 3);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqPendingActive), 0u);
}

TEST(Pool, NoticesThatAnIdleConnectionDied) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  {
    Call call(world, "a");
    ASSERT_TRUE(world.until([&] { return call.done(); }));
  }
  peer.closeAll();
  ASSERT_TRUE(world.until([&] { return world.count("a", ClusterStat::kUpstreamCxActive) == 0; }));
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.status(), 200);
  EXPECT_EQ(peer.accepted, 2);
}

TEST(Pool, ClosesAConnectionAfterItsLastRequest) {
  World world;
  Peer peer(world.loop);
  auto spec = World::spec("a", {peer.address()});
  spec->http.max_requests_per_connection = 2;
  world.serve(spec);
  for (int i = 0; i < 4; ++i) {
    Call call(world, "a");
    ASSERT_TRUE(world.until([&] { return call.done(); }));
    EXPECT_EQ(call.status(), 200);
    world.turns(2);
  }
  EXPECT_EQ(peer.accepted, 2);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxMaxRequests), 2u);
}

TEST(Pool, ClosesConnectionsThatStayIdle) {
  World world;
  Peer peer(world.loop);
  auto spec = World::spec("a", {peer.address()});
  spec->http.idle_timeout = 20 * base::kMilli;
  world.serve(spec);
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  ASSERT_TRUE(world.until([&] { return world.count("a", ClusterStat::kUpstreamCxIdleTimeout) == 1; }));
  ASSERT_TRUE(world.until([&] { return peer.open() == 0; }));
}

TEST(Attempt, TellsARefusedConnection) {
  World world;
  base::Address gone;
  {
    Peer peer(world.loop);
    gone = peer.address();
  }
  world.serve(World::spec("a", {gone}));
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.attempt->failure(), http::ResetReason::kConnectFailure);
  EXPECT_EQ(call.attempt->transportFailure(), "delayed connect error: Connection refused");
  EXPECT_FALSE(call.attempt->requestSent());
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxConnectFail), 1u);
}

TEST(Attempt, TellsAConnectionThatClosedBeforeTheResponse) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string(); };
  world.serve(World::spec("a", {peer.address()}));
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.heads.size() == 1; }));
  peer.closeAll();
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.attempt->failure(), http::ResetReason::kConnectionClosed);
  EXPECT_TRUE(call.attempt->requestSent());
}

TEST(Attempt, TellsThatThereIsNoHost) {
  World world;
  world.serve(World::spec("a", {}));
  Call call(world, "a");
  EXPECT_TRUE(call.done());
  EXPECT_TRUE(call.attempt->noHost());
}

TEST(Breaker, RefusesRequestsAboveTheLimitExactly) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string(); };
  auto spec = World::spec("a", {peer.address()});
  spec->breakers[0].requests = 2;
  world.serve(spec);
  Call one(world, "a"), two(world, "a"), three(world, "a");
  ASSERT_TRUE(world.until([&] { return three.done(); }));
  EXPECT_FALSE(one.done());
  EXPECT_FALSE(two.done());
  EXPECT_EQ(three.attempt->failure(), http::ResetReason::kPoolOverflow);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActiveOverflow), 1u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqTotal), 2u);
  one.attempt->abandon();
  Call four(world, "a");
  world.turns(5);
  EXPECT_FALSE(four.done());
}

// As Envoy counts: who waits for a connection is pending, not yet a request.
TEST(Breaker, CountsARequestWhenItGetsItsConnection) {
  World world;
  Peer peer(world.loop);
  auto spec = World::spec("a", {peer.address()});
  spec->breakers[0].connections = 1;
  spec->breakers[0].requests = 1;
  world.serve(spec);
  Call one(world, "a"), two(world, "a"), three(world, "a");
  ASSERT_TRUE(world.until([&] { return one.done() && two.done() && three.done(); }));
  EXPECT_EQ(one.status() + two.status() + three.status(), 600);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActiveOverflow), 0u);
}

TEST(Breaker, BoundsWhoWaits) {
  World world;
  Peer peer(world.loop);
  auto spec = World::spec("a", {peer.address()});
  spec->breakers[0].pending = 1;
  world.serve(spec);
  Call one(world, "a"), two(world, "a");
  EXPECT_TRUE(two.done());
  EXPECT_EQ(two.attempt->failure(), http::ResetReason::kPoolOverflow);
  ASSERT_TRUE(world.until([&] { return one.done(); }));
  EXPECT_EQ(one.status(), 200);
}

TEST(Breaker, WaitingRequestsShareTheConnectionsThatAreAllowed) {
  World world;
  Peer peer(world.loop);
  auto spec = World::spec("a", {peer.address()});
  spec->breakers[0].connections = 1;
  world.serve(spec);
  Call one(world, "a"), two(world, "a"), three(world, "a");
  ASSERT_TRUE(world.until([&] { return one.done() && two.done() && three.done(); }));
  EXPECT_EQ(one.status() + two.status() + three.status(), 600);
  EXPECT_EQ(peer.accepted, 1);
  EXPECT_GE(world.count("a", ClusterStat::kUpstreamCxOverflow), 1u);
}

// The peer closes the kept connection when the next request arrives: the attempt says so, for a caller that may ask again.
TEST(Attempt, KnowsThatItsKeptConnectionWasStale) {
  World world;
  Peer peer(world.loop);
  int asked = 0;
  peer.answer = [&](const std::string&) {
    if (++asked == 1) return std::string("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    return std::string();
  };
  world.serve(World::spec("a", {peer.address()}));
  Call one(world, "a");
  ASSERT_TRUE(world.until([&] { return one.done(); }));
  EXPECT_FALSE(one.attempt->stale());
  Call two(world, "a");
  ASSERT_TRUE(world.until([&] { return asked == 2; }));
  peer.closeAll();
  ASSERT_TRUE(world.until([&] { return two.done(); }));
  EXPECT_TRUE(two.attempt->stale());
  EXPECT_EQ(peer.accepted, 1);
}

// A connection may be kept without having served: whoever it was made for got another one meanwhile.
TEST(Attempt, KnowsThatAConnectionWhichOnlyWaitedWasStale) {
  World world;
  Peer peer(world.loop);
  bool silent = false;
  peer.answer = [&](const std::string&) { return silent ? std::string() : std::string("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"); };
  world.serve(World::spec("a", {peer.address()}));
  { Call given_up(world, "a"); }
  ASSERT_TRUE(world.until([&] { return peer.open() == 1; }));
  world.turns(5);
  silent = true;
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.heads.size() == 1; }));
  peer.closeAll();
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_TRUE(call.attempt->stale());
}

TEST(Attempt, MayBeGivenUpAtAnyTime) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome"); };
  world.serve(World::spec("a", {peer.address()}));
  { Call queued(world, "a"); }
  {
    Call streaming(world, "a");
    ASSERT_TRUE(world.until([&] { return streaming.status() == 200; }));
  }
  world.turns(3);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActive), 0u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqPendingActive), 0u);
  ASSERT_TRUE(world.until([&] { return world.count("a", ClusterStat::kUpstreamCxActive) <= 1; }));
}

}  // namespace
}  // namespace outrider::upstream
