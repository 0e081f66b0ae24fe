#include "source/server/flags.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "absl/strings/str_cat.h"
#include "source/base/absl_compat.h"
#include "source/config/nearest.h"
#include "source/server/version.h"

namespace outrider::server {
namespace {

// Envoy's loggers; --component-log-level may name any of them, ours are in base/log.h.
constexpr std::string_view kLoggers[] = {"a2a",
                                         "admin",
                                         "ai_protocol_manager",
                                         "alternate_protocols_cache",
                                         "assert",
                                         "aws",
                                         "backtrace",
                                         "basic_auth",
                                         "cache_filter",
                                         "client",
                                         "compression",
                                         "config",
                                         "conn_handler",
                                         "connection",
                                         "credential_injector",
                                         "decompression",
                                         "dns",
                                         "dubbo",
                                         "dynamic_modules",
                                         "envoy_bug",
                                         "ext_authz",
                                         "ext_proc",
                                         "file",
                                         "filter",
                                         "forward_proxy",
                                         "geolocation",
                                         "golang",
                                         "grpc",
                                         "happy_eyeballs",
                                         "hc",
                                         "health_checker",
                                         "http",
                                         "http2",
                                         "hystrix",
                                         "init",
                                         "io",
                                         "ip_tagging",
                                         "json_rpc",
                                         "jwt",
                                         "kafka",
                                         "key_value_store",
                                         "local_rate_limit",
                                         "lua",
                                         "main",
                                         "matcher",
                                         "mcp",
                                         "misc",
                                         "mongo",
                                         "multi_connection",
                                         "notification",
                                         "oauth2",
                                         "pool",
                                         "quic",
                                         "quic_stream",
                                         "rate_limit_quota",
                                         "rbac",
                                         "rds",
                                         "redis",
                                         "rocketmq",
                                         "router",
                                         "runtime",
                                         "secret",
                                         "sse",
                                         "stats",
                                         "stats_sinks",
                                         "tap",
                                         "testing",
                                         "thrift",
                                         "tracing",
                                         "udp",
                                         "upstream",
                                         "wasm",
                                         "websocket"};

constexpr std::string_view kNoHotRestart = "there is no hot restart";

using Set = std::string (*)(Flags& flags, std::string_view value);  // answers what is wrong, or nothing

struct Flag {
  std::string_view name;
  char letter;                // 0: none
  std::string_view argument;  // empty: a switch
  std::string_view meaning;
  Set set;
  std::string_view no_effect;  // why it has none; empty: it has
  bool repeats = false;
};

std::string number(std::string_view value, uint32_t& out) {
  const char* end = value.data() + value.size();
  const auto [stop, code] = std::from_chars(value.data(), end, out);
  if (code == std::errc() && stop == end && !value.empty()) return {};
  return "expected a whole number from 0 to 4294967295";
}

std::string setLevel(Flags& flags, std::string_view value) {
  if (base::parseLevel(value, flags.log_level)) return {};
  return "expected trace, debug, info, warning, warn, error, critical or off";
}

bool isLogger(std::string_view name) {
  if (std::find(std::begin(kLoggers), std::end(kLoggers), name) != std::end(kLoggers)) return true;
  for (size_t i = 0; i < static_cast<size_t>(base::LogId::kCount); ++i) {
    if (base::logName(static_cast<base::LogId>(i)) == name) return true;
  }
  return false;
}

std::string setComponents(Flags& flags, std::string_view value) {
  flags.component_log_level = value;
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    const std::string_view pair = value.substr(0, comma);
    value.remove_prefix(std::min(comma + 1, value.size()));
    const size_t colon = pair.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
      return absl::StrCat("'", base::toAbsl(pair), "' is not of the form component:level");
    }
    base::LogLevel level;
    if (!base::parseLevel(pair.substr(colon + 1), level)) {
      return absl::StrCat("'", base::toAbsl(pair.substr(colon + 1)), "' is not a log level");
    }
    flags.component_levels.emplace_back(pair.substr(0, colon), level);
  }
  return {};
}

std::string setMode(Flags& flags, std::string_view value) {
  if (value == "serve")
    flags.mode = Flags::Mode::kServe;
  else if (value == "validate")
    flags.mode = Flags::Mode::kValidate;
  else if (value == "init_only")
    flags.mode = Flags::Mode::kInitOnly;
  else
    return "expected serve, validate or init_only";
  return {};
}

