#include "source/http/grpc.h"

#include <algorithm>
#include <charconv>

namespace outrider::http {

bool isGrpc(const RequestHead& head) {
  constexpr std::string_view kType = "application/grpc";
  const std::string_view type = head.headers.get(HeaderId::kContentType);
  return type.substr(0, kType.size()) == kType && (type.size() == kType.size() || type[kType.size()] == '+');
}

base::Nanos readGrpcTimeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return 0;
  base::Nanos number = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return 0;
    number = number * 10 + (c - '0');
  }
  switch (text.back()) {
    case 'H': return number * 3600 * base::kSecond;
    case 'M': return number * 60 * base::kSecond;
    case 'S': return number * base::kSecond;
    case 'm': return number * base::kMilli;
    case 'u': return number * base::kMilli / 1000;
    case 'n': return number;
    default: return 0;
  }
}

std::string_view printGrpcTimeout(base::Arena& arena, base::Nanos timeout) {
  constexpr base::Nanos kMost = 99'999'999;
  struct Unit {
    base::Nanos nanos;
    char name;
  };
  constexpr Unit kUnits[] = {{base::kMilli, 'm'}, {base::kSecond, 'S'}, {60 * base::kSecond, 'M'}, {3600 * base::kSecond, 'H'}};
  const Unit* unit =
      std::find_if(std::begin(kUnits), std::end(kUnits) - 1, [&](const Unit& each) { return timeout <= kMost * each.nanos; });
  const base::Nanos number = std::min(unit->name == 'm' ? (timeout + base::kMilli - 1) / base::kMilli : timeout / unit->nanos, kMost);
  char* text = arena.bytes(9);
  char* end = std::to_chars(text, text + 8, number).ptr;
  *end++ = unit->name;
  return {text, static_cast<size_t>(end - text)};
}

}  // namespace outrider::http
