// Which exchanges are logged: config.accesslog.v3.AccessLogFilter as a value, and its test. Thread: immutable, any.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "source/accesslog/access_log.h"
#include "source/match/header_matcher.h"

namespace outrider::accesslog {

struct LogFilterSpec {
  enum class Kind : uint8_t { kAll, kStatus, kDuration, kNotHealthCheck, kSample, kAnd, kOr, kHeader, kFlags, kGrpcStatus, kLogType };
  enum class Compare : uint8_t { kEqual, kAtLeast, kAtMost, kNotEqual };
  Kind kind = Kind::kAll;
  Compare compare = Compare::kEqual;
  uint32_t value = 0;                         // kStatus; kDuration: milliseconds
  uint32_t numerator = 0, denominator = 100;  // kSample
  std::vector<LogFilterSpec> children;        // kAnd, kOr
  match::HeaderMatchSpec header;              // kHeader
  uint64_t flags = 0;                         // kFlags: ResponseFlags::bits(), 0: any flag
  uint64_t set = 0;                           // kGrpcStatus: bit a status; kLogType: bit a type
  bool exclude = false;
  bool operator==(const LogFilterSpec&) const = default;
};

// What an entry is, in Envoy's words (data.accesslog.v3.AccessLogType).
struct LogType {
  std::string_view name;
  uint32_t number;
};
LogType logTypeOf(const Entry& entry);

class LogFilter final {
 public:
  static absl::StatusOr<LogFilter> compile(const LogFilterSpec& spec);
  bool wants(const Entry& entry) const;

 private:
  LogFilterSpec spec_;
  std::vector<LogFilter> children_;
  std::optional<match::HeaderMatcher> header_;
};

}  // namespace outrider::accesslog
