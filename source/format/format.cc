// Operations to text.
#include "source/format/format.h"

#include <algorithm>
#include <random>

#include "absl/strings/numbers.h"
#include "source/base/absl_compat.h"
#include "source/format/metadata.h"

namespace outrider::format {
namespace {

using Value = std::optional<std::string_view>;

bool put(std::string_view text, Text& out, uint32_t most = UINT32_MAX) {
  if (text.empty()) return false;
  out.add(text.substr(0, most));
  return true;
}

// Spaces would break the columns of a line.
bool putWithoutSpaces(std::string_view text, Text& out) {
  const size_t at = out.size();
  if (!put(text, out)) return false;
  std::replace_if(
      out.data() + at, out.data() + out.size(), [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }, '_');
  return true;
}

bool putNumber(uint64_t number, Text& out) {
  out.addNumber(number);
  return true;
}

bool putList(const std::vector<std::string>& list, Text& out) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) out.add(',');
    out.add(list[i]);
  }
  return !list.empty();
}

// A random UUID (version 4); for logs, not for secrets.
bool putUniqueId(Text& out) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  uint64_t words[2] = {random(), random()};
  words[0] = (words[0] & ~uint64_t{0xf000}) | 0x4000;
  words[1] = (words[1] & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  char* to = out.room(36);
  size_t at = 0;
  for (int i = 0; i < 32; ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) to[at++] = '-';
    to[at++] = "0123456789abcdef"[(words[i / 16] >> (60 - 4 * (i % 16))) & 15];
  }
  out.commit(at);
  return true;
}

int hexOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// %XX decoded; bytes that would break a line stay as they are written.
void putDecoded(std::string_view text, uint32_t most, Text& out) {
  const size_t end = out.size() + std::min<size_t>(most, text.size());
  for (size_t i = 0; i < text.size() && out.size() < end; ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hexOf(text[i + 1]) >= 0 && hexOf(text[i + 2]) >= 0) {
      const char byte = static_cast<char>(hexOf(text[i + 1]) * 16 + hexOf(text[i + 2]));
      if (static_cast<unsigned char>(byte) >= 0x20 && byte != 0x7f) {
        out.add(byte);
        i += 2;
        continue;
      }
    }
    out.add(text[i]);
  }
}

std::string_view queryOf(const http::RequestHead* head) {
  if (head == nullptr) return {};
  const size_t mark = head->path.find('?');
  if (mark == std::string_view::npos) return {};
  const std::string_view query = head->path.substr(mark + 1);
  return query.substr(0, query.find('#'));
}

// The first value of a parameter.
bool putQueryParam(std::string_view query, std::string_view name, uint32_t most, Text& out) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equal = pair.find('=');
    if (pair.substr(0, equal) != name) continue;
    return put(equal == std::string_view::npos ? std::string_view() : pair.substr(equal + 1), out, most);
  }
  return false;
}

enum class Part : uint8_t { kAll, kIp, kPort };

bool putAddress(const base::Address& address, Part part, Text& out) {
  if (!address.valid()) return false;
  if (part == Part::kPort) {
    if (!address.isIp()) return false;
    return putNumber(address.port(), out);
  }
  char* to = out.room(base::Address::kTextSize);
  out.commit(address.print(to, part == Part::kAll));
  return true;
}

bool putDuration(base::Nanos from, base::Nanos to, base::Nanos unit, Text& out) {
  if (from == 0 || to == 0 || to < from) return false;
  return putNumber(static_cast<uint64_t>((to - from) / unit), out);
}

std::string_view withoutPort(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon == std::string_view::npos) return host;
  const size_t bracket = host.rfind(']');
  if (bracket != std::string_view::npos && bracket > colon) return host;
  return host.substr(0, colon);
}

// A server name that is no host name must not forge a line: it is marked, and its bytes that no host name has are replaced.
bool putServerName(std::string_view name, Text& out) {
  const auto strange = [](char c) {
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '*' || c == '_');
  };
  if (std::none_of(name.begin(), name.end(), strange)) return put(name, out);
  put("invalid:", out);
  const size_t at = out.size();
  put(name, out);
  std::replace_if(out.data() + at, out.data() + out.size(), strange, '_');
  return true;
}

