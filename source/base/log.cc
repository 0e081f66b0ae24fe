#include "source/base/log.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace outrider::base {
namespace {

constexpr std::string_view kNames[] = {"admin", "access_log", "client",  "config",         "connection", "dns",      "file",     "filter",
                                       "grpc",  "http",       "http2",   "health_checker", "init",       "listener", "main",     "overload",
                                       "pool",  "router",     "runtime", "secret",         "stats",      "tls",      "upstream", "xds"};
static_assert(sizeof(kNames) / sizeof(kNames[0]) == static_cast<size_t>(LogId::kCount));
constexpr std::string_view kLevels[] = {"trace", "debug", "info", "warning", "error", "critical", "off"};

struct Target {
  std::mutex mutex;  // guards what an operator may change; a line takes it once
  std::string format = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v";
  std::string path;
  int fd = STDERR_FILENO;
};

Target& target() {
  static Target* const instance = new Target();
  return *instance;
}

void escapeTo(std::string& out, std::string_view text, bool json) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (json && (c == '"' || c == '\\')) {
      out += '\\';
      out += c;
    } else if (json && static_cast<unsigned char>(c) < 0x20) {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\u%04x", c);
      out += hex;
    } else {
      out += c;
    }
  }
}

std::string_view shortFile(std::string_view file) {
  const size_t slash = file.rfind('/');
  return slash == std::string_view::npos ? file : file.substr(slash + 1);
}

void appendNumber(std::string& out, int value, int width) {
  char text[16];
  out.append(text, static_cast<size_t>(std::snprintf(text, sizeof text, "%0*d", width, value)));
}

void appendClock(std::string& out, const tm& when) {
  appendNumber(out, when.tm_hour, 2);
  out += ':';
  appendNumber(out, when.tm_min, 2);
  out += ':';
  appendNumber(out, when.tm_sec, 2);
}

std::string render(std::string_view format, LogId id, LogLevel level, const char* file, int line, std::string_view message) {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm when;
  ::localtime_r(&now.tv_sec, &when);
  std::string out;
  out.reserve(message.size() + 96);
  char text[32];
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    switch (format[++i]) {
      case 'Y': appendNumber(out, when.tm_year + 1900, 4); break;
      case 'm': appendNumber(out, when.tm_mon + 1, 2); break;
      case 'd': appendNumber(out, when.tm_mday, 2); break;
      case 'T': appendClock(out, when); break;
      case 'H': appendNumber(out, when.tm_hour, 2); break;
      case 'M': appendNumber(out, when.tm_min, 2); break;
      case 'S': appendNumber(out, when.tm_sec, 2); break;
      case 'z': out.append(text, std::strftime(text, sizeof text, "%z", &when)); break;
      case 'e': out.append(text, std::snprintf(text, sizeof text, "%03ld", now.tv_nsec / 1000000)); break;
      case 'f': out.append(text, std::snprintf(text, sizeof text, "%06ld", now.tv_nsec / 1000)); break;
      case 'F': out.append(text, std::snprintf(text, sizeof text, "%09ld", now.tv_nsec)); break;
      case 'l': out += levelName(level); break;
      case 'L': out += static_cast<char>(levelName(level)[0] - 'a' + 'A'); break;
      case 'n': out += logName(id); break;
      case 't': out.append(text, std::snprintf(text, sizeof text, "%ld", ::syscall(SYS_gettid))); break;
      case 'P': out.append(text, std::snprintf(text, sizeof text, "%d", ::getpid())); break;
      case 'v': out += message; break;
      case 'j': escapeTo(out, message, true); break;
      case '_': escapeTo(out, message, false); break;
      case 'g': out += file; break;
      case 's': out += shortFile(file); break;
      case '#': out.append(text, std::snprintf(text, sizeof text, "%d", line)); break;
      case '%': out += '%'; break;
      default: out += '%'; out += format[i];
    }
  }
  out += '\n';
  return out;
}

}  // namespace

std::atomic<LogLevel> Log::levels_[static_cast<size_t>(LogId::kCount)] = {};

namespace {
// Levels start at info; zero initialisation would mean trace.
const bool kLevelsSet = [] {
  Log::setAll(LogLevel::kInfo);
  return true;
}();
}  // namespace

std::string_view logName(LogId id) { return kNames[static_cast<size_t>(id)]; }
std::string_view levelName(LogLevel level) { return kLevels[static_cast<size_t>(level)]; }

bool parseLevel(std::string_view name, LogLevel& out) {
  if (name == "warn") name = "warning";
  for (size_t i = 0; i < std::size(kLevels); ++i) {
    if (name == kLevels[i]) {
      out = static_cast<LogLevel>(i);
      return true;
    }
  }
  return false;
}

void Log::setLevel(LogId id, LogLevel level) { levels_[static_cast<size_t>(id)].store(level, std::memory_order_relaxed); }

void Log::setAll(LogLevel level) {
  for (auto& each : levels_) each.store(level, std::memory_order_relaxed);
}

bool Log::setByName(std::string_view component, LogLevel level) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == component) {
      setLevel(static_cast<LogId>(i), level);
      return true;
    }
  }
  return false;
}

void Log::setFormat(std::string_view format) {
  const std::lock_guard lock(target().mutex);
  target().format = format;
}

bool Log::openFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  Target& to = target();
  const std::lock_guard lock(to.mutex);
  if (to.fd != STDERR_FILENO) ::close(to.fd);
  to.fd = fd;
  to.path = path;
  return true;
}

void Log::reopen() {
  std::string path;
  {
    const std::lock_guard lock(target().mutex);
    path = target().path;
  }
  if (!path.empty() && !openFile(path)) {
    OUTRIDER_LOG(kError, kFile, "%s: cannot be reopened: %s; the old file stays", path.c_str(), std::strerror(errno));
  }
}

void Log::write(LogId id, LogLevel level, const char* file, int line, const char* format, ...) {
  char fixed[1024];
  va_list args;
  va_start(args, format);
  va_list again;
  va_copy(again, args);
  const int size = std::vsnprintf(fixed, sizeof fixed, format, args);
  va_end(args);
  std::string large;
  std::string_view message(fixed, size < 0 ? 0 : static_cast<size_t>(size));
  if (size >= static_cast<int>(sizeof fixed)) {
    large.resize(static_cast<size_t>(size) + 1);
    std::vsnprintf(large.data(), large.size(), format, again);
    large.pop_back();
    message = large;
  }
  va_end(again);
  Target& to = target();
  const std::lock_guard lock(to.mutex);
  const std::string text = render(to.format, id, level, file, line, message);
  // A log that cannot be written must not take the process along.
  if (::write(to.fd, text.data(), text.size()) < 0) return;
}

}  // namespace outrider::base
