// Text to message: YAML, JSON or binary, told apart by content, in every spelling that Envoy takes.
// Names in snake_case or camelCase; a single value for a repeated field; durations as "1.5s" or {seconds, nanos}; enum
// values in any case or as numbers; numbers and booleans as strings; base64 for bytes; wrappers, Struct, Any with
// "@type". Thread: any. Errors: each goes to Problems with its field path and, from a text, its file, line and column.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "source/config/document.h"
#include "source/config/problems.h"

namespace outrider::config {

// Fields that the API does not have: refused, or skipped and listed here.
struct UnknownFields {
  bool allow = false;
  uint64_t count = 0;
  std::vector<std::string> paths;  // the first hundred
};

// The tree into `out`, which need not be empty (fields set here win). False when a problem was added.
bool toMessage(const Document& document, google::protobuf::Message& out, UnknownFields& unknown, Problems& problems);
bool toMessage(const Node& node, std::string_view file, google::protobuf::Message& out, UnknownFields& unknown, Problems& problems);

struct Parsed {
  bool ok = false;
  std::unique_ptr<Document> document;  // null for binary; give it to Problems::setLocator() while specs are made from the message
};
// A whole file's content. `name` is its name, or what else problems should call it; ".pb" and ".pb_text" at its end
// decide, else content.
Parsed parseContent(std::string content, std::string_view name, google::protobuf::Message& out, UnknownFields& unknown, Problems& problems);

// All bytes of a file, a pipe or /dev/fd/N: nothing is assumed but read().
absl::StatusOr<std::string> readFile(const std::string& path);

}  // namespace outrider::config
