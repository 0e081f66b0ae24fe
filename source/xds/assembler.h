// Turns resources into what serves: clusters, endpoints, listeners, route tables, secrets. Whoever brings them (the bootstrap,
// files, control planes) hands over messages; good ones apply, bad ones leave the old value in place and say why.
//
// Parsing is pure and may run on the config thread (parse*); applying is main's (apply*). A listener is given to the workers when
// what it needs is there: its route tables and its secrets; until then the version before serves.
// Thread: parse* any, the rest main. Lifetime: the server's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "source/config/extension.h"
#include "source/config/route_spec.h"
#include "source/config/scope_key.h"
#include "source/config/validate.h"
#include "source/filter/registry.h"
#include "source/listener/listener_manager.h"
#include "source/listener/listener_parse.h"
#include "source/tls/socket_parse.h"
#include "source/upstream/cluster_manager.h"

namespace envoy::config::cluster::v3 {
class Cluster;
}
namespace envoy::config::core::v3 {
class ConfigSource;
}
namespace envoy::config::endpoint::v3 {
class ClusterLoadAssignment;
}
namespace envoy::config::listener::v3 {
class Listener;
}
namespace envoy::config::route::v3 {
class RouteConfiguration;
class ScopedRouteConfiguration;
}  // namespace envoy::config::route::v3
namespace envoy::extensions::transport_sockets::tls::v3 {
class Secret;
}

namespace outrider::xds {

// A TLS context as a listener's chains use it.
class TlsTransportFactory final : public filter::TransportFactory {
 public:
  explicit TlsTransportFactory(std::shared_ptr<tls::LiveServerContext> context) : context_(std::move(context)) {}
  std::unique_ptr<net::Transport> make() const override { return context_->makeTransport(); }
  const tls::LiveServerContext& context() const { return *context_; }

 private:
  std::shared_ptr<tls::LiveServerContext> context_;
};

struct AssemblerParts {
  event::Loop& loop;
  stats::Store& stats;
  config::NameTable& names;
  const filter::Registry& registry;
  const config::Checker& checker;
  config::Defaults defaults;
  upstream::ClusterManager& clusters;
  listener::ListenerManager& listeners;
  tls::SocketParse tls;
  // To every worker; null: gone.
  std::function<void(config::RouteTableId, std::shared_ptr<const config::RouteTable>)> publish_routes;
  std::function<void(config::ScopeSetId, std::shared_ptr<const config::ScopeIndex>)> publish_scopes;
  std::function<std::shared_ptr<const accesslog::AccessLog>(std::string_view bytes, config::Problems& problems)> access_log;
  // Any thread: can resources of that type URL come from there?
  std::function<void(const envoy::config::core::v3::ConfigSource& source, std::string_view type_url, config::Problems& problems)>
      check_source;
};

class Assembler final : public filter::RouteTableNames {
 public:
  explicit Assembler(AssemblerParts parts);
  ~Assembler();

  // ---- clusters ----
  std::shared_ptr<const config::ClusterSpec> parseCluster(const envoy::config::cluster::v3::Cluster& in, config::Problems& problems);
  absl::Status applyCluster(std::shared_ptr<const config::ClusterSpec> spec, bool dynamic);

  // ---- listeners ----
  struct ListenerDraft {
    listener::ParsedListener parsed;
    std::string bytes;  // as they came, for comparison and dumps
    bool dynamic = false;
  };
  // `before`: what serves under that name now (servingVersion()), or null.
  ListenerDraft parseListener(const envoy::config::listener::v3::Listener& in, bool dynamic, const listener::ListenerVersion* before,
                              config::Problems& problems);
  listener::ListenerVersionRef servingVersion(const std::string& name) const;
  // Inline tables name clusters that exist, unless validate_clusters says otherwise.
  absl::Status checkClusters(const ListenerDraft& draft) const;
  absl::Status applyListener(ListenerDraft draft);
  void removeListener(const std::string& name, base::Nanos drain_time);

  // ---- endpoints ----
  // `before`: what is known now, or null; what did not change is taken over from it. Any thread.
  std::shared_ptr<const config::EndpointsSpec> readEndpoints(const std::shared_ptr<const std::string>& bytes,
                                                             const config::EndpointsSpec* before, config::Problems& problems) const;

