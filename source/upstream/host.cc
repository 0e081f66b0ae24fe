#include "source/upstream/host.h"

#include "source/base/check.h"
#include "source/base/shared/slabs.h"

namespace outrider::upstream {
namespace {

auto& slabs() {
  static auto& all = *new base::shared::Slabs<sizeof(Host), alignof(Host)>();
  return all;
}

}  // namespace

void* Host::operator new(size_t size) {
  OUTRIDER_CHECK(size == sizeof(Host));
  return slabs().take();
}

void Host::operator delete(void* host) { slabs().give(host); }

std::string healthText(uint32_t flags) {
  struct Name {
    HealthFlag flag;
    const char* text;
  };
  static constexpr Name kNames[] = {
      {HealthFlag::kFailedActive, "/failed_active_hc"},   {HealthFlag::kFailedOutlier, "/failed_outlier_check"},
      {HealthFlag::kFailedEds, "/failed_eds_health"},     {HealthFlag::kDegradedActive, "/degraded_active_hc"},
      {HealthFlag::kDegradedEds, "/degraded_eds_health"}, {HealthFlag::kPendingRemoval, "/pending_dynamic_removal"},
      {HealthFlag::kPendingActive, "/pending_active_hc"}, {HealthFlag::kActiveTimeout, "/active_hc_timeout"},
      {HealthFlag::kEdsDraining, "/eds_status_draining"},
  };
  std::string out;
  for (const Name& name : kNames) {
    if ((flags & bit(name.flag)) != 0) out += name.text;
  }
  return out.empty() ? "healthy" : out;
}

}  // namespace outrider::upstream
