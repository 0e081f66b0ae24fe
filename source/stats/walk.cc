#include "source/stats/walk.h"

#include <algorithm>

namespace outrider::stats {
namespace {

constexpr size_t kAhead = 64;
// A group ends here even if more names belong to it (a cluster "a" beside "a.1" to "a.9999"): their order then is only nearly
// that of names, and no step takes long.
constexpr size_t kMostItems = 4096;

// Two tables may hold one counter's name: an EDS cluster and its subscription both count `cluster.<name>.update_attempt`.
// To a reader it is one counter.
void addUpTwins(std::vector<Item>& items, size_t from) {
  size_t kept = from;
  for (size_t i = from; i < items.size(); ++i) {
    Item& item = items[i];
    if (kept > from && item.kind == Kind::kCounter && items[kept - 1].kind == Kind::kCounter && items[kept - 1].name == item.name) {
      items[kept - 1].value += item.value;
      items[kept - 1].used |= item.used;
      continue;
    }
    if (kept != i) items[kept] = std::move(item);
    ++kept;
  }
  items.resize(kept);
}

}  // namespace

const Store::Member* Walk::peek() {
  if (at_ == ahead_.size()) {
    ahead_ = store_->membersAfter(last_.has_value() ? &*last_ : nullptr, kAhead);
    at_ = 0;
    if (ahead_.empty()) return nullptr;
    last_ = ahead_.back().prefix;
  }
  return &ahead_[at_];
}

void Walk::take(const Store::Member& member, std::vector<Item>& out) const {
  const bool histograms = want_ == Want::kHistograms;
  if (member.series != nullptr) {
    if (histograms) return;
    member.series->forEach([&](const std::string& name, uint64_t value) {
      out.push_back({name, Kind::kCounter, value, true, nullptr, 0});
    });
    return;
  }
  const Table& table = member.scope->table();
  for (size_t i = 0; i < table.count; ++i) {
    if ((table.stats[i].kind == Kind::kHistogram) != histograms) continue;
    Item item;
    item.name.reserve(member.prefix.size() + table.stats[i].name.size());
    item.name.append(member.prefix).append(table.stats[i].name);
    item.kind = table.stats[i].kind;
    if (item.kind == Kind::kHistogram) {
      item.scope = member.scope;
      item.index = i;
      item.used = member.scope->sample(i).count > 0;
    } else {
      const Scope::Reading reading = member.scope->read(i);
      item.value = reading.value;
      item.used = reading.used;
    }
    out.push_back(std::move(item));
  }
}

// Prefixes that begin with the first one's come right after it; whatever comes then sorts after all of their names.
bool Walk::next(std::vector<Item>& out) {
  const Store::Member* first = peek();
  if (first == nullptr) return false;
  const std::string root = first->prefix;
  const size_t before = out.size();
  for (const Store::Member* at = first; at != nullptr && at->prefix.compare(0, root.size(), root) == 0 && out.size() - before < kMostItems;
       at = peek()) {
    take(*at, out);
    ++at_;
  }
  std::sort(out.begin() + static_cast<ptrdiff_t>(before), out.end(), [](const Item& a, const Item& b) { return a.name < b.name; });
  addUpTwins(out, before);
  return true;
}

}  // namespace outrider::stats
