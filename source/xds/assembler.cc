#include "source/xds/assembler.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/config_source.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "source/base/absl_compat.h"
#include "source/base/log.h"
#include "source/config/cluster_parse.h"
#include "source/config/endpoint_parse.h"
#include "source/config/route_parse.h"
#include "source/config/route_table.h"
#include "source/config/tls_parse.h"
#include "source/xds/types.h"

namespace outrider::xds {

Assembler::Assembler(AssemblerParts parts) : parts_(std::move(parts)) {}

Assembler::~Assembler() { *alive_ = false; }

void Assembler::checkSource(std::string_view source, std::string_view type, config::Problems& problems) {
  envoy::config::core::v3::ConfigSource message;
  message.ParseFromString(std::string(source));
  parts_.check_source(message, absl::StrCat("type.googleapis.com/", base::toAbsl(type)), problems);
}

// Where a reference stands is not known here any more: its name tells.
void Assembler::checkSecretSources(const std::vector<config::SdsRef>& refs, config::Problems& problems) const {
  for (const config::SdsRef& ref : refs) {
    if (ref.from == config::SdsRef::From::kStatic) continue;
    envoy::config::core::v3::ConfigSource message;
    message.ParseFromString(ref.source);
    config::Problems found;
    parts_.check_source(message, kSecretType, found);
    if (!found.empty()) problems.add(ref.name, absl::StrCat("cannot be fetched: sds_config: ", found.str("; ")));
  }
}

// ---- clusters ----

std::shared_ptr<const config::ClusterSpec> Assembler::parseCluster(const envoy::config::cluster::v3::Cluster& in,
                                                                   config::Problems& problems) {
  const size_t before = problems.size();
  parts_.checker.check(in, problems);
  if (problems.size() > before) return nullptr;
  auto spec = std::make_shared<config::ClusterSpec>(config::parseCluster(in, problems));
  if (spec->discovery == config::Discovery::kEds) {
    const auto eds = problems.field("eds_cluster_config");
    const auto source = problems.field("eds_config");
    parts_.check_source(in.eds_cluster_config().eds_config(), kEndpointType, problems);
  }
  return problems.size() > before ? nullptr : spec;
}

absl::Status Assembler::applyCluster(std::shared_ptr<const config::ClusterSpec> spec, bool dynamic) {
  return parts_.clusters.put(std::move(spec), dynamic).status();
}

// ---- listeners ----

listener::ListenerVersionRef Assembler::servingVersion(const std::string& name) const {
  const auto at = serving_.find(name);
  return at == serving_.end() ? nullptr : listener::ListenerVersionRef(at->second.parsed.version);
}

Assembler::ListenerDraft Assembler::parseListener(const envoy::config::listener::v3::Listener& in, bool dynamic,
                                                  const listener::ListenerVersion* before, config::Problems& problems) {
  ListenerDraft draft;
  draft.dynamic = dynamic;
  draft.bytes = in.SerializeAsString();
  const size_t found = problems.size();
  parts_.checker.check(in, problems);
  if (problems.size() > found) return draft;
  config::ParseContext parse{problems, parts_.names, parts_.stats, parts_.defaults};
  listener::ListenerParse context{parse, parts_.registry, *this, {}, parts_.access_log, 10 * base::kSecond};
  context.transport = [this](std::string_view type, std::string_view bytes,
                             filter::FilterContext& filter) -> std::shared_ptr<const filter::TransportFactory> {
    auto live = tls::parseServerSocket(type, bytes, filter.listener_stat_prefix, parts_.tls, filter.parse.problems);
    if (live == nullptr) return nullptr;
    for (const config::SdsRef& ref : live->wants()) filter.needs.secrets.push_back(ref);
    return std::make_shared<TlsTransportFactory>(std::move(live));
  };
  draft.parsed = listener::parseListener(in, before, context);
  checkSecretSources(draft.parsed.needs.secrets, problems);
  return draft;
}

absl::Status Assembler::unknownCluster(const config::RouteTable& table) const {
  for (const config::ClusterId id : table.clusters()) {
    const std::string_view name = parts_.names.name(id);
    if (!name.empty() && !parts_.clusters.has(name)) {
      return absl::InvalidArgumentError(absl::StrCat("route configuration '", table.name(), "' names the cluster '", base::toAbsl(name),
                                                     "', which does not exist (validate_clusters)"));
    }
  }
  return absl::OkStatus();
}

absl::Status Assembler::checkClusters(const ListenerDraft& draft) const {
  for (const auto& table : draft.parsed.needs.tables) {
    if (table.table == nullptr || !table.table->validateClusters().value_or(true)) continue;
    if (absl::Status status = unknownCluster(*table.table); !status.ok()) return status;
  }
  return absl::OkStatus();
}

bool Assembler::settledTable(config::RouteTableId id) const {
  const auto at = routes_.find(id);
  return at != routes_.end() && at->second.settled;
}

bool Assembler::warm(const ListenerDraft& draft) const {
  for (const auto& rds : draft.parsed.needs.rds) {
    if (!settledTable(rds.id)) return false;
  }
  for (const auto& needed : draft.parsed.needs.scope_sets) {
    const auto set = scope_sets_.find(needed.id);
    if (set == scope_sets_.end() || !set->second.settled) return false;
    for (const auto& [name, scope] : set->second.scopes) {
      if (!scope.spec.route_config.empty() && !settledTable(scope.table)) return false;
    }
  }
  for (const auto& secret : draft.parsed.needs.secrets) {
    const std::string key = tls::Secrets::keyOf(secret);
    if (!parts_.tls.secrets.has(key) && !timed_out_secrets_.contains(key)) return false;
  }
  return true;
}

absl::Status Assembler::applyListener(ListenerDraft draft) {
  const std::string name = draft.parsed.version->name;
  const auto serving = serving_.find(name);
  if (serving != serving_.end() && serving->second.bytes == draft.bytes) {
    waiting_.erase(name);
    return absl::OkStatus();
  }
  if (const auto at = waiting_.find(name); at != waiting_.end() && at->second.draft.bytes == draft.bytes) return absl::OkStatus();
  if (absl::Status status = checkClusters(draft); !status.ok()) return status;
  parts_.clusters.flush();
  for (const auto& table : draft.parsed.needs.tables) parts_.publish_routes(table.id, table.table);
  for (const auto& set : draft.parsed.needs.scope_sets) {
    ScopeSet& at = scope_sets_[set.id];
    at.source = set.scoped_source;
    at.rds_source = set.rds_source;
    at.http_prefix = set.stats_prefix.substr(0, set.stats_prefix.rfind("scoped_rds."));
  }
  for (const auto& rds : draft.parsed.needs.rds) {
    Routes& routes = routes_[rds.id];
    routes.name = rds.name;
    routes.source = rds.source;
  }
  if (!warm(draft)) {
    waiting_[name] = {std::move(draft)};
    parts_.listeners.stats().set(listener::ManagerStat::kWarming, waiting_.size());
    return absl::OkStatus();
  }
  waiting_.erase(name);
  return serve(std::move(draft));
}

absl::Status Assembler::serve(ListenerDraft draft) {
  const std::string name = draft.parsed.version->name;
  absl::Status status = parts_.listeners.put(draft.parsed.version);
  parts_.loop.mailbox().post(parts_.listeners.closeLeft());
  if (status.ok()) serving_[name] = std::move(draft);
  return status;
}

void Assembler::settle() {
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    if (!warm(at->second.draft)) {
      ++at;
      continue;
    }
    ListenerDraft draft = std::move(at->second.draft);
    at = waiting_.erase(at);
    const std::string name = draft.parsed.version->name;
    if (const absl::Status status = serve(std::move(draft)); !status.ok()) {
      OUTRIDER_LOG(kError, kListener, "listener %s: %s; the version before stays", name.c_str(),
                   std::string(base::toStd(status.message())).c_str());
    }
  }
  parts_.listeners.stats().set(listener::ManagerStat::kWarming, waiting_.size());
  if (!waiting_.empty()) return;
  std::vector<std::function<void()>> done;
  done.swap(when_warm_);
  for (const auto& each : done) each();
}

