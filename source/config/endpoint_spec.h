// The endpoints of one cluster as a value: endpoint.v3.ClusterLoadAssignment, checked.
// Thread: any (immutable once parsed). Equality is "nothing changed".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "source/base/address.h"

namespace outrider::config {

enum class HealthStatus : uint8_t { kUnknown, kHealthy, kUnhealthy, kDraining, kTimeout, kDegraded };

struct EndpointSpec {
  base::Address address;  // invalid for a name that DNS resolves
  std::string name;       // address as written: an IP, a DNS name, a path
  uint16_t port = 0;
  std::string hostname;  // Endpoint.hostname: auto_host_rewrite, health checks
  HealthStatus health = HealthStatus::kUnknown;
  uint32_t weight = 1;
  std::string metadata;     // core.Metadata, deterministic wire form
  uint16_t check_port = 0;  // HealthCheckConfig.port_value; 0: as the endpoint's
  std::string check_hostname;
  bool check_disabled = false;  // HealthCheckConfig.disable_active_health_check
  bool operator==(const EndpointSpec&) const = default;
};

struct LocalityEndpoints {
  std::string region, zone, sub_zone;
  uint32_t priority = 0;
  uint32_t weight = 0;  // 0: not given
  std::vector<EndpointSpec> endpoints;
  bool operator==(const LocalityEndpoints&) const = default;
};

struct EndpointsSpec {
  std::string cluster_name;
  std::vector<LocalityEndpoints> localities;
  uint32_t overprovisioning_factor = 140;  // percent
  bool weighted_priority_health = false;
  bool operator==(const EndpointsSpec&) const = default;
};

}  // namespace outrider::config
