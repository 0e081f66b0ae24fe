// A piece's share of main's time: a millisecond. Thread: main. Lifetime: one call's.
#pragma once

#include "source/admin/sources.h"
#include "source/base/clock.h"

namespace outrider::admin {

class Slice final {
 public:
  explicit Slice(const Sources& sources) : Slice(sources.loop.clock()) {}
  explicit Slice(const base::Clock& clock) : clock_(clock), end_(clock_.mono() + base::kMilli) {}
  bool over() const { return clock_.mono() >= end_; }

 private:
  const base::Clock& clock_;
  const base::Nanos end_;
};

}  // namespace outrider::admin
