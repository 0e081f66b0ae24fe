// The command line: Envoy's flags with Envoy's spelling and meaning, and ours.
// Both "--name value" and "--name=value"; short flags as "-l info" and "-linfo". A flag given twice is an error, as in
// Envoy. Thread: main, at start. Source: Envoy's operations guide, "Command line options".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "source/base/log.h"

namespace outrider::server {

struct Flags {
  enum class Mode : uint8_t { kServe, kValidate, kInitOnly };
  enum class IpVersion : uint8_t { kV4, kV6 };
  enum class DrainStrategy : uint8_t { kGradual, kImmediate };
  enum class Defaults : uint8_t { kOutrider, kEnvoy };

  bool help = false;
  bool version = false;
  bool hot_restart_version = false;

  std::string config_path;
  std::string config_yaml;
  Mode mode = Mode::kServe;
  bool allow_unknown_static_fields = false;
  bool reject_unknown_dynamic_fields = false;
  bool ignore_unknown_dynamic_fields = false;
  bool skip_deprecated_logs = false;

  std::string service_cluster;
  std::string service_node;
  std::string service_zone;
  std::string admin_address_path;
  IpVersion local_address_ip_version = IpVersion::kV4;
  std::vector<std::pair<std::string, std::string>> stats_tags;
  std::vector<std::string> disabled_extensions;

  base::LogLevel log_level = base::LogLevel::kInfo;
  std::string component_log_level;                                       // as given
  std::vector<std::pair<std::string, base::LogLevel>> component_levels;  // parsed; names are Envoy's loggers or ours
  std::string log_path;
  std::string log_format = std::string(kLogFormat);
  bool log_format_escaped = false;
  bool enable_fine_grain_logging = false;
  bool log_stacktrace_single_entry = false;
  uint32_t file_flush_interval_msec = 10000;
  uint32_t file_flush_min_size_kb = 64;

  std::optional<uint32_t> concurrency;  // workers; at least 1
  bool cpuset_threads = false;
  std::optional<uint32_t> drain_time_s;  // 600 where nothing else is said
  DrainStrategy drain_strategy = DrainStrategy::kGradual;
  uint32_t parent_shutdown_time_s = 900;

  // Hot restart: accepted, without effect.
  bool disable_hot_restart = false;
  uint32_t base_id = 0;
  bool use_dynamic_base_id = false;
  std::string base_id_path;
  uint32_t restart_epoch = 0;
  std::string socket_path = "@envoy_domain_socket";
  uint32_t socket_mode = 0600;
  bool skip_hot_restart_on_no_parent = false;
  bool skip_hot_restart_parent_stats = false;

  bool enable_mutex_tracing = false;
  bool enable_core_dump = false;

  // Ours.
  Defaults defaults = Defaults::kOutrider;
  uint32_t drain_delay_s = 0;       // how long SIGTERM keeps accepting before the drain
  bool reject_unsupported = false;  // a field that has no effect is an error

  // For the log at debug level: flags that were given and have no effect, with the reason.
  std::vector<std::string> notes;

  static constexpr std::string_view kLogFormat = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v";
};

// The error's text is for stderr, complete with what would be valid; the exit status then is 1.
absl::StatusOr<Flags> parseFlags(int argc, const char* const* argv);
std::string usage();
// "outrider version: <sha>/<X.Y.Z>/Clean/RELEASE/OpenSSL": five parts, as Kuma and Consul read them.
std::string versionLine();

}  // namespace outrider::server
