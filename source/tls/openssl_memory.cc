#include "source/tls/openssl_memory.h"

#include <cstddef>
#include <cstdlib>

#include <malloc.h>
#include <openssl/crypto.h>

namespace outrider::tls {
namespace {

// Write buffers are a record with its seal, 16.7 KiB; read buffers hold the read-ahead, 33 KiB. A block for each size that a thread
// has in hand at once, and some for the connections that are in the middle of a message.
constexpr size_t kLeast = 16 * 1024;
constexpr size_t kMiddle = 24 * 1024;
constexpr size_t kMost = 48 * 1024;
constexpr size_t kKept = 4;

struct Shelf {
  void* blocks[kKept];
  size_t count;
};
constinit thread_local Shelf shelves[2]{};
constinit thread_local bool closed = false;
constinit thread_local OpensslMemory figures{};

// Empties the shelves when their thread ends; OpenSSL's own end of the thread may come later still.
struct Closer {
  bool used = false;
  ~Closer() {
    closed = true;
    for (Shelf& shelf : shelves) {
      while (shelf.count > 0) std::free(shelf.blocks[--shelf.count]);
    }
  }
};
thread_local Closer closer;

Shelf* shelfFor(size_t size) { return size < kLeast || size > kMost ? nullptr : &shelves[size > kMiddle ? 1 : 0]; }

void* give(size_t size, const char*, int) {
  if (size == 0) return nullptr;
  ++figures.asked;
  Shelf* shelf = shelfFor(size);
  if (shelf == nullptr) {
    ++figures.allocated;
    return std::malloc(size);
  }
  for (size_t i = shelf->count; i-- > 0;) {
    if (::malloc_usable_size(shelf->blocks[i]) < size) continue;
    void* at = shelf->blocks[i];
    shelf->blocks[i] = shelf->blocks[--shelf->count];
    return at;
  }
  ++figures.allocated;
  return std::malloc(size);
}

void back(void* at, const char*, int) {
  if (at == nullptr) return;
  Shelf* shelf = shelfFor(::malloc_usable_size(at));
  if (shelf == nullptr || shelf->count == kKept || closed) {
    std::free(at);
    return;
  }
  closer.used = true;
  shelf->blocks[shelf->count++] = at;
}

void* resize(void* at, size_t size, const char*, int) {
  if (size == 0) {
    back(at, nullptr, 0);
    return nullptr;
  }
  ++figures.asked;
  ++figures.allocated;
  return std::realloc(at, size);
}

}  // namespace

bool keepRecordBuffers() { return CRYPTO_set_mem_functions(give, resize, back) == 1; }

const OpensslMemory& opensslMemory() { return figures; }

}  // namespace outrider::tls
