// What a worker needs of one version of a cluster: an immutable value made on main, shared by all workers.
// Thread: any. Lifetime: shared_ptr whose deleter carries the part back to main (see returnToMain).
#pragma once

#include <algorithm>
#include <array>
#include <memory>

#include "source/base/shared/permit.h"
#include "source/config/cluster_spec.h"
#include "source/config/names.h"
#include "source/event/mailbox.h"
#include "source/upstream/cluster_stats.h"
#include "source/upstream/host_set.h"
#include "source/upstream/manager_stats.h"
#include "source/upstream/transport_source.h"

namespace outrider::upstream {

enum class Priority : uint8_t { kDefault, kHigh };

// Circuit breakers of one priority; lives with the cluster's entity, so that what is under way counts across versions.
struct Breaker {
  explicit Breaker(const config::BreakerSpec& spec) : connections(0), pending(0), requests(0), retries(0) { setLimits(spec); }
  base::shared::Permit connections, pending, requests, retries;
  void setLimits(const config::BreakerSpec& spec) {
    connections.setLimit(spec.connections, spec.track_remaining);
    pending.setLimit(spec.pending, spec.track_remaining || spec.budget);
    requests.setLimit(spec.requests, spec.track_remaining || spec.budget);
    retries.setLimit(spec.retries, spec.track_remaining);
  }
  // How many retries may be under way now.
  uint32_t retryLimit(const config::BreakerSpec& spec) const {
    if (!spec.budget) return retries.limit();
    const double share = spec.budget_percent / 100 * (requests.used() + pending.used());
    return std::max(spec.min_retry_concurrency, static_cast<uint32_t>(share));
  }
};
struct Breakers {
  explicit Breakers(const std::array<config::BreakerSpec, 2>& specs) : of{Breaker(specs[0]), Breaker(specs[1])} {}
  Breaker of[2];  // by Priority
};

struct ClusterPart final : stream::ClusterInfo {
  config::ClusterId id;
  std::shared_ptr<const config::ClusterSpec> spec;
  TransportSourceRef transport;  // null: plain bytes
  std::shared_ptr<Breakers> breakers;
  ClusterStats stats;
  ClusterMainStats main_stats;               // of the same scope: main's
  stats::Store* store = nullptr;             // of the process: for what few clusters count, made at the first of its kind
  UpdateCostStats update_cost;               // of the whole process
  std::shared_ptr<stats::LazySeries> codes;  // "cluster.<name>.upstream_rq_" + code; of all versions of that name
};
using ClusterPartRef = std::shared_ptr<const ClusterPart>;

// A shared value whose last reference, wherever it is dropped, is destroyed on the thread of `main`.
template <class T>
std::shared_ptr<const T> returnToMain(std::unique_ptr<T> value, event::Mailbox* main) {
  return std::shared_ptr<const T>(value.release(), [main](const T* at) {
    if (main == nullptr || stats::slot_of_thread == 0) {
      delete at;
      return;
    }
    std::shared_ptr<const T> carried(at);  // the letter owns it, run or not
    main->post([carried] {});
  });
}

struct ClusterChange {
  config::ClusterId id;
  ClusterPartRef part;           // null: the part stays
  HostSetRef hosts;              // null: the hosts stay
  std::vector<HostRef> removed;  // hosts that left: their pools drain
  std::vector<HostRef> failed;   // hosts whose connections close at once (close_connections_on_host_health_failure)
  bool reconnect = false;        // `part` connects otherwise than the one before: the pools drain
  bool gone = false;
};
using ClusterChanges = std::vector<ClusterChange>;

}  // namespace outrider::upstream
