// One thread's heartbeat. A turn: wait, ready sockets, deferred calls, timers, mailbox, flush of dirty connections, graveyard.
// Thread: everything but mailbox().post() and stop() belongs to the thread that runs the loop. The clock is read once a
// turn; now() is that reading. Sockets are registered once, edge-triggered (listeners level-triggered).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "source/base/clock.h"
#include "source/base/intrusive_list.h"
#include "source/event/deferred.h"
#include "source/event/mailbox.h"
#include "source/event/timer.h"

namespace outrider::event {

struct ReadyTag;

// What a descriptor is watched for, and what onReady() is told: epoll's bits under names of this room.
inline constexpr uint32_t kReadable = 0x001;
inline constexpr uint32_t kWritable = 0x004;
inline constexpr uint32_t kFailed = 0x008;
inline constexpr uint32_t kHungUp = 0x010;
inline constexpr uint32_t kPeerFinished = 0x2000;
inline constexpr uint32_t kEdge = 1u << 31;

// Something with a descriptor: connections, acceptors, DNS sockets. `events` are epoll's bits.
class IoHandler : public base::TaggedNode<ReadyTag> {
 public:
  virtual void onReady(uint32_t events) = 0;

 protected:
  ~IoHandler() = default;
};

class Loop final {
 public:
  explicit Loop(const base::Clock& clock = base::SystemClock::instance());
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Registration; 0 or errno. The descriptor stays the caller's. remove() or forget() before close.
  int add(int fd, IoHandler& handler, uint32_t events);
  int modify(int fd, IoHandler& handler, uint32_t events);
  void remove(int fd, IoHandler& handler);
  // remove() for a descriptor that is closed next and was never duplicated: the kernel deregisters it by itself.
  void forget(IoHandler& handler);

  // A handler with bytes that no edge will announce: its onReady(EPOLLIN) is called again before the loop waits.
  void makeReady(IoHandler& handler) {
    if (!handler.base::TaggedNode<ReadyTag>::linked()) ready_.pushBack(handler);
  }
  void defer(Deferred& call) {
    if (!call.linked()) deferred_.pushBack(call);
  }
  void dirty(Dirty& connection) {
    if (!connection.base::TaggedNode<FlushTag>::linked()) dirty_.pushBack(connection);
  }
  // Takes ownership; destroyed when the turn ends.
  void retire(Retired* object) { graveyard_.pushBack(*object); }
  // Called once at the end of this turn, after the flush.
  TimerWheel& timers() { return timers_; }
  Mailbox& mailbox() { return mailbox_; }
  const base::Clock& clock() const { return clock_; }
  const base::Nanos& now() const { return mono_; }  // monotonic, of this turn; the reference stays good
  base::Nanos wall() const { return wall_; }        // since the epoch, of this turn
  // Date header value of this turn ("Tue, 15 Nov 1994 08:12:31 GMT"), rendered once a second.
  std::string_view httpDate();

  void run();   // until stop()
  void stop();  // any thread
  // One turn; waits at most `wait_ms` (-1: as long as nothing happens). Returns false when it found nothing to do.
  bool turn(int wait_ms);

  // Work that comes in pieces (ten thousand resources, letters, what is to be destroyed) asks this after each piece: true means that
  // the turn has lasted long enough, and the rest is for a later one, so that sockets and admin get their look.
  bool overtime() const { return clock_.mono() - mono_ > budget_; }
  static constexpr base::Nanos kNoBudget = INT64_MAX;
  void setBudget(base::Nanos budget) { budget_ = budget; }

  // A turn that has ended, for those who measure.
  struct Turn {
    base::Nanos took;  // without the wait
    base::Nanos late;  // how long after its time a wait with a limit ended; -1: it had none, or ended before
  };
  using TurnFn = void (*)(void* owner, const Turn& turn);
  // Called last in a turn: in `every` turn, else in those that took longer than all before. Null: nobody.
  void observeTurns(TurnFn fn, void* owner, bool every);

  struct Figures {
    uint64_t turns = 0;
    uint64_t events = 0;
    base::Nanos longest_turn = 0;  // without the wait
  };
  const Figures& figures() const { return figures_; }
  Figures& figures() { return figures_; }

  static Loop& current();  // the loop that runs on this thread

 private:
  int waitMs(int limit) const;
  void runReady();
  bool runDeferred();
  void sweep();
  void readClock();
  void endTurn(base::Nanos late, bool any);

  const base::Clock& clock_;
  int epoll_;
  base::Nanos mono_ = 0;
  base::Nanos wall_ = 0;
  TimerWheel timers_;
  Mailbox mailbox_;
  base::IntrusiveList<IoHandler, ReadyTag> ready_;
  base::IntrusiveList<Deferred, DeferredTag> deferred_;
  base::IntrusiveList<Dirty, FlushTag> dirty_;
  base::IntrusiveList<Retired, GraveTag> graveyard_;
  std::atomic<bool> stop_{false};
  Figures figures_;
  base::Nanos budget_ = 2 * base::kMilli;
  base::Nanos ended_ = 0;  // the turn before
  TurnFn observer_ = nullptr;
  void* observer_owner_ = nullptr;
  bool observe_every_ = false;
  int64_t date_second_ = -1;
  char date_[32] = {};
  // Handlers whose descriptor was removed while their events were still in the current batch.
  void** batch_ = nullptr;
  int batch_size_ = 0;
};

}  // namespace outrider::event
