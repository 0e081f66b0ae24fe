// In its stride a connection asks the allocator for nothing. Every malloc of the process is counted, nghttp2's among them.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <gtest/gtest.h>

#include "source/http/h2/lean.h"
#include "source/http/h2/memory.h"

static uint64_t mallocs = 0;

// glibc lets a program put its own malloc in front. Sanitizers do so themselves: then only our free lists are counted.
#if !defined(__SANITIZE_ADDRESS__) && !defined(OUTRIDER_TSAN) && defined(__GLIBC__) && !defined(__clang__)
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* at, size_t size);
void* malloc(size_t size) {
  ++mallocs;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  ++mallocs;
  return __libc_calloc(count, size);
}
void* realloc(void* at, size_t size) {
  ++mallocs;
  return __libc_realloc(at, size);
}
}
constexpr bool kCounted = true;
#else
constexpr bool kCounted = false;
#endif

namespace outrider::http::h2::testing {
namespace {

void expectNone(size_t in_flight, size_t body) {
  SCOPED_TRACE(in_flight);
  SCOPED_TRACE(body);
  LeanPair pair(in_flight, body);
  for (int i = 0; i < 300; ++i) pair.round();
  const uint64_t before = mallocs, system = Memory::systemAllocations();
  const size_t pieces = Memory::live();
  for (int i = 0; i < 200; ++i) pair.round();
  EXPECT_EQ(mallocs - before, 0u);
  EXPECT_EQ(Memory::systemAllocations() - system, 0u);
  EXPECT_EQ(Memory::live(), pieces);  // and nothing piles up
}

TEST(H2Alloc, TheCounterCounts) {
  const uint64_t before = mallocs;
  void* volatile piece = std::malloc(10);
  std::free(piece);
  EXPECT_EQ(mallocs - before, kCounted ? 1u : 0u);
}

TEST(H2Alloc, OneRequestAtATimeAllocatesNothing) {
  expectNone(1, 0);
  expectNone(1, 100);
  expectNone(1, 5000);
}

TEST(H2Alloc, TwentyInFlightAllocateNothing) {
  expectNone(20, 0);
  expectNone(20, 1024);
}

// A budget, with some slack: what a session keeps besides this is in its codec's and its connection's objects.
TEST(H2Alloc, AnIdleSessionIsSmall) {
  const size_t before = Memory::liveBytes();
  {
    LeanPair pair(1, 1024);
    pair.round();
    EXPECT_LE((Memory::liveBytes() - before) / 2, 30u * 1024);
  }
  EXPECT_EQ(Memory::liveBytes(), before);
}

// Sizes are rounded by a sixteenth at most; whatever was written in a piece is what it holds.
TEST(H2Alloc, PiecesOfEverySizeAreNearlyAsLargeAsAsked) {
  for (size_t size = 0; size < 40000; size += size < 300 ? 1 : 97) {
    const size_t before = Memory::liveBytes();
    void* piece = Memory::alloc(size);
    ASSERT_NE(piece, nullptr);
    std::memset(piece, 0x5a, size);
    const size_t took = Memory::liveBytes() - before;
    EXPECT_GE(took, size + 16);
    EXPECT_LE(took, size + 32 + size / 16);
    Memory::free(piece);
    EXPECT_EQ(Memory::liveBytes(), before);
    void* again = Memory::alloc(size);
    if (took <= 32 * 1024) {
      EXPECT_EQ(again, piece);  // from the free list
    }
    Memory::free(again);
  }
}

TEST(H2Alloc, LargeBodiesAllocateNothing) {
  expectNone(1, 40000);
  expectNone(5, 40000);
}

}  // namespace
}  // namespace outrider::http::h2::testing
