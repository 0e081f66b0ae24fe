#include "source/http/header_id.h"

#include <array>
#include <cstring>

namespace outrider::http {
namespace {

constexpr std::string_view kNames[] = {
#define OUTRIDER_HEADER_NAME(name, id, policy) name,
    OUTRIDER_HEADERS(OUTRIDER_HEADER_NAME)
#undef OUTRIDER_HEADER_NAME
};
constexpr uint8_t kPolicies[] = {
#define OUTRIDER_HEADER_POLICY(name, id, policy) static_cast<uint8_t>(policy),
    OUTRIDER_HEADERS(OUTRIDER_HEADER_POLICY)
#undef OUTRIDER_HEADER_POLICY
};
static_assert(sizeof(kPolicies) == kHeaderIds);

// A closed hash table, filled at compile time; the hash looks at the length and four bytes only.
constexpr size_t kTable = 512;
constexpr uint32_t hashOf(std::string_view name) {
  const auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(name[i])); };
  const size_t n = name.size();
  uint32_t h = static_cast<uint32_t>(n) * 0x9E3779B1u;
  h ^= at(0) * 0x85EBCA6Bu;
  h ^= at(n / 2) * 0xC2B2AE35u;
  h ^= at(n - 1) * 0x27D4EB2Fu;
  h ^= at(n > 9 ? 8 : n / 3) * 0x165667B1u;
  return (h ^ (h >> 15)) & (kTable - 1);
}
constexpr std::array<uint8_t, kTable> makeTable() {
  std::array<uint8_t, kTable> table{};
  for (auto& each : table) each = static_cast<uint8_t>(kHeaderIds);
  for (size_t i = 0; i < kHeaderIds; ++i) {
    uint32_t at = hashOf(kNames[i]);
    while (table[at] != kHeaderIds) at = (at + 1) & (kTable - 1);
    table[at] = static_cast<uint8_t>(i);
  }
  return table;
}
constexpr auto kLookup = makeTable();

}  // namespace

std::string_view headerName(HeaderId id) { return id == HeaderId::kUnknown ? std::string_view() : kNames[static_cast<size_t>(id)]; }

uint8_t headerPolicy(HeaderId id) { return id == HeaderId::kUnknown ? 0 : kPolicies[static_cast<size_t>(id)]; }

HeaderId headerId(std::string_view name) {
  if (name.empty()) return HeaderId::kUnknown;
  for (uint32_t at = hashOf(name); kLookup[at] != kHeaderIds; at = (at + 1) & (kTable - 1)) {
    const std::string_view known = kNames[kLookup[at]];
    if (known.size() == name.size() && std::memcmp(known.data(), name.data(), name.size()) == 0) {
      return static_cast<HeaderId>(kLookup[at]);
    }
  }
  return HeaderId::kUnknown;
}

}  // namespace outrider::http
