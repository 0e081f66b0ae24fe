// A bounded line of body bytes between two halves of one stream.
// Thread: its worker. Lifetime: arena object, destroyed by its stream. The limit is soft: a write is always taken whole, and
// the answer asks the writer to pause. Below half the limit the reader tells the writer to go on.
#pragma once

#include "source/base/buffer.h"
#include "source/http/codec.h"

namespace outrider::http {

class Pipe final {
 public:
  explicit Pipe(size_t soft_limit) : soft_limit_(soft_limit) {}

  [[nodiscard]] Room write(base::Buffer& bytes, bool last) {
    pending_.move(bytes);
    last_ |= last;
    if (pending_.size() > soft_limit_) full_ = true;
    return full_ ? Room::kFull : Room::kMore;
  }
  // True once after the pipe was full and fell below half.
  [[nodiscard]] bool takeRelief() {
    if (!full_ || pending_.size() > soft_limit_ / 2) return false;
    full_ = false;
    return true;
  }
  base::Buffer& pending() { return pending_; }
  size_t size() const { return pending_.size(); }
  bool full() const { return full_; }
  bool last() const { return last_; }  // no more bytes will be written
  void finish() { last_ = true; }
  bool drained() const { return last_ && pending_.empty(); }

 private:
  const size_t soft_limit_;
  base::Buffer pending_;
  bool last_ = false;
  bool full_ = false;
};

}  // namespace outrider::http
