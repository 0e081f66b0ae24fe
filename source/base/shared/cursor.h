// A number that everybody takes the next of: one round robin for all workers.
// Thread: any, one fetch_add. It wraps. Its owner gives it a cache line (upstream::LbShared).
#pragma once

#include <atomic>
#include <cstdint>

namespace outrider::base::shared {

class Cursor final {
 public:
  explicit Cursor(uint64_t start = 0) : next_(start) {}
  uint64_t take() { return next_.fetch_add(1, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> next_;
};

}  // namespace outrider::base::shared
