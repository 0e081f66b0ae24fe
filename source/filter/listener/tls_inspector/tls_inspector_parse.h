// envoy...TlsInspector into a TlsInspectorConfig. Thread: off the workers. Errors: every one with its path.
#pragma once

#include <memory>
#include <string_view>

#include "source/filter/registry.h"

namespace outrider::filter::listener::tls_inspector {

inline constexpr std::string_view kTypeName = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";

std::shared_ptr<const ListenerFilterFactory> parseTlsInspector(std::string_view type_url, std::string_view bytes, FilterContext& context);

}  // namespace outrider::filter::listener::tls_inspector
