// Broken invariants end the process with context; faults of peers and networks never come through here.
// Thread: any. Cost: OUTRIDER_CHECK is always on; OUTRIDER_DCHECK only without NDEBUG.
#pragma once

namespace outrider::base {
[[noreturn]] void checkFailed(const char* file, int line, const char* what);
}  // namespace outrider::base

#define OUTRIDER_CHECK(cond)                                                                    \
  do {                                                                                          \
    if (__builtin_expect(!(cond), 0)) ::outrider::base::checkFailed(__FILE__, __LINE__, #cond); \
  } while (0)

#ifdef NDEBUG
#define OUTRIDER_DCHECK(cond) \
  do {                        \
  } while (0 && (cond))
#else
#define OUTRIDER_DCHECK(cond) OUTRIDER_CHECK(cond)
#endif

#define OUTRIDER_UNREACHABLE() ::outrider::base::checkFailed(__FILE__, __LINE__, "unreachable")
