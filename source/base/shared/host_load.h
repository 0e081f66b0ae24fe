// What all workers know of one upstream host; whoever holds it gives it a cache line that nothing else writes for every request.
// Thread: any, relaxed atomics. `active` is written for every request; the rest only when something goes wrong or right again.
#pragma once

#include <atomic>
#include <cstdint>

namespace outrider::base::shared {

struct HostLoad {
  std::atomic<uint32_t> active{0};              // requests (TCP: connections) under way, all workers
  std::atomic<uint32_t> consecutive_errors{0};  // since the last success; written on error, or on success after an error
  std::atomic<uint32_t> health{0};              // upstream::HealthFlag bits, written by main
  std::atomic<uint32_t> connections{0};         // open connections, all workers
};

}  // namespace outrider::base::shared
