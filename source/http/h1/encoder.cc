#include "source/http/h1/encoder.h"

#include <cstring>
#include <memory>

#include "source/http/h1/header_case.h"
#include "source/http/h1/scan.h"

namespace outrider::http::h1 {
namespace {

// Short copies without a call: most names and values are under 32 bytes. The overlapping pair covers each size range.
inline char* put(char* to, const char* from, size_t n) {
  if (n <= 16) {
    if (n >= 8) {
      uint64_t a, b;
      std::memcpy(&a, from, 8);
      std::memcpy(&b, from + n - 8, 8);
      std::memcpy(to, &a, 8);
      std::memcpy(to + n - 8, &b, 8);
    } else if (n >= 4) {
      uint32_t a, b;
      std::memcpy(&a, from, 4);
      std::memcpy(&b, from + n - 4, 4);
      std::memcpy(to, &a, 4);
      std::memcpy(to + n - 4, &b, 4);
    } else {
      for (size_t i = 0; i < n; ++i) to[i] = from[i];
    }
  } else {
    std::memcpy(to, from, n);
  }
  return to + n;
}

// Writes into reserved room; the size was bounded before.
struct FastWriter {
  char* at;
  void put(std::string_view text) { at = h1::put(at, text.data(), text.size()); }
};

// For heads that fit no block.
struct SlowWriter {
  base::Buffer& out;
  void put(std::string_view text) { out.append(text); }
};

template <class Writer>
void putLine(Writer& writer, std::string_view name, std::string_view value) {
  writer.put(name);
  writer.put(": ");
  writer.put(value);
  writer.put("\r\n");
}

// A field that still stands in its head as the parser read it. The bytes between and behind are looked at only when the
// distance is right, so they lie in the same head.
inline bool isLine(const Header& header) {
  const char* const name_end = header.name_data + header.name_size;
  if (header.value_data != name_end + 2) return false;
  const char* const value_end = header.value_data + header.value_size;
  return name_end[0] == ':' && name_end[1] == ' ' && value_end[0] == '\r' && value_end[1] == '\n';
}

inline bool leftOut(HeaderId id, bool keep_upgrade) {
  switch (id) {
    case HeaderId::kConnection:
    case HeaderId::kTransferEncoding:
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyConnection:
    case HeaderId::kHttp2Settings:
    case HeaderId::kHost: return true;
    case HeaderId::kUpgrade: return !keep_upgrade;
    default: return false;
  }
}

// `keep_length`: the content-length field of the map is what frames the body (or stands for one that is not sent).
template <class Writer>
void putFields(Writer& writer, const HeaderMap& headers, bool keep_length, bool keep_upgrade) {
  const char* run = nullptr;
  const char* run_end = nullptr;
  bool had_length = false;
  headers.forEach([&](const Header& header) {
    if (leftOut(header.id, keep_upgrade)) return;
    if (header.id == HeaderId::kContentLength) {
      if (!keep_length || had_length) return;
      had_length = true;
    }
    if (isLine(header)) {
      const char* const line_end = header.value_data + header.value_size + 2;
      if (header.name_data == run_end) {
        run_end = line_end;
        return;
      }
      if (run != nullptr) writer.put({run, static_cast<size_t>(run_end - run)});
      run = header.name_data;
      run_end = line_end;
      return;
    }
    if (run != nullptr) {
      writer.put({run, static_cast<size_t>(run_end - run)});
      run = run_end = nullptr;
    }
    putLine(writer, header.name(), header.value());
  });
  if (run != nullptr) writer.put({run, static_cast<size_t>(run_end - run)});
}

template <class Writer>
void putFraming(Writer& writer, bool zero_length, OutBody body) {
  if (zero_length) {
    writer.put("content-length: 0\r\n");
  } else if (body == OutBody::kChunked) {
    writer.put("transfer-encoding: chunked\r\n");
  }
}

size_t fieldBytes(const HeaderMap& headers) { return headers.bytes() + 4 * headers.count(); }

// Each line ends with one CR and one LF, so more of them mean that a value carries its own.
bool sound(const char* from, const char* to, size_t lines) { return kernels().controls(from, static_cast<size_t>(to - from)) == 2 * lines; }

struct Counter {
  size_t lines = 0;
  size_t controls = 0;
  void put(std::string_view text) { controls += kernels().controls(text.data(), text.size()); }
};

size_t countLines(const HeaderMap& headers, bool keep_length, bool keep_upgrade) {
  size_t lines = 0;
  bool had_length = false;
  headers.forEach([&](const Header& header) {
    if (leftOut(header.id, keep_upgrade)) return;
    if (header.id == HeaderId::kContentLength) {
      if (!keep_length || had_length) return;
      had_length = true;
    }
    ++lines;
  });
  return lines;
}

// Writes with `write` into one block, or checks first and then appends piece by piece.
template <class Write>
bool emit(size_t bound, size_t lines, const HeaderMap& headers, bool proper, base::Buffer& out, Write&& write) {
  const bool cased = proper || headers.spelling() != nullptr;
  if (__builtin_expect(bound <= base::kBlockSize, 1)) {
    const base::Buffer::Room room = out.reserve(bound);
    FastWriter writer{room.data};
    write(writer);
    const bool ok = sound(room.data, writer.at, lines);
    if (__builtin_expect(cased, 0) && ok) respell(room.data, static_cast<size_t>(writer.at - room.data), headers.spelling(), proper);
    out.commit(ok ? static_cast<size_t>(writer.at - room.data) : 0);
    return ok;
  }
  Counter counter;
  write(counter);
  if (counter.controls != 2 * lines) return false;
  // One place that writes, so that the compiler leaves the fast path alone.
  base::Buffer apart;
  SlowWriter writer{cased ? apart : out};
  write(writer);
  if (cased) {
    const auto whole = std::make_unique<char[]>(apart.size());
    apart.copyOut(apart.size(), whole.get());
    respell(whole.get(), apart.size(), headers.spelling(), proper);
    out.append(std::string_view(whole.get(), apart.size()));
  }
  return true;
}

struct Status {
  uint16_t code;
  std::string_view line;
};
#define OUTRIDER_STATUS(code, reason) \
  { code, "HTTP/1.1 " #code " " reason "\r\n" }
constexpr Status kStatuses[] = {
    OUTRIDER_STATUS(100, "Continue"),
    OUTRIDER_STATUS(101, "Switching Protocols"),
    OUTRIDER_STATUS(102, "Processing"),
    OUTRIDER_STATUS(103, "Early Hints"),
    OUTRIDER_STATUS(200, "OK"),
    OUTRIDER_STATUS(201, "Created"),
    OUTRIDER_STATUS(202, "Accepted"),
    OUTRIDER_STATUS(203, "Non-Authoritative Information"),
    OUTRIDER_STATUS(204, "No Content"),
    OUTRIDER_STATUS(205, "Reset Content"),
    OUTRIDER_STATUS(206, "Partial Content"),
    OUTRIDER_STATUS(207, "Multi-Status"),
    OUTRIDER_STATUS(208, "Already Reported"),
    OUTRIDER_STATUS(226, "IM Used"),
    OUTRIDER_STATUS(300, "Multiple Choices"),
    OUTRIDER_STATUS(301, "Moved Permanently"),
    OUTRIDER_STATUS(302, "Found"),
    OUTRIDER_STATUS(303, "See Other"),
    OUTRIDER_STATUS(304, "Not Modified"),
    OUTRIDER_STATUS(305, "Use Proxy"),
    OUTRIDER_STATUS(307, "Temporary Redirect"),
    OUTRIDER_STATUS(308, "Permanent Redirect"),
    OUTRIDER_STATUS(400, "Bad Request"),
    OUTRIDER_STATUS(401, "Unauthorized"),
    OUTRIDER_STATUS(402, "Payment Required"),
    OUTRIDER_STATUS(403, "Forbidden"),
    OUTRIDER_STATUS(404, "Not Found"),
    OUTRIDER_STATUS(405, "Method Not Allowed"),
    OUTRIDER_STATUS(406, "Not Acceptable"),
    OUTRIDER_STATUS(407, "Proxy Authentication Required"),
    OUTRIDER_STATUS(408, "Request Timeout"),
    OUTRIDER_STATUS(409, "Conflict"),
    OUTRIDER_STATUS(410, "Gone"),
    OUTRIDER_STATUS(411, "Length Required"),
    OUTRIDER_STATUS(412, "Precondition Failed"),
    OUTRIDER_STATUS(413, "Payload Too Large"),
    OUTRIDER_STATUS(414, "URI Too Long"),
    OUTRIDER_STATUS(415, "Unsupported Media Type"),
    OUTRIDER_STATUS(416, "Range Not Satisfiable"),
    OUTRIDER_STATUS(417, "Expectation Failed"),
    OUTRIDER_STATUS(421, "Misdirected Request"),
    OUTRIDER_STATUS(422, "Unprocessable Entity"),
    OUTRIDER_STATUS(423, "Locked"),
    OUTRIDER_STATUS(424, "Failed Dependency"),
    OUTRIDER_STATUS(425, "Too Early"),
    OUTRIDER_STATUS(426, "Upgrade Required"),
    OUTRIDER_STATUS(428, "Precondition Required"),
    OUTRIDER_STATUS(429, "Too Many Requests"),
    OUTRIDER_STATUS(431, "Request Header Fields Too Large"),
    OUTRIDER_STATUS(500, "Internal Server Error"),
    OUTRIDER_STATUS(501, "Not Implemented"),
    OUTRIDER_STATUS(502, "Bad Gateway"),
    OUTRIDER_STATUS(503, "Service Unavailable"),
    OUTRIDER_STATUS(504, "Gateway Timeout"),
    OUTRIDER_STATUS(505, "HTTP Version Not Supported"),
    OUTRIDER_STATUS(506, "Variant Also Negotiates"),
    OUTRIDER_STATUS(507, "Insufficient Storage"),
    OUTRIDER_STATUS(508, "Loop Detected"),
    OUTRIDER_STATUS(510, "Not Extended"),
    OUTRIDER_STATUS(511, "Network Authentication Required"),
};
#undef OUTRIDER_STATUS

struct StatusIndex {
  uint8_t at[600];
};
constexpr StatusIndex kStatusIndex = [] {
  StatusIndex index{};
  for (auto& each : index.at) each = 0xff;
  for (size_t i = 0; i < std::size(kStatuses); ++i) index.at[kStatuses[i].code] = static_cast<uint8_t>(i);
  return index;
}();

template <class Writer>
void putStatusLine(Writer& writer, uint16_t status, Protocol protocol) {
  const std::string_view known = statusLine(status);
  const char digits[3] = {static_cast<char>('0' + status / 100 % 10), static_cast<char>('0' + status / 10 % 10),
                          static_cast<char>('0' + status % 10)};
  if (protocol == Protocol::kHttp10) {
    writer.put("HTTP/1.0");
    if (!known.empty()) return writer.put(known.substr(8));
  } else {
    if (!known.empty()) return writer.put(known);
    writer.put("HTTP/1.1");
  }
  writer.put(" ");
  writer.put({digits, 3});
  writer.put(" Unknown\r\n");
}

}  // namespace

std::string_view statusLine(uint16_t status) {
  if (status >= 600 || kStatusIndex.at[status] == 0xff) return {};
  return kStatuses[kStatusIndex.at[status]].line;
}

bool encodeRequestHead(const RequestHead& head, bool zero_length, OutBody body, base::Buffer& out, bool proper) {
  // HTTP/2 opens tunnels for an upgrade with CONNECT and a path (RFC 8441); HTTP/1 with GET and Upgrade.
  const bool upgrade = !head.upgrade.empty();
  const bool connect = head.isConnect() && !upgrade;
  const std::string_view method = head.isConnect() && upgrade ? std::string_view("GET") : head.method;
  const std::string_view target = connect ? head.authority : head.path;
  const bool keep_length = body == OutBody::kLength || (body == OutBody::kNone && !zero_length);
  const size_t bound = method.size() + target.size() + head.authority.size() + head.upgrade.size() + fieldBytes(head.headers) + 160;
  const size_t lines =
      3 + countLines(head.headers, keep_length, false) + (upgrade ? 2 : 0) + (zero_length || body == OutBody::kChunked ? 1 : 0);
  if (method.empty() || target.empty()) return false;
  for (std::string_view part : {method, target}) {
    // A space would end the part early.
    if (part.find(' ') != std::string_view::npos) return false;
  }
  return emit(bound, lines, head.headers, proper, out, [&](auto& writer) {
    writer.put(method);
    writer.put(" ");
    writer.put(target);
    writer.put(" HTTP/1.1\r\nhost: ");
    writer.put(head.authority);
    writer.put("\r\n");
    putFields(writer, head.headers, keep_length, false);
    if (upgrade) {
      writer.put("connection: upgrade\r\nupgrade: ");
      writer.put(head.upgrade);
      writer.put("\r\n");
    }
    putFraming(writer, zero_length, body);
    writer.put("\r\n");
  });
}

bool encodeResponseHead(const ResponseHead& head, Protocol protocol, bool zero_length, OutBody body, ConnectionLine connection,
                        base::Buffer& out, bool proper) {
  const bool keep_upgrade = connection == ConnectionLine::kUpgrade;
  const bool keep_length = body == OutBody::kLength || (body == OutBody::kNone && !zero_length && head.status >= 200 && head.status != 204);
  const size_t bound = 64 + fieldBytes(head.headers) + 128;
  const size_t lines = 2 + countLines(head.headers, keep_length, keep_upgrade) + (connection != ConnectionLine::kNone ? 1 : 0) +
                       (zero_length || body == OutBody::kChunked ? 1 : 0);
  return emit(bound, lines, head.headers, proper, out, [&](auto& writer) {
    putStatusLine(writer, head.status, protocol);
    putFields(writer, head.headers, keep_length, keep_upgrade);
    switch (connection) {
      case ConnectionLine::kNone: break;
      case ConnectionLine::kClose: writer.put("connection: close\r\n"); break;
      case ConnectionLine::kKeepAlive: writer.put("connection: keep-alive\r\n"); break;
      case ConnectionLine::kUpgrade: writer.put("connection: upgrade\r\n"); break;
    }
    putFraming(writer, zero_length, body);
    writer.put("\r\n");
  });
}

bool encodeTrailers(const HeaderMap& trailers, base::Buffer& out) {
  const size_t lines = 2 + countLines(trailers, false, false);
  return emit(fieldBytes(trailers) + 16, lines, trailers, false, out, [&](auto& writer) {
    writer.put("0\r\n");
    putFields(writer, trailers, false, false);
    writer.put("\r\n");
  });
}

void encodeChunk(base::Buffer& data, bool last, base::Buffer& out) {
  char line[20];
  char* at = line + sizeof line;
  *--at = '\n';
  *--at = '\r';
  for (size_t n = data.size(); n > 0; n >>= 4) *--at = "0123456789abcdef"[n & 15];
  out.append(std::string_view(at, static_cast<size_t>(line + sizeof line - at)));
  out.move(data);
  out.append(last ? std::string_view("\r\n0\r\n\r\n") : std::string_view("\r\n"));
}

void BodyWriter::fillUp(base::Buffer& data, base::Buffer& out) {
  out.move(data, static_cast<size_t>(remaining_));
  data.clear();
  remaining_ = 0;
}

void BodyWriter::writeTrailers(const HeaderMap& trailers, bool allowed, base::Buffer& out) {
  if (kind_ != OutBody::kChunked) return;
  if (!allowed || trailers.empty() || !encodeTrailers(trailers, out)) out.append(kLastChunk);
}

}  // namespace outrider::http::h1
