#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "source/accesslog/access_log_parse.h"
#include "source/config/yaml.h"

namespace outrider::accesslog {
namespace {

class AccessLogTest : public testing::Test {
 protected:
  AccessLogTest() {
    std::string name = testing::TempDir() + "/alogXXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    request_.method = "GET";
    request_.path = "/p";
    request_.authority = "h";
    info_.has_protocol = true;
    info_.response_code = 200;
    info_.start = base::kSecond;
    info_.end = info_.start + 5 * base::kMilli;
  }
  ~AccessLogTest() override {
    arena_->unref();
    [[maybe_unused]] const int rc = std::system(("rm -rf '" + folder_ + "'").c_str());
  }
  Entry entry() const { return {&request_, &response_, nullptr, info_}; }

  static envoy::config::accesslog::v3::AccessLog read(std::string yaml) {
    envoy::config::accesslog::v3::AccessLog out;
    config::UnknownFields unknown;
    config::Problems problems;
    config::parseContent(std::move(yaml), "test.yaml", out, unknown, problems);
    EXPECT_TRUE(problems.empty()) << problems.str();
    return out;
  }
  // A file log; `more`: further fields of the AccessLog, `line`: of the FileAccessLog.
  std::string yaml(std::string_view line, std::string_view more = "") const {
    return "name: l\n" + std::string(more) +
           "\ntyped_config:\n  '@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog\n  path: " + folder_ +
           "/log\n  " + std::string(line) + "\n";
  }
  // What one entry writes.
  std::string logged(std::string_view line) {
    auto log = parseAccessLog(read(yaml(line)), files_, problems_);
    EXPECT_TRUE(problems_.empty()) << problems_.str();
    if (log == nullptr) return "no log";
    log->log(entry());
    log.reset();  // the last user: all is written
    std::ifstream in(folder_ + "/log");
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
  }
  bool wants(std::string_view filter) {
    config::Problems problems;
    const LogFilterSpec spec = parseLogFilter(read("name: l\nfilter: " + std::string(filter)).filter(), problems);
    EXPECT_TRUE(problems.empty()) << problems.str();
    return LogFilter::compile(spec)->wants(entry());
  }

