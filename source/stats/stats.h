// Counters, gauges and histograms without names on the data path.
//
// A kind of scope (cluster, listener, http ...) has one static Table that names its cells; a Scope is one instance of it under a
// prefix ("cluster.a."), keyed by prefix and table in the Store and shared: it outlives the versions of what it counts, so no
// counter falls when a config changes, and it dies with its last user.
// Thread: create and read from any thread (the store has a lock, off the data path); write from the thread of a slot: cells are
// per slot, one writer each, relaxed. Slot 0 is main; workers are 1..N (setSlot once at a thread's start).
// An idle scope costs its prefix: cells of a slot appear with its first write. Names are composed while printing.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

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

class Scope final {
 public:
  Scope(std::string prefix, const Table& table) : prefix_(std::move(prefix)), table_(table) {}
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  const std::string& prefix() const { return prefix_; }
  const Table& table() const { return table_; }

  void add(size_t index, int64_t by) {
    std::atomic<uint64_t>& cell = mine(index);
    cell.store(((cell.load(std::memory_order_relaxed) + static_cast<uint64_t>(by)) & ~kUsed) | kUsed, std::memory_order_relaxed);
  }
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
  static constexpr uint64_t kUsed = uint64_t{1} << 63;
  std::atomic<uint64_t>& mine(size_t index) {
    std::atomic<uint64_t>* cells = slots_[slot_of_thread].load(std::memory_order_relaxed);
    if (__builtin_expect(cells == nullptr, 0)) cells = makeCells();
    return cells[index];
  }
  std::atomic<uint64_t>* makeCells();
  Histogram& histogram(size_t index);

  const std::string prefix_;
  const Table& table_;
  std::atomic<std::atomic<uint64_t>*> slots_[kMostSlots] = {};  // a histogram's cell holds its pointer
};

using ScopeRef = std::shared_ptr<Scope>;

// A typed handle: Set<ClusterStat> stats(scope); stats.inc(ClusterStat::kUpstreamRqTotal).
template <class Enum>
class Set final {
 public:
  Set() = default;
  explicit Set(ScopeRef scope) : scope_(std::move(scope)) {}
  void inc(Enum stat, int64_t by = 1) const { scope_->add(static_cast<size_t>(stat), by); }
  void dec(Enum stat, int64_t by = 1) const { scope_->add(static_cast<size_t>(stat), -by); }
  void set(Enum stat, uint64_t value) const { scope_->set(static_cast<size_t>(stat), value); }
  void record(Enum stat, uint64_t value) const { scope_->record(static_cast<size_t>(stat), value); }
  uint64_t read(Enum stat) const { return scope_->read(static_cast<size_t>(stat)).value; }
  const ScopeRef& scope() const { return scope_; }
  explicit operator bool() const { return scope_ != nullptr; }

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

class Store final {
 public:
  ScopeRef scope(std::string prefix, const Table& table);  // the living one of that key, else a new one
  SeriesRef series(std::string prefix, size_t most = 256);
  void text(std::string name, std::function<std::string()> value);  // text readouts
  void dropText(const std::string& name);

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
  std::vector<std::pair<std::string, std::string>> texts() const;  // by name

 private:
  void sweep();  // forgets the dead; under the lock

  mutable std::mutex mutex_;
  size_t sweep_at_ = 1024;
  std::map<std::pair<std::string, const Stat*>, std::weak_ptr<Scope>> scopes_;
  std::map<std::string, std::weak_ptr<Series>> series_;
  std::map<std::string, std::function<std::string()>> texts_;
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
