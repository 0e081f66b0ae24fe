// How to reach a management server: core.v3.ApiConfigSource as a value.
// Thread: any. Errors: what is not implemented is refused with its field path, never skipped.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "envoy/config/core/v3/config_source.pb.h"
#include "source/base/clock.h"
#include "source/config/problems.h"

namespace outrider::xds {

struct Target {
  bool delta = false;
  std::string cluster;  // envoy_grpc: of a cluster that the proxy knows
  std::string uri;      // google_grpc: gRPC's own name for the server
  std::string authority;
  int max_receive_bytes = -1;  // -1: no limit (gRPC's own 4 MiB would refuse 10,000 clusters)
  std::vector<std::pair<std::string, std::string>> metadata;
  base::Nanos base_backoff = 500 * base::kMilli;
  base::Nanos max_backoff = 30 * base::kSecond;
  // google_grpc:
  bool tls = false;
  std::string root_certs;  // PEM; empty: gRPC's default roots
  std::string private_key;
  std::string cert_chain;
  std::vector<std::pair<std::string, int64_t>> int_args;
  std::vector<std::pair<std::string, std::string>> string_args;
};

// False when a problem was added. Files that google_grpc names are read here.
bool readTarget(const envoy::config::core::v3::ApiConfigSource& in, Target& out, config::Problems& problems);

}  // namespace outrider::xds
