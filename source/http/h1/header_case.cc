#include "source/http/h1/header_case.h"

#include <algorithm>
#include <cstring>

namespace outrider::http::h1 {
namespace {

bool isUpper(char c) { return c >= 'A' && c <= 'Z'; }

// Calls fn(first, last) with each name; lines that go on the one before have none.
template <class Char, class Fn>
void forEachName(Char* at, Char* const end, Fn&& fn) {
  while (at < end) {
    auto* line_end = static_cast<Char*>(std::memchr(at, '\n', static_cast<size_t>(end - at)));
    if (line_end == nullptr) line_end = end;
    auto* colon = static_cast<Char*>(std::memchr(at, ':', static_cast<size_t>(line_end - at)));
    if (colon != nullptr && *at != ' ' && *at != '\t') fn(at, colon);
    at = line_end + 1;
  }
}

// The first letter of each word; a word ends at what is no letter and no digit.
void capitalise(char* at, const char* end) {
  bool first = true;
  for (; at < end; ++at) {
    const bool letter = *at >= 'a' && *at <= 'z';
    if (first && letter) *at = static_cast<char>(*at - 'a' + 'A');
    first = !letter && !(*at >= '0' && *at <= '9') && !isUpper(*at);
  }
}

}  // namespace

const Spelling* recordSpelling(const char* at, const char* end, bool proper, base::Arena& arena) {
  uint32_t count = 0;
  // A name in lower case needs no memory, unless it would be capitalised without.
  const auto odd = [&](const char* from, const char* to) { return proper || std::any_of(from, to, isUpper); };
  forEachName(at, end, [&](const char* from, const char* to) { count += odd(from, to); });
  auto* names = arena.array<std::string_view>(count);
  uint32_t i = 0;
  forEachName(at, end, [&](const char* from, const char* to) {
    if (odd(from, to)) names[i++] = arena.copy({from, static_cast<size_t>(to - from)});
  });
  Spelling* out = arena.make<Spelling>();
  out->names = names;
  out->count = count;
  out->proper = proper;
  return out;
}

void respell(char* head, size_t size, const Spelling* spelling, bool proper) {
  if (spelling != nullptr && spelling->count == 0 && !spelling->proper) return;
  char* const end = head + size;
  auto* at = static_cast<char*>(std::memchr(head, '\n', size));
  if (at == nullptr) return;
  forEachName(at + 1, end, [&](char* from, char* to) {
    const std::string_view name(from, static_cast<size_t>(to - from));
    if (spelling == nullptr) {
      if (proper) capitalise(from, to);
      return;
    }
    for (uint32_t i = 0; i < spelling->count; ++i) {
      if (!equalsIgnoreCase(spelling->names[i], name)) continue;
      std::memcpy(from, spelling->names[i].data(), name.size());
      return;
    }
    if (spelling->proper) capitalise(from, to);
  });
}

}  // namespace outrider::http::h1
