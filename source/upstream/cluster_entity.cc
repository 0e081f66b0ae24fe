#include "source/upstream/cluster_entity.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/base/log.h"

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

// Is the object of the old host good for the new endpoint? Weight, priority and health are not part of it.
bool sameHost(const Host& host, const config::LocalityEndpoints& locality, const config::EndpointSpec& endpoint) {
  return host.hostname == endpoint.hostname && host.metadata == endpoint.metadata && host.region == locality.region &&
         host.zone == locality.zone && host.sub_zone == locality.sub_zone && host.endpoint.check_port == endpoint.check_port &&
         host.endpoint.check_hostname == endpoint.check_hostname && host.endpoint.check_disabled == endpoint.check_disabled;
}

std::shared_ptr<Host> makeHost(const config::LocalityEndpoints& locality, const config::EndpointSpec& endpoint,
                               const base::Address& address) {
  auto host = std::make_shared<Host>();
  host->address = address;
  host->address_text = address.str();
  host->hostname = endpoint.hostname;
  host->region = locality.region;
  host->zone = locality.zone;
  host->sub_zone = locality.sub_zone;
  host->metadata = endpoint.metadata;
  host->endpoint = endpoint;
  return host;
}

}  // namespace

ClusterEntity::ClusterEntity(event::Loop& loop, stats::Store& stats, EntityOwner& owner, ClusterPartRef part, ClusterEntity* before)
    : loop_(loop), stats_(stats), owner_(owner), part_(std::move(part)), shared_(std::make_shared<LbShared>()) {
  if (checked()) {
    health_stats_ = HealthStats(stats_.scope(absl::StrCat(base::toAbsl(part_->stats.scope()->prefix()), "health_check."), kHealthTable));
  }
  if (before == nullptr) return;
  shared_ = before->shared_;
  // Flags of active checks only mean the same when the checks are the same.
  if (before->spec().health_checks == spec().health_checks) {
    for (const auto& [key, entry] : before->entries_) inherited_.emplace(key, entry.host);
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
      endpoints_ = spec().endpoints;
      known_ = true;
      refreshHosts();
      break;
    case config::Discovery::kStrictDns:
    case config::Discovery::kLogicalDns:
      endpoints_ = spec().endpoints;
      resolveNames();
      break;
    case config::Discovery::kEds: break;
  }
  mark();
}

void ClusterEntity::setEndpoints(const config::EndpointsSpec& endpoints) {
  if (answered_ && endpoints == endpoints_) {
    part_->stats.inc(ClusterStat::kUpdateNoRebuild);
    return;
  }
  takeEndpoints(endpoints);
}

void ClusterEntity::takeEndpoints(const config::EndpointsSpec& endpoints) {
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
  for (size_t l = 0; l < endpoints_.localities.size(); ++l) {
    const config::LocalityEndpoints& locality = endpoints_.localities[l];
    for (size_t e = 0; e < locality.endpoints.size(); ++e) {
      if (locality.endpoints[e].address.valid()) continue;
      auto name = std::make_unique<Name>();
      name->locality = l;
      name->endpoint = e;
      name->query = std::make_unique<dns::Query>(*resolver_, *this, locality.endpoints[e].name);
      names_.push_back(std::move(name));
    }
  }
  known_ = names_.empty();
  refreshHosts();
  for (const auto& name : names_) {
    part_->stats.inc(ClusterStat::kUpdateAttempt);
    name->query->start();
  }
}

void ClusterEntity::onAnswer(dns::Query& query, const dns::Answer& answer) {
  bool all = true;
  for (const auto& name : names_) {
    if (name->query.get() == &query) {
      name->answered = true;
      if (answer.ok) {
        part_->stats.inc(ClusterStat::kUpdateSuccess);
        std::vector<base::Address> addresses = answer.addresses;
        if (spec().discovery == config::Discovery::kLogicalDns && addresses.size() > 1) {
          // One address at a time; the one in use stays as long as DNS still names it.
          if (!name->addresses.empty() && std::find(addresses.begin(), addresses.end(), name->addresses[0]) != addresses.end()) {
            addresses[0] = name->addresses[0];
          }
          addresses.resize(1);
        }
        std::sort(addresses.begin(), addresses.end(), [](const auto& a, const auto& b) { return a.ipBytes() < b.ipBytes(); });
        if (addresses.empty()) part_->stats.inc(ClusterStat::kUpdateEmpty);
        if (addresses != name->addresses) {
          name->addresses = std::move(addresses);
          refreshHosts();
        } else {
          part_->stats.inc(ClusterStat::kUpdateNoRebuild);
        }
      } else {
        part_->stats.inc(ClusterStat::kUpdateFailure);
      }
    }
    all = all && name->answered;
  }
  if (all && !known_) known_ = true;
  mark();
}

