// For tests of budgets: counts what this thread asks `new` for. It replaces the operators, so one file of a test includes it.
// Thread: each counts for itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include <malloc.h>

namespace outrider::base::counted {

inline thread_local size_t allocations = 0;
inline thread_local int64_t bytes_held = 0;  // as the allocator rounds them, with its own word

inline void* took(void* at) {
  if (at == nullptr) std::abort();
  ++allocations;
  bytes_held += static_cast<int64_t>(malloc_usable_size(at) + sizeof(size_t));
  return at;
}
inline void release(void* at) {
  if (at != nullptr) bytes_held -= static_cast<int64_t>(malloc_usable_size(at) + sizeof(size_t));
  std::free(at);
}

}  // namespace outrider::base::counted

void* operator new(size_t size) { return outrider::base::counted::took(std::malloc(size)); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return outrider::base::counted::took(std::malloc(size)); }
void* operator new(size_t size, std::align_val_t align) {
  const auto to = static_cast<size_t>(align);
  return outrider::base::counted::took(std::aligned_alloc(to, (size + to - 1) & ~(to - 1)));
}
void operator delete(void* at) noexcept { outrider::base::counted::release(at); }
void operator delete(void* at, size_t) noexcept { outrider::base::counted::release(at); }
void operator delete(void* at, std::align_val_t) noexcept { outrider::base::counted::release(at); }
void operator delete(void* at, size_t, std::align_val_t) noexcept { outrider::base::counted::release(at); }
