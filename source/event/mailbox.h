// The only door into a loop's thread: closures posted by others, run between two turns in the order they came.
// Thread: post() from any; the rest from the loop's. Lock-free: a stack that the loop takes whole and turns round. What a turn has no
// time for stays in order before what comes later.
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
  // Runs what has arrived before this call, at least one letter and until `enough()` is true; returns how many.
  template <class Enough>
  size_t run(const Enough& enough) {
    take();
    const Letter* const last = kept_ == nullptr ? nullptr : last_kept_;
    size_t n = 0;
    while (kept_ != nullptr) {
      Letter* letter = kept_;
      kept_ = letter->next;
      const bool done = letter == last;
      letter->run();
      delete letter;
      ++n;
      if (done || enough()) break;
    }
    return n;
  }
  bool empty() const { return kept_ == nullptr && top_.load(std::memory_order_acquire) == nullptr; }
  int fd() const { return fd_; }  // readable when something arrived
  void clearSignal();

 private:
  struct Letter {
    std::function<void()> run;
    Letter* next;
  };
  void take();
  static void destroy(Letter* list);

  std::atomic<Letter*> top_{nullptr};
  Letter* kept_ = nullptr;  // the loop's: taken, not run yet; oldest first
  Letter* last_kept_ = nullptr;
  int fd_;
};

}  // namespace outrider::event
