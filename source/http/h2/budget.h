// A token bucket over a clock that its owner reads: no system calls, no timer.
// Thread: its owner's. Units: nanoseconds and whole tokens.
#pragma once

#include <algorithm>

#include "source/base/clock.h"
#include "source/http/h2/settings.h"

namespace outrider::http::h2 {

class Budget final {
 public:
  Budget(Rate rate, base::Nanos now) : rate_(rate), level_(int64_t{rate.burst} * base::kSecond), filled_(now) {}

  // Takes one token; false when there was none.
  bool take(base::Nanos now) {
    if (rate_.burst == 0) return true;
    const int64_t full = int64_t{rate_.burst} * base::kSecond;
    const base::Nanos since = std::max<base::Nanos>(now - filled_, 0);
    if (rate_.per_second > 0) {
      level_ = since >= full / rate_.per_second ? full : std::min(full, level_ + since * rate_.per_second);
    }
    filled_ = now;
    if (level_ < base::kSecond) return false;
    level_ -= base::kSecond;
    return true;
  }

 private:
  const Rate rate_;
  int64_t level_;  // tokens times a second
  base::Nanos filled_;
};

}  // namespace outrider::http::h2
