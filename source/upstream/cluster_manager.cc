#include "source/upstream/cluster_manager.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/base/log.h"

namespace outrider::upstream {
namespace {

// Do connections made by `a` do for `b`, too?
bool connectAlike(const config::ClusterSpec& a, const config::ClusterSpec& b) {
  return a.transport == b.transport && a.transport_matches == b.transport_matches && a.http == b.http && a.source_addresses == b.source_addresses && a.freebind == b.freebind &&
         a.keepalive == b.keepalive && a.buffer_limit == b.buffer_limit && a.tcp_idle_timeout == b.tcp_idle_timeout;
}

// What was made for ten thousand is not kept for a hundred. Moves the entries.
template <class Map>
void shrinkIfSparse(Map& map) {
  if (map.capacity() >= 1024 && map.size() < map.capacity() / 8) map.rehash(0);
}

std::string statName(const config::ClusterSpec& spec) {
  std::string name = spec.stat_name.empty() ? spec.name : spec.stat_name;
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}

}  // namespace

ClusterManager::ClusterManager(event::Loop& loop, stats::Store& stats, config::NameTable& names, Post post, MakeTransport transport)
    : loop_(loop),
      store_(stats),
      names_(names),
      post_(std::move(post)),
      transport_(std::move(transport)),
      stats_(stats.scope("cluster_manager.", kClusterManagerTable)),
      cost_(stats.scope("outrider.clusters.", kUpdateCostTable)),
      settle_(event::Deferred::to<&ClusterManager::settle>(this)) {}

ClusterManager::~ClusterManager() = default;

absl::StatusOr<ClusterPartRef> ClusterManager::makePart(std::shared_ptr<const config::ClusterSpec> spec, Slot& slot,
                                                        const ClusterEntity* before) {
  auto part = std::make_unique<ClusterPart>();
  part->id = slot.id;
  part->name = spec->name;
  part->observability_name = spec->stat_name.empty() ? spec->name : spec->stat_name;
  part->metadata = spec->metadata;
  if (spec->transport.set() || !spec->transport_matches.empty()) {
    if (before != nullptr && before->spec().transport == spec->transport && before->spec().transport_matches == spec->transport_matches) {
      part->transport = before->part().transport;
    } else if (transport_) {
      auto made = transport_(*spec);
      if (!made.ok()) return absl::InvalidArgumentError(absl::StrCat("cluster '", spec->name, "': ", made.status().message()));
      part->transport = *std::move(made);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("cluster '", spec->name, "': transport_socket: no transport of type ", spec->transport.type_url));
    }
  }
  if (slot.breakers == nullptr) slot.breakers = std::make_shared<Breakers>(spec->breakers);
  part->breakers = slot.breakers;
  const std::string prefix = absl::StrCat("cluster.", statName(*spec), ".");
  part->stats = ClusterStats(store_.scope(prefix, kClusterTable));
  part->main_stats = ClusterMainStats(store_.scope(prefix, kClusterMainTable));
  // Shared with the versions before: what was counted stays although the series may be made by none of them yet.
  for (const ClusterEntity* other : {before, static_cast<const ClusterEntity*>(slot.warming.get())}) {
    if (other != nullptr && other->part().stats.scope() == part->stats.scope()) part->codes = other->part().codes;
  }
  if (part->codes == nullptr) part->codes = std::make_shared<stats::LazySeries>(store_, part->stats.scope(), "upstream_rq_");
  part->store = &store_;
  part->update_cost = cost_;
  part->spec = std::move(spec);
  cost_.inc(UpdateCostStat::kPartsRebuilt);
  return returnToMain(std::move(part), &loop_.mailbox());
}

void ClusterManager::countWarming(int by) {
  warming_count_ = static_cast<size_t>(static_cast<int>(warming_count_) + by);
  stats_.set(ClusterManagerStat::kWarmingClusters, warming_count_);
}

