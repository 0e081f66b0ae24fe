// Freed objects of one size that wait on their thread for the next of their kind: what is made and dropped with every exchange costs
// no call of malloc. Give one as memory for a class by its operator new and delete, or take and give pieces by hand.
// Thread: each has its own list; a piece may be given back on another thread than it was taken on. A thread that ends calls
// trimThisThread() for each list that it used.
#pragma once

#include <cstddef>
#include <new>

namespace outrider::base {

// `Tag` keeps lists of equal sizes apart.
template <class Tag, size_t kSize, size_t kMost>
class FreeList final {
 public:
  static void* take() {
#if !defined(__SANITIZE_ADDRESS__)  // whose quarantine would see no late reader of a piece that waits here
    State& list = state_;
    if (Piece* piece = list.first; piece != nullptr) {
      list.first = piece->next;
      --list.count;
      return piece;
    }
#endif
    return ::operator new(kPiece);
  }
  static void give(void* memory) {
#if !defined(__SANITIZE_ADDRESS__)
    State& list = state_;
    if (list.count < kMost) {
      auto* piece = static_cast<Piece*>(memory);
      piece->next = list.first;
      list.first = piece;
      ++list.count;
      return;
    }
#endif
    ::operator delete(memory);
  }
  static void trimThisThread() {
    State& list = state_;
    while (list.first != nullptr) {
      Piece* next = list.first->next;
      ::operator delete(list.first);
      list.first = next;
    }
    list.count = 0;
  }

 private:
  struct Piece {
    Piece* next;
  };
  struct State {
    Piece* first = nullptr;
    size_t count = 0;
  };
  static constexpr size_t kPiece = kSize < sizeof(Piece) ? sizeof(Piece) : kSize;
  // Trivially destructible, so that an access costs no guard.
  static inline constinit thread_local State state_{};
};

}  // namespace outrider::base
