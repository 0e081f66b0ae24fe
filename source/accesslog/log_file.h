// Lines of many workers into files, written by threads of their own: no worker ever waits for a disk or a reader.
//
// A worker prints into its own 64 KiB chunk of a file, which it takes and puts back with one atomic exchange each. A full chunk goes
// onto the file's stack; the file's thread writes what is there, and at each interval steals the chunks that are not full. What waits
// for one file is bounded: a line that finds no room is dropped and counted. A file that cannot be written costs its own lines only.
// Threads: append() on any worker; open(), reopen() and destruction on main or the config thread; writing on the file's thread (one a
// path: a stalled pipe or network disk must not hold up the others).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "absl/status/statusor.h"
#include "source/accesslog/stats.h"
#include "source/base/clock.h"

namespace outrider::accesslog {

struct LogFileOptions {
  base::Nanos flush_interval = 10 * base::kSecond;  // --file-flush-interval-msec
  size_t most_bytes = 8 << 20;                      // that wait for one file
};

class LogFile final {
 public:
  ~LogFile();  // writes what is left; waits a second for a stalled file, then leaves it behind
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  void append(std::string_view line);
  void flush();   // soon, not now
  void reopen();  // by its name; what was appended before goes to the old file
  const std::string& path() const;

 private:
  friend class LogFiles;
  struct State;
  explicit LogFile(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;  // shared with the thread, which may outlive this when it is stalled
};

// One file object a path, shared by all who name it. "/dev/stdout" and "/dev/stderr" are the process's own streams.
class LogFiles final {
 public:
  LogFiles(stats::Store& stats, const LogFileOptions& options);
  absl::StatusOr<std::shared_ptr<LogFile>> open(const std::string& path);
  void reopenAll();  // SIGUSR1, POST /reopen_logs
  void flushAll();

 private:
  template <class Fn>
  void forEach(Fn&& fn);
  const LogFileOptions options_;
  const FileStats stats_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<LogFile>> files_;
};

}  // namespace outrider::accesslog
