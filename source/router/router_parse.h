// envoy.extensions.filters.http.router.v3.Router into a RouterConfig. Thread: off the workers.
#pragma once

#include "source/filter/registry.h"

namespace outrider::router {

inline constexpr std::string_view kTypeName = "envoy.extensions.filters.http.router.v3.Router";
filter::HttpFilterProduct parseRouter(std::string_view type_url, std::string_view bytes, filter::FilterContext& context);

}  // namespace outrider::router
