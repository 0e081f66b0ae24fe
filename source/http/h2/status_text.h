// A status as the three digits of `:status`, static.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace outrider::http::h2 {

inline std::string_view statusText(uint16_t status) {
  static constexpr auto kDigits = [] {
    std::array<char, 3000> digits{};
    for (size_t i = 0; i < 1000; ++i) {
      digits[3 * i] = static_cast<char>('0' + i / 100);
      digits[3 * i + 1] = static_cast<char>('0' + i / 10 % 10);
      digits[3 * i + 2] = static_cast<char>('0' + i % 10);
    }
    return digits;
  }();
  return {kDigits.data() + 3 * (status % 1000), 3};
}

}  // namespace outrider::http::h2
