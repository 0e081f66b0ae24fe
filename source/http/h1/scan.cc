#include "source/http/h1/scan.h"

#include <array>

#if defined(__x86_64__)
#include <immintrin.h>
#define OUTRIDER_X86 1
#else
#define OUTRIDER_X86 0
#endif

namespace outrider::http::h1 {
namespace {

constexpr bool tokenByte(unsigned c) {
  if (c >= '0' && c <= '9') return true;
  if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && c < 0x80) return true;
  switch (c) {
    case '!':
    case '#':
    case '$':
    case '%':
    case '&':
    case '\'':
    case '*':
    case '+':
    case '-':
    case '.':
    case '^':
    case '_':
    case '`':
    case '|':
    case '~': return true;
    default: return false;
  }
}
constexpr std::array<bool, 256> kTokens = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 0; c < 256; ++c) table[c] = tokenByte(c);
  return table;
}();
constexpr bool valueByte(unsigned char c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; }

}  // namespace

bool isToken(unsigned char c) { return kTokens[c]; }

namespace scalar {
namespace {
constexpr size_t kWidth = 1;

inline void lineMasks(const char* at, uint64_t& lf, uint64_t& cr) {
  lf = *at == '\n';
  cr = *at == '\r';
}

size_t nameRun(const char* at, bool& underscore) {
  size_t n = 0;
  for (; kTokens[static_cast<unsigned char>(at[n])]; ++n) underscore |= at[n] == '_';
  return n;
}
void lower(char* at, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (at[i] >= 'A' && at[i] <= 'Z') at[i] = static_cast<char>(at[i] | 0x20);
  }
}
size_t value(const char* at) {
  size_t n = 0;
  while (valueByte(static_cast<unsigned char>(at[n]))) ++n;
  return n;
}
size_t uri(const char* at) {
  size_t n = 0;
  while (at[n] > 0x20 && at[n] < 0x7f) ++n;
  return n;
}
size_t controls(const char* at, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < size; ++i) n += at[i] == '\r' || at[i] == '\n' || at[i] == '\0';
  return n;
}
#define OUTRIDER_KERNEL
#include "source/http/h1/scan_kernels.inc"
#undef OUTRIDER_KERNEL
}  // namespace
}  // namespace scalar

const Kernels kScalarKernels{"scalar", scalar::scan, scalar::fields, scalar::uri, scalar::value, scalar::controls};

