// Follows the control plane: watches what the configuration names and hands what comes to the assembler.
//
// Per delivery: parse on the config thread, apply on main, answer with what was wrong. Names follow from what was applied:
// clusters name EDS resources, listeners name routes and secrets. CDS is asked first; LDS when all clusters are warm.
// Thread: main. Lifetime: the server's; the hub and the assembler outlive it. Source: MESH "ACK / NACK", "warming".
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "source/config/names.h"
#include "source/xds/assembler.h"
#include "source/xds/file_watch.h"
#include "source/xds/hub.h"

namespace envoy::config::bootstrap::v3 {
class LayeredRuntime;
}

namespace outrider::xds {

struct FollowerParts {
  event::Loop& loop;
  Hub& hub;
  Assembler& assembler;
  upstream::ClusterManager& clusters;
  std::function<void(std::function<void()>)> parse;  // runs a job on the config thread, in order
  std::function<void(std::string_view resource, const config::Problems& problems)> unsupported;
  base::Nanos drain_time = 600 * base::kSecond;  // of removed listeners
};

class Follower final {
 public:
  explicit Follower(FollowerParts parts);
  ~Follower();

  // dynamic_resources.{cds,lds}_config; null: not configured. `ready` comes when the first clusters and listeners are warm.
  // Runtime layers come first, as Envoy asks for them.
  void start(const envoy::config::bootstrap::v3::LayeredRuntime& runtime, const envoy::config::core::v3::ConfigSource* cds,
             const envoy::config::core::v3::ConfigSource* lds, std::function<void()> ready);

  // Of the bootstrap's own resources, and of what was applied since.
  void clusterApplied(const config::ClusterSpec& spec);
  void listenersChanged();
  // The secrets of a cluster's transport socket, each time one is made.
  void clusterSecrets(const std::string& name, const std::vector<config::SdsRef>& refs);

 private:
  class Clusters;
  class Listeners;
  class Routes;
  class Endpoints;
  class Secret;
  class Scopes;
  class Runtime;
  struct ByEdsName {
    using is_transparent = void;
    size_t operator()(std::string_view name) const;
    size_t operator()(const std::unique_ptr<Endpoints>& watch) const;
    bool operator()(std::string_view a, const std::unique_ptr<Endpoints>& b) const;
    bool operator()(const std::unique_ptr<Endpoints>& a, std::string_view b) const;
    bool operator()(const std::unique_ptr<Endpoints>& a, const std::unique_ptr<Endpoints>& b) const;
  };
  config::ClusterId idOf(std::string_view cluster) const;
  void removeCluster(const std::string& name);
  Endpoints& endpointsOf(const config::ClusterSpec& spec);
  void endpointsUnwanted(config::ClusterId cluster);
  void secretWanted(const config::SdsRef& ref);
  void dropClusterSecrets(const std::string& name);
  void useSecrets(std::set<std::string>& had, std::set<std::string> now);
  void runtimeReady();
  void clustersReady();
  // What refers to clusters waits until all that came before it are applied.
  void afterClusters(std::function<void()> job);
  void clustersDone();
  void listenersReady();
  template <class Trip, class Work, class Apply>
  void prepare(std::shared_ptr<Trip> trip, Work work, Apply apply);  // followed.h
  void post(std::function<void()> job) { parts_.loop.mailbox().post(std::move(job)); }

  FollowerParts parts_;
  std::unique_ptr<envoy::config::core::v3::ConfigSource> cds_, lds_;
  std::vector<std::unique_ptr<Runtime>> runtime_;
  size_t runtime_open_ = 0;
  bool applying_clusters_ = false;
  std::vector<std::function<void()>> after_clusters_;
  std::function<void()> ready_;
  std::unique_ptr<Clusters> clusters_;
  std::unique_ptr<Listeners> listeners_;
  absl::flat_hash_set<std::unique_ptr<Endpoints>, ByEdsName, ByEdsName> endpoints_;
  std::set<std::string> eds_sources_;                                              // serialized; as many as there ever were
  absl::flat_hash_map<uint32_t, Endpoints*> eds_of_;                               // by the index of a ClusterId
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Routes>> routes_;  // source, name
  FileWatch files_;                                                                // that secrets refer to
  std::map<std::string, std::unique_ptr<Secret>> secrets_;                         // by tls::Secrets' key
  std::map<std::string, std::set<std::string>> cluster_secrets_;                   // cluster -> keys
  std::set<std::string> listener_secrets_;                                         // keys
  std::map<config::ScopeSetId, std::unique_ptr<Scopes>> scopes_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // letters of a dead follower do nothing
};

}  // namespace outrider::xds
