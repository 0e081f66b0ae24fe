#include "source/config/route_parse.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "source/base/absl_compat.h"
#include "source/config/any.h"
#include "source/config/route_parse_parts.h"
#include "source/config/route_table.h"
#include "source/config/stable_bytes.h"
#include "source/format/format.h"

// Deprecated fields still arrive from control planes, and must be honoured or refused like the others.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::config {

namespace core = envoy::config::core::v3;
namespace route = envoy::config::route::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;

// ---- headers to add and remove ----

namespace {

bool isProtected(std::string_view lower_name) { return lower_name.front() == ':' || lower_name == "host"; }

HeaderAddSpec::Action actionOf(const core::HeaderValueOption& in) {
  using Action = HeaderAddSpec::Action;
  if (in.has_append()) return in.append().value() ? Action::kAppend : Action::kOverwrite;
  switch (in.append_action()) {
    case core::HeaderValueOption::ADD_IF_ABSENT: return Action::kAddIfAbsent;
    case core::HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD: return Action::kOverwrite;
    case core::HeaderValueOption::OVERWRITE_IF_EXISTS: return Action::kOverwriteIfExists;
    default: return Action::kAppend;
  }
}

}  // namespace

void RouteParts::add(std::string_view field, const HeaderOptions& in, HeaderEditSpec& out) {
  if (in.size() > 1000) {
    problems.addAt(field, std::to_string(in.size()), "are too many headers", "at most 1000");
    return;
  }
  for (int i = 0; i < in.size(); ++i) {
    const auto at = problems.element(field, static_cast<size_t>(i));
    const core::HeaderValueOption& option = in.Get(i);
    if (option.has_append() && option.append_action() != core::HeaderValueOption::APPEND_IF_EXISTS_OR_ADD) {
      problems.addAt("append_action", {}, "stands beside append; only one of them may be set");
    }
    const auto inside = problems.field("header");
    HeaderAddSpec add;
    add.name = absl::AsciiStrToLower(option.header().key());
    add.value = option.header().value().empty() ? option.header().raw_value() : option.header().value();
    add.action = actionOf(option);
    add.keep_empty = option.keep_empty_value();
    if (!isHeaderName(add.name)) {
      problems.addAt("key", option.header().key(), "is no header name");
      continue;
    }
    if (isProtected(add.name)) {
      problems.addAt("key", option.header().key(), "may not be changed here", "host and pseudo-headers have rewrite fields of their own");
      continue;
    }
    if (add.value.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
      problems.addAt("value", add.value, "has CR, LF or NUL");
      continue;
    }
    const auto format = format::Format::compile(add.value);
    if (!format.ok()) {
      problems.addAt("value", add.value, base::toStd(format.status().message()));
      continue;
    }
    if (format->printsNewline()) {
      problems.addAt("value", add.value, "prints a line break (%n), which a header cannot hold");
      continue;
    }
    if (!format->withoutData().empty()) problems.unsupported("value");
    out.add.push_back(std::move(add));
  }
}

void parseHeadersToAdd(std::string_view field, const RouteParts::HeaderOptions& in, HeaderEditSpec& out, Problems& problems) {
  static const OverrideParser none;
  RouteParts{problems, none}.add(field, in, out);
}

void RouteParts::remove(std::string_view field, const Names& in, HeaderEditSpec& out) {
  for (int i = 0; i < in.size(); ++i) {
    const auto at = problems.element(field, static_cast<size_t>(i));
    std::string name = absl::AsciiStrToLower(in.Get(i));
    if (!isHeaderName(name)) {
      problems.add(in.Get(i), "is no header name");
    } else if (isProtected(name)) {
      problems.add(in.Get(i), "may not be removed");
    } else {
      out.remove.push_back(std::move(name));
    }
  }
}

// ---- filters' own configs ----

