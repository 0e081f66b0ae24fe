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

// Classes: every 16 bytes to 256, then sixteen to each doubling, to 32 KiB (a session's frame buffer is the largest piece that
// comes back often; with powers of two its 16,410 bytes took 32 KiB, and a session 48 KiB).
constexpr uint32_t kClasses = 128;
constexpr size_t kLargest = size_t{32} << 10;
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
  FreePiece* free[kClasses] = {};
  uint64_t system = 0;
  size_t live = 0;
  size_t live_bytes = 0;
};
// Trivially destructible on purpose: sessions of static duration may outlive it.
thread_local Lists lists;

// Of a piece with its head: never the first class, for a free piece holds a link.
constexpr uint32_t classOf(size_t whole) {
  if (whole > kLargest) return kNoClass;
  if (whole <= 32) return 1;
  if (whole <= 256) return static_cast<uint32_t>((whole - 1) / 16);
  const auto floor = static_cast<uint32_t>(std::bit_width(whole - 1)) - 1;  // 8 to 14
  return (floor - 8) * 16 + static_cast<uint32_t>((whole - 1) >> (floor - 4));
}
constexpr size_t sizeOf(uint32_t size_class) {
  if (size_class < 32) return (size_class + 1) * 16;
  return size_t{size_class % 16 + 17} << (size_class / 16 + 3);
}
constexpr bool classesHold() {
  for (uint32_t each = 1; each < kClasses; ++each) {
    if (classOf(sizeOf(each)) != each || classOf(sizeOf(each - 1) + 1) != each || sizeOf(each) % 16 != 0) return false;
  }
  return sizeOf(kClasses - 1) == kLargest;
}
static_assert(classesHold());

Piece* pieceOf(void* at) { return static_cast<Piece*>(at) - 1; }

}  // namespace

void* Memory::alloc(size_t size) {
  const uint32_t size_class = classOf(size + sizeof(Piece));
  if (size_class != kNoClass && lists.free[size_class] != nullptr) {
    FreePiece* piece = lists.free[size_class];
    OUTRIDER_H2_UNPOISON(piece, pieceOf(piece)->room);
    lists.free[size_class] = piece->next;
    ++lists.live;
    lists.live_bytes += pieceOf(piece)->room + sizeof(Piece);
    return piece;
  }
  const size_t whole = size_class == kNoClass ? size + sizeof(Piece) : sizeOf(size_class);
  auto* piece = static_cast<Piece*>(std::malloc(whole));
  if (piece == nullptr) return nullptr;
  ++lists.system;
  ++lists.live;
  lists.live_bytes += whole;
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
  lists.live_bytes -= piece->room + sizeof(Piece);
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
size_t Memory::liveBytes() { return lists.live_bytes; }

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
