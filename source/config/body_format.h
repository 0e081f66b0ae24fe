// Bodies made from formats (local replies, direct responses). Thread: any worker.
#pragma once

#include "source/config/route_spec.h"
#include "source/format/line.h"

namespace outrider::config {

// The text lives in `arena`. `input.local_reply_body` is what the body would be without the format.
inline std::string_view formatBody(const BodyFormat& format, const format::Input& input, base::Arena& arena) {
  thread_local format::Text text;
  text.clear();
  format.line->print(input, text);
  return arena.copy(text.view());
}

}  // namespace outrider::config
