// A message's bytes, the same for equal messages: maps are in the order of their keys. Thread: any.
#pragma once

#include <string>

namespace google::protobuf {
class MessageLite;
}

namespace outrider::config {

std::string stableBytes(const google::protobuf::MessageLite& in);

}  // namespace outrider::config
