// Envoy's matchers of strings and header fields, fractions and headers to add, from protobuf into specs. Used wherever they appear: routes,
// access logs, filters. Thread: any, off the workers. Errors: each at its field path, below the current one.
#pragma once

#include <google/protobuf/message.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "source/base/clock.h"
#include "source/config/problems.h"
#include "source/config/route_spec.h"

namespace google::protobuf {
class Duration;
}
namespace envoy::type::v3 {
class FractionalPercent;
}
namespace envoy::type::matcher::v3 {
class StringMatcher;
class RegexMatchAndSubstitute;
}  // namespace envoy::type::matcher::v3
namespace envoy::config::core::v3 {
class RuntimeFractionalPercent;
}
namespace envoy::config::route::v3 {
class HeaderMatcher;
}

namespace outrider::config {

// nullopt after a problem.
std::optional<match::StringMatchSpec> parseStringMatcher(const envoy::type::matcher::v3::StringMatcher& in, Problems& problems);
std::optional<match::HeaderMatchSpec> parseHeaderMatcher(const envoy::config::route::v3::HeaderMatcher& in, Problems& problems);
std::optional<RegexRewriteSpec> parseRegexRewrite(const envoy::type::matcher::v3::RegexMatchAndSubstitute& in, Problems& problems);
FractionSpec parseFraction(const envoy::config::core::v3::RuntimeFractionalPercent& in, Problems& problems);
FractionSpec parsePercent(const envoy::type::v3::FractionalPercent& in);
// Not negative, else a problem at `field` and 0.
Nanos parseDuration(std::string_view field, const google::protobuf::Duration& in, Problems& problems);
// A header's name: what RFC 9110 calls a token, or a pseudo-header; lower-cased.
bool isHeaderName(std::string_view name);

// Every field of `in` that is set and not among `known` is reported as unsupported; those of `refused` are problems.
void reportOthers(const google::protobuf::Message& in, std::initializer_list<std::string_view> known, Problems& problems,
                  std::initializer_list<std::string_view> refused = {});

}  // namespace outrider::config
