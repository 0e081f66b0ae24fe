// Debian's abseil has its own string_view; source/ uses std's. These two convert at the border.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace outrider::base {
inline absl::string_view toAbsl(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view toStd(absl::string_view s) { return {s.data(), s.size()}; }
}  // namespace outrider::base
