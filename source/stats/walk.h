// Reads a whole store in the order of full names, a group of related names at a time, so that a reader may stop between two groups.
// What is made or ends meanwhile is seen or not. Thread: any. Lifetime: the store outlives it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "source/stats/stats.h"

namespace outrider::stats {

struct Item {
  std::string name;
  Kind kind = Kind::kCounter;
  uint64_t value = 0;  // counters and gauges
  bool used = false;   // ever written
  ScopeRef scope;      // histograms: scope->sample(index)
  size_t index = 0;
};

class Walk final {
 public:
  enum class Want : uint8_t { kNumbers, kHistograms };  // counters and gauges, or histograms
  explicit Walk(const Store& store, Want want = Want::kNumbers) : store_(&store), want_(want) {}
  // Appends the next names, sorted; false: there are no more.
  bool next(std::vector<Item>& out);

 private:
  const Store::Member* peek();
  void take(const Store::Member& member, std::vector<Item>& out) const;

  const Store* store_;
  Want want_;
  std::vector<Store::Member> ahead_;
  size_t at_ = 0;
  std::optional<std::string> last_;
};

}  // namespace outrider::stats
