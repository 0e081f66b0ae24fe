#include "source/base/arena.h"

#include <algorithm>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define OUTRIDER_POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define OUTRIDER_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define OUTRIDER_POISON(p, n) ((void)(p), (void)(n))
#define OUTRIDER_UNPOISON(p, n) ((void)(p), (void)(n))
#endif

namespace outrider::base {
namespace {

constexpr size_t kMostFree = 1024;

struct FreeChunk {
  FreeChunk* next;
};

struct FreeChunks {
  FreeChunk* first = nullptr;
  size_t free = 0;
  size_t live = 0;
};

constinit thread_local FreeChunks free_chunks;

void* takeChunk() {
  FreeChunks& pool = free_chunks;
  if (pool.first != nullptr) {
    FreeChunk* chunk = pool.first;
    OUTRIDER_UNPOISON(chunk, Arena::kChunk);
    pool.first = chunk->next;
    --pool.free;
    return chunk;
  }
  void* chunk = std::malloc(Arena::kChunk);
  OUTRIDER_CHECK(chunk != nullptr);
  return chunk;
}

void giveChunk(void* memory) {
  FreeChunks& pool = free_chunks;
#ifndef NDEBUG
  std::memset(memory, 0xDD, Arena::kChunk);
#endif
  if (pool.free >= kMostFree) {
    std::free(memory);
    return;
  }
  auto* chunk = static_cast<FreeChunk*>(memory);
  chunk->next = pool.first;
  pool.first = chunk;
  ++pool.free;
  OUTRIDER_POISON(chunk + 1, Arena::kChunk - sizeof(FreeChunk));  // a leak checker follows the links
}

}  // namespace

Arena* Arena::create() {
  void* memory = takeChunk();
  ++free_chunks.live;
  auto* arena = new (memory) Arena();
  arena->next_ = static_cast<char*>(memory) + sizeof(Arena);
  arena->end_ = static_cast<char*>(memory) + kChunk;
  return arena;
}

void* Arena::allocSlow(size_t size, size_t align) {
  const size_t need = size + align + sizeof(Chunk);
  // Small objects share another chunk of the free list; a large one gets memory of its own and leaves the bump room alone.
  if (need <= kChunk / 2) {
    auto* chunk = static_cast<Chunk*>(takeChunk());
    chunk->size = kChunk;
    chunk->next = more_;
    more_ = chunk;
    held_ += kChunk;
    next_ = reinterpret_cast<char*>(chunk + 1);
    end_ = reinterpret_cast<char*>(chunk) + kChunk;
    return alloc(size, align);
  }
  auto* chunk = static_cast<Chunk*>(std::malloc(need));
  OUTRIDER_CHECK(chunk != nullptr);
  chunk->size = need;
  chunk->next = more_;
  more_ = chunk;
  held_ += need;
  const uintptr_t at = (reinterpret_cast<uintptr_t>(chunk + 1) + align - 1) & ~(align - 1);
  return reinterpret_cast<void*>(at);
}

void Arena::release() {
  while (more_ != nullptr) {
    Chunk* chunk = more_;
    more_ = chunk->next;
    if (chunk->size == kChunk) {
      giveChunk(chunk);
    } else {
      std::free(chunk);
    }
  }
  --free_chunks.live;
  giveChunk(this);
}

std::string_view Arena::concat(std::string_view a, std::string_view b, std::string_view c, std::string_view d) {
  char* to = bytes(a.size() + b.size() + c.size() + d.size());
  char* at = to;
  for (std::string_view part : {a, b, c, d}) {
    if (!part.empty()) std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  return {to, static_cast<size_t>(at - to)};
}

void Arena::trimThisThread() {
  FreeChunks& pool = free_chunks;
  while (pool.first != nullptr) {
    FreeChunk* chunk = pool.first;
    OUTRIDER_UNPOISON(chunk, Arena::kChunk);
    pool.first = chunk->next;
    --pool.free;
    std::free(chunk);
  }
}

size_t Arena::liveOnThisThread() { return free_chunks.live; }

}  // namespace outrider::base
