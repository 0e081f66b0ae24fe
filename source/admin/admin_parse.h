// The bootstrap's `admin`. Thread: main, at start. Source: envoy.config.bootstrap.v3.Admin.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "source/base/address.h"
#include "source/config/honored.h"
#include "source/config/problems.h"
#include "source/net/listen_socket.h"

namespace envoy::config::bootstrap::v3 {
class Admin;
}

namespace outrider::admin {

struct AdminSpec {
  base::Address address;
  net::ListenOptions options;
};

// Nothing: no admin is wanted, or problems were added (the current path is the bootstrap's).
std::optional<AdminSpec> parseAdmin(const envoy::config::bootstrap::v3::Admin& in, config::Problems& problems);
void declareAdmin(config::Honored& honored);

}  // namespace outrider::admin
