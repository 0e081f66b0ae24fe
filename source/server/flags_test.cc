#include "source/server/flags.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "source/server/concurrency.h"

namespace outrider::server {
namespace {

absl::StatusOr<Flags> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "outrider");
  return parseFlags(static_cast<int>(words.size()), words.data());
}

Flags must(std::vector<const char*> words) {
  auto got = parse(std::move(words));
  EXPECT_TRUE(got.ok()) << got.status();
  return got.ok() ? *got : Flags();
}

std::string error(std::vector<const char*> words) {
  const auto got = parse(std::move(words));
  return got.ok() ? "accepted" : std::string(got.status().message());
}

TEST(Flags, ValuesInEverySpelling) {
  for (const auto& words :
       std::vector<std::vector<const char*>>{{"-l", "debug"}, {"-ldebug"}, {"-l=debug"}, {"--log-level", "debug"}, {"--log-level=debug"}}) {
    EXPECT_EQ(must(words).log_level, base::LogLevel::kDebug) << words[0];
  }
  EXPECT_EQ(must({"-c", "/a b"}).config_path, "/a b");
  EXPECT_EQ(must({"-c/dev/fd/63"}).config_path, "/dev/fd/63");
  EXPECT_EQ(must({"--config-path=a=b"}).config_path, "a=b");
  EXPECT_EQ(must({"--config-yaml", "--- {a: b}"}).config_yaml, "--- {a: b}");
  EXPECT_EQ(must({"--log-level", "warn"}).log_level, base::LogLevel::kWarning);
}

TEST(Flags, DefaultsAreEnvoys) {
  const Flags flags = must({});
  EXPECT_EQ(flags.log_level, base::LogLevel::kInfo);
  EXPECT_EQ(flags.mode, Flags::Mode::kServe);
  EXPECT_EQ(flags.file_flush_interval_msec, 10000U);
  EXPECT_EQ(flags.file_flush_min_size_kb, 64U);
  EXPECT_EQ(flags.parent_shutdown_time_s, 900U);
  EXPECT_FALSE(flags.drain_time_s.has_value());
  EXPECT_FALSE(flags.concurrency.has_value());
  EXPECT_EQ(flags.log_format, "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v");
}

// What pilot-agent, consul-dataplane and kuma-dp put on the command line.
TEST(Flags, MeshAgentsStartUs) {
  const Flags istio =
      must({"-c", "etc/istio/proxy/envoy-rev.json", "--drain-time-s", "45", "--drain-strategy", "immediate", "--local-address-ip-version",
            "v4", "--file-flush-interval-msec", "1000", "--disable-hot-restart", "--allow-unknown-static-fields", "-l", "warning",
            "--component-log-level", "misc:error", "--skip-deprecated-logs", "--concurrency", "2"});
  EXPECT_EQ(istio.drain_time_s, 45U);
  EXPECT_EQ(istio.drain_strategy, Flags::DrainStrategy::kImmediate);
  EXPECT_TRUE(istio.allow_unknown_static_fields);
  EXPECT_EQ(istio.concurrency, 2U);
  ASSERT_EQ(istio.component_levels.size(), 1U);
  EXPECT_EQ(istio.component_levels[0].first, "misc");
  EXPECT_EQ(istio.notes, (std::vector<std::string>{"--disable-hot-restart has no effect: there is no hot restart"}));

  const Flags kuma = must(
      {"--config-path", "/etc/kuma/b.yaml", "--drain-time-s", "30", "--disable-hot-restart", "--log-level", "info", "--cpuset-threads"});
  EXPECT_EQ(kuma.config_path, "/etc/kuma/b.yaml");
  const Flags consul = must({"--config-yaml", "{}", "--base-id", "1", "--log-format", "%Y %v"});
  EXPECT_EQ(consul.config_yaml, "{}");
  EXPECT_EQ(consul.log_format, "%Y %v");
}

