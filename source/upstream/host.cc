#include "source/upstream/host.h"

namespace outrider::upstream {

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
