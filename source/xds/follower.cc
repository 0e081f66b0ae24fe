#include "source/xds/follower.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "source/base/absl_compat.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {

std::string joined(std::string_view intro, const std::vector<Failure>& failures, std::string_view separator) {
  return absl::StrCat(base::toAbsl(intro), absl::StrJoin(failures, base::toAbsl(separator), [](std::string* out, const Failure& failure) {
                        absl::StrAppend(out, failure.name, ": ", failure.why);
                      }));
}

std::vector<std::string> namesOf(const std::vector<Failure>& failures) {
  std::vector<std::string> out;
  for (const Failure& failure : failures) out.push_back(failure.name);
  return out;
}

Verdict verdictOf(std::string_view intro, const std::vector<Failure>& failures, std::string_view separator) {
  return failures.empty() ? Verdict::ok() : Verdict::nack(joined(intro, failures, separator), namesOf(failures));
}

envoy::config::core::v3::ConfigSource readSource(const std::string& bytes) {
  envoy::config::core::v3::ConfigSource source;
  source.ParseFromString(bytes);
  return source;
}

Follower::Follower(FollowerParts parts) : parts_(std::move(parts)), files_(parts_.loop) {}

Follower::~Follower() { *alive_ = false; }

void Follower::start(const envoy::config::bootstrap::v3::LayeredRuntime& runtime, const envoy::config::core::v3::ConfigSource* cds,
                     const envoy::config::core::v3::ConfigSource* lds, std::function<void()> ready) {
  ready_ = std::move(ready);
  if (cds != nullptr) cds_ = std::make_unique<envoy::config::core::v3::ConfigSource>(*cds);
  if (lds != nullptr) lds_ = std::make_unique<envoy::config::core::v3::ConfigSource>(*lds);
  clusters_ = std::make_unique<Clusters>(*this);
  listeners_ = std::make_unique<Listeners>(*this);
  runtime_open_ = 1;
  for (const auto& layer : runtime.layers()) {
    if (layer.has_static_layer()) Runtime::report(*this, "runtime layer " + layer.name(), layer.static_layer());
    if (!layer.has_rtds_layer()) continue;
    runtime_.push_back(std::make_unique<Runtime>(*this, layer.name()));
    if (runtime_.back()->watch(layer.rtds_layer().rtds_config(), layer.rtds_layer().name())) ++runtime_open_;
  }
  runtimeReady();
}

void Follower::runtimeReady() {
  if (--runtime_open_ > 0) return;
  if (cds_ == nullptr || parts_.hub.watch(*cds_, kClusterType, {}, *clusters_) == 0) clustersReady();
}

void Follower::afterClusters(std::function<void()> job) {
  if (applying_clusters_) {
    after_clusters_.push_back(std::move(job));
  } else {
    job();
  }
}

void Follower::clustersDone() {
  for (const auto& job : std::exchange(after_clusters_, {})) job();
}

void Follower::clustersReady() {
  parts_.clusters.whenWarm([this, alive = alive_] {
    if (!*alive) return;
    if (lds_ == nullptr || parts_.hub.watch(*lds_, kListenerType, {}, *listeners_) == 0) listenersReady();
  });
}

void Follower::listenersReady() {
  parts_.assembler.whenListenersWarm([this] {
    if (ready_) std::exchange(ready_, nullptr)();
  });
}

config::ClusterId Follower::idOf(std::string_view cluster) const {
  const auto view = parts_.clusters.find(cluster);
  const upstream::ClusterEntity* entity = view.warming != nullptr ? view.warming : view.active;
  return entity == nullptr ? config::ClusterId() : entity->part().id;
}

void Follower::clusterApplied(const config::ClusterSpec& spec) {
  const config::ClusterId id = idOf(spec.name);
  const auto had = eds_of_.find(id.index());
  const bool is_eds = spec.discovery == config::Discovery::kEds;
  const bool fresh = had == eds_of_.end() || !is_eds || !had->second->isOf(spec);
  if (fresh) endpointsUnwanted(id);
  if (!spec.transport.set()) dropClusterSecrets(spec.name);
  if (!is_eds) return;
  if (!fresh) return;
  Endpoints& watch = endpointsOf(spec);
  ++watch.users;
  eds_of_[id.index()] = &watch;
}

// Found or made.
Follower::Endpoints& Follower::endpointsOf(const config::ClusterSpec& spec) {
  const auto make = [&] {
    const std::string& source = *eds_sources_.insert(spec.eds_source).first;
    return std::make_unique<Endpoints>(*this, spec.eds_name, source, absl::StrCat("cluster.", spec.stat_name, "."));
  };
  const auto first = endpoints_.find(std::string_view(spec.eds_name));
  if (first == endpoints_.end()) return **endpoints_.insert(make()).first;
  Endpoints* at = first->get();
  while (!at->isOf(spec)) {
    if (at->other == nullptr) at->other = make();
    at = at->other.get();
  }
  return *at;
}