// ---- hosts ----

void ClusterEntity::put(const config::LocalityEndpoints& locality, uint32_t locality_index, const config::EndpointSpec& endpoint,
                        const base::Address& address) {
  std::string key = address.str();
  Entry& entry = entries_[key];
  if (entry.seen) return;  // a second endpoint of the same address: the first holds
  entry.seen = true;
  entry.priority = locality.priority;
  entry.weight = endpoint.weight;
  entry.locality = locality_index;
  if (entry.host == nullptr || !sameHost(*entry.host, locality, endpoint)) {
    std::shared_ptr<Host> host;
    if (const auto it = inherited_.find(key);
        entry.host == nullptr && it != inherited_.end() && sameHost(*it->second, locality, endpoint)) {
      host = it->second;
    }
    const bool taken_over = host != nullptr;
    if (!taken_over) host = makeHost(locality, endpoint, address);
    bool healthy = taken_over && !host->has(HealthFlag::kFailedActive);
    if (entry.host != nullptr) {
      // The same server under a new description: what its checks found still holds.
      host->load.health.store(entry.host->load.health.load(std::memory_order_relaxed), std::memory_order_relaxed);
      healthy = !entry.host->has(HealthFlag::kFailedActive);
      removed_.push_back(entry.host);
      if (entry.checker != nullptr && !entry.checker->firstDone()) --unchecked_;
      entry.checker.reset();
    } else if (checked() && !endpoint.check_disabled && !taken_over) {
      host->load.health.fetch_or(bit(HealthFlag::kFailedActive), std::memory_order_relaxed);
      if (spec().ignore_new_hosts_until_first_check) {
        host->load.health.fetch_or(bit(HealthFlag::kPendingActive), std::memory_order_relaxed);
      }
    }
    const bool fresh = entry.host == nullptr && !taken_over;
    entry.host = std::move(host);
    if (checked() && !endpoint.check_disabled) {
      entry.checker = std::make_unique<health::Checker>(loop_, *part_, spec().health_checks[0], *entry.host, health_stats_, *this, healthy);
      if (fresh && first_round_) ++unchecked_;
      entry.checker->start();
    }
  }
  entry.leaving = false;
  entry.host->weight.store(endpoint.weight, std::memory_order_relaxed);
  const uint32_t before = entry.host->load.health.load(std::memory_order_relaxed);
  const uint32_t after = (before & ~kEdsFlags & ~bit(HealthFlag::kPendingRemoval)) | edsFlags(endpoint.health);
  if (after != before) entry.host->load.health.store(after, std::memory_order_relaxed);
  order_.push_back(std::move(key));
}

