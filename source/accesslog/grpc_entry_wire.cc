#include "source/accesslog/grpc_entry_wire.h"

#include <google/protobuf/arena.h>

#include "envoy/data/accesslog/v3/accesslog.pb.h"
#include "source/accesslog/log_filter.h"

namespace outrider::accesslog {
namespace {

namespace data = envoy::data::accesslog::v3;
namespace core = envoy::config::core::v3;
using stream::ResponseFlag;

std::string str(std::string_view text) { return std::string(text); }

void setAddress(const base::Address& from, core::Address& to) {
  if (from.isUnix()) {
    to.mutable_pipe()->set_path(from.ip());
    return;
  }
  to.mutable_socket_address()->set_address(from.ip());
  to.mutable_socket_address()->set_port_value(from.port());
}

void setDuration(base::Nanos from, base::Nanos to, google::protobuf::Duration* (data::AccessLogCommon::*field)(),
                 data::AccessLogCommon& out) {
  if (from == 0 || to == 0 || to < from) return;
  google::protobuf::Duration& duration = *(out.*field)();
  duration.set_seconds((to - from) / base::kSecond);
  duration.set_nanos(static_cast<int32_t>((to - from) % base::kSecond));
}

void setFlags(const stream::ResponseFlags& from, data::ResponseFlags& to) {
  struct Row {
    ResponseFlag flag;
    void (data::ResponseFlags::*set)(bool);
  };
  static constexpr Row kRows[] = {
      {ResponseFlag::kFailedLocalHealthCheck, &data::ResponseFlags::set_failed_local_healthcheck},
      {ResponseFlag::kNoHealthyUpstream, &data::ResponseFlags::set_no_healthy_upstream},
      {ResponseFlag::kUpstreamRequestTimeout, &data::ResponseFlags::set_upstream_request_timeout},
      {ResponseFlag::kLocalReset, &data::ResponseFlags::set_local_reset},
      {ResponseFlag::kUpstreamRemoteReset, &data::ResponseFlags::set_upstream_remote_reset},
      {ResponseFlag::kUpstreamConnectionFailure, &data::ResponseFlags::set_upstream_connection_failure},
      {ResponseFlag::kUpstreamConnectionTermination, &data::ResponseFlags::set_upstream_connection_termination},
      {ResponseFlag::kUpstreamOverflow, &data::ResponseFlags::set_upstream_overflow},
      {ResponseFlag::kNoRouteFound, &data::ResponseFlags::set_no_route_found},
      {ResponseFlag::kDelayInjected, &data::ResponseFlags::set_delay_injected},
      {ResponseFlag::kFaultInjected, &data::ResponseFlags::set_fault_injected},
      {ResponseFlag::kRateLimited, &data::ResponseFlags::set_rate_limited},
      {ResponseFlag::kRateLimitServiceError, &data::ResponseFlags::set_rate_limit_service_error},
      {ResponseFlag::kDownstreamConnectionTermination, &data::ResponseFlags::set_downstream_connection_termination},
      {ResponseFlag::kUpstreamRetryLimitExceeded, &data::ResponseFlags::set_upstream_retry_limit_exceeded},
      {ResponseFlag::kStreamIdleTimeout, &data::ResponseFlags::set_stream_idle_timeout},
      {ResponseFlag::kInvalidEnvoyRequestHeaders, &data::ResponseFlags::set_invalid_envoy_request_headers},
      {ResponseFlag::kDownstreamProtocolError, &data::ResponseFlags::set_downstream_protocol_error},
      {ResponseFlag::kUpstreamMaxStreamDurationReached, &data::ResponseFlags::set_upstream_max_stream_duration_reached},
      {ResponseFlag::kResponseFromCacheFilter, &data::ResponseFlags::set_response_from_cache_filter},
      {ResponseFlag::kNoFilterConfigFound, &data::ResponseFlags::set_no_filter_config_found},
      {ResponseFlag::kDurationTimeout, &data::ResponseFlags::set_duration_timeout},
      {ResponseFlag::kUpstreamProtocolError, &data::ResponseFlags::set_upstream_protocol_error},
      {ResponseFlag::kNoClusterFound, &data::ResponseFlags::set_no_cluster_found},
      {ResponseFlag::kOverloadManager, &data::ResponseFlags::set_overload_manager},
      {ResponseFlag::kDnsResolutionFailed, &data::ResponseFlags::set_dns_resolution_failure},
      {ResponseFlag::kDownstreamRemoteReset, &data::ResponseFlags::set_downstream_remote_reset}};
  for (const Row& row : kRows) {
    if (from.has(row.flag)) (to.*row.set)(true);
  }
  if (from.has(ResponseFlag::kUnauthorizedExternalService)) {
    to.mutable_unauthorized_details()->set_reason(data::ResponseFlags::Unauthorized::EXTERNAL_SERVICE);
  }
}

// IANA's numbers of the suites that a client meets; others stay unset.
uint32_t cipherNumber(std::string_view name) {
  struct Row {
    std::string_view name;
    uint32_t number;
  };
  static constexpr Row kRows[] = {{"TLS_AES_128_GCM_SHA256", 0x1301},
                                  {"TLS_AES_256_GCM_SHA384", 0x1302},
                                  {"TLS_CHACHA20_POLY1305_SHA256", 0x1303},
                                  {"ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b},
                                  {"ECDHE-ECDSA-AES256-GCM-SHA384", 0xc02c},
                                  {"ECDHE-RSA-AES128-GCM-SHA256", 0xc02f},
                                  {"ECDHE-RSA-AES256-GCM-SHA384", 0xc030},
                                  {"ECDHE-ECDSA-CHACHA20-POLY1305", 0xcca9},
                                  {"ECDHE-RSA-CHACHA20-POLY1305", 0xcca8},
                                  {"ECDHE-ECDSA-AES128-SHA", 0xc009},
                                  {"ECDHE-ECDSA-AES256-SHA", 0xc00a},
                                  {"ECDHE-RSA-AES128-SHA", 0xc013},
                                  {"ECDHE-RSA-AES256-SHA", 0xc014},
                                  {"AES128-GCM-SHA256", 0x009c},
                                  {"AES256-GCM-SHA384", 0x009d},
                                  {"AES128-SHA", 0x002f},
                                  {"AES256-SHA", 0x0035}};
  for (const Row& row : kRows) {
    if (row.name == name) return row.number;
  }
  return 0;
}

void setTls(const stream::ConnectionInfo& connection, data::TLSProperties& to) {
  const stream::SecurityInfo& from = *connection.tls;
  if (from.version == "TLSv1") to.set_tls_version(data::TLSProperties::TLSv1);
  if (from.version == "TLSv1.1") to.set_tls_version(data::TLSProperties::TLSv1_1);
  if (from.version == "TLSv1.2") to.set_tls_version(data::TLSProperties::TLSv1_2);
  if (from.version == "TLSv1.3") to.set_tls_version(data::TLSProperties::TLSv1_3);
  if (const uint32_t number = cipherNumber(from.cipher); number != 0) to.mutable_tls_cipher_suite()->set_value(number);
  to.set_tls_sni_hostname(str(connection.requestedServerName()));
  to.set_tls_session_id(from.session_id);
  to.set_ja3_fingerprint(str(connection.ja3()));
  auto& local = *to.mutable_local_certificate_properties();
  local.set_subject(from.local_subject);
  for (const std::string& san : from.local_uri_sans) local.add_subject_alt_name()->set_uri(san);
  auto& peer = *to.mutable_peer_certificate_properties();
  peer.set_subject(from.peer_subject);
  peer.set_issuer(from.peer_issuer);
  for (const std::string& san : from.peer_uri_sans) peer.add_subject_alt_name()->set_uri(san);
}

void setTags(const Entry& entry, const std::vector<EntryTag>& tags, data::AccessLogCommon& out) {
  for (const EntryTag& tag : tags) {
    std::string_view value = tag.text;
    if (!tag.header.name().empty()) {
      if (const auto found = entry.request == nullptr ? std::nullopt : tag.header.firstIn(*entry.request)) value = *found;
      if (value.empty()) continue;
    }
    (*out.mutable_custom_tags())[tag.name] = str(value);
  }
}

void setCommon(const Entry& entry, const GrpcEntryFields& fields, data::AccessLogCommon& out) {
  const stream::StreamInfo& info = entry.info;
  if (const stream::ConnectionInfo* connection = info.connection) {
    const base::Address& remote = info.remote.valid() ? info.remote : connection->remote();
    if (remote.valid()) setAddress(remote, *out.mutable_downstream_remote_address());
    if (connection->directRemote().valid()) setAddress(connection->directRemote(), *out.mutable_downstream_direct_remote_address());
    if (connection->local().valid()) setAddress(connection->local(), *out.mutable_downstream_local_address());
    if (connection->tls != nullptr) setTls(*connection, *out.mutable_tls_properties());
    out.set_connection_termination_details(str(connection->termination_details));
    out.set_downstream_transport_failure_reason(str(connection->transport_failure));
  }
  out.mutable_start_time()->set_seconds(info.start_wall / base::kSecond);
  out.mutable_start_time()->set_nanos(static_cast<int32_t>(info.start_wall % base::kSecond));
  using Common = data::AccessLogCommon;
  setDuration(info.start, info.request_end_at, &Common::mutable_time_to_last_rx_byte, out);
  setDuration(info.start, info.first_upstream_tx, &Common::mutable_time_to_first_upstream_tx_byte, out);
  setDuration(info.start, info.last_upstream_tx, &Common::mutable_time_to_last_upstream_tx_byte, out);
  setDuration(info.start, info.first_upstream_rx, &Common::mutable_time_to_first_upstream_rx_byte, out);
  setDuration(info.start, info.last_upstream_rx, &Common::mutable_time_to_last_upstream_rx_byte, out);
  setDuration(info.start, info.first_downstream_tx, &Common::mutable_time_to_first_downstream_tx_byte, out);
  setDuration(info.start, info.last_downstream_tx, &Common::mutable_time_to_last_downstream_tx_byte, out);
  setDuration(info.start, info.end, &Common::mutable_duration, out);
  if (info.host != nullptr) setAddress(info.host->address, *out.mutable_upstream_remote_address());
  if (info.upstream_local.valid()) setAddress(info.upstream_local, *out.mutable_upstream_local_address());
  if (info.cluster != nullptr) out.set_upstream_cluster(info.cluster->observability_name);
  if (info.flags.any()) setFlags(info.flags, *out.mutable_response_flags());
  out.set_upstream_transport_failure_reason(str(info.upstream_transport_failure));
  if (info.route != nullptr) out.set_route_name(std::string(info.route->name));
  out.set_upstream_request_attempt_count(info.attempts);
  out.set_stream_id(str(info.request_id));
  out.set_upstream_wire_bytes_sent(info.upstream_wire_sent);
  out.set_upstream_wire_bytes_received(info.upstream_wire_received);
  out.set_access_log_type(static_cast<data::AccessLogType>(logTypeOf(entry).number));
  setTags(entry, fields.tags, out);
}

core::RequestMethod methodOf(std::string_view method) {
  core::RequestMethod out = core::METHOD_UNSPECIFIED;
  if (method != "METHOD_UNSPECIFIED") core::RequestMethod_Parse(str(method), &out);
  return out;
}

void setRequest(const http::RequestHead& head, const stream::StreamInfo& info, const GrpcEntryFields& fields,
                data::HTTPRequestProperties& out) {
  const http::HeaderMap& headers = head.headers;
  const std::string_view original = headers.get("x-envoy-original-path");
  out.set_request_method(methodOf(head.method));
  out.set_scheme(str(head.scheme));
  out.set_authority(str(head.authority));
  out.set_path(str(head.path));
  out.set_original_path(str(original));
  out.set_user_agent(str(headers.get("user-agent")));
  out.set_referer(str(headers.get("referer")));
  out.set_forwarded_for(str(headers.get("x-forwarded-for")));
  out.set_request_id(str(headers.get("x-request-id")));
  out.set_request_headers_bytes(http::bytesOf(head));
  out.set_request_body_bytes(info.bytes_received);
  for (const http::FieldName& name : fields.request_headers) {
    if (const auto value = name.in(head)) (*out.mutable_request_headers())[name.name()] = str(*value);
  }
}

void setResponse(const Entry& entry, const GrpcEntryFields& fields, data::HTTPResponseProperties& out) {
  const stream::StreamInfo& info = entry.info;
  if (info.response_code != 0) out.mutable_response_code()->set_value(info.response_code);
  out.set_response_body_bytes(info.bytes_sent);
  out.set_response_code_details(str(info.details));
  if (entry.response != nullptr) {
    out.set_response_headers_bytes(http::bytesOf(*entry.response));
    for (const http::FieldName& name : fields.response_headers) {
      if (const auto value = name.in(*entry.response)) (*out.mutable_response_headers())[name.name()] = str(*value);
    }
  }
  if (entry.response_trailers == nullptr) return;
  for (const http::FieldName& name : fields.response_trailers) {
    if (const auto value = name.in(*entry.response_trailers)) (*out.mutable_response_trailers())[name.name()] = str(*value);
  }
}

data::HTTPAccessLogEntry::HTTPVersion versionOf(const stream::StreamInfo& info) {
  if (!info.has_protocol) return data::HTTPAccessLogEntry::PROTOCOL_UNSPECIFIED;
  switch (info.protocol) {
    case http::Protocol::kHttp10: return data::HTTPAccessLogEntry::HTTP10;
    case http::Protocol::kHttp11: return data::HTTPAccessLogEntry::HTTP11;
    case http::Protocol::kHttp2: return data::HTTPAccessLogEntry::HTTP2;
  }
  OUTRIDER_UNREACHABLE();
}

void appendLength(size_t length, std::string& out) {
  for (; length >= 0x80; length >>= 7) out += static_cast<char>(0x80 | (length & 0x7f));
  out += static_cast<char>(length);
}

void appendField(uint32_t number, std::string_view bytes, std::string& out) {
  out += static_cast<char>(number << 3 | 2);  // length-delimited; all numbers here are below 16
  appendLength(bytes.size(), out);
  out += bytes;
}

void appendMessage(const google::protobuf::MessageLite& message, std::string& out) {
  out += static_cast<char>(1 << 3 | 2);
  appendLength(message.ByteSizeLong(), out);
  message.AppendToString(&out);
}

}  // namespace

void appendEntry(EntryKind kind, const Entry& entry, const GrpcEntryFields& fields, std::string& out) {
  // The messages of one entry share this memory, which stays with the thread.
  alignas(8) thread_local char first[8192];
  google::protobuf::ArenaOptions options;
  options.initial_block = first;
  options.initial_block_size = sizeof first;
  google::protobuf::Arena arena(options);
  if (kind == EntryKind::kHttp) {
    auto& message = *google::protobuf::Arena::CreateMessage<data::HTTPAccessLogEntry>(&arena);
    setCommon(entry, fields, *message.mutable_common_properties());
    message.set_protocol_version(versionOf(entry.info));
    if (entry.request != nullptr) setRequest(*entry.request, entry.info, fields, *message.mutable_request());
    setResponse(entry, fields, *message.mutable_response());
    appendMessage(message, out);
    return;
  }
  auto& message = *google::protobuf::Arena::CreateMessage<data::TCPAccessLogEntry>(&arena);
  setCommon(entry, fields, *message.mutable_common_properties());
  message.mutable_connection_properties()->set_received_bytes(entry.info.bytes_received);
  message.mutable_connection_properties()->set_sent_bytes(entry.info.bytes_sent);
  appendMessage(message, out);
}

std::string entriesMessage(EntryKind kind, std::string_view entries, const std::string* node, std::string_view log_name) {
  std::string out;
  out.reserve(entries.size() + 64 + (node == nullptr ? 0 : node->size() + log_name.size()));
  if (node != nullptr) {
    std::string identifier;
    appendField(1, *node, identifier);
    appendField(2, log_name, identifier);
    appendField(1, identifier, out);
  }
  appendField(kind == EntryKind::kHttp ? 2 : 3, entries, out);
  return out;
}

}  // namespace outrider::accesslog
