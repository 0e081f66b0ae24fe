// Small things that the router's files share: numbers and lists in headers, and what a reset is called.
// Thread: any. Source: Envoy docs "response_code_details", "access_log" (RESPONSE_FLAGS).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "source/base/arena.h"
#include "source/http/codec.h"
#include "source/stream/response_flags.h"

namespace outrider::router {

// The whole text, in decimal; false: it is no number.
bool parseNumber(std::string_view text, uint64_t& out);
std::string_view printNumber(base::Arena& arena, uint64_t value);

// Envoy's words for a reset, as details and bodies have them.
std::string_view resetWords(http::ResetReason reason);
stream::ResponseFlag resetFlag(http::ResetReason reason);
// Its id in docs/reasons.md.
std::string_view reasonId(http::ResetReason reason);

// Spaces would break the columns of an access log.
std::string_view underscored(base::Arena& arena, std::string_view text);

// Each element of a comma-separated list, without the spaces around it.
template <class F>
void eachOf(std::string_view list, F&& use) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    std::string_view each = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (!each.empty() && each.front() == ' ') each.remove_prefix(1);
    while (!each.empty() && each.back() == ' ') each.remove_suffix(1);
    if (!each.empty()) use(each);
  }
}

}  // namespace outrider::router
