// Turns hosts with their weights, priorities and health into what balancers use. A pure function.
// Thread: main. Source: Envoy docs "load_balancing/{priority,locality_weight,panic_threshold,degraded}".
#pragma once

#include <memory>
#include <vector>

#include "source/config/cluster_spec.h"
#include "source/upstream/host_set.h"

namespace outrider::upstream {

struct Member {
  HostRef host;
  uint32_t priority = 0;
  uint32_t weight = 1;
  uint32_t locality = 0;  // index into `locality_weights`
};

struct HostSetPolicy {
  bool locality_weighted = false;
  double panic_threshold = 50;               // percent
  uint32_t overprovisioning = 140;           // percent
  bool weighted_priority_health = false;     // health of a priority counts weights, not hosts
  const config::HashLbSpec* hash = nullptr;  // of a hashing policy
};

std::unique_ptr<HostSet> buildHostSet(std::vector<Member> members, const std::vector<uint32_t>& locality_weights,
                                      const HostSetPolicy& policy, std::shared_ptr<LbShared> shared);

}  // namespace outrider::upstream
