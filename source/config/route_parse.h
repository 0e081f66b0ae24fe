// Envoy's route messages into specs, with every problem at its field path. What is set and not acted on is reported; what would
// change who gets where, or what is admitted, is refused.
// Thread: any, off the workers. Source: config.route.v3, hcm.v3.ScopedRoutes.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <functional>
#include <memory>

#include "source/config/extension.h"
#include "source/config/problems.h"
#include "source/config/route_spec.h"
#include "source/config/validate.h"

namespace google::protobuf {
class Any;
}
namespace envoy::config::core::v3 {
class HeaderValueOption;
}
namespace envoy::config::route::v3 {
class RouteConfiguration;
class ScopedRouteConfiguration;
}  // namespace envoy::config::route::v3
namespace envoy::extensions::filters::network::http_connection_manager::v3 {
class ScopedRoutes_ScopeKeyBuilder;
}

namespace outrider::config {

class RouteTable;

// What a filter's own config on a route becomes: found by the type inside `config`, at the current path. Null after a problem.
// Without a parser every such config is refused, unless it is optional or only disables the filter.
using OverrideParser =
    std::function<std::shared_ptr<const void>(std::string_view type_name, const google::protobuf::Any& config, Problems& problems)>;

RouteTableSpec parseRoutes(const envoy::config::route::v3::RouteConfiguration& in, Problems& problems,
                           const OverrideParser& overrides = {});

// The same, compiled; null after a problem.
std::shared_ptr<const RouteTable> parseRouteTable(const envoy::config::route::v3::RouteConfiguration& in, ParseContext& context,
                                                  const OverrideParser& overrides = {});

// From its bytes, checked too; there is never a spec of the whole table. What has the bytes that it had in `before` (the version that
// serves, may be null) is taken over: a change of one virtual host among many, or of one route among many of its virtual host,
// decodes, checks and compiles that one.
std::shared_ptr<const RouteTable> readRouteTable(std::string_view bytes, const Checker& checker, const RouteTable* before,
                                                 ParseContext& context, const OverrideParser& overrides = {});

// Headers with formats as values, wherever they are added.
void parseHeadersToAdd(std::string_view field, const google::protobuf::RepeatedPtrField<envoy::config::core::v3::HeaderValueOption>& in,
                       HeaderEditSpec& out, Problems& problems);

// An inline table of a scope is not part of the spec: parse it with parseRouteTable().
ScopeSpec parseScope(const envoy::config::route::v3::ScopedRouteConfiguration& in, Problems& problems);
ScopeKeySpec parseScopeKey(const envoy::extensions::filters::network::http_connection_manager::v3::ScopedRoutes_ScopeKeyBuilder& in,
                           Problems& problems);

}  // namespace outrider::config
