#include "source/base/clock.h"

#include <ctime>

namespace outrider::base {
namespace {
Nanos read(clockid_t which) {
  timespec ts;
  ::clock_gettime(which, &ts);
  return Nanos{ts.tv_sec} * kSecond + ts.tv_nsec;
}
}  // namespace

Nanos SystemClock::mono() const { return read(CLOCK_MONOTONIC); }
Nanos SystemClock::wall() const { return read(CLOCK_REALTIME); }
const SystemClock& SystemClock::instance() {
  static const SystemClock clock;
  return clock;
}

}  // namespace outrider::base
