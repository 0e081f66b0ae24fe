// google.protobuf.Any to a message that Envoy's rules hold for: what a parser of an extension begins with.
// Thread: any.
#pragma once

#include <google/protobuf/any.pb.h>
#include <google/protobuf/message.h>

#include <optional>
#include <string>

#include "source/config/problems.h"

namespace outrider::config {

// unpack() of any.h, then Envoy's rules. What is not acted on the parser reports by itself. False when a problem was added.
bool unpackChecked(const google::protobuf::Any& any, google::protobuf::Message& out, Problems& problems);

// The bytes of the message in `any`, seen through a TypedStruct, once Envoy's rules hold for it. Nothing after a problem was added.
std::optional<std::string> checkedBytes(const google::protobuf::Any& any, Problems& problems);

}  // namespace outrider::config
