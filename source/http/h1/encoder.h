// Writes HTTP/1 messages. Heads: one reservation, runs of untouched lines in one copy. Bodies: as their head announced them.
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
// Names go out as the map's spelling says, else capitalised if `proper`, else in lower case.
[[nodiscard]] bool encodeRequestHead(const RequestHead& head, bool zero_length, OutBody body, base::Buffer& out, bool proper = false);
[[nodiscard]] bool encodeResponseHead(const ResponseHead& head, Protocol protocol, bool zero_length, OutBody body,
                                      ConnectionLine connection, base::Buffer& out, bool proper = false);
// The last chunk and the trailers behind it.
[[nodiscard]] bool encodeTrailers(const HeaderMap& trailers, base::Buffer& out);

// One chunk of all of `data` (not empty), and the last chunk if `last`.
void encodeChunk(base::Buffer& data, bool last, base::Buffer& out);

// The body that follows a head, of a request as of a response: never longer than its head announced.
// Lifetime: a value in a codec, started anew for each message.
class BodyWriter final {
 public:
  // `length`: what the head announced, for OutBody::kLength.
  void start(OutBody kind, uint64_t length = 0) {
    kind_ = kind;
    remaining_ = length;
  }
  OutBody kind() const { return kind_; }
  // Takes all of `data`. False, with nothing taken, if it is more than was announced: the peer would read it as the next message.
  [[nodiscard]] bool write(base::Buffer& data, bool last, base::Buffer& out) {  // inline: 20 instructions of 9,000 an exchange
    switch (kind_) {
      case OutBody::kNone: data.clear(); return true;
      case OutBody::kLength:
        if (data.size() > remaining_) return false;
        remaining_ -= data.size();
        out.move(data);
        return true;
      case OutBody::kChunked:
        if (!data.empty()) {
          encodeChunk(data, last, out);
        } else if (last) {
          out.append(kLastChunk);
        }
        return true;
      case OutBody::kUntilClose:
      case OutBody::kTunnel: out.move(data); return true;
    }
    OUTRIDER_UNREACHABLE();
  }
  // Of more than was announced: fills the message up, drops the rest.
  void fillUp(base::Buffer& data, base::Buffer& out);
  // The end behind a chunked body; without `allowed`, or with trailers that must not go out, it is a bare one.
  void writeTrailers(const HeaderMap& trailers, bool allowed, base::Buffer& out);
  // Fewer bytes than announced have gone out: the peer waits for more.
  bool incomplete() const { return kind_ == OutBody::kLength && remaining_ > 0; }

 private:
  static constexpr std::string_view kLastChunk = "0\r\n\r\n";

  OutBody kind_ = OutBody::kNone;
  uint64_t remaining_ = 0;  // OutBody::kLength
};

// "HTTP/1.1 200 OK\r\n"; empty for a status without a name.
std::string_view statusLine(uint16_t status);

}  // namespace outrider::http::h1
