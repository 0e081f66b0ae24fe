// Counters, gauges and histograms without names on the data path.
//
// A kind of scope (cluster, listener, http ...) has one static Table that names its cells; a Scope is one instance of it under a
// prefix ("cluster.a."), keyed by prefix and table in the Store and shared: it outlives the versions of what it counts, so no
// counter falls when a config changes, and it dies with its last user.
// Thread: create and read from any thread (the store has a lock, off the data path); write from the thread of a slot: cells are
// per slot, one writer each, relaxed. Slot 0 is main; workers are 1..N (setSlot once at a thread's start). Threads without a slot
// of their own (those of log files) share one and count by addShared() alone.
// An idle scope costs its prefix and a pointer a slot: cells of a slot appear with its first write. Names are composed while printing.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "source/base/check.h"

namespace outrider::stats {

enum class Kind : uint8_t { kCounter, kGauge, kHistogram };

struct Stat {
  std::string_view name;  // "upstream_rq_total"
  Kind kind;
};

struct Table {
  const Stat* stats;
  size_t count;
};

inline constexpr size_t kMostSlots = 129;
extern constinit thread_local uint32_t slot_of_thread;
inline void setSlot(uint32_t slot) { slot_of_thread = slot; }

// Log-linear counts (two significant digits), enough for Envoy's quantiles and bucket lines.
class Histogram {
 public:
  Histogram();
  ~Histogram();
  void record(uint64_t value);  // the slot's thread
  struct Sample {
    uint64_t count = 0;
    double sum = 0;
    std::map<uint32_t, uint64_t> bins;  // by bin index
  };
  void addTo(Sample& sample) const;  // any thread
  static uint32_t binOf(uint64_t value);
  static double binLow(uint32_t bin);
  static double binWidth(uint32_t bin);

 private:
  static constexpr size_t kDecades = 20;
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> sum_{0};
  std::atomic<std::atomic<uint64_t>*> decades_[kDecades] = {};  // 90 bins each, made on first use
};

class ScopeRef;
class Store;

// One allocation: this, a pointer a slot, the prefix. Made by a Store, counted by ScopeRefs.
class Scope final {
 public:
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  std::string_view prefix() const { return {reinterpret_cast<const char*>(slots() + slot_count_), prefix_size_}; }
  const Table& table() const { return table_; }

  void add(size_t index, int64_t by) {
    std::atomic<uint64_t>& cell = mine(index);
    cell.store(((cell.load(std::memory_order_relaxed) + static_cast<uint64_t>(by)) & ~kUsed) | kUsed, std::memory_order_relaxed);
  }
  void addShared(size_t index, int64_t by);  // any thread, counters and gauges
  // Gauges with one writer for the whole process (main).
  void set(size_t index, uint64_t value) { mine(index).store((value & ~kUsed) | kUsed, std::memory_order_relaxed); }
  void record(size_t index, uint64_t value) { histogram(index).record(value); }

  struct Reading {
    uint64_t value = 0;
    bool used = false;
  };
  Reading read(size_t index) const;  // sum over slots
  Histogram::Sample sample(size_t index) const;
  void reset();  // /reset_counters: counters to 0

 private:
  friend class ScopeRef;
  friend class Store;
  struct Index;
  using Cells = std::atomic<std::atomic<uint64_t>*>;  // of one slot; a histogram's cell holds its pointer
  static constexpr uint64_t kUsed = uint64_t{1} << 63;

  Scope(const Table& table, Index& index, uint32_t slots, uint32_t prefix_size)
      : prefix_size_(prefix_size), table_(table), index_(index), slot_count_(slots) {}
  ~Scope();
  static Scope* make(std::string_view prefix, const Table& table, Index& index, uint32_t slots);
  bool tryRef();  // false: its last reference is gone
  void destroy();

