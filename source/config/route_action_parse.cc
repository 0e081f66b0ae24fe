// What a route matches and what it does.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config.pb.h"
#include "envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.pb.h"
#include "source/config/any.h"
#include "source/config/endpoint_parse.h"
#include "source/config/line_parse.h"
#include "source/config/route_parse_parts.h"
#include "source/config/tls_parse.h"
#include "source/config/tls_spec.h"
#include "source/http/header_map.h"
#include "source/match/regex.h"

// Deprecated fields still arrive from control planes, and must be honoured or refused like the others.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::config {

namespace core = envoy::config::core::v3;
namespace route = envoy::config::route::v3;

// ---- match ----

void RouteParts::match(const route::RouteMatch& in, RouteMatchSpec& out) {
  reportOthers(in,
               {"prefix", "path", "safe_regex", "path_separated_prefix", "connect_matcher", "case_sensitive", "headers", "query_parameters",
                "grpc", "runtime_fraction", "tls_context"},
               problems, {"path_match_policy", "dynamic_metadata", "filter_state"});
  using Path = RouteMatchSpec::Path;
  const auto noQuery = [&](std::string_view field, const std::string& path) {
    if (path.find_first_of("?#") != std::string::npos) problems.addAt(field, path, "has a '?' or '#'; only the path is matched");
  };
  switch (in.path_specifier_case()) {
    case route::RouteMatch::kPrefix:
      out.kind = Path::kPrefix;
      out.path = in.prefix();
      break;
    case route::RouteMatch::kPath:
      out.kind = Path::kExact;
      out.path = in.path();
      break;
    case route::RouteMatch::kPathSeparatedPrefix:
      out.kind = Path::kSeparatedPrefix;
      out.path = in.path_separated_prefix();
      noQuery("path_separated_prefix", out.path);
      if (out.path.size() < 2 || out.path.front() != '/' || out.path.back() == '/') {
        problems.addAt("path_separated_prefix", out.path, "must begin with '/', and may not end with it", "an example is /api");
      }
      break;
    case route::RouteMatch::kSafeRegex: {
      out.kind = Path::kRegex;
      out.path = in.safe_regex().regex();
      const auto at = problems.field("safe_regex");
      if (out.path.empty()) {
        problems.addAt("regex", {}, "is empty");
      } else if (auto regex = match::Regex::compile(out.path); regex.ok()) {
        out.checked.regex = *std::move(regex);
      } else {
        problems.addAt("regex", out.path, std::string(regex.status().message()), "RE2 syntax");
      }
      break;
    }
    case route::RouteMatch::kConnectMatcher: out.kind = Path::kConnect; break;
    case route::RouteMatch::kPathMatchPolicy: break;  // refused above
    case route::RouteMatch::PATH_SPECIFIER_NOT_SET:
      problems.add({}, "has no path", "one of prefix, path, safe_regex, path_separated_prefix, connect_matcher");
      break;
  }
  if (in.has_case_sensitive()) out.case_sensitive = in.case_sensitive().value();
  for (int i = 0; i < in.headers_size(); ++i) {
    const auto at = problems.element("headers", static_cast<size_t>(i));
    if (auto header = parseHeaderMatcher(in.headers(i), problems)) out.headers.push_back(*std::move(header));
  }
  for (int i = 0; i < in.query_parameters_size(); ++i) {
    const route::QueryParameterMatcher& query = in.query_parameters(i);
    const auto at = problems.element("query_parameters", static_cast<size_t>(i));
    QueryMatchSpec each;
    each.name = query.name();
    if (each.name.empty()) problems.addAt("name", {}, "is empty");
    if (query.has_string_match()) {
      const auto inside = problems.field("string_match");
      each.string = parseStringMatcher(query.string_match(), problems);
    } else if (query.query_parameter_match_specifier_case() == route::QueryParameterMatcher::kPresentMatch) {
      each.present = query.present_match();
    }
    out.query.push_back(std::move(each));
  }
  out.grpc = in.has_grpc();
  if (in.has_runtime_fraction()) {
    const auto at = problems.field("runtime_fraction");
    out.fraction = parseFraction(in.runtime_fraction(), problems);
  }
  if (in.has_tls_context()) {
    if (in.tls_context().has_presented()) out.tls_presented = in.tls_context().presented().value();
    if (in.tls_context().has_validated()) out.tls_validated = in.tls_context().validated().value();
  }
}

