#include "source/base/hash64.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

namespace outrider::base {

uint64_t xxHash64(std::string_view bytes, uint64_t seed) { return XXH64(bytes.data(), bytes.size(), seed); }

uint64_t murmurHash2(std::string_view bytes) {
  constexpr uint64_t kMul = 0xc6a4a7935bd1e995u;
  constexpr uint64_t kSeed = 0xc70f6907u;
  uint64_t hash = kSeed ^ (bytes.size() * kMul);
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    word *= kMul;
    word ^= word >> 47;
    hash = (hash ^ (word * kMul)) * kMul;
  }
  if (left > 0) {
    uint64_t word = 0;
    std::memcpy(&word, at, left);
    hash = (hash ^ word) * kMul;
  }
  hash = (hash ^ (hash >> 47)) * kMul;
  return hash ^ (hash >> 47);
}

}  // namespace outrider::base
