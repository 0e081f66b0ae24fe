// The descriptors of Envoy's whole v3 API and of what it imports, embedded in the program.
// Thread: any. Lifetime: the program's.
#pragma once

#include <string_view>

namespace outrider::api {

// A serialized google.protobuf.FileDescriptorSet. It is complete by itself: the well-known types are in it.
std::string_view descriptorSet();

}  // namespace outrider::api
