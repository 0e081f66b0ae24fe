// A route configuration, compiled: finds the route of a request. Built off the workers, immutable, shared by all of them.
//
// Virtual host: exact domain, longest suffix wildcard, longest prefix wildcard, "*". Routes: the first that matches wins. Up to
// six routes are tried in order; more are found through an index (exact paths by hash, prefixes by trie, regular expressions under
// their literal prefix) that yields candidates in order. Matching allocates nothing, but where more than eight regular expressions
// share a literal prefix: RE2's set matching does.
// Thread: any. Lifetime: shared_ptr; routes live as long as their table. Source: config.route.v3, Envoy's route matching page.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "source/config/compiled_route.h"
#include "source/config/names.h"
#include "source/config/route_spec.h"

namespace outrider::config {

// What a match may depend on besides the head.
struct MatchContext {
  uint64_t random = 0;  // for runtime_fraction; the same number may pick the weighted cluster
  bool secure = false;  // the client's connection is TLS
  const stream::SecurityInfo* tls = nullptr;
};

class VirtualHost;

class RouteTable final {
 public:
  // The spec must have been checked (route_parse.h); what is still wrong comes back as a status.
  static absl::StatusOr<std::shared_ptr<const RouteTable>> compile(RouteTableSpec spec, NameTable& names);
  ~RouteTable();

  // Null: no route.
  const CompiledRoute* match(const http::RequestHead& head, const MatchContext& context) const;

  // The same, and why: one entry per route of the virtual host that was looked at, in order, up to the winner.
  struct Verdict {
    const CompiledRoute* route;
    std::string lost;  // empty: it won
  };
  struct Explanation {
    std::string host;    // name of the virtual host, empty: none
    std::string domain;  // which of its domains matched
    std::vector<Verdict> routes;
    const CompiledRoute* winner = nullptr;
  };
  Explanation explain(const http::RequestHead& head, const MatchContext& context) const;

  const std::string& name() const { return spec_.name; }
  const RouteTableSpec& spec() const { return spec_; }
  // internal_only_headers leave requests of clients that are not trusted.
  void removeInternalOnly(http::HeaderMap& headers) const;
  // All clusters that routes name.
  const std::vector<ClusterId>& clusters() const { return clusters_; }
  size_t routeCount() const;

 private:
  friend class RouteCompiler;
  struct Hosts;
  explicit RouteTable(RouteTableSpec spec);
  const VirtualHost* hostOf(const http::RequestHead& head, std::string_view* domain) const;

  const RouteTableSpec spec_;
  std::unique_ptr<Hosts> hosts_;
  HeaderEdit request_, response_;
  http::FieldName vhost_header_;
  std::vector<http::FieldName> internal_only_;
  std::vector<ClusterId> clusters_;
};

}  // namespace outrider::config
