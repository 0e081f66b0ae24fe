#include "source/config/route_spec.h"

#include "absl/strings/str_cat.h"

namespace outrider::config {

std::string RouteMatchSpec::str() const {
  const char* kind_name = "";
  switch (kind) {
    case Path::kPrefix: kind_name = "prefix"; break;
    case Path::kExact: kind_name = "path"; break;
    case Path::kSeparatedPrefix: kind_name = "path_separated_prefix"; break;
    case Path::kRegex: kind_name = "safe_regex"; break;
    case Path::kConnect: return "connect_matcher";
  }
  return absl::StrCat(kind_name, " '", path, "'", case_sensitive ? "" : " ignoring case");
}

uint32_t parseRetryOn(std::string_view list, std::string_view* unknown) {
  static constexpr struct {
    std::string_view text;
    uint32_t bit;
  } kNames[] = {
      {"5xx", kRetry5xx},
      {"gateway-error", kRetryGatewayError},
      {"reset", kRetryReset},
      {"reset-before-request", kRetryResetBeforeRequest},
      {"connect-failure", kRetryConnectFailure},
      {"refused-stream", kRetryRefusedStream},
      {"retriable-4xx", kRetryRetriable4xx},
      {"retriable-status-codes", kRetryRetriableStatusCodes},
      {"retriable-headers", kRetryRetriableHeaders},
      {"envoy-ratelimited", kRetryEnvoyRatelimited},
      {"cancelled", kRetryGrpcCancelled},
      {"deadline-exceeded", kRetryGrpcDeadlineExceeded},
      {"internal", kRetryGrpcInternal},
      {"resource-exhausted", kRetryGrpcResourceExhausted},
      {"unavailable", kRetryGrpcUnavailable},
  };
  uint32_t bits = 0;
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    uint32_t bit = 0;
    for (const auto& name : kNames) {
      if (name.text == item) bit = name.bit;
    }
    if (bit == 0 && unknown != nullptr && !item.empty()) *unknown = item;
    bits |= bit;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return bits;
}

}  // namespace outrider::config
