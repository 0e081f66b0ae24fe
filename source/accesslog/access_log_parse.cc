#include "source/accesslog/access_log_parse.h"

#include <google/protobuf/struct.pb.h>

#include <algorithm>

#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "envoy/config/core/v3/substitution_format_string.pb.h"
#include "envoy/data/accesslog/v3/accesslog.pb.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb.h"
#include "envoy/extensions/access_loggers/stream/v3/stream.pb.h"
#include "source/accesslog/grpc_log_parse.h"
#include "source/base/absl_compat.h"
#include "source/config/any.h"
#include "source/config/checked_any.h"
#include "source/config/line_parse.h"
#include "source/config/match_parse.h"
#include "source/stream/response_flags.h"

// Deprecated fields still arrive from control planes, and must be honoured or refused like the others.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::accesslog {
namespace {

namespace pb = envoy::config::accesslog::v3;
namespace core = envoy::config::core::v3;
namespace file = envoy::extensions::access_loggers::file::v3;
namespace streams = envoy::extensions::access_loggers::stream::v3;
using config::Problems;

// ---- formats ----

using config::parseJsonLine;
using config::parseTextLine;

LineFormat defaultLine() {
  LineFormat out;
  out.text = *format::Format::compile(format::defaultAccessLogFormat());
  return out;
}

template <class M>
LineFormat formatOf(const M& in, Problems& problems) {
  if (!in.has_log_format()) return defaultLine();
  const auto at = problems.field("log_format");
  return parseLineFormat(in.log_format(), problems);
}

LineFormat fileFormat(const file::FileAccessLog& in, Problems& problems) {
  LineFormat out;
  switch (in.access_log_format_case()) {
    case file::FileAccessLog::kFormat:
      if (in.format().empty()) return defaultLine();
      parseTextLine("format", in.format(), out, problems);
      return out;
    case file::FileAccessLog::kJsonFormat: parseJsonLine("json_format", in.json_format(), out, problems); return out;
    case file::FileAccessLog::kTypedJsonFormat: parseJsonLine("typed_json_format", in.typed_json_format(), out, problems); return out;
    case file::FileAccessLog::kLogFormat: return formatOf(in, problems);
    case file::FileAccessLog::ACCESS_LOG_FORMAT_NOT_SET: break;
  }
  return defaultLine();
}

// ---- filters ----

class FilterParser {
 public:
  explicit FilterParser(Problems& problems) : problems_(problems) {}

  LogFilterSpec one(const pb::AccessLogFilter& in) {
    using Kind = LogFilterSpec::Kind;
    LogFilterSpec out;
    switch (in.filter_specifier_case()) {
      case pb::AccessLogFilter::kStatusCodeFilter:
        comparison("status_code_filter", in.status_code_filter().comparison(), Kind::kStatus, out);
        break;
      case pb::AccessLogFilter::kDurationFilter:
        comparison("duration_filter", in.duration_filter().comparison(), Kind::kDuration, out);
        break;
      case pb::AccessLogFilter::kNotHealthCheckFilter: out.kind = Kind::kNotHealthCheck; break;
      case pb::AccessLogFilter::kRuntimeFilter: sample(in.runtime_filter(), out); break;
      case pb::AccessLogFilter::kAndFilter:
        out.kind = Kind::kAnd;
        children("and_filter", in.and_filter(), out);
        break;
      case pb::AccessLogFilter::kOrFilter:
        out.kind = Kind::kOr;
        children("or_filter", in.or_filter(), out);
        break;
      case pb::AccessLogFilter::kHeaderFilter: {
        const auto at = problems_.field("header_filter");
        const auto inside = problems_.field("header");
        out.kind = Kind::kHeader;
        if (auto header = config::parseHeaderMatcher(in.header_filter().header(), problems_)) out.header = *std::move(header);
        break;
      }
      case pb::AccessLogFilter::kResponseFlagFilter: flags(in.response_flag_filter(), out); break;
      case pb::AccessLogFilter::kGrpcStatusFilter:
        out.kind = Kind::kGrpcStatus;
        out.exclude = in.grpc_status_filter().exclude();
        for (const int status : in.grpc_status_filter().statuses()) out.set |= uint64_t{1} << (status & 63);
        break;
      case pb::AccessLogFilter::kLogTypeFilter:
        out.kind = Kind::kLogType;
        out.exclude = in.log_type_filter().exclude();
        for (const int type : in.log_type_filter().types()) out.set |= uint64_t{1} << (type & 63);
        break;
      case pb::AccessLogFilter::kTraceableFilter: refuse("traceable_filter"); break;
      case pb::AccessLogFilter::kMetadataFilter: refuse("metadata_filter"); break;
      case pb::AccessLogFilter::kExtensionFilter: refuse("extension_filter"); break;
      case pb::AccessLogFilter::FILTER_SPECIFIER_NOT_SET: problems_.add({}, "has no kind", kKinds); break;
    }
    return out;
  }

