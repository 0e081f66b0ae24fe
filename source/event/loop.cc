#include "source/event/loop.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <sys/epoll.h>
#include <unistd.h>

#include "source/base/check.h"
#include "source/event/io.h"

namespace outrider::event {
namespace {

static_assert(kReadable == EPOLLIN && kWritable == EPOLLOUT && kFailed == EPOLLERR && kHungUp == EPOLLHUP && kPeerFinished == EPOLLRDHUP &&
              kEdge == static_cast<uint32_t>(EPOLLET));

constexpr int kMostEvents = 64;
// Deferred calls queue further ones; a turn that goes on this long leaves the rest to the next, so that sockets get a look.
constexpr int kMostDeferredRounds = 16;

constinit thread_local Loop* current_loop = nullptr;

}  // namespace

Loop::Loop(const base::Clock& clock)
    : clock_(clock), epoll_(::epoll_create1(EPOLL_CLOEXEC)), mono_(clock.mono()), wall_(clock.wall()), timers_(mono_), ended_(mono_) {
  OUTRIDER_CHECK(epoll_ >= 0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // null stands for the mailbox
  OUTRIDER_CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, mailbox_.fd(), &event) == 0);
  current_loop = this;
}

Loop::~Loop() {
  sweep();
  ::close(epoll_);
  if (current_loop == this) current_loop = nullptr;
}

Loop& Loop::current() { return *current_loop; }

int Loop::add(int fd, IoHandler& handler, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  return io::control(epoll_, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

int Loop::modify(int fd, IoHandler& handler, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &handler;
  return io::control(epoll_, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : errno;
}

void Loop::remove(int fd, IoHandler& handler) {
  io::control(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  forget(handler);
}

void Loop::forget(IoHandler& handler) {
  handler.base::TaggedNode<ReadyTag>::unlink();
  for (int i = 0; i < batch_size_; ++i) {
    if (batch_[i] == &handler) batch_[i] = this;  // `this` marks: nobody to call
  }
}

void Loop::readClock() {
  mono_ = clock_.mono();
  wall_ = clock_.wall();
}

int Loop::waitMs(int limit) const {
  if (!ready_.empty() || !deferred_.empty() || !dirty_.empty() || !mailbox_.empty() || !graveyard_.empty()) return 0;
  const int64_t next = timers_.nextInMs(mono_);
  if (next < 0) return limit;
  if (limit < 0 || next < limit) return static_cast<int>(std::min<int64_t>(next, 3600 * 1000));
  return limit;
}

void Loop::runReady() {
  base::IntrusiveList<IoHandler, ReadyTag> now;
  now.splice(ready_);
  while (!now.empty()) now.popFront().onReady(EPOLLIN);
}

bool Loop::runDeferred() {
  bool any = false;
  for (int round = 0; round < kMostDeferredRounds && !deferred_.empty(); ++round) {
    base::IntrusiveList<Deferred, DeferredTag> now;
    now.splice(deferred_);
    while (!now.empty()) {
      any = true;
      now.popFront().call();
    }
  }
  return any;
}

void Loop::sweep() {
  while (!graveyard_.empty()) graveyard_.popFront().bury();
}

bool Loop::turn(int wait_ms) {
  current_loop = this;
  epoll_event events[kMostEvents];
  void* batch[kMostEvents];
  const bool was_ready = !ready_.empty();
  const int wait = waitMs(wait_ms);
  int n = io::wait(epoll_, events, kMostEvents, wait);
  if (n < 0) n = 0;  // EINTR: a signal; the mailbox brings its news
  readClock();
  timers_.look(mono_);
  const base::Nanos late = wait < 0 ? -1 : mono_ - ended_ - wait * base::kMilli;
  bool any = n > 0 || was_ready;
  for (int i = 0; i < n; ++i) batch[i] = events[i].data.ptr;
  batch_ = batch;
  batch_size_ = n;
  for (int i = 0; i < n; ++i) {
    if (batch[i] == nullptr) {
      mailbox_.clearSignal();
    } else if (batch[i] != this) {
      static_cast<IoHandler*>(batch[i])->onReady(events[i].events);
    }
  }
  batch_size_ = 0;
  if (was_ready) runReady();
  any |= runDeferred();
  const size_t armed = timers_.armed();
  timers_.advance(mono_);
  any |= timers_.armed() != armed;
  any |= mailbox_.run([this] { return overtime(); }) > 0;
  any |= runDeferred();  // of timers and letters
  while (!dirty_.empty()) {
    any = true;
    dirty_.popFront().flush();
  }
  // A flush may end connections; what their owners queued then is served before the loop waits (waitMs sees it).
  sweep();
  ++figures_.turns;
  figures_.events += static_cast<uint64_t>(n);
  endTurn(late, any);
  return any;
}

void Loop::endTurn(base::Nanos late, bool any) {
  ended_ = any || observe_every_ ? clock_.mono() : mono_;
  const base::Nanos took = ended_ - mono_;
  const bool longest = took > figures_.longest_turn;
  if (longest) figures_.longest_turn = took;
  if (observer_ != nullptr && (longest || observe_every_)) observer_(observer_owner_, Turn{took, late < 0 ? -1 : late});
}

void Loop::observeTurns(TurnFn fn, void* owner, bool every) {
  observer_ = fn;
  observer_owner_ = owner;
  observe_every_ = every && fn != nullptr;
}

void Loop::run() {
  while (!stop_.load(std::memory_order_acquire)) turn(-1);
}

void Loop::stop() {
  stop_.store(true, std::memory_order_release);
  mailbox_.post([] {});
}

std::string_view Loop::httpDate() {
  const int64_t second = wall_ / base::kSecond;
  if (second != date_second_) {
    date_second_ = second;
    const time_t at = second;
    tm when;
    ::gmtime_r(&at, &when);
    std::strftime(date_, sizeof date_, "%a, %d %b %Y %H:%M:%S GMT", &when);
  }
  return {date_, 29};
}

}  // namespace outrider::event
