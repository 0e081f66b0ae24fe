// One route, compiled: what the router, the filters and the logs ask of the route that a request matched.
// Small, since a mesh has a hundred thousand: texts are views, what routes have in common is shared (ForwardPlan), and what few
// have stands behind one pointer. A new kind of match belongs in RouteTests, a new part of an action in the plan of its action,
// anything else that few routes have in RouteExtras.
// Copies share all but texts and host: a route that did not change goes so into the next version of its host.
// Thread: immutable, any. Lifetime: of its VirtualHost, which the tables that hold it keep; a stream pins its table.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/header_edit.h"
#include "source/config/names.h"
#include "source/config/request_hash.h"
#include "source/config/route_spec.h"
#include "source/http/head.h"
#include "source/match/header_matcher.h"
#include "source/match/regex.h"
#include "source/stream/stream_info.h"

namespace outrider::config {

class VirtualHost;

// What a match may depend on besides the head.
struct MatchContext {
  uint64_t random = 0;  // for runtime_fraction; the same number may pick the weighted cluster
  bool secure = false;  // the client's connection is TLS
  const stream::SecurityInfo* tls = nullptr;
};

// Where a request goes. With a header that names the cluster the id is unknown: look `name` up.
struct ClusterPick {
  ClusterId id;
  std::string_view name;  // of the config, or of the head's bytes; empty: the header is missing
  int16_t weighted = -1;  // index in weighted_clusters
};

// What must hold of a request besides its path.
struct RouteTests {
  struct Query {
    std::string name;
    std::optional<match::StringMatcher> string;
    bool present;
    bool matches(std::string_view path) const;
  };
  std::shared_ptr<const match::Regex> path;  // of a route by regular expression
  std::vector<match::HeaderMatcher> headers;
  std::vector<Query> query;
  std::optional<FractionSpec> fraction;
  std::optional<bool> tls_presented, tls_validated;
  bool grpc = false;

  bool hold(const http::RequestHead& head, const MatchContext& context) const;
  // Why they do not; empty: they do.
  std::string why(const http::RequestHead& head, const MatchContext& context) const;

 private:
  bool fractionHolds(const MatchContext& context) const;
  bool tlsHolds(const MatchContext& context) const;
};

// How a forwarded request's path is rewritten: by prefix, else by regular expression.
struct PathRewrite {
  std::string text;                           // what stands for the prefix; with `regex` its substitution
  std::shared_ptr<const match::Regex> regex;  // null: by prefix
};

// RouteAction without the one cluster it names and without PathRewrite, compiled. Routes with equal ones share it.
struct ForwardPlan {
  struct Weighted {
    ClusterId id;
    http::FieldName header;  // cluster_header
    uint64_t until;          // sum of weights up to and with this one
    HeaderEdit request, response;
  };
  ForwardSpec spec;  // `cluster`, `prefix_rewrite` and `regex_rewrite` are empty
  http::FieldName cluster_header, weight_header, host_rewrite_header;
  std::vector<Weighted> weighted;  // in the order of spec.weighted
  struct Mirrored {
    ClusterId id;
    http::FieldName header;  // cluster_header
  };
  std::vector<Mirrored> mirrors;  // in the order of spec.mirrors
  uint64_t total_weight = 0;
  std::shared_ptr<const match::Regex> host_rewrite_path;
  std::vector<match::HeaderMatcher> retry_headers, retry_request_headers;
  RequestHash hash;
};

struct RedirectPlan {
  RedirectSpec spec;
  std::shared_ptr<const match::Regex> regex_rewrite;
};

struct RouteExtras {
  HeaderEdit request, response;
  std::vector<FilterOverrideSpec> filters;
};

// What few routes have.
struct RouteRest {
  std::unique_ptr<const RouteTests> tests;
  std::unique_ptr<const RouteExtras> extras;
  std::unique_ptr<const PathRewrite> rewrite;
  std::unique_ptr<const std::string> metadata;
};

// What its virtual host asks of every forwarded request.
struct AttemptHeaders {
  bool request_attempt_count = false;   // x-envoy-attempt-count towards the upstream
  bool response_attempt_count = false;  // and towards the client
  bool timeout_retry = false;           // x-envoy-is-timeout-retry, with retries
};

struct CompiledRoute final : stream::RouteInfo {
  using Action = RouteSpec::Action;