 private:
  static constexpr std::string_view kKinds =
      "status_code_filter, duration_filter, not_health_check_filter, runtime_filter, and_filter, or_filter, header_filter, "
      "response_flag_filter, grpc_status_filter or log_type_filter";

  void refuse(std::string_view field) { problems_.addAt(field, {}, "is not supported; other entries would be logged", kKinds); }

  void comparison(std::string_view field, const pb::ComparisonFilter& in, LogFilterSpec::Kind kind, LogFilterSpec& out) {
    const auto at = problems_.field(field);
    const auto inside = problems_.field("comparison");
    out.kind = kind;
    out.value = in.value().default_value();
    if (!in.has_value()) problems_.addAt("value", {}, "is missing");
    if (!in.value().runtime_key().empty()) problems_.unsupported("value.runtime_key");  // the default holds
    switch (in.op()) {
      case pb::ComparisonFilter::EQ: out.compare = LogFilterSpec::Compare::kEqual; break;
      case pb::ComparisonFilter::GE: out.compare = LogFilterSpec::Compare::kAtLeast; break;
      case pb::ComparisonFilter::LE: out.compare = LogFilterSpec::Compare::kAtMost; break;
      case pb::ComparisonFilter::NE: out.compare = LogFilterSpec::Compare::kNotEqual; break;
      default: problems_.addAt("op", std::to_string(in.op()), "is no value of this field", "EQ, GE, LE or NE");
    }
  }

  void sample(const pb::RuntimeFilter& in, LogFilterSpec& out) {
    const auto at = problems_.field("runtime_filter");
    out.kind = LogFilterSpec::Kind::kSample;
    const config::FractionSpec fraction = config::parsePercent(in.percent_sampled());
    out.numerator = fraction.numerator;
    out.denominator = fraction.denominator;
    if (in.runtime_key().empty())
      problems_.addAt("runtime_key", {}, "is empty");
    else
      problems_.unsupported("runtime_key");  // percent_sampled holds
  }

  template <class M>
  void children(std::string_view field, const M& in, LogFilterSpec& out) {
    const auto at = problems_.field(field);
    if (in.filters_size() < 2) problems_.addAt("filters", std::to_string(in.filters_size()), "are too few", "at least 2");
    for (int i = 0; i < in.filters_size(); ++i) {
      const auto element = problems_.element("filters", static_cast<size_t>(i));
      out.children.push_back(one(in.filters(i)));
    }
  }

  void flags(const pb::ResponseFlagFilter& in, LogFilterSpec& out) {
    const auto at = problems_.field("response_flag_filter");
    out.kind = LogFilterSpec::Kind::kFlags;
    stream::ResponseFlags set;
    for (int i = 0; i < in.flags_size(); ++i) {
      stream::ResponseFlag flag;
      if (stream::parseFlag(in.flags(i), flag)) {
        set.set(flag);
      } else {
        const auto element = problems_.element("flags", static_cast<size_t>(i));
        problems_.add(in.flags(i), "is no response flag", "Envoy's short names, as UH, UF, UO, NR, URX");
      }
    }
    out.flags = set.bits();
  }

