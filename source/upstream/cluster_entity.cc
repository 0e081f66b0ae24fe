#include "source/upstream/cluster_entity.h"

#include <algorithm>
#include <deque>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/base/check.h"
#include "source/base/log.h"
#include "source/upstream/lb/hash_table.h"

namespace outrider::upstream {
namespace {

constexpr uint32_t kEdsFlags = bit(HealthFlag::kFailedEds) | bit(HealthFlag::kDegradedEds) | bit(HealthFlag::kEdsDraining);

uint32_t edsFlags(config::HealthStatus status) {
  switch (status) {
    case config::HealthStatus::kUnknown:
    case config::HealthStatus::kHealthy: return 0;
    case config::HealthStatus::kUnhealthy:
    case config::HealthStatus::kTimeout: return bit(HealthFlag::kFailedEds);
    case config::HealthStatus::kDraining: return bit(HealthFlag::kEdsDraining);
    case config::HealthStatus::kDegraded: return bit(HealthFlag::kDegradedEds);
  }
  return 0;
}

constexpr uint32_t kNew = UINT32_MAX;

struct AddressHash {
  size_t operator()(const base::Address* address) const { return address->hash(); }
};
struct AddressEqual {
  bool operator()(const base::Address* a, const base::Address* b) const { return *a == *b; }
};

// Is the object of the old host good for the new endpoint? Weight, priority and health are not part of it.
bool sameHost(const Host& host, const config::LocalityEndpoints& locality, const config::EndpointSpec& endpoint) {
  const stream::HostTexts& texts = host.said();
  return (&host.details() == endpoint.details.get() || host.details() == endpoint.more()) && texts.region == locality.region &&
         texts.zone == locality.zone && texts.sub_zone == locality.sub_zone && host.localityLabels() == locality.socket_labels;
}

const EndpointsRef& noEndpoints() {
  static const auto& none = *new EndpointsRef(std::make_shared<const config::EndpointsSpec>());
  return none;
}

}  // namespace

ClusterEntity::ClusterEntity(event::Loop& loop, stats::Store& stats, EntityOwner& owner, ClusterPartRef part, ClusterEntity* before)
    : loop_(loop),
      stats_(stats),
      owner_(owner),
      part_(std::move(part)),
      endpoints_(part_->spec, &part_->spec->endpoints),
      shared_(std::make_shared<LbShared>()) {
  if (checked()) {
    health_stats_ = HealthStats(stats_.scope(absl::StrCat(base::toAbsl(part_->stats.scope()->prefix()), "health_check."), kHealthTable));
  }
  if (spec().hash_lb.has_value()) {
    const bool ring = spec().hash_lb->kind == config::HashLbSpec::Kind::kRing;
    table_scope_ = stats_.scope(absl::StrCat(base::toAbsl(part_->stats.scope()->prefix()), ring ? "ring_hash_lb." : "maglev_lb."),
                                ring ? kRingTable : kMaglevTable);
  }
  if (before == nullptr) return;
  shared_ = before->shared_;
  // Flags of active checks only mean the same when the checks are the same.
  if (before->spec().health_checks == spec().health_checks) {
    inherited_.reserve(before->entries_.size());
    for (const Entry& entry : before->entries_) inherited_.emplace_back().host = entry.host;
  }
}

ClusterEntity::~ClusterEntity() = default;

void ClusterEntity::mark() {
  dirty_ = true;
  owner_.onEntity(*this);
}

void ClusterEntity::start() {
  switch (spec().discovery) {
    case config::Discovery::kStatic:
      known_ = true;
      refreshHosts();
      break;
    case config::Discovery::kStrictDns:
    case config::Discovery::kLogicalDns: resolveNames(); break;
    case config::Discovery::kEds: endpoints_ = noEndpoints(); break;
    case config::Discovery::kOriginalDst:  // workers find its hosts
      known_ = true;
      refreshHosts();
      break;
  }
  mark();
}

void ClusterEntity::setEndpoints(const EndpointsRef& endpoints) {
  if (answered_ && (endpoints == endpoints_ || *endpoints == *endpoints_)) {
    part_->main_stats.inc(ClusterMainStat::kUpdateNoRebuild);
    return;
  }
  takeEndpoints(endpoints);
}

void ClusterEntity::takeEndpoints(const EndpointsRef& endpoints) {
  endpoints_ = endpoints;
  answered_ = true;
  known_ = true;
  refreshHosts();
  mark();
}

void ClusterEntity::endpointsTimedOut() {
  if (known_) return;
  known_ = true;
  mark();
}

// ---- DNS ----

void ClusterEntity::resolveNames() {
  resolver_ = std::make_unique<dns::Resolver>(loop_, spec().dns);
  for (size_t l = 0; l < endpoints_->localities.size(); ++l) {
    const config::LocalityEndpoints& locality = endpoints_->localities[l];
    for (size_t e = 0; e < locality.endpoints.size(); ++e) {
      if (locality.endpoints[e].address.valid()) continue;
      auto name = std::make_unique<Name>();
      name->query = std::make_unique<dns::Query>(*resolver_, *this, locality.endpoints[e].more().name);
      names_.push_back(std::move(name));
    }
  }
  known_ = names_.empty();
  refreshHosts();
  for (const auto& name : names_) {
    part_->main_stats.inc(ClusterMainStat::kUpdateAttempt);
    name->query->start();
  }
}

void ClusterEntity::onAnswer(dns::Query& query, const dns::Answer& answer) {
  bool all = true;
  for (const auto& name : names_) {
    if (name->query.get() == &query) {
      name->answered = true;
      if (answer.ok) {
        part_->main_stats.inc(ClusterMainStat::kUpdateSuccess);
        std::vector<base::Address> addresses = answer.addresses;
        if (spec().discovery == config::Discovery::kLogicalDns && addresses.size() > 1) {
          // One address at a time; the one in use stays as long as DNS still names it.
          if (!name->addresses.empty() && std::find(addresses.begin(), addresses.end(), name->addresses[0]) != addresses.end()) {
            addresses[0] = name->addresses[0];
          }
          addresses.resize(1);
        }
        std::sort(addresses.begin(), addresses.end(), [](const auto& a, const auto& b) { return a.ipBytes() < b.ipBytes(); });
        if (addresses.empty()) part_->main_stats.inc(ClusterMainStat::kUpdateEmpty);
        if (addresses != name->addresses) {
          name->addresses = std::move(addresses);
          refreshHosts();
        } else {
          part_->main_stats.inc(ClusterMainStat::kUpdateNoRebuild);
        }
      } else {
        part_->main_stats.inc(ClusterMainStat::kUpdateFailure);
      }
    }
    all = all && name->answered;
  }
  if (all && !known_) known_ = true;
  mark();
}

// ---- hosts ----

// Where each wanted address stood. Updates change little, so both lists are read side by side, with room for one endpoint that came,
// went or was exchanged; what that leaves open is looked for by hash.
void ClusterEntity::match(std::vector<Wanted>& wanted, const std::vector<Entry>& old) {
  std::vector<bool> taken(old.size());
  std::vector<Wanted*> open;
  size_t at = 0;
  bool passed = false;  // the place before `at` is free
  for (Wanted& each : wanted) {
    const auto is = [&](size_t i) { return i < old.size() && old[i].host->address == *each.address; };
    size_t place = at;
    if (is(at)) {
      ++at;
      passed = false;
    } else if (is(at + 1)) {
      place = at + 1;
      at += 2;
      passed = false;
    } else if (passed && is(at - 1)) {
      place = at - 1;
      passed = false;
    } else {
      open.push_back(&each);
      passed = at < old.size();
      if (passed) ++at;
      continue;
    }
    each.had = static_cast<uint32_t>(place);
    taken[place] = true;
  }
  if (open.empty()) return;
  absl::flat_hash_map<const base::Address*, Wanted*, AddressHash, AddressEqual> places(open.size());
  for (Wanted* each : open) {
    if (!places.emplace(each->address, each).second) return matchAll(wanted, old);
  }
  for (size_t i = 0; i < old.size(); ++i) {
    const auto it = places.find(&old[i].host->address);
    if (it == places.end()) continue;
    if (taken[i]) return matchAll(wanted, old);
    it->second->had = static_cast<uint32_t>(i);
  }
}

// The first of several endpoints of one address holds; `address` of the others becomes null.
void ClusterEntity::matchAll(std::vector<Wanted>& wanted, const std::vector<Entry>& old) {
  absl::flat_hash_map<const base::Address*, uint32_t, AddressHash, AddressEqual> places(wanted.size());
  for (Wanted& each : wanted) {
    each.had = kNew;
    if (!places.emplace(each.address, static_cast<uint32_t>(&each - wanted.data())).second) each.address = nullptr;
  }
  for (size_t i = 0; i < old.size(); ++i) {
    if (const auto it = places.find(&old[i].host->address); it != places.end()) wanted[it->second].had = static_cast<uint32_t>(i);
  }
}

// Hosts made in one go share what they have in common.
std::shared_ptr<const HostDetails> ClusterEntity::detailsOf(const Wanted& wanted, MadeDetails& made) {
  const std::pair<const void*, const void*> key{wanted.in, wanted.endpoint->details.get()};
  if (made.last != nullptr && made.last_key == key) return made.last;
  auto& known = made.all[key];
  if (known == nullptr) {
    auto out = std::make_shared<HostDetails>();
    out->hostname = wanted.endpoint->more().hostname;
    out->region = wanted.in->region;
    out->zone = wanted.in->zone;
    out->sub_zone = wanted.in->sub_zone;
    out->endpoint = wanted.endpoint->details;
    if (out->endpoint != nullptr) out->metadata = out->endpoint->metadata;
    out->locality_labels = wanted.in->socket_labels;
    known = std::move(out);
  }
  made.last_key = key;
  return made.last = known;
}

// `before`: the entry of the same address, if any (its host is null else); `taken_over`: of the version before.
ClusterEntity::Entry ClusterEntity::entryOf(const Wanted& wanted, Entry before, bool taken_over, MadeDetails& details) {
  const config::EndpointSpec& endpoint = *wanted.endpoint;
  Entry entry = std::move(before);
  if (entry.host != nullptr && taken_over && !sameHost(*entry.host, *wanted.in, endpoint)) entry.host = nullptr;
  taken_over = taken_over && entry.host != nullptr;
  entry.priority = static_cast<uint8_t>(wanted.in->priority);
  entry.weight = endpoint.weight;
  entry.locality = wanted.locality;
  if (entry.host == nullptr || taken_over || !sameHost(*entry.host, *wanted.in, endpoint)) {
    const bool fresh = entry.host == nullptr;
    const bool made = !taken_over;
    HostRef host = taken_over ? std::move(entry.host) : HostRef(new Host(*wanted.address, detailsOf(wanted, details)));
    if (made && part_->transport != nullptr) part_->transport->hostMade(*host);
    bool healthy = taken_over && !host->has(HealthFlag::kFailedActive);
    if (entry.host != nullptr) {
      // The same server under a new description: what its checks found still holds.
      host->load.health.store(entry.host->load.health.load(std::memory_order_relaxed), std::memory_order_relaxed);
      healthy = !entry.host->has(HealthFlag::kFailedActive);
      if (entry.checker != nullptr && !entry.checker->firstDone()) --unchecked_;
      entry.checker.reset();
      removed_.push_back(std::move(entry.host));
    } else if (checked() && !endpoint.more().check_disabled && !taken_over) {
      host->load.health.fetch_or(bit(HealthFlag::kFailedActive), std::memory_order_relaxed);
      if (spec().ignore_new_hosts_until_first_check) {
        host->load.health.fetch_or(bit(HealthFlag::kPendingActive), std::memory_order_relaxed);
      }
    }
    entry.host = std::move(host);
    if (checked() && !endpoint.more().check_disabled) {
      entry.checker = std::make_unique<health::Checker>(loop_, *part_, spec().health_checks[0], *entry.host, health_stats_, *this, healthy);
      if (fresh && first_round_) ++unchecked_;
      entry.checker->start();
    }
  }
  entry.leaving = false;
  entry.host->weight.store(endpoint.weight, std::memory_order_relaxed);
  const uint32_t flags = entry.host->load.health.load(std::memory_order_relaxed);
  const uint32_t now = (flags & ~kEdsFlags & ~bit(HealthFlag::kPendingRemoval)) | edsFlags(endpoint.health);
  if (now != flags) entry.host->load.health.store(now, std::memory_order_relaxed);
  return entry;
}

void ClusterEntity::refreshHosts() {
  locality_weights_.clear();
  std::vector<Wanted> wanted;
  std::deque<base::Address> resolved;
  size_t count = 0, next_name = 0;  // names_ stand in the endpoints' order
  for (const config::LocalityEndpoints& locality : endpoints_->localities) {
    locality_weights_.push_back(locality.weight);
    count += locality.endpoints.size();
  }
  wanted.reserve(count);
  for (uint32_t l = 0; l < endpoints_->localities.size(); ++l) {
    const config::LocalityEndpoints& locality = endpoints_->localities[l];
    for (size_t e = 0; e < locality.endpoints.size(); ++e) {
      const config::EndpointSpec& endpoint = locality.endpoints[e];
      if (endpoint.address.valid()) {
        wanted.push_back({&locality, &endpoint, &endpoint.address, l, kNew});
        continue;
      }
      OUTRIDER_CHECK(next_name < names_.size());  // parsers let names through for DNS alone
      const Name& name = *names_[next_name++];
      for (const base::Address& address : name.addresses) {
        wanted.push_back({&locality, &endpoint, &resolved.emplace_back(address.withPort(endpoint.port)), l, kNew});
      }
    }
  }
  // Hosts are inherited before there are any of our own.
  const bool inherited = entries_.empty() && !inherited_.empty();
  std::vector<Entry> old = std::move(inherited ? inherited_ : entries_);
  entries_ = std::vector<Entry>();
  inherited_ = std::vector<Entry>();
  match(wanted, old);
  entries_.reserve(wanted.size());
  MadeDetails details;
  for (const Wanted& each : wanted) {
    if (each.address == nullptr) continue;
    entries_.push_back(each.had == kNew ? entryOf(each, {}, false, details) : entryOf(each, std::move(old[each.had]), inherited, details));
  }
  bool changed = false;
  if (inherited) old.clear();
  for (Entry& entry : old) {
    if (entry.host == nullptr) continue;
    changed = true;
    // Discovery and checks must both give a host up, unless the config says that discovery alone decides.
    if (entry.checker != nullptr && !spec().ignore_health_on_removal && !entry.host->has(HealthFlag::kFailedActive)) {
      entry.leaving = true;
      entry.host->load.health.fetch_or(bit(HealthFlag::kPendingRemoval), std::memory_order_relaxed);
      entries_.push_back(std::move(entry));
      continue;
    }
    if (entry.checker != nullptr && !entry.checker->firstDone() && first_round_ && unchecked_ > 0) --unchecked_;
    removed_.push_back(std::move(entry.host));
  }
  numberChecks();
  if (changed || entries_.size() != (set_ == nullptr ? 0 : set_->hosts.size())) {
    part_->main_stats.inc(ClusterMainStat::kMembershipChange);
  }
}

void ClusterEntity::numberChecks() {
  if (!checked()) return;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].checker != nullptr) entries_[i].checker->position = i;
  }
}

