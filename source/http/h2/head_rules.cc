#include "source/http/h2/head_rules.h"

#include <algorithm>
#include <cstdint>

namespace outrider::http::h2 {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool hex(char c) { return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
// reg-name of RFC 3986: unreserved, sub-delims and '%'; '_' is unreserved.
bool nameByte(char c) {
  if (digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != '\0' && std::string_view("-._~!$&'()*+,;=%").find(c) != std::string_view::npos;
}

bool validPort(std::string_view port) {
  if (port.empty()) return true;  // "host:" is legal
  if (port.size() > 5 || !std::all_of(port.begin(), port.end(), digit)) return false;
  uint32_t value = 0;
  for (const char c : port) value = value * 10 + static_cast<uint32_t>(c - '0');
  return value <= 65535;
}

}  // namespace

bool validAuthority(std::string_view authority) {
  if (authority.empty()) return false;
  if (authority.front() == '[') {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    const std::string_view address = authority.substr(1, close - 1);
    if (!std::all_of(address.begin(), address.end(), [](char c) { return hex(c) || c == ':' || c == '.'; })) return false;
    const std::string_view rest = authority.substr(close + 1);
    return rest.empty() || (rest.front() == ':' && validPort(rest.substr(1)));
  }
  const size_t colon = authority.find(':');
  const std::string_view host = authority.substr(0, colon);
  if (host.empty() || !std::all_of(host.begin(), host.end(), nameByte)) return false;
  return colon == std::string_view::npos || validPort(authority.substr(colon + 1));
}

bool validPath(std::string_view path, bool allow_high) {
  return std::all_of(path.begin(), path.end(), [allow_high](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 ? allow_high : byte > 0x20 && byte != 0x7f;
  });
}

bool worthIndexing(std::string_view path) {
  return path.size() < 64 && std::none_of(path.begin(), path.end(), [](char c) { return c == '?' || digit(c); });
}

}  // namespace outrider::http::h2
