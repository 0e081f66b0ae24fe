// What a router was told. Immutable; shared by the streams of its chain. Source: envoy.extensions.filters.http.router.v3.Router.
#pragma once

#include "source/router/stats.h"

namespace outrider::router {

struct RouterConfig {
  RouterStats stats;
  bool suppress_envoy_headers = false;
  bool respect_expected_timeout = false;
  bool replay = true;               // asks again what the upstream surely did not act on (not with --defaults=envoy)
  size_t buffer_limit = 64 * 1024;  // of request bytes kept for a retry
};

}  // namespace outrider::router