std::string setIpVersion(Flags& flags, std::string_view value) {
  if (value != "v4" && value != "v6") return "expected v4 or v6";
  flags.local_address_ip_version = value == "v6" ? Flags::IpVersion::kV6 : Flags::IpVersion::kV4;
  return {};
}

std::string setStrategy(Flags& flags, std::string_view value) {
  if (value != "gradual" && value != "immediate") return "expected gradual or immediate";
  flags.drain_strategy = value == "immediate" ? Flags::DrainStrategy::kImmediate : Flags::DrainStrategy::kGradual;
  return {};
}

std::string setDefaults(Flags& flags, std::string_view value) {
  if (value != "outrider" && value != "envoy") return "expected outrider or envoy";
  flags.defaults = value == "envoy" ? Flags::Defaults::kEnvoy : Flags::Defaults::kOutrider;
  return {};
}

std::string setTag(Flags& flags, std::string_view value) {
  const size_t colon = value.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == value.size()) return "expected name:value";
  const std::string_view name = value.substr(0, colon);
  const std::string_view text = value.substr(colon + 1);
  const auto plain = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (!std::all_of(name.begin(), name.end(), plain)) return "the name may have letters, digits and '_' only";
  if (text.find('.') != std::string_view::npos) return "the value may not have a '.'";
  for (const auto& [other, _] : flags.stats_tags) {
    if (other == name) return "this tag has a value already";
  }
  flags.stats_tags.emplace_back(name, text);
  return {};
}

std::string setDisabled(Flags& flags, std::string_view value) {
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    if (comma > 0) flags.disabled_extensions.emplace_back(value.substr(0, comma));
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  return {};
}

std::string setSocketMode(Flags& flags, std::string_view value) {
  const char* end = value.data() + value.size();
  const auto [stop, code] = std::from_chars(value.data(), end, flags.socket_mode, 8);
  return code == std::errc() && stop == end && flags.socket_mode <= 0777 ? std::string() : "expected an octal mode such as 600";
}

template <auto Member>
std::string setText(Flags& flags, std::string_view value) {
  flags.*Member = value;
  return {};
}
template <auto Member>
std::string setNumber(Flags& flags, std::string_view value) {
  return number(value, flags.*Member);
}
template <auto Member>
std::string setMaybe(Flags& flags, std::string_view value) {
  return number(value, (flags.*Member).emplace());
}
template <auto Member>
std::string setSwitch(Flags& flags, std::string_view value) {
  if (value != "true" && value != "false") return "expected true or false";
  flags.*Member = value == "true";
  return {};
}

