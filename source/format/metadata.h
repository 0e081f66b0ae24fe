// Values inside of core.v3.Metadata, read from its wire bytes as they are needed: filter_metadata, a map of names to
// google.protobuf.Struct. Thread: any. Lifetime: views into the bytes. Malformed bytes have no values; depth is bounded.
#pragma once

#include <string_view>

#include "source/format/text.h"

namespace outrider::format {

// Prints what stands at `path` ("namespace:key:key"; the namespace alone is the whole Struct). As text, a string is its
// characters and all else JSON; as JSON, a string has quotes. False and nothing printed: there is none.
bool printMetadata(std::string_view metadata, std::string_view path, bool json, Text& out);

}  // namespace outrider::format
