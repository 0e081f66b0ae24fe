// What a worker gives to everything that lives on it.
// Thread: the worker's. Lifetime: as long as the worker.
#pragma once

#include <cstdint>

#include "source/event/loop.h"

namespace outrider::upstream {
class ClusterView;
}
namespace outrider::stats {
class Store;
}
namespace outrider::config {
class RouteTables;
}

namespace outrider::filter {

// xoshiro256**: fast, one a worker, seeded from the kernel; for balancing and sampling, not for secrets.
class Random final {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9E3779B97F4A7C15u;
      uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
      word = z ^ (z >> 31);
    }
  }
  uint64_t next() {
    const uint64_t result = rotl(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotl(state_[3], 45);
    return result;
  }
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>((static_cast<unsigned __int128>(next()) * bound) >> 64); }

 private:
  static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  uint64_t state_[4];
};

// Whether exchanges should ask their clients to leave. One for the server, copied to each worker by message.
struct DrainState {
  bool draining = false;
  bool immediate = false;  // --drain-strategy immediate
  base::Nanos began = 0;
  base::Nanos period = 0;
  // Gradual: the chance grows linearly over the period, so clients do not come back all at once.
  bool closeNow(base::Nanos now, Random& random) const {
    if (!draining) return false;
    if (immediate || period <= 0 || now - began >= period) return true;
    return random.below(1'000'000) < static_cast<uint64_t>(now - began) / static_cast<uint64_t>(period / 1'000'000 + 1);
  }
};

struct WorkerContext {
  event::Loop& loop;
  event::Mailbox& main;  // post config parts there to be destroyed
  upstream::ClusterView& clusters;
  config::RouteTables& routes;
  stats::Store& stats;
  Random random;
  DrainState drain;
  uint32_t slot = 0;  // stats slot; workers count from 1
};

}  // namespace outrider::filter
