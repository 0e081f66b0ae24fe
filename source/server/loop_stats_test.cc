#include "source/server/loop_stats.h"

#include <gtest/gtest.h>

namespace outrider::server {
namespace {

struct Reading {
  uint64_t longest = 0;
  uint64_t turns = 0, delays = 0, cpus = 0;
};

Reading read(stats::Store& store) {
  Reading out;
  stats::Store::Visitor visitor;
  visitor.number = [&](const std::string& name, stats::Kind, const stats::Scope::Reading& reading) {
    if (name == "outrider.loop.main.longest_turn_us") out.longest = reading.value;
  };
  visitor.histogram = [&](const std::string& name, const stats::Histogram::Sample& sample) {
    if (name == "server.dispatcher.loop_duration_us") out.turns = sample.count;
    if (name == "server.dispatcher.poll_delay_us") out.delays = sample.count;
    if (name == "outrider.loop.main.turn_cpu_us") out.cpus = sample.count;
  };
  visitor.text = [](const std::string&, const std::string&) {};
  store.visit(visitor);
  return out;
}

void turns(event::Loop& loop, base::FakeClock& clock) {
  for (const int us : {100, 700, 300}) {
    loop.mailbox().post([&clock, us] { clock.advance(us * base::kMicro); });
    loop.turn(0);
  }
}

TEST(LoopStats, TheLongestTurnIsThereUnasked) {
  base::FakeClock clock;
  event::Loop loop(clock);
  stats::Store store;
  const LoopStats stats(loop, store, "server.", "main", false);
  turns(loop, clock);
  const Reading seen = read(store);
  EXPECT_EQ(seen.longest, 700u);
  EXPECT_EQ(seen.turns + seen.delays + seen.cpus, 0u);
}

TEST(LoopStats, EveryTurnIsMeasuredWhenTheBootstrapAsks) {
  base::FakeClock clock;
  event::Loop loop(clock);
  stats::Store store;
  const LoopStats stats(loop, store, "server.", "main", true);
  turns(loop, clock);
  const Reading seen = read(store);
  EXPECT_EQ(seen.longest, 700u);
  EXPECT_EQ(seen.turns, 3u);
  EXPECT_EQ(seen.delays, 3u);
  EXPECT_EQ(seen.cpus, 2u);  // counted from the end of the first
}

}  // namespace
}  // namespace outrider::server
