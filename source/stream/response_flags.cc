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
  for (size_t i = 0; i < std::size(kShort); ++i) {
    if (((bits_ >> i) & 1) == 0) continue;
    if (at != to) *at++ = ',';
    std::memcpy(at, kShort[i].data(), kShort[i].size());
    at += kShort[i].size();
  }
  return static_cast<size_t>(at - to);
}

std::string ResponseFlags::str() const {
  char text[kTextSize];
  return std::string(text, print(text));
}

std::string ResponseFlags::longStr() const {
  std::string out;
  for (size_t i = 0; i < std::size(kLong); ++i) {
    if (((bits_ >> i) & 1) == 0) continue;
    if (!out.empty()) out += ',';
    out += kLong[i];
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
