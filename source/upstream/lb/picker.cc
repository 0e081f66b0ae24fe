#include "source/upstream/lb/picker.h"

#include <algorithm>

#include "source/upstream/lb/hash_table.h"

namespace outrider::upstream::lb {
namespace {

uint32_t scaled(uint64_t random, uint32_t bound) { return static_cast<uint32_t>((static_cast<unsigned __int128>(random) * bound) >> 64); }

uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  return x;
}

// Weighted round robin without state: the n-th turn of a static stride over weights scaled to 16 bits. O(1) expected.
size_t stride(const std::vector<uint16_t>& weights, base::shared::Cursor& cursor) {
  while (true) {
    const uint64_t turn = cursor.take();
    const uint64_t index = turn % weights.size();
    const uint64_t generation = turn / weights.size();
    const uint64_t weight = weights[index];
    // A host is taken in `weight` of 65535 generations, evenly spread; the offset keeps hosts apart.
    const uint64_t offset = (index * 32767) & 0xffff;
    if ((generation * weight + offset) % 65535 >= 65535 - weight) return index;
  }
}

const Host* fromChoice(const Choice& choice, const PickPolicy& policy, base::shared::Cursor& cursor, uint64_t random) {
  const size_t n = choice.hosts.size();
  if (n == 0) return nullptr;
  if (n == 1) return choice.hosts[0];
  switch (policy.kind) {
    case config::LbKind::kRoundRobin:
      return choice.weights.empty() ? choice.hosts[cursor.take() % n] : choice.hosts[stride(choice.weights, cursor)];
    case config::LbKind::kHash:      // its table has chosen
    case config::LbKind::kProvided:  // its hosts are found otherwise
    case config::LbKind::kRandom:
      if (!choice.weights.empty()) {
        for (int tries = 0; tries < 64; ++tries) {
          const uint32_t index = scaled(random, static_cast<uint32_t>(n));
          random = mix(random + 1);
          if (scaled(random, 65535) < choice.weights[index]) return choice.hosts[index];
          random = mix(random + 2);
        }
      }
      return choice.hosts[scaled(random, static_cast<uint32_t>(n))];
    case config::LbKind::kLeastRequest: {
      const Host* best = nullptr;
      double best_load = 0;
      for (uint32_t i = 0; i < policy.choice_count; ++i) {
        const uint32_t index = scaled(random, static_cast<uint32_t>(n));
        random = mix(random + i + 1);
        const Host* host = choice.hosts[index];
        const double weight = choice.weights.empty() ? 1.0 : choice.weights[index];
        const double load = (host->load.active.load(std::memory_order_relaxed) + 1) / weight;
        if (best == nullptr || load < best_load) {
          best = host;
          best_load = load;
        }
      }
      return best;
    }
  }
  return nullptr;
}

const Host* fromCandidates(const Candidates& candidates, const PickPolicy& policy, LbShared& shared, size_t priority, uint64_t random) {
  if (candidates.empty()) return nullptr;
  const size_t slot = std::min(priority, LbShared::kPriorities - 1);
  size_t index = 0;
  if (candidates.choices.size() > 1 && !candidates.weights.empty()) index = stride(candidates.weights, shared.locality_cursor[slot]);
  return fromChoice(candidates.choices[index], policy, shared.host_cursor[slot], random);
}

// Which priority, and whether its healthy or its degraded hosts. Loads add up to 100, and so does what `ticket` counts in: below 100.
size_t levelOf(const HostSet& set, uint32_t ticket, bool& degraded) {
  for (const bool second : {false, true}) {
    for (size_t i = 0; i < set.levels.size(); ++i) {
      const uint32_t load = second ? set.levels[i].degraded_load : set.levels[i].healthy_load;
      if (ticket < load) {
        degraded = second;
        return i;
      }
      ticket -= load;
    }
  }
  degraded = false;
  return 0;
}

// The same with what priorities that are not avoided could serve; none of them can: as if none were avoided.
size_t levelAvoiding(const HostSet& set, const RetryChoice& retry, uint32_t ticket, bool& degraded) {
  const auto part = [&](size_t level, bool second) -> uint32_t {
    if (level < 64 && (retry.avoid_priorities >> level & 1) != 0) return 0;
    return second ? set.levels[level].degraded_part : set.levels[level].healthy_part;
  };
  uint32_t total = 0;
  for (size_t i = 0; i < set.levels.size(); ++i) total += part(i, false) + part(i, true);
  total = std::min(total, 100u);
  if (total == 0) {
    retry.none_left = true;
    return levelOf(set, ticket, degraded);
  }
  // What rounding leaves goes round again, from the first on.
  uint32_t left = 100;
  while (true) {
    for (const bool second : {false, true}) {
      for (size_t i = 0; i < set.levels.size(); ++i) {
        const uint32_t load = std::min(left, part(i, second) * 100 / total);
        if (ticket < load) {
          degraded = second;
          return i;
        }
        ticket -= load;
        left -= load;
      }
    }
  }
}

// A request without a hash goes anywhere.
const Host* byHash(const HostSet& set, const LbContext& context, uint64_t random, bool& panic) {
  const uint64_t hash = context.hash.value_or(random);
  bool degraded = false;
  context.priority = static_cast<uint32_t>(levelOf(set, static_cast<uint32_t>(hash % 100), degraded));
  const PriorityLevel& level = set.levels[context.priority];
  panic = level.panic;
  const Host* host = nullptr;
  const uint32_t tries = context.retry == nullptr ? 1 : std::max(1u, context.retry->most_picks);
  for (uint32_t attempt = 0; attempt < tries; ++attempt) {
    host = level.table->at(hash, attempt);
    if (host == nullptr || context.retry == nullptr || !context.retry->turnsDown(*host)) break;
  }
  return host;
}

const Host* fromLevel(const HostSet& set, size_t level, bool degraded, const PickPolicy& policy, uint64_t random, bool& panic) {
  const PriorityLevel& chosen = set.levels[level];
  panic = chosen.panic;
  return fromCandidates(chosen.panic ? chosen.all() : degraded ? chosen.degraded : chosen.healthy, policy, *set.shared, level, random);
}

// For a retry: until a host is not turned down.
const Host* again(const HostSet& set, const PickPolicy& policy, const LbContext& context, uint64_t random_a, uint64_t random_b,
                  bool& panic) {
  const RetryChoice& retry = *context.retry;
  const Host* host = nullptr;
  for (uint32_t attempt = 0; attempt < std::max(1u, retry.most_picks); ++attempt) {
    bool degraded = false;
    const uint32_t ticket = scaled(random_a, 100);
    const size_t level = retry.avoid_priorities != 0 ? levelAvoiding(set, retry, ticket, degraded) : levelOf(set, ticket, degraded);
    context.priority = static_cast<uint32_t>(level);
    host = fromLevel(set, level, degraded, policy, random_b, panic);
    if (host == nullptr || !retry.turnsDown(*host)) break;
    random_a = mix(random_a + 1);
    random_b = mix(random_b + 1);
  }
  return host;
}

}  // namespace

bool RetryChoice::turnsDown(const Host& host) const {
  if (std::find(avoid, avoid + avoid_count, &host) != avoid + avoid_count) return true;
  if (avoid_canaries && host.details().canary) return true;
  if (avoid_labels == nullptr || avoid_labels->empty()) return false;
  const config::Labels& has = host.details().lb_labels;
  return std::all_of(avoid_labels->begin(), avoid_labels->end(),
                     [&](const auto& label) { return std::find(has.begin(), has.end(), label) != has.end(); });
}

const Host* pick(const HostSet& set, const PickPolicy& policy, const LbContext& context, uint64_t random_a, uint64_t random_b,
                 bool& panic) {
  panic = false;
  if (set.levels.empty()) return nullptr;
  if (policy.kind == config::LbKind::kHash) return byHash(set, context, random_a, panic);
  if (context.retry != nullptr) return again(set, policy, context, random_a, random_b, panic);
  size_t level = 0;
  bool degraded = false;
  if (set.levels.size() > 1 || set.levels[0].healthy_load != 100) level = levelOf(set, scaled(random_a, 100), degraded);
  context.priority = static_cast<uint32_t>(level);
  return fromLevel(set, level, degraded, policy, random_b, panic);
}

}  // namespace outrider::upstream::lb
