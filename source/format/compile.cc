// Text to operations.
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/format/format.h"

namespace outrider::format {
namespace {

struct Known {
  std::string_view name;
  Operator code;
  Params params;
  bool length;
  bool number;
};

constexpr Params kNone = Params::kNone, kOptional = Params::kOptional, kRequired = Params::kRequired;
constexpr Known kKnown[] = {
#define OUTRIDER_OPERATOR_ROW(name, id, params, length, number) {name, Operator::id, params, length, number},
    OUTRIDER_OPERATORS(OUTRIDER_OPERATOR_ROW)
#undef OUTRIDER_OPERATOR_ROW
};

// Index + 1 in the order that Op::print knows.
constexpr std::string_view kTimePoints[] = {"DS_RX_BEG", "DS_RX_END", "US_CX_BEG", "US_CX_END", "US_HS_END", "US_TX_BEG",
                                            "US_TX_END", "US_RX_BEG", "US_RX_END", "DS_TX_BEG", "DS_TX_END"};

std::string hostName() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? std::string(name) : std::string();
}

class Compiler {
 public:
  Compiler(std::string_view command, std::optional<std::string_view> params, std::optional<uint32_t> length, Op& op)
      : command_(command), params_(params), length_(length), op_(op) {
    for (const OperatorAlias& alias : kOperatorAliases) {
      if (alias.name == command_) command_ = alias.of;
    }
  }

  // Empty: done; else what is wrong.
  std::string run(bool& without_data) {
    for (const MetadataOperator& each : kMetadataOperators) {
      if (each.name != command_) continue;
      if (!params_.has_value() || params_->empty()) return absl::StrCat(base::toAbsl(command_), " needs parameters");
      whole_ = std::string(each.of).append(":").append(*params_);
      params_ = whole_;
      command_ = "METADATA";
      break;
    }
    const auto known = std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) { return k.name == command_; });
    if (known == std::end(kKnown)) {
      const auto& all = kOperatorsWithoutData;
      without_data = std::find(std::begin(all), std::end(all), command_) != std::end(all);
      op_.code = Operator::kNothing;
      return without_data ? std::string() : absl::StrCat("unknown operator ", base::toAbsl(command_));
    }
    if (known->params == Params::kNone && params_.has_value()) return absl::StrCat(base::toAbsl(command_), " takes no parameters");
    if (known->params == Params::kRequired && (!params_.has_value() || params_->empty())) {
      return absl::StrCat(base::toAbsl(command_), " needs parameters");
    }
    if (length_.has_value() && !known->length) return absl::StrCat(base::toAbsl(command_), " takes no length");
    op_.code = known->code;
    op_.number = known->number;
    if (op_.code == Operator::kMetadata) return metadata(*params_, without_data);
    if (length_.has_value()) op_.most = *length_;
    return parameters();
  }

 private:
  std::string parameters() {
    const std::string_view text = params_.value_or(std::string_view());
    switch (op_.code) {
      case Operator::kReq:
      case Operator::kResp:
      case Operator::kTrailer:
      case Operator::kReqWithoutQuery: return fields(text);
      case Operator::kStartTime:
      case Operator::kEmitTime: return date(text, false);
      case Operator::kStartTimeLocal:
      case Operator::kEmitTimeLocal: return date(text, true);
      case Operator::kPeerCertStart:
      case Operator::kPeerCertEnd:
      case Operator::kUpstreamPeerCertStart:
      case Operator::kUpstreamPeerCertEnd: return date(text, false);
      case Operator::kResponseCodeDetails: op_.flag = text == "ALLOW_WHITESPACES"; return {};
      case Operator::kCommonDuration: return duration(text);
      case Operator::kGrpcStatus:
        if (text.empty() || text == "CAMEL_STRING")
          op_.unit = 0;
        else if (text == "SNAKE_STRING")
          op_.unit = 1;
        else if (text == "NUMBER") {
          op_.unit = 2;
          op_.number = true;
        } else
          return "GRPC_STATUS takes CAMEL_STRING, SNAKE_STRING or NUMBER";
        return {};
      case Operator::kPath: return path(text);
      case Operator::kQueryParam: op_.text = text; return {};
      case Operator::kQueryParams:
        if (!text.empty() && text != "ORIG" && text != "DECODED") return "QUERY_PARAMS takes ORIG or DECODED";
        op_.flag = text == "DECODED";
        return {};
      case Operator::kHostname: op_.text = hostName(); return {};
      case Operator::kEnvironment: {
        const char* value = std::getenv(std::string(text).c_str());
        op_.text = value == nullptr ? "-" : value;
        return {};
      }
      default: return {};
    }
  }

  std::string fields(std::string_view text) {
    const size_t question = text.find('?');
    const std::string_view main = text.substr(0, question);
    const std::string_view other = question == std::string_view::npos ? std::string_view() : text.substr(question + 1);
    if (other.find('?') != std::string_view::npos) return "has more than one alternative header";
    if (main.empty()) return "names no header";
    for (const char c : text) {
      if (c == '\r' || c == '\n' || c == '\0') return "has a header name with CR, LF or NUL";
    }
    op_.main = http::FieldName(main);
    if (!other.empty()) op_.other = http::FieldName(other);
    return {};
  }

  // With its query or without (WQ, NQ), and which path: the client's, as it was routed, or the client's if it was rewritten.
  std::string path(std::string_view text) {
    const size_t colon = text.find(':');
    const std::string_view query = text.substr(0, colon);
    const std::string_view which = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    if (!query.empty() && query != "WQ" && query != "NQ") return "PATH takes WQ or NQ";
    op_.flag = query == "NQ";
    constexpr std::string_view kOriginal = "x-envoy-original-path";
    if (which == "ORIG") {
      op_.main = http::FieldName(kOriginal);
    } else if (which == "PATH") {
      op_.main = http::FieldName(":path");
    } else if (which.empty() || which == "ORIG_OR_PATH") {
      op_.main = http::FieldName(kOriginal);
      op_.other = http::FieldName(":path");
    } else {
      return "PATH takes ORIG, PATH or ORIG_OR_PATH";
    }
    return {};
  }

  // TYPE:namespace:key:key
  std::string metadata(std::string_view text, bool& without_data) {
    if (length_.has_value()) op_.most = *length_;
    const size_t colon = text.find(':');
    const std::string_view of = text.substr(0, colon);
    const std::string_view path = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    without_data = std::find(std::begin(kMetadataWithoutData), std::end(kMetadataWithoutData), of) != std::end(kMetadataWithoutData);
    if (without_data) op_.code = Operator::kNothing;
    const auto known = std::find(std::begin(kMetadataOf), std::end(kMetadataOf), of);
    if (!without_data && known == std::end(kMetadataOf)) {
      return "METADATA takes ROUTE, CLUSTER, UPSTREAM_HOST, VIRTUAL_HOST, LISTENER, LISTENER_FILTER_CHAIN or DYNAMIC";
    }
    op_.unit = static_cast<uint8_t>(known - std::begin(kMetadataOf));
    op_.json = true;
    op_.text = path;
    return {};
  }

  std::string date(std::string_view text, bool local) {
    op_.date = std::make_shared<const DateFormat>(text, local);
    return {};
  }

  std::string duration(std::string_view text) {
    std::string_view parts[3];
    size_t count = 0;
    for (;;) {
      const size_t colon = text.find(':');
      if (count == 3) return "COMMON_DURATION takes START:END:PRECISION";
      parts[count++] = text.substr(0, colon);
      if (colon == std::string_view::npos) break;
      text.remove_prefix(colon + 1);
    }
    if (count < 2) return "COMMON_DURATION takes START:END:PRECISION";
    const auto point = [](std::string_view name) -> uint8_t {
      for (uint8_t i = 0; i < std::size(kTimePoints); ++i) {
        if (kTimePoints[i] == name) return static_cast<uint8_t>(i + 1);
      }
      return 0;  // a time point that a filter may set; none does
    };
    op_.from = point(parts[0]);
    op_.to = point(parts[1]);
    if (count == 3) {
      if (parts[2] == "us")
        op_.unit = 1;
      else if (parts[2] == "ns")
        op_.unit = 2;
      else if (parts[2] != "ms")
        return "COMMON_DURATION's precision is ms, us or ns";
    }
    return {};
  }

  std::string_view command_;
  std::optional<std::string_view> params_;
  std::optional<uint32_t> length_;
  Op& op_;
  std::string whole_;  // of a short operator
};

