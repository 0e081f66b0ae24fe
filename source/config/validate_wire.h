// Rules checked on a message's serialized bytes: a fast answer for messages with which nothing is wrong. Only
// validate.cc includes this. Thread: any.
#pragma once

#include <google/protobuf/descriptor.h>

#include <string_view>

#include "source/config/validate_plan.h"

namespace outrider::config {

void compileWire(const google::protobuf::Descriptor& type, MessagePlan& plan);
// True: certainly nothing to report. False: there may be; ask the message.
bool isClean(std::string_view bytes, const MessagePlan& plan);

}  // namespace outrider::config