// ---- forward ----

void RouteParts::plain(std::string_view field, const std::string& text) {
  if (text.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) problems.addAt(field, text, "has CR, LF or NUL");
}

void RouteParts::forward(const route::RouteAction& in, ForwardSpec& out) {
  reportOthers(in,
               {"cluster",
                "cluster_header",
                "weighted_clusters",
                "cluster_not_found_response_code",
                "prefix_rewrite",
                "regex_rewrite",
                "host_rewrite_literal",
                "auto_host_rewrite",
                "host_rewrite_header",
                "host_rewrite_path_regex",
                "append_x_forwarded_host",
                "timeout",
                "idle_timeout",
                "max_stream_duration",
                "max_grpc_timeout",
                "grpc_timeout_offset",
                "retry_policy",
                "priority",
                "hash_policy",
                "upgrade_configs",
                "request_mirror_policies"},
               problems,
               {"cluster_specifier_plugin", "inline_cluster_specifier_plugin", "path_rewrite_policy", "path_rewrite", "host_rewrite",
                "retry_policy_typed_config"});
  switch (in.cluster_specifier_case()) {
    case route::RouteAction::kCluster:
      out.cluster = in.cluster();
      if (out.cluster.empty()) problems.addAt("cluster", {}, "is empty");
      break;
    case route::RouteAction::kClusterHeader:
      out.cluster_header = absl::AsciiStrToLower(in.cluster_header());
      if (!isHeaderName(out.cluster_header)) problems.addAt("cluster_header", in.cluster_header(), "is no header name");
      break;
    case route::RouteAction::kWeightedClusters: {
      const auto at = problems.field("weighted_clusters");
      weighted(in.weighted_clusters(), out);
      break;
    }
    case route::RouteAction::kClusterSpecifierPlugin:
    case route::RouteAction::kInlineClusterSpecifierPlugin: break;  // refused above
    case route::RouteAction::CLUSTER_SPECIFIER_NOT_SET:
      problems.add({}, "says no cluster", "one of cluster, cluster_header, weighted_clusters");
      break;
  }
  switch (in.cluster_not_found_response_code()) {
    case route::RouteAction::NOT_FOUND: out.cluster_not_found_code = 404; break;
    case route::RouteAction::INTERNAL_SERVER_ERROR: out.cluster_not_found_code = 500; break;
    default: out.cluster_not_found_code = 503;
  }
  out.prefix_rewrite = in.prefix_rewrite();
  plain("prefix_rewrite", out.prefix_rewrite);
  if (in.has_regex_rewrite()) {
    if (!out.prefix_rewrite.empty()) problems.addAt("regex_rewrite", {}, "stands beside prefix_rewrite; only one of them may be set");
    const auto at = problems.field("regex_rewrite");
    out.regex_rewrite = parseRegexRewrite(in.regex_rewrite(), problems);
  }
  hostRewrite(in, out);
  times(in, out);
  if (in.has_retry_policy()) {
    const auto at = problems.field("retry_policy");
    retry(in.retry_policy(), out.retry.emplace());
  } else if (host_retry.has_value()) {
    out.retry = *host_retry;
  }
  out.high_priority = in.priority() == core::HIGH;
  if (in.request_mirror_policies().empty()) {
    out.mirrors = host_mirrors;
  } else {
    mirrors(in.request_mirror_policies(), out.mirrors);
  }
  hashes(in, out);
  upgrades(in, out);
}

