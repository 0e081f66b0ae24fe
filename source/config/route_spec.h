// Routes as plain values: what a RouteConfiguration says, checked, defaults resolved, nothing compiled. Equal specs route alike.
// Thread: any. Units: nanoseconds. Source: Envoy's config.route.v3.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "source/base/clock.h"
#include "source/config/labels.h"
#include "source/match/header_matcher.h"
#include "source/match/string_matcher.h"

namespace outrider::format {
struct Line;
}

namespace outrider::config {

using base::Nanos;

struct HeaderAddSpec {  // core.v3.HeaderValueOption
  enum class Action : uint8_t { kAppend, kAddIfAbsent, kOverwrite, kOverwriteIfExists };
  std::string name;   // lower case
  std::string value;  // a substitution format
  Action action = Action::kAppend;
  bool keep_empty = false;
  bool operator==(const HeaderAddSpec&) const = default;
};
struct HeaderEditSpec {
  std::vector<HeaderAddSpec> add;
  std::vector<std::string> remove;  // lower case
  bool operator==(const HeaderEditSpec&) const = default;
};

// An extension's own config on a route: opaque here; equal if its bytes are.
struct FilterOverrideSpec {
  std::string filter;  // the filter's name in the chain
  std::string type_url;
  std::string bytes;
  bool disabled = false;
  std::shared_ptr<const void> parsed;  // what the filter's parser made of it
  bool operator==(const FilterOverrideSpec& other) const {
    return filter == other.filter && type_url == other.type_url && bytes == other.bytes && disabled == other.disabled;
  }
};

struct FractionSpec {  // core.v3.RuntimeFractionalPercent
  uint32_t numerator = 100;
  uint32_t denominator = 100;
  std::string runtime_key;
  bool operator==(const FractionSpec&) const = default;
};

struct QueryMatchSpec {
  std::string name;
  std::optional<match::StringMatchSpec> string;  // none: present is enough (or absent, when `present` is false)
  bool present = true;
  bool operator==(const QueryMatchSpec&) const = default;
};

struct RouteMatchSpec {
  enum class Path : uint8_t { kPrefix, kExact, kSeparatedPrefix, kRegex, kConnect };
  Path kind = Path::kPrefix;
  std::string path = "/";            // or the pattern
  match::CheckedRegex checked = {};  // of kRegex
  bool case_sensitive = true;
  std::vector<match::HeaderMatchSpec> headers;
  std::vector<QueryMatchSpec> query;
  bool grpc = false;
  std::optional<FractionSpec> fraction;
  std::optional<bool> tls_presented, tls_validated;
  bool operator==(const RouteMatchSpec&) const = default;
  std::string str() const;  // "prefix '/a'"
};

struct RegexRewriteSpec {
  std::string pattern;
  std::string substitution;
  match::CheckedRegex checked = {};
  bool operator==(const RegexRewriteSpec&) const = default;
};

// Bits of retry_on.
enum RetryOn : uint32_t {
  kRetry5xx = 1,
  kRetryGatewayError = 2,
  kRetryReset = 4,
  kRetryResetBeforeRequest = 8,
  kRetryConnectFailure = 16,
  kRetryRefusedStream = 32,
  kRetryRetriable4xx = 64,
  kRetryRetriableStatusCodes = 128,
  kRetryRetriableHeaders = 256,
  kRetryEnvoyRatelimited = 512,
  kRetryGrpcCancelled = 1024,
  kRetryGrpcDeadlineExceeded = 2048,
  kRetryGrpcInternal = 4096,
  kRetryGrpcResourceExhausted = 8192,
  kRetryGrpcUnavailable = 16384,
};
// "5xx,connect-failure" to bits; names that do not exist are skipped and the last one is left in `unknown`.
uint32_t parseRetryOn(std::string_view list, std::string_view* unknown = nullptr);

struct RetrySpec {
  uint32_t on = 0;  // RetryOn bits
  uint32_t retries = 1;
  Nanos per_try_timeout = 0;  // 0: the route's timeout alone
  Nanos per_try_idle_timeout = 0;
  Nanos back_off_base = 25 * base::kMilli;
  Nanos back_off_max = 250 * base::kMilli;
  std::vector<uint16_t> status_codes;                   // sorted
  std::vector<match::HeaderMatchSpec> headers;          // of a response that is worth a retry
  std::vector<match::HeaderMatchSpec> request_headers;  // of a request that may be retried
  struct Reset {                                        // RateLimitedRetryBackOff.ResetHeader
    std::string name;                                   // lower case
    bool unix_time = false;                             // when, in seconds since the epoch; else how long, in seconds
    bool operator==(const Reset&) const = default;
  };
  std::vector<Reset> reset_headers;       // of a response that says when to come back; empty: not asked
  Nanos reset_max = 300 * base::kSecond;  // what says a longer time is not heard
  bool avoid_previous_hosts = false;      // previous_hosts predicate
  bool avoid_canaries = false;            // omit_canary_hosts
  Labels avoid_labels;                    // omit_host_metadata: the envoy.lb labels of hosts to avoid
  uint32_t priority_update = 0;           // previous_priorities: after so many attempts; 0: no
  uint32_t host_selection_attempts = 1;
  bool operator==(const RetrySpec&) const = default;
};

struct ClusterWeightSpec {
  std::string cluster;  // empty: cluster_header names it
  std::string cluster_header;
  uint32_t weight = 0;
  HeaderEditSpec request, response;
  std::string host_rewrite_literal;
  std::vector<FilterOverrideSpec> filters;
  bool operator==(const ClusterWeightSpec&) const = default;
};

struct MirrorSpec {            // RouteAction.RequestMirrorPolicy
  std::string cluster;         // empty: cluster_header names it
  std::string cluster_header;  // lower case
  std::optional<FractionSpec> fraction;
  bool keep_host = false;  // disable_shadow_host_suffix_append
  bool operator==(const MirrorSpec&) const = default;
};

struct HashSpec {  // RouteAction.HashPolicy
  enum class Kind : uint8_t { kHeader, kCookie, kSourceIp, kQuery };
  Kind kind = Kind::kHeader;
  std::string name;
  std::string cookie_path;
  std::optional<Nanos> cookie_ttl;  // given: who has no such cookie is sent one; 0: for the session
  std::vector<std::pair<std::string, std::string>> cookie_attributes;
  std::optional<RegexRewriteSpec> rewrite;
  bool terminal = false;
  bool operator==(const HashSpec&) const = default;
};

struct UpgradeSpec {
  std::string type;  // "websocket", "CONNECT"; matched without case
  bool enabled = true;
  bool connect = false;  // connect_config: this proxy ends CONNECT and sends bytes on
  bool operator==(const UpgradeSpec&) const = default;
};

struct ForwardSpec {  // RouteAction
  std::string cluster;
  std::string cluster_header;
  std::vector<ClusterWeightSpec> weighted;
  std::string weight_header;  // weighted_clusters.header_name: its value replaces the random number
  uint16_t cluster_not_found_code = 503;
  std::string prefix_rewrite;
  std::optional<RegexRewriteSpec> regex_rewrite;
  std::string host_rewrite_literal;
  bool auto_host_rewrite = false;
  std::string host_rewrite_header;
  std::optional<RegexRewriteSpec> host_rewrite_path;
  bool append_forwarded_host = false;
  Nanos timeout = 15 * base::kSecond;  // 0: none
  std::optional<Nanos> idle_timeout;   // none: the connection manager's; 0: off
  std::optional<Nanos> max_stream_duration, grpc_timeout_max, grpc_timeout_offset;
  std::optional<Nanos> max_grpc_timeout;  // given: grpc-timeout stands in the timeout's place, up to this; 0: without a limit
  Nanos old_grpc_timeout_offset = 0;      // RouteAction.grpc_timeout_offset: taken off it
  std::optional<RetrySpec> retry;         // resolved: the route's, else its virtual host's
  std::vector<UpgradeSpec> upgrades;
  std::vector<MirrorSpec> mirrors;
  std::vector<HashSpec> hash;
  bool high_priority = false;
  bool operator==(const ForwardSpec&) const = default;
};

struct RedirectSpec {
  bool https = false;
  std::string scheme, host, path, prefix_rewrite;
  std::optional<RegexRewriteSpec> regex_rewrite;
  uint32_t port = 0;
  uint16_t code = 301;
  bool strip_query = false;
  bool operator==(const RedirectSpec&) const = default;
};

// core.v3.SubstitutionFormatString as the format of a body. Equal if it was made from the same bytes.
struct BodyFormat {
  std::string origin;
  std::string content_type;
  std::shared_ptr<const format::Line> line;
  bool operator==(const BodyFormat& other) const { return origin == other.origin; }
};

struct DirectSpec {
  uint16_t status = 200;
  std::string body;
  std::shared_ptr<const BodyFormat> format;  // null: the body is sent as it is
  bool operator==(const DirectSpec& other) const {
    return status == other.status && body == other.body &&
           (format == other.format || (format != nullptr && other.format != nullptr && *format == *other.format));
  }
};

struct RouteSpec {
  enum class Action : uint8_t { kForward, kRedirect, kDirect, kNonForwarding };
  std::string name;
  RouteMatchSpec match;
  Action action = Action::kForward;
  ForwardSpec forward;
  RedirectSpec redirect;
  DirectSpec direct;
  HeaderEditSpec request, response;
  std::vector<FilterOverrideSpec> filters;
  std::string stat_prefix;
  std::string metadata;  // core.Metadata, deterministic wire form
  bool operator==(const RouteSpec&) const = default;
};

struct VirtualHostSpec {
  enum class Tls : uint8_t { kNone, kExternalOnly, kAll };
  std::string name;
  std::vector<std::string> domains;  // lower case
  std::vector<RouteSpec> routes;
  HeaderEditSpec request, response;
  std::vector<FilterOverrideSpec> filters;
  Tls require_tls = Tls::kNone;
  bool request_attempt_count = false;   // x-envoy-attempt-count towards the upstream
  bool response_attempt_count = false;  // and towards the client
  bool timeout_retry_header = false;    // x-envoy-is-timeout-retry
  bool operator==(const VirtualHostSpec&) const = default;
};

struct RouteTableSpec {  // RouteConfiguration
  std::string name;
  std::vector<VirtualHostSpec> hosts;
  HeaderEditSpec request, response;
  std::vector<std::string> internal_only_headers;  // lower case; removed from requests of untrusted clients
  std::vector<FilterOverrideSpec> filters;
  bool most_specific_wins = false;
  bool ignore_port = false;
  std::string vhost_header;  // lower case; empty: the authority
  std::optional<bool> validate_clusters;
  bool operator==(const RouteTableSpec&) const = default;
};

// hcm.v3.ScopedRoutes: how the key of a scope is made from a request's headers.
struct ScopeKeySpec {
  struct Fragment {
    std::string header;             // lower case
    std::string element_separator;  // empty: the whole value is one element
    bool by_key = false;
    uint32_t index = 0;              // element by position
    std::string key, key_separator;  // element "key<separator>value"
    bool operator==(const Fragment&) const = default;
  };
  std::vector<Fragment> fragments;
  bool operator==(const ScopeKeySpec&) const = default;
};
struct ScopeSpec {  // route.v3.ScopedRouteConfiguration
  std::string name;
  std::string route_config;  // RDS name; empty when the table is inline
  std::vector<std::string> key;
  bool operator==(const ScopeSpec&) const = default;
};

}  // namespace outrider::config
