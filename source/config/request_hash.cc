#include "source/config/request_hash.h"

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "source/base/hash64.h"

namespace outrider::config {
namespace {

using base::xxHash64;

// In any order of the fields the same.
std::optional<uint64_t> ofHeader(const http::RequestHead& head, const http::FieldName& name, const HashSpec& spec,
                                 const match::Regex* rewrite) {
  absl::InlinedVector<std::string_view, 4> values;
  bool present = false;
  name.any(
      head,
      [&](std::string_view value) {
        values.push_back(rewrite == nullptr ? value : rewrite->replaceAll(value, spec.rewrite->substitution, head.headers.arena()));
        return false;  // all of them
      },
      present);
  if (!present) return std::nullopt;
  if (values.size() == 1) return xxHash64(values[0]);
  std::sort(values.begin(), values.end());
  uint64_t hash = 0;
  for (const std::string_view value : values) hash = xxHash64(value, hash);
  return hash;
}

std::string_view cookieOf(const http::RequestHead& head, std::string_view name) {
  std::string_view found;
  head.headers.forEach([&](const http::Header& header) {
    if (!found.empty() || header.id != http::HeaderId::kCookie) return;
    std::string_view rest = header.value();
    while (!rest.empty() && found.empty()) {
      const size_t end = std::min(rest.find(';'), rest.size());
      std::string_view pair = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
      const size_t equal = pair.find('=');
      if (equal == std::string_view::npos || pair.substr(0, equal) != name) continue;
      found = pair.substr(equal + 1);
      if (found.size() >= 2 && found.front() == '"' && found.back() == '"') found = found.substr(1, found.size() - 2);
    }
  });
  return found;
}

// The same for every request of a connection, so that several at once do not get several cookies.
std::string_view newCookie(base::Arena& arena, const RequestHash::Client& client) {
  char ends[2 * base::Address::kTextSize];
  const size_t first = client.remote.print(ends);
  const uint64_t hash = xxHash64({ends, first + client.local.print(ends + first)});
  char* text = arena.bytes(16);
  for (int i = 0; i < 16; ++i) text[i] = "0123456789abcdef"[(hash >> (60 - 4 * i)) & 15];
  return {text, 16};
}

std::string_view setCookie(base::Arena& arena, const HashSpec& spec, std::string_view value) {
  std::string out = spec.name + "=\"" + std::string(value) + '"';
  if (const int64_t seconds = *spec.cookie_ttl / base::kSecond; seconds != 0) out += "; Max-Age=" + std::to_string(seconds);
  if (!spec.cookie_path.empty()) out += "; Path=" + spec.cookie_path;
  for (const auto& [name, text] : spec.cookie_attributes) out += "; " + name + (text.empty() ? "" : "=" + text);
  out += "; HttpOnly";
  return arena.copy(out);
}

std::optional<uint64_t> ofQuery(std::string_view path, std::string_view name) {
  const size_t mark = path.find('?');
  if (mark == std::string_view::npos) return std::nullopt;
  std::string_view rest = path.substr(mark + 1);
  rest = rest.substr(0, rest.find('#'));
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t equal = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equal) == name) return xxHash64(pair.substr(std::min(equal + 1, pair.size())));
  }
  return std::nullopt;
}

}  // namespace

RequestHash::Result RequestHash::of(const http::RequestHead& head, const Client& client) const {
  Result out;
  for (const Step& step : steps_) {
    const HashSpec& spec = *step.spec;
    std::optional<uint64_t> found;
    switch (spec.kind) {
      case HashSpec::Kind::kHeader: found = ofHeader(head, step.header, spec, step.rewrite.get()); break;
      case HashSpec::Kind::kCookie: {
        std::string_view value = cookieOf(head, spec.name);
        if (value.empty() && spec.cookie_ttl.has_value()) {
          value = newCookie(head.headers.arena(), client);
          out.set_cookie = setCookie(head.headers.arena(), spec, value);
        }
        if (!value.empty()) found = xxHash64(value);
        break;
      }
      case HashSpec::Kind::kSourceIp: {
        if (!client.remote.isIp()) break;
        char ip[base::Address::kTextSize];
        found = xxHash64({ip, client.remote.print(ip, false)});
        break;
      }
      case HashSpec::Kind::kQuery: found = ofQuery(head.path, spec.name); break;
    }
    if (!found.has_value()) continue;
    // Rotated, so that two equal parts do not make nothing.
    const uint64_t before = out.hash.value_or(0);
    out.hash = ((before << 1) | (before >> 63)) ^ *found;
    if (spec.terminal) break;
  }
  return out;
}

}  // namespace outrider::config
