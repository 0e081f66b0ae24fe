// A bounded counter that all workers share: circuit breakers' limits, exact across workers.
// Thread: any, no lock. A limit of kUnbounded and above is not counted at all (only per-worker gauges know the number), unless
// somebody needs the count.
// Not a cache line of its own: the permits of one cluster are taken by the same requests, so they share one (upstream::Breaker).
// Waiters: a worker that was refused may leave its bit; whoever releases then gets the slot of one waiter to wake, in turn.
#pragma once

#include <atomic>
#include <cstdint>

namespace outrider::base::shared {

class Permit final {
 public:
  static constexpr uint32_t kUnbounded = 4096;

  explicit Permit(uint32_t limit, bool count_always = false) { setLimit(limit, count_always); }

  // False: the limit is reached. `counted` says whether a release() is owed: pass it back.
  [[nodiscard]] bool tryAcquire(bool& counted) {
    const uint64_t word = limit_.load(std::memory_order_relaxed);
    counted = (word & kUncounted) == 0;
    if (!counted) return true;
    return tryAcquire(static_cast<uint32_t>(word), counted);
  }
  // The same with a limit of the moment. Always counted.
  [[nodiscard]] bool tryAcquire(uint32_t limit, bool& counted) {
    counted = true;
    uint32_t now = used_.load(std::memory_order_relaxed);
    while (now < limit) {
      if (used_.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
    }
    counted = false;
    return false;
  }
  // Takes a unit beyond the limit (never refused).
  void force(bool& counted) {
    counted = (limit_.load(std::memory_order_relaxed) & kUncounted) == 0;
    if (counted) used_.fetch_add(1, std::memory_order_acq_rel);
  }

  static constexpr int kNobody = -1;
  // The slot (0..63) of a worker to wake, or kNobody.
  [[nodiscard]] int release(bool counted) {
    if (counted) used_.fetch_sub(1, std::memory_order_acq_rel);
    return takeWaiter();
  }

  // After a refusal; the caller tries once more afterwards, for a release may have come in between.
  void wait(uint32_t slot) { waiters_.fetch_or(uint64_t{1} << (slot & 63), std::memory_order_acq_rel); }
  bool hasWaiters() const { return waiters_.load(std::memory_order_acquire) != 0; }

  bool exhausted() const { return used() >= limit(); }
  uint32_t used() const { return used_.load(std::memory_order_relaxed); }
  uint32_t limit() const { return static_cast<uint32_t>(limit_.load(std::memory_order_relaxed)); }
  // `count_always`: also a limit that is never reached.
  void setLimit(uint32_t limit, bool count_always = false) {
    limit_.store(limit | (limit >= kUnbounded && !count_always ? kUncounted : 0), std::memory_order_relaxed);
  }

 private:
  static constexpr uint64_t kUncounted = uint64_t{1} << 32;
  int takeWaiter() {
    uint64_t word = waiters_.load(std::memory_order_acquire);
    while (word != 0) {
      const unsigned turn = next_.load(std::memory_order_relaxed) & 63;
      const uint64_t rotated = turn == 0 ? word : (word >> turn) | (word << (64 - turn));
      const unsigned slot = (static_cast<unsigned>(__builtin_ctzll(rotated)) + turn) & 63;
      if (waiters_.compare_exchange_weak(word, word & ~(uint64_t{1} << slot), std::memory_order_acq_rel)) {
        next_.store(slot + 1, std::memory_order_relaxed);
        return static_cast<int>(slot);
      }
    }
    return kNobody;
  }

  std::atomic<uint32_t> used_{0};
  std::atomic<uint64_t> limit_{0};  // and kUncounted
  std::atomic<uint64_t> waiters_{0};
  std::atomic<uint32_t> next_{0};
};

}  // namespace outrider::base::shared
