// Takes connections from one listening descriptor on one worker and hands them on.
// Thread: its worker. Lifetime: its ActiveListener's. Out of descriptors: it pauses, says so once, counts, and tries again.
#pragma once

#include <cstdint>

#include "source/base/address.h"
#include "source/event/loop.h"

namespace outrider::net {

class AcceptSink {
 public:
  virtual void onAccepted(int fd, const base::Address& remote) = 0;  // takes over fd
  virtual void onAcceptFailed(int error) = 0;                        // EMFILE, ENFILE, ENOMEM: counted by the listener

 protected:
  ~AcceptSink() = default;
};

class Acceptor final : public event::IoHandler {
 public:
  // `shared`: the descriptor is in several loops (EPOLLEXCLUSIVE). The descriptor stays its ListenSocket's.
  Acceptor(event::Loop& loop, int fd, bool shared, AcceptSink& sink);
  ~Acceptor();

  void setMostPerTurn(uint32_t most) { most_ = most; }
  void stop();        // no further accept; what is queued stays in the kernel
  void drainQueue();  // accepts until EAGAIN: before the descriptor is closed
  bool active() const { return registered_; }

  void onReady(uint32_t events) override;

 private:
  void resume();
  bool acceptOne();  // false: nothing more now

  event::Loop& loop_;
  AcceptSink& sink_;
  event::Timer retry_;
  const int fd_;
  uint32_t most_ = 16;
  uint64_t full_turn_ = 0;  // the last one that took all it might: others may wait
  const bool shared_;
  bool registered_ = false;
  bool starving_ = false;  // said once until the queue is served again
};

}  // namespace outrider::net
