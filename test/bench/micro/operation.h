// An operation whose price is watched.
// Thread: one. Its constructor prepares; run() is what is measured, the same work each time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace outrider::bench {

class Operation {
 public:
  virtual ~Operation() = default;
  virtual void run() = 0;
};

struct Listed {
  const char* name;
  uint64_t count;  // how often it runs under callgrind, after a tenth of that unmeasured
  std::unique_ptr<Operation> (*make)();
};
const std::vector<Listed>& operations();

}  // namespace outrider::bench
