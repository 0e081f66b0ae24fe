// Objects of one size in large pieces: no header, no gap for alignment, which of a hundred thousand hosts is a third of their memory.
// A piece is mapped from the kernel, and goes back when its last object does. (An aligned piece of the heap has its header in the page
// before it: a page more for each.)
// Thread: any, behind one lock; for objects that live long. Lifetime: the process's.
// With the address sanitizer each object is allocated by itself, so that its use after its end is seen.
#pragma once

#include <sys/mman.h>

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
    if (out != nullptr) {
      slab->free = *static_cast<void**>(out);
    } else {
      out = reinterpret_cast<char*>(slab) + slab->fresh;
      slab->fresh += kSize;
    }
    ++slab->used;
    if (full(*slab)) unlink(slab);
    return out;
#endif
  }

  void give(void* object) {
#ifdef __SANITIZE_ADDRESS__
    ::operator delete(object, std::align_val_t(kAlign));
#else
    const std::lock_guard lock(mutex_);
    auto* slab = reinterpret_cast<Slab*>(reinterpret_cast<uintptr_t>(object) & ~uintptr_t{kBytes - 1});
    const bool was_full = full(*slab);
    *static_cast<void**>(object) = slab->free;
    slab->free = object;
    if (--slab->used == 0) {
      if (!was_full) unlink(slab);
      ::munmap(slab, kBytes);
      return;
    }
    if (was_full) link(slab);
#endif
  }

 private:
  static constexpr size_t kBytes = 65536;
  struct Slab {
    void* free;    // a chain through objects that were used and are free
    size_t fresh;  // where those begin that never were: their pages are not touched
    size_t used;
    Slab *next, *before;  // among those with room
  };

  static constexpr size_t kFirst = (sizeof(Slab) + kAlign - 1) / kAlign * kAlign;
  static bool full(const Slab& slab) { return slab.free == nullptr && slab.fresh + kSize > kBytes; }

  void add() {
    auto* slab = static_cast<Slab*>(map());
    slab->used = 0;
    slab->fresh = kFirst;
    slab->free = nullptr;
    link(slab);
  }
  // Aligned to its size: twice as much is mapped, and what is over given back.
  static void* map() {
    void* const at = ::mmap(nullptr, 2 * kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    const auto start = reinterpret_cast<uintptr_t>(at);
    const uintptr_t aligned = (start + kBytes - 1) & ~uintptr_t{kBytes - 1};
    if (aligned > start) ::munmap(at, aligned - start);
    ::munmap(reinterpret_cast<void*>(aligned + kBytes), start + kBytes - aligned);
    return reinterpret_cast<void*>(aligned);
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
