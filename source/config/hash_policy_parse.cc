// RouteAction.hash_policy. Source: config.route.v3.RouteAction.HashPolicy.
#include "absl/strings/ascii.h"
#include "source/config/field_value.h"
#include "source/config/route_parse_parts.h"

namespace outrider::config {

namespace route = envoy::config::route::v3;

void RouteParts::hashes(const route::RouteAction& in, ForwardSpec& out) {
  for (int i = 0; i < in.hash_policy_size(); ++i) {
    const auto element = problems.element("hash_policy", static_cast<size_t>(i));
    const route::RouteAction::HashPolicy& from = in.hash_policy(i);
    HashSpec to;
    to.terminal = from.terminal();
    switch (from.policy_specifier_case()) {
      case route::RouteAction::HashPolicy::kHeader: {
        const auto at = problems.field("header");
        to.kind = HashSpec::Kind::kHeader;
        to.name = absl::AsciiStrToLower(from.header().header_name());
        if (from.header().has_regex_rewrite()) {
          const auto inner = problems.field("regex_rewrite");
          to.rewrite = parseRegexRewrite(from.header().regex_rewrite(), problems);
        }
        break;
      }
      case route::RouteAction::HashPolicy::kCookie: {
        const auto at = problems.field("cookie");
        to.kind = HashSpec::Kind::kCookie;
        to.name = from.cookie().name();
        to.cookie_path = from.cookie().path();
        plain("name", to.name);
        plain("path", to.cookie_path);
        if (from.cookie().has_ttl()) to.cookie_ttl = parseDuration("ttl", from.cookie().ttl(), problems);
        for (int j = 0; j < from.cookie().attributes_size(); ++j) {
          const auto inner = problems.element("attributes", static_cast<size_t>(j));
          to.cookie_attributes.emplace_back(from.cookie().attributes(j).name(), from.cookie().attributes(j).value());
          plain("name", to.cookie_attributes.back().first);
          plain("value", to.cookie_attributes.back().second);
        }
        break;
      }
      case route::RouteAction::HashPolicy::kConnectionProperties:
        if (!from.connection_properties().source_ip()) continue;  // hashes nothing
        to.kind = HashSpec::Kind::kSourceIp;
        break;
      case route::RouteAction::HashPolicy::kQueryParameter:
        to.kind = HashSpec::Kind::kQuery;
        to.name = from.query_parameter().name();
        break;
      case route::RouteAction::HashPolicy::kFilterState: problems.unsupported("filter_state"); continue;
      case route::RouteAction::HashPolicy::POLICY_SPECIFIER_NOT_SET: continue;  // the API's rules refuse it
    }
    out.hash.push_back(std::move(to));
  }
}

}  // namespace outrider::config
