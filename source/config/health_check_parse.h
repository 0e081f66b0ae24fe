// core.v3.HealthCheck into a spec. Pure; thread: any. Problems carry field paths.
#pragma once

#include "source/config/cluster_spec.h"
#include "source/config/honored.h"
#include "source/config/problems.h"

namespace envoy::config::core::v3 {
class HealthCheck;
}

namespace outrider::config {

HealthCheckSpec parseHealthCheck(const envoy::config::core::v3::HealthCheck& in, Problems& problems);
void declareHealthChecks(Honored& honored);

}  // namespace outrider::config
