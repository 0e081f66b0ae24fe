#include "source/config/checked_any.h"

#include "source/config/any.h"
#include "source/config/schema.h"

namespace outrider::config {

bool unpackChecked(const google::protobuf::Any& any, google::protobuf::Message& out, const Checker& checker,
                   UnknownFields& unknown, Problems& problems) {
  if (!unpack(any, out, unknown, problems)) return false;
  const bool plain = typeOfUrl(any.type_url()) == out.GetDescriptor()->full_name();  // else a TypedStruct holds it
  return plain ? checker.check(out, any.value(), problems) : checker.check(out, problems);
}

}  // namespace outrider::config
