#include "source/base/arena.h"

#include <string>

#include <gtest/gtest.h>

#include "source/base/local_ref.h"

namespace outrider::base {
namespace {

TEST(Arena, GivesAlignedMemoryOfAnySize) {
  LocalRef<Arena> arena(Arena::create());
  arena->unref();  // LocalRef holds the only reference now
  for (size_t size : {1u, 7u, 64u, 3000u, 9000u, 100000u}) {
    auto* at = static_cast<char*>(arena->alloc(size, 64));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(at) % 64, 0u);
    std::memset(at, 0xab, size);
  }
  EXPECT_GT(arena->held(), 100000u);
}

TEST(Arena, KeepsCopiesUntilTheLastReferenceGoes) {
  const size_t before = Arena::liveOnThisThread();
  Arena* arena = Arena::create();
  const std::string_view kept = arena->copy("secret");
  arena->ref();
  arena->unref();
  EXPECT_EQ(kept, "secret");
  EXPECT_EQ(arena->concat("a", "", "bc"), "abc");
  arena->unref();
  EXPECT_EQ(Arena::liveOnThisThread(), before);
}

}  // namespace
}  // namespace outrider::base
