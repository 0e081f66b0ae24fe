// Timers of one loop: a hierarchical wheel of 4 levels of 256 slots, one tick a millisecond, O(1) arm and cancel.
// Thread: the loop's. Lifetime: an embedded Timer cancels itself when destroyed. A timer fires at or up to one tick after
// its deadline, never before.
#pragma once

#include <array>
#include <cstdint>

#include "source/base/clock.h"
#include "source/base/intrusive_list.h"

namespace outrider::event {

struct TimerTag;
class TimerWheel;

class Timer final : public base::TaggedNode<TimerTag> {
 public:
  using Fn = void (*)(void* owner);
  Timer(TimerWheel& wheel, Fn fn, void* owner) : wheel_(wheel), fn_(fn), owner_(owner) {}
  template <auto Method, class T>
  static Timer to(TimerWheel& wheel, T* owner) {
    return Timer(
        wheel, [](void* at) { (static_cast<T*>(at)->*Method)(); }, owner);
  }
  ~Timer() { cancel(); }

  void armIn(base::Nanos delay);  // re-arms if armed
  void armAt(base::Nanos deadline);
  void cancel();
  bool armed() const { return base::TaggedNode<TimerTag>::linked(); }
  base::Nanos deadline() const { return static_cast<base::Nanos>(tick_) * base::kMilli; }

 private:
  friend class TimerWheel;
  TimerWheel& wheel_;
  Fn fn_;
  void* owner_;
  uint64_t tick_ = 0;
};

class TimerWheel final {
 public:
  explicit TimerWheel(base::Nanos now);
  // The time from now on; fires nothing. Before handlers run, or what they arm would count from before the wait.
  void look(base::Nanos now) {
    if (now > now_) now_ = now;
  }
  void advance(base::Nanos now);  // fires what is due
  // Milliseconds until the next timer may be due: -1 when there is none.
  int64_t nextInMs(base::Nanos now) const;
  base::Nanos now() const { return now_; }
  size_t armed() const { return armed_; }

 private:
  friend class Timer;
  static constexpr int kLevels = 4;
  static constexpr int kSlots = 256;
  using Slot = base::IntrusiveList<Timer, TimerTag>;

  void place(Timer& timer);
  void cascade(int level);
  uint64_t nextTick() const;                   // at or before the next timer's tick; armed_ > 0
  int stepsToUsed(int level, int from) const;  // -1: the level is empty

  base::Nanos now_;
  uint64_t tick_;  // the last tick that was served
  size_t armed_ = 0;
  std::array<std::array<Slot, kSlots>, kLevels> slots_;
  mutable uint64_t used_[kLevels][kSlots / 64] = {};  // a clear bit: the slot is empty; a set one: look
};

}  // namespace outrider::event
