#include "source/base/shared/slabs.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace outrider::base::shared {
namespace {

constexpr size_t kSize = 128;
using Objects = Slabs<kSize, 64>;

TEST(Slabs, ObjectsAreAlignedAndApart) {
  Objects slabs;
  std::set<uintptr_t> all;
  for (int i = 0; i < 2000; ++i) {
    void* object = slabs.take();
    std::memset(object, 0xab, kSize);
    all.insert(reinterpret_cast<uintptr_t>(object));
  }
  ASSERT_EQ(all.size(), 2000u);
  uintptr_t before = 0;
  for (const uintptr_t at : all) {
    EXPECT_EQ(at % 64, 0u);
    EXPECT_GE(at - before, kSize);
    before = at;
  }
  for (const uintptr_t at : all) slabs.give(reinterpret_cast<void*>(at));
}

TEST(Slabs, WhatIsGivenBackIsTakenAgainAndNothingElseChanges) {
  Objects slabs;
  std::mt19937 random(1);
  struct Held {
    char* at;
    char mark;
  };
  std::vector<Held> held;
  for (int i = 0; i < 100000; ++i) {
    if (held.empty() || random() % 5 < 2 + (i < 50000)) {
      auto* at = static_cast<char*>(slabs.take());
      const char mark = static_cast<char>(random());
      std::memset(at, mark, kSize);
      held.push_back({at, mark});
      continue;
    }
    std::swap(held[random() % held.size()], held.back());
    for (size_t byte = 0; byte < kSize; ++byte) ASSERT_EQ(held.back().at[byte], held.back().mark);
    slabs.give(held.back().at);
    held.pop_back();
  }
  for (const Held& each : held) slabs.give(each.at);
}

TEST(Slabs, ThreadsMayGiveWhatOthersTook) {
  Objects slabs;
  std::vector<void*> taken;
  for (int i = 0; i < 4000; ++i) taken.push_back(slabs.take());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&slabs, &taken, t] {
      for (int i = t; i < 4000; i += 4) {
        slabs.give(taken[i]);
        slabs.give(slabs.take());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace outrider::base::shared
