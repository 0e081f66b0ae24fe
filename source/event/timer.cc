#include "source/event/timer.h"

#include <algorithm>

namespace outrider::event {

using base::Nanos;

void Timer::armIn(Nanos delay) { armAt(wheel_.now_ + std::max<Nanos>(delay, 0)); }

void Timer::armAt(Nanos deadline) {
  cancel();
  // Rounded up: a timer never fires early.
  tick_ = std::max<uint64_t>(static_cast<uint64_t>((deadline + base::kMilli - 1) / base::kMilli), wheel_.tick_ + 1);
  ++wheel_.armed_;
  wheel_.place(*this);
}

void Timer::cancel() {
  if (!armed()) return;
  base::TaggedNode<TimerTag>::unlink();
  --wheel_.armed_;
}

TimerWheel::TimerWheel(Nanos now) : now_(now), tick_(static_cast<uint64_t>(now / base::kMilli)) {}

void TimerWheel::place(Timer& timer) {
  const uint64_t ahead = timer.tick_ - tick_;
  int level = 0;
  uint64_t at = timer.tick_;
  if (ahead >= (uint64_t{1} << 32)) {
    // Further than the wheel turns: the last slot, placed again when it comes up.
    level = kLevels - 1;
    at = tick_ + (uint64_t{1} << 32) - 1;
  } else {
    while (level < kLevels - 1 && ahead >= (uint64_t{1} << (8 * (level + 1)))) ++level;
  }
  const auto slot = static_cast<int>((at >> (8 * level)) & (kSlots - 1));
  slots_[level][slot].pushBack(timer);
  used_[level][slot / 64] |= uint64_t{1} << (slot % 64);
}

int TimerWheel::stepsToUsed(int level, int from) const {
  // Round the level once, a word at a time; a bit may be stale, for cancel() does not know its slot.
  int steps = 0;
  while (steps < kSlots) {
    const int slot = (from + steps) & (kSlots - 1);
    const uint64_t word = used_[level][slot / 64] >> (slot % 64);
    if (word == 0) {
      steps += 64 - slot % 64;
      continue;
    }
    const int skip = __builtin_ctzll(word);
    const int found = slot + skip;
    steps += skip;
    if (steps >= kSlots) break;
    if (!slots_[level][found].empty()) return steps;
    used_[level][found / 64] &= ~(uint64_t{1} << (found % 64));
  }
  return -1;
}

void TimerWheel::cascade(int level) {
  if (level == kLevels) return;
  const uint64_t index = (tick_ >> (8 * level)) & (kSlots - 1);
  if (index == 0) cascade(level + 1);
  Slot moving;
  moving.splice(slots_[level][index]);
  while (!moving.empty()) place(moving.popFront());
}

uint64_t TimerWheel::nextTick() const {
  // Over all levels, the tick at which the next used slot is due or comes down.
  uint64_t first = ~uint64_t{0};
  for (int level = 0; level < kLevels; ++level) {
    const uint64_t at = (tick_ >> (8 * level)) + 1;
    const int steps = stepsToUsed(level, static_cast<int>(at & (kSlots - 1)));
    if (steps >= 0) first = std::min(first, (at + static_cast<uint64_t>(steps)) << (8 * level));
  }
  return first;
}

void TimerWheel::advance(Nanos now) {
  now_ = std::max(now, now_);
  const uint64_t target = static_cast<uint64_t>(now_ / base::kMilli);
  while (tick_ < target) {
    const uint64_t next = armed_ == 0 ? target + 1 : nextTick();
    if (next > target) {
      tick_ = target;
      return;
    }
    tick_ = next;
    if ((tick_ & (kSlots - 1)) == 0) cascade(1);
    Slot due;
    due.splice(slots_[0][tick_ & (kSlots - 1)]);
    while (!due.empty()) {
      Timer& timer = due.popFront();
      if (timer.tick_ > tick_) {  // was parked at the wheel's horizon
        place(timer);
        continue;
      }
      --armed_;
      timer.fn_(timer.owner_);
    }
  }
}

int64_t TimerWheel::nextInMs(Nanos now) const {
  if (armed_ == 0) return -1;
  const Nanos wait = static_cast<Nanos>(nextTick()) * base::kMilli - now;
  return wait <= 0 ? 0 : (wait + base::kMilli - 1) / base::kMilli;
}

}  // namespace outrider::event
