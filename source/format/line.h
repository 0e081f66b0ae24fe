// A text or a JSON line, as core.v3.SubstitutionFormatString says: access log entries, bodies of replies.
// Thread: immutable, any. Lifetime: config values.
#pragma once

#include <optional>

#include "source/format/format.h"
#include "source/format/json_format.h"

namespace outrider::format {

// Text, or JSON when `json` is set.
struct Line {
  Format text;
  std::optional<JsonFormat> json;
  bool omit_empty = false;

  void print(const Input& in, Text& out) const {
    if (json.has_value())
      json->print(in, out, omit_empty);
    else
      text.print(in, out, omit_empty);
  }
};

}  // namespace outrider::format
