#include "source/stream/response_flags.h"

#include <cstring>

namespace outrider::stream {
namespace {
constexpr std::string_view kShort[] = {
#define OUTRIDER_FLAG_SHORT(s, l, id) s,
    OUTRIDER_RESPONSE_FLAGS(OUTRIDER_FLAG_SHORT)
#undef OUTRIDER_FLAG_SHORT
};
constexpr std::string_view kLong[] = {
#define OUTRIDER_FLAG_LONG(s, l, id) l,
    OUTRIDER_RESPONSE_FLAGS(OUTRIDER_FLAG_LONG)
#undef OUTRIDER_FLAG_LONG
};
}  // namespace

size_t ResponseFlags::print(char* to) const {
  if (bits_ == 0) {
    *to = '-';
    return 1;
  }
  char* at = to;
  for (size_t i = 0; i < count_; ++i) {
    const std::string_view text = kShort[order_[i]];
    if (at != to) *at++ = ',';
    std::memcpy(at, text.data(), text.size());
    at += text.size();
  }
  return static_cast<size_t>(at - to);
}

std::string ResponseFlags::str() const {
  char text[kTextSize];
  return std::string(text, print(text));
}

std::string ResponseFlags::longStr() const {
  std::string out;
  for (size_t i = 0; i < count_; ++i) {
    if (!out.empty()) out += ',';
    out += kLong[order_[i]];
  }
  return out.empty() ? "-" : out;
}

std::string_view flagName(ResponseFlag flag) { return kShort[static_cast<size_t>(flag)]; }

bool parseFlag(std::string_view name, ResponseFlag& out) {
  for (size_t i = 0; i < std::size(kShort); ++i) {
    if (kShort[i] == name) {
      out = static_cast<ResponseFlag>(i);
      return true;
    }
  }
  return false;
}

}  // namespace outrider::stream
