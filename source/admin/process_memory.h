// What this process takes of the machine's memory, by the kernel's counters. The allocator's own figures (mallinfo2) cost a walk over
// every free piece of the heap under its lock: ten milliseconds where ten thousand clusters came and went.
// Thread: any. Units: bytes. Source: proc(5), /proc/self/statm.
#pragma once

#include <cstdint>
#include <string_view>

namespace outrider::admin {

struct ProcessMemory {
  uint64_t resident = 0;  // pages in memory
  uint64_t own = 0;       // of these, without those of files: heap and stacks
  uint64_t reserved = 0;  // writable address space of its own, used or not

  static ProcessMemory now();  // all 0 if the kernel does not tell
  static ProcessMemory of(std::string_view statm, uint64_t page_size);
};

}  // namespace outrider::admin
