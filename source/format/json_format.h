// A JSON access log line: a static skeleton with holes, typed as Envoy types them: numbers stay numbers, what is missing is
// null, text with several parts is a string. Thread: immutable, any. Source: core.v3.SubstitutionFormatString.json_format.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "source/format/format.h"

namespace outrider::format {

// What json_format holds, without protobuf. Equality: same line.
struct JsonNode {
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kList, kObject };
  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0;
  std::string text;               // a format string
  std::vector<std::string> keys;  // kObject, beside children
  std::vector<JsonNode> children;
  bool operator==(const JsonNode&) const = default;
};

class JsonFormat final {
 public:
  // Errors name the path of the leaf and the position in it. Keys come out sorted.
  static absl::StatusOr<JsonFormat> compile(const JsonNode& root);
  // One line with its newline. With omit_empty what is missing is left out, and so are objects that hold nothing then.
  void print(const Input& in, Text& out, bool omit_empty = false) const;
  const std::vector<std::string>& withoutData() const { return without_data_; }

 private:
  struct Piece {
    std::string literal;  // printed first
    std::vector<Op> ops;  // empty: literal only
  };
  // The same as a tree, for lines with gaps.
  struct Item {
    enum class Kind : uint8_t { kLiteral, kValue, kNull, kList, kObject };
    Kind kind = Kind::kLiteral;
    std::string key;  // "\"name\":" in an object
    std::string literal;
    std::vector<Op> ops;
    std::vector<Item> items;
  };
  absl::Status add(const JsonNode& node, const std::string& path, Item& item);
  static bool printDense(const Item& item, const Input& in, Text& out);
  std::string& tail();
  std::vector<Piece> pieces_;
  Item root_;
  std::vector<std::string> without_data_;
};

// The shortest text that reads as the same number; no number is null.
void addJsonNumber(double number, Text& out);
// Appends `text` as the inside of a JSON string (RFC 8259); a byte that is no UTF-8 is escaped as the code point of its value.
void addJsonEscaped(std::string_view text, Text& out);

}  // namespace outrider::format
