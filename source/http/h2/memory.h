// Memory for nghttp2 and for streams: free lists by size, so that a connection in its stride asks the allocator for nothing.
// Thread: each thread has its own lists; what a thread took, the same thread gives back. Units: bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace outrider::http::h2 {

class Memory final {
 public:
  static void* alloc(size_t size);  // aligned for any type; null when the system has no more
  static void* allocZeroed(size_t count, size_t size);
  static void* resize(void* from, size_t size);
  static void free(void* at);  // null is allowed

  static uint64_t systemAllocations();  // calls of malloc by this thread so far
  static size_t live();                 // pieces taken and not given back by this thread
  static size_t liveBytes();            // in them, with their heads and what rounding wastes
  static void trimThisThread();         // free pieces go back to the allocator; a thread that ends calls it
};

}  // namespace outrider::http::h2
