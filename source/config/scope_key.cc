#include "source/config/scope_key.h"

#include <cstring>

namespace outrider::config {
namespace {

// A fragment is its length in four bytes, then its bytes.
constexpr size_t kLength = 4;

void put(char*& to, std::string_view text) {
  const auto size = static_cast<uint32_t>(text.size());
  std::memcpy(to, &size, kLength);
  if (!text.empty()) std::memcpy(to + kLength, text.data(), text.size());
  to += kLength + text.size();
}

std::optional<std::string_view> elementOf(const ScopeKeySpec::Fragment& fragment, std::string_view value) {
  if (fragment.element_separator.empty() && !fragment.by_key) return value;
  for (uint32_t index = 0;; ++index) {
    const size_t end = fragment.element_separator.empty() ? std::string_view::npos : value.find(fragment.element_separator);
    const std::string_view element = value.substr(0, end);
    if (!fragment.by_key) {
      if (index == fragment.index) return element;
    } else {
      const size_t separator = element.find(fragment.key_separator);
      if (element.substr(0, separator) == fragment.key) {
        return separator == std::string_view::npos ? std::string_view() : element.substr(separator + fragment.key_separator.size());
      }
    }
    if (end == std::string_view::npos) return std::nullopt;
    value.remove_prefix(end + fragment.element_separator.size());
  }
}

}  // namespace

ScopeKey::ScopeKey(ScopeKeySpec spec) : spec_(std::move(spec)) {
  for (const ScopeKeySpec::Fragment& fragment : spec_.fragments) headers_.emplace_back(fragment.header);
}

std::optional<std::string_view> ScopeKey::of(const http::RequestHead& head) const {
  base::Arena& arena = head.headers.arena();
  auto* parts = arena.array<std::string_view>(spec_.fragments.size());
  size_t size = 0;
  for (size_t i = 0; i < spec_.fragments.size(); ++i) {
    const auto value = headers_[i].firstIn(head);
    if (!value.has_value()) return std::nullopt;
    const auto element = elementOf(spec_.fragments[i], *value);
    if (!element.has_value()) return std::nullopt;
    parts[i] = *element;
    size += kLength + element->size();
  }
  char* const text = arena.bytes(size);
  char* to = text;
  for (size_t i = 0; i < spec_.fragments.size(); ++i) put(to, parts[i]);
  return std::string_view(text, size);
}

std::string ScopeKey::of(const std::vector<std::string>& fragments) {
  size_t size = 0;
  for (const std::string& each : fragments) size += kLength + each.size();
  std::string out(size, '\0');
  char* to = out.data();
  for (const std::string& each : fragments) put(to, each);
  return out;
}

}  // namespace outrider::config
