// A stream's memory: bump allocation in chunks, all freed at once.
// Thread: its worker. Lifetime: counted; the stream holds one reference, and every frame that a codec may still send from
// these bytes holds another (DATA-PLANE "Lifetime rule for no-copy headers"). Destructors are not run: objects made here
// are destroyed by their owner before the last unref. Units: bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "source/base/check.h"

namespace outrider::base {

class Arena final {
 public:
  static constexpr size_t kChunk = 8 * 1024;

  static Arena* create();  // one reference; memory comes from the thread's free list
  void ref() { ++refs_; }
  void unref() {
    if (--refs_ == 0) release();
  }

  void* alloc(size_t size, size_t align = alignof(std::max_align_t)) {
    uintptr_t at = (reinterpret_cast<uintptr_t>(next_) + align - 1) & ~(align - 1);
    if (__builtin_expect(at + size <= reinterpret_cast<uintptr_t>(end_), 1)) {
      next_ = reinterpret_cast<char*>(at + size);
      return reinterpret_cast<void*>(at);
    }
    return allocSlow(size, align);
  }
  char* bytes(size_t size) { return static_cast<char*>(alloc(size, 1)); }

  template <class T, class... Args>
  T* make(Args&&... args) {
    return new (alloc(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
  }
  template <class T>
  T* array(size_t n) {
    return static_cast<T*>(alloc(sizeof(T) * n, alignof(T)));
  }
  std::string_view copy(std::string_view from) {
    if (from.empty()) return {};
    char* to = bytes(from.size());
    std::memcpy(to, from.data(), from.size());
    return {to, from.size()};
  }
  std::string_view concat(std::string_view a, std::string_view b, std::string_view c = {}, std::string_view d = {});

  size_t held() const { return held_; }  // memory behind this arena

  static size_t liveOnThisThread();
  static void trimThisThread();  // gives free chunks back; a thread that ends calls it

 private:
  struct Chunk {
    Chunk* next;
    size_t size;  // of the whole allocation
  };
  Arena() = default;
  void* allocSlow(size_t size, size_t align);
  void release();

  char* next_ = nullptr;
  char* end_ = nullptr;
  uint32_t refs_ = 1;
  size_t held_ = kChunk;
  Chunk* more_ = nullptr;  // chunks beyond the first, which holds this object
};

}  // namespace outrider::base