void RouteParts::hostRewrite(const route::RouteAction& in, ForwardSpec& out) {
  switch (in.host_rewrite_specifier_case()) {
    case route::RouteAction::kHostRewriteLiteral:
      out.host_rewrite_literal = in.host_rewrite_literal();
      plain("host_rewrite_literal", out.host_rewrite_literal);
      break;
    case route::RouteAction::kAutoHostRewrite: out.auto_host_rewrite = in.auto_host_rewrite().value(); break;
    case route::RouteAction::kHostRewriteHeader:
      out.host_rewrite_header = absl::AsciiStrToLower(in.host_rewrite_header());
      if (!isHeaderName(out.host_rewrite_header)) problems.addAt("host_rewrite_header", in.host_rewrite_header(), "is no header name");
      break;
    case route::RouteAction::kHostRewritePathRegex: {
      const auto at = problems.field("host_rewrite_path_regex");
      out.host_rewrite_path = parseRegexRewrite(in.host_rewrite_path_regex(), problems);
      break;
    }
    default: break;
  }
  out.append_forwarded_host = in.append_x_forwarded_host();
}

// max_grpc_timeout and grpc_timeout_offset are deprecated twins of the fields inside max_stream_duration with another meaning.
void RouteParts::times(const route::RouteAction& in, ForwardSpec& out) {
  if (in.has_timeout()) out.timeout = parseDuration("timeout", in.timeout(), problems);
  if (in.has_idle_timeout()) out.idle_timeout = parseDuration("idle_timeout", in.idle_timeout(), problems);
  if (in.has_max_grpc_timeout()) out.max_grpc_timeout = parseDuration("max_grpc_timeout", in.max_grpc_timeout(), problems);
  if (in.has_grpc_timeout_offset()) {
    out.old_grpc_timeout_offset = parseDuration("grpc_timeout_offset", in.grpc_timeout_offset(), problems);
  }
  if (!in.has_max_stream_duration()) return;
  out.timeout = 0;  // the limits of the whole exchange stand in its place, as in Envoy
  const auto& limits = in.max_stream_duration();
  const auto at = problems.field("max_stream_duration");
  const auto limit = [&](std::string_view field, bool set, const google::protobuf::Duration& value, std::optional<Nanos>& to) {
    if (!set) return;
    to = parseDuration(field, value, problems);
  };
  limit("max_stream_duration", limits.has_max_stream_duration(), limits.max_stream_duration(), out.max_stream_duration);
  limit("grpc_timeout_header_max", limits.has_grpc_timeout_header_max(), limits.grpc_timeout_header_max(), out.grpc_timeout_max);
  limit("grpc_timeout_header_offset", limits.has_grpc_timeout_header_offset(), limits.grpc_timeout_header_offset(),
        out.grpc_timeout_offset);
}

void RouteParts::mirrors(const Mirrors& in, std::vector<MirrorSpec>& out) {
  for (int i = 0; i < in.size(); ++i) {
    const auto at = problems.element("request_mirror_policies", static_cast<size_t>(i));
    const auto& from = in.Get(i);
    reportOthers(from, {"cluster", "cluster_header", "runtime_fraction", "disable_shadow_host_suffix_append"}, problems);
    MirrorSpec to;
    to.cluster = from.cluster();
    to.cluster_header = absl::AsciiStrToLower(from.cluster_header());
    to.keep_host = from.disable_shadow_host_suffix_append();
    if (from.has_runtime_fraction()) {
      const auto inner = problems.field("runtime_fraction");
      to.fraction = parseFraction(from.runtime_fraction(), problems);
    }
    if (to.cluster.empty() == to.cluster_header.empty()) {
      problems.addAt("cluster", to.cluster, to.cluster.empty() ? "names no cluster" : "stands beside cluster_header",
                     "exactly one of cluster and cluster_header");
    } else if (!to.cluster_header.empty() && !isHeaderName(to.cluster_header)) {
      problems.addAt("cluster_header", from.cluster_header(), "is no header name");
    }
    out.push_back(std::move(to));
  }
}

