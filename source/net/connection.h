// One socket with its transport: reads when the kernel has bytes, writes once at the end of a loop turn.
//
// Thread: its worker. Lifetime: its owner's until closeNow() or onClosed(); then the owner gives it to the loop's graveyard.
// Handshakes that cost much are a few a turn, in order of arrival, so that streams do not stall behind a burst of them.
// The socket is registered once, edge-triggered. Pausing is a bit mask of reasons and never an epoll_ctl. Units: bytes.
// Order of events: onConnected, then onBytes / onRoom / onFlush in any order, last onClosed. closeNow() brings no event.
#pragma once

#include <cstdint>
#include <memory>

#include "source/base/address.h"
#include "source/base/buffer.h"
#include "source/event/loop.h"
#include "source/net/pipe.h"
#include "source/net/transport.h"

namespace outrider::net {

enum class CloseReason : uint8_t {
  kNone,
  kLocal,      // close asked for by the owner is complete
  kRemoteFin,  // the peer finished and there was nothing left to say
  kRemoteReset,
  kConnectFailed,  // connect(2) failed; error() has errno
  kConnectTimeout,
  kTransportError,  // handshake or record failed; transport().failure() says why
  kHandshakeTimeout,
  kUnwatched,  // the kernel would not watch the socket (no memory, too many watches); error() has errno
};

class ConnectionSink {
 public:
  virtual void onConnected() = 0;  // established, handshake done
  // `in` holds what was read and not consumed before. `eof`: the peer finished; no further onBytes.
  virtual void onBytes(base::Buffer& in, bool eof) = 0;
  virtual void onFlush(base::Buffer& out) = 0;    // last chance to fill `out` before the write
  virtual void onRoom() = 0;                      // `out` was above the limit and fell below half
  virtual void onClosed(CloseReason reason) = 0;  // the last event; retire the connection
  // Instead of onBytes, where passTo() said so: `bytes` went into the other connection's pipe. Pause reading while that
  // has piped() bytes; its onRoom follows.
  virtual void onPassed(size_t bytes) { (void)bytes; }

 protected:
  ~ConnectionSink() = default;
};

class Connection final : public event::IoHandler, public event::Dirty, public event::Retired {
 public:
  enum Pause : uint8_t {
    kPauseUpstream = 1,  // the other side is slower
    kPauseCodec = 2,     // the codec left bytes behind on purpose
    kPauseClosing = 4,
  };

  // Takes over `fd` (non-blocking).
  Connection(event::Loop& loop, int fd, std::unique_ptr<Transport> transport, const base::Address& local, const base::Address& remote);
  ~Connection() override;

  void setSink(ConnectionSink& sink) { sink_ = &sink; }
  // Accepted socket: `prefix` was read by listener filters. Begins to work at once (deferred, never from within this call).
  void startAccepted(base::Buffer& prefix);
  // Fresh socket of this fd's family: connect(2), then handshake, bounded by `timeout` (0: none).
  void startConnect(base::Nanos timeout);
  void limitHandshake(base::Nanos timeout);  // accepted: time for the handshake

  base::Buffer& out() { return out_; }
  void markDirty() { loop_.dirty(*this); }
  // Is there more in `out` (and sealed) than the limit? Then the writer pauses until onRoom().
  bool overLimit() const { return over_limit_; }
  void setBufferLimit(size_t bytes) { limit_ = bytes; }
  size_t bufferLimit() const { return limit_; }

  // In bulk, what comes in may go to `to` through a pipe of the kernel, past `in` and `out`: after much of it came in full reads
  // and until it comes in small pieces. Both carry plain bytes in this loop, else nothing happens. Holds until either closes.
  void passTo(Connection& to);
  size_t piped() const { return pipe_ == nullptr ? 0 : pipe_->bytes; }  // bytes that are to be written after `out`

  void pauseReading(Pause reason) { paused_ |= reason; }
  void resumeReading(Pause reason);
  bool readingPaused() const { return paused_ != 0; }
  // The sink can take what it left in `in` now, or has something to settle: onBytes comes again later this turn.
  void wantFeed() { loop_.defer(refeed_); }

