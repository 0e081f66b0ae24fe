// Strict parsing of HTTP/1 heads: bytes in the stream's arena become a RequestHead or ResponseHead, or an error in Envoy's words.
// Thread: the worker's. Lifetime: views into `raw`, which is a copy in the arena with kPadding writable bytes behind it.
// Names are lower-cased in place. Sources: RFC 9112, RFC 9110 5-7; Envoy's HTTP/1 codec for details and hop-by-hop rules.
// What is left to the connection manager: missing Host, path normalisation and fragments, scheme against transport, TRACE,
// X-Forwarded-*, x-envoy-*, routing.
#pragma once

#include <cstdint>
#include <string_view>

#include "source/base/buffer.h"
#include "source/http/codec.h"
#include "source/http/h1/scan.h"
#include "source/http/h1/settings.h"
#include "source/http/head.h"

namespace outrider::http::h1 {

// How the bytes behind a head are to be read.
struct Framing {
  enum class Body : uint8_t { kNone, kLength, kChunked, kUntilClose, kTunnel };
  Body body = Body::kNone;
  uint64_t length = 0;  // kLength
};

// Finds the end of a head at the front of a buffer without looking at any byte twice.
class HeadFinder final {
 public:
  enum class Found : uint8_t { kMore, kEnd, kBareCr, kTooLarge };
  // A trailer section may be empty: its scan starts behind a line end.
  void start(bool trailers = false) {
    scanned_ = 0;
    state_ = ScanState();
    state_.last_lf = trailers;
  }
  Found find(const base::Buffer& in, size_t limit);
  size_t size() const { return size_; }        // after kEnd
  size_t scanned() const { return scanned_; }  // after kMore

 private:
  size_t scanned_ = 0;
  size_t size_ = 0;
  ScanState state_;
};

// Moves the first `size` bytes of `in` into `arena`, padded.
char* takeHead(base::Buffer& in, size_t size, base::Arena& arena);

// True, or false with `error` set.
bool parseRequestHead(char* raw, size_t size, const Settings& settings, Counters& counters, std::string_view scheme, RequestHead& head,
                      Framing& framing, CodecError& error);

// What decides a response's framing besides its own head.
struct ResponseContext {
  bool head_request = false;
  bool connect_request = false;
  bool upgrade_request = false;
};
bool parseResponseHead(char* raw, size_t size, const Settings& settings, Counters& counters, const ResponseContext& context,
                       ResponseHead& head, Framing& framing, CodecError& error);

// Takes a trailer section of `size` bytes from the front of `in`; the map is in `arena`. Null with `error` set.
HeaderMap* takeTrailers(base::Buffer& in, size_t size, base::Arena& arena, const Settings& settings, Counters& counters, CodecError& error);

// 1*19DIGIT and nothing else.
bool parseContentLength(std::string_view text, uint64_t& length);
// A host with optional port. False with the kind of fault; kCount where no switch lets it pass.
bool validAuthority(std::string_view authority, LenientKind& fault);

}  // namespace outrider::http::h1
