// The application log: one line an event, level and component first, in Envoy's default shape.
// Thread: any; a line is one write(2). Levels can change at run time (/logging). Not for the data path's success side.
// Format: Envoy's `--log-format` flags (spdlog style: %Y %m %d %T %H %M %S %e %f %l %L %n %t %v %j %_ %P %g %s %# %%).
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace outrider::base {

enum class LogLevel : uint8_t { kTrace, kDebug, kInfo, kWarning, kError, kCritical, kOff };

// Names as Envoy's /logging prints them.
enum class LogId : uint8_t {
  kAdmin,
  kAccessLog,
  kClient,
  kConfig,
  kConnection,
  kDns,
  kFile,
  kFilter,
  kGrpc,
  kHttp,
  kHttp2,
  kHealth,
  kInit,
  kListener,
  kMain,
  kOverload,
  kPool,
  kRouter,
  kRuntime,
  kSecret,
  kStats,
  kTls,
  kUpstream,
  kXds,
  kCount
};

std::string_view logName(LogId id);
std::string_view levelName(LogLevel level);             // "trace" ... "off"
bool parseLevel(std::string_view name, LogLevel& out);  // accepts warn and warning

class Log {
 public:
  static bool on(LogId id, LogLevel level) { return level >= levels_[static_cast<size_t>(id)].load(std::memory_order_relaxed); }
  static LogLevel level(LogId id) { return levels_[static_cast<size_t>(id)].load(std::memory_order_relaxed); }
  static void setLevel(LogId id, LogLevel level);
  static void setAll(LogLevel level);
  static bool setByName(std::string_view component, LogLevel level);  // false: no such component

  static void setFormat(std::string_view format);
  static bool openFile(const std::string& path);  // false: errno says why; stderr stays
  static void reopen();                           // SIGUSR1
  static void write(LogId id, LogLevel level, const char* file, int line, const char* format, ...) __attribute__((format(printf, 5, 6)));

 private:
  static std::atomic<LogLevel> levels_[static_cast<size_t>(LogId::kCount)];
};

}  // namespace outrider::base

// OUTRIDER_LOG(kInfo, kMain, "listening on %s", text)
#define OUTRIDER_LOG(lvl, id, ...)                                                                                                 \
  do {                                                                                                                             \
    if (::outrider::base::Log::on(::outrider::base::LogId::id, ::outrider::base::LogLevel::lvl))                                   \
      ::outrider::base::Log::write(::outrider::base::LogId::id, ::outrider::base::LogLevel::lvl, __FILE__, __LINE__, __VA_ARGS__); \
  } while (0)
