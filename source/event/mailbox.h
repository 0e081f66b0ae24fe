// The only door into a loop's thread: closures posted by others, run between two turns in the order they came.
// Thread: post() from any; the rest from the loop's. Lock-free: a stack that the loop takes whole and turns round.
#pragma once

#include <atomic>
#include <functional>

namespace outrider::event {

class Mailbox final {
 public:
  Mailbox();
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void post(std::function<void()> letter);
  // Runs what has arrived; returns how many.
  size_t run();
  bool empty() const { return top_.load(std::memory_order_acquire) == nullptr; }
  int fd() const { return fd_; }  // readable when something arrived
  void clearSignal();

 private:
  struct Letter {
    std::function<void()> run;
    Letter* next;
  };
  std::atomic<Letter*> top_{nullptr};
  int fd_;
};

}  // namespace outrider::event
