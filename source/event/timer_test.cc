#include "source/event/timer.h"

#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace outrider::event {
namespace {

using base::kMilli;
using base::kSecond;
using base::Nanos;

struct Probe {
  explicit Probe(TimerWheel& w) : wheel(w), timer(Timer::to<&Probe::fire>(w, this)) {}
  void fire() { fired_at.push_back(wheel.now()); }
  TimerWheel& wheel;
  Timer timer;
  std::vector<Nanos> fired_at;
};

TEST(TimerWheel, FiresNeverEarlyAndAtMostATickLate) {
  Nanos now = 12345678;
  TimerWheel wheel(now);
  std::mt19937_64 random(7);
  std::vector<std::unique_ptr<Probe>> probes;
  std::vector<Nanos> wanted;
  for (int i = 0; i < 2000; ++i) {
    const Nanos delay = static_cast<Nanos>(random() % static_cast<uint64_t>(200 * kSecond));
    probes.push_back(std::make_unique<Probe>(wheel));
    probes.back()->timer.armIn(delay);
    wanted.push_back(now + delay);
  }
  while (wheel.armed() > 0) {
    const int64_t wait = wheel.nextInMs(now);
    ASSERT_GE(wait, 0);
    now += std::max<Nanos>(wait * kMilli, kMilli / 3);
    wheel.advance(now);
  }
  for (size_t i = 0; i < probes.size(); ++i) {
    ASSERT_EQ(probes[i]->fired_at.size(), 1u);
    EXPECT_GE(probes[i]->fired_at[0], wanted[i]);
    EXPECT_LE(probes[i]->fired_at[0], wanted[i] + 3 * kMilli);
  }
}

TEST(TimerWheel, ACancelledTimerIsSilentAndAnIdleWheelAsksForNoWakeUp) {
  TimerWheel wheel(0);
  Probe probe(wheel);
  EXPECT_EQ(wheel.nextInMs(0), -1);
  probe.timer.armIn(5 * kMilli);
  EXPECT_EQ(wheel.nextInMs(0), 5);
  probe.timer.cancel();
  EXPECT_EQ(wheel.nextInMs(0), -1);
  wheel.advance(kSecond);
  EXPECT_TRUE(probe.fired_at.empty());
}

TEST(TimerWheel, RearmingMovesTheDeadline) {
  TimerWheel wheel(0);
  Probe probe(wheel);
  probe.timer.armIn(10 * kMilli);
  probe.timer.armIn(600 * kSecond);
  wheel.advance(500 * kSecond);
  EXPECT_TRUE(probe.fired_at.empty());
  wheel.advance(601 * kSecond);
  EXPECT_EQ(probe.fired_at.size(), 1u);
}

TEST(TimerWheel, ATimerMayArmItselfAgainWhileItFires) {
  TimerWheel wheel(0);
  struct Again {
    explicit Again(TimerWheel& w) : timer(Timer::to<&Again::fire>(w, this)) {}
    void fire() {
      ++count;
      timer.armIn(kMilli);
    }
    Timer timer;
    int count = 0;
  } again(wheel);
  again.timer.armIn(kMilli);
  for (int i = 1; i <= 20; ++i) wheel.advance(i * kMilli);
  EXPECT_GE(again.count, 9);
}

TEST(TimerWheel, ADeadlineBeyondTheWheelStillComes) {
  TimerWheel wheel(0);
  Probe probe(wheel);
  const Nanos far = (Nanos{1} << 33) * kMilli;
  probe.timer.armIn(far);
  Nanos now = 0;
  while (wheel.armed() > 0 && now < far * 2) {
    now += std::max<Nanos>(wheel.nextInMs(now), 1) * kMilli;
    wheel.advance(now);
  }
  ASSERT_EQ(probe.fired_at.size(), 1u);
  EXPECT_GE(probe.fired_at[0], far);
}

}  // namespace
}  // namespace outrider::event
