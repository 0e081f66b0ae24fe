// An upward event is under way. Debug builds find sinks that call back into the codec from one (codec.h, the seam's rule).
// Thread: the worker's. Lifetime: a scope.
#pragma once

#include "source/base/check.h"

namespace outrider::http::h1 {

class EventScope final {
 public:
  explicit EventScope(bool& under_way) : under_way_(under_way) {
    OUTRIDER_DCHECK(!under_way_);
    under_way_ = true;
  }
  ~EventScope() { under_way_ = false; }
  EventScope(const EventScope&) = delete;
  EventScope& operator=(const EventScope&) = delete;

 private:
  bool& under_way_;
};

}  // namespace outrider::http::h1
