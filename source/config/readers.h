// The two readers behind Document::parse. Only document.cc includes this.
// Thread: one at a time. Lifetime: one parse.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "source/config/document.h"

namespace outrider::config {

struct ReadError {
  std::string what;
  uint32_t line = 0;
  uint32_t column = 0;
};

inline constexpr int kMostLevels = 256;

// The shortest text that reads back as the same number; an integer without a fraction.
std::string formatNumber(double value);

// RFC 8259, strictly: no comments, no trailing commas (such a text is tried as YAML).
class JsonReader final {
 public:
  explicit JsonReader(Document& document) : document_(document) {}
  // Null, and `error` filled, when the text is not JSON.
  const Node* read(ReadError& error);

 private:
  bool value(Node& out, int depth);
  bool object(Node& out, int depth);
  bool array(Node& out, int depth);
  bool string(std::string_view& out);
  bool unescape(std::string_view& out, const char* start);
  bool number(std::string_view& out);
  bool literal(std::string_view word);
  bool fail(std::string_view what);
  void skipSpace();

  Document& document_;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  const char* line_start_ = nullptr;
  uint32_t line_ = 1;
  ReadError error_;
};

// One YAML 1.1 document through libyaml: anchors, aliases, merge keys, the !ignore tag.
class YamlReader final {
 public:
  explicit YamlReader(Document& document) : document_(document) {}
  const Node* read(ReadError& error);

 private:
  Document& document_;
};

}  // namespace outrider::config
