// A line of bytes made of slices: cheap to append to, to drain from and to move between buffers.
// Thread: its owner's. Lifetime: value; an empty buffer holds no block. Units: bytes.
// A small piece (under kCopyBelow) that follows another is copied behind it, so many small pieces pin no block each, and a head
// with its short body leaves as one piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <sys/uio.h>

#include "source/base/block.h"

namespace outrider::base {

class Buffer final {
 public:
  static constexpr size_t kCopyBelow = 2048;

  Buffer() = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    clear();
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t sliceCount() const { return count_; }
  const Slice& slice(size_t i) const { return slots_[(first_ + i) & mask_]; }
  std::string_view front() const { return count_ == 0 ? std::string_view() : slots_[first_].view(); }

  void append(std::string_view bytes);  // copies
  void append(Slice slice);             // shares
  void appendStatic(std::string_view bytes) { append(Slice::ofStatic(bytes)); }

  void move(Buffer& from);            // all of it
  void move(Buffer& from, size_t n);  // the first n bytes, n <= from.size()
  void share(const Buffer& from);     // adds slices of the same bytes; `from` keeps them

  void drain(size_t n);  // n <= size()
  void clear();

  // Free room at the end, contiguous, at least `at_least` bytes (<= kBlockSize). Write there, then commit what was
  // written before any other call. A reservation that is not committed costs nothing.
  struct Room {
    char* data;
    size_t size;
  };
  Room reserve(size_t at_least);
  void commit(size_t n);

  // Up to `most` pieces for writev; returns how many were filled.
  int iovecs(iovec* out, int most) const;
  // Copies the first n bytes (n <= size()) to `to`.
  void copyOut(size_t n, char* to) const;
  // The first n bytes in one piece: the front slice if it holds them, else a copy that replaces the front slices
  // (n <= kBlockSize).
  std::string_view linear(size_t n);
  std::string str() const;

  void swap(Buffer& other) noexcept;

  static void trimThisThread();  // gives the thread's free rings back to the allocator

 private:
  Slice& back() { return slots_[(first_ + count_ - 1) & mask_]; }
  void pushBack(Slice&& slice);
  void popFront() {
    slots_[first_] = Slice();
    first_ = (first_ + 1) & mask_;
    if (--count_ == 0) first_ = 0;
  }
  void grow();
  void dropRing();

  // One slot of its own: most buffers hold one piece or none, and every connection and stream has several buffers. A ring of
  // more comes from the thread's free rings and goes back when the buffer is empty.
  Slice inline_;
  Slice* slots_ = &inline_;  // a ring of mask_ + 1 slots
  uint32_t mask_ = 0;
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  size_t size_ = 0;
  Block* reserved_ = nullptr;  // block of a reservation that is not the tail's
};

}  // namespace outrider::base
