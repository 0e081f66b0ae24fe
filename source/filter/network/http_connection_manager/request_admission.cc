#include "source/filter/network/http_connection_manager/request_admission.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "source/net/transport.h"

namespace outrider::filter::network::http_connection_manager {

using http::HeaderId;

namespace {

// CONNECT to a host and port; an extended one (RFC 8441) has a path and is an upgrade.
bool plainConnect(const http::RequestHead& head) { return head.isConnect() && head.upgrade.empty(); }

int hexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = http::lowerAscii(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

// Dot segments go (RFC 3986 5.2.4); a path that climbs above the root stays at it.
size_t removeDotSegments(char* path, size_t size) {
  size_t out = 0;
  size_t in = 0;
  while (in < size) {
    size_t end = in + 1;
    while (end < size && path[end] != '/') ++end;
    const std::string_view segment(path + in + 1, end - in - 1);  // without its slash
    if (segment == "." || segment == "..") {
      if (segment == "..") {
        while (out > 0 && path[out - 1] != '/') --out;
        if (out > 0) --out;
      }
      if (end == size) path[out++] = '/';
    } else {
      for (size_t i = in; i < end; ++i) path[out++] = path[i];
    }
    in = end;
  }
  if (out == 0) path[out++] = '/';
  return out;
}

size_t mergeSlashes(char* path, size_t size) {
  size_t out = 0;
  for (size_t i = 0; i < size; ++i) {
    if (path[i] == '/' && out > 0 && path[out - 1] == '/') continue;
    path[out++] = path[i];
  }
  return out;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// The n-th entry from the end of an x-forwarded-for list (0 is the last); empty: no such.
std::string_view entryFromEnd(std::string_view list, uint32_t n) {
  while (true) {
    const size_t comma = list.rfind(',');
    const std::string_view entry = trim(comma == std::string_view::npos ? list : list.substr(comma + 1));
    if (n-- == 0) return entry;
    if (comma == std::string_view::npos) return {};
    list = list.substr(0, comma);
  }
}

std::string_view printed(base::Arena& arena, const base::Address& address) {
  char text[base::Address::kTextSize];
  return arena.copy({text, address.print(text, false)});
}

// 16 digits, the highest first: each byte's two halves are spread over two bytes, then all become text at once.
void hexDigits(uint64_t word, char* to) {
  const auto put = [](uint32_t half, char* at) {
    uint64_t spread = half;
    spread = (spread | (spread << 16)) & 0x0000ffff0000ffffu;
    spread = (spread | (spread << 8)) & 0x00ff00ff00ff00ffu;
    spread = (spread | (spread << 4)) & 0x0f0f0f0f0f0f0f0fu;
    const uint64_t letters = ((spread + 0x0606060606060606u) >> 4) & 0x0101010101010101u;
    spread += 0x3030303030303030u + letters * ('a' - '0' - 10);
    spread = __builtin_bswap64(spread);
    std::memcpy(at, &spread, 8);
  };
  put(static_cast<uint32_t>(word >> 32), to);
  put(static_cast<uint32_t>(word), to + 8);
}

void setRequestId(HttpStream& stream, http::RequestHead& head) {
  // Bits by RFC 4122: version 4 (random), variant 10.
  const uint64_t high = (stream.worker().random.next() & ~uint64_t{0xf000}) | 0x4000;
  const uint64_t low = (stream.worker().random.next() >> 2) | (uint64_t{1} << 63);
  char* id = stream.arena().bytes(36);
  char digits[16];
  hexDigits(high, digits);
  std::memcpy(id, digits, 8);
  id[8] = '-';
  std::memcpy(id + 9, digits + 8, 4);
  id[13] = '-';
  std::memcpy(id + 14, digits + 12, 4);
  id[18] = '-';
  hexDigits(low, digits);
  std::memcpy(id + 19, digits, 4);
  id[23] = '-';
  std::memcpy(id + 24, digits + 4, 12);
  head.headers.set(HeaderId::kRequestId, std::string_view(id, 36));
}

bool isInternal(const HcmSpec& spec, const base::Address& address) {
  if (address.isUnix()) return spec.internal_unix;
  return std::any_of(spec.internal_ranges.begin(), spec.internal_ranges.end(),
                     [&](const base::CidrRange& range) { return range.contains(address); });
}

constexpr HeaderId kExternalForbidden[] = {HeaderId::kEnvoyDecoratorOperation,
                                           HeaderId::kEnvoyDownstreamServiceCluster,
                                           HeaderId::kEnvoyDownstreamServiceNode,
                                           HeaderId::kEnvoyExpectedRqTimeoutMs,
                                           HeaderId::kEnvoyForceTrace,
                                           HeaderId::kEnvoyIpTags,
                                           HeaderId::kEnvoyMaxRetries,
                                           HeaderId::kEnvoyRetryGrpcOn,
                                           HeaderId::kEnvoyRetryOn,
                                           HeaderId::kEnvoyUpstreamAltStatName,
                                           HeaderId::kEnvoyUpstreamRqPerTryTimeoutMs,
                                           HeaderId::kEnvoyUpstreamRqTimeoutAltResponse,
                                           HeaderId::kEnvoyUpstreamRqTimeoutMs,
                                           HeaderId::kEnvoyHedgeOnPerTryTimeout,
                                           HeaderId::kEnvoyRetriableStatusCodes,
                                           HeaderId::kEnvoyRetriableHeaderNames,
                                           HeaderId::kEnvoyOriginalPath,
                                           HeaderId::kEnvoyOriginalHost};

// Several fields of one name become one list, so that what is appended comes last.
void joinFields(http::HeaderMap& headers, HeaderId id) {
  const http::Header* first = headers.find(id);
  if (first == nullptr) return;
  bool present = false;
  const std::string_view all = headers.getAll(first->name(), present);
  if (all.size() != first->value_size) headers.set(id, all);
}

// What one way to find the client came to.
struct Detected {
  base::Address client;  // not valid: not found
  bool single = false;   // the question of internality may be asked
  bool append = false;   // whom we are connected with joins the list
};

Detected detect(const IpDetection& how, const base::Address& peer, http::HeaderMap& headers) {
  Detected out;
  bool present = false;
  if (how.kind == IpDetection::Kind::kHeader) {
    const http::Header* header = headers.find(std::string_view(how.header));
    if (header == nullptr) return out;
    if (const auto parsed = base::Address::parseIp(header->value(), 0)) {
      out.client = *parsed;
      out.single = how.trusted_address;
    }
    return out;
  }
  const auto trusted = [&](const base::Address& address) {
    return std::any_of(how.trusted.begin(), how.trusted.end(), [&](const base::CidrRange& range) { return range.contains(address); });
  };
  if (!how.trusted.empty() && !trusted(peer)) {
    out.append = true;  // nobody whose list is believed
    return out;
  }
  out.append = !how.skip_append;
  std::string_view list = headers.getAll(HeaderId::kForwardedFor, present);
  if (!present) return out;
  if (how.trusted.empty()) {
    if (const auto parsed = base::Address::parseIp(entryFromEnd(list, how.trusted_hops), 0)) {
      out.client = *parsed;
      out.single = how.trusted_hops == 0 && list.find(',') == std::string_view::npos;
    }
    return out;
  }
  // Back through the proxies that are trusted, to the first that is not, or to the list's begin.
  out.single = list.find(',') == std::string_view::npos;
  while (true) {
    const size_t comma = list.rfind(',');
    const auto parsed = base::Address::parseIp(trim(comma == std::string_view::npos ? list : list.substr(comma + 1)), 0);
    if (!parsed) return out;  // what stands before it cannot be reached
    if (!trusted(*parsed) || comma == std::string_view::npos) {
      out.client = *parsed;
      return out;
    }
    list = list.substr(0, comma);
  }
}

// Who is the client? Sets info.remote, the x-forwarded-* fields and x-envoy-internal / -external-address.
// Not 0: nobody said who it is, and this is the status that such requests get.
uint16_t resolveClient(const Admission& admission, HttpStream& stream, http::RequestHead& head) {
  const HcmSpec& spec = admission.spec;
  const stream::ConnectionInfo& connection = *stream.info().connection;
  base::Arena& arena = stream.arena();
  http::HeaderMap& headers = head.headers;
  bool single = false;  // x-forwarded-for holds one entry: the question of internality may be asked
  base::Address client = connection.remote();
  joinFields(headers, HeaderId::kForwardedFor);

  if (spec.use_remote_address) {
    if (spec.xff_num_trusted_hops > 0) {
      bool present = false;
      const std::string_view list = headers.getAll(HeaderId::kForwardedFor, present);
      const std::string_view entry = present ? entryFromEnd(list, spec.xff_num_trusted_hops - 1) : std::string_view();
      if (const auto parsed = base::Address::parseIp(entry, 0)) client = *parsed;
    } else {
      // Nobody before us is believed.
      if (connection.remote().isIp() || !headers.has(HeaderId::kForwardedProto)) {
        headers.set(HeaderId::kForwardedProto, admission.secure ? "https" : "http");
      }
    }
    single = !headers.has(HeaderId::kForwardedFor);
    if (!spec.skip_xff_append && connection.remote().isIp()) {
      headers.appendValue(HeaderId::kForwardedFor, printed(arena, connection.remote()));
    }
  } else if (spec.ip_detection.empty()) {
    IpDetection plain;
    plain.trusted_hops = spec.xff_num_trusted_hops;
    const Detected found = detect(plain, connection.remote(), headers);
    if (found.client.valid()) {
      client = found.client;
      single = found.single;
    }
  } else {
    for (const IpDetection& how : spec.ip_detection) {
      const Detected found = detect(how, connection.remote(), headers);
      if (!found.client.valid() && how.reject != 0) return how.reject;
      if (found.append && connection.remote().isIp()) {
        headers.appendValue(HeaderId::kForwardedFor, printed(arena, connection.remote()));
      }
      if (!found.client.valid()) continue;
      client = found.client;
      single = found.single;
      break;
    }
  }
  if (!headers.has(HeaderId::kForwardedProto)) {
    headers.add(HeaderId::kForwardedProto, admission.secure ? "https" : "http");
  }
  if (spec.append_forwarded_port && !headers.has(HeaderId::kForwardedPort)) {
    char port[8];
    const auto end = std::to_chars(port, port + sizeof port, connection.local().port()).ptr;
    headers.addCopy(HeaderId::kForwardedPort, {port, static_cast<size_t>(end - port)});
  }
  stream.info().remote = client;

  const bool internal = single && isInternal(spec, client);
  if (internal) {
    headers.set(HeaderId::kEnvoyInternal, "true");
  } else {
    const bool edge = spec.use_remote_address;
    headers.remove(HeaderId::kEnvoyInternal);
    if (edge) {
      if (spec.xff_num_trusted_hops == 0 || client.isIp()) {
        headers.set(HeaderId::kEnvoyExternalAddress, printed(arena, client));
      }
      for (const HeaderId id : kExternalForbidden) headers.remove(id);
      if (spec.strip_untrusted_internal) headers.remove(HeaderId::kEnvoyAttemptCount);
    } else {
      headers.remove(HeaderId::kEnvoyRetryOn);
      headers.remove(HeaderId::kEnvoyRetryGrpcOn);
      headers.remove(HeaderId::kEnvoyMaxRetries);
      headers.remove(HeaderId::kEnvoyUpstreamAltStatName);
      headers.remove(HeaderId::kEnvoyUpstreamRqTimeoutMs);
      headers.remove(HeaderId::kEnvoyUpstreamRqPerTryTimeoutMs);
      headers.remove(HeaderId::kEnvoyUpstreamRqTimeoutAltResponse);
      headers.remove(HeaderId::kEnvoyExpectedRqTimeoutMs);
      headers.remove(HeaderId::kEnvoyForceTrace);
      headers.remove(HeaderId::kEnvoyIpTags);
      headers.remove(HeaderId::kEnvoyRetriableStatusCodes);
      headers.remove(HeaderId::kEnvoyRetriableHeaderNames);
      if (spec.strip_untrusted_internal) headers.remove(HeaderId::kEnvoyOriginalPath);
      headers.remove(HeaderId::kEnvoyHedgeOnPerTryTimeout);
    }
  }
  return 0;
}

// x-forwarded-client-cert: forged ones go; ours says what the handshake proved.
void clientCertificate(const HcmSpec& spec, HttpStream& stream, http::RequestHead& head) {
  const net::SecurityInfo* tls = stream.info().connection->tls;
  http::HeaderMap& headers = head.headers;
  if (spec.client_cert == ClientCert::kAlwaysForwardOnly) return;
  const bool mutual = tls != nullptr && tls->peer_presented;
  if (spec.client_cert == ClientCert::kSanitize || !mutual) {
    headers.remove(HeaderId::kForwardedClientCert);
    return;
  }
  if (spec.client_cert == ClientCert::kForwardOnly) return;
  std::string text;
  const auto part = [&](std::string_view key, std::string_view value, bool quoted) {
    if (!text.empty()) text += ';';
    text += key;
    text += '=';
    if (quoted) text += '"';
    for (const char c : value) {
      if (quoted && c == '"') text += '\\';
      text += c;
    }
    if (quoted) text += '"';
  };
  for (const std::string& uri : tls->local_uri_sans) part("By", uri, false);
  part("Hash", tls->peer_fingerprint_256, false);
  if (spec.cert_cert) part("Cert", tls->peer_pem, true);
  if (spec.cert_chain) part("Chain", tls->peer_chain_pem, true);
  if (spec.cert_subject) part("Subject", tls->peer_subject, true);
  if (spec.cert_uri) {
    for (const std::string& uri : tls->peer_uri_sans) part("URI", uri, false);
    if (tls->peer_uri_sans.empty()) part("URI", "", false);
  }
  if (spec.cert_dns) {
    for (const std::string& dns : tls->peer_dns_sans) part("DNS", dns, false);
  }
  const std::string_view value = stream.arena().copy(text);
  if (spec.client_cert == ClientCert::kAppendForward) {
    headers.appendValue(HeaderId::kForwardedClientCert, value);
  } else {
    headers.set(HeaderId::kForwardedClientCert, value);
  }
}

void normalizeAuthority(const HcmSpec& spec, const stream::ConnectionInfo& connection, http::RequestHead& head) {
  std::string_view host = head.authority;
  const size_t bracket = host.rfind(']');
  const size_t colon = host.rfind(':');
  const bool has_port = colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  if (has_port && (spec.strip_any_port || spec.strip_matching_port) && !plainConnect(head)) {
    uint32_t port = 0;
    const std::string_view digits = host.substr(colon + 1);
    std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (spec.strip_any_port || port == connection.local().port()) host = host.substr(0, colon);
  }
  if (spec.strip_trailing_dot) {
    const size_t port_at = host.rfind(':');
    if (host.ends_with('.')) {
      host.remove_suffix(1);
    } else if (port_at != std::string_view::npos && port_at > 0 && host[port_at - 1] == '.') {
      host = head.headers.arena().concat(host.substr(0, port_at - 1), host.substr(port_at));
    }
  }
  head.authority = host;
}

}  // namespace

PathFault normalizePath(const HcmSpec& spec, std::string_view path, base::Arena& arena, std::string_view& out) {
  out = path;
  const size_t query_at = std::min(path.find('?'), path.size());
  const std::string_view query = path.substr(query_at);
  const std::string_view bare = path.substr(0, query_at);
  bool percent = false, plain = true;
  char before = 0;
  for (const char c : bare) {
    percent |= c == '%';
    // Nothing to do for most paths: no escapes, no dots after a slash, no double slash, no backslash.
    plain &= c != '%' && c != '\\' && !(c == '.' && before == '/') && !(c == '/' && before == '/');
    before = c;
  }
  if (plain) return PathFault::kNone;
  if (percent && spec.reject_bad_percent) {
    for (size_t i = 0; i < bare.size(); ++i) {
      if (bare[i] != '%') continue;
      if (i + 2 >= bare.size() || hexValue(bare[i + 1]) < 0 || hexValue(bare[i + 2]) < 0) return PathFault::kBadPath;
      if (bare[i + 1] == '0' && bare[i + 2] == '0') return PathFault::kBadPath;
    }
  }
  char* to = arena.bytes(path.size());
  size_t size = 0;
  bool redirect = false;
  for (size_t i = 0; i < bare.size(); ++i) {
    char c = bare[i];
    if (c == '%' && i + 2 < bare.size()) {
      const int high = hexValue(bare[i + 1]), low = hexValue(bare[i + 2]);
      if (high >= 0 && low >= 0) {
        const char decoded = static_cast<char>(high * 16 + low);
        if (decoded == '/' || decoded == '\\') {
          switch (spec.escaped_slashes) {
            case EscapedSlashes::kKeep: break;
            case EscapedSlashes::kReject: return PathFault::kEscapedSlashRejected;
            case EscapedSlashes::kUnescapeAndRedirect: redirect = true; [[fallthrough]];
            case EscapedSlashes::kUnescapeAndForward:
              to[size++] = '/';
              i += 2;
              continue;
          }
        } else if (spec.normalize_path && unreserved(decoded)) {
          to[size++] = decoded;
          i += 2;
          continue;
        }
        if (spec.normalize_path && spec.one_case_of_escapes) {
          constexpr char kHex[] = "0123456789ABCDEF";
          to[size++] = '%';
          to[size++] = kHex[high];
          to[size++] = kHex[low];
          i += 2;
          continue;
        }
      }
    }
    if (c == '\\' && spec.normalize_path) c = '/';
    to[size++] = c;
  }
  if (spec.normalize_path) {
    if (size == 0 || to[0] != '/') return PathFault::kBadPath;
    size = removeDotSegments(to, size);
  }
  if (spec.merge_slashes) size = mergeSlashes(to, size);
  std::copy(query.begin(), query.end(), to + size);
  out = std::string_view(to, size + query.size());
  return redirect ? PathFault::kRedirect : PathFault::kNone;
}

const Reply* admitRequest(const Admission& admission, HttpStream& stream, http::RequestHead& head) {
  const HcmSpec& spec = admission.spec;
  const auto refuse = [&](uint16_t status, std::string_view body, std::string_view details) {
    Reply& reply = stream.makeReply(status, body, details);
    reply.reason = "request_refused";
    return &reply;
  };
  stream.info().start_wall = stream.worker().loop.wall();
  if (head.isConnect() && !head.upgrade.empty()) head.method = "GET";  // what HTTP/1 calls the same thing, as Envoy
  if (head.authority.empty() && !plainConnect(head)) {
    Reply& reply = stream.makeReply(400, {}, "missing_host_header");
    reply.reason = "request_refused";
    reply.close = true;
    return &reply;
  }
  if (head.protocol == http::Protocol::kHttp10 && !spec.h1.accept_http_10) {
    Reply& reply = stream.makeReply(426, {}, "low_version");
    reply.reason = "request_refused";
    reply.close = true;
    return &reply;
  }
  if (head.absolute_form && head.scheme == "https" && !admission.secure && spec.use_remote_address && spec.xff_num_trusted_hops == 0) {
    // Nobody before this edge can have taken TLS off.
    return refuse(403, {}, "http1.https_url_on_plaintext_connection");
  }
  normalizeAuthority(spec, *stream.info().connection, head);
  if (!plainConnect(head)) {
    if (head.path.find('#') != std::string_view::npos) {
      admission.stats.inc(HcmStat::kRqFailedPathNormalization);
      return refuse(400, {}, "path_normalization_failed");
    }
    if (head.path.empty() || head.path[0] != '/') {
      admission.stats.inc(HcmStat::kRqNonRelativePath);
      return refuse(404, {}, "absolute_path_rejected");
    }
    std::string_view normal;
    switch (normalizePath(spec, head.path, stream.arena(), normal)) {
      case PathFault::kNone: head.path = normal; break;
      case PathFault::kBadPath:
      case PathFault::kEscapedSlashRejected:
        admission.stats.inc(HcmStat::kRqFailedPathNormalization);
        return refuse(400, {}, "path_normalization_failed");
      case PathFault::kRedirect: {
        Reply& reply = stream.makeReply(307, {}, "path_normalization_failed");
        auto* headers = stream.arena().make<http::HeaderMap>(stream.arena());
        headers->add(HeaderId::kLocation, normal);
        head.path = normal;
        reply.headers = headers;
        reply.reason = "path_redirected";
        return &reply;
      }
    }
  }
  if (head.method == "TRACE" && spec.reject_trace) {
    Reply& reply = stream.makeReply(405, "Method Not Allowed", "trace_not_allowed");
    reply.reason = "request_refused";
    return &reply;
  }
  if (const uint16_t status = resolveClient(admission, stream, head); status != 0) {
    return refuse(status, {}, "rejecting_because_detection_failed");
  }
  clientCertificate(spec, stream, head);
  joinFields(head.headers, HeaderId::kRequestId);
  if (spec.generate_request_id) {
    // Only someone inside, or an edge told to preserve, may choose the id.
    const bool edge_request = spec.use_remote_address && !head.headers.has(HeaderId::kEnvoyInternal);
    if (!head.headers.has(HeaderId::kRequestId) || (edge_request && !spec.preserve_external_request_id)) {
      setRequestId(stream, head);
    }
    stream.info().request_id = head.headers.get(HeaderId::kRequestId);
  }
  if (!spec.via.empty()) {
    if (const http::Header* via = head.headers.find(HeaderId::kVia)) {
      head.headers.set(HeaderId::kVia, stream.arena().concat(via->value(), ", ", spec.via));
    } else {
      head.headers.add(HeaderId::kVia, spec.via);
    }
  }
  head.scheme = admission.secure ? "https" : "http";
  const std::string_view proto = head.headers.get(HeaderId::kForwardedProto);
  if (proto == "https" || proto == "http") head.scheme = proto;
  if (!spec.scheme.empty()) {
    head.scheme = spec.scheme;
    head.headers.set(HeaderId::kForwardedProto, spec.scheme);
  }
  return nullptr;
}

}  // namespace outrider::filter::network::http_connection_manager
