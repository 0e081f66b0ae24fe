// Time as the product sees it. A loop reads its clock once a turn; nobody else asks the kernel.
// Thread: implementations are safe to read from any. Units: nanoseconds.
#pragma once

#include <cstdint>

namespace outrider::base {

using Nanos = int64_t;
inline constexpr Nanos kMicro = 1000;
inline constexpr Nanos kMilli = 1000 * kMicro;
inline constexpr Nanos kSecond = 1000 * kMilli;

// Two implementations: the kernel's clocks, and the tests' that moves when told.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanos mono() const = 0;  // never goes back; only differences mean something
  virtual Nanos wall() const = 0;  // since the Unix epoch
};

class SystemClock final : public Clock {
 public:
  Nanos mono() const override;
  Nanos wall() const override;
  static const SystemClock& instance();
};

class FakeClock final : public Clock {
 public:
  Nanos mono() const override { return mono_; }
  Nanos wall() const override { return wall_; }
  void advance(Nanos by) {
    mono_ += by;
    wall_ += by;
  }

 private:
  Nanos mono_ = kSecond;
  Nanos wall_ = 1'700'000'000 * kSecond;
};

}  // namespace outrider::base