void RouteParts::filters(const FilterConfigs& in, std::vector<FilterOverrideSpec>& out) {
  const auto field = problems.field("typed_per_filter_config");
  std::set<std::string> names;  // the map's order is random
  for (const auto& [name, any] : in) names.insert(name);
  for (const std::string& name : names) {
    const auto at = problems.key(name);
    const google::protobuf::Any& outer = in.at(name);
    FilterOverrideSpec each;
    each.filter = name;
    each.type_url = outer.type_url();
    each.bytes = outer.value();
    google::protobuf::Any inner = outer;
    bool optional = false;
    if (innerType(outer) == route::FilterConfig::descriptor()->full_name()) {
      route::FilterConfig wrapper;
      if (!unpack(outer, wrapper, problems)) continue;
      each.disabled = wrapper.disabled();
      optional = wrapper.is_optional();
      inner = wrapper.config();
    }
    if (!inner.type_url().empty()) {
      const std::string type = innerType(inner);
      if (overrides) {
        const size_t before = problems.size();
        each.parsed = overrides(type, inner, problems);
        if (each.parsed == nullptr && problems.size() == before && !optional) {
          problems.add(type, "is not a filter config that Outrider has for routes");
        }
      } else if (optional) {
        problems.unsupported(type);
      } else {
        problems.add(type, "is not a filter config that Outrider has for routes");
      }
    } else if (!each.disabled) {
      problems.add("has neither a config nor disabled");
    }
    out.push_back(std::move(each));
  }
}

// ---- virtual hosts ----

RouteTableSpec TableParser::rules(const route::RouteConfiguration& in) {
  reportOthers(
      in,
      {"name", "virtual_hosts", "internal_only_headers", "response_headers_to_add", "response_headers_to_remove", "request_headers_to_add",
       "request_headers_to_remove", "validate_clusters", "most_specific_header_mutations_wins", "max_direct_response_body_size_bytes",
       "ignore_port_in_host_matching", "vhost_header", "typed_per_filter_config", "request_mirror_policies"},
      problems_, {"vhds", "ignore_path_parameters_in_path_matching"});
  RouteTableSpec out;
  out.name = in.name();
  if (in.has_max_direct_response_body_size_bytes()) parts_.most_direct_bytes = in.max_direct_response_body_size_bytes().value();
  if (in.has_validate_clusters()) out.validate_clusters = in.validate_clusters().value();
  out.most_specific_wins = in.most_specific_header_mutations_wins();
  out.ignore_port = in.ignore_port_in_host_matching();
  out.vhost_header = absl::AsciiStrToLower(in.vhost_header());
  if (!out.vhost_header.empty() && !isHeaderName(out.vhost_header)) problems_.addAt("vhost_header", in.vhost_header(), "is no header name");
  for (int i = 0; i < in.internal_only_headers_size(); ++i) {
    const auto at = problems_.element("internal_only_headers", static_cast<size_t>(i));
    const std::string& name = in.internal_only_headers(i);
    if (!isHeaderName(name))
      problems_.add(name, "is no header name");
    else
      out.internal_only_headers.push_back(absl::AsciiStrToLower(name));
  }
  parts_.edits(in, out.request, out.response);
  parts_.filters(in.typed_per_filter_config(), out.filters);
  parts_.table_mirrors.clear();
  parts_.mirrors(in.request_mirror_policies(), parts_.table_mirrors);
  return out;
}

void TableParser::take(const VirtualHost& host) {
  for (size_t i = 0; i < host.domains().size(); ++i) {
    const auto at = problems_.element("domains", i);
    own(host.domains()[i], host.domains()[i], host.name());
  }
}