  // ---- routes ----
  // `before`: what serves under that name now (servingRoutes()), or null; what did not change is taken over from it.
  std::shared_ptr<const config::RouteTable> readRoutes(std::string_view bytes, const config::RouteTable* before,
                                                       config::Problems& problems);
  std::shared_ptr<const config::RouteTable> servingRoutes(std::string_view name, std::string_view source);
  // RDS's answer for a name of one source; equal tables change nothing.
  // InvalidArgument: a cluster that validate_clusters asks for does not exist; the table before stays.
  absl::Status applyRoutes(std::string_view name, std::string_view source, std::shared_ptr<const config::RouteTable> table);
  void routesTimedOut(std::string_view name, std::string_view source);

  // ---- scopes (SRDS) ----
  struct ScopeDraft {
    config::ScopeSpec spec;
    std::shared_ptr<const config::RouteTable> table;  // inline; null: RDS has it
  };
  ScopeDraft parseScope(const envoy::config::route::v3::ScopedRouteConfiguration& in, config::Problems& problems);
  // A scope with another one's key is refused: its name and why are added to `refused`.
  void applyScopes(config::ScopeSetId set, std::vector<ScopeDraft> drafts, const std::vector<std::string>& removed,
                   std::vector<std::pair<std::string, std::string>>& refused);
  void scopesTimedOut(config::ScopeSetId set);
  void forgetScopes(config::ScopeSetId set);  // no listener wants them any more

  // ---- secrets ----
  bool applySecret(const std::string& key, const envoy::extensions::transport_sockets::tls::v3::Secret& in, config::Problems& problems);
  void secretTimedOut(const std::string& key);
  void forgetSecret(const std::string& key);  // nobody wants it any more

  // ---- what is wanted from others ----
  struct Wants {
    struct Named {
      std::string name;
      std::string source;        // serialized ConfigSource
      std::string stats_prefix;  // "http.in.rds.main."
    };
    std::vector<Named> rds;
    struct Scopes {
      config::ScopeSetId id;
      std::string source;        // serialized ConfigSource
      std::string stats_prefix;  // "http.in.scoped_rds.main."
    };
    std::vector<Scopes> scopes;
    std::vector<config::SdsRef> secrets;
  };
  Wants wants() const;

  size_t warmingListeners() const { return waiting_.size(); }
  bool isWarming(const std::string& listener) const { return waiting_.contains(listener); }
  void whenListenersWarm(std::function<void()> done);

  // Of filter::RouteTableNames; any thread.
  config::RouteTableId idOfInline() override;
  config::RouteTableId idOfRds(std::string_view name, std::string_view source) override;
  config::ScopeSetId idOfScopes(std::string_view key) override;
  std::shared_ptr<const void> leaseOf(config::RouteTableId id) override;
  void checkSource(std::string_view source, std::string_view type, config::Problems& problems) override;

 private:
  struct Routes {
    std::string name, source;
    std::shared_ptr<const config::RouteTable> table;
    bool settled = false;  // came, or timed out
  };
  struct Waiting {
    ListenerDraft draft;
  };
  struct Scope {
    config::ScopeSpec spec;
    config::RouteTableId table = config::kNoRouteTable;
    std::shared_ptr<const void> lease;
  };
  struct ScopeSet {
    std::string source, rds_source, http_prefix;  // "http.in."
    std::map<std::string, Scope> scopes;
    bool settled = false;
  };
  void checkSecretSources(const std::vector<config::SdsRef>& refs, config::Problems& problems) const;
  absl::Status unknownCluster(const config::RouteTable& table) const;
  bool settledTable(config::RouteTableId id) const;
  void released(config::RouteTableId id);
  bool warm(const ListenerDraft& draft) const;
  absl::Status serve(ListenerDraft draft);
  void settle();

  AssemblerParts parts_;
  mutable std::mutex mutex_;                                                     // ids and leases only
  std::map<std::pair<std::string, std::string>, config::RouteTableId> rds_ids_;  // as many as distinct names were ever asked for
  std::map<std::string, config::ScopeSetId, std::less<>> scope_ids_;             // the same
  std::map<config::RouteTableId, std::weak_ptr<const void>> leases_;
  std::vector<config::RouteTableId> free_ids_;
  config::RouteTableId next_id_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // letters of leases that outlive this do nothing
  std::map<config::ScopeSetId, ScopeSet> scope_sets_;
  std::map<config::RouteTableId, Routes> routes_;
  std::map<std::string, Waiting> waiting_;
  std::map<std::string, ListenerDraft> serving_;
  std::map<std::string, bool> timed_out_secrets_;
  std::vector<std::function<void()>> when_warm_;
};

}  // namespace outrider::xds
