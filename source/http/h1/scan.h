// Byte kernels of the head parser: each has a scalar form and SSE4.2 and AVX2 twins, one set chosen at start.
// Thread: any; constant after static initialisation. Kernels that take no end read up to kPadding bytes past the byte they
// stop at, so their input has that much readable (and for Fields writable) room behind it and ends with a line end.
#pragma once

#include <cstddef>
#include <cstdint>

namespace outrider::http::h1 {

inline constexpr size_t kPadding = 64;

// Position in a head that comes in pieces. A fresh state stands inside the first line.
struct ScanState {
  bool last_lf = false;    // the last byte was LF
  bool last_cr = false;    // the last byte was CR
  bool before_lf = false;  // the byte before the last was LF
};

struct ScanResult {
  enum class Kind : uint8_t { kMore, kEnd, kBareCr };
  Kind kind;
  size_t size;  // kEnd: bytes up to and with the blank line's LF
};

// One line "name: value" as found.
struct RawField {
  char* name;
  char* value;
  uint32_t value_size;
  uint16_t name_size;
  bool underscore;
};

enum class FieldsStatus : uint8_t { kOk, kBadName, kBadValue, kBareLf, kFold, kLeadingSpace, kTooMany };

struct FieldsResult {
  FieldsStatus status;
  uint32_t count;
  bool saw_bare_lf;
  bool saw_fold;
};

struct Kernels {
  const char* name;
  // Looks for a blank line; goes on from `state`, so no byte is looked at twice. CR that no LF follows is kBareCr.
  ScanResult (*scan)(const char* at, size_t size, ScanState& state);
  // Splits field lines from `at` up to `end` (just behind the blank line's LF). Lower-cases names and blanks out folds in place.
  FieldsResult (*fields)(char* at, char* end, RawField* out, uint32_t most, bool allow_bare_lf, bool allow_fold);
  // Length of the run of bytes 0x21..0x7e.
  size_t (*uri)(const char* at);
  // Length of the run of bytes that a field value may hold: HTAB, 0x20..0x7e, 0x80..0xff.
  size_t (*value)(const char* at);
  // How many CR, LF and NUL bytes.
  size_t (*controls)(const char* at, size_t size);
};

extern const Kernels kScalarKernels;
const Kernels* sse42Kernels();  // null where the processor has none
const Kernels* avx2Kernels();
const Kernels& kernels();  // the best here

bool isToken(unsigned char c);  // RFC 9110 5.6.2

}  // namespace outrider::http::h1
