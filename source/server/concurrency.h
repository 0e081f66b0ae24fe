// How many workers this machine, container or CPU set allows.
// Thread: main. Reads the kernel's files once; nothing is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace outrider::server {

struct CpuLimits {
  uint32_t cores = 1;           // online
  uint32_t affinity = 1;        // in this process's CPU mask
  std::optional<double> quota;  // CPUs the cgroup (v2 or v1, any level above) lets us use; none: unlimited
};

// `root` is put before /proc and /sys, for tests.
CpuLimits readCpuLimits(const std::string& root = "");

struct Concurrency {
  uint32_t workers = 1;
  std::string why;  // one line for the log
};
// min(affinity, ceil(quota), cores), unless asked for otherwise (0 counts as 1, as in Envoy).
Concurrency chooseConcurrency(std::optional<uint32_t> asked, const CpuLimits& limits);

}  // namespace outrider::server
