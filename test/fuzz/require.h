// What a fuzz target says when an invariant does not hold: what it was, and the two things that differ.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace outrider::test {

inline void require(bool condition, const char* what, std::string_view one = "", std::string_view two = "") {
  if (condition) return;
  std::fprintf(stderr, "%s\n--- one\n", what);
  std::fwrite(one.data(), 1, one.size(), stderr);
  std::fputs("\n--- two\n", stderr);
  std::fwrite(two.data(), 1, two.size(), stderr);
  std::abort();
}

}  // namespace outrider::test
