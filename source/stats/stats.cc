#include "source/stats/stats.h"

#include <cmath>

namespace outrider::stats {

constinit thread_local uint32_t slot_of_thread = 0;

// ---- Histogram: bins of two significant digits, as circllhist has them: 90 a decade, and one for zero. ----

namespace {
constexpr size_t kBinsPerDecade = 90;
}

Histogram::Histogram() = default;
Histogram::~Histogram() {
  for (auto& decade : decades_) delete[] decade.load();
}

uint32_t Histogram::binOf(uint64_t value) {
  if (value == 0) return 0;
  // 1..9 are decade 0 with bins 10, 20, ... 90 tenths.
  uint32_t decade = 0;
  uint64_t scaled = value;
  while (scaled >= 100) {
    scaled /= 10;
    ++decade;
  }
  if (scaled < 10) return 1 + static_cast<uint32_t>((scaled - 1) * 10);
  return 1 + (decade + 1) * static_cast<uint32_t>(kBinsPerDecade) + static_cast<uint32_t>(scaled - 10);
}

double Histogram::binLow(uint32_t bin) {
  if (bin == 0) return 0;
  const uint32_t decade = (bin - 1) / kBinsPerDecade;
  const double mantissa = static_cast<double>((bin - 1) % kBinsPerDecade + 10) / 10.0;
  return mantissa * std::pow(10.0, decade);
}

double Histogram::binWidth(uint32_t bin) {
  if (bin == 0) return 0;
  return std::pow(10.0, (bin - 1) / kBinsPerDecade) / 10.0;
}

void Histogram::record(uint64_t value) {
  const uint32_t bin = binOf(value);
  count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  sum_.store(sum_.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
  if (bin == 0) return;  // the zero bin is count minus the others
  const size_t decade = (bin - 1) / kBinsPerDecade;
  if (decade >= kDecades) return;
  std::atomic<uint64_t>* bins = decades_[decade].load(std::memory_order_relaxed);
  if (bins == nullptr) {
    bins = new std::atomic<uint64_t>[kBinsPerDecade]();
    decades_[decade].store(bins, std::memory_order_release);
  }
  std::atomic<uint64_t>& cell = bins[(bin - 1) % kBinsPerDecade];
  cell.store(cell.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void Histogram::addTo(Sample& sample) const {
  const uint64_t count = count_.load(std::memory_order_relaxed);
  sample.count += count;
  sample.sum += static_cast<double>(sum_.load(std::memory_order_relaxed));
  uint64_t placed = 0;
  for (size_t decade = 0; decade < kDecades; ++decade) {
    const std::atomic<uint64_t>* bins = decades_[decade].load(std::memory_order_acquire);
    if (bins == nullptr) continue;
    for (size_t i = 0; i < kBinsPerDecade; ++i) {
      const uint64_t n = bins[i].load(std::memory_order_relaxed);
      if (n == 0) continue;
      sample.bins[1 + static_cast<uint32_t>(decade * kBinsPerDecade + i)] += n;
      placed += n;
    }
  }
  if (count > placed) sample.bins[0] += count - placed;
}

// ---- Scope ----

Scope::~Scope() {
  for (auto& slot : slots_) {
    std::atomic<uint64_t>* cells = slot.load(std::memory_order_relaxed);
    if (cells == nullptr) continue;
    for (size_t i = 0; i < table_.count; ++i) {
      if (table_.stats[i].kind == Kind::kHistogram) delete reinterpret_cast<Histogram*>(cells[i].load());
    }
    delete[] cells;
  }
}

std::atomic<uint64_t>* Scope::makeCells() {
  auto* cells = new std::atomic<uint64_t>[table_.count]();
  slots_[slot_of_thread].store(cells, std::memory_order_release);
  return cells;
}

Histogram& Scope::histogram(size_t index) {
  std::atomic<uint64_t>& cell = mine(index);
  auto* histogram = reinterpret_cast<Histogram*>(cell.load(std::memory_order_relaxed));
  if (histogram == nullptr) {
    histogram = new Histogram();
    cell.store(reinterpret_cast<uint64_t>(histogram), std::memory_order_release);
  }
  return *histogram;
}

Scope::Reading Scope::read(size_t index) const {
  Reading out;
  uint64_t sum = 0;
  for (const auto& slot : slots_) {
    const std::atomic<uint64_t>* cells = slot.load(std::memory_order_acquire);
    if (cells == nullptr) continue;
    const uint64_t raw = cells[index].load(std::memory_order_relaxed);
    out.used |= (raw & kUsed) != 0;
    sum += raw & ~kUsed;
  }
  // A gauge's decrements on one slot may meet its increments on another: 63-bit arithmetic, then back to a count.
  sum &= ~kUsed;
  if (table_.stats[index].kind == Kind::kGauge && (sum >> 62) != 0) sum = 0;
  out.value = sum;
  return out;
}

Histogram::Sample Scope::sample(size_t index) const {
  Histogram::Sample out;
  for (const auto& slot : slots_) {
    const std::atomic<uint64_t>* cells = slot.load(std::memory_order_acquire);
    if (cells == nullptr) continue;
    const auto* histogram = reinterpret_cast<const Histogram*>(cells[index].load(std::memory_order_acquire));
    if (histogram != nullptr) histogram->addTo(out);
  }
  return out;
}

void Scope::reset() {
  // Writers go on meanwhile: a reset is a request of an operator, and one increment may survive it.
  for (auto& slot : slots_) {
    std::atomic<uint64_t>* cells = slot.load(std::memory_order_acquire);
    if (cells == nullptr) continue;
    for (size_t i = 0; i < table_.count; ++i) {
      if (table_.stats[i].kind == Kind::kCounter) cells[i].store(0, std::memory_order_relaxed);
    }
  }
}

// ---- Series ----

Series::~Series() {
  for (Entry* at = first_.load(); at != nullptr;) {
    Entry* next = at->next;
    delete at;
    at = next;
  }
}

void Series::inc(std::string_view label, uint64_t by) {
  const auto find = [&](std::string_view wanted) {
    Entry* at = first_.load(std::memory_order_acquire);
    while (at != nullptr && at->label != wanted) at = at->next;
    return at;
  };
  Entry* entry = find(label);
  if (entry == nullptr) {
    const std::lock_guard lock(mutex_);
    if (count_ >= most_) label = "overflow";
    entry = find(label);
    if (entry == nullptr) {
      entry = new Entry{std::string(label), {}, first_.load(std::memory_order_relaxed)};
      first_.store(entry, std::memory_order_release);
      ++count_;
    }
  }
  entry->value.fetch_add(by, std::memory_order_relaxed);
}

void Series::forEach(const std::function<void(const std::string&, uint64_t)>& fn) const {
  for (const Entry* at = first_.load(std::memory_order_acquire); at != nullptr; at = at->next) {
    fn(prefix_ + at->label, at->value.load(std::memory_order_relaxed));
  }
}

void Series::reset() {
  for (Entry* at = first_.load(std::memory_order_acquire); at != nullptr; at = at->next) {
    at->value.store(0, std::memory_order_relaxed);
  }
}

// ---- Store ----

// Amortised: names that come and go (clusters of a busy control plane) leave nothing behind.
void Store::sweep() {
  if (scopes_.size() + series_.size() < sweep_at_) return;
  std::erase_if(scopes_, [](const auto& each) { return each.second.expired(); });
  std::erase_if(series_, [](const auto& each) { return each.second.expired(); });
  sweep_at_ = 2 * (scopes_.size() + series_.size()) + 1024;
}

ScopeRef Store::scope(std::string prefix, const Table& table) {
  const std::lock_guard lock(mutex_);
  sweep();
  std::weak_ptr<Scope>& slot = scopes_[{prefix, table.stats}];
  if (ScopeRef living = slot.lock()) return living;
  auto made = std::make_shared<Scope>(std::move(prefix), table);
  slot = made;
  return made;
}

SeriesRef Store::series(std::string prefix, size_t most) {
  const std::lock_guard lock(mutex_);
  sweep();
  std::weak_ptr<Series>& slot = series_[prefix];
  if (SeriesRef living = slot.lock()) return living;
  auto made = std::make_shared<Series>(std::move(prefix), most);
  slot = made;
  return made;
}

void Store::text(std::string name, std::function<std::string()> value) {
  const std::lock_guard lock(mutex_);
  texts_[std::move(name)] = std::move(value);
}

void Store::dropText(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  texts_.erase(name);
}

void Store::visit(const Visitor& visitor) const {
  std::vector<ScopeRef> scopes;
  std::vector<SeriesRef> series;
  std::map<std::string, std::function<std::string()>> texts;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, weak] : scopes_) {
      if (ScopeRef scope = weak.lock()) scopes.push_back(std::move(scope));
    }
    for (const auto& [key, weak] : series_) {
      if (SeriesRef each = weak.lock()) series.push_back(std::move(each));
    }
    texts = texts_;
  }
  for (const ScopeRef& scope : scopes) {
    for (size_t i = 0; i < scope->table().count; ++i) {
      const Stat& stat = scope->table().stats[i];
      const std::string name = scope->prefix() + std::string(stat.name);
      if (stat.kind == Kind::kHistogram) {
        if (visitor.histogram) visitor.histogram(name, scope->sample(i));
      } else if (visitor.number) {
        visitor.number(name, stat.kind, scope->read(i));
      }
    }
  }
  if (visitor.number) {
    for (const SeriesRef& each : series) {
      each->forEach([&](const std::string& name, uint64_t value) { visitor.number(name, Kind::kCounter, Scope::Reading{value, true}); });
    }
  }
  if (visitor.text) {
    for (const auto& [name, value] : texts) visitor.text(name, value());
  }
}

std::vector<Store::Member> Store::membersAfter(const std::string* after, size_t most) const {
  std::vector<Member> out;
  const std::lock_guard lock(mutex_);
  auto scope = after == nullptr ? scopes_.begin() : scopes_.upper_bound({*after, reinterpret_cast<const Stat*>(UINTPTR_MAX)});
  auto series = after == nullptr ? series_.begin() : series_.upper_bound(*after);
  while (scope != scopes_.end() || series != series_.end()) {
    const std::string& prefix =
        series == series_.end() || (scope != scopes_.end() && scope->first.first <= series->first) ? scope->first.first : series->first;
    if (out.size() >= most && out.back().prefix != prefix) break;
    if (scope != scopes_.end() && scope->first.first == prefix) {
      if (ScopeRef living = scope->second.lock()) out.push_back({prefix, std::move(living), nullptr});
      ++scope;
    } else {
      if (SeriesRef living = series->second.lock()) out.push_back({prefix, nullptr, std::move(living)});
      ++series;
    }
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> Store::texts() const {
  std::map<std::string, std::function<std::string()>> texts;
  {
    const std::lock_guard lock(mutex_);
    texts = texts_;
  }
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, value] : texts) out.emplace_back(name, value());
  return out;
}

void Store::resetCounters() {
  const std::lock_guard lock(mutex_);
  for (const auto& [key, weak] : scopes_) {
    if (const ScopeRef scope = weak.lock()) scope->reset();
  }
  for (const auto& [key, weak] : series_) {
    if (const SeriesRef each = weak.lock()) each->reset();
  }
}

}  // namespace outrider::stats
