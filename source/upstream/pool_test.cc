// When a connection serves again, what failing to connect looks like, and what breakers and drains do to those who wait.
#include <cstdlib>

#include <sys/socket.h>
#include <sys/un.h>

#include "source/upstream/call/tcp_lease.h"
#include "source/upstream/h2_peer.h"

namespace outrider::upstream {
namespace {

struct ReuseRow {
  const char* name;
  const char* answer;
  bool reused;
};

TEST(Http1Pool, UsesAConnectionAgainOnlyAfterACleanExchange) {
  const ReuseRow rows[] = {
      {"a length", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true},
      {"no body", "HTTP/1.1 204 No Content\r\n\r\n", true},
      {"chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true},
      {"chunks and trailers", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-t: 1\r\n\r\n", true},
      {"an interim response", "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true},
      {"close", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", false},
      {"close in another case", "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok", false},
      {"HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", false},
      {"bytes behind the end", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore", false},
      {"a second response", "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret", false},
  };
  for (const ReuseRow& row : rows) {
    SCOPED_TRACE(row.name);
    World world;
    Peer peer(world.loop);
    peer.answer = [&](const std::string&) { return std::string(row.answer); };
    world.serve(World::spec("a", {peer.address()}));
    for (int i = 0; i < 2; ++i) {
      Call call(world, "a");
      ASSERT_TRUE(world.until([&] { return call.done(); }));
      EXPECT_EQ(call.attempt->failure(), http::ResetReason::kNone);
      EXPECT_EQ(call.status() / 100, 2);
      EXPECT_EQ(call.body().find("secret"), std::string::npos);
      world.turns(3);
    }
    EXPECT_EQ(peer.accepted, row.reused ? 1 : 2);
  }
}

TEST(Http1Pool, AnAbandonedExchangeEndsItsConnection) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"); };
  world.serve(World::spec("a", {peer.address()}));
  {
    Call call(world, "a");
    ASSERT_TRUE(world.until([&] { return call.status() == 200; }));
  }
  ASSERT_TRUE(world.until([&] { return peer.open() == 0; }));
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxDestroyLocalWithActiveRq), 1u);  // HTTP/1 has no resets
}

TEST(Http1Pool, BytesThatNobodyAskedForEndAnIdleConnection) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  {
    Call call(world, "a");
    ASSERT_TRUE(world.until([&] { return call.done(); }));
  }
  world.turns(2);
  peer.sayAll("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret");
  ASSERT_TRUE(world.until([&] { return peer.open() == 0; }));
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.body(), "ok");
  EXPECT_EQ(peer.accepted, 2);
}

// A port whose queue is full: the kernel does not answer who wants to connect.
class SilentPort {
 public:
  SilentPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(fd_, 0), 0);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address = *base::Address::parseIp("127.0.0.1", ntohs(at.sin_port));
    for (int& each : fillers_) {
      each = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      ::connect(each, reinterpret_cast<sockaddr*>(&at), sizeof at);
    }
  }
  ~SilentPort() {
    for (const int each : fillers_) ::close(each);
    ::close(fd_);
  }
  base::Address address;

 private:
  const int fd_;
  int fillers_[4];
};

TEST(Connecting, TakesNoLongerThanItsTimeout) {
  World world;
  SilentPort port;
  auto spec = World::spec("a", {port.address});
  spec->connect_timeout = 50 * base::kMilli;
  world.serve(spec);
  Call call(world, "a");
  const base::Nanos start = world.loop.now();
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.attempt->failure(), http::ResetReason::kConnectTimeout);
  EXPECT_FALSE(call.attempt->requestSent());
  EXPECT_GE(world.loop.now() - start, 45 * base::kMilli);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxConnectTimeout), 1u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxConnectFail), 1u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxActive), 0u);
}

TEST(Connecting, AFailureConcernsOneOfThoseWhoWait) {
  World world;
  base::Address gone;
  {
    Peer peer(world.loop);
    gone = peer.address();
  }
  world.serve(World::spec("a", {gone}));
  Call one(world, "a"), two(world, "a"), three(world, "a");
  ASSERT_TRUE(world.until([&] { return one.done() && two.done() && three.done(); }));
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxConnectFail), 3u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqPendingFailureEject), 3u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqPendingActive), 0u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActive), 0u);
}

TEST(Connecting, ReachesUnixSockets) {
  World world;
  // Relative, for a socket's path is short and a test's folder may be deep.
  ASSERT_EQ(::chdir(::testing::TempDir().c_str()), 0);
  std::string path = "peer.XXXXXX";
  ASSERT_NE(::mkdtemp(path.data()), nullptr);
  const std::string socket = path + "/s";
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  socket.copy(at.sun_path, sizeof at.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  ASSERT_EQ(::listen(fd, 8), 0);
  H2Peer peer(world.loop, fd, *base::Address::unixPath(socket));
  peer.answerAll(200, "over a path");
  world.serve(h2Spec("a", {peer.address}));
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.body(), "over a path");
  EXPECT_EQ(world.cluster("a").hosts()->hosts[0]->address.str(), socket);
  ::unlink(socket.c_str());
  ::rmdir(path.c_str());
}

TEST(Drain, WhoWaitsForAConnectionStillGetsIt) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("a", {peer.address()}));
  Call call(world, "a");              // connecting
  world.serve(World::spec("a", {}));  // its host leaves
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.status(), 200);
  ASSERT_TRUE(world.until([&] { return peer.open() == 0; }));
}

