// Messages as JSON the way Envoy's admin prints them: names of the API, one space a level, fields by number, no zero
// values unless asked for. Any's are printed as what they hold, also those of types that are not compiled in; an Any of
// a type that nobody knows is {"@type": ..., "value": base64}. Thread: any. Maps are sorted by key, so that equal
// messages print equally.
#pragma once

#include <google/protobuf/message.h>

#include <string>

namespace outrider::config {

struct JsonOptions {
  // Numbers, strings, lists and maps that are empty are printed too (/server_info).
  bool zeros = false;
  // One line without spaces.
  bool compact = false;
  // What is put in the place of secrets: by default of fields that the API marks as sensitive; null prints everything.
  // A secret string becomes "[redacted]", secret bytes its base64, a number its zero; below a secret message every
  // value is replaced.
  bool (*secret)(const google::protobuf::FieldDescriptor& field) = nullptr;
};

// Does the API mark the field as sensitive (udpa.annotations.sensitive)?
bool isSensitive(const google::protobuf::FieldDescriptor& field);

// Without an end of line.
std::string toJson(const google::protobuf::Message& message, const JsonOptions& options = {.secret = isSensitive});
// One string with its quotes, escaped as in the above.
void appendJsonString(std::string& out, std::string_view text);

}  // namespace outrider::config
