#include "source/http/h1/head_parser.h"

#include <algorithm>
#include <array>
#include "source/http/h1/header_case.h"

namespace outrider::http::h1 {
namespace {

constexpr uint32_t kMostFields = 1024;  // hard bound on Settings::max_headers

// Envoy refuses a Connection field with this many options, and a TE value of this size.
constexpr size_t kMostConnectionTokens = 10;
constexpr size_t kMostTeBytes = 256;

bool fail(CodecError& error, std::string_view details, uint16_t status = 400) {
  error.status = status;
  error.details = details;
  return false;
}
bool codecError(CodecError& error) { return fail(error, "http1.codec_error"); }
bool invalidCharacters(CodecError& error) { return fail(error, "http1.invalid_characters"); }

bool refuse(Counters& counters, LenientKind kind, CodecError& error, std::string_view details) {
  counters.refused(kind);
  return fail(error, details);
}

// True where the switch is on; counts the refusal where it is off.
bool allowed(bool lenient, LenientKind kind, Counters& counters) {
  if (!lenient) counters.refused(kind);
  return lenient;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isAlpha(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

constexpr std::string_view kMethods[] = {"GET",      "POST",   "PUT",        "DELETE",     "HEAD",     "OPTIONS", "PATCH",
                                         "CONNECT",  "TRACE",  "ACL",        "BIND",       "CHECKOUT", "COPY",    "LINK",
                                         "LOCK",     "MERGE",  "MKACTIVITY", "MKCALENDAR", "MKCOL",    "MOVE",    "MSEARCH",
                                         "M-SEARCH", "NOTIFY", "PROPFIND",   "PROPPATCH",  "PURGE",    "REBIND",  "REPORT",
                                         "SEARCH",   "SOURCE", "SUBSCRIBE",  "UNBIND",     "UNLINK",   "UNLOCK",  "UNSUBSCRIBE"};

// RFC 3986 reg-name and IP-literal bytes, without the comma that would make two hosts of one.
constexpr std::array<bool, 256> kHostBytes = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 'a'; c <= 'z'; ++c) table[c] = table[c - 0x20] = true;
  for (unsigned c = '0'; c <= '9'; ++c) table[c] = true;
  for (char c : std::string_view("-._~%!$&'()*+;=")) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

bool validPort(std::string_view port) {
  if (port.empty() || port.size() > 5) return false;
  uint32_t number = 0;
  for (char c : port) {
    if (!isDigit(c)) return false;
    number = number * 10 + static_cast<uint32_t>(c - '0');
  }
  return number <= 65535;
}

// ---- first lines ----

enum class Version : uint8_t { kOther, k10, k11, kBad };
Version parseVersion(std::string_view text) {
  if (text.size() != 8 || text.substr(0, 5) != "HTTP/" || !isDigit(text[5]) || text[6] != '.' || !isDigit(text[7])) {
    return Version::kBad;
  }
  if (text[5] != '1') return Version::kOther;
  if (text[7] == '1') return Version::k11;
  return text[7] == '0' ? Version::k10 : Version::kOther;
}

// Ends a first line at `at`: moves behind CRLF or, where allowed, LF.
bool endLine(char*& at, const Lenient& lenient, Counters& counters, CodecError& error) {
  if (at[0] == '\r' && at[1] == '\n') {
    at += 2;
    return true;
  }
  if (at[0] == '\n') {
    if (!allowed(lenient.bare_lf, LenientKind::kBareLf, counters)) return fail(error, "http1.bare_lf");
    ++at;
    return true;
  }
  return invalidCharacters(error);
}

struct RequestLine {
  std::string_view method;
  std::string_view target;
  Version version = Version::kBad;
};

bool skipSpace(char*& at, const Lenient& lenient, Counters& counters, CodecError& error) {
  if (at[0] == ' ' && at[1] != ' ' && at[1] != '\t') {
    ++at;
    return true;
  }
  if (!allowed(lenient.request_line_space, LenientKind::kRequestLineSpace, counters)) return codecError(error);
  while (*at == ' ' || *at == '\t') ++at;
  return true;
}

bool parseRequestLine(char*& at, const Settings& settings, Counters& counters, RequestLine& line, CodecError& error) {
  const char* const method = at;
  while (isToken(static_cast<unsigned char>(*at))) ++at;
  line.method = {method, static_cast<size_t>(at - method)};
  if (line.method.empty() || (*at != ' ' && *at != '\t')) return codecError(error);
  if (!settings.allow_custom_methods && std::find(std::begin(kMethods), std::end(kMethods), line.method) == std::end(kMethods)) {
    return codecError(error);
  }
  if (!skipSpace(at, settings.lenient, counters, error)) return false;
  char* const target = at;
  at += kernels().uri(at);
  line.target = {target, static_cast<size_t>(at - target)};
  const bool line_ends = *at == '\r' || *at == '\n';
  if (!line_ends && *at != ' ' && *at != '\t') return invalidCharacters(error);
  if (line.target.empty()) return codecError(error);
  if (line_ends) return fail(error, "low_version", 426);  // no version: HTTP/0.9
  if (!skipSpace(at, settings.lenient, counters, error)) return false;
  char* const version = at;
  at += kernels().uri(at);
  line.version = parseVersion({version, static_cast<size_t>(at - version)});
  if (line.version == Version::kBad) return codecError(error);
  if (*at == ' ' || *at == '\t') {
    if (!allowed(settings.lenient.request_line_space, LenientKind::kRequestLineSpace, counters)) return codecError(error);
    while (*at == ' ' || *at == '\t') ++at;
    if (*at != '\r' && *at != '\n') return codecError(error);
  }
  return endLine(at, settings.lenient, counters, error);
}

bool checkAuthority(std::string_view authority, const Lenient& lenient, Counters& counters, CodecError& error) {
  LenientKind fault = LenientKind::kCount;
  if (__builtin_expect(validAuthority(authority, fault), 1)) return true;
  const bool pass = (fault == LenientKind::kEmptyHost && lenient.empty_host) || (fault == LenientKind::kBadPort && lenient.bad_port) ||
                    (fault == LenientKind::kUserinfo && lenient.userinfo);
  if (pass) return true;
  if (fault != LenientKind::kCount) counters.refused(fault);
  return fail(error, "http.invalid_authority");
}

// Scheme and authority of an absolute target, and what is left of it as the path.
bool parseAbsolute(std::string_view target, size_t scheme_size, const Settings& settings, Counters& counters, RequestHead& head,
                   CodecError& error) {
  const std::string_view scheme = target.substr(0, scheme_size);
  if (equalsIgnoreCase(scheme, "http")) {
    head.scheme = "http";
  } else if (equalsIgnoreCase(scheme, "https")) {
    head.scheme = "https";
  } else {
    return fail(error, "http1.invalid_scheme");
  }
  std::string_view rest = target.substr(scheme_size + 3);
  std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  rest.remove_prefix(authority.size());
  if (authority.empty()) return fail(error, "http1.invalid_url");
  const size_t userinfo = authority.rfind('@');
  if (userinfo != std::string_view::npos) {
    if (!allowed(settings.lenient.userinfo, LenientKind::kUserinfo, counters)) return fail(error, "http.invalid_authority");
    authority.remove_prefix(userinfo + 1);
  }
  if (!checkAuthority(authority, settings.lenient, counters, error)) return false;
  head.authority = authority;
  head.path = rest.empty() ? std::string_view("/") : rest;
  head.absolute_form = true;
  return true;
}

bool parseTarget(const RequestLine& line, const Settings& settings, Counters& counters, RequestHead& head, CodecError& error) {
  const std::string_view target = line.target;
  if (head.isConnect()) {
    LenientKind fault = LenientKind::kCount;
    if (target.find('/') != std::string_view::npos || !validAuthority(target, fault)) return fail(error, "http1.invalid_url");
    // Only "host:port" names where to connect to; a colon inside brackets is no port.
    const size_t colon = target.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || target.back() == ']' || colon + 1 == target.size()) {
      return fail(error, "http1.invalid_url");
    }
    head.authority = target;
    return true;
  }
  if (__builtin_expect(target[0] == '/', 1)) {
    head.path = target;
    return true;
  }
  if (target[0] == '*') {
    if (target.size() != 1 || line.method != "OPTIONS") return fail(error, "http1.invalid_url");
    head.path = target;
    return true;
  }
  size_t scheme = 0;
  while (scheme < target.size() && (isAlpha(target[scheme]) || (scheme > 0 && (isDigit(target[scheme]) || target[scheme] == '+' ||
                                                                               target[scheme] == '-' || target[scheme] == '.')))) {
    ++scheme;
  }
  if (scheme == 0 || target.substr(scheme, 3) != "://") return codecError(error);
  if (!settings.allow_absolute_url) {
    head.path = target;
    return true;
  }
  return parseAbsolute(target, scheme, settings, counters, head, error);
}

// ---- fields ----

bool fieldsError(FieldsStatus status, Counters& counters, CodecError& error) {
  switch (status) {
    case FieldsStatus::kOk: return true;
    case FieldsStatus::kBadName:
    case FieldsStatus::kLeadingSpace: return codecError(error);
    case FieldsStatus::kBadValue: return invalidCharacters(error);
    case FieldsStatus::kBareLf: return refuse(counters, LenientKind::kBareLf, error, "http1.bare_lf");
    case FieldsStatus::kFold: return refuse(counters, LenientKind::kObsFold, error, "http1.obs_fold");
    case FieldsStatus::kTooMany: return fail(error, "http1.too_many_headers", 431);
  }
  OUTRIDER_UNREACHABLE();
}

// The name with '_' for '-' is one that frames messages or says who asks.
bool isTwin(std::string_view name) {
  char dashed[64];
  if (name.size() > sizeof dashed) return false;
  for (size_t i = 0; i < name.size(); ++i) dashed[i] = name[i] == '_' ? '-' : name[i];
  return (headerPolicy(headerId({dashed, name.size()})) & (kFraming | kIdentity)) != 0;
}

enum class Keep : uint8_t { kYes, kNo, kError };
Keep checkUnderscore(std::string_view name, const Settings& settings, Counters& counters, CodecError& error) {
  switch (settings.underscores) {
    case Underscores::kDrop: ++counters.dropped_headers_with_underscores; return Keep::kNo;
    case Underscores::kReject:
      ++counters.requests_rejected_with_underscores_in_headers;
      fail(error, "http1.unexpected_underscore");
      return Keep::kError;
    case Underscores::kAllow: break;
  }
  if (!isTwin(name) || allowed(settings.lenient.underscore_twin, LenientKind::kUnderscoreTwin, counters)) return Keep::kYes;
  ++counters.requests_rejected_with_underscores_in_headers;
  fail(error, "http1.unexpected_underscore");
  return Keep::kError;
}

// What the fields say about framing and about this hop, gathered while the others go into the map.
struct Gathered {
  std::string_view content_length;
  std::string_view transfer_encoding;
  std::string_view upgrade;
  uint32_t content_lengths = 0;
  uint32_t transfer_encodings = 0;
  uint32_t upgrades = 0;
  uint32_t hosts = 0;
  uint32_t connections = 0;
  bool close = false;       // Connection or Proxy-Connection: close
  bool keep_alive = false;  // Connection: keep-alive
  bool upgrade_token = false;
  bool http2_settings_token = false;
  bool te_trailers = false;
  bool te_too_long = false;
  bool te_token = false;
  std::string_view nominated[kMostConnectionTokens];  // lower case, without the options named above
  size_t nominations = 0;
  size_t tokens = 0;
};

bool containsTrailers(std::string_view te) { return hasToken(te, "trailers"); }

// Reads a Connection value. Lower-cases nominated names in place: the value is dropped afterwards.
void gatherConnection(char* value, size_t size, Gathered& seen) {
  std::string_view list(value, size);
  while (!list.empty() && seen.tokens < kMostConnectionTokens) {
    const size_t comma = list.find(',');
    const std::string_view token = trim(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    if (token.empty()) continue;
    ++seen.tokens;
    char* const at = value + (token.data() - value);
    for (size_t i = 0; i < token.size(); ++i) at[i] = lowerAscii(at[i]);
    if (token == "close") {
      seen.close = true;
    } else if (token == "keep-alive") {
      seen.keep_alive = true;
    } else if (token == "upgrade") {
      seen.upgrade_token = true;
    } else if (token == "te") {
      seen.te_token = true;
    } else if (token != "http2-settings" && token != "connection") {
      if (seen.nominations < kMostConnectionTokens) seen.nominated[seen.nominations++] = token;
    }
  }
}

// What nothing may be hidden by: framing, identity, where a request came from, and pseudo-headers.
bool mayNotNominate(std::string_view name, HeaderId id) {
  return (headerPolicy(id) & (kFraming | kIdentity)) != 0 || name.starts_with(':');
}

// Takes the fields that Connection names out of the map (RFC 9110 7.6.1).
bool dropNominated(HeaderMap& headers, Gathered& seen, const Settings& settings, Counters& counters, CodecError& error) {
  if (seen.tokens >= kMostConnectionTokens || (seen.te_token && seen.te_too_long)) {
    return fail(error, "http1.connection_header_rejected");
  }
  for (size_t i = 0; i < seen.nominations; ++i) {
    const std::string_view name = seen.nominated[i];
    const HeaderId id = headerId(name);
    if (mayNotNominate(name, id)) {
      const bool framing = (headerPolicy(id) & kFraming) != 0;
      if (!framing || !allowed(settings.lenient.nominated_framing, LenientKind::kNominatedFraming, counters)) {
        return fail(error, "http1.connection_header_rejected");
      }
    }
    headers.remove(name);
  }
  return true;
}

bool gatherHost(std::string_view value, const Settings& settings, Counters& counters, Gathered& seen, RequestHead& head,
                CodecError& error) {
  if (++seen.hosts > 1) {
    if (!allowed(settings.lenient.duplicate_host, LenientKind::kDuplicateHost, counters)) {
      return fail(error, "http1.duplicate_host");
    }
    if (!checkAuthority(value, settings.lenient, counters, error)) return false;
    if (!head.absolute_form && !head.isConnect()) head.authority = head.headers.arena().concat(head.authority, ",", value);
    return true;
  }
  if (!checkAuthority(value, settings.lenient, counters, error)) return false;
  if (!head.absolute_form && !head.isConnect()) head.authority = value;
  return true;
}

// One request field that concerns this hop.
bool gatherRequestField(HeaderId id, const RawField& field, const Settings& settings, Counters& counters, Gathered& seen, RequestHead& head,
                        CodecError& error) {
  const std::string_view name(field.name, field.name_size);
  const std::string_view value(field.value, field.value_size);
  switch (id) {
    case HeaderId::kHost: return gatherHost(value, settings, counters, seen, head, error);
    case HeaderId::kContentLength:
      if (++seen.content_lengths > 1) return codecError(error);
      seen.content_length = value;
      head.headers.add(id, name, value);
      return true;
    case HeaderId::kTransferEncoding:
      ++seen.transfer_encodings;
      seen.transfer_encoding = value;
      return true;
    case HeaderId::kConnection: gatherConnection(field.value, field.value_size, seen); return true;
    case HeaderId::kProxyConnection:
      if (hasToken(value, "close")) seen.close = true;
      return true;
    case HeaderId::kUpgrade:
      ++seen.upgrades;
      seen.upgrade = seen.upgrade.empty() ? value : head.headers.arena().concat(seen.upgrade, ",", value);
      return true;
    case HeaderId::kTe:
      if (value.size() >= kMostTeBytes) seen.te_too_long = true;
      if (!seen.te_trailers && containsTrailers(value)) {
        seen.te_trailers = true;
        head.headers.add(HeaderId::kTe, name, "trailers");
      }
      return true;
    case HeaderId::kExpect:
      if (equalsIgnoreCase(value, "100-continue")) {
        head.expect_continue = head.protocol == Protocol::kHttp11;
      } else {
        head.headers.add(id, name, value);
      }
      return true;
    case HeaderId::kKeepAlive:
    case HeaderId::kHttp2Settings: return true;
    default: head.headers.add(id, name, value); return true;
  }
}

bool needsGathering(HeaderId id) {
  switch (id) {
    case HeaderId::kHost:
    case HeaderId::kContentLength:
    case HeaderId::kTransferEncoding:
    case HeaderId::kConnection:
    case HeaderId::kProxyConnection:
    case HeaderId::kUpgrade:
    case HeaderId::kTe:
    case HeaderId::kExpect:
    case HeaderId::kKeepAlive:
    case HeaderId::kHttp2Settings: return true;
    default: return false;
  }
}

bool requestFraming(const Gathered& seen, const Settings& settings, Counters& counters, RequestHead& head, Framing& framing,
                    CodecError& error) {
  uint64_t length = 0;
  if (seen.content_lengths > 0 && !parseContentLength(seen.content_length, length)) return codecError(error);
  if (seen.transfer_encodings > 0) {
    const bool chunked = seen.transfer_encodings == 1 && equalsIgnoreCase(seen.transfer_encoding, "chunked");
    if (seen.content_lengths > 0) {
      if (!chunked || !settings.allow_chunked_length) return fail(error, "http1.content_length_and_chunked_not_allowed");
      head.headers.remove(HeaderId::kContentLength);
      head.keep_alive = false;  // RFC 9112 6.1
    }
    if (!chunked || head.isConnect()) return fail(error, "http1.invalid_transfer_encoding", 501);
    if (head.protocol == Protocol::kHttp10) {
      if (!allowed(settings.lenient.te_on_http10, LenientKind::kTeOnHttp10, counters)) {
        return fail(error, "http1.invalid_transfer_encoding");
      }
      head.keep_alive = false;
    }
    framing.body = Framing::Body::kChunked;
  } else if (length > 0) {
    framing.body = Framing::Body::kLength;
    framing.length = length;
  }
  if (head.isConnect() || !head.upgrade.empty()) {
    if (framing.body != Framing::Body::kNone) return fail(error, "http1.body_disallowed");
    if (head.isConnect()) head.headers.remove(HeaderId::kContentLength);
    framing.body = Framing::Body::kTunnel;
  }
  return true;
}

}  // namespace

HeadFinder::Found HeadFinder::find(const base::Buffer& in, size_t limit) {
  size_t skip = scanned_;
  const Kernels& kernel = kernels();
  for (size_t i = 0; i < in.sliceCount(); ++i) {
    std::string_view piece = in.slice(i).view();
    if (skip >= piece.size()) {
      skip -= piece.size();
      continue;
    }
    piece.remove_prefix(skip);
    skip = 0;
    const size_t room = limit - scanned_;
    const size_t most = std::min(piece.size(), room + 1);
    const ScanResult result = kernel.scan(piece.data(), most, state_);
    switch (result.kind) {
      case ScanResult::Kind::kEnd: size_ = scanned_ + result.size; return size_ > limit ? Found::kTooLarge : Found::kEnd;
      case ScanResult::Kind::kBareCr: return Found::kBareCr;
      case ScanResult::Kind::kMore:
        if (most > room) return Found::kTooLarge;
        scanned_ += most;
        break;
    }
  }
  return Found::kMore;
}

char* takeHead(base::Buffer& in, size_t size, base::Arena& arena) {
  char* raw = arena.bytes(size + kPadding);
  in.copyOut(size, raw);
  in.drain(size);
  // Kernels read into the padding; what they find there is never used, but must not look like a continuation.
  __builtin_memset(raw + size, 0, kPadding);
  return raw;
}

bool parseContentLength(std::string_view text, uint64_t& length) {
  if (text.empty() || text.size() > 19) return false;
  uint64_t number = 0;
  for (char c : text) {
    if (!isDigit(c)) return false;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  // 19 digits fit; half the range keeps sums of lengths safe.
  if (number > (uint64_t{1} << 62)) return false;
  length = number;
  return true;
}

bool validAuthority(std::string_view authority, LenientKind& fault) {
  fault = LenientKind::kCount;
  if (authority.empty()) {
    fault = LenientKind::kEmptyHost;
    return false;
  }
  size_t at = 0;
  if (authority[0] == '[') {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    for (size_t i = 1; i < close; ++i) {
      const auto c = static_cast<unsigned char>(authority[i]);
      if (!kHostBytes[c] && c != ':') return false;
    }
    at = close + 1;
  } else {
    while (at < authority.size() && kHostBytes[static_cast<unsigned char>(authority[at])]) ++at;
  }
  if (at == authority.size()) return true;
  if (authority.find('@') != std::string_view::npos) {
    // Everything but the '@' has to be sound for the switch to matter.
    for (char c : authority) {
      if (!kHostBytes[static_cast<unsigned char>(c)] && c != ':' && c != '@' && c != '[' && c != ']') return false;
    }
    fault = LenientKind::kUserinfo;
    return false;
  }
  if (authority[at] != ':') return false;
  const std::string_view port = authority.substr(at + 1);
  if (at > 0 && validPort(port)) return true;
  for (char c : port) {
    if (!kHostBytes[static_cast<unsigned char>(c)] && c != ':') return false;
  }
  fault = LenientKind::kBadPort;
  return false;
}

bool parseRequestHead(char* raw, size_t size, const Settings& settings, Counters& counters, std::string_view scheme, RequestHead& head,
                      Framing& framing, CodecError& error) {
  char* at = raw;
  char* const end = raw + size;
  RequestLine line;
  if (!parseRequestLine(at, settings, counters, line, error)) return false;
  head.wire_bytes = static_cast<uint32_t>(size);
  head.method = line.method;
  head.scheme = scheme;
  switch (line.version) {
    case Version::k11: head.protocol = Protocol::kHttp11; break;
    case Version::k10:
      head.protocol = Protocol::kHttp10;
      if (settings.accept_http_10) break;
      [[fallthrough]];
    case Version::kOther:
    case Version::kBad: return fail(error, "low_version", 426);
  }
  if (!parseTarget(line, settings, counters, head, error)) return false;
  if (settings.preserve_case) head.headers.setSpelling(recordSpelling(at, end, settings.preserve_case_proper, head.headers.arena()));

  RawField fields[kMostFields];
  const FieldsResult result =
      kernels().fields(at, end, fields, std::min(settings.max_headers, kMostFields), settings.lenient.bare_lf, settings.lenient.obs_fold);
  if (!fieldsError(result.status, counters, error)) return false;

  Gathered seen;
  for (uint32_t i = 0; i < result.count; ++i) {
    const RawField& field = fields[i];
    const std::string_view name(field.name, field.name_size);
    if (__builtin_expect(field.underscore, 0)) {
      const Keep keep = checkUnderscore(name, settings, counters, error);
      if (keep == Keep::kError) return false;
      if (keep == Keep::kNo) continue;
    }
    const HeaderId id = headerId(name);
    if (needsGathering(id)) {
      if (!gatherRequestField(id, field, settings, counters, seen, head, error)) return false;
    } else {
      head.headers.add(id, name, {field.value, field.value_size});
    }
  }
  head.keep_alive = !seen.close && (head.protocol == Protocol::kHttp11 || seen.keep_alive);
  if (seen.tokens > 0 && !dropNominated(head.headers, seen, settings, counters, error)) return false;
  // HTTP/2 is reached by ALPN or prior knowledge only, so an offer of h2c is not passed on; HTTP/1.0 cannot upgrade.
  if (seen.upgrade_token && head.protocol == Protocol::kHttp11 && !equalsIgnoreCase(seen.upgrade, "h2c")) {
    head.upgrade = seen.upgrade;
  }
  if (seen.hosts == 0 && head.protocol == Protocol::kHttp10 && head.authority.empty() && !settings.default_host_for_http_10.empty()) {
    head.authority = head.headers.arena().copy(settings.default_host_for_http_10);
  }
  return requestFraming(seen, settings, counters, head, framing, error);
}

namespace {

bool parseStatusLine(char*& at, const Settings& settings, Counters& counters, ResponseHead& head, CodecError& error) {
  switch (parseVersion({at, 8})) {
    case Version::k11: head.protocol = Protocol::kHttp11; break;
    case Version::k10: head.protocol = Protocol::kHttp10; break;
    case Version::kOther:
    case Version::kBad: return codecError(error);
  }
  at += 8;
  if (at[0] != ' ' || !isDigit(at[1]) || !isDigit(at[2]) || !isDigit(at[3])) return codecError(error);
  head.status = static_cast<uint16_t>((at[1] - '0') * 100 + (at[2] - '0') * 10 + (at[3] - '0'));
  if (head.status < 100) return codecError(error);
  at += 4;
  if (*at == ' ') {
    ++at;
    at += kernels().value(at);
  } else if (*at != '\r' && *at != '\n') {
    return codecError(error);
  }
  return endLine(at, settings.lenient, counters, error);
}

bool responseFraming(const Gathered& seen, const Settings& settings, const ResponseContext& context, ResponseHead& head, Framing& framing,
                     CodecError& error) {
  uint64_t length = 0;
  if (seen.content_lengths > 0 && !parseContentLength(seen.content_length, length)) return codecError(error);
  const bool bodiless = head.status < 200 || head.status == 204;
  if (bodiless && seen.transfer_encodings > 0) return fail(error, "http1.transfer_encoding_not_allowed");
  if (bodiless && seen.content_lengths > 0) {
    if (length != 0) return fail(error, "http1.content_length_not_allowed");
    head.headers.remove(HeaderId::kContentLength);
  }
  if (head.status == 101) {
    if (!context.upgrade_request) return codecError(error);
    framing.body = Framing::Body::kTunnel;
    return true;
  }
  if (context.connect_request && head.status >= 200 && head.status < 300) {
    // RFC 9110 9.3.6: framing fields in such an answer are ignored.
    head.headers.remove(HeaderId::kContentLength);
    framing.body = Framing::Body::kTunnel;
    return true;
  }
  bool chunked = false;
  if (seen.transfer_encodings > 0) {
    chunked = seen.transfer_encodings == 1 && equalsIgnoreCase(seen.transfer_encoding, "chunked");
    if (seen.content_lengths > 0) {
      if (!chunked || !settings.allow_chunked_length) return fail(error, "http1.content_length_and_chunked_not_allowed");
      head.headers.remove(HeaderId::kContentLength);
      head.keep_alive = false;
    }
    if (!chunked) return fail(error, "http1.invalid_transfer_encoding");
    if (head.protocol == Protocol::kHttp10) head.keep_alive = false;
  }
  if (bodiless || head.status == 304 || context.head_request) return true;
  if (chunked) {
    framing.body = Framing::Body::kChunked;
  } else if (seen.content_lengths > 0) {
    if (length > 0) framing.body = Framing::Body::kLength;
    framing.length = length;
  } else {
    framing.body = Framing::Body::kUntilClose;
    head.keep_alive = false;
  }
  return true;
}

}  // namespace

bool parseResponseHead(char* raw, size_t size, const Settings& settings, Counters& counters, const ResponseContext& context,
                       ResponseHead& head, Framing& framing, CodecError& error) {
  error.status = 502;
  char* at = raw;
  char* const end = raw + size;
  head.wire_bytes = static_cast<uint32_t>(size);
  if (!parseStatusLine(at, settings, counters, head, error)) return false;
  if (settings.preserve_case) head.headers.setSpelling(recordSpelling(at, end, settings.preserve_case_proper, head.headers.arena()));
  RawField fields[kMostFields];
  const FieldsResult result =
      kernels().fields(at, end, fields, std::min(settings.max_headers, kMostFields), settings.lenient.bare_lf, settings.lenient.obs_fold);
  if (!fieldsError(result.status, counters, error)) return false;
  Gathered seen;
  for (uint32_t i = 0; i < result.count; ++i) {
    const RawField& field = fields[i];
    const std::string_view name(field.name, field.name_size);
    const std::string_view value(field.value, field.value_size);
    const HeaderId id = headerId(name);
    switch (id) {
      case HeaderId::kContentLength:
        if (++seen.content_lengths > 1) return codecError(error);
        seen.content_length = value;
        break;
      case HeaderId::kTransferEncoding:
        ++seen.transfer_encodings;
        seen.transfer_encoding = value;
        continue;
      case HeaderId::kConnection: gatherConnection(field.value, field.value_size, seen); continue;
      case HeaderId::kProxyConnection:
        if (hasToken(value, "close")) seen.close = true;
        continue;
      case HeaderId::kUpgrade:
        if (head.status != 101) continue;
        break;
      case HeaderId::kKeepAlive: continue;
      default: break;
    }
    head.headers.add(id, name, value);
  }
  head.keep_alive = !seen.close && (head.protocol == Protocol::kHttp11 || seen.keep_alive);
  return responseFraming(seen, settings, context, head, framing, error);
}

namespace {

bool parseTrailers(char* raw, size_t size, const Settings& settings, Counters& counters, HeaderMap& trailers, CodecError& error) {
  RawField fields[kMostFields];
  const FieldsResult result = kernels().fields(raw, raw + size, fields, std::min(settings.max_headers, kMostFields),
                                               settings.lenient.bare_lf, settings.lenient.obs_fold);
  if (result.status == FieldsStatus::kBadName) return invalidCharacters(error);
  if (!fieldsError(result.status, counters, error)) return false;
  for (uint32_t i = 0; i < result.count; ++i) {
    const RawField& field = fields[i];
    const std::string_view name(field.name, field.name_size);
    const HeaderId id = headerId(name);
    if (settings.enable_trailers) {
      const bool refused = (headerPolicy(id) & (kNoTrailer | kIdentity | kFraming)) != 0 || (field.underscore && isTwin(name));
      if (refused) {
        if (!allowed(settings.lenient.trailer_names, LenientKind::kTrailerNames, counters)) {
          return fail(error, "http1.invalid_trailer");
        }
        continue;  // dropped: such a field never acts behind its body
      }
    }
    trailers.add(id, name, {field.value, field.value_size});
  }
  return true;
}

}  // namespace

HeaderMap* takeTrailers(base::Buffer& in, size_t size, base::Arena& arena, const Settings& settings, Counters& counters,
                        CodecError& error) {
  char* const raw = takeHead(in, size, arena);
  auto* trailers = arena.make<HeaderMap>(arena);
  return parseTrailers(raw, size, settings, counters, *trailers, error) ? trailers : nullptr;
}

}  // namespace outrider::http::h1
