// Reads one message body from the front of a buffer, as its Framing says; chunk framing is taken off, extensions are dropped.
// Thread: the worker's. Lifetime: a value in a codec, started anew for each message. Source: RFC 9112 6-7. Units: bytes.
#pragma once

#include <cstdint>

#include "source/base/arena.h"
#include "source/base/buffer.h"
#include "source/http/codec.h"
#include "source/http/h1/head_parser.h"
#include "source/http/h1/settings.h"

namespace outrider::http::h1 {

class BodyReader final {
 public:
  static constexpr uint32_t kMostExtension = 4 * 1024;    // of one chunk
  static constexpr uint32_t kMostExtensions = 16 * 1024;  // of one message
  static constexpr uint32_t kMostSizeDigits = 16;

  enum class Status : uint8_t {
    kMore,      // all usable bytes are eaten
    kDone,      // the message is over
    kTrailers,  // the message is over, and a trailer section of trailerBytes() stands at the front of `in`, unread
    kError,
  };

  void start(const Framing& framing);
  // Moves body bytes from `in` to `out`; nothing behind the message's end is touched.
  Status read(base::Buffer& in, base::Buffer& out, const Settings& settings, Counters& counters, CodecError& error);
  size_t trailerBytes() const { return finder_.size(); }
  // Body bytes still to come where that is known, else 0.
  uint64_t remaining() const { return framing_.body == Framing::Body::kLength ? remaining_ : 0; }
  bool untilClose() const { return framing_.body == Framing::Body::kUntilClose; }

 private:
  enum class Phase : uint8_t { kSize, kSizeSpace, kExtension, kSizeLf, kData, kDataCr, kDataLf, kTrailers };
  Status readChunked(base::Buffer& in, base::Buffer& out, const Settings& settings, Counters& counters, CodecError& error);
  bool frameByte(char c, const Settings& settings, Counters& counters, CodecError& error);
  bool sizeByte(char c, const Settings& settings, Counters& counters, CodecError& error);
  bool extensionByte(char c, const Settings& settings, Counters& counters, CodecError& error);

  Framing framing_;
  uint64_t remaining_ = 0;  // of the body, or of this chunk
  Phase phase_ = Phase::kSize;
  uint32_t digits_ = 0;
  uint32_t extension_ = 0;   // bytes of this chunk's extension
  uint32_t extensions_ = 0;  // bytes of all of this message's
  HeadFinder finder_;        // of the trailer section's end
};

}  // namespace outrider::http::h1