VirtualHostSpec TableParser::host(const route::VirtualHost& in) {
  VirtualHostSpec out;
  reportOthers(in,
               {"name", "domains", "routes", "require_tls", "request_headers_to_add", "request_headers_to_remove",
                "response_headers_to_add", "response_headers_to_remove", "typed_per_filter_config", "retry_policy",
                "include_request_attempt_count", "include_attempt_count_in_response", "include_is_timeout_retry_header",
                "request_mirror_policies"},
               problems_, {"matcher", "retry_policy_typed_config"});
  out.name = in.name();
  if (out.name.empty()) problems_.addAt("name", {}, "is empty");
  if (in.domains().empty()) problems_.addAt("domains", {}, "is empty", "at least one domain, '*' for any");
  for (int i = 0; i < in.domains_size(); ++i) {
    const auto at = problems_.element("domains", static_cast<size_t>(i));
    domain(in.domains(i), out);
  }
  switch (in.require_tls()) {
    case route::VirtualHost::NONE: break;
    case route::VirtualHost::EXTERNAL_ONLY: out.require_tls = VirtualHostSpec::Tls::kExternalOnly; break;
    case route::VirtualHost::ALL: out.require_tls = VirtualHostSpec::Tls::kAll; break;
    default: problems_.addAt("require_tls", std::to_string(in.require_tls()), "is no value of this field", "NONE, EXTERNAL_ONLY or ALL");
  }
  out.request_attempt_count = in.include_request_attempt_count();
  out.response_attempt_count = in.include_attempt_count_in_response();
  out.timeout_retry_header = in.include_is_timeout_retry_header();
  parts_.edits(in, out.request, out.response);
  parts_.filters(in.typed_per_filter_config(), out.filters);
  parts_.host_mirrors.clear();
  parts_.mirrors(in.request_mirror_policies(), parts_.host_mirrors);
  if (parts_.host_mirrors.empty()) parts_.host_mirrors = parts_.table_mirrors;
  parts_.host_retry.reset();
  if (in.has_retry_policy()) {
    const auto at = problems_.field("retry_policy");
    parts_.retry(in.retry_policy(), parts_.host_retry.emplace());
  }
  return out;
}

void TableParser::domain(const std::string& in, VirtualHostSpec& out) {
  if (in.empty()) {
    problems_.add("is empty");
    return;
  }
  if (in.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
    problems_.add(in, "has CR, LF or NUL");
    return;
  }
  if (in.size() > 2 && in.find('*', 1) < in.size() - 1) {
    problems_.add(in, "has a wildcard inside", "a '*' at its start or at its end");
    return;
  }
  std::string lower = absl::AsciiStrToLower(in);
  if (lower.size() > 1 && lower.front() == '*' && lower.back() == '*') {
    problems_.add(in, "has two wildcards", "a '*' at its start or at its end");
    return;
  }
  if (own(in, texts_.emplace_back(lower), texts_.emplace_back(out.name))) out.domains.push_back(std::move(lower));
}

bool TableParser::own(std::string_view as_given, std::string_view lower, std::string_view host) {
  const auto [it, fresh] = domains_.emplace(lower, host);
  if (!fresh) {
    problems_.add(as_given, absl::StrCat("is a domain of virtual host '", std::string(it->second),
                                         "' already; domains are unique in a route configuration"));
  }
  return fresh;
}

RouteSpec TableParser::route(const route::Route& in) {
  RouteSpec out;
  reportOthers(in,
               {"name", "match", "route", "redirect", "direct_response", "non_forwarding_action", "request_headers_to_add",
                "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove", "typed_per_filter_config", "metadata"},
               problems_, {"filter_action"});
  out.name = in.name();
  if (in.has_metadata()) out.metadata = stableBytes(in.metadata());
  out.stat_prefix = in.stat_prefix();
  if (in.has_match()) {
    const auto at = problems_.field("match");
    parts_.match(in.match(), out.match);
  } else {
    problems_.addAt("match", {}, "is missing");
  }
  parts_.edits(in, out.request, out.response);
  parts_.filters(in.typed_per_filter_config(), out.filters);
  switch (in.action_case()) {
    case route::Route::kRoute: {
      const auto at = problems_.field("route");
      parts_.forward(in.route(), out.forward);
      break;
    }
    case route::Route::kRedirect: {
      const auto at = problems_.field("redirect");
      out.action = RouteSpec::Action::kRedirect;
      parts_.redirect(in.redirect(), out.redirect);
      break;
    }
    case route::Route::kDirectResponse: {
      const auto at = problems_.field("direct_response");
      out.action = RouteSpec::Action::kDirect;
      parts_.direct(in.direct_response(), out.direct);
      break;
    }
    case route::Route::kNonForwardingAction: out.action = RouteSpec::Action::kNonForwarding; break;
    case route::Route::kFilterAction: break;  // refused above
    case route::Route::ACTION_NOT_SET:
      problems_.add({}, "has no action", "one of route, redirect, direct_response, non_forwarding_action");
      break;
  }
  return out;
}