void RouteParts::upgrades(const route::RouteAction& in, ForwardSpec& out) {
  for (int i = 0; i < in.upgrade_configs_size(); ++i) {
    const auto& upgrade = in.upgrade_configs(i);
    const auto at = problems.element("upgrade_configs", static_cast<size_t>(i));
    UpgradeSpec each{upgrade.upgrade_type(), !upgrade.has_enabled() || upgrade.enabled().value(), upgrade.has_connect_config()};
    if (each.type.empty()) problems.addAt("upgrade_type", {}, "is empty");
    if (http::equalsIgnoreCase(each.type, "CONNECT-UDP")) {
      problems.addAt("upgrade_type", each.type, "is not supported", "CONNECT, websocket, or another protocol over bytes");
    }
    for (const UpgradeSpec& other : out.upgrades) {
      if (http::equalsIgnoreCase(other.type, each.type)) problems.addAt("upgrade_type", each.type, "is named twice");
    }
    if (each.connect && !http::equalsIgnoreCase(each.type, "CONNECT")) {
      problems.addAt("connect_config", each.type, "belongs to the upgrade type CONNECT alone");
    }
    if (each.connect) {
      problems.addAt("connect_config", each.type, "is not supported: the CONNECT would be forwarded instead of ended here");
    }
    out.upgrades.push_back(std::move(each));
  }
}

void RouteParts::weighted(const route::WeightedCluster& in, ForwardSpec& out) {
  reportOthers(in, {"clusters", "total_weight", "header_name"}, problems);
  if (in.clusters().empty()) problems.addAt("clusters", {}, "is empty");
  out.weight_header = absl::AsciiStrToLower(in.header_name());
  uint64_t sum = 0;
  for (int i = 0; i < in.clusters_size(); ++i) {
    const auto at = problems.element("clusters", static_cast<size_t>(i));
    const route::WeightedCluster::ClusterWeight& cluster = in.clusters(i);
    reportOthers(cluster,
                 {"name", "cluster_header", "weight", "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add",
                  "response_headers_to_remove", "typed_per_filter_config", "host_rewrite_literal"},
                 problems);
    ClusterWeightSpec each;
    each.cluster = cluster.name();
    each.cluster_header = absl::AsciiStrToLower(cluster.cluster_header());
    if (each.cluster.empty() == each.cluster_header.empty()) problems.add({}, "must have exactly one of name, cluster_header");
    if (!each.cluster_header.empty() && !isHeaderName(each.cluster_header)) {
      problems.addAt("cluster_header", cluster.cluster_header(), "is no header name");
    }
    each.weight = cluster.weight().value();
    sum += each.weight;
    each.host_rewrite_literal = cluster.host_rewrite_literal();
    plain("host_rewrite_literal", each.host_rewrite_literal);
    edits(cluster, each.request, each.response);
    filters(cluster.typed_per_filter_config(), each.filters);
    out.weighted.push_back(std::move(each));
  }
  if (sum == 0 && !in.clusters().empty()) problems.addAt("clusters", {}, "have weights whose sum is 0", "a sum of 1 to 4294967295");
  if (sum > UINT32_MAX) problems.addAt("clusters", std::to_string(sum), "is the sum of the weights; it is too large", "1 to 4294967295");
}