void Follower::removeCluster(const std::string& name) {
  const config::ClusterId id = idOf(name);
  if (!parts_.clusters.remove(name)) return;
  endpointsUnwanted(id);
  dropClusterSecrets(name);
}

void Follower::endpointsUnwanted(config::ClusterId cluster) {
  const auto at = eds_of_.find(cluster.index());
  if (at == eds_of_.end()) return;
  Endpoints* const watch = at->second;
  eds_of_.erase(at);
  if (--watch->users > 0) return;
  const auto first = endpoints_.find(std::string_view(watch->name()));
  if (first->get() == watch) {
    auto node = endpoints_.extract(first);
    if (auto rest = std::move(node.value()->other)) endpoints_.insert(std::move(rest));
    return;
  }
  Endpoints* before = first->get();
  while (before->other.get() != watch) before = before->other.get();
  auto gone = std::move(before->other);
  before->other = std::move(gone->other);
}

size_t Follower::ByEdsName::operator()(std::string_view name) const { return hashBytes(name); }
size_t Follower::ByEdsName::operator()(const std::unique_ptr<Endpoints>& watch) const { return hashBytes(watch->name()); }
bool Follower::ByEdsName::operator()(std::string_view a, const std::unique_ptr<Endpoints>& b) const { return a == b->name(); }
bool Follower::ByEdsName::operator()(const std::unique_ptr<Endpoints>& a, std::string_view b) const { return a->name() == b; }
bool Follower::ByEdsName::operator()(const std::unique_ptr<Endpoints>& a, const std::unique_ptr<Endpoints>& b) const {
  return a->name() == b->name();
}

void Follower::listenersChanged() {
  std::set<std::pair<std::string, std::string>> wanted;
  const Assembler::Wants wants = parts_.assembler.wants();
  for (const auto& rds : wants.rds) {
    const std::pair<std::string, std::string> key(rds.source, rds.name);
    wanted.insert(key);
    if (!routes_.contains(key)) routes_[key] = std::make_unique<Routes>(*this, rds.name, rds.source, rds.stats_prefix);
  }
  std::erase_if(routes_, [&](const auto& each) { return !wanted.contains(each.first); });
  std::set<config::ScopeSetId> sets;
  for (const auto& wanted_set : wants.scopes) {
    sets.insert(wanted_set.id);
    if (!scopes_.contains(wanted_set.id)) scopes_[wanted_set.id] = std::make_unique<Scopes>(*this, wanted_set);
  }
  for (auto at = scopes_.begin(); at != scopes_.end();) {
    if (sets.contains(at->first)) {
      ++at;
      continue;
    }
    const config::ScopeSetId id = at->first;
    at = scopes_.erase(at);
    parts_.assembler.forgetScopes(id);
  }
  std::set<std::string> keys;
  for (const config::SdsRef& ref : wants.secrets) {
    keys.insert(tls::Secrets::keyOf(ref));
    secretWanted(ref);
  }
  useSecrets(listener_secrets_, std::move(keys));
}

void Follower::clusterSecrets(const std::string& name, const std::vector<config::SdsRef>& refs) {
  std::set<std::string> keys;
  for (const config::SdsRef& ref : refs) {
    keys.insert(tls::Secrets::keyOf(ref));
    secretWanted(ref);
  }
  useSecrets(cluster_secrets_[name], std::move(keys));
}

void Follower::dropClusterSecrets(const std::string& name) {
  const auto at = cluster_secrets_.find(name);
  if (at == cluster_secrets_.end()) return;
  useSecrets(at->second, {});
  cluster_secrets_.erase(at);
}

// One user has other keys than before; a secret that nobody uses any more goes.
void Follower::useSecrets(std::set<std::string>& had, std::set<std::string> now) {
  for (const std::string& key : now) {
    if (const auto at = secrets_.find(key); at != secrets_.end() && !had.contains(key)) ++at->second->users;
  }
  const std::set<std::string> before = std::exchange(had, std::move(now));
  for (const std::string& key : before) {
    const auto at = secrets_.find(key);
    if (at == secrets_.end() || had.contains(key) || --at->second->users > 0) continue;
    parts_.assembler.forgetSecret(key);
    secrets_.erase(at);
  }
}

void Follower::secretWanted(const config::SdsRef& ref) {
  if (ref.from == config::SdsRef::From::kStatic) return;
  std::unique_ptr<Secret>& watch = secrets_[tls::Secrets::keyOf(ref)];
  if (watch == nullptr) watch = std::make_unique<Secret>(*this, ref);
}

}  // namespace outrider::xds
