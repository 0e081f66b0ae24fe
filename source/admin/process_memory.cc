#include "source/admin/process_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

namespace outrider::admin {

ProcessMemory ProcessMemory::of(std::string_view statm, uint64_t page_size) {
  uint64_t pages[6] = {};  // size, resident, shared, text, library, data
  const char* at = statm.data();
  const char* const end = at + statm.size();
  for (uint64_t& each : pages) {
    while (at < end && *at == ' ') ++at;
    const auto [next, error] = std::from_chars(at, end, each);
    if (error != std::errc()) return {};
    at = next;
  }
  const uint64_t resident = pages[1], shared = pages[2];
  return {resident * page_size, resident > shared ? (resident - shared) * page_size : 0, pages[5] * page_size};
}

ProcessMemory ProcessMemory::now() {
  const int fd = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[256];
  const ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  if (n <= 0) return {};
  return of({text, static_cast<size_t>(n)}, static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)));
}

}  // namespace outrider::admin