  void finishWriting();  // FIN / close_notify after what is in `out`
  // Writes `out`, FIN, waits for the peer's end at most `linger`; then onClosed(kLocal). `peer_is_done`: the peer announced
  // that it says no more (`connection: close`), so the socket closes with the last byte, unless unread bytes would turn
  // that into a reset which costs the peer our last words.
  void closeAfterFlush(base::Nanos linger, bool peer_is_done = false);
  void closeNow();    // no event; unsent bytes are dropped
  void closeReset();  // the same with an RST

  bool open() const { return phase_ != Phase::kClosed; }
  bool connected() const { return phase_ == Phase::kOpen || phase_ == Phase::kClosing; }
  bool peerFinished() const { return eof_; }
  int error() const { return error_; }
  int fd() const { return fd_; }
  Transport& transport() { return *transport_; }
  event::Loop& loop() { return loop_; }
  const base::Address& local() const { return local_; }
  const base::Address& remote() const { return remote_; }
  uint64_t id() const { return id_; }
  uint64_t bytesRead() const { return bytes_read_; }
  uint64_t bytesWritten() const { return bytes_written_; }
  base::Nanos startedAt() const { return started_at_; }

  void onReady(uint32_t events) override;  // of the loop
  void flush() override;                   // of the loop

 private:
  enum class Phase : uint8_t { kNew, kConnecting, kHandshake, kOpen, kClosing, kClosed };

  void handshake();
  bool handshakeMustWait();
  void readSome();
  enum class Passed : uint8_t { kMore, kEnough, kCopy };
  Passed pass();
  void noteRead(const IoResult& result);
  void pushPipe();
  IoState drainPipe();
  void dropPipe();
  bool allWritten() const { return out_.empty() && pipe_ == nullptr && !transport_->hasSealed(); }
  void onTimer();
  void fail(CloseReason reason);
  void release();
  void afterWrite();
  void feedAgain();

  event::Loop& loop_;
  std::unique_ptr<Transport> transport_;
  ConnectionSink* sink_ = nullptr;
  base::Buffer in_;
  base::Buffer out_;
  Pipe* pipe_ = nullptr;             // what goes out after out_; null when there is none
  Connection* pass_to_ = nullptr;    // where bulk that comes in may go
  Connection* passed_by_ = nullptr;  // the other end of that
  uint32_t bulk_ = 0;                // how much speaks for a pipe
  uint32_t burst_ = 0;               // bytes through the pipe since the socket was empty last
  base::Address local_;
  base::Address remote_;
  event::Deferred refeed_;
  event::Timer timer_;  // connect, handshake, linger: one at a time
  size_t limit_ = 64 * 1024;
  uint64_t id_;
  uint64_t bytes_read_ = 0;
  uint64_t bytes_written_ = 0;
  uint64_t discarded_ = 0;  // read away while closing
  base::Nanos started_at_;
  base::Nanos linger_ = 0;
  int fd_;
  int error_ = 0;
  Phase phase_ = Phase::kNew;
  CloseReason timeout_reason_ = CloseReason::kConnectTimeout;
  uint8_t paused_ = 0;
  bool readable_ = false;
  bool writable_ = true;
  bool waits_ = false;    // for its turn to shake hands
  bool hang_up_ = false;  // RDHUP or HUP seen: read to EOF even after a short read
  bool eof_ = false;
  bool over_limit_ = false;
  bool finish_ = false;        // FIN after `out`
  bool finished_ = false;      // FIN is out
  bool peer_is_done_ = false;  // no end of the peer is waited for
  bool big_reads_ = false;     // the last read filled its room
  uint8_t small_bursts_ = 0;   // in a row
};

// A non-blocking, close-on-exec stream socket for connecting to `remote`; -1: errno.
int makeSocket(const base::Address& remote);

}  // namespace outrider::net
