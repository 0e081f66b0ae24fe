#include "source/net/connection.h"

#include <atomic>
#include <cerrno>

#include <netinet/tcp.h>
#include <algorithm>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source/event/io.h"

namespace outrider::net {
namespace {

// A connection with much to read yields to the others after this many reads.
constexpr int kMostReads = 4;
constexpr size_t kBigRead = 4 * base::kBlockSize;
// While a connection waits for its peer's end it reads this much away, so that the peer sees our last words rather than a reset;
// a peer that sends more than that meets a full socket.
constexpr uint64_t kMostDiscarded = 1 << 20;

// Bulk: this much in reads of a block or more, and a pipe takes over; small reads take back what those said. A pipe that saw so many
// bursts in a row that a read or two would have taken gives up.
constexpr uint32_t kBulk = 1 << 20;
constexpr uint32_t kMostBulk = 2 << 20;
constexpr size_t kSmallRead = 4096;
constexpr uint32_t kSmallBurst = 32 * 1024;
constexpr uint8_t kMostSmallBursts = 4;

std::atomic<uint64_t> next_id{0};

// A full handshake over TLS is 0.1 to 0.4 ms in two steps. So many steps a turn, fewer when they take long.
constexpr int kMostHandshakes = 4;
constexpr base::Nanos kHandshakeTime = 500 * base::kMicro;

struct Handshakes {
  const event::Loop* loop = nullptr;
  uint64_t turn = 0;
  int done = 0;     // in this turn
  int waiting = 0;  // connections for a later one
};
constinit thread_local Handshakes handshakes;

}  // namespace

int makeSocket(const base::Address& remote) {
  const int fd = ::socket(remote.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && remote.isIp()) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return fd;
}

Connection::Connection(event::Loop& loop, int fd, std::unique_ptr<Transport> transport, const base::Address& local,
                       const base::Address& remote)
    : loop_(loop),
      transport_(std::move(transport)),
      local_(local),
      remote_(remote),
      refeed_(event::Deferred::to<&Connection::feedAgain>(this)),
      timer_(event::Timer::to<&Connection::onTimer>(loop.timers(), this)),
      id_(next_id.fetch_add(1, std::memory_order_relaxed)),
      started_at_(loop.now()),
      fd_(fd) {}

Connection::~Connection() { release(); }

void Connection::release() {
  if (fd_ < 0) return;
  loop_.forget(*this);  // the kernel does the rest on close: this is the description's only descriptor
  base::TaggedNode<event::FlushTag>::unlink();
  refeed_.unlink();
  timer_.cancel();
  if (waits_) --handshakes.waiting;
  waits_ = false;
  if (pass_to_ != nullptr) pass_to_->passed_by_ = nullptr;
  if (passed_by_ != nullptr) passed_by_->pass_to_ = nullptr;
  pass_to_ = passed_by_ = nullptr;
  dropPipe();
  ::close(fd_);
  fd_ = -1;
  phase_ = Phase::kClosed;
}

void Connection::startAccepted(base::Buffer& prefix) {
  if (!prefix.empty()) {
    transport_->prime(prefix);
    readable_ = true;
  }
  phase_ = Phase::kHandshake;
  // A fresh socket is writable: that edge begins the work, and says whether there is something to read.
  error_ = loop_.add(fd_, *this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  if (error_ != 0) loop_.makeReady(*this);  // nobody would ever wake it: it ends with its first event
}

void Connection::startConnect(base::Nanos timeout) {
  phase_ = Phase::kConnecting;
  writable_ = false;
  if (timeout > 0) {
    timeout_reason_ = CloseReason::kConnectTimeout;
    timer_.armIn(timeout);
  }
  if (::connect(fd_, remote_.sockAddr(), remote_.length()) < 0 && errno != EINPROGRESS) {
    error_ = errno;
    loop_.makeReady(*this);  // the news comes as an event, not from within this call
    return;
  }
  error_ = loop_.add(fd_, *this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  if (error_ != 0) loop_.makeReady(*this);
}

void Connection::limitHandshake(base::Nanos timeout) {
  if (timeout <= 0 || phase_ == Phase::kOpen) return;
  timeout_reason_ = CloseReason::kHandshakeTimeout;
  timer_.armIn(timeout);
}

void Connection::onTimer() {
  if (phase_ == Phase::kClosing) {
    fail(CloseReason::kLocal);
  } else {
    fail(timeout_reason_);
  }
}

void Connection::fail(CloseReason reason) {
  release();
  sink_->onClosed(reason);
}

void Connection::onReady(uint32_t events) {
  if (phase_ == Phase::kConnecting) {
    if (error_ == 0) {
      if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
      socklen_t size = sizeof error_;
      ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error_, &size);
    }
    if (error_ != 0) {
      fail(CloseReason::kConnectFailed);
      return;
    }
    phase_ = Phase::kHandshake;
    sockaddr_storage own;
    socklen_t size = sizeof own;
    if (!local_.valid() && ::getsockname(fd_, reinterpret_cast<sockaddr*>(&own), &size) == 0) {
      local_ = base::Address::fromSockaddr(reinterpret_cast<sockaddr*>(&own), size);
    }
  }
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hang_up_ = true;
  if ((events & EPOLLOUT) != 0 && !writable_) {
    writable_ = true;
    if (!allWritten() || finish_) loop_.dirty(*this);
  }
  if (phase_ == Phase::kHandshake) {
    if (error_ != 0) {
      fail(CloseReason::kUnwatched);
      return;
    }
    if (transport_->slowHandshake()) {
      if (!readable_ && transport_->peerSpeaksFirst()) return;
      if (handshakeMustWait()) return;
    }
    handshake();
    if (phase_ != Phase::kOpen) return;
  }
  readSome();
}

// True: the turn has done its part, or others came first; then a later turn calls.
bool Connection::handshakeMustWait() {
  Handshakes& all = handshakes;
  if (all.loop != &loop_ || all.turn != loop_.figures().turns) {
    all.loop = &loop_;
    all.turn = loop_.figures().turns;
    all.done = 0;
  }
  const bool queued = waits_;
  if (waits_) --all.waiting;
  waits_ =
      all.done >= kMostHandshakes || (!queued && all.waiting > 0) || (all.done > 0 && loop_.clock().mono() - loop_.now() > kHandshakeTime);
  if (!waits_) {
    ++all.done;
    return false;
  }
  ++all.waiting;
  loop_.makeReady(*this);
  return true;
}

void Connection::handshake() {
  IoState state = transport_->handshake(fd_);
  // The peer's end may be queued behind what was read, and brings no further edge.
  if (state == IoState::kAgain && hang_up_) state = transport_->handshake(fd_);
  switch (state) {
    case IoState::kOk: break;
    case IoState::kAgain: readable_ = false; return;
    case IoState::kEof: fail(CloseReason::kRemoteFin); return;
    case IoState::kReset: fail(CloseReason::kRemoteReset); return;
    case IoState::kError: fail(CloseReason::kTransportError); return;
  }
  phase_ = Phase::kOpen;
  writable_ = true;
  timer_.cancel();
  sink_->onConnected();
  if (phase_ == Phase::kOpen && !out_.empty()) loop_.dirty(*this);
}

void Connection::feedAgain() {
  if (phase_ == Phase::kOpen && paused_ == 0) sink_->onBytes(in_, eof_);
}

void Connection::readSome() {
  for (int reads = 0; (readable_ || transport_->pending()) && !eof_; ++reads) {
    if (phase_ == Phase::kClosed) return;
    const bool discard = phase_ == Phase::kClosing;
    if (discard ? discarded_ > kMostDiscarded : paused_ != 0) return;
    if (reads == kMostReads) {
      loop_.makeReady(*this);
      return;
    }
    if (pass_to_ != nullptr && bulk_ >= kBulk && !discard) {
      const Passed passed = pass();
      if (passed == Passed::kMore) {
        loop_.makeReady(*this);  // one pipe full is much: the others come first
        return;
      }
      if (passed == Passed::kEnough) return;
    }
    const IoResult result = transport_->read(fd_, in_, big_reads_ ? kBigRead : base::kBlockSize);
    bytes_read_ += result.bytes;
    switch (result.state) {
      case IoState::kOk:
        // After a hang-up the end is already queued behind the bytes: read on to it, no further edge will come.
        if (result.drained && !hang_up_) readable_ = false;
        big_reads_ = !result.drained && result.bytes >= base::kBlockSize / 2;
        if (pass_to_ != nullptr) noteRead(result);
        if (discard) {
          in_.clear();
          discarded_ += result.bytes;
          if (discarded_ > kMostDiscarded) return;
        } else {
          sink_->onBytes(in_, false);
        }
        break;
      case IoState::kAgain: readable_ = false; return;
      case IoState::kEof:
        eof_ = true;
        readable_ = false;
        if (discard) {
          if (allWritten()) fail(CloseReason::kLocal);
          return;
        }
        sink_->onBytes(in_, true);
        return;
      case IoState::kReset: fail(discard ? CloseReason::kLocal : CloseReason::kRemoteReset); return;
      case IoState::kError: fail(discard ? CloseReason::kLocal : CloseReason::kTransportError); return;
    }
  }
}

// ---- Bulk through a pipe ----

void Connection::passTo(Connection& to) {
  if (!transport_->transparent() || !to.transport_->transparent() || &loop_ != &to.loop_) return;
  if (pass_to_ != nullptr || to.passed_by_ != nullptr || !open() || !to.open()) return;
  pass_to_ = &to;
  to.passed_by_ = this;
}

void Connection::noteRead(const IoResult& result) {
  if (result.bytes >= base::kBlockSize) {
    bulk_ = std::min(bulk_ + static_cast<uint32_t>(result.bytes), kMostBulk);
  } else if (result.bytes < kSmallRead) {
    bulk_ -= std::min(bulk_, kBulk / 8);
  }
}

// One read of the socket into the other connection's pipe, and on from there. kCopy: read it the ordinary way.
Connection::Passed Connection::pass() {
  Connection& to = *pass_to_;
  if (!in_.empty() || transport_->pending() || to.phase_ != Phase::kOpen || to.finish_) return Passed::kCopy;
  if (to.pipe_ != nullptr) {
    // An empty socket and a full pipe look alike, so a pipe is filled only when it is empty.
    paused_ |= kPauseUpstream;
    return Passed::kEnough;
  }
  Pipe* pipe = Pipe::take(loop_.now());
  if (pipe == nullptr) return Passed::kCopy;
  const ssize_t n = event::io::splice(fd_, pipe->in, std::min(kPipeBytes, std::max(to.limit_, base::kBlockSize)));
  if (n > 0) {
    pipe->bytes = static_cast<size_t>(n);
    bytes_read_ += pipe->bytes;
    burst_ += static_cast<uint32_t>(std::min<ssize_t>(n, kSmallBurst));
    to.pipe_ = pipe;
    to.pushPipe();
    sink_->onPassed(static_cast<size_t>(n));
    return Passed::kMore;
  }
  const int error = errno;
  pipe->give();
  if (n == 0) {
    eof_ = true;
    readable_ = false;
    sink_->onBytes(in_, true);
    return Passed::kEnough;
  }
  switch (error) {
    case EAGAIN:
    case EINTR:
      readable_ = false;
      small_bursts_ = burst_ < kSmallBurst ? small_bursts_ + 1 : 0;
      burst_ = 0;
      if (small_bursts_ >= kMostSmallBursts) bulk_ = small_bursts_ = 0;
      return Passed::kEnough;
    case EINVAL:
    case ENOSYS:
    case EOPNOTSUPP:  // not with this kind of socket
      to.passed_by_ = nullptr;
      pass_to_ = nullptr;
      return Passed::kCopy;
    default: fail(CloseReason::kRemoteReset); return Passed::kEnough;
  }
}

// From the reader's turn: brings no event. What goes wrong is found again by flush().
void Connection::pushPipe() {
  if (out_.empty() && writable_) {
    const size_t before = pipe_->bytes;
    const IoState state = drainPipe();
    bytes_written_ += before - piped();
    if (state == IoState::kAgain) writable_ = false;
  }
  if (pipe_ == nullptr) return;
  over_limit_ = true;  // onRoom when it is empty
  if (writable_) loop_.dirty(*this);
}

IoState Connection::drainPipe() {
  while (pipe_->bytes > 0) {
    const ssize_t n = event::io::splice(pipe_->out, fd_, pipe_->bytes);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? IoState::kAgain : IoState::kReset;
    pipe_->bytes -= static_cast<size_t>(n);
    if (n == 0) return IoState::kReset;  // cannot be: the pipe has bytes
  }
  std::exchange(pipe_, nullptr)->give();
  return IoState::kOk;
}

void Connection::dropPipe() {
  if (pipe_ != nullptr) std::exchange(pipe_, nullptr)->give();
}

void Connection::resumeReading(Pause reason) {
  if ((paused_ & reason) == 0) return;
  paused_ &= static_cast<uint8_t>(~reason);
  if (paused_ != 0) return;
  if (!in_.empty()) loop_.defer(refeed_);
  if (readable_ || transport_->pending()) loop_.makeReady(*this);
}

void Connection::flush() {
  if (phase_ != Phase::kOpen && phase_ != Phase::kClosing) return;
  if (phase_ == Phase::kOpen) sink_->onFlush(out_);
  if (phase_ == Phase::kClosed) return;
  if (out_.size() > limit_) over_limit_ = true;  // who paused on seeing that hears of room even when one write takes it all
  if (writable_ && !allWritten()) {
    const size_t before = out_.size() + piped();
    IoState state = out_.empty() && !transport_->hasSealed() ? IoState::kOk : transport_->write(fd_, out_).state;
    if (state == IoState::kOk && pipe_ != nullptr) state = drainPipe();
    const size_t left = out_.size() + piped();
    bytes_written_ += before - left;
    // A peer that still reads is not cut: the linger counts from the last progress.
    if (phase_ == Phase::kClosing && left < before) timer_.armIn(linger_);
    if (state == IoState::kAgain) {
      writable_ = false;
    } else if (state != IoState::kOk) {
      dropPipe();
      // Bytes of the peer that came before its reset are still worth reading: an early response, for one.
      if (phase_ == Phase::kOpen && !eof_ && paused_ == 0) {
        out_.clear();
        hang_up_ = readable_ = true;
        readSome();
        if (phase_ != Phase::kOpen) return;
      }
      if (phase_ != Phase::kClosed) fail(phase_ == Phase::kClosing ? CloseReason::kLocal : CloseReason::kRemoteReset);
      return;
    }
  }
  afterWrite();
}

void Connection::afterWrite() {
  bool empty = allWritten();
  const bool last = phase_ == Phase::kClosing && (eof_ || (peer_is_done_ && !readable_));
  if (empty && last && transport_->security() == nullptr) {
    fail(CloseReason::kLocal);  // close(2) says FIN as well
    return;
  }
  if (empty && finish_ && !finished_) {
    finished_ = true;
    if (transport_->finishWriting(fd_) == IoState::kAgain) writable_ = false;  // its last words wait for room
  }
  if (phase_ == Phase::kClosing) {
    empty = empty && !transport_->hasSealed();  // close_notify may still wait
    if (empty && last) fail(CloseReason::kLocal);
    return;
  }
  if (out_.size() > limit_) {
    over_limit_ = true;
  } else if (over_limit_ && pipe_ == nullptr && out_.size() <= limit_ / 2) {
    over_limit_ = false;
    sink_->onRoom();
  }
}

void Connection::finishWriting() {
  if (finish_) return;  // asked again from every onFlush: one FIN, and no flush that asks for the next
  finish_ = true;
  loop_.dirty(*this);
}

void Connection::closeAfterFlush(base::Nanos linger, bool peer_is_done) {
  if (phase_ == Phase::kClosed || phase_ == Phase::kClosing) return;
  if (phase_ == Phase::kOpen) sink_->onFlush(out_);
  phase_ = Phase::kClosing;
  paused_ = 0;
  in_.clear();
  finish_ = true;
  peer_is_done_ = peer_is_done;
  linger_ = linger > 0 ? linger : base::kMilli;
  timer_.armIn(linger_);
  loop_.dirty(*this);
  if (readable_) loop_.makeReady(*this);
}

void Connection::closeNow() { release(); }

void Connection::closeReset() {
  if (fd_ < 0) return;
  const linger hard{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  release();
}

}  // namespace outrider::net