TEST(Flags, EveryFlagOfEnvoyIsKnown) {
  const char* switches[] = {"--use-dynamic-base-id",
                            "--skip-hot-restart-on-no-parent",
                            "--skip-hot-restart-parent-stats",
                            "--allow-unknown-fields",
                            "--allow-unknown-static-fields",
                            "--reject-unknown-dynamic-fields",
                            "--ignore-unknown-dynamic-fields",
                            "--skip-deprecated-logs",
                            "--log-stacktrace-single-entry",
                            "--log-format-escaped",
                            "--enable-fine-grain-logging",
                            "--hot-restart-version",
                            "--disable-hot-restart",
                            "--enable-mutex-tracing",
                            "--cpuset-threads",
                            "--enable-core-dump",
                            "--version",
                            "--help",
                            "-h"};
  for (const char* one : switches) EXPECT_EQ(error({one}), "accepted") << one;
  const std::pair<const char*, const char*> values[] = {{"--base-id", "3"},
                                                        {"--base-id-path", "/x"},
                                                        {"--concurrency", "4"},
                                                        {"-c", "x"},
                                                        {"--config-yaml", "a: b"},
                                                        {"--admin-address-path", "/x"},
                                                        {"--local-address-ip-version", "v6"},
                                                        {"-l", "off"},
                                                        {"--component-log-level", "http2:trace,hc:off"},
                                                        {"--log-format", "%v"},
                                                        {"--log-path", "/x"},
                                                        {"--restart-epoch", "1"},
                                                        {"--service-cluster", "c"},
                                                        {"--service-node", "n"},
                                                        {"--service-zone", "z"},
                                                        {"--file-flush-interval-msec", "5"},
                                                        {"--file-flush-min-size-kb", "5"},
                                                        {"--drain-time-s", "5"},
                                                        {"--drain-strategy", "gradual"},
                                                        {"--parent-shutdown-time-s", "5"},
                                                        {"--mode", "validate"},
                                                        {"--disable-extensions", "a,b"},
                                                        {"--socket-path", "@x"},
                                                        {"--socket-mode", "600"},
                                                        {"--stats-tag", "a:b"},
                                                        {"--defaults", "envoy"},
                                                        {"--drain-delay-s", "3"},
                                                        {"--reject-unsupported", nullptr}};
  for (const auto& [name, value] : values) {
    EXPECT_EQ(value != nullptr ? error({name, value}) : error({name}), "accepted") << name;
    if (value != nullptr && name[1] == '-') {
      EXPECT_EQ(error({(std::string(name) + "=" + value).c_str()}), "accepted") << name;
    }
  }
}

TEST(Flags, MistakesNameTheRemedy) {
  const struct {
    std::vector<const char*> words;
    const char* says;
  } table[] = {
      {{"--log-levle", "info"}, "unknown flag '--log-levle'; did you mean --log-level?"},
      {{"--conf-path=x"}, "unknown flag '--conf-path'; did you mean --config-path?"},
      {{"--wholly-other"}, "unknown flag '--wholly-other'; --help lists all"},
      {{"-log-level", "info"}, "unknown flag '-log-level'; did you mean --log-level?"},
      {{"-x"}, "unknown flag '-x'; --help lists all"},
      {{"extra"}, "'extra' belongs to no flag"},
      {{"-l"}, "--log-level needs a value: LEVEL"},
      {{"-l", "loud"}, "--log-level: 'loud': expected trace, debug, info, warning, warn, error, critical or off"},
      {{"--concurrency", "abc"}, "--concurrency: 'abc': expected a whole number from 0 to 4294967295"},
      {{"--concurrency=-1"}, "--concurrency: '-1': expected a whole number from 0 to 4294967295"},
      {{"--drain-time-s", "99999999999"}, "--drain-time-s: '99999999999': expected a whole number from 0 to 4294967295"},
      {{"--drain-time-s="}, "--drain-time-s: '': expected a whole number from 0 to 4294967295"},
      {{"--concurrency", "2", "--concurrency", "3"}, "--concurrency is given twice"},
      {{"--mode", "run"}, "--mode: 'run': expected serve, validate or init_only"},
      {{"--drain-strategy", "fast"}, "--drain-strategy: 'fast': expected gradual or immediate"},
      {{"--local-address-ip-version", "v5"}, "--local-address-ip-version: 'v5': expected v4 or v6"},
      {{"--component-log-level", "upstrem:debug"}, "--component-log-level: no component 'upstrem'; did you mean 'upstream'?"},
      {{"--component-log-level", "upstream"}, "--component-log-level: 'upstream': 'upstream' is not of the form component:level"},
      {{"--component-log-level", "upstream:loud"}, "--component-log-level: 'upstream:loud': 'loud' is not a log level"},
      {{"--stats-tag", "a"}, "--stats-tag: 'a': expected name:value"},
      {{"--stats-tag", "a.b:c"}, "--stats-tag: 'a.b:c': the name may have letters, digits and '_' only"},
      {{"--stats-tag", "a:b.c"}, "--stats-tag: 'a:b.c': the value may not have a '.'"},
      {{"--stats-tag", "a:b", "--stats-tag", "a:c"}, "--stats-tag: 'a:c': this tag has a value already"},
      {{"--use-dynamic-base-id", "--restart-epoch", "1"}, "--restart-epoch=1 cannot be used with --use-dynamic-base-id"},
      {{"--defaults", "safe"}, "--defaults: 'safe': expected outrider or envoy"},
      {{"--disable-hot-restart=maybe"}, "--disable-hot-restart: 'maybe': expected true or false"},
  };
  for (const auto& row : table) EXPECT_EQ(error(row.words), row.says);
}

