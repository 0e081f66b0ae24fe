#include "source/http/h1/scan.h"

#include <array>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace outrider::http::h1 {
namespace {

constexpr bool tokenByte(unsigned c) {
  if (c >= '0' && c <= '9') return true;
  if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z' && c < 0x80) return true;
  switch (c) {
    case '!': case '#': case '$': case '%': case '&': case '\'': case '*': case '+':
    case '-': case '.': case '^': case '_': case '`': case '|': case '~':
      return true;
    default:
      return false;
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

size_t lowerName(char* at, bool& underscore) {
  size_t n = 0;
  for (; kTokens[static_cast<unsigned char>(at[n])]; ++n) {
    if (at[n] == '_') underscore = true;
    if (at[n] >= 'A' && at[n] <= 'Z') at[n] = static_cast<char>(at[n] | 0x20);
  }
  return n;
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
const Kernels* sse42Kernels() { return nullptr; }
const Kernels* avx2Kernels() { return nullptr; }
const Kernels& kernels() { return kScalarKernels; }

}  // namespace outrider::http::h1
