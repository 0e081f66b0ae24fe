#include "source/config/document.h"

#include <google/protobuf/struct.pb.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "source/config/readers.h"

namespace outrider::config {

std::string_view Document::keep(std::string_view text) {
  if (text.empty()) return {};
  char* to = static_cast<char*>(memory_.allocate(text.size(), 1));
  std::memcpy(to, text.data(), text.size());
  return {to, text.size()};
}

std::unique_ptr<Document> Document::parse(std::string text, std::string_view name, Problems& problems) {
  std::unique_ptr<Document> document(new Document());
  document->text_ = std::move(text);
  document->name_ = name;
  const size_t start = document->text_.find_first_not_of(" \t\r\n");
  ReadError error;
  bool json = false;
  if (start != std::string::npos && (document->text_[start] == '{' || document->text_[start] == '[')) {
    JsonReader reader(*document);
    if ((document->root_ = reader.read(error)) != nullptr) return document;
    json = true;
  }
  // What is not JSON may still be YAML in its flow style; if it is neither, JSON's error is the one that helps.
  ReadError yaml_error;
  YamlReader reader(*document);
  if ((document->root_ = reader.read(yaml_error)) != nullptr) return document;
  const ReadError& shown = json ? error : yaml_error;
  problems.add(Problem{.path = problems.path(),
                       .value = {},
                       .what = shown.what,
                       .valid = {},
                       .file = std::string(name),
                       .line = static_cast<int>(shown.line),
                       .column = static_cast<int>(shown.column)});
  return nullptr;
}

void Document::members(const google::protobuf::Struct& in, Node& out) {
  out.kind = Node::Kind::kMap;
  for (const auto& [key, value] : in.fields()) {
    Node* member = fromValue(value, key);
    member->next = out.first;
    out.first = member;
  }
}

Node* Document::fromValue(const google::protobuf::Value& in, std::string_view key) {
  using google::protobuf::Value;
  Node* out = make();
  out->key = key;  // the Struct outlives the conversion
  switch (in.kind_case()) {
    case Value::KIND_NOT_SET:
    case Value::kNullValue: break;
    case Value::kNumberValue:
      out->kind = Node::Kind::kScalar;
      out->plain = true;
      out->text = keep(formatNumber(in.number_value()));
      break;
    case Value::kStringValue:
      out->kind = Node::Kind::kScalar;
      out->text = in.string_value();
      break;
    case Value::kBoolValue:
      out->kind = Node::Kind::kScalar;
      out->plain = true;
      out->text = in.bool_value() ? "true" : "false";
      break;
    case Value::kStructValue: members(in.struct_value(), *out); break;
    case Value::kListValue: {
      out->kind = Node::Kind::kList;
      Node* last = nullptr;
      for (const Value& value : in.list_value().values()) {
        Node* element = fromValue(value, {});
        (last == nullptr ? out->first : last->next) = element;
        last = element;
      }
      break;
    }
  }
  return out;
}

std::unique_ptr<Document> Document::fromStruct(const google::protobuf::Struct& in) {
  std::unique_ptr<Document> document(new Document());
  Node* root = document->make();
  document->members(in, *root);
  document->root_ = root;
  return document;
}

const Node* findMember(const Node& map, std::string_view key) {
  if (map.kind != Node::Kind::kMap) return nullptr;
  for (const Node* member = map.first; member != nullptr; member = member->next) {
    if (member->key == key && !member->ignored) return member;
  }
  return nullptr;
}

namespace {

// connect_timeout and connectTimeout name the same field.
bool sameField(std::string_view key, std::string_view snake) {
  size_t i = 0;
  for (size_t j = 0; j < snake.size(); ++j) {
    char want = snake[j];
    if (i < key.size() && key[i] == want) {
      ++i;
      continue;
    }
    if (want != '_' || j + 1 == snake.size() || i == key.size()) return false;
    want = snake[++j];
    if (want >= 'a' && want <= 'z') want = static_cast<char>(want - 'a' + 'A');
    if (key[i++] != want) return false;
  }
  return i == key.size();
}

const Node* memberAt(const Node& map, std::string_view name) {
  if (map.kind != Node::Kind::kMap) return nullptr;
  for (const Node* member = map.first; member != nullptr; member = member->next) {
    if (sameField(member->key, name)) return member;
  }
  return nullptr;
}

const Node* elementAt(const Node& list, size_t index) {
  if (list.kind != Node::Kind::kList) return index == 0 ? &list : nullptr;  // a single value stands for a list of one
  const Node* element = list.first;
  while (element != nullptr && index-- > 0) element = element->next;
  return element;
}

}  // namespace

bool Document::locate(std::string_view path, std::string& file, int& line, int& column) const {
  const Node* at = root_;
  while (!path.empty()) {
    const Node* below = nullptr;
    if (path.starts_with("[\"")) {
      const size_t end = path.find("\"]");
      if (end == std::string_view::npos) break;
      below = memberAt(*at, path.substr(2, end - 2));
      path.remove_prefix(end + 2);
    } else if (path.front() == '[') {
      const size_t end = path.find(']');
      if (end == std::string_view::npos) break;
      size_t index = 0;
      for (const char c : path.substr(1, end - 1)) index = index * 10 + static_cast<size_t>(c - '0');
      below = elementAt(*at, index);
      path.remove_prefix(end + 1);
    } else {
      if (path.front() == '.') path.remove_prefix(1);
      const size_t end = std::min(path.find_first_of(".["), path.size());
      below = memberAt(*at, path.substr(0, end));
      path.remove_prefix(end);
    }
    if (below == nullptr) break;
    at = below;
  }
  if (at->line == 0) return false;
  file = name_;
  line = static_cast<int>(at->line);
  column = static_cast<int>(at->column);
  return true;
}

bool isUtf8(std::string_view text) {
  size_t i = 0;
  const auto at = [&text](size_t index) { return static_cast<unsigned char>(text[index]); };
  while (i < text.size()) {
    const unsigned char c = at(i);
    if (c < 0x80) {
      ++i;
      continue;
    }
    const size_t more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    if (c < 0xC2 || c > 0xF4 || i + more >= text.size()) return false;
    for (size_t k = 1; k <= more; ++k) {
      if ((at(i + k) & 0xC0) != 0x80) return false;
    }
    // Overlong forms, surrogates and what is beyond U+10FFFF.
    const unsigned char second = at(i + 1);
    if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F) || (c == 0xF0 && second < 0x90) || (c == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace outrider::config