RouteTableSpec parseRoutes(const route::RouteConfiguration& in, Problems& problems, const OverrideParser& overrides) {
  TableParser parser(problems, overrides);
  RouteTableSpec out = parser.rules(in);
  for (int i = 0; i < in.virtual_hosts_size(); ++i) {
    const auto at = problems.element("virtual_hosts", static_cast<size_t>(i));
    VirtualHostSpec& host = out.hosts.emplace_back(parser.host(in.virtual_hosts(i)));
    for (int j = 0; j < in.virtual_hosts(i).routes_size(); ++j) {
      const auto inside = problems.element("routes", static_cast<size_t>(j));
      host.routes.push_back(parser.route(in.virtual_hosts(i).routes(j)));
    }
  }
  return out;
}

std::shared_ptr<const RouteTable> parseRouteTable(const route::RouteConfiguration& in, ParseContext& context,
                                                  const OverrideParser& overrides) {
  const size_t found = context.problems.size();
  RouteTableSpec spec = parseRoutes(in, context.problems, overrides);
  if (context.problems.size() != found) return nullptr;
  auto table = RouteTable::compile(std::move(spec), context.names);
  if (table.ok()) return *std::move(table);
  context.problems.add(base::toStd(table.status().message()));
  return nullptr;
}

// ---- scopes ----

ScopeSpec parseScope(const route::ScopedRouteConfiguration& in, Problems& problems) {
  reportOthers(in, {"name", "route_configuration_name", "route_configuration", "key"}, problems);
  ScopeSpec out;
  out.name = in.name();
  out.route_config = in.route_configuration_name();
  if (out.name.empty()) problems.addAt("name", {}, "is empty");
  if (out.route_config.empty() == !in.has_route_configuration()) {
    problems.add({}, "must have exactly one of route_configuration_name, route_configuration");
  }
  if (in.key().fragments().empty()) problems.addAt("key", {}, "has no fragments");
  for (const auto& fragment : in.key().fragments()) out.key.push_back(fragment.string_key());
  return out;
}

ScopeKeySpec parseScopeKey(const hcm::ScopedRoutes_ScopeKeyBuilder& in, Problems& problems) {
  ScopeKeySpec out;
  if (in.fragments().empty()) problems.addAt("fragments", {}, "is empty");
  for (int i = 0; i < in.fragments_size(); ++i) {
    const auto at = problems.element("fragments", static_cast<size_t>(i));
    if (!in.fragments(i).has_header_value_extractor()) {
      problems.addAt("header_value_extractor", {}, "is missing");
      continue;
    }
    const auto inside = problems.field("header_value_extractor");
    const auto& extractor = in.fragments(i).header_value_extractor();
    ScopeKeySpec::Fragment fragment;
    fragment.header = absl::AsciiStrToLower(extractor.name());
    fragment.element_separator = extractor.element_separator();
    if (!isHeaderName(fragment.header)) problems.addAt("name", extractor.name(), "is no header name");
    if (extractor.has_element()) {
      fragment.by_key = true;
      fragment.key = extractor.element().key();
      fragment.key_separator = extractor.element().separator();
      if (fragment.key.empty()) problems.addAt("element.key", {}, "is empty");
      if (fragment.key_separator.empty()) problems.addAt("element.separator", {}, "is empty");
    } else {
      fragment.index = extractor.index();
      if (fragment.element_separator.empty() && fragment.index != 0) {
        problems.addAt("index", std::to_string(fragment.index), "is past the only element", "0 without an element_separator");
      }
    }
    out.fragments.push_back(std::move(fragment));
  }
  return out;
}

}  // namespace outrider::config