void RouteParts::retry(const route::RetryPolicy& in, RetrySpec& out) {
  reportOthers(in,
               {"retry_on", "num_retries", "per_try_timeout", "retriable_status_codes", "retriable_headers", "retriable_request_headers",
                "retry_back_off", "rate_limited_retry_back_off", "retry_host_predicate", "retry_priority",
                "host_selection_retry_max_attempts", "per_try_idle_timeout"},
               problems);
  std::string_view unknown;
  out.on = parseRetryOn(in.retry_on(), &unknown);
  if (!unknown.empty()) problems.unsupported(absl::StrCat("retry_on: ", std::string(unknown)));
  if (in.has_num_retries()) out.retries = in.num_retries().value();
  if (in.has_per_try_timeout()) out.per_try_timeout = parseDuration("per_try_timeout", in.per_try_timeout(), problems);
  if (in.has_per_try_idle_timeout()) out.per_try_idle_timeout = parseDuration("per_try_idle_timeout", in.per_try_idle_timeout(), problems);
  for (int i = 0; i < in.retriable_status_codes_size(); ++i) {
    const uint32_t code = in.retriable_status_codes(i);
    if (code < 100 || code > 599) {
      const auto at = problems.element("retriable_status_codes", static_cast<size_t>(i));
      problems.add(std::to_string(code), "is no status code", "100 to 599");
    } else {
      out.status_codes.push_back(static_cast<uint16_t>(code));
    }
  }
  std::sort(out.status_codes.begin(), out.status_codes.end());
  const auto matchers = [&](std::string_view field, const auto& from, std::vector<match::HeaderMatchSpec>& to) {
    for (int i = 0; i < from.size(); ++i) {
      const auto at = problems.element(field, static_cast<size_t>(i));
      if (auto header = parseHeaderMatcher(from.Get(i), problems)) to.push_back(*std::move(header));
    }
  };
  matchers("retriable_headers", in.retriable_headers(), out.headers);
  matchers("retriable_request_headers", in.retriable_request_headers(), out.request_headers);
  if (in.has_retry_back_off()) {
    const auto at = problems.field("retry_back_off");
    if (in.retry_back_off().has_base_interval()) {
      out.back_off_base = parseDuration("base_interval", in.retry_back_off().base_interval(), problems);
      if (out.back_off_base == 0) problems.addAt("base_interval", "0s", "is too short", "at least 1ms");
      out.back_off_base = std::max(out.back_off_base, base::kMilli);
    } else {
      problems.addAt("base_interval", {}, "is missing");
    }
    out.back_off_max = out.back_off_base * 10;
    if (in.retry_back_off().has_max_interval()) {
      out.back_off_max = std::max(parseDuration("max_interval", in.retry_back_off().max_interval(), problems), base::kMilli);
      if (out.back_off_max < out.back_off_base) {
        problems.addAt("max_interval", std::to_string(out.back_off_max / base::kMilli) + "ms", "is shorter than base_interval");
      }
    }
  }
  if (in.has_rate_limited_retry_back_off()) {
    const auto at = problems.field("rate_limited_retry_back_off");
    const auto& from = in.rate_limited_retry_back_off();
    for (int i = 0; i < from.reset_headers_size(); ++i) {
      const auto element = problems.element("reset_headers", static_cast<size_t>(i));
      RetrySpec::Reset reset{absl::AsciiStrToLower(from.reset_headers(i).name()),
                             from.reset_headers(i).format() == route::RetryPolicy::UNIX_TIMESTAMP};
      if (!isHeaderName(reset.name)) problems.addAt("name", from.reset_headers(i).name(), "is no header name");
      out.reset_headers.push_back(std::move(reset));
    }
    if (from.has_max_interval()) out.reset_max = parseDuration("max_interval", from.max_interval(), problems);
  }
  for (int i = 0; i < in.retry_host_predicate_size(); ++i) {
    const auto element = problems.element("retry_host_predicate", static_cast<size_t>(i));
    const auto at = problems.field("typed_config");
    const google::protobuf::Any& any = in.retry_host_predicate(i).typed_config();
    const std::string type = innerType(any);
    envoy::extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig omit;
    if (type == "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate") {
      out.avoid_previous_hosts = true;
    } else if (type == "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate") {
      out.avoid_canaries = true;
    } else if (type != omit.GetDescriptor()->full_name()) {
      problems.add(type, "is no known predicate", "previous_hosts, omit_canary_hosts or omit_host_metadata");
    } else if (unpack(any, omit, problems)) {
      const auto labels = omit.metadata_match().filter_metadata().find("envoy.lb");
      if (labels != omit.metadata_match().filter_metadata().end()) out.avoid_labels = labelsOf(labels->second);
    }
  }
  if (in.has_retry_priority()) {
    const auto priority = problems.field("retry_priority");
    const auto at = problems.field("typed_config");
    const std::string type = innerType(in.retry_priority().typed_config());
    envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig previous;
    if (type != previous.GetDescriptor()->full_name()) {
      problems.add(type, "is no known priority", "previous_priorities");
    } else if (unpack(in.retry_priority().typed_config(), previous, problems)) {
      if (previous.update_frequency() <= 0) {
        problems.addAt("update_frequency", std::to_string(previous.update_frequency()), "is too small", "1 or more");
      }
      out.priority_update = static_cast<uint32_t>(std::max(1, previous.update_frequency()));
    }
  }
  if (in.host_selection_retry_max_attempts() > 0) {
    out.host_selection_attempts = static_cast<uint32_t>(std::min<int64_t>(in.host_selection_retry_max_attempts(), 100));
  }
}

