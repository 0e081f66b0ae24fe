// Writes HTTP/1 heads: one reservation, runs of untouched lines in one copy.
// Thread: the worker's. Lines that the parser left as "name: value\r\n" in the arena and that stand beside each other are
// copied together; edits split a run. Hop-by-hop fields in a map are left out: connection and framing are decided here.
// Sources: RFC 9112; Envoy's HTTP/1 codec for which framing fields appear.
#pragma once

#include <cstdint>
#include <string_view>

#include "source/base/buffer.h"
#include "source/http/head.h"

namespace outrider::http::h1 {

// How the body that follows is delimited.
enum class OutBody : uint8_t { kNone, kLength, kChunked, kUntilClose, kTunnel };

// The one line that says what happens to the connection.
enum class ConnectionLine : uint8_t { kNone, kClose, kKeepAlive, kUpgrade };

// False, with nothing written, if a name or value held CR, LF or NUL: such a head would be read as something else.
[[nodiscard]] bool encodeRequestHead(const RequestHead& head, bool zero_length, OutBody body, base::Buffer& out);
[[nodiscard]] bool encodeResponseHead(const ResponseHead& head, Protocol protocol, bool zero_length, OutBody body,
                                      ConnectionLine connection, base::Buffer& out);
// The last chunk and the trailers behind it.
[[nodiscard]] bool encodeTrailers(const HeaderMap& trailers, base::Buffer& out);

// One chunk of all of `data` (not empty), and the last chunk if `last`.
void encodeChunk(base::Buffer& data, bool last, base::Buffer& out);

// "HTTP/1.1 200 OK\r\n"; empty for a status without a name.
std::string_view statusLine(uint16_t status);

}  // namespace outrider::http::h1
