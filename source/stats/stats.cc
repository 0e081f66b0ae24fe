#include "source/stats/stats.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "source/base/check.h"

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

// The living scopes of a store by prefix and table; outlives the store for as long as they do.
struct Scope::Index {
  struct Key {
    std::string_view prefix;
    const Stat* table;  // null: before, kLast: behind all tables of the prefix
  };
  static inline const Stat* const kLast = reinterpret_cast<const Stat*>(UINTPTR_MAX);
  struct Less {
    using is_transparent = void;
    static Key keyOf(const Scope* scope) { return {scope->prefix(), scope->table().stats}; }
    static Key keyOf(const Key& key) { return key; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      const Key left = keyOf(a), right = keyOf(b);
      const int order = left.prefix.compare(right.prefix);
      return order != 0 ? order < 0 : std::less<const Stat*>()(left.table, right.table);
    }
  };

  explicit Index(uint32_t count) : slots(count) {}
  void unref() {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  const uint32_t slots;
  std::atomic<size_t> refs{1};  // of the store and of each scope
  std::mutex mutex;
  absl::btree_set<Scope*, Less> scopes;  // a scope that is ending stays until it has the lock
};

Scope* Scope::make(std::string_view prefix, const Table& table, Index& index, uint32_t slots) {
  static_assert(sizeof(Scope) % alignof(Cells) == 0);
  void* at = ::operator new(sizeof(Scope) + slots * sizeof(Cells) + prefix.size());
  auto* scope = new (at) Scope(table, index, slots, static_cast<uint32_t>(prefix.size()));
  for (uint32_t i = 0; i < slots; ++i) new (scope->slots() + i) Cells(nullptr);
  std::memcpy(reinterpret_cast<char*>(scope->slots() + slots), prefix.data(), prefix.size());
  index.refs.fetch_add(1, std::memory_order_relaxed);
  return scope;
}

bool Scope::tryRef() {
  uint32_t now = refs_.load(std::memory_order_relaxed);
  while (now != 0) {
    if (refs_.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Scope::destroy() {
  Index& index = index_;
  {
    const std::lock_guard lock(index.mutex);
    // Another of the same name may have taken the place meanwhile.
    if (const auto at = index.scopes.find(this); at != index.scopes.end() && *at == this) index.scopes.erase(at);
  }
  this->~Scope();
  ::operator delete(static_cast<void*>(this));
  index.unref();
}

Scope::~Scope() {
  for (uint32_t slot = 0; slot < slot_count_; ++slot) {
    std::atomic<uint64_t>* cells = slots()[slot].load(std::memory_order_relaxed);
    if (cells == nullptr) continue;
    for (size_t i = 0; i < table_.count; ++i) {
      if (table_.stats[i].kind == Kind::kHistogram) delete reinterpret_cast<Histogram*>(cells[i].load());
    }
    delete[] cells;
  }
}

std::atomic<uint64_t>* Scope::makeCells() {
  OUTRIDER_CHECK(slot_of_thread + 1 < slot_count_);
  auto* cells = new std::atomic<uint64_t>[table_.count]();
  slots()[slot_of_thread].store(cells, std::memory_order_release);
  return cells;
}

std::atomic<uint64_t>* Scope::sharedCells() {
  Cells& slot = slots()[slot_count_ - 1];
  std::atomic<uint64_t>* cells = slot.load(std::memory_order_acquire);
  if (cells != nullptr) return cells;
  auto* made = new std::atomic<uint64_t>[table_.count]();
  if (slot.compare_exchange_strong(cells, made, std::memory_order_acq_rel)) return made;
  delete[] made;  // another was first
  return cells;
}

void Scope::addShared(size_t index, int64_t by) {
  std::atomic<uint64_t>& cell = sharedCells()[index];
  uint64_t before = cell.load(std::memory_order_relaxed);
  while (!cell.compare_exchange_weak(before, ((before + static_cast<uint64_t>(by)) & ~kUsed) | kUsed, std::memory_order_relaxed)) {
  }
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
  for (uint32_t slot = 0; slot < slot_count_; ++slot) {
    const std::atomic<uint64_t>* cells = slots()[slot].load(std::memory_order_acquire);
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
  for (uint32_t slot = 0; slot < slot_count_; ++slot) {
    const std::atomic<uint64_t>* cells = slots()[slot].load(std::memory_order_acquire);
    if (cells == nullptr) continue;
    const auto* histogram = reinterpret_cast<const Histogram*>(cells[index].load(std::memory_order_acquire));
    if (histogram != nullptr) histogram->addTo(out);
  }
  return out;
}

void Scope::reset() {
  // Writers go on meanwhile: a reset is a request of an operator, and one increment may survive it.
  for (uint32_t slot = 0; slot < slot_count_; ++slot) {
    std::atomic<uint64_t>* cells = slots()[slot].load(std::memory_order_acquire);
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

const SeriesRef* LazySeries::make() {
  auto* made = new SeriesRef(store_.series(std::string(scope_->prefix()).append(suffix_)));
  SeriesRef* before = nullptr;
  if (made_.compare_exchange_strong(before, made, std::memory_order_acq_rel)) return made;
  delete made;  // another was first: it has the same series
  return before;
}

// ---- Store ----

Store::Store(uint32_t slots) : index_(*new Scope::Index(slots + 1)) {}

Store::~Store() { index_.unref(); }

// Amortised: names that come and go (clusters of a busy control plane) leave nothing behind.
void Store::sweep() {
  if (series_.size() < sweep_at_) return;
  std::erase_if(series_, [](const auto& each) { return each.second.expired(); });
  sweep_at_ = 2 * series_.size() + 1024;
}

ScopeRef Store::scope(std::string_view prefix, const Table& table) {
  const std::lock_guard lock(index_.mutex);
  const auto at = index_.scopes.find(Scope::Index::Key{prefix, table.stats});
  if (at != index_.scopes.end()) {
    if ((*at)->tryRef()) return ScopeRef(*at);
    index_.scopes.erase(at);  // it is ending
  }
  Scope* made = Scope::make(prefix, table, index_, index_.slots);
  index_.scopes.insert(made);
  return ScopeRef(made);
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

void Store::texts(const void* source, Texts fn) {
  const std::lock_guard lock(mutex_);
  text_sources_[source] = std::move(fn);
}

void Store::dropTexts(const void* source) {
  const std::lock_guard lock(mutex_);
  text_sources_.erase(source);
}

std::vector<std::pair<std::string, std::string>> Store::texts(const std::function<bool(const std::string&)>& wanted) const {
  std::map<std::string, std::function<std::string()>> texts;
  std::map<const void*, Texts> sources;
  {
    const std::lock_guard lock(mutex_);
    texts = texts_;
    sources = text_sources_;
  }
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [name, value] : texts) {
    if (!wanted || wanted(name)) out.emplace_back(name, value());
  }
  for (const auto& [source, fn] : sources) {
    fn([&](std::string name, std::string value) {
      if (!wanted || wanted(name)) out.emplace_back(std::move(name), std::move(value));
    });
  }
  // Of several with one name, one is shown.
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first == b.first; }), out.end());
  return out;
}

std::vector<ScopeRef> Store::living() const {
  std::vector<ScopeRef> out;
  const std::lock_guard lock(index_.mutex);
  for (Scope* scope : index_.scopes) {
    if (scope->tryRef()) out.push_back(ScopeRef(scope));
  }
  return out;
}

void Store::visit(const Visitor& visitor) const {
  const std::vector<ScopeRef> scopes = living();
  std::vector<SeriesRef> series;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, weak] : series_) {
      if (SeriesRef each = weak.lock()) series.push_back(std::move(each));
    }
  }
  for (const ScopeRef& scope : scopes) {
    for (size_t i = 0; i < scope->table().count; ++i) {
      const Stat& stat = scope->table().stats[i];
      const std::string name = std::string(scope->prefix()).append(stat.name);
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
    for (const auto& [name, value] : texts()) visitor.text(name, value);
  }
}

std::vector<Store::Member> Store::membersAfter(const std::string* after, size_t most) const {
  std::vector<Member> out;
  const std::scoped_lock lock(mutex_, index_.mutex);
  const auto& scopes = index_.scopes;
  auto scope = after == nullptr ? scopes.begin() : scopes.upper_bound(Scope::Index::Key{*after, Scope::Index::kLast});
  auto series = after == nullptr ? series_.begin() : series_.upper_bound(*after);
  while (scope != scopes.end() || series != series_.end()) {
    const bool is_scope = series == series_.end() || (scope != scopes.end() && (*scope)->prefix() <= series->first);
    const std::string_view prefix = is_scope ? (*scope)->prefix() : std::string_view(series->first);
    if (out.size() >= most && out.back().prefix != prefix) break;
    if (is_scope) {
      if ((*scope)->tryRef()) out.push_back({std::string(prefix), ScopeRef(*scope), nullptr});
      ++scope;
    } else {
      if (SeriesRef living = series->second.lock()) out.push_back({std::string(prefix), {}, std::move(living)});
      ++series;
    }
  }
  return out;
}

void Store::resetCounters() {
  for (const ScopeRef& scope : living()) scope->reset();
  const std::lock_guard lock(mutex_);
  for (const auto& [key, weak] : series_) {
    if (const SeriesRef each = weak.lock()) each->reset();
  }
}

}  // namespace outrider::stats
