#include "source/config/any.h"

#include <google/protobuf/struct.pb.h>

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/config/document.h"
#include "source/config/from_node.h"
#include "source/config/schema.h"
#include "udpa/type/v1/typed_struct.pb.h"
#include "xds/type/v3/typed_struct.pb.h"

namespace outrider::config {
namespace {

using google::protobuf::Any;
using google::protobuf::Message;
using google::protobuf::Struct;

constexpr std::string_view kUdpa = "udpa.type.v1.TypedStruct";
constexpr std::string_view kXds = "xds.type.v3.TypedStruct";

struct Wrapped {
  bool is = false;  // a TypedStruct at all
  bool ok = false;  // that could be read
  std::string type_url;
  Struct value;
};

Wrapped unwrap(const Any& any) {
  Wrapped out;
  const std::string_view type = typeOfUrl(any.type_url());
  const auto read = [&](auto message) {
    out.is = true;
    out.ok = message.ParseFromString(any.value());
    if (!out.ok) return;
    out.type_url = message.type_url();
    out.value.Swap(message.mutable_value());
  };
  if (type == kUdpa) {
    read(udpa::type::v1::TypedStruct());
  } else if (type == kXds) {
    read(xds::type::v3::TypedStruct());
  }
  return out;
}

bool unreadable(std::string_view type, Problems& problems) {
  problems.add({}, absl::StrCat("the bytes are no ", base::toAbsl(type)));
  return false;
}

// `body` is the decoded wrapper, if there was one.
bool fill(const Any& any, const Wrapped& body, Message& out, UnknownFields& unknown, Problems& problems) {
  const std::string& type = out.GetDescriptor()->full_name();
  if (body.is) {
    if (!body.ok) return unreadable(typeOfUrl(any.type_url()), problems);
    if (typeOfUrl(body.type_url) != type) {
      problems.add(body.type_url, "is another message than expected", absl::StrCat("give ", type));
      return false;
    }
    const std::unique_ptr<Document> document = Document::fromStruct(body.value);
    const size_t before = problems.size();
    FromNode({}, unknown, problems).message(document->root(), out, true);
    return problems.size() == before;
  }
  if (typeOfUrl(any.type_url()) != type) {
    problems.add(any.type_url(), "is another message than expected", absl::StrCat("give ", type));
    return false;
  }
  return out.ParseFromString(any.value()) || unreadable(type, problems);
}

}  // namespace

std::string innerType(const Any& any) {
  const std::string_view type = typeOfUrl(any.type_url());
  if (type != kUdpa && type != kXds) return std::string(type);
  return std::string(typeOfUrl(unwrap(any).type_url));
}

bool unpack(const Any& any, Message& out, UnknownFields& unknown, Problems& problems) {
  return fill(any, unwrap(any), out, unknown, problems);
}

bool unpack(const Any& any, Message& out, Problems& problems) {
  UnknownFields unknown;
  return unpack(any, out, unknown, problems);
}

std::unique_ptr<Message> unpackAny(const Any& any, UnknownFields& unknown, Problems& problems) {
  const Wrapped body = unwrap(any);
  if (body.is && !body.ok) {
    unreadable(typeOfUrl(any.type_url()), problems);
    return nullptr;
  }
  const std::string_view url = body.is ? std::string_view(body.type_url) : std::string_view(any.type_url());
  const auto* type = findType(typeOfUrl(url));
  if (type == nullptr) {
    problems.add(url, url.empty() ? "no message type is named" : "no message type of this name is known");
    return nullptr;
  }
  std::unique_ptr<Message> out = newMessage(*type);
  if (!fill(any, body, *out, unknown, problems)) return nullptr;
  return out;
}

}  // namespace outrider::config
