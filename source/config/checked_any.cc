#include "source/config/checked_any.h"

#include "source/config/any.h"
#include "source/config/schema.h"
#include "source/config/validate.h"

namespace outrider::config {
namespace {

const Checker& rules() {
  static const Checker& checker = *new Checker();
  return checker;
}

}  // namespace

bool unpackChecked(const google::protobuf::Any& any, google::protobuf::Message& out, Problems& problems) {
  return unpack(any, out, problems) && rules().check(out, problems);
}

std::optional<std::string> checkedBytes(const google::protobuf::Any& any, Problems& problems) {
  UnknownFields unknown;
  const std::unique_ptr<google::protobuf::Message> message = unpackAny(any, unknown, problems);
  if (message == nullptr) return std::nullopt;
  const bool plain = typeOfUrl(any.type_url()) == message->GetDescriptor()->full_name();
  if (!(plain ? rules().check(*message, any.value(), problems) : rules().check(*message, problems))) return std::nullopt;
  return plain ? any.value() : message->SerializeAsString();
}

}  // namespace outrider::config