  // ---- what to do ----
  Action action() const { return action_; }
  const ForwardSpec& forward() const { return forwardPlan().spec; }     // kForward: timeouts, upgrades, mirrors, hash policies
  const RedirectSpec& redirect() const { return redirectPlan().spec; }  // kRedirect
  const DirectSpec& direct() const { return *static_cast<const DirectSpec*>(plan_.get()); }  // kDirect
  const RetrySpec* retry() const { return action_ == Action::kForward && forward().retry.has_value() ? &*forward().retry : nullptr; }
  const std::vector<ForwardPlan::Mirrored>& mirrors() const { return forwardPlan().mirrors; }  // kForward
  const RequestHash& hash() const { return forwardPlan().hash; }                               // kForward
  const std::vector<match::HeaderMatcher>& retryHeaders() const { return forwardPlan().retry_headers; }
  const std::vector<match::HeaderMatcher>& retryRequestHeaders() const { return forwardPlan().retry_request_headers; }
  const AttemptHeaders& virtualHost() const;
  // Null: the type is not named here (the connection manager decides).
  const UpgradeSpec* upgrade(std::string_view type) const;

  ClusterPick pick(const http::RequestHead& head, uint64_t random) const;
  // Every cluster that it may go to, mirrors too.
  template <class Take>
  void forEachCluster(Take&& take) const {
    if (action_ != Action::kForward) return;
    if (cluster_.valid()) take(cluster_);
    for (const ForwardPlan::Weighted& each : forwardPlan().weighted) {
      if (each.id.valid()) take(each.id);
    }
    for (const ForwardPlan::Mirrored& each : forwardPlan().mirrors) {
      if (each.id.valid()) take(each.id);
    }
  }

  // ---- edits; `pick` is what pick() gave ----
  // Request headers, then host, then path, as Envoy; bytes go to the head's arena. `keep_original`: leave
  // x-envoy-original-path and x-envoy-original-host behind.
  void applyRequest(http::RequestHead& head, const ClusterPick& pick, const format::Input& input, bool keep_original = true) const;
  void applyResponse(http::HeaderMap& headers, const ClusterPick& pick, const format::Input& input) const;
  // auto_host_rewrite: called when the host is known.
  void rewriteHost(http::RequestHead& head, std::string_view host, bool keep_original = true) const;
  // kRedirect: the value of `location`, in the head's arena.
  std::string_view location(const http::RequestHead& head) const;

  // The most specific config of a filter: weighted cluster is asked only with `pick`.
  const void* filterConfig(std::string_view filter) const { return overrideOf(filter).config; }
  struct Override {
    const void* config = nullptr;
    bool disabled = false;
    bool found = false;  // the route says something of the filter
  };
  Override overrideOf(std::string_view filter) const;
  Override overrideOf(std::string_view filter, const ClusterPick& pick) const;

  // ---- does it match ----
  bool matchesPath(std::string_view plain, bool connect) const;
  bool matchesRest(const http::RequestHead& head, const MatchContext& context) const {
    return tests() == nullptr || tests()->hold(head, context);
  }
  // Why it does not; empty: it does.
  std::string why(const http::RequestHead& head, std::string_view plain, bool connect, const MatchContext& context) const;
  // core.Metadata's wire bytes.
  std::string_view metadata() const {
    return rest_ == nullptr || rest_->metadata == nullptr ? std::string_view() : std::string_view(*rest_->metadata);
  }
  RouteMatchSpec::Path pathKind() const { return path_kind_; }
  std::string_view path() const { return path_; }  // or the pattern
  bool caseSensitive() const { return case_sensitive_; }

 private:
  friend class HostCompiler;
  const ForwardPlan& forwardPlan() const { return *static_cast<const ForwardPlan*>(plan_.get()); }
  const RedirectPlan& redirectPlan() const { return *static_cast<const RedirectPlan*>(plan_.get()); }
  const RouteTests* tests() const { return rest_ == nullptr ? nullptr : rest_->tests.get(); }
  const RouteExtras* extras() const { return rest_ == nullptr ? nullptr : rest_->extras.get(); }
  void rewritePath(http::RequestHead& head, bool keep_original) const;
  std::string_view rewrittenPath(const http::RequestHead& head) const;
  // Applies route's, virtual host's and table's edits in the configured order.
  template <class Apply>
  void edits(Apply&& apply) const;

  std::string_view path_;
  std::string_view cluster_name_;  // the name table's
  const VirtualHost* host_ = nullptr;
  std::shared_ptr<const void> plan_;  // ForwardPlan, RedirectPlan or DirectSpec, by action_
  std::shared_ptr<const RouteRest> rest_;
  ClusterId cluster_;
  Action action_ = Action::kForward;
  RouteMatchSpec::Path path_kind_ = RouteMatchSpec::Path::kPrefix;
  bool case_sensitive_ = true;
};

}  // namespace outrider::config