void Assembler::removeListener(const std::string& name, base::Nanos drain_time) {
  waiting_.erase(name);
  if (serving_.erase(name) > 0) {
    (void)parts_.listeners.remove(name, drain_time);
    parts_.loop.mailbox().post(parts_.listeners.closeLeft());  // after the additions of this batch
  }
  parts_.listeners.stats().set(listener::ManagerStat::kWarming, waiting_.size());
}

void Assembler::whenListenersWarm(std::function<void()> done) {
  when_warm_.push_back(std::move(done));
  settle();
}

// ---- routes ----

config::RouteTableId Assembler::idOfInline() {
  const std::lock_guard lock(mutex_);
  if (free_ids_.empty()) return next_id_++;
  const config::RouteTableId id = free_ids_.back();
  free_ids_.pop_back();
  return id;
}

config::ScopeSetId Assembler::idOfScopes(std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto at = scope_ids_.find(key);
  return at != scope_ids_.end() ? at->second
                                : scope_ids_.emplace(std::string(key), static_cast<config::ScopeSetId>(scope_ids_.size())).first->second;
}

// The last holder may be gone on any thread; what follows is main's, in order with what the config thread sends.
std::shared_ptr<const void> Assembler::leaseOf(config::RouteTableId id) {
  const std::lock_guard lock(mutex_);
  std::weak_ptr<const void>& known = leases_[id];
  std::shared_ptr<const void> lease = known.lock();
  if (lease == nullptr) {
    lease = std::shared_ptr<const void>(&leases_, [this, id, main = &parts_.loop.mailbox(), alive = alive_](const void*) {
      main->post([this, id, alive] {
        if (*alive) released(id);
      });
    });
    known = lease;
  }
  return lease;
}

