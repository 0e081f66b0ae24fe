// The case of field names on the wire, for peers that wrongly tell names apart by it: names of several words in capitals
// ("Content-Type"), or as the other side spelled them. Everything else sees lower-case names.
// Thread: the worker's. Lifetime: a Spelling lives in its message's arena. Source: Http1ProtocolOptions.HeaderKeyFormat,
// http.header_formatters.preserve_case.
#pragma once

#include <cstdint>
#include <string_view>

#include "source/base/arena.h"
#include "source/http/header_map.h"

namespace outrider::http::h1 {

// The names in the lines [at, end). `proper`: names that are not among them are capitalised; else they are lower case, whatever
// the codec that writes them does with others.
const Spelling* recordSpelling(const char* at, const char* end, bool proper, base::Arena& arena);

// Rewrites the names of a message's head behind its first line. `spelling` (may be null) goes before `proper`. The names of
// trailers are lower case always, as with Envoy.
void respell(char* head, size_t size, const Spelling* spelling, bool proper);

}  // namespace outrider::http::h1