  Cells* slots() { return reinterpret_cast<Cells*>(this + 1); }
  const Cells* slots() const { return reinterpret_cast<const Cells*>(this + 1); }
  std::atomic<uint64_t>& mine(size_t index) {
    OUTRIDER_DCHECK(slot_of_thread + 1 < slot_count_);
    std::atomic<uint64_t>* cells = slots()[slot_of_thread].load(std::memory_order_relaxed);
    if (__builtin_expect(cells == nullptr, 0)) cells = makeCells();
    return cells[index];
  }
  std::atomic<uint64_t>* makeCells();
  std::atomic<uint64_t>* sharedCells();
  Histogram& histogram(size_t index);

  std::atomic<uint32_t> refs_{1};
  const uint32_t prefix_size_;
  const Table& table_;
  Index& index_;
  const uint32_t slot_count_;
};

// Shared ownership of a scope; any thread, as std::shared_ptr. With the last one the scope ends and leaves its store.
class ScopeRef final {
 public:
  ScopeRef() = default;
  ScopeRef(std::nullptr_t) {}
  ScopeRef(const ScopeRef& other) : at_(other.at_) {
    if (at_ != nullptr) at_->refs_.fetch_add(1, std::memory_order_relaxed);
  }
  ScopeRef(ScopeRef&& other) noexcept : at_(std::exchange(other.at_, nullptr)) {}
  ScopeRef& operator=(ScopeRef other) noexcept {
    std::swap(at_, other.at_);
    return *this;
  }
  ~ScopeRef() {
    if (at_ != nullptr && at_->refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) at_->destroy();
  }
  Scope* get() const { return at_; }
  Scope* operator->() const { return at_; }
  Scope& operator*() const { return *at_; }
  explicit operator bool() const { return at_ != nullptr; }
  bool operator==(const ScopeRef&) const = default;

 private:
  friend class Store;
  explicit ScopeRef(Scope* owned) : at_(owned) {}
  Scope* at_ = nullptr;
};

// A typed handle: Set<ClusterStat> stats(scope); stats.inc(ClusterStat::kUpstreamRqTotal).
template <class Enum>
class Set final {
 public:
  Set() = default;
  explicit Set(ScopeRef scope) : scope_(std::move(scope)) {}
  void inc(Enum stat, int64_t by = 1) const { scope_->add(static_cast<size_t>(stat), by); }
  void incShared(Enum stat, int64_t by = 1) const { scope_->addShared(static_cast<size_t>(stat), by); }
  void dec(Enum stat, int64_t by = 1) const { scope_->add(static_cast<size_t>(stat), -by); }
  void set(Enum stat, uint64_t value) const { scope_->set(static_cast<size_t>(stat), value); }
  void record(Enum stat, uint64_t value) const { scope_->record(static_cast<size_t>(stat), value); }
  uint64_t read(Enum stat) const { return scope_->read(static_cast<size_t>(stat)).value; }
  const ScopeRef& scope() const { return scope_; }
  explicit operator bool() const { return static_cast<bool>(scope_); }

 private:
  ScopeRef scope_;
};

// Counters whose names come at run time, bounded: response codes ("upstream_rq_503"), virtual clusters, gRPC methods.
// Labels beyond the bound count under "overflow". Thread: as Scope; lookups of a label already seen take no lock.
class Series final {
 public:
  Series(std::string prefix, size_t most) : prefix_(std::move(prefix)), most_(most) {}
  ~Series();
  void inc(std::string_view label, uint64_t by = 1);
  void forEach(const std::function<void(const std::string& name, uint64_t value)>& fn) const;
  const std::string& prefix() const { return prefix_; }
  void reset();

 private:
  struct Entry {
    std::string label;
    std::atomic<uint64_t> value{0};
    Entry* next;
  };
  const std::string prefix_;
  const size_t most_;
  std::atomic<Entry*> first_{nullptr};
  std::atomic<size_t> count_{0};
  std::mutex mutex_;  // guards insertion only
};
using SeriesRef = std::shared_ptr<Series>;

// A series that few of its owners ever count in: made at the first count. Thread: any. The store outlives it.
class LazySeries final {
 public:
  // Named "<prefix of `scope`><suffix>"; `suffix` is a literal.
  LazySeries(Store& store, ScopeRef scope, std::string_view suffix) : store_(store), scope_(std::move(scope)), suffix_(suffix) {}
  ~LazySeries() { delete made_.load(std::memory_order_acquire); }
  LazySeries(const LazySeries&) = delete;
  LazySeries& operator=(const LazySeries&) = delete;
  void inc(std::string_view label, uint64_t by = 1) {
    const SeriesRef* made = made_.load(std::memory_order_acquire);
    if (__builtin_expect(made == nullptr, 0)) made = make();
    (*made)->inc(label, by);
  }
  bool made() const { return made_.load(std::memory_order_acquire) != nullptr; }
  const ScopeRef& scope() const { return scope_; }

