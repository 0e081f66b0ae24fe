#include "source/upstream/lb/hash_table.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include "source/base/hash64.h"

namespace outrider::upstream::lb {
namespace {

using Entries = std::vector<HashTable::Entry>;

// Each host has points on a circle of 64-bit numbers; a hash belongs to the next point.
class Ring final : public HashTable {
 public:
  Ring(const config::HashLbSpec& spec, const Entries& entries) : HashTable(spec.balance_factor) {
    if (entries.empty()) return;
    double least = 1;
    for (const Entry& entry : entries) least = std::min(least, entry.share);
    // As many points as give the host with the least share a whole number of them.
    const double scale =
        std::min(std::ceil(least * static_cast<double>(spec.min_ring_size)) / least, static_cast<double>(spec.max_ring_size));
    counts_.size = static_cast<uint64_t>(std::ceil(scale));
    counts_.least = counts_.size;
    points_.reserve(counts_.size);
    std::string key;
    double made = 0, wanted = 0;
    for (uint32_t host = 0; host < entries.size(); ++host) {
      hosts_.push_back(entries[host].host);
      key = entries[host].key;
      key += '_';
      const size_t stem = key.size();
      wanted += scale * entries[host].share;
      uint64_t points = 0;
      for (; made < wanted; ++points, ++made) {
        key.resize(stem);
        key += std::to_string(points);
        points_.push_back({spec.murmur ? base::murmurHash2(key) : base::xxHash64(key), host});
      }
      counts_.least = std::min(counts_.least, points);
      counts_.most = std::max(counts_.most, points);
    }
    std::sort(points_.begin(), points_.end(), [](const Point& a, const Point& b) { return a.hash < b.hash; });
  }

 private:
  struct Point {
    uint64_t hash;
    uint32_t host;
  };

  const Host* find(uint64_t hash, uint32_t attempt) const override {
    if (points_.empty()) return nullptr;
    const auto next = std::lower_bound(points_.begin(), points_.end(), hash, [](const Point& p, uint64_t h) { return p.hash < h; });
    const size_t index = next == points_.end() ? 0 : static_cast<size_t>(next - points_.begin());
    return hosts_[points_[(index + attempt) % points_.size()].host];
  }

  std::vector<const Host*> hosts_;
  std::vector<Point> points_;
};

// Hosts take free slots of a table of prime size in turns, each in an order of its own.
class Maglev final : public HashTable {
 public:
  Maglev(const config::HashLbSpec& spec, const Entries& entries) : HashTable(spec.balance_factor) {
    const uint64_t size = spec.table_size;
    if (entries.empty()) return;
    counts_.size = size;
    struct Builder {
      uint32_t host;
      uint64_t offset, skip, next = 0, count = 0;
      double share, target = 0;
    };
    // By key, so that the order in which hosts came does not matter.
    std::vector<uint32_t> order(entries.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return entries[a].key < entries[b].key; });
    std::vector<Builder> builders;
    builders.reserve(entries.size());
    double most = 0;
    for (const uint32_t index : order) {
      const Entry& entry = entries[index];
      builders.push_back({.host = static_cast<uint32_t>(builders.size()),
                          .offset = base::xxHash64(entry.key) % size,
                          .skip = base::xxHash64(entry.key, 1) % (size - 1) + 1,
                          .share = entry.share});
      hosts_.push_back(entry.host);
      most = std::max(most, entry.share);
    }
    constexpr uint32_t kFree = UINT32_MAX;
    std::vector<uint32_t> table(size, kFree);
    uint64_t filled = 0;
    for (uint32_t round = 1; filled < size; ++round) {
      for (Builder& each : builders) {
        if (filled == size) break;
        if (round * each.share < each.target) continue;  // a host of half the share comes in every other round
        each.target += most;
        uint64_t slot;
        do {
          slot = (each.offset + each.skip * each.next++) % size;
        } while (table[slot] != kFree);
        table[slot] = each.host;
        ++each.count;
        ++filled;
      }
    }
    counts_.least = size;
    for (const Builder& each : builders) {
      counts_.least = std::min(counts_.least, each.count);
      counts_.most = std::max(counts_.most, each.count);
    }
    if (hosts_.size() <= UINT16_MAX) {
      small_.assign(table.begin(), table.end());
    } else {
      large_ = std::move(table);
    }
  }

 private:
  const Host* find(uint64_t hash, uint32_t attempt) const override {
    if (hosts_.empty()) return nullptr;
    if (attempt > 0) hash ^= ~uint64_t{0} - attempt + 1;  // far from the first, and from each other
    return hosts_[small_.empty() ? large_[hash % large_.size()] : small_[hash % small_.size()]];
  }

  std::vector<const Host*> hosts_;
  std::vector<uint16_t> small_;  // the table: indices into hosts_
  std::vector<uint32_t> large_;  // or this, of more hosts than two bytes can name
};

}  // namespace

const Host* HashTable::at(uint64_t hash, uint32_t attempt) const {
  const Host* host = find(hash, attempt);
  return host == nullptr || balance_factor_ == 0 ? host : bounded(*host, hash);
}

// Consistent hashing with bounded loads: who has more than `balance_factor_` percent of its share of what is under way passes the
// request on, in an order that the hash alone decides.
const Host* HashTable::bounded(const Host& first, uint64_t hash) const {
  uint64_t all = 0;
  for (const Share& each : shares_) all += each.host->load.active.load(std::memory_order_relaxed);
  const uint64_t slots = ((all + 1) * balance_factor_ + 99) / 100;
  const auto fullness = [&](const Share& each) {
    const double most = std::max(1.0, std::ceil(static_cast<double>(slots) * each.share));
    return each.host->load.active.load(std::memory_order_relaxed) / most;
  };
  const auto own = std::find_if(shares_.begin(), shares_.end(), [&](const Share& each) { return each.host == &first; });
  double least = fullness(*own);
  if (least <= 1) return &first;
  const Host* best = &first;
  std::mt19937 random(static_cast<uint32_t>(hash));
  const auto below = [&random](uint32_t bound) {
    uint32_t drawn = bound;
    while (drawn >= bound) drawn = static_cast<uint32_t>(random() / ((uint64_t{std::mt19937::max()} + 1) / bound));
    return drawn;
  };
  std::vector<uint32_t> order(shares_.size());
  std::iota(order.begin(), order.end(), 0);
  for (uint32_t i = 0; i < order.size(); ++i) {
    std::swap(order[i], order[i + below(static_cast<uint32_t>(order.size()) - i)]);
    const Share& each = shares_[order[i]];
    if (each.host == &first) continue;
    const double full = fullness(each);
    if (full <= 1) return each.host;
    if (full < least) {
      least = full;
      best = each.host;
    }
  }
  return best;
}

std::unique_ptr<const HashTable> makeHashTable(const config::HashLbSpec& spec, const Entries& entries) {
  std::unique_ptr<HashTable> out;
  if (spec.kind == config::HashLbSpec::Kind::kRing) {
    out = std::make_unique<Ring>(spec, entries);
  } else {
    out = std::make_unique<Maglev>(spec, entries);
  }
  if (spec.balance_factor > 0) {
    for (const HashTable::Entry& entry : entries) out->shares_.push_back({entry.host, entry.share});
  }
  return out;
}

}  // namespace outrider::upstream::lb