  std::string folder_;
  base::Arena* arena_ = base::Arena::create();
  http::RequestHead request_{*arena_};
  http::ResponseHead response_{*arena_};
  stream::StreamInfo info_;
  stats::Store store_;
  LogFiles files_{store_, {}};
  config::Problems problems_;
};

TEST_F(AccessLogTest, TheDefaultFormatIsEnvoys) {
  EXPECT_EQ(logged(""), "[1970-01-01T00:00:00.000Z] \"GET /p HTTP/1.1\" 200 - 0 0 5 - \"-\" \"-\" \"-\" \"h\" \"-\"\n");
}

TEST_F(AccessLogTest, TextFormats) {
  EXPECT_EQ(logged("log_format: {text_format_source: {inline_string: \"%REQ(:PATH)% %REQ(x)%\\n\"}}"), "/p -\n");
}

TEST_F(AccessLogTest, EmptyValuesMayBeOmitted) {
  EXPECT_EQ(logged("log_format: {omit_empty_values: true, text_format: \"[%REQ(x)%] %RESPONSE_CODE%\\n\"}"), "[] 200\n");
}

TEST_F(AccessLogTest, JsonFormatsKeepTypes) {
  EXPECT_EQ(
      logged("log_format: {json_format: {code: '%RESPONSE_CODE%', path: '%REQ(:PATH)%', in: {none: '%REQ(x)%', list: [a, 1, true]}}}"),
      "{\"code\":200,\"in\":{\"list\":[\"a\",1,true],\"none\":null},\"path\":\"/p\"}\n");
}

TEST_F(AccessLogTest, AFilterKeepsEntriesOut) {
  auto log =
      parseAccessLog(read(yaml("", "filter: {status_code_filter: {comparison: {op: GE, value: {default_value: 500, runtime_key: k}}}}")),
                     files_, problems_);
  ASSERT_NE(log, nullptr) << problems_.str();
  log->log(entry());
  info_.response_code = 503;
  log->log(entry());
  log.reset();
  std::ifstream in(folder_ + "/log");
  std::string line;
  int lines = 0;
  while (std::getline(in, line)) ++lines;
  EXPECT_EQ(lines, 1);
}

TEST_F(AccessLogTest, FiltersSeeWhatTheySay) {
  EXPECT_TRUE(wants("{status_code_filter: {comparison: {op: EQ, value: {default_value: 200, runtime_key: k}}}}"));
  EXPECT_FALSE(wants("{status_code_filter: {comparison: {op: GE, value: {default_value: 201, runtime_key: k}}}}"));
  EXPECT_TRUE(wants("{duration_filter: {comparison: {op: LE, value: {default_value: 5, runtime_key: k}}}}"));
  EXPECT_TRUE(wants("{not_health_check_filter: {}}"));
  EXPECT_FALSE(wants("{response_flag_filter: {}}"));
  info_.flags.set(stream::ResponseFlag::kNoRouteFound);
  EXPECT_TRUE(wants("{response_flag_filter: {}}"));
  EXPECT_TRUE(wants("{response_flag_filter: {flags: [UF, NR]}}"));
  EXPECT_FALSE(wants("{response_flag_filter: {flags: [UF]}}"));
  EXPECT_FALSE(wants("{header_filter: {header: {name: x-a, string_match: {exact: b}}}}"));
  request_.headers.add("x-a", "b");
  EXPECT_TRUE(wants("{header_filter: {header: {name: X-A, string_match: {exact: b}}}}"));
  EXPECT_TRUE(wants("{and_filter: {filters: [{not_health_check_filter: {}}, {response_flag_filter: {}}]}}"));
  EXPECT_FALSE(wants("{and_filter: {filters: [{not_health_check_filter: {}}, {response_flag_filter: {flags: [UF]}}]}}"));
  EXPECT_TRUE(wants("{or_filter: {filters: [{not_health_check_filter: {}}, {response_flag_filter: {flags: [UF]}}]}}"));
  EXPECT_TRUE(wants("{grpc_status_filter: {statuses: [UNKNOWN]}}"));  // 200 without grpc-status
  response_.headers.add(http::HeaderId::kGrpcStatus, "0");
  EXPECT_TRUE(wants("{grpc_status_filter: {statuses: [OK]}}"));
  EXPECT_FALSE(wants("{grpc_status_filter: {statuses: [OK], exclude: true}}"));
  EXPECT_TRUE(wants("{log_type_filter: {types: [DownstreamEnd]}}"));
  EXPECT_FALSE(wants("{log_type_filter: {types: [TcpConnectionEnd]}}"));
  EXPECT_FALSE(wants("{runtime_filter: {runtime_key: k, percent_sampled: {numerator: 0}}}"));
  EXPECT_TRUE(wants("{runtime_filter: {runtime_key: k, percent_sampled: {numerator: 100}}}"));
}

TEST_F(AccessLogTest, ProblemsNameTheirField) {
  struct Row {
    std::string yaml, path, what;
  };
  const Row rows[] = {
      {"name: l", "typed_config", "is missing"},
      {"name: l\ntyped_config: {'@type': type.googleapis.com/envoy.config.route.v3.Decorator}", "typed_config",
       "is not a kind of access log"},
      {yaml("log_format: {text_format: '%NOPE%'}"), "typed_config.log_format.text_format", "at position 0: unknown operator NOPE"},
      {yaml("log_format: {json_format: {a: {b: '%NOPE%'}}}"), "typed_config.log_format.json_format", "a.b: at position 0"},
      {yaml("log_format: {}"), "typed_config.log_format.format", "one of its fields must be set"},
      {yaml("", "filter: {}"), "filter", "has no kind"},
      {yaml("", "filter: {traceable_filter: {}}"), "filter.traceable_filter", "is not supported"},
      {yaml("", "filter: {response_flag_filter: {flags: [XX]}}"), "filter.response_flag_filter.flags[0]", "is no response flag"},
      {yaml("", "filter: {and_filter: {filters: [{not_health_check_filter: {}}]}}"), "filter.and_filter.filters", "are too few"},
      {"name: l\ntyped_config: {'@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /none/x}",
       "typed_config.path", "cannot be opened"},
  };
  for (const Row& row : rows) {
    config::Problems problems;
    EXPECT_EQ(parseAccessLog(read(row.yaml), files_, problems), nullptr);
    ASSERT_EQ(problems.size(), 1u) << row.yaml << problems.str();
    EXPECT_EQ(problems.list()[0].path, row.path) << problems.str();
    EXPECT_NE(problems.str().find(row.what), std::string::npos) << problems.str();
  }
}

TEST_F(AccessLogTest, LogsThatAreOnlyTelemetryAreReported) {
  const auto log = parseAccessLog(
      read("name: l\ntyped_config: {'@type': type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig}"), files_,
      problems_);
  EXPECT_EQ(log, nullptr);
  EXPECT_TRUE(problems_.empty()) << problems_.str();
  EXPECT_EQ(problems_.unsupportedPaths(),
            (std::vector<std::string>{"typed_config.envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"}));
}

}  // namespace
}  // namespace outrider::accesslog
