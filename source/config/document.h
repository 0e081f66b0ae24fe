// A JSON or YAML text as a tree that remembers where each value stood: the step between text and messages, and between
// a google.protobuf.Struct and a message. Thread: one at a time. Lifetime: nodes are views into their Document and die
// with it. Bounds: 256 levels; aliases may repeat at most a million nodes (a "billion laughs" text is refused).
#pragma once

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>

#include "source/config/problems.h"

namespace google::protobuf {
class Struct;
class Value;
}  // namespace google::protobuf

namespace outrider::config {

struct Node {
  enum class Kind : uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  bool plain = false;    // a scalar without quotes: it may be a number or a boolean
  bool ignored = false;  // tagged !ignore: present only to carry an anchor
  bool yaml = false;     // plain scalars follow YAML's words: on, off, yes, no, 0x10, 010
  uint32_t line = 0;     // from 1; 0: unknown
  uint32_t column = 0;
  uint32_t weight = 1;    // nodes in it, aliases counted as often as they are used
  std::string_view text;  // of a scalar
  std::string_view key;   // of a member of a map
  const Node* first = nullptr;
  const Node* next = nullptr;
};

class Document final : public Problems::Locator {
 public:
  // Reads JSON if it is JSON, else YAML. Null after a problem was added. `name` is what problems call the text, such as
  // the file's name.
  static std::unique_ptr<Document> parse(std::string text, std::string_view name, Problems& problems);
  static std::unique_ptr<Document> fromStruct(const google::protobuf::Struct& in);
  ~Document() override = default;
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  const Node& root() const { return *root_; }
  const std::string& name() const { return name_; }
  // Line and column of the value at a field path such as "clusters[2].connect_timeout"; of the nearest parent that is
  // there when the value itself is not.
  bool locate(std::string_view path, std::string& file, int& line, int& column) const override;

 private:
  friend class JsonReader;
  friend class YamlReader;
  Document() = default;
  Node* make() { return new (memory_.allocate(sizeof(Node), alignof(Node))) Node(); }
  std::string_view keep(std::string_view text);  // a copy that lives as long as the document
  Node* fromValue(const google::protobuf::Value& in, std::string_view key);
  void members(const google::protobuf::Struct& in, Node& out);

  std::pmr::monotonic_buffer_resource memory_{16 * 1024};
  std::string text_;
  std::string name_;
  const Node* root_ = nullptr;
};

// The member of a map, or null.
const Node* findMember(const Node& map, std::string_view key);

bool isUtf8(std::string_view text);

}  // namespace outrider::config
