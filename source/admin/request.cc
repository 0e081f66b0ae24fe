#include "source/admin/request.h"

#include "source/base/address.h"
#include "source/http/header_map.h"

namespace outrider::admin {
namespace {

int hexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = http::lowerAscii(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Envoy leaves an escape that is none as it stands.
std::string decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hexValue(text[i + 1]), low = hexValue(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

bool normalisePath(std::string_view path, std::string& out) {
  std::vector<std::string_view> kept;
  const bool folder = path.size() > 1 && path.back() == '/';
  for (size_t at = 1; at <= path.size();) {
    size_t end = path.find('/', at);
    if (end == std::string_view::npos) end = path.size();
    const std::string_view segment = path.substr(at, end - at);
    if (segment == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (!segment.empty() && segment != ".") {
      kept.push_back(segment);
    }
    at = end + 1;
  }
  out.clear();
  for (const std::string_view segment : kept) {
    out += '/';
    out += segment;
  }
  if (out.empty() || folder) out += '/';
  return true;
}

}  // namespace

bool parseTarget(std::string_view target, Request& out) {
  target = target.substr(0, target.find('#'));
  const size_t question = target.find('?');
  const std::string path = decode(target.substr(0, question));
  if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos) return false;
  if (!normalisePath(path, out.path)) return false;
  if (question == std::string_view::npos) return true;
  std::string_view query = target.substr(question + 1);
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view one = query.substr(0, end);
    const size_t equal = one.find('=');
    if (!one.empty()) {
      out.params.emplace_back(decode(one.substr(0, equal)),
                              equal == std::string_view::npos ? std::string() : decode(one.substr(equal + 1)));
    }
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
  }
  return true;
}

bool isLocalName(std::string_view host) {
  if (host.empty()) return true;
  if (base::Address::parseIpPort(host).has_value()) return true;
  if (host.front() == '[' && host.back() == ']') return base::Address::parseIp(host.substr(1, host.size() - 2), 0).has_value();
  std::string_view name = host;
  if (const size_t colon = host.rfind(':'); colon != std::string_view::npos && host.find(':') == colon) name = host.substr(0, colon);
  if (base::Address::parseIp(name, 0).has_value()) return true;
  return http::equalsIgnoreCase(name, "localhost") ||
         (name.size() > 10 && http::equalsIgnoreCase(name.substr(name.size() - 10), ".localhost"));
}

}  // namespace outrider::admin