absl::StatusOr<ClusterManager::Put> ClusterManager::put(std::shared_ptr<const config::ClusterSpec> spec, bool dynamic) {
  const std::string name = spec->name;
  auto found = slots_.find(name);
  if (found != slots_.end()) {
    const Slot& slot = *found->second;
    if (dynamic && !slot.dynamic) return Put::kSame;  // as Envoy: static clusters stay as they are
    const ClusterEntity* latest = slot.warming != nullptr ? slot.warming.get() : slot.active.get();
    if (latest != nullptr && latest->spec() == *spec) return Put::kSame;
  }
  std::unique_ptr<Slot> fresh;
  if (found == slots_.end()) {
    fresh = std::make_unique<Slot>();
    fresh->id = names_.intern(name);
    fresh->dynamic = dynamic;
  }
  Slot& slot = fresh != nullptr ? *fresh : *found->second;
  ClusterEntity* before = slot.active.get();
  auto part = makePart(spec, slot, before);
  if (!part.ok()) return part.status();
  auto entity = std::make_unique<ClusterEntity>(loop_, store_, *this, *std::move(part), before);
  // Endpoints that are known need not be waited for: nobody sends an answer twice for a name that stays subscribed.
  EndpointsRef endpoints;
  if (spec->discovery == config::Discovery::kEds) {
    if (const ClusterEntity* known = knower(*spec)) endpoints = known->sharedEndpoints();
  }
  if (slot.warming != nullptr) {
    const config::ClusterSpec& old = slot.warming->spec();
    if (old.eds_name != spec->eds_name && (before == nullptr || before->spec().eds_name != old.eds_name)) unask(old);
    forget(slot.warming.get());
    graves_.push_back(std::move(slot.warming));
    countWarming(-1);
  }
  slot.warming = std::move(entity);
  countWarming(1);
  ClusterEntity& warming = *slot.warming;
  if (fresh != nullptr) {
    if (by_id_.size() <= slot.id.index()) by_id_.resize(slot.id.index() + 1);
    by_id_[slot.id.index()] = &slot;
    slots_.emplace(name, std::move(fresh));
  }
  if (spec->discovery == config::Discovery::kEds) {
    std::vector<std::string>& askers = by_eds_name_[spec->eds_name];
    if (std::find(askers.begin(), askers.end(), name) == askers.end()) askers.push_back(name);
  }
  warming.start();
  if (endpoints != nullptr) warming.takeEndpoints(endpoints);
  const bool added = found == slots_.end() || before == nullptr;
  stats_.inc(added ? ClusterManagerStat::kClusterAdded : ClusterManagerStat::kClusterModified);
  return added ? Put::kAdded : Put::kModified;
}

void ClusterManager::unask(const config::ClusterSpec& spec) {
  if (spec.discovery != config::Discovery::kEds) return;
  const auto askers = by_eds_name_.find(spec.eds_name);
  if (askers == by_eds_name_.end()) return;
  std::erase(askers->second, spec.name);
  if (!askers->second.empty()) return;
  by_eds_name_.erase(askers);
  shrinkIfSparse(by_eds_name_);
}

const ClusterEntity* ClusterManager::knower(const config::ClusterSpec& spec) const {
  const auto askers = by_eds_name_.find(spec.eds_name);
  if (askers == by_eds_name_.end()) return nullptr;
  for (const std::string& name : askers->second) {
    const auto found = slots_.find(name);
    if (found == slots_.end()) continue;
    for (const ClusterEntity* entity : {found->second->active.get(), found->second->warming.get()}) {
      if (entity != nullptr && entity->answered() && entity->spec().eds_name == spec.eds_name &&
          entity->spec().eds_source == spec.eds_source) {
        return entity;
      }
    }
  }
  return nullptr;
}

bool ClusterManager::remove(std::string_view name) {
  const auto found = slots_.find(base::toAbsl(name));
  if (found == slots_.end() || !found->second->dynamic) return false;
  Slot& slot = *found->second;
  ClusterChange change;
  change.id = slot.id;
  change.gone = true;
  for (const ClusterEntity* entity : {slot.active.get(), slot.warming.get()}) {
    if (entity != nullptr) unask(entity->spec());
  }
  if (slot.warming != nullptr) {
    forget(slot.warming.get());
    graves_.push_back(std::move(slot.warming));
    countWarming(-1);
  }
  if (slot.active != nullptr) {
    forget(slot.active.get());
    graves_.push_back(std::move(slot.active));
    changes_.push_back(std::move(change));
    --active_count_;
  }
  by_id_[slot.id.index()] = nullptr;
  while (!by_id_.empty() && by_id_.back() == nullptr) by_id_.pop_back();
  slots_.erase(found);
  shrinkIfSparse(slots_);
  stats_.inc(ClusterManagerStat::kClusterRemoved);
  loop_.defer(settle_);
  return true;
}