bool isNameChar(char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

}  // namespace

absl::StatusOr<Format> Format::compile(std::string_view text) {
  Format out;
  std::string literal;
  const auto flush = [&] {
    if (literal.empty()) return;
    out.ops_.emplace_back();
    out.ops_.back().text = std::move(literal);
    literal.clear();
  };
  const auto error = [](size_t position, std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("at position ", position, ": ", base::toAbsl(what)));
  };
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '%') {
      const size_t next = std::min(text.find('%', i), text.size());
      literal += text.substr(i, next - i);
      i = next;
      continue;
    }
    const size_t start = i++;
    if (i < text.size() && text[i] == '%') {
      literal += '%';
      ++i;
      continue;
    }
    const size_t name_at = i;
    while (i < text.size() && isNameChar(text[i])) ++i;
    const std::string_view command = text.substr(name_at, i - name_at);
    std::optional<std::string_view> params;
    std::optional<uint32_t> length;
    if (!command.empty() && i < text.size() && text[i] == '(') {
      const size_t close = text.find(')', i);
      if (close == std::string_view::npos) return error(start, "a parameter list has no end");
      params = text.substr(i + 1, close - i - 1);
      i = close + 1;
    }
    if (!command.empty() && i < text.size() && text[i] == ':') {
      const size_t digits = ++i;
      while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
      uint32_t number = 0;
      if (!absl::SimpleAtoi(base::toAbsl(text.substr(digits, i - digits)), &number)) return error(start, "a length is no number");
      length = number;
    }
    if (command.empty() || i == text.size() || text[i] != '%') {
      return error(start, "'%' begins no operator; write '%%' for a percent sign");
    }
    ++i;
    flush();
    Op op;
    bool without_data = false;
    const std::string wrong = Compiler(command, params, length, op).run(without_data);
    if (!wrong.empty()) return error(start, wrong);
    if (without_data) out.without_data_.emplace_back(command);
    out.newline_ |= op.date != nullptr && op.date->hasNewline();
    out.ops_.push_back(std::move(op));
  }
  flush();
  return out;
}

std::string_view defaultAccessLogFormat() {
  return "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% "
         "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" "
         "\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";
}

}  // namespace outrider::format
