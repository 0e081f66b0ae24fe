// A field mask ("cluster.name,last_updated") that also reaches into google.protobuf.Any, as /config_dump takes it.
// Thread: any. Lifetime: one answer's.
#pragma once

#include <google/protobuf/message.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace outrider::admin {

class DumpMask final {
 public:
  explicit DumpMask(std::string_view paths);
  bool empty() const { return root_.below.empty(); }

  // Clears every field that the mask does not name. False: a path names no field, or goes on below one that has no fields of its own
  // (a scalar, a list); the message is then half done.
  bool apply(google::protobuf::Message& message) const { return apply(root_, message); }

 private:
  struct Node {
    std::map<std::string, Node, std::less<>> below;  // empty: everything from here on
  };
  static bool apply(const Node& node, google::protobuf::Message& message);
  static bool fits(const Node& node, const google::protobuf::Descriptor& type);
  Node root_;
};

}  // namespace outrider::admin
