#include "source/event/mailbox.h"

#include <cstdint>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include "source/base/check.h"

namespace outrider::event {

Mailbox::Mailbox() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { OUTRIDER_CHECK(fd_ >= 0); }

Mailbox::~Mailbox() {
  for (Letter* at = top_.exchange(nullptr); at != nullptr;) {
    Letter* next = at->next;
    delete at;
    at = next;
  }
  ::close(fd_);
}

void Mailbox::post(std::function<void()> letter) {
  auto* node = new Letter{std::move(letter), top_.load(std::memory_order_relaxed)};
  // Read before the exchange: afterwards the loop may already have freed the node.
  Letter* below = node->next;
  while (!top_.compare_exchange_weak(below, node, std::memory_order_release, std::memory_order_relaxed)) {
    node->next = below;
  }
  if (below == nullptr) {
    const uint64_t one = 1;
    if (::write(fd_, &one, sizeof one) < 0) return;  // EAGAIN: the counter is full, so the loop is awake anyway
  }
}

void Mailbox::clearSignal() {
  uint64_t count;
  if (::read(fd_, &count, sizeof count) < 0) return;  // EAGAIN: nothing to clear
}

size_t Mailbox::run() {
  Letter* newest = top_.exchange(nullptr, std::memory_order_acquire);
  Letter* oldest = nullptr;
  while (newest != nullptr) {
    Letter* next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  size_t n = 0;
  while (oldest != nullptr) {
    Letter* next = oldest->next;
    oldest->run();
    delete oldest;
    oldest = next;
    ++n;
  }
  return n;
}

}  // namespace outrider::event
