// What a filter's hook answers. The manager (HttpStream) does what it says; a hook itself never acts on the stream.
// Thread: the worker. Lifetime: values; views in a Reply live in the stream's arena or are static.
#pragma once

#include <cstdint>
#include <string_view>

#include "source/base/buffer.h"
#include "source/http/head.h"
#include "source/stream/response_flags.h"

namespace outrider::filter {

// A reply's bytes that come piece by piece, under flow control. Owned by the stream once given.
class BodySource {
 public:
  enum class State : uint8_t { kMore, kDone, kWait };  // kWait: StreamHandle::resumeBody() says when to ask again
  virtual ~BodySource() = default;
  virtual State read(base::Buffer& out, size_t most) = 0;
};

// An answer that the proxy makes itself.
struct Reply {
  uint16_t status = 500;
  std::string_view body;
  std::string_view content_type;                             // empty: text/plain
  std::string_view details;                                  // Envoy's response code details
  std::string_view reason;                                   // Outrider's reason id (docs/reasons.md)
  stream::ResponseFlag flag = stream::ResponseFlag::kCount;  // kCount: none
  int grpc_status = -1;                                      // -1: from the HTTP status
  const http::HeaderMap* headers = nullptr;                  // added to the head; arena object
  BodySource* source = nullptr;                              // instead of `body`
  bool close = false;                                        // H1: close behind it
  bool formatted = false;                                    // by local_reply_config: `content_type` is its format's
};

struct [[nodiscard]] Verdict {
  enum class Kind : uint8_t { kNext, kHold, kReply, kRestart };
  Kind kind;
  const Reply* reply_ = nullptr;  // kReply; arena object

  static Verdict next() { return {Kind::kNext}; }
  // Filters after me see nothing more of this direction; I keep getting its events; what I leave in my pipe counts against
  // its limit and pauses the source.
  static Verdict hold() { return {Kind::kHold}; }
  static Verdict reply(const Reply& in_arena) { return {Kind::kReply, &in_arena}; }
  // Match and walk again from the first filter; only while all request bytes are still held.
  static Verdict restart() { return {Kind::kRestart}; }
};

}  // namespace outrider::filter
