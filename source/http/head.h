// The version-neutral head of a request or a response. Pseudo-header values stand beside the fields, not among them.
// Thread: its worker. Lifetime: arena objects; every view lives as long as the stream's arena. Source: RFC 9110, 9112, 9113.
#pragma once

#include <cstdint>
#include <string_view>

#include "source/http/header_map.h"

namespace outrider::http {

enum class Protocol : uint8_t { kHttp10, kHttp11, kHttp2 };
inline std::string_view protocolName(Protocol protocol) {
  switch (protocol) {
    case Protocol::kHttp10: return "HTTP/1.0";
    case Protocol::kHttp11: return "HTTP/1.1";
    case Protocol::kHttp2: return "HTTP/2";
  }
  OUTRIDER_UNREACHABLE();
}

struct RequestHead {
  explicit RequestHead(base::Arena& arena) : headers(arena) {}

  std::string_view method;     // case-sensitive token
  std::string_view scheme;     // "http" or "https", lower case; what the transport says for H1
  std::string_view authority;  // Host field or :authority; never among `headers`
  std::string_view path;       // origin form with query ("/a?b"); "*" for OPTIONS *; empty for CONNECT
  Protocol protocol = Protocol::kHttp11;
  bool expect_continue = false;  // had `expect: 100-continue`
  bool keep_alive = true;        // H1: the client allows another request on this connection
  bool absolute_form = false;    // H1: the target was in absolute form
  // Value of an H1 `upgrade` that `connection` names, or H2's :protocol; empty when none. The codec leaves it here and takes
  // `upgrade` and `connection` out of `headers`.
  std::string_view upgrade;
  uint32_t wire_bytes = 0;  // size of the head as received
  HeaderMap headers;

  bool isHead() const { return method == "HEAD"; }
  bool isConnect() const { return method == "CONNECT"; }
  std::string_view pathWithoutQuery() const { return path.substr(0, path.find('?')); }
};

// Envoy's reckoning of a head's size: names and values, pseudo-headers among them, without separators.
inline size_t bytesOf(const RequestHead& head) {
  const auto beside = [](std::string_view name, std::string_view value) { return value.empty() ? 0 : name.size() + value.size(); };
  return head.headers.bytes() + beside(":method", head.method) + beside(":path", head.path) + beside(":authority", head.authority) +
         beside(":scheme", head.scheme);
}

struct ResponseHead {
  explicit ResponseHead(base::Arena& arena) : headers(arena) {}

  uint16_t status = 0;
  Protocol protocol = Protocol::kHttp11;
  bool keep_alive = true;  // H1: the connection may serve another request after this answer
  uint32_t wire_bytes = 0;
  HeaderMap headers;
};

inline size_t bytesOf(const ResponseHead& head) { return head.headers.bytes() + sizeof(":status") - 1 + 3; }

}  // namespace outrider::http
