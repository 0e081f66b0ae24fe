// OpenSSL's allocations, with the record buffers of idle connections kept at hand: a connection gives back its 33 and 17 KiB
// when it has nothing to read or write (SSL_MODE_RELEASE_BUFFERS) and asks again with the next request, so each thread keeps
// a few of that size. They are ordinary blocks of the allocator: a thread may give back what another one took.
#pragma once

#include <cstdint>

namespace outrider::tls {

// Before anything else of OpenSSL's. False: something came first, and OpenSSL allocates as ever.
bool keepRecordBuffers();

// Of the calling thread, for budgets.
struct OpensslMemory {
  uint64_t asked = 0;      // malloc and realloc calls of OpenSSL's
  uint64_t allocated = 0;  // those that went on to the allocator
};
const OpensslMemory& opensslMemory();

}  // namespace outrider::tls
