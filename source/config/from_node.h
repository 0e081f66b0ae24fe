// Fills a message from a Node by its descriptors. Only yaml.cc and any.cc include this.
// Thread: one at a time. Lifetime: one conversion.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/struct.pb.h>

#include <string>
#include <string_view>

#include "source/config/document.h"
#include "source/config/problems.h"
#include "source/config/yaml.h"

namespace outrider::config {

class FromNode final {
 public:
  FromNode(std::string_view file, UnknownFields& unknown, Problems& problems) : file_(file), unknown_(unknown), problems_(problems) {}

  // A whole message: a map of its fields, or the special form of a well-known type.
  void message(const Node& node, google::protobuf::Message& out, bool inside_any = false);

 private:
  using Field = google::protobuf::FieldDescriptor;
  using Message = google::protobuf::Message;

  void fields(const Node& node, Message& out, bool inside_any);
  void member(const Node& node, const Field& field, Message& out);
  void map(const Node& node, const Field& field, Message& out);
  void single(const Node& node, const Field& field, Message& out, bool add);
  bool wellKnown(const Node& node, Message& out);
  void any(const Node& node, Message& out);
  void duration(const Node& node, Message& out);
  void timestamp(const Node& node, Message& out);
  void fieldMask(const Node& node, Message& out);
  void wrapper(const Node& node, Message& out);
  void asStruct(const Node& node, google::protobuf::Struct& out);
  void asValue(const Node& node, google::protobuf::Value& out);
  void asList(const Node& node, google::protobuf::ListValue& out);

  bool integer(const Node& node, int64_t least, uint64_t most, int64_t& out_signed, uint64_t& out_unsigned);
  bool number(const Node& node, double& out);
  bool boolean(const Node& node, bool& out);
  bool enumeration(const Node& node, const google::protobuf::EnumDescriptor& type, int& out);
  bool bytes(const Node& node, std::string& out);
  bool text(const Node& node, std::string_view what);  // true when it is a scalar

  void problem(const Node& node, std::string_view what, std::string_view valid = {});
  void unknownField(const Node& member, const google::protobuf::Descriptor& type);

  std::string_view file_;
  UnknownFields& unknown_;
  Problems& problems_;
};

}  // namespace outrider::config
