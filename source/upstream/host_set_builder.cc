#include "source/upstream/host_set_builder.h"

#include <algorithm>
#include <map>

#include "source/upstream/lb/hash_table.h"

namespace outrider::upstream {
namespace {

constexpr uint32_t kScale = 65535;
constexpr uint32_t kMostPriorities = 128;  // as the API's rule says

struct Group {
  std::vector<const Member*> all, healthy, degraded;
  uint32_t weight = 0;  // of the locality
};

struct Level {
  std::map<uint32_t, Group> groups;               // by locality, in the endpoints' order
  uint64_t total = 0, healthy = 0, degraded = 0;  // what health is reckoned from: hosts, or their weights
  uint32_t hosts = 0, good = 0, excluded = 0;     // hosts
};

std::vector<uint16_t> scale(const std::vector<uint32_t>& weights) {
  if (weights.empty()) return {};
  const auto [least, most] = std::minmax_element(weights.begin(), weights.end());
  if (*least == *most) return {};
  std::vector<uint16_t> out;
  out.reserve(weights.size());
  for (const uint32_t weight : weights) {
    out.push_back(static_cast<uint16_t>(std::max<uint64_t>(1, uint64_t{weight} * kScale / *most)));
  }
  return out;
}

Choice choiceOf(const std::vector<const Member*>& members) {
  Choice out;
  out.hosts.reserve(members.size());
  bool equal = true;
  for (const Member* member : members) {
    out.hosts.push_back(member->host.get());
    out.total_weight += member->weight;
    equal = equal && member->weight == members[0]->weight;
  }
  if (equal) return out;
  std::vector<uint32_t> weights;
  weights.reserve(members.size());
  for (const Member* member : members) weights.push_back(member->weight);
  out.weights = scale(weights);
  return out;
}

// `pick` is the list of a group to choose from.
Candidates candidatesOf(const Level& level, std::vector<const Member*> Group::*pick, const HostSetPolicy& policy) {
  Candidates out;
  if (!policy.locality_weighted) {
    if (level.groups.size() == 1) {
      const std::vector<const Member*>& only = level.groups.begin()->second.*pick;
      if (!only.empty()) out.choices.push_back(choiceOf(only));
      return out;
    }
    std::vector<const Member*> merged;
    for (const auto& [index, group] : level.groups) merged.insert(merged.end(), (group.*pick).begin(), (group.*pick).end());
    if (!merged.empty()) out.choices.push_back(choiceOf(merged));
    return out;
  }
  std::vector<uint32_t> weights;
  for (const auto& [index, group] : level.groups) {
    const std::vector<const Member*>& members = group.*pick;
    if (members.empty() || group.weight == 0) continue;
    // A locality with enough usable hosts has its whole weight, one with less has its share.
    const double usable =
        std::min(1.0, static_cast<double>(members.size()) * policy.overprovisioning / 100.0 / static_cast<double>(group.all.size()));
    out.choices.push_back(choiceOf(members));
    weights.push_back(std::max(1u, static_cast<uint32_t>(group.weight * usable * 1000)));
  }
  if (out.choices.size() > 1) {
    out.weights = scale(weights);
    if (out.weights.empty()) out.weights.assign(out.choices.size(), kScale);
  }
  return out;
}

std::string keyOf(const Host& host, bool by_name) {
  if (!host.details().hash_key.empty()) return host.details().hash_key;
  return by_name && !host.hostname().empty() ? host.hostname() : host.address.str();
}

// All hosts of `pick`, each with its share of the traffic: of its locality's, where localities are weighted.
std::vector<lb::HashTable::Entry> sharesOf(const Level& level, std::vector<const Member*> Group::*pick, const HostSetPolicy& policy) {
  std::vector<lb::HashTable::Entry> out;
  uint64_t localities = 0;
  if (policy.locality_weighted) {
    for (const auto& [index, group] : level.groups) localities += group.weight;
  }
  const auto sum = [](const std::vector<const Member*>& members, uint64_t start) {
    for (const Member* member : members) start += member->weight;
    return start;
  };
  uint64_t total = 0;
  for (const auto& [index, group] : level.groups) total = sum(group.*pick, total);
  for (const auto& [index, group] : level.groups) {
    if (localities > 0 && group.weight == 0) continue;
    const double locality = localities == 0 ? 1 : static_cast<double>(group.weight) / static_cast<double>(localities);
    const uint64_t among = localities == 0 ? total : sum(group.*pick, 0);
    for (const Member* member : group.*pick) {
      const Host& host = *member->host;
      // In this order of the operations: tables depend on the last bit.
      out.push_back({&host, keyOf(host, policy.hash->use_hostname), member->weight * locality / static_cast<double>(among)});
    }
  }
  return out;
}

uint32_t availability(uint64_t part, uint64_t total, uint32_t overprovisioning) {
  return total == 0 ? 0 : static_cast<uint32_t>(std::min<uint64_t>(100, part * overprovisioning / total));
}

// Hands out `remaining` percent by availability; what rounding leaves goes to the first that has any.
void share(std::vector<uint32_t>& loads, const std::vector<uint32_t>& availabilities, uint32_t total, uint32_t& remaining) {
  for (size_t i = 0; i < availabilities.size(); ++i) {
    loads[i] = std::min(remaining, availabilities[i] * 100 / total);
    remaining -= loads[i];
  }
}

void setLoads(HostSet& out, const std::vector<Level>& levels, const HostSetPolicy& policy) {
  const size_t n = levels.size();
  std::vector<uint32_t> healthy(n), degraded(n), healthy_load(n), degraded_load(n);
  uint32_t sum = 0;
  for (size_t i = 0; i < n; ++i) {
    healthy[i] = availability(levels[i].healthy, levels[i].total, policy.overprovisioning);
    degraded[i] = availability(levels[i].degraded, levels[i].total, policy.overprovisioning);
    sum += healthy[i] + degraded[i];
  }
  const uint32_t total = std::min(100u, sum);
  if (total > 0) {
    uint32_t remaining = 100;
    share(healthy_load, healthy, total, remaining);
    share(degraded_load, degraded, total, remaining);
    for (size_t i = 0; i < n && remaining > 0; ++i) {
      if (healthy_load[i] > 0) {
        healthy_load[i] += remaining;
        remaining = 0;
      } else if (degraded_load[i] > 0) {
        degraded_load[i] += remaining;
        remaining = 0;
      }
    }
  }
  if (policy.panic_threshold <= 0 && total == 0) {
    healthy_load[0] = 100;
  } else {
    bool all_panic = true;
    uint64_t hosts = 0;
    for (size_t i = 0; i < n; ++i) {
      const uint32_t counted = levels[i].hosts - levels[i].excluded;
      const double percent = counted == 0 ? 0.0 : 100.0 * levels[i].good / counted;
      out.levels[i].panic = total < 100 && percent < policy.panic_threshold;
      all_panic = all_panic && out.levels[i].panic;
      hosts += levels[i].hosts;
    }
    if (all_panic) {
      // Nobody can be preferred: traffic goes by the number of hosts.
      std::fill(healthy_load.begin(), healthy_load.end(), 0);
      std::fill(degraded_load.begin(), degraded_load.end(), 0);
      uint32_t remaining = 100;
      size_t first = n;
      for (size_t i = 0; i < n && hosts > 0; ++i) {
        healthy_load[i] = static_cast<uint32_t>(uint64_t{100} * levels[i].hosts / hosts);
        remaining -= healthy_load[i];
        if (first == n && levels[i].hosts > 0) first = i;
      }
      healthy_load[first == n ? 0 : first] += remaining;
    }
  }
  for (size_t i = 0; i < n; ++i) {
    out.levels[i].healthy_load = static_cast<uint8_t>(healthy_load[i]);
    out.levels[i].degraded_load = static_cast<uint8_t>(degraded_load[i]);
    out.levels[i].healthy_part = static_cast<uint8_t>(healthy[i]);
    out.levels[i].degraded_part = static_cast<uint8_t>(degraded[i]);
  }
}

}  // namespace

std::unique_ptr<HostSet> buildHostSet(std::vector<Member> members, const std::vector<uint32_t>& locality_weights,
                                      const HostSetPolicy& policy, std::shared_ptr<LbShared> shared) {
  auto out = std::make_unique<HostSet>();
  out->shared = std::move(shared);
  uint32_t count = 1;
  for (const Member& member : members) count = std::max(count, std::min(member.priority, kMostPriorities) + 1);
  std::vector<Level> levels(count);
  if (count > 1) out->priority_of.reserve(members.size());
  Group* last = nullptr;  // most stand beside others of their locality
  uint32_t last_priority = 0, last_locality = 0;
  for (const Member& member : members) {
    const uint32_t priority = std::min(member.priority, kMostPriorities);
    Level& level = levels[priority];
    if (last == nullptr || last_priority != priority || last_locality != member.locality) {
      last = &level.groups[member.locality];
      last->weight = member.locality < locality_weights.size() ? locality_weights[member.locality] : 0;
      last_priority = priority;
      last_locality = member.locality;
    }
    Group& group = *last;
    const uint64_t unit = policy.weighted_priority_health ? member.weight : 1;
    group.all.push_back(&member);
    if (count > 1) out->priority_of.push_back(priority);
    ++level.hosts;
    const uint32_t flags = member.host->load.health.load(std::memory_order_relaxed);
    const bool excluded = (flags & (bit(HealthFlag::kPendingActive) | bit(HealthFlag::kEdsDraining))) != 0;
    if (excluded) {
      ++level.excluded;
      ++out->excluded;
    } else {
      level.total += unit;
    }
    switch (healthOf(flags)) {
      case Health::kHealthy:
        group.healthy.push_back(&member);
        level.healthy += unit;
        ++level.good;
        ++out->healthy;
        if (excluded) level.total += unit;
        break;
      case Health::kDegraded:
        group.degraded.push_back(&member);
        level.degraded += unit;
        ++level.good;
        ++out->degraded;
        if (excluded) level.total += unit;
        break;
      case Health::kUnhealthy: break;
    }
  }
  out->levels.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    out->levels[i].host_count = levels[i].hosts;
    out->levels[i].healthy = candidatesOf(levels[i], &Group::healthy, policy);
    out->levels[i].degraded = candidatesOf(levels[i], &Group::degraded, policy);
    const bool all_healthy = std::all_of(levels[i].groups.begin(), levels[i].groups.end(),
                                         [](const auto& group) { return group.second.healthy.size() == group.second.all.size(); });
    if (!all_healthy) out->levels[i].any = candidatesOf(levels[i], &Group::all, policy);
  }
  setLoads(*out, levels, policy);
  for (uint32_t i = 0; policy.hash != nullptr && i < count; ++i) {
    const auto pick = out->levels[i].panic ? &Group::all : &Group::healthy;
    out->levels[i].table = lb::makeHashTable(*policy.hash, sharesOf(levels[i], pick, policy));
  }
  out->hosts.reserve(members.size());
  for (Member& member : members) out->hosts.push_back(std::move(member.host));
  return out;
}

}  // namespace outrider::upstream
