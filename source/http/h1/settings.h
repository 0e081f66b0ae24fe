// What an HTTP/1 codec may be told, and what it counts.
// Settings are a value: compared, shared by many codecs, constant while a codec lives. Counters belong to one worker.
// Sources: RFC 9112; Envoy's Http1ProtocolOptions, HttpConnectionManager and HttpProtocolOptions. Units: bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace outrider::http::h1 {

// What is refused although Envoy takes it. Each has a switch (`outrider.http1.allow_<name>`) and a counter
// (`http1.rejected_lenient.<name>`), so that an operator sees what was refused and can let it pass.
#define OUTRIDER_H1_LENIENT(X)                                                           \
  X(bare_lf, kBareLf)                      /* LF alone ends a line of a head */          \
  X(obs_fold, kObsFold)                    /* a field continues on the next line */      \
  X(request_line_space, kRequestLineSpace) /* tabs, several or trailing spaces */        \
  X(underscore_twin, kUnderscoreTwin)      /* transfer_encoding, x_forwarded_for, ... */ \
  X(duplicate_host, kDuplicateHost)        /* values are joined with a comma */          \
  X(empty_host, kEmptyHost)                                                              \
  X(bad_port, kBadPort)                   /* a port that is no number up to 65535 */     \
  X(userinfo, kUserinfo)                  /* cut from a target, kept in Host */          \
  X(nominated_framing, kNominatedFraming) /* Connection names Content-Length, Host */    \
  X(te_on_http10, kTeOnHttp10)            /* Transfer-Encoding on HTTP/1.0 */            \
  X(chunk_extensions, kChunkExtensions)   /* extensions of any size */                   \
  X(chunk_bare_lf, kChunkBareLf)          /* LF alone after the data of a chunk */       \
  X(chunk_size_space, kChunkSizeSpace)    /* blanks after the size of a chunk */         \
  X(chunk_size_zeros, kChunkSizeZeros)    /* more than 16 digits, led by zeros */        \
  X(trailer_names, kTrailerNames)         /* Content-Length, Host, ... as trailers */

enum class LenientKind : uint8_t {
#define OUTRIDER_H1_KIND(name, kind) kind,
  OUTRIDER_H1_LENIENT(OUTRIDER_H1_KIND)
#undef OUTRIDER_H1_KIND
      kCount
};
inline constexpr size_t kLenientKinds = static_cast<size_t>(LenientKind::kCount);
inline constexpr std::string_view kLenientNames[] = {
#define OUTRIDER_H1_NAME(name, kind) #name,
    OUTRIDER_H1_LENIENT(OUTRIDER_H1_NAME)
#undef OUTRIDER_H1_NAME
};

struct Lenient {
#define OUTRIDER_H1_SWITCH(name, kind) bool name = false;
  OUTRIDER_H1_LENIENT(OUTRIDER_H1_SWITCH)
#undef OUTRIDER_H1_SWITCH
  bool operator==(const Lenient&) const = default;

  static Lenient all() {
    Lenient lenient;
#define OUTRIDER_H1_ALLOW(name, kind) lenient.name = true;
    OUTRIDER_H1_LENIENT(OUTRIDER_H1_ALLOW)
#undef OUTRIDER_H1_ALLOW
    return lenient;
  }
};

enum class Underscores : uint8_t { kAllow, kReject, kDrop };

struct Settings {
  uint32_t max_head_bytes = 60 * 1024;  // of a head with its first line, and of a trailer section
  uint32_t max_headers = 100;
  uint32_t buffer_limit = 64 * 1024;  // bytes waiting in `out` beyond which writers are asked to pause
  uint32_t drain_limit = 64 * 1024;   // request bytes read away after an early answer
  uint32_t max_informational = 64;    // 1xx heads before one final response
  bool accept_http_10 = false;
  std::string default_host_for_http_10;
  bool allow_absolute_url = true;
  bool allow_custom_methods = false;
  bool allow_chunked_length = false;  // Transfer-Encoding wins over Content-Length instead of an error
  bool enable_trailers = false;
  bool answer_half_closed = true;  // a complete request is answered after the client's FIN
  bool proper_case = false;           // names go out capitalised
  bool preserve_case = false;         // names that come in go out again as they are spelled, whatever proper_case says
  bool preserve_case_proper = false;  // and those that are added in between capitalised
  Underscores underscores = Underscores::kAllow;
  Lenient lenient;
  bool operator==(const Settings&) const = default;

  // Responses: old servers end lines with LF and fold; both are normalised on the way.
  static Settings upstream() {
    Settings settings;
    settings.lenient.bare_lf = true;
    settings.lenient.obs_fold = true;
    return settings;
  }
};

struct Counters {
  uint64_t dropped_headers_with_underscores = 0;
  uint64_t requests_rejected_with_underscores_in_headers = 0;
  uint64_t response_flood = 0;  // reading stopped because answers wait to be written
  uint64_t rejected_lenient[kLenientKinds] = {};

  bool any() const {
    uint64_t all = dropped_headers_with_underscores | requests_rejected_with_underscores_in_headers | response_flood;
    for (const uint64_t each : rejected_lenient) all |= each;
    return all != 0;
  }
  void refused(LenientKind kind) { ++rejected_lenient[static_cast<size_t>(kind)]; }
};

}  // namespace outrider::http::h1