constexpr const char* kGrpcCamel[] = {"OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
                                      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
                                      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
                                      "DataLoss", "Unauthenticated"};
constexpr const char* kGrpcSnake[] = {"OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
                                      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
                                      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
                                      "DATA_LOSS", "UNAUTHENTICATED"};

bool isGrpc(const http::RequestHead* request) {
  if (request == nullptr) return false;
  constexpr std::string_view kType = "application/grpc";
  const std::string_view type = request->headers.get(http::HeaderId::kContentType);
  return type.substr(0, kType.size()) == kType && (type.size() == kType.size() || type[kType.size()] == '+');
}

// What a gRPC client makes of a response without grpc-status (gRPC's http-grpc-status-mapping).
int grpcOfHttp(uint16_t status) {
  switch (status) {
    case 400: return 13;
    case 401: return 16;
    case 403: return 7;
    case 404: return 12;
    case 429:
    case 502:
    case 503:
    case 504: return 14;
    default: return 2;
  }
}

bool putGrpc(const Input& in, int style, Text& out) {
  if (!isGrpc(in.request)) return false;
  std::string_view text;
  if (in.trailers != nullptr) text = in.trailers->get(http::HeaderId::kGrpcStatus);
  if (text.empty() && in.response != nullptr) text = in.response->headers.get(http::HeaderId::kGrpcStatus);
  int status = 0;
  if (text.empty()) {
    if (in.info.response_code == 0) return false;
    status = grpcOfHttp(in.info.response_code);
  } else if (!absl::SimpleAtoi(base::toAbsl(text), &status) || status < 0) {
    status = -1;
  }
  if (style == 2 || status < 0 || status > 16) {
    out.addSigned(status);
    return true;
  }
  return put(style == 0 ? kGrpcCamel[status] : kGrpcSnake[status], out);
}

base::Nanos timePoint(const stream::StreamInfo& info, uint8_t point) {
  switch (point) {
    case 1: return info.start;
    case 2: return info.request_end_at;
    case 6: return info.first_upstream_tx;
    case 7: return info.last_upstream_tx;
    case 8: return info.first_upstream_rx;
    case 9: return info.last_upstream_rx;
    case 10: return info.first_downstream_tx;
    case 11: return info.last_downstream_tx;
    default: return 0;  // connection times of the upstream are not measured per exchange
  }
}

bool putPath(std::string_view value, bool query, uint32_t most, Text& out) {
  return put(query ? value : value.substr(0, value.find('?')), out, most);
}

Value fieldOf(const Op& op, const Input& in) {
  const auto pick = [&](const auto* from) -> Value {
    if (from == nullptr) return std::nullopt;
    Value value = op.main.firstIn(*from);
    if (!value.has_value() && !op.other.name().empty()) value = op.other.firstIn(*from);
    return value;
  };
  switch (op.code) {
    case Operator::kResp: return pick(in.response);
    case Operator::kTrailer: return pick(in.trailers);
    default: return pick(in.request);
  }
}