TEST(Flags, TheRestIsLeftAlone) { EXPECT_EQ(must({"-c", "x", "--", "--nonsense"}).config_path, "x"); }

TEST(Flags, VersionHasFiveParts) {
  // sha/X.Y.Z/status/type/TLS library
  const std::string line = versionLine();
  constexpr std::string_view kStart = "outrider version: ";
  ASSERT_TRUE(line.starts_with(kStart)) << line;
  std::vector<std::string> parts(1);
  for (const char c : line.substr(kStart.size())) {
    if (c == '/')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  ASSERT_EQ(parts.size(), 5U) << line;
  EXPECT_EQ(parts[0].size(), 40U);
  EXPECT_EQ(parts[0].find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(std::count(parts[1].begin(), parts[1].end(), '.'), 2);
  EXPECT_EQ(parts[1].find_first_not_of("0123456789."), std::string::npos);
  EXPECT_EQ(parts[2], "Clean");
  EXPECT_EQ(parts[4], "OpenSSL");
  EXPECT_NE(usage().find("--config-path"), std::string::npos);
}

TEST(Concurrency, TheSmallestLimitWins) {
  EXPECT_EQ(chooseConcurrency({}, {.cores = 8, .affinity = 8}).workers, 8U);
  EXPECT_EQ(chooseConcurrency({}, {.cores = 8, .affinity = 8}).why, "8 workers: the machine's 8 cores");
  EXPECT_EQ(chooseConcurrency({}, {.cores = 8, .affinity = 3}).why, "3 workers: the CPU mask of 3 of 8 cores");
  EXPECT_EQ(chooseConcurrency({}, {.cores = 8, .affinity = 8, .quota = 1.5}).workers, 2U);
  EXPECT_EQ(chooseConcurrency({}, {.cores = 8, .affinity = 8, .quota = 0.25}).why, "1 worker: the control group's quota of 0.25 CPUs");
  EXPECT_EQ(chooseConcurrency({}, {.cores = 2, .affinity = 2, .quota = 64.0}).workers, 2U);
  EXPECT_EQ(chooseConcurrency(5, {.cores = 2, .affinity = 2, .quota = 1.0}).why, "5 workers: --concurrency");
  EXPECT_EQ(chooseConcurrency(0, {.cores = 2, .affinity = 2}).workers, 1U);
}

class CgroupFiles : public ::testing::Test {
 protected:
  CgroupFiles() {
    std::string name = ::testing::TempDir() + "cgroupXXXXXX";
    root_ = ::mkdtemp(name.data());
  }
  void write(const std::string& path, const std::string& text) {
    for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      ::mkdir((root_ + path.substr(0, slash)).c_str(), 0700);
    }
    std::ofstream(root_ + path) << text;
  }
  std::string root_;
};

TEST_F(CgroupFiles, QuotaOfVersion2CountsAtEveryLevel) {
  write("/proc/self/cgroup", "0::/kube/pod\n");
  write("/sys/fs/cgroup/kube/pod/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/kube/cpu.max", "150000 100000\n");
  EXPECT_EQ(readCpuLimits(root_).quota, 1.5);
}

TEST_F(CgroupFiles, QuotaOfVersion1) {
  write("/proc/self/cgroup", "4:memory:/a\n2:cpu,cpuacct:/a\n");
  write("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
  write("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(readCpuLimits(root_).quota, 0.5);
}

TEST_F(CgroupFiles, NoQuota) {
  write("/proc/self/cgroup", "0::/\n");
  write("/sys/fs/cgroup/cpu.max", "max 100000\n");
  const CpuLimits limits = readCpuLimits(root_);
  EXPECT_FALSE(limits.quota.has_value());
  EXPECT_GE(limits.cores, limits.affinity);
  EXPECT_GE(limits.affinity, 1U);
}

}  // namespace
}  // namespace outrider::server