bool ClusterManager::updateEndpoints(std::string_view eds_name, const std::shared_ptr<const config::EndpointsSpec>& endpoints) {
  const auto askers = by_eds_name_.find(base::toAbsl(eds_name));
  if (askers == by_eds_name_.end()) return false;
  for (const std::string& name : askers->second) {
    Slot& slot = *slots_.at(name);
    for (ClusterEntity* entity : {slot.active.get(), slot.warming.get()}) {
      if (entity != nullptr && entity->spec().discovery == config::Discovery::kEds && entity->spec().eds_name == eds_name) {
        entity->setEndpoints(endpoints);
      }
    }
  }
  return true;
}

std::shared_ptr<const config::EndpointsSpec> ClusterManager::endpointsOf(std::string_view eds_name) const {
  const auto askers = by_eds_name_.find(base::toAbsl(eds_name));
  if (askers == by_eds_name_.end()) return nullptr;
  for (const std::string& name : askers->second) {
    const Slot& slot = *slots_.at(name);
    for (const ClusterEntity* entity : {slot.active.get(), slot.warming.get()}) {
      if (entity != nullptr && entity->answered() && entity->spec().eds_name == eds_name) return entity->sharedEndpoints();
    }
  }
  return nullptr;
}

void ClusterManager::endpointsTimedOut(std::string_view eds_name) {
  const auto askers = by_eds_name_.find(base::toAbsl(eds_name));
  if (askers == by_eds_name_.end()) return;
  for (const std::string& name : askers->second) {
    Slot& slot = *slots_.at(name);
    if (slot.warming != nullptr) slot.warming->endpointsTimedOut();
  }
}

void ClusterManager::secretsChanged() {
  if (warming_count_ == 0) return;
  for (const auto& [name, slot] : slots_) {
    if (slot->warming != nullptr) onEntity(*slot->warming);
  }
}

std::vector<std::string> ClusterManager::edsNames() const {
  std::vector<std::string> out;
  out.reserve(by_eds_name_.size());
  for (const auto& [eds_name, askers] : by_eds_name_) out.push_back(eds_name);
  std::sort(out.begin(), out.end());
  return out;
}

// ---- settling ----

void ClusterManager::onEntity(ClusterEntity& entity) {
  if (entity.enqueue()) marked_.emplace_back(entity.spec().name, &entity);
  loop_.defer(settle_);
}

void ClusterManager::forget(ClusterEntity* entity) {
  std::erase_if(marked_, [&](const auto& each) { return each.second == entity; });
}

void ClusterManager::promote(Slot& slot) {
  ClusterEntity& next = *slot.warming;
  ClusterChange change;
  change.id = slot.id;
  change.part = next.partRef();
  change.hosts = next.hosts();
  if (slot.active != nullptr) {
    const ClusterEntity& old = *slot.active;
    change.reconnect = !connectAlike(old.spec(), next.spec());
    if (old.hosts() != nullptr) {
      std::vector<const Host*> now;
      for (const HostRef& host : next.hosts()->hosts) now.push_back(host.get());
      std::sort(now.begin(), now.end());
      for (const HostRef& host : old.hosts()->hosts) {
        if (!std::binary_search(now.begin(), now.end(), host.get())) change.removed.push_back(host);
      }
    }
    if (next.spec().discovery != config::Discovery::kEds || next.spec().eds_name != old.spec().eds_name) unask(old.spec());
    forget(slot.active.get());
    graves_.push_back(std::move(slot.active));
    --active_count_;
  }
  for (size_t i = 0; i < 2; ++i) slot.breakers->of[i].setLimits(next.spec().breakers[i]);
  if (slot.active == nullptr) ++active_count_;
  slot.active = std::move(slot.warming);
  slot.active->publishGauges();
  countWarming(-1);
  changes_.push_back(std::move(change));
}

