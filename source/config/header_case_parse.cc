#include "envoy/config/core/v3/protocol.pb.h"
#include "envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case.pb.h"
#include "source/config/any.h"
#include "source/config/checked_any.h"
#include "source/config/header_case.h"

namespace outrider::config {

using envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;

HeaderCase parseHeaderCase(const envoy::config::core::v3::Http1ProtocolOptions& in, Problems& problems) {
  HeaderCase out;
  if (!in.has_header_key_format()) return out;
  const auto at = problems.field("header_key_format");
  out.proper = in.header_key_format().has_proper_case_words();
  if (!in.header_key_format().has_stateful_formatter()) return out;
  const auto inside = problems.field("stateful_formatter");
  const auto typed = problems.field("typed_config");
  const google::protobuf::Any& any = in.header_key_format().stateful_formatter().typed_config();
  if (innerType(any) != PreserveCaseFormatterConfig::descriptor()->full_name()) {
    problems.add(innerType(any), "is not supported", PreserveCaseFormatterConfig::descriptor()->full_name());
    return out;
  }
  PreserveCaseFormatterConfig own;
  if (!unpackChecked(any, own, problems)) return out;
  out.preserve = true;
  out.preserve_proper = own.formatter_type_on_envoy_headers() == PreserveCaseFormatterConfig::PROPER_CASE;
  if (own.forward_reason_phrase()) problems.unsupported("forward_reason_phrase");
  return out;
}

}  // namespace outrider::config
