// The endpoints of one cluster as a value: endpoint.v3.ClusterLoadAssignment, checked. Small, since a cluster may have tens of
// thousands: what few endpoints have, and what many have in common, stands behind a pointer.
// Thread: any (immutable once parsed). Equality is "nothing changed".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "source/base/address.h"
#include "source/config/labels.h"

namespace outrider::config {

enum class HealthStatus : uint8_t { kUnknown, kHealthy, kUnhealthy, kDraining, kTimeout, kDegraded };

// Endpoints of one assignment with equal details share them.
struct EndpointDetails {
  std::string name;      // what DNS resolves; empty: the address is known
  std::string hostname;  // Endpoint.hostname: auto_host_rewrite, health checks
  std::string metadata;  // core.Metadata, deterministic wire form
  std::string hash_key;  // its envoy.lb/hash_key: stands for the endpoint in consistent hashing
  std::string check_hostname;
  uint16_t check_port = 0;      // HealthCheckConfig.port_value; 0: as the endpoint's
  bool check_disabled = false;  // HealthCheckConfig.disable_active_health_check
  bool canary = false;          // the metadata's envoy.lb/canary
  Labels socket_labels;         // its envoy.transport_socket_match
  Labels lb_labels;             // its envoy.lb
  bool operator==(const EndpointDetails&) const = default;
};

struct EndpointSpec {
  base::Address address;                           // invalid for a name that DNS resolves
  std::shared_ptr<const EndpointDetails> details;  // null: none of them
  uint32_t weight = 1;
  uint16_t port = 0;
  HealthStatus health = HealthStatus::kUnknown;

  const EndpointDetails& more() const {
    static const EndpointDetails none;
    return details == nullptr ? none : *details;
  }
  bool operator==(const EndpointSpec& other) const {
    return address == other.address && weight == other.weight && port == other.port && health == other.health &&
           (details == other.details || more() == other.more());
  }
};

struct LocalityEndpoints {
  std::string region, zone, sub_zone;
  uint32_t priority = 0;
  uint32_t weight = 0;   // 0: not given
  Labels socket_labels;  // the locality's own envoy.transport_socket_match
  std::vector<EndpointSpec> endpoints;
  bool listed = false;  // they stood in load_balancer_endpoints
  bool operator==(const LocalityEndpoints&) const = default;
};

struct EndpointsSpec {
  std::string cluster_name;
  std::vector<LocalityEndpoints> localities;
  uint32_t overprovisioning_factor = 140;  // percent
  bool weighted_priority_health = false;
  std::shared_ptr<const std::string> source;  // the bytes that it was read from; null: not to be taken over
  bool operator==(const EndpointsSpec& other) const {
    return cluster_name == other.cluster_name && localities == other.localities &&
           overprovisioning_factor == other.overprovisioning_factor && weighted_priority_health == other.weighted_priority_health;
  }
};

}  // namespace outrider::config
