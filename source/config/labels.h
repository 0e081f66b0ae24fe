// Metadata that is compared: key and serialized google.protobuf.Value, in the order of keys. Thread: a value.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace outrider::config {

using Labels = std::vector<std::pair<std::string, std::string>>;

}  // namespace outrider::config
