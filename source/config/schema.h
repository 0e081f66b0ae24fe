// Every message type there is: those compiled in, and all others of Envoy's API through embedded descriptors.
// Thread: any (lookups of types that are not compiled in take a lock). Lifetime: the process's.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <string_view>

#include "source/config/nearest.h"

namespace outrider::config {

// By full name ("envoy.config.cluster.v3.Cluster"): the compiled type if there is one, else one from the embedded set,
// else null.
const google::protobuf::Descriptor* findType(std::string_view full_name);
// A new message of a type that findType() gave.
std::unique_ptr<google::protobuf::Message> newMessage(const google::protobuf::Descriptor& type);

// "type.googleapis.com/envoy.config.cluster.v3.Cluster" -> "envoy.config.cluster.v3.Cluster"
std::string_view typeOfUrl(std::string_view url);
std::string urlOfType(std::string_view full_name);

// What the protobuf library would write to stderr (such as invalid UTF-8 in a string) goes to the log at debug level:
// whoever sends such bytes is told through Problems or a NACK. Once, at start.
void routeProtobufLog();

// A field by its name in the API or its name in JSON; null when there is none.
const google::protobuf::FieldDescriptor* findField(const google::protobuf::Descriptor& type, std::string_view name);
// The field whose name is most like `name`, or empty when none is near.
std::string nearestField(const google::protobuf::Descriptor& type, std::string_view name);

}  // namespace outrider::config
