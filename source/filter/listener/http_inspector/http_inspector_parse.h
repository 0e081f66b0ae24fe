// envoy...HttpInspector into an HttpInspectorConfig. Thread: off the workers.
#pragma once

#include <memory>
#include <string_view>

#include "source/filter/registry.h"

namespace outrider::filter::listener::http_inspector {

std::shared_ptr<const ListenerFilterFactory> parseHttpInspector(std::string_view type, std::string_view bytes, FilterContext& context);

}  // namespace outrider::filter::listener::http_inspector
