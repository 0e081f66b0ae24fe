// One route, compiled: what the router, the filters and the logs ask of the route that a request matched.
// Thread: immutable, any. Lifetime: of its RouteTable, which the stream pins.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/header_edit.h"
#include "source/config/names.h"
#include "source/config/route_spec.h"
#include "source/http/head.h"
#include "source/match/header_matcher.h"
#include "source/match/regex.h"
#include "source/stream/stream_info.h"

namespace outrider::config {

class VirtualHost;

// Where a request goes. With a header that names the cluster the id is unknown: look `name` up.
struct ClusterPick {
  ClusterId id;
  std::string_view name;  // of the config, or of the head's bytes; empty: the header is missing
  int16_t weighted = -1;  // index in weighted_clusters
};

struct CompiledRoute final : stream::RouteInfo {
  using Action = RouteSpec::Action;

  // ---- what to do ----
  Action action() const { return spec->action; }
  const ForwardSpec& forward() const { return spec->forward; }     // kForward: timeouts, upgrades, mirrors, hash policies
  const RedirectSpec& redirect() const { return spec->redirect; }  // kRedirect
  const DirectSpec& direct() const { return spec->direct; }        // kDirect
  const RetrySpec* retry() const { return spec->forward.retry.has_value() ? &*spec->forward.retry : nullptr; }
  const std::vector<match::HeaderMatcher>& retryHeaders() const { return retry_headers_; }
  const std::vector<match::HeaderMatcher>& retryRequestHeaders() const { return retry_request_headers_; }
  const VirtualHostSpec& virtualHost() const { return *host_spec; }
  // Null: the type is not named here (the connection manager decides).
  const UpgradeSpec* upgrade(std::string_view type) const;

  ClusterPick pick(const http::RequestHead& head, uint64_t random) const;

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

  const RouteSpec* spec = nullptr;
  const VirtualHostSpec* host_spec = nullptr;
  uint32_t index = 0;  // in its virtual host

 private:
  friend class RouteTable;
  friend class RouteCompiler;
  struct Weighted {
    ClusterId id;
    const ClusterWeightSpec* spec;
    http::FieldName header;  // cluster_header
    uint64_t until;          // sum of weights up to and with this one
    HeaderEdit request, response;
  };
  void rewritePath(http::RequestHead& head, bool keep_original) const;
  std::string_view rewrittenPath(const http::RequestHead& head) const;

  ClusterId cluster_;
  http::FieldName cluster_header_;
  std::vector<Weighted> weighted_;
  uint64_t total_weight_ = 0;
  http::FieldName weight_header_;
  http::FieldName host_rewrite_header_;
  std::shared_ptr<const match::Regex> regex_rewrite_;  // of forward or redirect
  std::shared_ptr<const match::Regex> host_rewrite_path_;
  std::vector<match::HeaderMatcher> retry_headers_, retry_request_headers_;
  std::vector<const HeaderEdit*> request_edits_, response_edits_;  // route, virtual host, table; reversed if so configured
  HeaderEdit request_, response_;
  std::vector<const FilterOverrideSpec*> filters_;  // most specific first
};

}  // namespace outrider::config
