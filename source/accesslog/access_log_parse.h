// config.accesslog.v3.AccessLog into an AccessLog. Thread: off the workers; opens files. Errors: each at its field path.
// Done: file, stdout, stderr, the gRPC service. Other kinds of logs are telemetry: reported as unsupported, and nothing is written.
#pragma once

#include <memory>
#include <string_view>

#include "source/accesslog/access_log.h"
#include "source/accesslog/file_log.h"
#include "source/accesslog/grpc_log.h"
#include "source/config/problems.h"

namespace envoy::config::accesslog::v3 {
class AccessLog;
class AccessLogFilter;
}  // namespace envoy::config::accesslog::v3
namespace envoy::config::core::v3 {
class SubstitutionFormatString;
}

namespace outrider::accesslog {

// Null after a problem, or for a kind that is only reported. Without `grpc` the gRPC service is such a kind.
std::shared_ptr<const AccessLog> parseAccessLog(const envoy::config::accesslog::v3::AccessLog& in, LogFiles& files,
                                                config::Problems& problems, std::shared_ptr<GrpcLogs> grpc = nullptr);
// Of the message's bytes.
std::shared_ptr<const AccessLog> parseAccessLog(std::string_view bytes, LogFiles& files, config::Problems& problems,
                                                std::shared_ptr<GrpcLogs> grpc = nullptr);

LogFilterSpec parseLogFilter(const envoy::config::accesslog::v3::AccessLogFilter& in, config::Problems& problems);
LineFormat parseLineFormat(const envoy::config::core::v3::SubstitutionFormatString& in, config::Problems& problems);

}  // namespace outrider::accesslog