bool putTls(Operator code, const stream::SecurityInfo* tls, const DateFormat* date, Text& out) {
  if (tls == nullptr) return false;
  const auto time = [&](int64_t seconds) {
    if (seconds == 0) return false;
    date->print(seconds * base::kSecond, out);
    return true;
  };
  switch (code) {
    case Operator::kPeerUriSan:
    case Operator::kUpstreamPeerUriSan: return putList(tls->peer_uri_sans, out);
    case Operator::kPeerDnsSan:
    case Operator::kUpstreamPeerDnsSan: return putList(tls->peer_dns_sans, out);
    case Operator::kPeerIpSan:
    case Operator::kUpstreamPeerIpSan: return putList(tls->peer_ip_sans, out);
    case Operator::kPeerSubject:
    case Operator::kUpstreamPeerSubject: return put(tls->peer_subject, out);
    case Operator::kPeerIssuer:
    case Operator::kUpstreamPeerIssuer: return put(tls->peer_issuer, out);
    case Operator::kPeerSerial: return put(tls->peer_serial, out);
    case Operator::kPeerFingerprint256: return put(tls->peer_fingerprint_256, out);
    case Operator::kPeerFingerprint1: return put(tls->peer_fingerprint_1, out);
    case Operator::kPeerCert:
    case Operator::kUpstreamPeerCert: return put(tls->peer_pem, out);
    case Operator::kPeerCertStart:
    case Operator::kUpstreamPeerCertStart: return time(tls->peer_valid_from);
    case Operator::kPeerCertEnd:
    case Operator::kUpstreamPeerCertEnd: return time(tls->peer_valid_to);
    case Operator::kLocalUriSan:
    case Operator::kUpstreamLocalUriSan: return putList(tls->local_uri_sans, out);
    case Operator::kLocalDnsSan:
    case Operator::kUpstreamLocalDnsSan: return putList(tls->local_dns_sans, out);
    case Operator::kLocalSubject: return put(tls->local_subject, out);
    case Operator::kTlsVersion:
    case Operator::kUpstreamTlsVersion: return put(tls->version, out);
    case Operator::kTlsCipher:
    case Operator::kUpstreamTlsCipher: return put(tls->cipher, out);
    case Operator::kTlsSessionId:
    case Operator::kUpstreamTlsSessionId: return put(tls->session_id, out);
    default: return false;
  }
}

}  // namespace

[[gnu::noinline]] bool Op::putMetadata(const Input& in, bool in_json, Text& out) const {
  std::string_view of = in.info.route_metadata;
  if (unit == 1) of = in.info.cluster == nullptr ? std::string_view() : in.info.cluster->metadata;
  if (unit == 2) of = in.info.host == nullptr ? std::string_view() : in.info.host->said().metadata;
  return printMetadata(of, text, in_json, most, out);
}

bool Op::printJson(const Input& in, Text& out) const { return putMetadata(in, true, out); }

