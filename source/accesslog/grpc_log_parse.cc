#include "source/accesslog/grpc_log_parse.h"

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "envoy/config/core/v3/grpc_service.pb.h"
#include "envoy/extensions/access_loggers/grpc/v3/als.pb.h"
#include "envoy/type/tracing/v3/custom_tag.pb.h"
#include "source/config/checked_any.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::accesslog {
namespace {

namespace pb = envoy::extensions::access_loggers::grpc::v3;
namespace core = envoy::config::core::v3;
using config::Problems;
using envoy::type::tracing::v3::CustomTag;

base::Nanos nanos(const google::protobuf::Duration& in) { return in.seconds() * base::kSecond + in.nanos(); }

void parseService(const core::GrpcService& in, GrpcTarget& out, Problems& problems) {
  const auto at = problems.field("grpc_service");
  switch (in.target_specifier_case()) {
    case core::GrpcService::kEnvoyGrpc: {
      const auto inner = problems.field("envoy_grpc");
      out.cluster = in.envoy_grpc().cluster_name();
      out.authority = in.envoy_grpc().authority();
      if (out.cluster.empty()) problems.addAt("cluster_name", {}, "is empty");
      if (in.envoy_grpc().has_retry_policy()) problems.unsupported("retry_policy");  // a new stream is begun in any case
      if (in.envoy_grpc().has_max_receive_message_length()) problems.unsupported("max_receive_message_length");
      break;
    }
    case core::GrpcService::kGoogleGrpc:
      problems.addAt("google_grpc", {}, "is not supported: nothing would be logged", "envoy_grpc");
      break;
    case core::GrpcService::TARGET_SPECIFIER_NOT_SET: problems.add({}, "has no target", "envoy_grpc"); break;
  }
  out.timeout = nanos(in.timeout());
  if (in.has_retry_policy()) problems.unsupported("retry_policy");
  for (int i = 0; i < in.initial_metadata_size(); ++i) {
    const core::HeaderValue& header = in.initial_metadata(i);
    out.metadata.emplace_back(absl::AsciiStrToLower(header.key()), header.raw_value().empty() ? header.value() : header.raw_value());
  }
}

void parseTags(const google::protobuf::RepeatedPtrField<CustomTag>& in, GrpcEntryFields& out, Problems& problems) {
  for (int i = 0; i < in.size(); ++i) {
    const auto at = problems.element("custom_tags", static_cast<size_t>(i));
    EntryTag tag;
    tag.name = in[i].tag();
    switch (in[i].type_case()) {
      case CustomTag::kLiteral: tag.text = in[i].literal().value(); break;
      case CustomTag::kEnvironment: {
        const char* value = std::getenv(in[i].environment().name().c_str());
        tag.text = value == nullptr ? in[i].environment().default_value() : value;
        break;
      }
      case CustomTag::kRequestHeader:
        tag.header = http::FieldName(in[i].request_header().name());
        tag.text = in[i].request_header().default_value();
        break;
      default: problems.unsupported(in[i].has_metadata() ? "metadata" : "value"); continue;
    }
    if (!tag.text.empty() || !tag.header.name().empty()) out.tags.push_back(std::move(tag));
  }
}

void parseCommon(const pb::CommonGrpcAccessLogConfig& in, GrpcLogSpec& out, Problems& problems) {
  const auto at = problems.field("common_config");
  out.target.log_name = in.log_name();
  if (in.log_name().empty()) problems.addAt("log_name", {}, "is empty");
  if (!in.has_grpc_service())
    problems.addAt("grpc_service", {}, "is missing");
  else
    parseService(in.grpc_service(), out.target, problems);
  if (in.transport_api_version() == core::V2) problems.addAt("transport_api_version", "V2", "is no longer supported", "V3");
  if (in.has_buffer_flush_interval()) {
    out.target.flush_interval = nanos(in.buffer_flush_interval());
    if (out.target.flush_interval <= 0) problems.addAt("buffer_flush_interval", {}, "must be greater than 0s");
  }
  if (in.has_buffer_size_bytes()) out.target.buffer_bytes = in.buffer_size_bytes().value();
  if (in.filter_state_objects_to_log_size() > 0) problems.unsupported("filter_state_objects_to_log");
  if (in.has_grpc_stream_retry_policy()) problems.unsupported("grpc_stream_retry_policy");
  parseTags(in.custom_tags(), out.fields, problems);
}

std::vector<http::FieldName> names(const google::protobuf::RepeatedPtrField<std::string>& in) {
  std::vector<http::FieldName> out;
  for (const std::string& name : in) out.emplace_back(name);
  return out;
}

}  // namespace

bool isGrpcLog(std::string_view type) {
  return type == pb::HttpGrpcAccessLogConfig::descriptor()->full_name() || type == pb::TcpGrpcAccessLogConfig::descriptor()->full_name();
}

GrpcLogSpec parseGrpcLog(const google::protobuf::Any& in, std::string_view type, Problems& problems) {
  GrpcLogSpec out;
  if (type == pb::TcpGrpcAccessLogConfig::descriptor()->full_name()) {
    pb::TcpGrpcAccessLogConfig message;
    if (!config::unpackChecked(in, message, problems)) return out;
    out.target.kind = EntryKind::kTcp;
    parseCommon(message.common_config(), out, problems);
    return out;
  }
  pb::HttpGrpcAccessLogConfig message;
  if (!config::unpackChecked(in, message, problems)) return out;
  parseCommon(message.common_config(), out, problems);
  out.fields.request_headers = names(message.additional_request_headers_to_log());
  out.fields.response_headers = names(message.additional_response_headers_to_log());
  out.fields.response_trailers = names(message.additional_response_trailers_to_log());
  return out;
}

}  // namespace outrider::accesslog
