// Objects of one size in large pieces: no header, no gap for alignment, which of a hundred thousand hosts is a third of their memory.
// A piece goes back when its last object does.
// Thread: any, behind one lock; for objects that live long. Lifetime: the process's.
// With the address sanitizer each object is allocated by itself, so that its use after its end is seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

namespace outrider::base::shared {

template <size_t kSize, size_t kAlign>
class Slabs final {
 public:
  static_assert(kSize % kAlign == 0 && kSize >= sizeof(void*));

  void* take() {
#ifdef __SANITIZE_ADDRESS__
    return ::operator new(kSize, std::align_val_t(kAlign));
#else
    const std::lock_guard lock(mutex_);
    if (open_ == nullptr) add();
    Slab* slab = open_;
    void* out = slab->free;
    slab->free = *static_cast<void**>(out);
    ++slab->used;
    if (slab->free == nullptr) unlink(slab);
    return out;
#endif
  }

  void give(void* object) {
#ifdef __SANITIZE_ADDRESS__
    ::operator delete(object, std::align_val_t(kAlign));
#else
    const std::lock_guard lock(mutex_);
    auto* slab = reinterpret_cast<Slab*>(reinterpret_cast<uintptr_t>(object) & ~uintptr_t{kBytes - 1});
    const bool was_full = slab->free == nullptr;
    *static_cast<void**>(object) = slab->free;
    slab->free = object;
    if (--slab->used == 0) {
      if (!was_full) unlink(slab);
      std::free(slab);
      return;
    }
    if (was_full) link(slab);
#endif
  }

 private:
  static constexpr size_t kBytes = 16384;
  struct Slab {
    void* free;  // a chain through the free objects
    size_t used;
    Slab *next, *before;  // among those with room
  };

  void add() {
    auto* slab = static_cast<Slab*>(std::aligned_alloc(kBytes, kBytes));
    if (slab == nullptr) std::abort();
    slab->used = 0;
    slab->free = nullptr;
    constexpr size_t kFirst = (sizeof(Slab) + kAlign - 1) / kAlign * kAlign;
    // In order of addresses, so that what comes together lies together.
    for (size_t at = kFirst + (kBytes - kFirst) / kSize * kSize; at > kFirst;) {
      at -= kSize;
      void* object = reinterpret_cast<char*>(slab) + at;
      *static_cast<void**>(object) = slab->free;
      slab->free = object;
    }
    link(slab);
  }
  void link(Slab* slab) {
    slab->before = nullptr;
    slab->next = open_;
    if (open_ != nullptr) open_->before = slab;
    open_ = slab;
  }
  void unlink(Slab* slab) {
    (slab->before == nullptr ? open_ : slab->before->next) = slab->next;
    if (slab->next != nullptr) slab->next->before = slab->before;
  }

  std::mutex mutex_;
  Slab* open_ = nullptr;
};

}  // namespace outrider::base::shared
