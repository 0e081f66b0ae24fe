// envoy...TcpProxy into a TcpProxyConfig. Thread: off the workers. Errors: every one with its path.
#pragma once

#include <memory>
#include <string_view>

#include "source/filter/registry.h"

namespace outrider::filter::network::tcp_proxy {

inline constexpr std::string_view kTypeName = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

std::shared_ptr<const NetworkFilterFactory> parseTcpProxy(std::string_view type_url, std::string_view bytes, FilterContext& context);

}  // namespace outrider::filter::network::tcp_proxy
