// One value of a message by reflection: what each reader that knows no type begins with.
// Thread: any. Lifetime: nothing is kept.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>

#include "source/base/check.h"

namespace outrider::config {

struct EnumNumber {
  int number;
};

// Calls `visit` with the value of `field`, or with its element `at` if that is not negative: a number, a bool, an EnumNumber, a
// const std::string& (text or bytes) or a const Message&. Its answer is the same type for all of them; it keeps no reference.
template <class Visit>
auto visitValue(const google::protobuf::Message& in, const google::protobuf::FieldDescriptor& field, int at, Visit&& visit) {
  using Field = google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection& r = *in.GetReflection();
  const bool one = at < 0;
  switch (field.cpp_type()) {
    case Field::CPPTYPE_INT32: return visit(one ? r.GetInt32(in, &field) : r.GetRepeatedInt32(in, &field, at));
    case Field::CPPTYPE_INT64: return visit(one ? r.GetInt64(in, &field) : r.GetRepeatedInt64(in, &field, at));
    case Field::CPPTYPE_UINT32: return visit(one ? r.GetUInt32(in, &field) : r.GetRepeatedUInt32(in, &field, at));
    case Field::CPPTYPE_UINT64: return visit(one ? r.GetUInt64(in, &field) : r.GetRepeatedUInt64(in, &field, at));
    case Field::CPPTYPE_DOUBLE: return visit(one ? r.GetDouble(in, &field) : r.GetRepeatedDouble(in, &field, at));
    case Field::CPPTYPE_FLOAT: return visit(one ? r.GetFloat(in, &field) : r.GetRepeatedFloat(in, &field, at));
    case Field::CPPTYPE_BOOL: return visit(one ? r.GetBool(in, &field) : r.GetRepeatedBool(in, &field, at));
    case Field::CPPTYPE_ENUM: return visit(EnumNumber{one ? r.GetEnumValue(in, &field) : r.GetRepeatedEnumValue(in, &field, at)});
    case Field::CPPTYPE_STRING: {
      std::string scratch;
      return visit(one ? r.GetStringReference(in, &field, &scratch) : r.GetRepeatedStringReference(in, &field, at, &scratch));
    }
    case Field::CPPTYPE_MESSAGE: return visit(one ? r.GetMessage(in, &field) : r.GetRepeatedMessage(in, &field, at));
  }
  OUTRIDER_UNREACHABLE();
}

// google.protobuf.UInt32Value and its like: a message that stands for its one field.
inline bool isWrapper(const google::protobuf::Descriptor& type) {
  using Descriptor = google::protobuf::Descriptor;
  switch (type.well_known_type()) {
    case Descriptor::WELLKNOWNTYPE_DOUBLEVALUE:
    case Descriptor::WELLKNOWNTYPE_FLOATVALUE:
    case Descriptor::WELLKNOWNTYPE_INT64VALUE:
    case Descriptor::WELLKNOWNTYPE_UINT64VALUE:
    case Descriptor::WELLKNOWNTYPE_INT32VALUE:
    case Descriptor::WELLKNOWNTYPE_UINT32VALUE:
    case Descriptor::WELLKNOWNTYPE_STRINGVALUE:
    case Descriptor::WELLKNOWNTYPE_BYTESVALUE:
    case Descriptor::WELLKNOWNTYPE_BOOLVALUE: return true;
    default: return false;
  }
}

}  // namespace outrider::config