TEST(Drain, ARemovedClusterFinishesItsRequests) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string&) { return std::string(); };
  world.serve(World::spec("a", {peer.address()}));
  Call call(world, "a");
  ASSERT_TRUE(world.until([&] { return !peer.heads.empty(); }));
  EXPECT_TRUE(world.manager.remove("a"));
  world.manager.flush();
  ASSERT_EQ(world.view.find("a"), nullptr);
  peer.sayAll("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate");
  ASSERT_TRUE(world.until([&] { return call.done(); }));
  EXPECT_EQ(call.body(), "late");
  ASSERT_TRUE(world.until([&] { return peer.open() == 0; }));
}

TEST(Drain, ADrainingHttp2ConnectionFinishesItsStreams) {
  World world;
  H2Peer peer(world.loop);
  world.serve(h2Spec("a", {peer.address}));
  Call one(world, "a"), two(world, "a");
  ASSERT_TRUE(world.until([&] { return peer.requests.size() == 2; }));
  world.serve(h2Spec("a", {}));
  world.turns(3);
  for (const auto& request : peer.requests) {
    request->head(200, {}, false);
    request->data("done", true);
  }
  ASSERT_TRUE(world.until([&] { return one.done() && two.done(); }));
  EXPECT_EQ(one.body() + two.body(), "donedone");
  ASSERT_TRUE(world.until([&] { return world.manager.find("a").active->part().stats.read(ClusterStat::kUpstreamCxActive) == 0; }));
}

// ---- raw connections ----

struct Holder final : TcpLeaseOwner {
  void onLeaseConnected() override { connected = true; }
  void onLeaseBytes(base::Buffer& in, bool end) override {
    bytes += in.str();
    in.clear();
    eof |= end;
  }
  void onLeaseFlush() override {}
  void onLeaseRoom() override {}
  void onLeaseClosed(net::CloseReason why) override {
    closed = true;
    reason = why;
  }
  bool connected = false, eof = false, closed = false;
  net::CloseReason reason = net::CloseReason::kNone;
  std::string bytes;
};

TEST(TcpLease, CarriesBytesBothWaysAndCounts) {
  World world;
  Peer peer(world.loop);
  peer.answer = [](const std::string& in) { return "got " + in; };
  world.serve(World::spec("a", {peer.address()}));
  Holder owner;
  const TcpLease::Taken taken = TcpLease::take(world.cluster("a"), owner, {});
  ASSERT_NE(taken.lease, nullptr);
  EXPECT_EQ(taken.host->address, peer.address());
  ASSERT_TRUE(world.until([&] { return owner.connected; }));
  taken.lease->connection().out().append(std::string_view("hi\r\n\r\n"));
  taken.lease->connection().markDirty();
  ASSERT_TRUE(world.until([&] { return owner.bytes == "got hi\r\n\r\n"; }));
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxActive), 1u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActive), 1u);
  EXPECT_EQ(taken.host->load.active, 1u);
  taken.lease->closeNow();
  world.turns(2);
  EXPECT_FALSE(owner.closed);  // who lets go hears no more
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamCxActive), 0u);
  EXPECT_EQ(world.count("a", ClusterStat::kUpstreamRqActive), 0u);
  EXPECT_EQ(taken.host->load.active, 0u);
}

TEST(TcpLease, SaysWhyThereIsNone) {
  World world;
  Peer peer(world.loop);
  world.serve(World::spec("none", {}));
  auto spec = World::spec("full", {peer.address()});
  spec->breakers[0].connections = 1;
  world.serve(spec);
  Holder owner;
  EXPECT_EQ(TcpLease::take(world.cluster("none"), owner, {}).refusal, TcpLease::Refusal::kNoHost);
  const TcpLease::Taken first = TcpLease::take(world.cluster("full"), owner, {});
  ASSERT_NE(first.lease, nullptr);
  EXPECT_EQ(TcpLease::take(world.cluster("full"), owner, {}).refusal, TcpLease::Refusal::kOverflow);
  EXPECT_EQ(world.count("full", ClusterStat::kUpstreamCxOverflow), 1u);
  first.lease->closeNow();
  const TcpLease::Taken again = TcpLease::take(world.cluster("full"), owner, {});
  ASSERT_NE(again.lease, nullptr);
  again.lease->closeNow();
}

TEST(TcpLease, TellsARefusedConnectionAndATimeout) {
  World world;
  base::Address gone;
  {
    Peer peer(world.loop);
    gone = peer.address();
  }
  SilentPort silent;
  world.serve(World::spec("gone", {gone}));
  auto spec = World::spec("silent", {silent.address});
  spec->connect_timeout = 30 * base::kMilli;
  world.serve(spec);
  Holder refused, slow;
  ASSERT_NE(TcpLease::take(world.cluster("gone"), refused, {}).lease, nullptr);
  ASSERT_NE(TcpLease::take(world.cluster("silent"), slow, {}).lease, nullptr);
  ASSERT_TRUE(world.until([&] { return refused.closed && slow.closed; }));
  EXPECT_EQ(refused.reason, net::CloseReason::kConnectFailed);
  EXPECT_EQ(slow.reason, net::CloseReason::kConnectTimeout);
  EXPECT_EQ(world.count("silent", ClusterStat::kUpstreamCxConnectTimeout), 1u);
}

TEST(TcpLease, EndsWithItsHostWhenTheClusterSaysSo) {
  World world;
  Peer peer(world.loop);
  auto spec = World::spec("a", {peer.address()});
  spec->close_on_host_set_change = true;
  world.serve(spec);
  Holder owner;
  ASSERT_NE(TcpLease::take(world.cluster("a"), owner, {}).lease, nullptr);
  ASSERT_TRUE(world.until([&] { return owner.connected; }));
  auto next = World::spec("a", {});
  next->close_on_host_set_change = true;
  world.serve(next);
  ASSERT_TRUE(world.until([&] { return owner.closed; }));
  EXPECT_EQ(owner.reason, net::CloseReason::kLocal);
}

}  // namespace
}  // namespace outrider::upstream
