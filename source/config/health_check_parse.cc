#include "source/config/health_check_parse.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "envoy/config/core/v3/health_check.pb.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::config {
namespace {

namespace core = envoy::config::core::v3;

base::Nanos nanos(const google::protobuf::Duration& in) { return in.seconds() * base::kSecond + in.nanos(); }

std::vector<StatusRange> ranges(const google::protobuf::RepeatedPtrField<envoy::type::v3::Int64Range>& in, std::string_view name,
                                Problems& problems) {
  std::vector<StatusRange> out;
  for (int i = 0; i < in.size(); ++i) {
    const auto at = problems.element(name, static_cast<size_t>(i));
    const auto& range = in[i];
    if (range.start() >= range.end() || range.start() < 100 || range.end() > 600) {
      problems.add(absl::StrCat("[", range.start(), ", ", range.end(), ")"), "is no range of status codes",
                   "from 100 to 600, the end not included");
      continue;
    }
    out.push_back({static_cast<uint16_t>(range.start()), static_cast<uint16_t>(range.end() - 1)});
  }
  return out;
}

std::string payload(const core::HealthCheck::Payload& in, Problems& problems) {
  if (in.has_binary()) return in.binary();
  std::string out;
  if (in.text().size() % 2 != 0 ||
      !std::all_of(in.text().begin(), in.text().end(), [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); })) {
    problems.addAt("text", in.text(), "is no hex text", "two hex digits a byte");
    return out;
  }
  return absl::HexStringToBytes(in.text());
}

void parseHttp(const core::HealthCheck::HttpHealthCheck& in, HealthCheckSpec& out, Problems& problems) {
  out.kind = HealthCheckSpec::Kind::kHttp;
  out.host = in.host();
  out.path = in.path();
  out.http2 = in.codec_client_type() == envoy::type::v3::HTTP2;
  if (in.codec_client_type() == envoy::type::v3::HTTP3) problems.addAt("codec_client_type", "HTTP3", "is not supported", "HTTP1 or HTTP2");
  if (in.method() != core::METHOD_UNSPECIFIED) out.method = core::RequestMethod_Name(in.method());
  if (in.method() == core::CONNECT) problems.addAt("method", "CONNECT", "cannot check health");
  if (in.has_send()) problems.addAt("send", {}, "is not supported");
  if (in.receive_size() > 0) problems.addAt("receive", {}, "is not supported: bodies would not be looked at");
  if (in.has_service_name_matcher()) problems.addAt("service_name_matcher", {}, "is not supported yet: other services would pass");
  for (const auto& option : in.request_headers_to_add()) {
    out.headers_to_add.emplace_back(absl::AsciiStrToLower(option.header().key()),
                                    option.header().raw_value().empty() ? option.header().value() : option.header().raw_value());
  }
  for (const std::string& name : in.request_headers_to_remove()) out.headers_to_remove.push_back(absl::AsciiStrToLower(name));
  if (in.expected_statuses_size() > 0) out.expected = ranges(in.expected_statuses(), "expected_statuses", problems);
  out.retriable = ranges(in.retriable_statuses(), "retriable_statuses", problems);
}

void parseTcp(const core::HealthCheck::TcpHealthCheck& in, HealthCheckSpec& out, Problems& problems) {
  out.kind = HealthCheckSpec::Kind::kTcp;
  if (in.has_send()) {
    const auto at = problems.field("send");
    out.send = payload(in.send(), problems);
  }
  for (int i = 0; i < in.receive_size(); ++i) {
    const auto at = problems.element("receive", static_cast<size_t>(i));
    out.receive.push_back(payload(in.receive(i), problems));
  }
  if (in.has_proxy_protocol_config()) problems.addAt("proxy_protocol_config", {}, "is not supported yet: the peer would not understand");
}

}  // namespace

HealthCheckSpec parseHealthCheck(const core::HealthCheck& in, Problems& problems) {
  HealthCheckSpec out;
  out.timeout = nanos(in.timeout());
  out.interval = nanos(in.interval());
  out.initial_jitter = nanos(in.initial_jitter());
  out.interval_jitter = nanos(in.interval_jitter());
  out.interval_jitter_percent = in.interval_jitter_percent();
  out.unhealthy_threshold = in.unhealthy_threshold().value();
  out.healthy_threshold = in.healthy_threshold().value();
  if (in.has_no_traffic_interval()) out.no_traffic_interval = nanos(in.no_traffic_interval());
  out.no_traffic_healthy_interval = nanos(in.no_traffic_healthy_interval());
  out.unhealthy_interval = nanos(in.unhealthy_interval());
  out.unhealthy_edge_interval = nanos(in.unhealthy_edge_interval());
  out.healthy_edge_interval = nanos(in.healthy_edge_interval());
  if (in.has_reuse_connection()) out.reuse_connection = in.reuse_connection().value();
  if (out.timeout <= 0) problems.addAt("timeout", {}, "must be greater than 0s");
  if (out.interval <= 0) problems.addAt("interval", {}, "must be greater than 0s");
  if (in.alt_port().value() != 0)
    problems.addAt("alt_port", absl::StrCat(in.alt_port().value()), "is not supported", "endpoint.health_check_config.port_value");
  if (in.has_transport_socket_match_criteria()) {
    problems.addAt("transport_socket_match_criteria", {}, "is not supported yet: checks would go over another transport socket");
  }
  switch (in.health_checker_case()) {
    case core::HealthCheck::kHttpHealthCheck: {
      const auto at = problems.field("http_health_check");
      parseHttp(in.http_health_check(), out, problems);
      break;
    }
    case core::HealthCheck::kTcpHealthCheck: {
      const auto at = problems.field("tcp_health_check");
      parseTcp(in.tcp_health_check(), out, problems);
      break;
    }
    case core::HealthCheck::kGrpcHealthCheck:
      problems.addAt("grpc_health_check", {}, "is not supported yet", "http_health_check or tcp_health_check");
      break;
    case core::HealthCheck::kCustomHealthCheck:
      problems.addAt("custom_health_check", in.custom_health_check().name(), "is not supported", "http_health_check or tcp_health_check");
      break;
    case core::HealthCheck::HEALTH_CHECKER_NOT_SET: problems.add({}, "has no checker", "http_health_check or tcp_health_check"); break;
  }
  return out;
}

void declareHealthChecks(Honored& honored) {
  honored.fields<core::HealthCheck>({"timeout", "interval", "initial_jitter", "interval_jitter", "interval_jitter_percent",
                                     "unhealthy_threshold", "healthy_threshold", "no_traffic_interval", "no_traffic_healthy_interval",
                                     "unhealthy_interval", "unhealthy_edge_interval", "healthy_edge_interval", "reuse_connection",
                                     "alt_port", "transport_socket_match_criteria", "http_health_check", "tcp_health_check",
                                     "grpc_health_check", "custom_health_check"});
  honored.fields<core::HealthCheck::HttpHealthCheck>({"host", "path", "codec_client_type", "method", "send", "receive",
                                                      "service_name_matcher", "request_headers_to_add", "request_headers_to_remove",
                                                      "expected_statuses", "retriable_statuses"});
  honored.fields<core::HealthCheck::TcpHealthCheck>({"send", "receive", "proxy_protocol_config"});
}

}  // namespace outrider::config
