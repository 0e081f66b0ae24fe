// Envoy's substitution format strings ("%REQ(X?Y):Z% took %DURATION%"), compiled once into a list of operations.
// Thread: immutable, any; printing uses the caller's Text. Lifetime: config values. Printing allocates nothing once the Text
// has grown. Sources: Envoy's access log usage page, core.v3.SubstitutionFormatString.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "source/format/date.h"
#include "source/format/operators.h"
#include "source/format/text.h"
#include "source/http/field_name.h"
#include "source/stream/stream_info.h"

namespace outrider::format {

// What one line is printed from. Null: there is none.
struct Input {
  const http::RequestHead* request = nullptr;
  const http::ResponseHead* response = nullptr;
  const http::HeaderMap* trailers = nullptr;  // of the response
  const stream::StreamInfo& info;
  std::string_view local_reply_body = {};
  std::string_view log_type = "NotSet";  // %ACCESS_LOG_TYPE%
};

struct Op {
  Operator code = Operator::kLiteral;
  bool number = false;                 // in JSON
  bool json = false;                   // in JSON it is what printJson() prints
  bool flag = false;                   // RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)
  uint8_t from = 0, to = 0, unit = 0;  // COMMON_DURATION: time points, and 0 ms, 1 us, 2 ns; GRPC_STATUS: unit is the style
  uint32_t most = UINT32_MAX;          // :Z
  std::string text;                    // literal; value of HOSTNAME and ENVIRONMENT
  http::FieldName main, other;         // REQ(main?other)
  std::shared_ptr<const DateFormat> date;

  // Appends the value; false and nothing appended: there is none.
  bool print(const Input& in, Text& out) const;
  bool printJson(const Input& in, Text& out) const;  // of METADATA

 private:
  bool putMetadata(const Input& in, bool in_json, Text& out) const;
};

class Format final {
 public:
  // Errors name the position in `text`.
  static absl::StatusOr<Format> compile(std::string_view text);

  // What is missing prints as "-", or as nothing with omit_empty.
  void print(const Input& in, Text& out, bool omit_empty = false) const;
  // Only literals?
  bool constant() const { return ops_.empty() || (ops_.size() == 1 && ops_[0].code == Operator::kLiteral); }
  std::string_view constantText() const { return ops_.empty() ? std::string_view() : std::string_view(ops_[0].text); }
  const std::vector<Op>& ops() const { return ops_; }
  bool printsNewline() const { return newline_; }  // a date with %n: not for headers
  // Operators that Envoy has and that print "-" here.
  const std::vector<std::string>& withoutData() const { return without_data_; }

 private:
  std::vector<Op> ops_;
  std::vector<std::string> without_data_;
  bool newline_ = false;
};

// Envoy's format when none is configured; it ends with a newline.
std::string_view defaultAccessLogFormat();

}  // namespace outrider::format