void Assembler::released(config::RouteTableId id) {
  {
    const std::lock_guard lock(mutex_);
    const auto lease = leases_.find(id);
    if (lease == leases_.end() || !lease->second.expired()) return;  // asked for again meanwhile
    leases_.erase(lease);
    const bool rds = std::any_of(rds_ids_.begin(), rds_ids_.end(), [&](const auto& each) { return each.second == id; });
    if (!rds) free_ids_.push_back(id);
  }
  routes_.erase(id);
  parts_.publish_routes(id, nullptr);
}

config::RouteTableId Assembler::idOfRds(std::string_view name, std::string_view source) {
  const std::lock_guard lock(mutex_);
  const auto [at, fresh] = rds_ids_.try_emplace({std::string(name), std::string(source)}, next_id_);
  if (fresh) ++next_id_;
  return at->second;
}

std::shared_ptr<const config::EndpointsSpec> Assembler::readEndpoints(const std::shared_ptr<const std::string>& bytes,
                                                                      const config::EndpointsSpec* before,
                                                                      config::Problems& problems) const {
  return config::readEndpoints(bytes, parts_.checker, before, problems);
}

std::shared_ptr<const config::RouteTable> Assembler::readRoutes(std::string_view bytes, const config::RouteTable* before,
                                                                config::Problems& problems) {
  config::ParseContext parse{problems, parts_.names, parts_.stats, parts_.defaults};
  return config::readRouteTable(bytes, parts_.checker, before, parse);
}

std::shared_ptr<const config::RouteTable> Assembler::servingRoutes(std::string_view name, std::string_view source) {
  const auto at = routes_.find(idOfRds(name, source));
  return at == routes_.end() ? nullptr : at->second.table;
}

absl::Status Assembler::applyRoutes(std::string_view name, std::string_view source, std::shared_ptr<const config::RouteTable> table) {
  if (table->validateClusters().value_or(false)) {
    if (absl::Status status = unknownCluster(*table); !status.ok()) return status;
  }
  const config::RouteTableId id = idOfRds(name, source);
  Routes& routes = routes_[id];
  const bool same = routes.table != nullptr && routes.table->sameAs(*table);
  routes.settled = true;
  if (!same) {
    routes.table = table;
    // Clusters that the table names may be in the same batch: theirs first.
    parts_.clusters.flush();
    parts_.publish_routes(id, std::move(table));
  }
  settle();
  return absl::OkStatus();
}

void Assembler::routesTimedOut(std::string_view name, std::string_view source) {
  routes_[idOfRds(name, source)].settled = true;
  settle();
}

// ---- scopes ----

Assembler::ScopeDraft Assembler::parseScope(const envoy::config::route::v3::ScopedRouteConfiguration& in, config::Problems& problems) {
  ScopeDraft draft;
  const size_t before = problems.size();
  parts_.checker.check(in, problems);
  if (problems.size() > before) return draft;
  draft.spec = config::parseScope(in, problems);
  if (!in.has_route_configuration()) return draft;
  const auto at = problems.field("route_configuration");
  config::ParseContext parse{problems, parts_.names, parts_.stats, parts_.defaults};
  draft.table = config::parseRouteTable(in.route_configuration(), parse);
  return draft;
}

