// A pipe of the kernel that takes one direction's bytes from socket to socket without a copy, and a thread's store of such pipes.
// Thread: the one that took it. Lifetime: taken while bytes are in it, given back (or closed) with the last. Units: bytes.
// Out of descriptors or of pipe memory is no error: take() has none, and the caller copies.
#pragma once

#include <cstddef>

#include "source/base/clock.h"

namespace outrider::net {

// A relay of 16 flows on one core of two, CPU a MiB: 605 us copied by 64 KiB; by pipes of 64 KiB 320, 256 KiB 255, 1 MiB 223.
inline constexpr size_t kPipeBytes = 256 * 1024;

struct Pipe {
  int in = -1;           // write end
  int out = -1;          // read end
  size_t bytes = 0;      // in it now
  Pipe* next = nullptr;  // free list

  static Pipe* take(base::Nanos now);  // null: none now
  void give();                         // an empty one is kept for the next, as far as there is room; else it is closed

  static constexpr size_t kMost = 128;  // of one thread, in use and free
  static constexpr size_t kMostFree = 16;
  static size_t usedOnThisThread();
  static size_t freeOnThisThread();
  static void trimThisThread();  // closes the free ones
};

}  // namespace outrider::net
