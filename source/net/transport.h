// The seam between a connection and what protects it: plain bytes, or TLS (tls::Session).
// Thread: the connection's worker. Lifetime: owned by its Connection. A transport never waits: it answers kAgain.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "source/base/buffer.h"
#include "source/stream/security_info.h"

namespace outrider::net {

enum class IoState : uint8_t {
  kOk,
  kAgain,  // nothing more now; the next edge of the socket goes on
  kEof,    // the peer finished writing (FIN; for TLS also close_notify)
  kReset,  // ECONNRESET, EPIPE
  kError   // the protection failed (failure() says why)
};

struct IoResult {
  IoState state = IoState::kOk;
  size_t bytes = 0;
  bool drained = false;  // read: the socket had less than was asked for; no further read until the next edge
};

using stream::SecurityInfo;

class Transport {
 public:
  virtual ~Transport() = default;
  // Bytes that listener filters already took from the socket; they come before what the socket still holds.
  virtual void prime(base::Buffer& prefix) = 0;
  // kOk: established. Called again on each edge until then. May write.
  virtual IoState handshake(int fd) = 0;
  // Does a step of the handshake cost so much that a loop's turn can take only a few?
  virtual bool slowHandshake() const { return false; }
  // Is there nothing to do for the handshake before bytes of the peer's come?
  virtual bool peerSpeaksFirst() const { return false; }
  // Appends at most about `most` bytes to `in`.
  virtual IoResult read(int fd, base::Buffer& in, size_t most) = 0;
  // Takes from `out` what it can; kAgain leaves the rest (or keeps sealed bytes: hasSealed()).
  virtual IoResult write(int fd, base::Buffer& out) = 0;
  virtual bool hasSealed() const = 0;         // bytes taken from `out` that the socket did not take yet
  virtual bool pending() const = 0;           // bytes were read from the socket that read() can still give
  virtual IoState finishWriting(int fd) = 0;  // close_notify and/or FIN
  // What the socket carries is what read() gives and write() takes, byte for byte: the kernel may move it by itself.
  virtual bool transparent() const { return false; }
  virtual std::string_view alpn() const = 0;
  virtual const SecurityInfo* security() = 0;    // null: plain bytes
  virtual std::string_view failure() const = 0;  // why kError: one line, empty otherwise
};

std::unique_ptr<Transport> makePlainTransport();

}  // namespace outrider::net
