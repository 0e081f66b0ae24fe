// What a request knows that may bear on the choice of its host. Thread: a worker. Lifetime: of one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "source/upstream/host.h"

namespace outrider::upstream::lb {

// What a retry avoids.
struct RetryChoice {
  // Hosts that a retry_host_predicate turns down are avoided as long as `most_picks` picks find another: those that earlier attempts used,
  // canaries, hosts that have these labels.
  const Host* const* avoid = nullptr;
  size_t avoid_count = 0;
  bool avoid_canaries = false;
  const config::Labels* avoid_labels = nullptr;
  uint32_t most_picks = 1;
  // Priorities that earlier attempts used, a bit each: their traffic goes to the others, as long as there is one.
  uint64_t avoid_priorities = 0;
  mutable bool none_left = false;  // told by pick(): all priorities were to be avoided

  bool turnsDown(const Host& host) const;
};

struct LbContext {
  std::optional<uint64_t> hash;                // of the route's hash policy
  const base::Address* destination = nullptr;  // for ORIGINAL_DST clusters; null: not known
  const RetryChoice* retry = nullptr;          // null: a first attempt
  mutable uint32_t priority = 0;               // told by pick(): of the host that it chose
};

}  // namespace outrider::upstream::lb