bool Op::print(const Input& in, Text& out) const {
  const stream::StreamInfo& info = in.info;
  const stream::ConnectionInfo* connection = info.connection;
  const auto localOf = [&]() -> const base::Address& {
    static const base::Address none;
    return connection == nullptr ? none : connection->local();
  };
  const auto directOf = [&]() -> const base::Address& {
    static const base::Address none;
    return connection == nullptr ? none : connection->directRemote();
  };
  const auto remoteOf = [&]() -> const base::Address& {
    return info.remote.valid() || connection == nullptr ? info.remote : connection->remote();
  };
  // The other end of the upstream connection, if there was one.
  const auto hostOf = [&]() -> const base::Address& {
    static const base::Address none;
    return info.host == nullptr || !info.upstream_local.valid() ? none : info.host->address;
  };
  // Frames of many streams share a connection: nobody counts them apart.
  const bool wire_known = !info.has_upstream_protocol || info.upstream_protocol != http::Protocol::kHttp2;
  switch (code) {
    case Operator::kLiteral: return put(text, out);
    case Operator::kNothing: return false;
    case Operator::kReq:
    case Operator::kResp:
    case Operator::kTrailer: {
      const Value value = fieldOf(*this, in);
      return value.has_value() && (out.add(value->substr(0, most)), true);
    }
    case Operator::kReqWithoutQuery: {
      const Value value = fieldOf(*this, in);
      return value.has_value() && putPath(*value, false, most, out);
    }
    case Operator::kPath: {
      const Value value = fieldOf(*this, in);
      return value.has_value() && putPath(*value, !flag, most, out);
    }
    case Operator::kQueryParam: return putQueryParam(queryOf(in.request), text, most, out);
    case Operator::kQueryParams: {
      const std::string_view query = queryOf(in.request);
      if (!flag || query.empty()) return put(query, out, most);
      putDecoded(query, most, out);
      return true;
    }
    case Operator::kStartTime:
    case Operator::kStartTimeLocal: date->print(info.start_wall, out); return true;
    case Operator::kEmitTime:
    case Operator::kEmitTimeLocal: date->print(base::SystemClock::instance().wall(), out); return true;
    case Operator::kProtocol: return info.has_protocol && put(http::protocolName(info.protocol), out);
    case Operator::kUpstreamProtocol: return info.has_upstream_protocol && put(http::protocolName(info.upstream_protocol), out);
    case Operator::kResponseCode: return putNumber(info.response_code, out);
    case Operator::kResponseCodeDetails: return flag ? put(info.details, out) : putWithoutSpaces(info.details, out);
    case Operator::kResponseFlags: out.commit(info.flags.print(out.room(stream::ResponseFlags::kTextSize))); return true;
    case Operator::kResponseFlagsLong: return put(info.flags.longStr(), out);
    case Operator::kBytesReceived: return putNumber(info.bytes_received, out);
    case Operator::kBytesSent: return putNumber(info.bytes_sent, out);
    case Operator::kRequestHeadersBytes: return putNumber(in.request == nullptr ? 0 : http::bytesOf(*in.request), out);
    case Operator::kResponseHeadersBytes: return putNumber(in.response == nullptr ? 0 : http::bytesOf(*in.response), out);
    case Operator::kResponseTrailersBytes: return putNumber(in.trailers == nullptr ? 0 : in.trailers->bytes(), out);
    case Operator::kUpstreamWireSent: return wire_known && putNumber(info.upstream_wire_sent, out);
    case Operator::kUpstreamWireReceived: return wire_known && putNumber(info.upstream_wire_received, out);
    case Operator::kDuration: return putDuration(info.start, info.end, base::kMilli, out);
    case Operator::kCommonDuration:
      return putDuration(timePoint(info, from), timePoint(info, to), unit == 0 ? base::kMilli : unit == 1 ? base::kMicro : 1, out);
    case Operator::kRequestDuration: return putDuration(info.start, info.request_end_at, base::kMilli, out);
    case Operator::kRequestTxDuration: return putDuration(info.start, info.last_upstream_tx, base::kMilli, out);
    case Operator::kResponseDuration: return putDuration(info.start, info.first_upstream_rx, base::kMilli, out);
    case Operator::kResponseTxDuration: return putDuration(info.first_upstream_rx, info.last_downstream_tx, base::kMilli, out);
    case Operator::kPoolReadyDuration: return putDuration(info.start, info.pool_ready_at, base::kMilli, out);
    case Operator::kAttempts: return putNumber(info.attempts, out);
    case Operator::kRouteName: return info.route != nullptr && put(info.route->name, out);
    case Operator::kUpstreamCluster: return info.cluster != nullptr && put(info.cluster->observability_name, out);
    case Operator::kUpstreamClusterRaw: return info.cluster != nullptr && put(info.cluster->name, out);
    case Operator::kUpstreamHost: return info.host != nullptr && putAddress(info.host->address, Part::kAll, out);
    case Operator::kUpstreamHostName:
      return info.host != nullptr &&
             (info.host->hostname().empty() ? putAddress(info.host->address, Part::kAll, out) : put(info.host->hostname(), out));
    case Operator::kUpstreamHostNameWithoutPort:
      return info.host != nullptr && (info.host->hostname().empty() ? putAddress(info.host->address, Part::kIp, out)
                                                                    : put(withoutPort(info.host->hostname()), out));
    case Operator::kUpstreamRemote: return putAddress(hostOf(), Part::kAll, out);
    case Operator::kUpstreamRemoteIp: return putAddress(hostOf(), Part::kIp, out);
    case Operator::kUpstreamRemotePort: return putAddress(hostOf(), Part::kPort, out);
    case Operator::kUpstreamLocal: return putAddress(info.upstream_local, Part::kAll, out);
    case Operator::kUpstreamLocalIp: return putAddress(info.upstream_local, Part::kIp, out);
    case Operator::kUpstreamLocalPort: return putAddress(info.upstream_local, Part::kPort, out);
    case Operator::kUpstreamConnectionId: return putNumber(info.upstream_connection_id, out);
    case Operator::kUpstreamTransportFailure: return putWithoutSpaces(info.upstream_transport_failure, out);
    case Operator::kLocal: return putAddress(localOf(), Part::kAll, out);
    case Operator::kLocalIp: return putAddress(localOf(), Part::kIp, out);
    case Operator::kLocalPort: return putAddress(localOf(), Part::kPort, out);
    case Operator::kRemote: return putAddress(remoteOf(), Part::kAll, out);
    case Operator::kRemoteIp: return putAddress(remoteOf(), Part::kIp, out);
    case Operator::kRemotePort: return putAddress(remoteOf(), Part::kPort, out);
    case Operator::kDirectRemote: return putAddress(directOf(), Part::kAll, out);
    case Operator::kDirectRemoteIp: return putAddress(directOf(), Part::kIp, out);
    case Operator::kDirectRemotePort: return putAddress(directOf(), Part::kPort, out);
    case Operator::kDirectLocal: return putAddress(localOf(), Part::kAll, out);
    case Operator::kDirectLocalIp: return putAddress(localOf(), Part::kIp, out);
    case Operator::kDirectLocalPort: return putAddress(localOf(), Part::kPort, out);
    case Operator::kTransportFailure: return connection != nullptr && putWithoutSpaces(connection->transport_failure, out);
    case Operator::kConnectionId: return putNumber(connection == nullptr ? 0 : connection->id, out);
    case Operator::kTerminationDetails: return connection != nullptr && put(connection->termination_details, out);
    case Operator::kRequestedServerName: return connection != nullptr && putServerName(connection->requestedServerName(), out);
    case Operator::kJa3: return connection != nullptr && put(connection->ja3(), out);
    case Operator::kFilterChainName:
      return connection != nullptr && connection->listener != nullptr && put(connection->listener->filter_chain, out);
    case Operator::kStreamId: return put(info.request_id, out);
    case Operator::kUniqueId: return putUniqueId(out);
    case Operator::kHostname:
    case Operator::kEnvironment: return put(text, out, most);
    case Operator::kGrpcStatus: return putGrpc(in, unit, out);
    case Operator::kGrpcStatusNumber: return putGrpc(in, 2, out);
    case Operator::kAccessLogType: return put(in.log_type, out);
    case Operator::kLocalReplyBody: out.add(in.local_reply_body); return true;
    case Operator::kMetadata: return putMetadata(in, false, out);
    case Operator::kOutriderReason: return put(info.reason, out);
    case Operator::kPeerUriSan:
    case Operator::kPeerDnsSan:
    case Operator::kPeerIpSan:
    case Operator::kPeerSubject:
    case Operator::kPeerIssuer:
    case Operator::kPeerSerial:
    case Operator::kPeerFingerprint256:
    case Operator::kPeerFingerprint1:
    case Operator::kPeerCert:
    case Operator::kPeerCertStart:
    case Operator::kPeerCertEnd:
    case Operator::kLocalUriSan:
    case Operator::kLocalDnsSan:
    case Operator::kLocalSubject:
    case Operator::kTlsVersion:
    case Operator::kTlsCipher:
    case Operator::kTlsSessionId: return connection != nullptr && putTls(code, connection->tls, date.get(), out);
    case Operator::kUpstreamPeerUriSan:
    case Operator::kUpstreamPeerDnsSan:
    case Operator::kUpstreamPeerIpSan:
    case Operator::kUpstreamPeerSubject:
    case Operator::kUpstreamPeerIssuer:
    case Operator::kUpstreamPeerCert:
    case Operator::kUpstreamPeerCertStart:
    case Operator::kUpstreamPeerCertEnd:
    case Operator::kUpstreamLocalUriSan:
    case Operator::kUpstreamLocalDnsSan:
    case Operator::kUpstreamTlsVersion:
    case Operator::kUpstreamTlsCipher:
    case Operator::kUpstreamTlsSessionId: return putTls(code, info.upstream_tls, date.get(), out);
  }
  OUTRIDER_UNREACHABLE();
}

void Format::print(const Input& in, Text& out, bool omit_empty) const {
  for (const Op& op : ops_) {
    if (!op.print(in, out) && !omit_empty) out.add('-');
  }
}

}  // namespace outrider::format