void ClusterManager::settleOne(Slot& slot, ClusterEntity& entity) {
  entity.dequeue();
  ClusterEntity::Settled settled;
  const bool changed = entity.settle(settled);
  if (&entity == slot.warming.get()) {
    if (entity.warm()) promote(slot);
    return;
  }
  if (!changed) return;
  entity.publishGauges();
  stats_.inc(ClusterManagerStat::kClusterUpdated);
  ClusterChange change;
  change.id = slot.id;
  change.hosts = std::move(settled.hosts);
  change.removed = std::move(settled.removed);
  change.failed = std::move(settled.failed);
  changes_.push_back(std::move(change));
}

void ClusterManager::settle() {
  auto marked = std::exchange(marked_, {});
  for (const auto& [name, entity] : marked) {
    const auto found = slots_.find(name);
    if (found == slots_.end()) continue;
    Slot& slot = *found->second;
    if (entity == slot.active.get() || entity == slot.warming.get()) settleOne(slot, *entity);
  }
  graves_.clear();
  stats_.set(ClusterManagerStat::kActiveClusters, active_count_);
  if (!changes_.empty()) post_(std::make_shared<const ClusterChanges>(std::exchange(changes_, {})));
  if (warming_count_ == 0 && !when_warm_.empty()) {
    for (const auto& done : std::exchange(when_warm_, {})) done();
  }
}

void ClusterManager::flush() { settle(); }

void ClusterManager::whenWarm(std::function<void()> done) {
  when_warm_.push_back(std::move(done));
  loop_.defer(settle_);
}

// ---- views ----

void ClusterManager::refreshGauges(const Slot& slot) {
  if (slot.active == nullptr) return;
  const ClusterPart& part = slot.active->part();
  for (size_t i = 0; i < 2; ++i) {
    const Breaker& breaker = part.breakers->of[i];
    const ClusterMainStats& stats = part.main_stats;
    struct Row {
      const base::shared::Permit& permit;
      BreakerGauge open, remaining;
    };
    for (const Row& row : {Row{breaker.connections, BreakerGauge::kCxOpen, BreakerGauge::kRemainingCx},
                           Row{breaker.pending, BreakerGauge::kRqPendingOpen, BreakerGauge::kRemainingPending},
                           Row{breaker.requests, BreakerGauge::kRqOpen, BreakerGauge::kRemainingRq},
                           Row{breaker.retries, BreakerGauge::kRqRetryOpen, BreakerGauge::kRemainingRetries}}) {
      const uint32_t used = row.permit.used();
      const uint32_t limit = &row.permit == &breaker.retries ? breaker.retryLimit(part.spec->breakers[i]) : row.permit.limit();
      stats.set(breakerStat(i == 1, row.open), used >= limit ? 1 : 0);
      if (part.spec->breakers[i].track_remaining) stats.set(breakerStat(i == 1, row.remaining), used >= limit ? 0 : limit - used);
    }
  }
}

void ClusterManager::refreshGauges() {
  size_t at = 0;
  (void)refreshGauges(at, by_id_.size());
}

bool ClusterManager::refreshGauges(size_t& at, size_t most) const {
  const size_t end = std::min(by_id_.size(), at + most);
  for (; at < end; ++at) {
    if (by_id_[at] != nullptr) refreshGauges(*by_id_[at]);
  }
  return at < by_id_.size();
}

void ClusterManager::forEach(const std::function<void(const std::string&, const View&)>& fn) const {
  for (const auto& [name, slot] : slots_) fn(name, {slot->active.get(), slot->warming.get(), slot->dynamic});
}

ClusterManager::View ClusterManager::find(std::string_view name) const {
  const auto found = slots_.find(base::toAbsl(name));
  if (found == slots_.end()) return {nullptr, nullptr, false};
  return {found->second->active.get(), found->second->warming.get(), found->second->dynamic};
}

std::shared_ptr<const ClusterChanges> ClusterManager::snapshot() const {
  auto out = std::make_shared<ClusterChanges>();
  for (const auto& [name, slot] : slots_) {
    if (slot->active == nullptr) continue;
    ClusterChange change;
    change.id = slot->id;
    change.part = slot->active->partRef();
    change.hosts = slot->active->hosts();
    out->push_back(std::move(change));
  }
  return out;
}

}  // namespace outrider::upstream
