#include "source/server/loop_stats.h"

#include <ctime>
#include <string>

namespace outrider::server {
namespace {

base::Nanos threadCpu() {
  timespec ts;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return base::Nanos{ts.tv_sec} * base::kSecond + ts.tv_nsec;
}

uint64_t micros(base::Nanos time) { return static_cast<uint64_t>(time / base::kMicro); }

}  // namespace

LoopStats::LoopStats(event::Loop& loop, stats::Store& store, std::string_view envoy_prefix, std::string_view thread, bool every)
    : loop_(loop), figures_(store.scope("outrider.loop." + std::string(thread) + ".", kLoopTable)) {
  if (every) dispatcher_ = DispatcherStats(store.scope(std::string(envoy_prefix) + "dispatcher.", kDispatcherTable));
  loop_.observeTurns([](void* owner, const event::Loop::Turn& turn) { static_cast<LoopStats*>(owner)->onTurn(turn); }, this, every);
}

LoopStats::~LoopStats() { loop_.observeTurns(nullptr, nullptr, false); }

void LoopStats::onTurn(const event::Loop::Turn& turn) {
  if (turn.took > longest_) {
    longest_ = turn.took;
    figures_.set(LoopStat::kLongestTurn, micros(turn.took));
  }
  if (!dispatcher_) return;
  dispatcher_.record(DispatcherStat::kLoopDuration, micros(turn.took));
  if (turn.late >= 0) dispatcher_.record(DispatcherStat::kPollDelay, micros(turn.late));
  const base::Nanos cpu = threadCpu();
  if (cpu_ > 0) figures_.record(LoopStat::kTurnCpu, micros(cpu - cpu_));
  cpu_ = cpu;
}

}  // namespace outrider::server
