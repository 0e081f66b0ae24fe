// What one request costs in steady state: no `new`. (Blocks and arenas come from their own free lists, which are warm by then.)
// The peer runs on a thread of its own, so that only this side counts. And what a cluster that nobody uses costs: bytes.
#include <thread>

#include <poll.h>

#include "source/base/counted_new.h"
#include "source/upstream/harness.h"

namespace outrider::upstream {
namespace {

using base::counted::allocations;
using base::counted::bytes_held;

// Answers every request on one connection until it closes.
class ThreadPeer {
 public:
  ThreadPeer() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(fd_, 4), 0);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    address = *base::Address::parseIp("127.0.0.1", ntohs(at.sin_port));
    thread_ = std::thread([this] { run(); });
  }
  ~ThreadPeer() {
    ::shutdown(fd_, SHUT_RDWR);  // ends accept()
    thread_.join();
    ::close(fd_);
  }
  base::Address address;

 private:
  void run() {
    const int fd = ::accept(fd_, nullptr, nullptr);
    if (fd < 0) return;
    char bytes[4096];
    constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    // A request fits into one read here: it is small, and the next one comes only after the answer.
    while (::read(fd, bytes, sizeof bytes) > 0) {
      if (::write(fd, kAnswer.data(), kAnswer.size()) < 0) break;
    }
    ::close(fd);
  }
  const int fd_;
  std::thread thread_;
};

class Quiet final : public AttemptOwner {
 public:
  void onAttempt(Attempt&) override {}
};

void exchange(World& world) {
  base::Arena* arena = base::Arena::create();
  Quiet owner;
  auto* head = arena->make<http::RequestHead>(*arena);
  head->method = "GET";
  head->scheme = "http";
  head->authority = "test";
  head->path = "/";
  Attempt::Options options;
  auto* attempt = arena->make<Attempt>(*world.view.find(std::string_view("a")), *arena, static_cast<AttemptOwner&>(owner), options);
  ASSERT_NE(attempt->pick({}), nullptr);
  attempt->start(*head, true);
  while (!attempt->done()) world.loop.turn(100);
  ASSERT_TRUE(attempt->ended());
  attempt->~Attempt();
  arena->unref();
}

TEST(Budget, ARequestOverAWarmPoolAllocatesNothing) {
  ThreadPeer peer;
  World world;
  world.serve(World::spec("a", {peer.address}));
  for (int i = 0; i < 20; ++i) exchange(world);
  const size_t before = allocations;
  EXPECT_GT(before, 0u);  // the count works: the first requests made the pool
  for (int i = 0; i < 100; ++i) exchange(world);
  EXPECT_EQ(allocations - before, 0u);
}

// The cluster without its endpoints, as main and one worker hold it; the letter of changes is gone.
TEST(Budget, AClusterThatNobodyUsesCostsFewBytesAndLeavesNoneBehind) {
  World world;
  constexpr int kCount = 4000;
  const auto name = [](int i) { return "outbound-cluster-" + std::to_string(100000 + i) + ".default.svc"; };
  const auto add = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      auto spec = std::make_shared<config::ClusterSpec>();
      spec->name = spec->eds_name = name(i);
      spec->discovery = config::Discovery::kEds;
      ASSERT_TRUE(world.manager.put(std::move(spec), true).ok());
      world.manager.updateEndpoints(name(i), std::make_shared<const config::EndpointsSpec>());
    }
    world.manager.flush();
    world.letters.clear();
    world.turns(3);
  };
  add(0, 10);
  const int64_t few = bytes_held;
  add(10, 10 + kCount);
  const int64_t each = (bytes_held - few) / kCount;
  world.manager.refreshGauges();  // as when somebody reads the statistics
  const int64_t read = (bytes_held - few) / kCount;
  for (int i = 10; i < 10 + kCount; ++i) ASSERT_TRUE(world.manager.remove(name(i)));
  world.manager.flush();
  world.letters.clear();
  world.turns(3);
  const int64_t left = (bytes_held - few) / kCount;
  std::printf("a cluster: %ld bytes, once statistics were read %ld; once removed %ld\n", static_cast<long>(each), static_cast<long>(read),
              static_cast<long>(left));
  EXPECT_LE(each, 3760);
  EXPECT_EQ(read, each);
  EXPECT_LE(left, 250);  // its name keeps its number
}

// What twenty thousand endpoints cost beside what was sent, and what one that is exchanged costs then.
TEST(Budget, AnEndpointCostsFewBytesAndAChangeOfOneMakesOneHost) {
  World world;
  constexpr uint32_t kCount = 20000;
  auto spec = std::make_shared<config::ClusterSpec>();
  spec->name = spec->eds_name = "a";
  spec->discovery = config::Discovery::kEds;
  ASSERT_TRUE(world.manager.put(std::move(spec), true).ok());
  const auto listOf = [](uint32_t exchanged) {
    auto out = std::make_shared<config::EndpointsSpec>();
    out->localities.emplace_back();
    out->localities[0].endpoints.reserve(kCount);
    for (uint32_t i = 0; i < kCount; ++i) {
      const uint32_t at = i == exchanged ? kCount : i;
      out->localities[0].endpoints.push_back(endpointAt(
          *base::Address::parseIp("10.0." + std::to_string(at / 256) + "." + std::to_string(at % 256), static_cast<uint16_t>(1000))));
    }
    return std::shared_ptr<const config::EndpointsSpec>(std::move(out));
  };
  const auto apply = [&](const std::shared_ptr<const config::EndpointsSpec>& list) {
    world.manager.updateEndpoints("a", list);
    world.manager.flush();
    world.letters.clear();
    world.turns(3);
  };
  auto first = listOf(kCount), second = listOf(7000);
  const int64_t before = bytes_held;
  apply(first);
  const int64_t each = (bytes_held - before) / kCount;
  const HostRef kept = world.cluster("a").hosts()->hosts[9000];
  const size_t then = allocations;
  apply(second);
  const size_t made = allocations - then;
  std::printf("an endpoint: %ld bytes; one exchanged of %u: %zu allocations\n", static_cast<long>(each), kCount, made);
  EXPECT_EQ(world.cluster("a").hosts()->hosts[9000], kept);
  EXPECT_LE(each, 530);
  EXPECT_LE(made, 100u);
}

// Of ten thousand clusters a worker may use ten: the others are not made.
TEST(Budget, AWorkerMakesAClusterWhenItIsFirstAskedFor) {
  World world;
  world.serve(World::spec("a", {*base::Address::parseIp("127.0.0.1", 1)}));
  size_t before = allocations;
  Cluster* first = world.view.find(std::string_view("a"));
  EXPECT_NE(first, nullptr);
  EXPECT_GT(allocations, before);
  before = allocations;
  EXPECT_EQ(world.view.find(std::string_view("a")), first);
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace outrider::upstream
