// Which statistics are asked for, and how histograms are shown.
// Thread: main. Lifetime: one answer's. Source: Envoy's operations guide, "/stats".
#pragma once

#include <array>
#include <memory>
#include <string>

#include "source/admin/answer.h"
#include "source/admin/request.h"
#include "source/admin/slice.h"
#include "source/admin/sources.h"
#include "source/match/regex.h"
#include "source/stats/print.h"
#include "source/stats/walk.h"

namespace outrider::admin {

struct StatsQuery {
  enum class Type : uint8_t { kAll, kCounters, kGauges, kHistograms, kTexts };
  enum class Buckets : uint8_t { kSummary, kCumulative, kDisjoint, kDetailed };

  bool used_only = false;
  bool invert = false;
  Type type = Type::kAll;
  Buckets buckets = Buckets::kSummary;
  std::shared_ptr<const match::Regex> filter;

  std::string parse(const Request& request);  // what is wrong; empty: nothing

  bool wants(Type which) const { return type == Type::kAll || type == which; }
  bool wantsNumbers() const { return wants(Type::kCounters) || wants(Type::kGauges); }
  bool takeName(const std::string& name) const { return filter == nullptr || filter->partialMatch(name) != invert; }
  bool take(const stats::Item& item) const {
    if (used_only && !item.used) return false;
    if (item.kind == stats::Kind::kCounter && !wants(Type::kCounters)) return false;
    if (item.kind == stats::Kind::kGauge && !wants(Type::kGauges)) return false;
    return takeName(item.name);
  }
  uint64_t bucket(const std::array<uint64_t, stats::kBuckets.size()>& counts, size_t i) const {
    return buckets == Buckets::kDisjoint && i > 0 ? counts[i] - counts[i - 1] : counts[i];
  }
};

// The gauges of circuit breakers follow on demand: brought up to date some clusters at a time, before any is read.
class GaugeRefresh final {
 public:
  explicit GaugeRefresh(const Sources& sources) : sources_(sources) {}
  bool step();  // false: all are up to date
 private:
  const Sources& sources_;
  size_t at_ = 0;
};

Answer prometheus(const Sources& sources, const Request& request);

}  // namespace outrider::admin