 private:
  const SeriesRef* make();
  Store& store_;
  const ScopeRef scope_;
  const std::string_view suffix_;
  std::atomic<SeriesRef*> made_{nullptr};
};

class Store final {
 public:
  // `slots`: how many threads have one, main among them; setSlot() stays below. One more is the shared one.
  explicit Store(uint32_t slots = kMostSlots);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  ScopeRef scope(std::string_view prefix, const Table& table);  // the living one of that key, else a new one
  SeriesRef series(std::string prefix, size_t most = 256);
  void text(std::string name, std::function<std::string()> value);  // text readouts
  void dropText(const std::string& name);
  // Many at once: asked when somebody prints, on that thread. The source takes itself back with dropTexts().
  using AddText = std::function<void(std::string name, std::string value)>;
  using Texts = std::function<void(const AddText& add)>;
  void texts(const void* source, Texts fn);
  void dropTexts(const void* source);

  struct Visitor {
    std::function<void(const std::string& name, Kind kind, const Scope::Reading& reading)> number;
    std::function<void(const std::string& name, const Histogram::Sample& sample)> histogram;
    std::function<void(const std::string& name, const std::string& value)> text;
  };
  void visit(const Visitor& visitor) const;
  void resetCounters();

  // For readers that go piece by piece (walk.h): the living scopes and series with a prefix after `after`, in order of their
  // prefixes; all of one prefix come together, and about `most` at once. Empty: there are no more.
  struct Member {
    std::string prefix;
    ScopeRef scope;  // or
    SeriesRef series;
  };
  std::vector<Member> membersAfter(const std::string* after, size_t most) const;
  // By name; `wanted` is asked for each first: there may be as many as clusters.
  std::vector<std::pair<std::string, std::string>> texts(const std::function<bool(const std::string& name)>& wanted = {}) const;

 private:
  void sweep();  // forgets series that are gone; under the lock
  std::vector<ScopeRef> living() const;

  Scope::Index& index_;
  mutable std::mutex mutex_;  // of what follows
  size_t sweep_at_ = 1024;
  std::map<std::string, std::weak_ptr<Series>> series_;
  std::map<std::string, std::function<std::string()>> texts_;
  std::map<const void*, Texts> text_sources_;
};

}  // namespace outrider::stats

// Declares an enum, its Stat table and a Table from one list:
//   #define OUTRIDER_FOO_STATS(C, G, H) C(kOne, "one") G(kTwo, "two") H(kThree, "three")
//   OUTRIDER_STATS(FooStat, kFooTable, OUTRIDER_FOO_STATS)
#define OUTRIDER_STAT_ENUM(id, name) id,
#define OUTRIDER_STAT_COUNTER(id, name) {name, ::outrider::stats::Kind::kCounter},
#define OUTRIDER_STAT_GAUGE(id, name) {name, ::outrider::stats::Kind::kGauge},
#define OUTRIDER_STAT_HISTOGRAM(id, name) {name, ::outrider::stats::Kind::kHistogram},
#define OUTRIDER_STATS(Enum, table, LIST)                                                                                                \
  enum class Enum : uint16_t { LIST(OUTRIDER_STAT_ENUM, OUTRIDER_STAT_ENUM, OUTRIDER_STAT_ENUM) };                                       \
  inline constexpr ::outrider::stats::Stat table##Stats[] = {LIST(OUTRIDER_STAT_COUNTER, OUTRIDER_STAT_GAUGE, OUTRIDER_STAT_HISTOGRAM)}; \
  inline constexpr ::outrider::stats::Table table{table##Stats, sizeof(table##Stats) / sizeof(table##Stats[0])};
