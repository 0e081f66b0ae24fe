// What a request knows that may bear on the choice of its host. Thread: a worker. Lifetime: of one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "source/upstream/host.h"

namespace outrider::upstream::lb {

struct LbContext {
  std::optional<uint64_t> hash;  // of the route's hash policy
  // Hosts that earlier attempts used; avoided as long as `most_picks` picks find another (retry_host_predicate).
  const Host* const* avoid = nullptr;
  size_t avoid_count = 0;
  uint32_t most_picks = 1;
};

}  // namespace outrider::upstream::lb
