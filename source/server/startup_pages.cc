#include "source/server/startup_pages.h"

#include <cstdint>

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

namespace outrider::server {
namespace {

// The program's own segments that nobody may write to: their pages are the file's.
int releaseOfProgram(dl_phdr_info* object, size_t, void*) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const uintptr_t from = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
    const uintptr_t to = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
    ::madvise(reinterpret_cast<void*>(from), (to - from) & ~(page - 1), MADV_DONTNEED);
  }
  return 1;  // the first object is the program; its libraries are others' too
}

}  // namespace

void releaseStartupPages() {
  ::dl_iterate_phdr(releaseOfProgram, nullptr);
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

}  // namespace outrider::server