void ClusterEntity::onChecked(health::Checker& checker, const Host& host, bool healthy, bool) {
  if (checker.position >= entries_.size() || entries_[checker.position].checker.get() != &checker) return;
  Entry& entry = entries_[checker.position];
  if (first_round_ && unchecked_ > 0) {
    unchecked_ = static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                                   [](const auto& each) { return each.checker != nullptr && !each.checker->firstDone(); }));
    if (unchecked_ == 0) mark();
  }
  uint32_t flags = entry.host->load.health.load(std::memory_order_relaxed);
  const uint32_t before = flags;
  flags &= ~bit(HealthFlag::kPendingActive);
  flags &= ~(bit(HealthFlag::kFailedActive) | bit(HealthFlag::kActiveTimeout));
  if (!healthy) flags |= bit(HealthFlag::kFailedActive) | (checker.timedOut() ? bit(HealthFlag::kActiveTimeout) : 0);
  if (flags == before) return;
  entry.host->load.health.store(flags, std::memory_order_relaxed);
  if (!healthy && (before & bit(HealthFlag::kFailedActive)) == 0) {
    OUTRIDER_LOG(kInfo, kHealth, "cluster %s: host %s is unhealthy", part_->name.c_str(), host.address.str().c_str());
    if (spec().close_on_health_failure) failed_.push_back(entry.host);
  }
  mark();
}

