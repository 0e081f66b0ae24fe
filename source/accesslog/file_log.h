// Lines of text or JSON into a file. Thread: log() on any worker; allocates nothing in steady state. Lifetime: config value.
// Source: access_loggers.file.v3, access_loggers.stream.v3.
#pragma once

#include <memory>
#include <optional>

#include "source/accesslog/access_log.h"
#include "source/accesslog/log_file.h"
#include "source/accesslog/log_filter.h"
#include "source/format/line.h"

namespace outrider::accesslog {

using LineFormat = format::Line;

class FileLog final : public AccessLog {
 public:
  FileLog(std::shared_ptr<LogFile> file, LineFormat line, std::optional<LogFilter> filter)
      : file_(std::move(file)), line_(std::move(line)), filter_(std::move(filter)) {}
  void log(const Entry& entry) const override;
  const LogFile& file() const { return *file_; }

 private:
  const std::shared_ptr<LogFile> file_;
  const LineFormat line_;
  const std::optional<LogFilter> filter_;
};

}  // namespace outrider::accesslog
