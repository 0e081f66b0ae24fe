#include "source/xds/assembler.h"

#include "absl/strings/str_cat.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "source/base/absl_compat.h"
#include "source/base/log.h"
#include "source/config/cluster_parse.h"
#include "source/config/route_parse.h"
#include "source/config/route_table.h"
#include "source/config/tls_parse.h"

namespace outrider::xds {

Assembler::Assembler(AssemblerParts parts) : parts_(std::move(parts)) {}

// ---- clusters ----

std::shared_ptr<const config::ClusterSpec> Assembler::parseCluster(const envoy::config::cluster::v3::Cluster& in,
                                                                   config::Problems& problems) {
  const size_t before = problems.size();
  parts_.checker.check(in, problems);
  if (problems.size() > before) return nullptr;
  auto spec = std::make_shared<config::ClusterSpec>(config::parseCluster(in, problems));
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
  return draft;
}

bool Assembler::warm(const ListenerDraft& draft) const {
  for (const auto& rds : draft.parsed.needs.rds) {
    const auto at = routes_.find(rds.id);
    if (at == routes_.end() || !at->second.settled) return false;
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
  for (const auto& table : draft.parsed.needs.tables) {
    routes_[table.id] = {{}, {}, table.table, true};
    parts_.publish_routes(table.id, table.table);
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
  if (serving_.erase(name) > 0) (void)parts_.listeners.remove(name, drain_time);
  parts_.listeners.stats().set(listener::ManagerStat::kWarming, waiting_.size());
}

void Assembler::whenListenersWarm(std::function<void()> done) {
  when_warm_.push_back(std::move(done));
  settle();
}

// ---- routes ----

config::RouteTableId Assembler::idOfInline() {
  const std::lock_guard lock(mutex_);
  return next_id_++;
}

config::RouteTableId Assembler::idOfRds(std::string_view name, std::string_view source) {
  const std::lock_guard lock(mutex_);
  const auto [at, fresh] = rds_ids_.try_emplace({std::string(name), std::string(source)}, next_id_);
  if (fresh) ++next_id_;
  return at->second;
}

std::shared_ptr<const config::RouteTable> Assembler::parseRoutes(const envoy::config::route::v3::RouteConfiguration& in,
                                                                 config::Problems& problems) {
  const size_t before = problems.size();
  parts_.checker.check(in, problems);
  if (problems.size() > before) return nullptr;
  config::ParseContext parse{problems, parts_.names, parts_.stats, parts_.defaults};
  return config::parseRouteTable(in, parse);
}

void Assembler::applyRoutes(std::string_view name, std::string_view source, std::shared_ptr<const config::RouteTable> table) {
  const config::RouteTableId id = idOfRds(name, source);
  Routes& routes = routes_[id];
  const bool same = routes.table != nullptr && routes.table->spec() == table->spec();
  routes.settled = true;
  if (!same) {
    routes.table = table;
    // Clusters that the table names may be in the same batch: theirs first.
    parts_.clusters.flush();
    parts_.publish_routes(id, std::move(table));
  }
  settle();
}

void Assembler::routesTimedOut(std::string_view name, std::string_view source) {
  routes_[idOfRds(name, source)].settled = true;
  settle();
}

Assembler::Wants Assembler::wants() const {
  Wants out;
  const auto take = [&](const ListenerDraft& draft) {
    for (const auto& rds : draft.parsed.needs.rds) out.rds.push_back({rds.name, rds.source, rds.stats_prefix});
    for (const auto& secret : draft.parsed.needs.secrets) out.secrets.push_back(secret);
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

void Assembler::secretTimedOut(const std::string& key) {
  timed_out_secrets_[key] = true;
  settle();
}

}  // namespace outrider::xds
