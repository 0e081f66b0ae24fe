// What a steady exchange takes from the kernel and the allocator, in the whole server: counted under the loop's I/O seam and by a malloc
// of this program, only while the server has its turns.
#include <cstdlib>
#include <functional>
#include <string>

#include "gtest/gtest.h"
#include "source/event/io.h"
#include "test/stories/world.h"

static bool counting = false;
static uint64_t allocations = 0;

// Sanitizers have a malloc of their own: there only the calls are counted.
#if !defined(__SANITIZE_ADDRESS__) && !defined(OUTRIDER_TSAN) && defined(__GLIBC__) && !defined(__clang__)
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* at, size_t size);
void* malloc(size_t size) {
  allocations += counting;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  allocations += counting;
  return __libc_calloc(count, size);
}
void* realloc(void* at, size_t size) {
  allocations += counting;
  return __libc_realloc(at, size);
}
}
constexpr bool kCounted = true;
#else
constexpr bool kCounted = false;
#endif

namespace outrider::test {
namespace {

class ExchangeCost : public testing::Test {
 protected:
  static constexpr uint64_t kWarm = 100, kRounds = 200;

  // The server's turns, until the peer has that end of a message.
  void pass(const std::function<void()>& pump, const std::string& received, std::string_view end) {
    const base::Nanos limit = base::SystemClock::instance().mono() + 2 * base::kSecond;
    do {
      counting = true;
      world_.server().stepUntilIdle();
      counting = false;
      pump();
      ASSERT_LT(base::SystemClock::instance().mono(), limit) << "waits for " << end << " after " << received.size() << " bytes";
    } while (!received.ends_with(end));
  }
  void exchange(const std::string& request, const std::string& response, std::string_view request_end, std::string_view response_end) {
    client_.send(request);
    if (backend_.connections() == 0) {
      ASSERT_TRUE(world_.until([&] { return backend_.connections() == 1 && backend_.last().received().ends_with(request_end); }));
    } else {
      pass([&] { backend_.pump(); }, backend_.last().received(), request_end);
    }
    (void)backend_.last().take();
    backend_.last().send(response);
    pass([&] { client_.pump(); }, client_.received(), response_end);
    (void)client_.take();
  }
  void expectSteady(const std::string& request, const std::string& response, std::string_view request_end, std::string_view response_end) {
    for (uint64_t i = 0; i < kWarm; ++i) exchange(request, response, request_end, response_end);
    const uint64_t before = allocations;
    const event::io::Calls calls = event::io::calls;
    for (uint64_t i = 0; i < kRounds; ++i) exchange(request, response, request_end, response_end);
    const event::io::Calls& now = event::io::calls;
    EXPECT_EQ(allocations - before, 0u);
    EXPECT_EQ(now.writes - calls.writes, 2 * kRounds);
    EXPECT_GE(now.reads - calls.reads, 2 * kRounds);
    // A peer's bytes may be seen in two pieces now and then.
    EXPECT_LE(now.data() - calls.data(), 4 * kRounds + kRounds / 20);
    EXPECT_EQ(now.controls - calls.controls, 0u);
  }

  Backend backend_;
  World world_{edge({{}, {}, {}, std::to_string(backend_.port())})};
  Wire& client_ = (world_.watch(backend_), world_.connect("in"));
};

TEST_F(ExchangeCost, TheCountersCount) {
  counting = true;
  void* volatile piece = std::malloc(10);
  counting = false;
  std::free(piece);
  EXPECT_EQ(allocations, kCounted ? 1u : 0u);
  const uint64_t before = event::io::calls.data();
  exchange("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "\r\n\r\n", "\r\n\r\nok");
  EXPECT_GE(event::io::calls.data(), before + 4);
}

TEST_F(ExchangeCost, ASteadyExchangeTakesNoMemoryAndFourDataCalls) {
  expectSteady("GET /a?b=c HTTP/1.1\r\nhost: a\r\nuser-agent: test/1\r\naccept: */*\r\ncookie: a=b\r\n\r\n",
               "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok", "\r\n\r\n", "\r\n\r\nok");
}

TEST_F(ExchangeCost, SoDoesOneWithBodies) {
  const std::string up(300, 'u'), down(1024, 'd');
  expectSteady("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 300\r\n\r\n" + up, "HTTP/1.1 200 OK\r\ncontent-length: 1024\r\n\r\n" + down,
               up, down);
}

}  // namespace
}  // namespace outrider::test
