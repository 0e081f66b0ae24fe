// A message's bytes cut at one of its repeated fields: its elements, and all else. What did not change since the version before is
// found so, without reading it.
// Thread: any. Lifetime: the views are of the bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace outrider::config {

struct Slices {
  std::vector<std::string_view> of;
  std::string rest;
};

// `field`: number of a repeated message field. False: no protobuf message.
bool slice(std::string_view bytes, int field, Slices& out);

}  // namespace outrider::config
