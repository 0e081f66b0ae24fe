#include "source/admin/dump_mask.h"

#include <google/protobuf/any.pb.h>

#include <vector>

#include "source/config/schema.h"

namespace outrider::admin {

using google::protobuf::Any;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

DumpMask::DumpMask(std::string_view paths) {
  while (!paths.empty()) {
    const size_t comma = paths.find(',');
    std::string_view path = paths.substr(0, comma);
    paths = comma == std::string_view::npos ? std::string_view() : paths.substr(comma + 1);
    if (path.empty()) continue;
    Node* node = &root_;
    bool whole = false;  // a shorter path already takes all of this
    while (true) {
      const size_t dot = path.find('.');
      const auto [at, fresh] = node->below.try_emplace(std::string(path.substr(0, dot)));
      whole = !fresh && at->second.below.empty();
      node = &at->second;
      if (whole || dot == std::string_view::npos) break;
      path = path.substr(dot + 1);
    }
    node->below.clear();
  }
}

bool DumpMask::apply(const Node& node, Message& message) {
  if (node.below.empty()) return true;
  if (auto* any = dynamic_cast<Any*>(&message)) {
    const auto* type = config::findType(config::typeOfUrl(any->type_url()));
    if (type == nullptr) return false;
    const std::unique_ptr<Message> inner = config::newMessage(*type);
    if (!inner->ParseFromString(any->value()) || !apply(node, *inner)) return false;
    any->set_value(inner->SerializeAsString());
    return true;
  }
  if (!fits(node, *message.GetDescriptor())) return false;
  const auto* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> set;
  reflection->ListFields(message, &set);
  for (const FieldDescriptor* field : set) {
    const auto at = node.below.find(field->name());
    if (at == node.below.end()) {
      reflection->ClearField(&message, field);
    } else if (!at->second.below.empty() && !apply(at->second, *reflection->MutableMessage(&message, field))) {
      return false;
    }
  }
  return true;
}

// Whether each path leads somewhere, set or not; what an Any holds is not known before it is there.
bool DumpMask::fits(const Node& node, const google::protobuf::Descriptor& type) {
  if (type.full_name() == Any::descriptor()->full_name()) return true;
  for (const auto& [name, below] : node.below) {
    const FieldDescriptor* field = type.FindFieldByName(name);
    if (field == nullptr) return false;
    if (below.below.empty()) continue;
    if (field->is_repeated() || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || !fits(below, *field->message_type())) return false;
  }
  return true;
}

}  // namespace outrider::admin
