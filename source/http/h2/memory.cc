#include "source/http/h2/memory.h"

#include <bit>
#include <cstdlib>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define OUTRIDER_H2_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OUTRIDER_H2_ASAN 1
#endif
#endif
#ifdef OUTRIDER_H2_ASAN
#include <sanitizer/asan_interface.h>
#define OUTRIDER_H2_POISON(at, size) ASAN_POISON_MEMORY_REGION(at, size)
#define OUTRIDER_H2_UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
#define OUTRIDER_H2_POISON(at, size) (void)0
#define OUTRIDER_H2_UNPOISON(at, size) (void)0
#endif

namespace outrider::http::h2 {
namespace {

// Classes are powers of two, 32 bytes to 32 KiB (a session's frame buffer is the largest piece that comes back often).
constexpr uint32_t kSmallest = 5;
constexpr uint32_t kLargest = 15;
constexpr uint32_t kNoClass = 255;

struct alignas(16) Piece {
  uint64_t room;  // usable bytes
  uint32_t size_class;
  uint32_t pad;
};
static_assert(sizeof(Piece) == 16);

struct FreePiece {
  FreePiece* next;
};

struct Lists {
  FreePiece* free[kLargest + 1] = {};
  uint64_t system = 0;
  size_t live = 0;
};
// Trivially destructible on purpose: sessions of static duration may outlive it.
thread_local Lists lists;

uint32_t classOf(size_t size) {
  const size_t whole = size + sizeof(Piece);
  if (whole > (size_t{1} << kLargest)) return kNoClass;
  const auto bits = static_cast<uint32_t>(std::bit_width(whole - 1));
  return bits < kSmallest ? kSmallest : bits;
}

Piece* pieceOf(void* at) { return static_cast<Piece*>(at) - 1; }

}  // namespace

void* Memory::alloc(size_t size) {
  const uint32_t size_class = classOf(size);
  if (size_class != kNoClass && lists.free[size_class] != nullptr) {
    FreePiece* piece = lists.free[size_class];
    OUTRIDER_H2_UNPOISON(piece, pieceOf(piece)->room);
    lists.free[size_class] = piece->next;
    ++lists.live;
    return piece;
  }
  const size_t whole = size_class == kNoClass ? size + sizeof(Piece) : size_t{1} << size_class;
  auto* piece = static_cast<Piece*>(std::malloc(whole));
  if (piece == nullptr) return nullptr;
  ++lists.system;
  ++lists.live;
  piece->room = whole - sizeof(Piece);
  piece->size_class = size_class;
  return piece + 1;
}

void* Memory::allocZeroed(size_t count, size_t size) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
  void* at = alloc(bytes);
  if (at != nullptr) std::memset(at, 0, bytes);
  return at;
}

void* Memory::resize(void* from, size_t size) {
  if (from == nullptr) return alloc(size);
  Piece* piece = pieceOf(from);
  if (size <= piece->room) return from;
  void* to = alloc(size);
  if (to == nullptr) return nullptr;
  std::memcpy(to, from, piece->room);
  free(from);
  return to;
}

void Memory::free(void* at) {
  if (at == nullptr) return;
  Piece* piece = pieceOf(at);
  --lists.live;
  if (piece->size_class == kNoClass) {
    std::free(piece);
    return;
  }
  auto* free_piece = static_cast<FreePiece*>(at);
#ifndef NDEBUG
  std::memset(at, 0xDD, piece->room);
#endif
  free_piece->next = lists.free[piece->size_class];
  lists.free[piece->size_class] = free_piece;
  // All but the link, so that a leak checker can follow the list.
  OUTRIDER_H2_POISON(static_cast<char*>(at) + sizeof(FreePiece), piece->room - sizeof(FreePiece));
}

uint64_t Memory::systemAllocations() { return lists.system; }
size_t Memory::live() { return lists.live; }

void Memory::trimThisThread() {
  for (auto& head : lists.free) {
    while (head != nullptr) {
      FreePiece* piece = head;
      OUTRIDER_H2_UNPOISON(piece, pieceOf(piece)->room);
      head = piece->next;
      std::free(pieceOf(piece));
    }
  }
}

}  // namespace outrider::http::h2
