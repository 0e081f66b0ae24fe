#include "source/server/concurrency.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"

namespace outrider::server {
namespace {

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

void lower(std::optional<double>& quota, double found) {
  if (found > 0 && (!quota || found < *quota)) quota = found;
}

// v2: "max 100000" or "150000 100000".
void readV2(const std::string& folder, std::optional<double>& quota) {
  std::istringstream text(slurp(folder + "/cpu.max"));
  std::string most;
  double period = 0;
  if (!(text >> most >> period) || most == "max" || period <= 0) return;
  const double used = std::atof(most.c_str());
  lower(quota, used / period);
}

void readV1(const std::string& folder, std::optional<double>& quota) {
  const double used = std::atof(slurp(folder + "/cpu.cfs_quota_us").c_str());
  const double period = std::atof(slurp(folder + "/cpu.cfs_period_us").c_str());
  if (used > 0 && period > 0) lower(quota, used / period);
}

// A group and all above it; limits of every level hold.
template <class Read>
void eachLevel(const std::string& mount, std::string group, Read read) {
  while (true) {
    read(mount + (group == "/" ? "" : group));
    if (group.empty() || group == "/") return;
    group.resize(group.rfind('/'));
  }
}

}  // namespace

CpuLimits readCpuLimits(const std::string& root) {
  CpuLimits out;
  const long cores = ::sysconf(_SC_NPROCESSORS_ONLN);
  out.cores = cores > 0 ? static_cast<uint32_t>(cores) : 1;
  out.affinity = out.cores;
  std::vector<cpu_set_t> mask(16);  // 16 Ki CPUs
  if (::sched_getaffinity(0, mask.size() * sizeof(cpu_set_t), mask.data()) == 0) {
    const int count = CPU_COUNT_S(mask.size() * sizeof(cpu_set_t), mask.data());
    if (count > 0) out.affinity = static_cast<uint32_t>(count);
  }
  std::istringstream groups(slurp(root + "/proc/self/cgroup"));
  std::string line;
  while (std::getline(groups, line)) {  // hierarchy:controllers:/group
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      eachLevel(root + "/sys/fs/cgroup", group, [&](const std::string& at) { readV2(at, out.quota); });
    } else if (controllers.find(",cpu,") != std::string::npos) {
      for (const char* mount : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
        eachLevel(root + mount, group, [&](const std::string& at) { readV1(at, out.quota); });
      }
    }
  }
  return out;
}

Concurrency chooseConcurrency(std::optional<uint32_t> asked, const CpuLimits& limits) {
  if (asked) return {std::max(1U, *asked), absl::StrCat(std::max(1U, *asked), " workers: --concurrency")};
  Concurrency out{limits.cores, absl::StrCat("the machine's ", limits.cores, " cores")};
  if (limits.affinity < out.workers)
    out = {limits.affinity, absl::StrCat("the CPU mask of ", limits.affinity, " of ", limits.cores, " cores")};
  if (limits.quota) {
    const auto most = static_cast<uint32_t>(std::max(1.0, std::ceil(std::min(*limits.quota, 1e6))));
    if (most < out.workers) out = {most, absl::StrCat("the control group's quota of ", *limits.quota, " CPUs")};
  }
  out.workers = std::max(1U, out.workers);
  out.why = absl::StrCat(out.workers, out.workers == 1 ? " worker: " : " workers: ", out.why);
  return out;
}

}  // namespace outrider::server
