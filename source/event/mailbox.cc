#include "source/event/mailbox.h"

#include <cstdint>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include "source/base/check.h"

namespace outrider::event {

Mailbox::Mailbox() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { OUTRIDER_CHECK(fd_ >= 0); }

Mailbox::~Mailbox() {
  destroy(std::exchange(kept_, nullptr));
  destroy(top_.exchange(nullptr));
  ::close(fd_);
}

void Mailbox::destroy(Letter* list) {
  while (list != nullptr) {
    Letter* next = list->next;
    delete list;
    list = next;
  }
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

void Mailbox::take() {
  Letter* newest = top_.exchange(nullptr, std::memory_order_acquire);
  if (newest == nullptr) return;
  Letter* const last = newest;
  Letter* oldest = nullptr;
  while (newest != nullptr) {
    Letter* next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  (kept_ == nullptr ? kept_ : last_kept_->next) = oldest;
  last_kept_ = last;
}

}  // namespace outrider::event