// ---- redirect, direct response ----

void RouteParts::redirect(const route::RedirectAction& in, RedirectSpec& out) {
  switch (in.scheme_rewrite_specifier_case()) {
    case route::RedirectAction::kHttpsRedirect: out.https = in.https_redirect(); break;
    case route::RedirectAction::kSchemeRedirect: out.scheme = in.scheme_redirect(); break;
    default: break;
  }
  out.host = in.host_redirect();
  out.port = in.port_redirect();
  if (out.port > 65535) problems.addAt("port_redirect", std::to_string(out.port), "is no port", "1 to 65535");
  switch (in.path_rewrite_specifier_case()) {
    case route::RedirectAction::kPathRedirect: out.path = in.path_redirect(); break;
    case route::RedirectAction::kPrefixRewrite: out.prefix_rewrite = in.prefix_rewrite(); break;
    case route::RedirectAction::kRegexRewrite: {
      const auto at = problems.field("regex_rewrite");
      out.regex_rewrite = parseRegexRewrite(in.regex_rewrite(), problems);
      break;
    }
    default: break;
  }
  plain("scheme_redirect", out.scheme);
  plain("host_redirect", out.host);
  plain("path_redirect", out.path);
  plain("prefix_rewrite", out.prefix_rewrite);
  out.strip_query = in.strip_query();
  switch (in.response_code()) {
    case route::RedirectAction::MOVED_PERMANENTLY: out.code = 301; break;
    case route::RedirectAction::FOUND: out.code = 302; break;
    case route::RedirectAction::SEE_OTHER: out.code = 303; break;
    case route::RedirectAction::TEMPORARY_REDIRECT: out.code = 307; break;
    case route::RedirectAction::PERMANENT_REDIRECT: out.code = 308; break;
    default: problems.addAt("response_code", std::to_string(in.response_code()), "is no value of this field");
  }
}

void RouteParts::direct(const route::DirectResponseAction& in, DirectSpec& out) {
  reportOthers(in, {"status", "body", "body_format"}, problems);
  if (in.status() < 200 || in.status() > 599)
    problems.addAt("status", std::to_string(in.status()), "is no status that can be answered", "200 to 599");
  out.status = static_cast<uint16_t>(in.status());
  if (in.has_body_format()) {
    const auto at = problems.field("body_format");
    out.format = parseBodyFormat(in.body_format(), problems, &read_files);
  }
  if (!in.has_body()) return;
  const auto at = problems.field("body");
  // An empty inline body is a body without bytes, not a missing one.
  if (in.body().specifier_case() == core::DataSource::kInlineString)
    out.body = in.body().inline_string();
  else if (in.body().specifier_case() == core::DataSource::kInlineBytes)
    out.body = in.body().inline_bytes();
  else
    read_files = true, out.body = readDataSource(in.body(), problems).bytes;
  if (out.body.size() > most_direct_bytes) {
    problems.add(std::to_string(out.body.size()) + " bytes", "is larger than max_direct_response_body_size_bytes",
                 absl::StrCat("at most ", most_direct_bytes, " bytes"));
  }
}

}  // namespace outrider::config
