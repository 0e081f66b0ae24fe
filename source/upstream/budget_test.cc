// What one request costs in steady state: no `new`. (Blocks and arenas come from their own free lists, which are warm by then.)
// The peer runs on a thread of its own, so that only this side counts.
#include <cstdlib>
#include <new>
#include <thread>

#include <poll.h>

#include "source/upstream/harness.h"

namespace {
thread_local size_t allocations = 0;
}

void* operator new(size_t size) {
  ++allocations;
  if (void* at = std::malloc(size)) return at;
  std::abort();
}
void* operator new(size_t size, std::align_val_t align) {
  ++allocations;
  if (void* at =
          std::aligned_alloc(static_cast<size_t>(align), (size + static_cast<size_t>(align) - 1) & ~(static_cast<size_t>(align) - 1)))
    return at;
  std::abort();
}
void operator delete(void* at) noexcept { std::free(at); }
void operator delete(void* at, size_t) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { std::free(at); }

namespace outrider::upstream {
namespace {

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

}  // namespace
}  // namespace outrider::upstream