// One flag a line.
// clang-format off
constexpr Flag kFlags[] = {
    {"config-path", 'c', "PATH", "the bootstrap: YAML, JSON or a binary message, told apart by content", setText<&Flags::config_path>, {}},
    {"config-yaml", 0, "TEXT", "more bootstrap as YAML, merged over --config-path", setText<&Flags::config_yaml>, {}},
    {"mode", 0, "MODE", "serve (default), validate (check the config and exit) or init_only", setMode, {}},
    {"allow-unknown-static-fields", 0, {}, "skip fields that the API does not have in static config", setSwitch<&Flags::allow_unknown_static_fields>, {}},
    {"allow-unknown-fields", 0, {}, "old name of --allow-unknown-static-fields", setSwitch<&Flags::allow_unknown_static_fields>, {}},
    {"reject-unknown-dynamic-fields", 0, {}, "refuse fields that the API does not have in dynamic config", setSwitch<&Flags::reject_unknown_dynamic_fields>, {}},
    {"ignore-unknown-dynamic-fields", 0, {}, "do not even count them", setSwitch<&Flags::ignore_unknown_dynamic_fields>, {}},
    {"reject-unsupported", 0, {}, "refuse every field that has no effect here, static or dynamic", setSwitch<&Flags::reject_unsupported>, {}},
    {"defaults", 0, "SET", "values of unset fields: outrider (default; hardened) or envoy", setDefaults, {}},
    {"service-cluster", 0, "NAME", "node.cluster, instead of the one in the bootstrap", setText<&Flags::service_cluster>, {}},
    {"service-node", 0, "NAME", "node.id, instead of the one in the bootstrap", setText<&Flags::service_node>, {}},
    {"service-zone", 0, "NAME", "node.locality.zone, instead of the one in the bootstrap", setText<&Flags::service_zone>, {}},
    {"admin-address-path", 0, "PATH", "write the admin's address to this file", setText<&Flags::admin_address_path>, {}},
    {"local-address-ip-version", 0, "VERSION", "v4 (default) or v6", setIpVersion, {}},
    {"stats-tag", 0, "NAME:VALUE", "a tag of all stats; may be repeated", setTag, {}, true},
    {"disable-extensions", 0, "NAMES", "extensions to leave out, by commas", setDisabled, {}},
    {"log-level", 'l', "LEVEL", "trace, debug, info (default), warning, error, critical or off", setLevel, {}},
    {"component-log-level", 0, "LIST", "levels of single components, such as upstream:debug,config:trace", setComponents, {}},
    {"log-path", 0, "PATH", "log to this file instead of stderr", setText<&Flags::log_path>, {}},
    {"log-format", 0, "FORMAT", "shape of a log line, in spdlog's letters", setText<&Flags::log_format>, {}},
    {"log-format-escaped", 0, {}, "escape control characters in log lines", setSwitch<&Flags::log_format_escaped>, {}},
    {"enable-fine-grain-logging", 0, {}, "levels by file", setSwitch<&Flags::enable_fine_grain_logging>, "levels are by component"},
    {"log-stacktrace-single-entry", 0, {}, "a stack trace as one log entry", setSwitch<&Flags::log_stacktrace_single_entry>, "no stack traces are logged"},
    {"skip-deprecated-logs", 0, {}, "no log lines about deprecated fields", setSwitch<&Flags::skip_deprecated_logs>, {}},
    {"file-flush-interval-msec", 0, "MS", "flush access logs this often (10000)", setNumber<&Flags::file_flush_interval_msec>, {}},
    {"file-flush-min-size-kb", 0, "KB", "flush access logs at this size (64)", setNumber<&Flags::file_flush_min_size_kb>, {}},
    {"concurrency", 0, "N", "workers; default: what CPU mask, control group and cores allow", setMaybe<&Flags::concurrency>, {}},
    {"cpuset-threads", 0, {}, "workers by the CPU mask", setSwitch<&Flags::cpuset_threads>, "the CPU mask always counts"},
    {"drain-time-s", 0, "S", "how long a drain takes (600)", setMaybe<&Flags::drain_time_s>, {}},
    {"drain-delay-s", 0, "S", "keep accepting this long after SIGTERM before draining (0)", setNumber<&Flags::drain_delay_s>, {}},
    {"drain-strategy", 0, "HOW", "gradual (default) or immediate", setStrategy, {}},
    {"parent-shutdown-time-s", 0, "S", "of hot restart", setNumber<&Flags::parent_shutdown_time_s>, kNoHotRestart},
    {"disable-hot-restart", 0, {}, "of hot restart", setSwitch<&Flags::disable_hot_restart>, kNoHotRestart},
    {"restart-epoch", 0, "N", "of hot restart", setNumber<&Flags::restart_epoch>, kNoHotRestart},
    {"hot-restart-version", 0, {}, "print 'disabled' and exit", setSwitch<&Flags::hot_restart_version>, {}},
    {"base-id", 0, "N", "of hot restart", setNumber<&Flags::base_id>, kNoHotRestart},
    {"use-dynamic-base-id", 0, {}, "of hot restart", setSwitch<&Flags::use_dynamic_base_id>, kNoHotRestart},
    {"base-id-path", 0, "PATH", "of hot restart", setText<&Flags::base_id_path>, kNoHotRestart},
    {"socket-path", 0, "PATH", "of hot restart", setText<&Flags::socket_path>, kNoHotRestart},
    {"socket-mode", 0, "MODE", "of hot restart", setSocketMode, kNoHotRestart},
    {"skip-hot-restart-on-no-parent", 0, {}, "of hot restart", setSwitch<&Flags::skip_hot_restart_on_no_parent>, kNoHotRestart},
    {"skip-hot-restart-parent-stats", 0, {}, "of hot restart", setSwitch<&Flags::skip_hot_restart_parent_stats>, kNoHotRestart},
    {"enable-mutex-tracing", 0, {}, "time spent waiting for locks", setSwitch<&Flags::enable_mutex_tracing>, "workers share no locks to trace"},
    {"enable-core-dump", 0, {}, "let the kernel write a core file", setSwitch<&Flags::enable_core_dump>, {}},
    {"version", 0, {}, "print the version and exit", setSwitch<&Flags::version>, {}},
    {"help", 'h', {}, "print this and exit", setSwitch<&Flags::help>, {}},
};
// clang-format on

