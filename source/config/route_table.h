// A route configuration, compiled: finds the route of a request. Built off the workers, immutable, shared by all of them.
//
// Virtual host: exact domain, longest suffix wildcard, longest prefix wildcard, "*"; its routes: virtual_host.h. Matching allocates
// nothing, but where more than eight regular expressions share a literal prefix: RE2's set matching does.
// Thread: any. Lifetime: shared_ptr; hosts and routes live as long as a table that holds them. Source: config.route.v3, Envoy's
// route matching page.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "source/config/virtual_host.h"

namespace outrider::config {

class RouteTable final {
 public:
  using Hosts = std::vector<std::shared_ptr<const VirtualHost>>;

  // The spec must have been checked (route_parse.h); what is still wrong comes back as a status.
  static absl::StatusOr<std::shared_ptr<const RouteTable>> compile(RouteTableSpec spec, NameTable& names);
  // From hosts made before, for `rules`.
  static absl::StatusOr<std::shared_ptr<const RouteTable>> assemble(std::shared_ptr<const TableRules> rules, Hosts hosts,
                                                                    HostCompiler::Plans plans);

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

  const std::string& name() const { return rules_->spec.name; }
  // Unset: the default of how the table came (inline: checked; RDS: not).
  std::optional<bool> validateClusters() const { return rules_->spec.validate_clusters; }
  // internal_only_headers leave requests of clients that are not trusted.
  void removeInternalOnly(http::HeaderMap& headers) const;
  // All clusters that routes name, each once.
  std::vector<ClusterId> clusters() const;
  size_t routeCount() const;
  // Nothing to do for a worker that serves `other`: made of the same parts.
  bool sameAs(const RouteTable& other) const { return rules_ == other.rules_ && hosts_ == other.hosts_; }

  // For the next version, which takes over what did not change.
  const std::shared_ptr<const TableRules>& rules() const { return rules_; }
  const Hosts& hosts() const { return hosts_; }
  const HostCompiler::Plans& plans() const { return plans_; }

 private:
  // The texts are the hosts'.
  using Domains = absl::flat_hash_map<std::string_view, const VirtualHost*, ViewHash, ViewEqual>;
  RouteTable(std::shared_ptr<const TableRules> rules, Hosts hosts, HostCompiler::Plans plans);
  bool addDomain(std::string_view domain, const VirtualHost& host);
  const VirtualHost* hostOf(const http::RequestHead& head, std::string_view* domain) const;

  const std::shared_ptr<const TableRules> rules_;
  const Hosts hosts_;
  const HostCompiler::Plans plans_;
  Domains exact_;
  // By length of what must be equal, the longest first.
  std::vector<std::pair<size_t, Domains>> suffixes_, prefixes_;
  const VirtualHost* any_ = nullptr;
};

}  // namespace outrider::config
