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

#include "source/config/endpoint_spec.h"
#include "source/xds/assembler.h"
#include "source/xds/hub.h"

namespace outrider::xds {

struct FollowerParts {
  event::Loop& loop;
  Hub& hub;
  Assembler& assembler;
  upstream::ClusterManager& clusters;
  std::function<void(std::function<void()>)> parse;      // runs a job on the config thread, in order
  std::function<void(std::string_view resource, const config::Problems& problems)> unsupported;
  base::Nanos drain_time = 600 * base::kSecond;           // of removed listeners
};

class Follower final {
 public:
  explicit Follower(FollowerParts parts);
  ~Follower();

  // dynamic_resources.{cds,lds}_config; null: not configured. `ready` comes when the first clusters and listeners are warm.
  void start(const envoy::config::core::v3::ConfigSource* cds, const envoy::config::core::v3::ConfigSource* lds,
             std::function<void()> ready);

  // Of the bootstrap's own resources, and of what was applied since.
  void clusterApplied(const config::ClusterSpec& spec);
  void clusterGone(const std::string& name);
  void listenersChanged();
  void secretWanted(const config::SdsRef& ref);

 private:
  class Clusters;
  class Listeners;
  class Routes;
  class Endpoints;
  class Secret;
  void clustersReady();
  void listenersReady();
  void applyEndpoints(const std::string& eds_name, std::shared_ptr<const config::EndpointsSpec> spec);
  void post(std::function<void()> job) { parts_.loop.mailbox().post(std::move(job)); }

  FollowerParts parts_;
  std::unique_ptr<envoy::config::core::v3::ConfigSource> lds_;
  std::function<void()> ready_;
  std::unique_ptr<Clusters> clusters_;
  std::unique_ptr<Listeners> listeners_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Endpoints>> endpoints_;   // source, EDS name
  std::map<std::string, std::pair<std::string, std::string>> eds_of_;                     // cluster -> key above
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Routes>> routes_;         // source, name
  std::map<std::string, std::unique_ptr<Secret>> secrets_;                                // by tls::Secrets' key
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);                            // letters of a dead follower do nothing
};

}  // namespace outrider::xds
