// One upstream address with what is known of it: stable across config updates, shared by all workers.
// Thread: the fields are constant after construction except the atomics. Lifetime: shared; host sets, pools and streams'
// clusters keep it. Made on main.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "source/base/shared/host_load.h"
#include "source/base/shared/ref.h"
#include "source/config/endpoint_spec.h"
#include "source/stream/stream_info.h"

namespace outrider::upstream {

// Why a host is not simply healthy. Text as Envoy's /clusters prints it.
enum class HealthFlag : uint32_t {
  kFailedActive = 1,     // "/failed_active_hc"
  kFailedOutlier = 2,    // "/failed_outlier_check"
  kFailedEds = 4,        // "/failed_eds_health"
  kDegradedActive = 8,   // "/degraded_active_hc"
  kDegradedEds = 16,     // "/degraded_eds_health"
  kPendingRemoval = 32,  // "/pending_dynamic_removal"
  kPendingActive = 64,   // "/pending_active_hc"
  kEdsDraining = 128,    // "/eds_status_draining"
  kActiveTimeout = 256,  // "/active_hc_timeout": beside kFailedActive, when the last check got no answer in time
};
constexpr uint32_t bit(HealthFlag flag) { return static_cast<uint32_t>(flag); }

enum class Health : uint8_t { kHealthy, kDegraded, kUnhealthy };

// "healthy", or the flags that are set.
std::string healthText(uint32_t flags);
inline Health healthOf(uint32_t flags) {
  constexpr uint32_t bad =
      bit(HealthFlag::kFailedActive) | bit(HealthFlag::kFailedOutlier) | bit(HealthFlag::kFailedEds) | bit(HealthFlag::kEdsDraining);
  if ((flags & bad) != 0) return Health::kUnhealthy;
  if ((flags & (bit(HealthFlag::kDegradedActive) | bit(HealthFlag::kDegradedEds))) != 0) return Health::kDegraded;
  return Health::kHealthy;
}

// Per-host figures of /clusters; relaxed atomics, several writers, written at a connection's or request's end only.
struct HostStats {
  std::atomic<uint64_t> cx_total{0}, cx_connect_fail{0}, rq_total{0}, rq_success{0}, rq_error{0}, rq_timeout{0};
};

struct HostDetails final : stream::HostTexts {
  std::shared_ptr<const config::EndpointDetails> endpoint;
  config::Labels locality_labels;  // for transport_socket_matches
};

// What all have comes first, and what is written for every request ends it, on a line of its own. State that few hosts have, and
// what many have in common, belongs behind a pointer.
struct Host final : stream::HostInfo {
  Host() = default;
  Host(const base::Address& at, std::shared_ptr<const HostDetails> details) : HostInfo{at, std::move(details)} {}

  // Of its endpoint: metadata, and how its checks differ from its cluster's.
  const config::EndpointDetails& details() const {
    static const config::EndpointDetails none;
    const auto* known = static_cast<const HostDetails*>(texts.get());
    return known == nullptr || known->endpoint == nullptr ? none : *known->endpoint;
  }

  const config::Labels& localityLabels() const {
    static const config::Labels none;
    return texts == nullptr ? none : static_cast<const HostDetails*>(texts.get())->locality_labels;
  }

  // Any thread.
  mutable std::atomic<uint32_t> weight{1};  // as the latest assignment says, for who looks; balancers have theirs in the host set
  void ref() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void unref() const {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  mutable std::atomic<uint32_t> refs_{0};

 public:
  alignas(64) mutable base::shared::HostLoad load;
  mutable HostStats stats;

  Health health() const { return healthOf(load.health.load(std::memory_order_relaxed)); }
  bool has(HealthFlag flag) const { return (load.health.load(std::memory_order_relaxed) & bit(flag)) != 0; }

  static void* operator new(size_t size);
  static void operator delete(void* host);
};
static_assert(sizeof(Host) == 128);

using HostRef = base::shared::Ref<const Host>;

}  // namespace outrider::upstream
