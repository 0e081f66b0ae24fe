// One line (or record) an exchange: the seam between those who have something to say and the kinds of logs (files, gRPC).
// Thread: log() on any worker; never waits. Lifetime: config values, shared.
#pragma once

#include "source/http/head.h"
#include "source/stream/stream_info.h"

namespace outrider::accesslog {

// Null: there is none.
struct Entry {
  const http::RequestHead* request = nullptr;
  const http::ResponseHead* response = nullptr;
  const http::HeaderMap* response_trailers = nullptr;
  const stream::StreamInfo& info;
  bool listener = false;  // a whole connection, as its listener's own log has it
};

class AccessLog {
 public:
  virtual ~AccessLog() = default;
  virtual void log(const Entry& entry) const = 0;
};

}  // namespace outrider::accesslog
