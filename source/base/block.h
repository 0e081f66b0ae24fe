// Blocks hold body bytes; a Slice is a view on bytes together with what keeps them alive.
// Thread: a block belongs to the thread that took it (plain count, per-thread free list). Shared bytes have an atomic
// count and may be sliced on any thread. Units: bytes. Bytes never change once a slice of them exists; free room past
// `used` may still be filled. See DATA-PLANE "Buffers".
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "source/base/check.h"

namespace outrider::base {

inline constexpr size_t kBlockSize = 16 * 1024;

struct Block {
  uint32_t refs;
  uint32_t used;  // bytes already claimed by some slice or by a reader
  Block* next;    // free list
  char* data() { return reinterpret_cast<char*>(this + 1); }
  size_t room() const { return kBlockSize - used; }

  static Block* take();  // refs = 1, used = 0
  void ref() { ++refs; }
  void unref() {
    if (--refs == 0) release();
  }
  void release();

  static size_t liveOnThisThread();         // taken and not yet released
  static void trimThisThread(size_t keep);  // gives free blocks beyond `keep` back to the allocator
};

// Immutable bytes that several threads may slice: rendered bodies, cached pages.
struct SharedBytes {
  std::atomic<uint32_t> refs{1};
  std::string bytes;
  explicit SharedBytes(std::string from) : bytes(std::move(from)) {}
  void ref() { refs.fetch_add(1, std::memory_order_relaxed); }
  void unref() {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
};

class Slice {
 public:
  Slice() = default;
  // Static bytes: literals and tables that outlive the process's traffic.
  static Slice ofStatic(std::string_view bytes) { return Slice(bytes.data(), bytes.size(), 0); }
  // Takes over one reference to `block`.
  static Slice ofBlock(Block* block, const char* data, size_t size) { return Slice(data, size, reinterpret_cast<uintptr_t>(block)); }
  // Adds a reference to `shared`.
  static Slice ofShared(SharedBytes& shared) {
    shared.ref();
    return Slice(shared.bytes.data(), shared.bytes.size(), reinterpret_cast<uintptr_t>(&shared) | 1);
  }

  Slice(const Slice& other) : data_(other.data_), size_(other.size_), owner_(other.owner_) { ref(); }
  Slice(Slice&& other) noexcept : data_(other.data_), size_(std::exchange(other.size_, 0)), owner_(std::exchange(other.owner_, 0)) {}
  Slice& operator=(Slice other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~Slice() { unref(); }

  const char* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view view() const { return {data_, size_}; }
  void removePrefix(size_t n) {
    data_ += n;
    size_ -= static_cast<uint32_t>(n);
  }
  void truncate(size_t n) { size_ = static_cast<uint32_t>(n); }
  Slice prefix(size_t n) const {
    Slice copy(*this);
    copy.truncate(n);
    return copy;
  }
  void extend(size_t n) { size_ += static_cast<uint32_t>(n); }
  // The block behind this slice, or null for static and shared bytes.
  Block* block() const { return (owner_ & 1) == 0 ? reinterpret_cast<Block*>(owner_) : nullptr; }

 private:
  Slice(const char* data, size_t size, uintptr_t owner) : data_(data), size_(static_cast<uint32_t>(size)), owner_(owner) {}
  void ref() {
    if (owner_ == 0) return;
    if (owner_ & 1) {
      reinterpret_cast<SharedBytes*>(owner_ & ~uintptr_t{1})->ref();
    } else {
      reinterpret_cast<Block*>(owner_)->ref();
    }
  }
  void unref() {
    if (owner_ == 0) return;
    if (owner_ & 1) {
      reinterpret_cast<SharedBytes*>(owner_ & ~uintptr_t{1})->unref();
    } else {
      reinterpret_cast<Block*>(owner_)->unref();
    }
  }

  const char* data_ = nullptr;
  uint32_t size_ = 0;
  uintptr_t owner_ = 0;  // Block*, or SharedBytes* with bit 0 set, or 0 for static bytes
};

}  // namespace outrider::base