#if OUTRIDER_X86
namespace {

// Two copies, so that a 32-byte load fills both lanes.
constexpr std::array<char, 32> kTokenLow = [] {
  std::array<char, 32> table{};
  for (unsigned low = 0; low < 16; ++low) {
    unsigned bits = 0;
    for (unsigned high = 0; high < 8; ++high) bits |= static_cast<unsigned>(tokenByte(high * 16 + low)) << high;
    table[low] = table[low + 16] = static_cast<char>(bits);
  }
  return table;
}();
constexpr std::array<char, 32> kTokenHigh = [] {
  std::array<char, 32> table{};
  for (unsigned high = 0; high < 8; ++high) table[high] = table[high + 16] = static_cast<char>(1u << high);
  return table;
}();
constexpr char kIota[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                            16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

}  // namespace

namespace sse42 {
namespace {
#define OUTRIDER_KERNEL __attribute__((target("sse4.2,popcnt")))
using V = __m128i;
constexpr size_t kBytes = 16;
constexpr uint32_t kAll = 0xffff;
OUTRIDER_KERNEL inline V load(const char* at) { return _mm_loadu_si128(reinterpret_cast<const V*>(at)); }
OUTRIDER_KERNEL inline void store(char* at, V v) { _mm_storeu_si128(reinterpret_cast<V*>(at), v); }
OUTRIDER_KERNEL inline V set1(char c) { return _mm_set1_epi8(c); }
OUTRIDER_KERNEL inline V table(const std::array<char, 32>& from) { return load(from.data()); }
OUTRIDER_KERNEL inline V eq(V a, V b) { return _mm_cmpeq_epi8(a, b); }
OUTRIDER_KERNEL inline V gt(V a, V b) { return _mm_cmpgt_epi8(a, b); }
OUTRIDER_KERNEL inline V both(V a, V b) { return _mm_and_si128(a, b); }
OUTRIDER_KERNEL inline V either(V a, V b) { return _mm_or_si128(a, b); }
OUTRIDER_KERNEL inline V without(V a, V b) { return _mm_andnot_si128(b, a); }
OUTRIDER_KERNEL inline V atMost(V a, V b) { return _mm_min_epu8(a, b); }
OUTRIDER_KERNEL inline V shuffle(V from, V index) { return _mm_shuffle_epi8(from, index); }
OUTRIDER_KERNEL inline V highNibble(V v) { return both(_mm_srli_epi16(v, 4), set1(0x0f)); }
OUTRIDER_KERNEL inline uint32_t mask(V v) { return static_cast<uint32_t>(_mm_movemask_epi8(v)); }
#include "source/http/h1/scan_simd.inc"
#undef OUTRIDER_KERNEL
constexpr Kernels kKernels{"sse4.2", scan, fields, uri, value, controls};
}  // namespace
}  // namespace sse42

namespace avx2 {
namespace {
#define OUTRIDER_KERNEL __attribute__((target("avx2,popcnt,bmi")))
using V = __m256i;
constexpr size_t kBytes = 32;
constexpr uint32_t kAll = 0xffffffff;
OUTRIDER_KERNEL inline V load(const char* at) { return _mm256_loadu_si256(reinterpret_cast<const V*>(at)); }
OUTRIDER_KERNEL inline void store(char* at, V v) { _mm256_storeu_si256(reinterpret_cast<V*>(at), v); }
OUTRIDER_KERNEL inline V set1(char c) { return _mm256_set1_epi8(c); }
OUTRIDER_KERNEL inline V table(const std::array<char, 32>& from) { return load(from.data()); }
OUTRIDER_KERNEL inline V eq(V a, V b) { return _mm256_cmpeq_epi8(a, b); }
OUTRIDER_KERNEL inline V gt(V a, V b) { return _mm256_cmpgt_epi8(a, b); }
OUTRIDER_KERNEL inline V both(V a, V b) { return _mm256_and_si256(a, b); }
OUTRIDER_KERNEL inline V either(V a, V b) { return _mm256_or_si256(a, b); }
OUTRIDER_KERNEL inline V without(V a, V b) { return _mm256_andnot_si256(b, a); }
OUTRIDER_KERNEL inline V atMost(V a, V b) { return _mm256_min_epu8(a, b); }
OUTRIDER_KERNEL inline V shuffle(V from, V index) { return _mm256_shuffle_epi8(from, index); }
OUTRIDER_KERNEL inline V highNibble(V v) { return both(_mm256_srli_epi16(v, 4), set1(0x0f)); }
OUTRIDER_KERNEL inline uint32_t mask(V v) { return static_cast<uint32_t>(_mm256_movemask_epi8(v)); }
#include "source/http/h1/scan_simd.inc"
#undef OUTRIDER_KERNEL
constexpr Kernels kKernels{"avx2", scan, fields, uri, value, controls};
}  // namespace
}  // namespace avx2

const Kernels* sse42Kernels() { return __builtin_cpu_supports("sse4.2") ? &sse42::kKernels : nullptr; }
const Kernels* avx2Kernels() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") ? &avx2::kKernels : nullptr; }

#else

const Kernels* sse42Kernels() { return nullptr; }
const Kernels* avx2Kernels() { return nullptr; }

#endif

namespace {

const Kernels* best() {
  if (avx2Kernels() != nullptr) return avx2Kernels();
  if (sse42Kernels() != nullptr) return sse42Kernels();
  return &kScalarKernels;
}
const Kernels* const kBest = best();

}  // namespace

const Kernels& kernels() { return *kBest; }

}  // namespace outrider::http::h1