const Flag* find(std::string_view name) {
  for (const Flag& flag : kFlags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

const Flag* find(char letter) {
  for (const Flag& flag : kFlags) {
    if (flag.letter != 0 && flag.letter == letter) return &flag;
  }
  return nullptr;
}

absl::Status unknown(std::string_view word, std::string_view name) {
  config::Nearest nearest(name);
  for (const Flag& flag : kFlags) nearest.offer(flag.name);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown flag '", base::toAbsl(word), "'",
                   nearest.best().empty() ? "; --help lists all" : absl::StrCat("; did you mean --", nearest.best(), "?")));
}

absl::Status checkTogether(const Flags& flags) {
  if (flags.use_dynamic_base_id && flags.restart_epoch > 0) {
    return absl::InvalidArgumentError(absl::StrCat("--restart-epoch=", flags.restart_epoch, " cannot be used with --use-dynamic-base-id"));
  }
  if (flags.enable_fine_grain_logging) return absl::OkStatus();  // names are files then
  for (const auto& [name, level] : flags.component_levels) {
    if (isLogger(name)) continue;
    config::Nearest nearest(name);
    for (const std::string_view logger : kLoggers) nearest.offer(logger);
    return absl::InvalidArgumentError(absl::StrCat("--component-log-level: no component '", name, "'",
                                                   nearest.best().empty() ? "" : absl::StrCat("; did you mean '", nearest.best(), "'?")));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Flags> parseFlags(int argc, const char* const* argv) {
  Flags out;
  std::set<const Flag*> seen;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") break;  // Envoy leaves the rest alone
    const Flag* flag = nullptr;
    std::optional<std::string_view> value;
    if (word.starts_with("--")) {
      const size_t equals = std::min(word.find('='), word.size());
      const std::string_view name = word.substr(2, equals - 2);
      flag = find(name);
      if (flag == nullptr) return unknown(word.substr(0, equals), name);
      if (equals < word.size()) value = word.substr(equals + 1);
    } else if (word.starts_with('-') && word.size() > 1) {
      flag = find(word[1]);
      // "-log-level" is more likely a long name than -l with the value "og-level".
      if (flag == nullptr || (word.size() > 2 && find(word.substr(1)) != nullptr)) return unknown(word, word.substr(1));
      if (word.size() > 2) value = word.substr(word[2] == '=' ? 3 : 2);
    } else {
      return absl::InvalidArgumentError(absl::StrCat("'", base::toAbsl(word), "' belongs to no flag"));
    }
    const std::string name = absl::StrCat("--", base::toAbsl(flag->name));
    if (!seen.insert(flag).second && !flag->repeats) return absl::InvalidArgumentError(absl::StrCat(name, " is given twice"));
    if (!value) {
      if (flag->argument.empty()) {
        value = "true";
      } else if (i + 1 < argc) {
        value = argv[++i];
      } else {
        return absl::InvalidArgumentError(absl::StrCat(name, " needs a value: ", base::toAbsl(flag->argument)));
      }
    }
    const std::string wrong = flag->set(out, *value);
    if (!wrong.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": '", base::toAbsl(*value), "': ", wrong));
    if (!flag->no_effect.empty()) out.notes.push_back(absl::StrCat(name, " has no effect: ", base::toAbsl(flag->no_effect)));
  }
  if (absl::Status status = checkTogether(out); !status.ok()) return status;
  return out;
}

std::string usage() {
  std::string out = "usage: outrider -c PATH [flags]\n\n";
  for (const Flag& flag : kFlags) {
    std::string left = flag.letter != 0 ? absl::StrCat("  -", std::string(1, flag.letter), ", --") : "      --";
    absl::StrAppend(&left, base::toAbsl(flag.name), flag.argument.empty() ? "" : " ", base::toAbsl(flag.argument));
    constexpr size_t kColumn = 42;
    if (left.size() < kColumn) left.resize(kColumn, ' ');
    absl::StrAppend(&out, left, " ", base::toAbsl(flag.meaning));
    if (!flag.no_effect.empty()) absl::StrAppend(&out, " (no effect: ", base::toAbsl(flag.no_effect), ")");
    out += '\n';
  }
  return out;
}

std::string versionLine() {
  return absl::StrCat(base::toAbsl(kName), " version: ", base::toAbsl(kRevision), "/", base::toAbsl(kVersion), "/Clean/",
                      base::toAbsl(kBuildType), "/OpenSSL");
}

}  // namespace outrider::server