void Assembler::applyScopes(config::ScopeSetId id, std::vector<ScopeDraft> drafts, const std::vector<std::string>& removed,
                            std::vector<std::pair<std::string, std::string>>& refused) {
  ScopeSet& set = scope_sets_[id];
  for (const std::string& name : removed) set.scopes.erase(name);
  // Those that change leave first, so that two may swap their keys.
  std::map<std::string, Scope> before;
  for (const ScopeDraft& draft : drafts) {
    if (auto node = set.scopes.extract(draft.spec.name)) before.insert(std::move(node));
  }
  auto index = std::make_shared<config::ScopeIndex>();
  std::map<std::vector<std::string>, std::string> owners;
  const auto take = [&](Scope scope) {
    owners.emplace(scope.spec.key, scope.spec.name);
    set.scopes[scope.spec.name] = std::move(scope);
  };
  for (const auto& [name, scope] : set.scopes) owners.emplace(scope.spec.key, name);
  for (ScopeDraft& draft : drafts) {
    const auto owner = owners.find(draft.spec.key);
    if (owner != owners.end()) {
      refused.emplace_back(draft.spec.name, absl::StrCat("key: is the key of scope '", owner->second, "' already"));
      if (const auto old = before.find(draft.spec.name); old != before.end() && !owners.contains(old->second.spec.key)) take(old->second);
      continue;
    }
    Scope scope;
    scope.table = draft.spec.route_config.empty() ? idOfInline() : idOfRds(draft.spec.route_config, set.rds_source);
    scope.lease = leaseOf(scope.table);
    if (draft.spec.route_config.empty()) {
      parts_.publish_routes(scope.table, draft.table);
    } else {
      Routes& routes = routes_[scope.table];
      routes.name = draft.spec.route_config;
      routes.source = set.rds_source;
    }
    scope.spec = std::move(draft.spec);
    take(std::move(scope));
  }
  for (const auto& [name, scope] : set.scopes) index->add(scope.spec, scope.table);
  set.settled = true;
  parts_.publish_scopes(id, std::move(index));
  settle();
}

void Assembler::scopesTimedOut(config::ScopeSetId id) {
  scope_sets_[id].settled = true;
  settle();
}

// Connections that still drain find no scope, and get 404: the same as for a listener whose scopes never came.
void Assembler::forgetScopes(config::ScopeSetId id) {
  scope_sets_.erase(id);
  parts_.publish_scopes(id, nullptr);
}

Assembler::Wants Assembler::wants() const {
  Wants out;
  const auto take = [&](const ListenerDraft& draft) {
    for (const auto& rds : draft.parsed.needs.rds) out.rds.push_back({rds.name, rds.source, rds.stats_prefix});
    for (const auto& secret : draft.parsed.needs.secrets) out.secrets.push_back(secret);
    for (const auto& needed : draft.parsed.needs.scope_sets) {
      out.scopes.push_back({needed.id, needed.scoped_source, needed.stats_prefix});
      const auto set = scope_sets_.find(needed.id);
      if (set == scope_sets_.end()) continue;
      for (const auto& [name, scope] : set->second.scopes) {
        const std::string& table = scope.spec.route_config;
        if (!table.empty()) out.rds.push_back({table, set->second.rds_source, absl::StrCat(set->second.http_prefix, "rds.", table, ".")});
      }
    }
  };
  for (const auto& [name, each] : waiting_) take(each.draft);
  for (const auto& [name, each] : serving_) take(each);
  return out;
}

// ---- secrets ----

bool Assembler::applySecret(const std::string& key, const envoy::extensions::transport_sockets::tls::v3::Secret& in,
                            config::Problems& problems) {
  const size_t before = problems.size();
  config::SecretSpec spec = config::parseSecret(in, problems);
  if (problems.size() > before) return false;
  if (!parts_.tls.secrets.set(key, std::move(spec), problems)) return false;
  parts_.clusters.secretsChanged();
  settle();
  return true;
}

void Assembler::forgetSecret(const std::string& key) {
  timed_out_secrets_.erase(key);
  parts_.tls.secrets.forget(key);
}

void Assembler::secretTimedOut(const std::string& key) {
  timed_out_secrets_[key] = true;
  settle();
}

}  // namespace outrider::xds
