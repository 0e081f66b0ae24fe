// The hosts of one cluster as balancers see them: an immutable value that main builds and all workers share.
// Thread: any. Lifetime: shared; the last reference of a worker hands it back to main to be destroyed.
// Source: Envoy docs "load_balancing/priority", "panic_threshold", "degraded".
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "source/base/shared/cursor.h"
#include "source/upstream/host.h"

namespace outrider::upstream {

namespace lb {
class HashTable;
}

// A choice among hosts: the hosts, and what a weighted choice needs.
struct Choice {
  std::vector<const Host*> hosts;
  std::vector<uint16_t> weights;  // scaled to 65535 for the largest; empty: all equal
  uint32_t total_weight = 0;      // sum of the endpoints' own weights
};

// The choices of one priority in one state of health, by locality when localities are weighted.
struct Candidates {
  std::vector<Choice> choices;    // one; or one a locality, with a weight each
  std::vector<uint16_t> weights;  // of `choices`, scaled; empty: one choice
  bool empty() const { return choices.empty(); }
};

struct PriorityLevel {
  Candidates healthy, degraded;
  Candidates any;  // empty when all are healthy
  const Candidates& all() const { return any.empty() ? healthy : any; }
  std::shared_ptr<const lb::HashTable> table;  // of a hashing policy: its healthy hosts, in panic all
  uint32_t host_count = 0;
  uint8_t healthy_load = 0;  // percent of the traffic that goes to healthy hosts here; all loads add up to 100
  uint8_t degraded_load = 0;
  uint8_t healthy_part = 0;  // percent that its healthy hosts could serve, overprovisioning counted
  uint8_t degraded_part = 0;
  bool panic = false;  // too few are healthy: all hosts are used
};

// Process-wide positions that outlive a host set; one cluster entity owns them.
struct LbShared {
  static constexpr size_t kPriorities = 8;  // priorities above share the last
  std::array<base::shared::Cursor, kPriorities> host_cursor, locality_cursor;
};

struct HostSet {
  std::vector<HostRef> hosts;         // every host, in the order of the endpoints
  std::vector<uint32_t> priority_of;  // of each host; empty: 0
  std::vector<PriorityLevel> levels;
  std::shared_ptr<LbShared> shared;
  uint32_t healthy = 0, degraded = 0, excluded = 0;

  uint32_t priorityOf(size_t host) const { return priority_of.empty() ? 0 : priority_of[host]; }
};
using HostSetRef = std::shared_ptr<const HostSet>;

}  // namespace outrider::upstream