void ClusterEntity::setFlag(const Host& host, HealthFlag flag, bool on) {
  const auto it = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.host.get() == &host; });
  if (it == entries_.end() || host.has(flag) == on) return;
  if (on) {
    host.load.health.fetch_or(bit(flag), std::memory_order_relaxed);
  } else {
    host.load.health.fetch_and(~bit(flag), std::memory_order_relaxed);
  }
  mark();
}

// ---- warming and settling ----

std::string ClusterEntity::waitsFor() const {
  if (!spec().wait_for_warm) return {};
  if (part_->transport != nullptr && !part_->transport->ready()) return "secrets";
  if (!known_) return spec().discovery == config::Discovery::kEds ? "endpoints" : "DNS";
  if (first_round_ && unchecked_ > 0) return "first health checks";
  return {};
}

bool ClusterEntity::warm() const { return waitsFor().empty(); }

bool ClusterEntity::settle(Settled& out) {
  if (!dirty_) return false;
  dirty_ = false;
  // Hosts that discovery gave up and that their checks have given up now.
  const size_t gone = std::erase_if(entries_, [&](const Entry& entry) {
    if (!entry.leaving || !entry.host->has(HealthFlag::kFailedActive)) return false;
    removed_.push_back(entry.host);
    part_->main_stats.inc(ClusterMainStat::kMembershipChange);
    return true;
  });
  if (gone > 0) numberChecks();
  std::vector<Member> members;
  members.reserve(entries_.size());
  most_weight_ = 0;
  for (const Entry& entry : entries_) {
    members.push_back({entry.host, entry.priority, entry.weight, entry.locality});
    most_weight_ = std::max(most_weight_, entry.weight);
  }
  HostSetPolicy policy;
  policy.locality_weighted = spec().locality_weighted;
  policy.panic_threshold = spec().panic_threshold;
  policy.overprovisioning = endpoints_->overprovisioning_factor;
  policy.weighted_priority_health = endpoints_->weighted_priority_health;
  policy.hash = spec().hash_lb.has_value() ? &*spec().hash_lb : nullptr;
  set_ = returnToMain(buildHostSet(std::move(members), locality_weights_, policy, shared_), &loop_.mailbox());
  if (warm()) first_round_ = false;
  part_->update_cost.inc(UpdateCostStat::kHostSetsRebuilt);
  out.hosts = set_;
  out.removed = std::exchange(removed_, {});
  out.failed = std::exchange(failed_, {});
  return true;
}

