#include "source/base/check.h"

#include <cstdio>
#include <cstdlib>

#include <execinfo.h>
#include <unistd.h>

namespace outrider::base {

void checkFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "[critical] broken invariant at %s:%d: %s\n", file, line, what);
  void* frames[48];
  const int depth = ::backtrace(frames, 48);
  ::backtrace_symbols_fd(frames, depth, STDERR_FILENO);
  std::abort();
}

}  // namespace outrider::base
