#include "source/net/acceptor.h"

#include <cerrno>
#include <cstring>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "source/base/log.h"

namespace outrider::net {
namespace {
constexpr base::Nanos kStarvedPause = 100 * base::kMilli;
}

Acceptor::Acceptor(event::Loop& loop, int fd, bool shared, AcceptSink& sink)
    : loop_(loop), sink_(sink), retry_(event::Timer::to<&Acceptor::resume>(loop.timers(), this)), fd_(fd), shared_(shared) {
  resume();
}

Acceptor::~Acceptor() { stop(); }

void Acceptor::resume() {
  if (registered_) return;
  registered_ = loop_.add(fd_, *this, EPOLLIN | (shared_ ? EPOLLEXCLUSIVE : 0u)) == 0;
}

void Acceptor::stop() {
  retry_.cancel();
  if (!registered_) return;
  loop_.remove(fd_, *this);
  registered_ = false;
}

bool Acceptor::acceptOne() {
  sockaddr_storage peer;
  socklen_t size = sizeof peer;
  const int fd = ::accept4(fd_, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    sink_.onAccepted(fd, base::Address::fromSockaddr(reinterpret_cast<sockaddr*>(&peer), size));
    return true;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    starving_ = false;  // the queue is served: only now is it over
    return false;
  }
  if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
    sink_.onAcceptFailed(errno);
    if (!starving_) {
      OUTRIDER_LOG(kWarning, kListener, "accepting pauses: %s; connections wait in the kernel's queue", std::strerror(errno));
      starving_ = true;
    }
    stop();
    retry_.armIn(kStarvedPause);
    return false;
  }
  return true;  // ECONNABORTED and the like concern one connection only
}

// Mostly one connection comes at a time, and looking for a second costs a call that finds none. If there is one, the descriptor is
// ready in the next turn again: then there may be many.
void Acceptor::onReady(uint32_t) {
  const uint64_t turn = loop_.figures().turns;
  const uint32_t most = turn == full_turn_ + 1 ? most_ : 1;
  for (uint32_t i = 0; i < most && registered_; ++i) {
    if (!acceptOne()) return;
  }
  full_turn_ = turn;
}

void Acceptor::drainQueue() {
  stop();
  while (acceptOne()) {
  }
  stop();
}

}  // namespace outrider::net