void ClusterEntity::publishGauges() const {
  const ClusterMainStats& stats = part_->main_stats;
  stats.set(ClusterMainStat::kMembershipTotal, set_->hosts.size());
  stats.set(ClusterMainStat::kMembershipHealthy, set_->healthy);
  stats.set(ClusterMainStat::kMembershipDegraded, set_->degraded);
  stats.set(ClusterMainStat::kMembershipExcluded, set_->excluded);
  stats.set(ClusterMainStat::kMaxHostWeight, most_weight_);
  if (table_scope_ != nullptr) publishTable();
  if (!health_stats_) return;
  health_stats_.set(HealthStat::kHealthy, set_->healthy);
  health_stats_.set(HealthStat::kDegraded, set_->degraded);
}

// Of several priorities the last one's, as Envoy.
void ClusterEntity::publishTable() const {
  if (set_->levels.empty() || set_->levels.back().table == nullptr) return;
  const lb::HashTable::Counts& counts = set_->levels.back().table->counts();
  if (spec().hash_lb->kind == config::HashLbSpec::Kind::kMaglev) {
    const MaglevStats stats(table_scope_);
    stats.set(MaglevStat::kMaglevMaxEntries, counts.most);
    stats.set(MaglevStat::kMaglevMinEntries, counts.least);
    return;
  }
  const RingStats stats(table_scope_);
  stats.set(RingStat::kRingMaxHashes, counts.most);
  stats.set(RingStat::kRingMinHashes, counts.least);
  stats.set(RingStat::kRingSize, counts.size);
}

}  // namespace outrider::upstream