  Problems& problems_;
};

// False: there are problems now.
bool filterOf(const pb::AccessLog& in, Problems& problems, size_t problems_before, std::optional<LogFilter>& filter) {
  if (in.has_filter()) {
    LogFilterSpec spec = parseLogFilter(in.filter(), problems);  // its own path
    if (problems.size() != problems_before) return false;
    auto compiled = LogFilter::compile(spec);
    if (!compiled.ok()) {
      problems.addAt("filter", {}, base::toStd(compiled.status().message()));
      return false;
    }
    filter.emplace(*std::move(compiled));
  }
  return problems.size() == problems_before;
}

std::shared_ptr<const AccessLog> make(std::string_view path_field, const std::string& path, LineFormat line, const pb::AccessLog& in,
                                      LogFiles& files, Problems& problems, size_t problems_before) {
  std::optional<LogFilter> filter;
  if (!filterOf(in, problems, problems_before, filter)) return nullptr;
  auto opened = files.open(path);
  if (!opened.ok()) {
    const auto at = problems.field("typed_config");
    problems.addAt(path_field, path, base::toStd(opened.status().message()));
    return nullptr;
  }
  return std::make_shared<FileLog>(*std::move(opened), std::move(line), std::move(filter));
}

}  // namespace

LineFormat parseLineFormat(const core::SubstitutionFormatString& in, Problems& problems) { return config::parseLine(in, problems); }

LogFilterSpec parseLogFilter(const pb::AccessLogFilter& in, Problems& problems) {
  const auto at = problems.field("filter");
  return FilterParser(problems).one(in);
}

std::shared_ptr<const AccessLog> parseAccessLog(const pb::AccessLog& in, LogFiles& files, Problems& problems,
                                                std::shared_ptr<GrpcLogs> grpc) {
  const size_t before = problems.size();
  if (!in.has_typed_config()) {
    problems.addAt("typed_config", {}, "is missing");
    return nullptr;
  }
  const std::string type = config::innerType(in.typed_config());
  std::string path;
  LineFormat line;
  if (grpc != nullptr && isGrpcLog(type)) {
    GrpcLogSpec spec;
    {
      const auto at = problems.field("typed_config");
      spec = parseGrpcLog(in.typed_config(), type, problems);
    }
    std::optional<LogFilter> filter;
    if (!filterOf(in, problems, before, filter)) return nullptr;
    return std::make_shared<GrpcLog>(std::move(grpc), spec.target, std::move(spec.fields), std::move(filter));
  }
  {
    const auto at = problems.field("typed_config");
    if (type == file::FileAccessLog::descriptor()->full_name()) {
      file::FileAccessLog message;
      if (!config::unpackChecked(in.typed_config(), message, problems)) return nullptr;
      path = message.path();
      if (path.empty()) problems.addAt("path", {}, "is empty");
      line = fileFormat(message, problems);
    } else if (type == streams::StdoutAccessLog::descriptor()->full_name()) {
      streams::StdoutAccessLog message;
      if (!config::unpackChecked(in.typed_config(), message, problems)) return nullptr;
      path = "/dev/stdout";
      line = formatOf(message, problems);
    } else if (type == streams::StderrAccessLog::descriptor()->full_name()) {
      streams::StderrAccessLog message;
      if (!config::unpackChecked(in.typed_config(), message, problems)) return nullptr;
      path = "/dev/stderr";
      line = formatOf(message, problems);
    } else if (type.starts_with("envoy.extensions.access_loggers.")) {
      problems.unsupported(type);
      return nullptr;
    } else {
      problems.add(type, "is not a kind of access log that Outrider has",
                   "envoy.extensions.access_loggers.file.v3.FileAccessLog, stream.v3.StdoutAccessLog, stream.v3.StderrAccessLog, "
                   "grpc.v3.HttpGrpcAccessLogConfig or grpc.v3.TcpGrpcAccessLogConfig");
      return nullptr;
    }
  }
  return make("path", path, std::move(line), in, files, problems, before);
}

std::shared_ptr<const AccessLog> parseAccessLog(std::string_view bytes, LogFiles& files, Problems& problems,
                                                std::shared_ptr<GrpcLogs> grpc) {
  pb::AccessLog in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    problems.add("cannot be decoded as AccessLog");
    return nullptr;
  }
  return parseAccessLog(in, files, problems, std::move(grpc));
}

}  // namespace outrider::accesslog
