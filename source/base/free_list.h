// Freed objects of one size that wait on their thread for the next of their kind: what is made and dropped with every exchange costs
// no call of malloc. Give one as memory for a class by its operator new and delete, or take and give pieces by hand.
// Thread: each has its own list; a piece may be given back on another thread than it was taken on. A thread that ends calls
// trimThisThread() for each list that it used.
#pragma once

#include <cstddef>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace outrider::base {

// `Tag` keeps lists of equal sizes apart.
template <class Tag, size_t kSize, size_t kMost>
class FreeList final {
 public:
  static void* take() {
    State& list = state_;
    Piece* piece = list.first;
    if (piece == nullptr) return ::operator new(kPiece);
    unpoison(piece);
    list.first = piece->next;
    --list.count;
    return piece;
  }
  static void give(void* memory) {
    State& list = state_;
    if (list.count >= kMost) {
      ::operator delete(memory);
      return;
    }
    auto* piece = static_cast<Piece*>(memory);
    piece->next = list.first;
    list.first = piece;
    ++list.count;
    poison(piece);
  }
  static void trimThisThread() {
    State& list = state_;
    while (list.first != nullptr) {
      unpoison(list.first);
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
  // A piece that waits here is nobody's: a late reader shows. Its link stays readable for the leak checker.
#if defined(__SANITIZE_ADDRESS__)
  static void poison(void* at) { ASAN_POISON_MEMORY_REGION(static_cast<Piece*>(at) + 1, kPiece - sizeof(Piece)); }
  static void unpoison(void* at) { ASAN_UNPOISON_MEMORY_REGION(static_cast<Piece*>(at) + 1, kPiece - sizeof(Piece)); }
#else
  static void poison(void*) {}
  static void unpoison(void*) {}
#endif
  // Trivially destructible, so that an access costs no guard.
  static inline constinit thread_local State state_{};
};

}  // namespace outrider::base
