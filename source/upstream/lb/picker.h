// Chooses a host of a set for one request: priority by load, then the cluster's policy among its healthy (or degraded, or in
// panic all) hosts. Thread: a worker; the set and its cursors are shared. Source: Envoy docs "load_balancing".
#pragma once

#include <cstdint>

#include "source/config/cluster_spec.h"
#include "source/upstream/host_set.h"
#include "source/upstream/lb/lb_context.h"

namespace outrider::upstream::lb {

struct PickPolicy {
  config::LbKind kind = config::LbKind::kRoundRobin;
  uint32_t choice_count = 2;
};

// `random`: two independent words of the worker's generator. Null: no host. `panic` says that a level in panic was used.
const Host* pick(const HostSet& set, const PickPolicy& policy, const LbContext& context, uint64_t random_a, uint64_t random_b, bool& panic);

}  // namespace outrider::upstream::lb
