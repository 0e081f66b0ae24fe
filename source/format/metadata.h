// Values inside of core.v3.Metadata, read from its wire bytes as they are needed: filter_metadata, a map of names to
// google.protobuf.Struct. Thread: any. Lifetime: views into the bytes. Malformed bytes have no values; depth is bounded.
#pragma once

#include <cstdint>
#include <string_view>

#include "source/format/text.h"

namespace outrider::format {

// Prints what stands at `path` ("namespace:key:key"; the namespace alone is the whole Struct). As text, a string is its
// characters and all else JSON, the first `most` bytes of it; as JSON, a string of at most `most` bytes has quotes. False and
// nothing printed: there is none, or null.
bool printMetadata(std::string_view metadata, std::string_view path, bool json, uint32_t most, Text& out);

}  // namespace outrider::format