void ClusterEntity::refreshHosts() {
  order_.clear();
  locality_weights_.clear();
  for (auto& [key, entry] : entries_) entry.seen = false;
  for (size_t l = 0; l < endpoints_.localities.size(); ++l) {
    const config::LocalityEndpoints& locality = endpoints_.localities[l];
    locality_weights_.push_back(locality.weight);
    for (size_t e = 0; e < locality.endpoints.size(); ++e) {
      const config::EndpointSpec& endpoint = locality.endpoints[e];
      if (endpoint.address.valid()) {
        put(locality, static_cast<uint32_t>(l), endpoint, endpoint.address);
        continue;
      }
      for (const auto& name : names_) {
        if (name->locality != l || name->endpoint != e) continue;
        for (const base::Address& address : name->addresses) {
          put(locality, static_cast<uint32_t>(l), endpoint, address.withPort(endpoint.port));
        }
      }
    }
  }
  inherited_.clear();
  bool changed = false;
  for (auto it = entries_.begin(); it != entries_.end();) {
    Entry& entry = it->second;
    if (entry.seen) {
      ++it;
      continue;
    }
    changed = true;
    // Discovery and checks must both give a host up, unless the config says that discovery alone decides.
    if (entry.checker != nullptr && !spec().ignore_health_on_removal && !entry.host->has(HealthFlag::kFailedActive)) {
      entry.leaving = true;
      entry.host->load.health.fetch_or(bit(HealthFlag::kPendingRemoval), std::memory_order_relaxed);
      order_.push_back(it->first);
      ++it;
      continue;
    }
    if (entry.checker != nullptr && !entry.checker->firstDone() && first_round_ && unchecked_ > 0) --unchecked_;
    removed_.push_back(entry.host);
    entries_.erase(it++);
  }
  if (changed || order_.size() != (set_ == nullptr ? 0 : set_->hosts.size())) part_->stats.inc(ClusterStat::kMembershipChange);
}

void ClusterEntity::onChecked(health::Checker& checker, const Host& host, bool healthy, bool) {
  const auto it = entries_.find(host.address_text);
  if (it == entries_.end() || it->second.checker.get() != &checker) return;
  Entry& entry = it->second;
  if (first_round_ && unchecked_ > 0) {
    unchecked_ = static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& each) {
      return each.second.checker != nullptr && !each.second.checker->firstDone();
    }));
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
    OUTRIDER_LOG(kInfo, kHealth, "cluster %s: host %s is unhealthy", part_->name.c_str(), host.address_text.c_str());
    if (spec().close_on_health_failure) failed_.push_back(entry.host);
  }
  mark();
}

void ClusterEntity::setFlag(const Host& host, HealthFlag flag, bool on) {
  const auto it = entries_.find(host.address_text);
  if (it == entries_.end() || it->second.host.get() != &host || host.has(flag) == on) return;
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
  for (size_t i = 0; i < order_.size();) {
    const auto it = entries_.find(order_[i]);
    if (it->second.leaving && it->second.host->has(HealthFlag::kFailedActive)) {
      removed_.push_back(it->second.host);
      entries_.erase(it);
      order_.erase(order_.begin() + static_cast<ptrdiff_t>(i));
      part_->stats.inc(ClusterStat::kMembershipChange);
    } else {
      ++i;
    }
  }
  std::vector<Member> members;
  members.reserve(order_.size());
  most_weight_ = 0;
  for (const std::string& key : order_) {
    const Entry& entry = entries_.at(key);
    members.push_back({entry.host, entry.priority, entry.weight, entry.locality});
    most_weight_ = std::max(most_weight_, entry.weight);
  }
  HostSetPolicy policy;
  policy.locality_weighted = spec().locality_weighted;
  policy.panic_threshold = spec().panic_threshold;
  policy.overprovisioning = endpoints_.overprovisioning_factor;
  policy.weighted_priority_health = endpoints_.weighted_priority_health;
  set_ = returnToMain(buildHostSet(members, locality_weights_, policy, shared_), &loop_.mailbox());
  if (warm()) first_round_ = false;
  part_->update_cost.inc(UpdateCostStat::kHostSetsRebuilt);
  out.hosts = set_;
  out.removed = std::exchange(removed_, {});
  out.failed = std::exchange(failed_, {});
  return true;
}

void ClusterEntity::publishGauges() const {
  const ClusterStats& stats = part_->stats;
  stats.set(ClusterStat::kMembershipTotal, set_->hosts.size());
  stats.set(ClusterStat::kMembershipHealthy, set_->healthy);
  stats.set(ClusterStat::kMembershipDegraded, set_->degraded);
  stats.set(ClusterStat::kMembershipExcluded, set_->excluded);
  stats.set(ClusterStat::kMaxHostWeight, most_weight_);
  if (!health_stats_) return;
  health_stats_.set(HealthStat::kHealthy, set_->healthy);
  health_stats_.set(HealthStat::kDegraded, set_->degraded);
}

}  // namespace outrider::upstream
