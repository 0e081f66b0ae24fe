#include "source/base/block.h"

#include <cstdlib>
#include <cstring>

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

// Free blocks of a thread beyond this many go back to the allocator.
constexpr size_t kMostFree = 512;

struct FreeBlocks {
  Block* first = nullptr;
  size_t free = 0;
  size_t live = 0;
  void trim(size_t keep) {
    while (free > keep) {
      Block* block = first;
      first = block->next;
      --free;
      OUTRIDER_UNPOISON(block->data(), kBlockSize);
      std::free(block);
    }
  }
};

// Trivially destructible, so that an access costs no guard; threads that end call trimThisThread(0).
constinit thread_local FreeBlocks free_blocks;

}  // namespace

Block* Block::take() {
  FreeBlocks& pool = free_blocks;
  Block* block = pool.first;
  if (block != nullptr) {
    pool.first = block->next;
    --pool.free;
    OUTRIDER_UNPOISON(block->data(), kBlockSize);
  } else {
    block = static_cast<Block*>(std::malloc(sizeof(Block) + kBlockSize));
    OUTRIDER_CHECK(block != nullptr);
  }
  ++pool.live;
  block->refs = 1;
  block->used = 0;
  block->next = nullptr;
  return block;
}

void Block::release() {
  FreeBlocks& pool = free_blocks;
  --pool.live;
#ifndef NDEBUG
  // Freed bytes read as a pattern, so that a late reader shows at once.
  std::memset(data(), 0xDD, kBlockSize);
#endif
  if (pool.free >= kMostFree) {
    std::free(this);
    return;
  }
  OUTRIDER_POISON(data(), kBlockSize);
  next = pool.first;
  pool.first = this;
  ++pool.free;
}

size_t Block::liveOnThisThread() { return free_blocks.live; }
void Block::trimThisThread(size_t keep) { free_blocks.trim(keep); }

}  // namespace outrider::base
