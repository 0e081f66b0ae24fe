// envoy...HttpConnectionManager into an HcmConfig: defaults resolved, filters compiled into a chain, routes named.
// Thread: off the workers. Errors: every one with its path; a type that is not done is refused, unless telemetry only.
#pragma once

#include <memory>
#include <string_view>

#include "source/filter/network/http_connection_manager/config.h"
#include "source/filter/registry.h"

namespace outrider::filter::network::http_connection_manager {

inline constexpr std::string_view kTypeName = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

std::shared_ptr<const NetworkFilterFactory> parseHcm(std::string_view type_url, std::string_view bytes, FilterContext& context);

// The table of a static or RDS route configuration; null after a problem. Used for inline tables and by RDS.
}  // namespace outrider::filter::network::http_connection_manager
