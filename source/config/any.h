// google.protobuf.Any in and out, and the two TypedStruct wrappers that control planes put around messages.
// Thread: any.
#pragma once

#include <google/protobuf/any.pb.h>
#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <string_view>

#include "source/config/problems.h"
#include "source/config/yaml.h"

namespace outrider::config {

// The full name of the message in `any`, seen through udpa.type.v1.TypedStruct and xds.type.v3.TypedStruct. Empty when
// a TypedStruct cannot be read or names no type. This, never an extension's free name, is what extensions are looked up
// by.
std::string innerType(const google::protobuf::Any& any);

// `any` into `out`, whose type must be innerType(any). False when a problem was added. Fields of a TypedStruct that the
// type does not have go to `unknown`.
bool unpack(const google::protobuf::Any& any, google::protobuf::Message& out, UnknownFields& unknown, Problems& problems);
// The same, where such fields are refused.
bool unpack(const google::protobuf::Any& any, google::protobuf::Message& out, Problems& problems);

// Whatever type it is, if it is known at all (see schema.h). Null after a problem was added.
std::unique_ptr<google::protobuf::Message> unpackAny(const google::protobuf::Any& any, UnknownFields& unknown, Problems& problems);

}  // namespace outrider::config
