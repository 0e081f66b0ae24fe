// Pages about the process: its state, its version and flags, its memory, its logs, and the buttons that end or drain it.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "envoy/admin/v3/memory.pb.h"
#include "envoy/admin/v3/server_info.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "source/admin/page.h"
#include "source/admin/process_memory.h"
#include "source/base/absl_compat.h"
#include "source/base/log.h"
#include "source/config/json_print.h"

namespace outrider::admin {
namespace {

Answer ready(const Sources& sources) {
  const std::string_view state = sources.state();
  return Answer::text(absl::StrCat(base::toAbsl(state), "\n"), state == "LIVE" ? 200 : 503);
}

Answer serverInfo(const Sources& sources) {
  envoy::admin::v3::ServerInfo info;
  sources.server_info(info);
  const int64_t uptime = (sources.loop.wall() - sources.started_at) / base::kSecond;
  info.mutable_uptime_current_epoch()->set_seconds(uptime);
  info.mutable_uptime_all_epochs()->set_seconds(uptime);
  info.set_hot_restart_version("disabled");
  *info.mutable_node() = sources.bootstrap.node();
  return Answer::json(config::toJson(info, {.zeros = true, .secret = config::isSensitive}) + "\n");
}

Answer memory() {
  const ProcessMemory used = ProcessMemory::now();
  envoy::admin::v3::Memory out;
  out.set_allocated(used.own);
  out.set_heap_size(used.reserved);
  out.set_pageheap_unmapped(used.reserved > used.own ? used.reserved - used.own : 0);
  out.set_total_physical_bytes(used.resident);
  return Answer::json(config::toJson(out, {.zeros = true}) + "\n");
}

// ---- log levels ----

std::string loggers() {
  std::string out = "active loggers:\n";
  for (size_t i = 0; i < static_cast<size_t>(base::LogId::kCount); ++i) {
    const auto id = static_cast<base::LogId>(i);
    absl::StrAppend(&out, "  ", base::toAbsl(base::logName(id)), ": ", base::toAbsl(base::levelName(base::Log::level(id))), "\n");
  }
  return out + "\n";
}

bool knownLogger(std::string_view name) {
  for (size_t i = 0; i < static_cast<size_t>(base::LogId::kCount); ++i) {
    if (base::logName(static_cast<base::LogId>(i)) == name) return true;
  }
  return false;
}

// Empty: done; else what is wrong. All or nothing.
std::string changeLevels(const Request& request) {
  if (request.params.empty()) return {};
  if (request.params.size() > 1) return "error: invalid number of parameters";
  const auto& [name, value] = request.params[0];
  std::vector<std::pair<std::string, base::LogLevel>> changes;
  base::LogLevel level;
  if (name == "level") {
    if (value.empty()) return {};
    if (!base::parseLevel(value, level)) return "error: unknown logger level";
    base::Log::setAll(level);
    return {};
  }
  if (name == "paths" || name == "group") {
    for (const absl::string_view one : absl::StrSplit(value, ',', absl::SkipEmpty())) {
      const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(one, absl::MaxSplits(':', 1));
      if (!base::parseLevel(base::toStd(parts.second), level)) return "error: unknown logger level";
      changes.emplace_back(std::string(parts.first), level);
    }
    if (changes.empty()) return "error: empty " + name;
  } else {
    if (!base::parseLevel(value, level)) return "error: unknown logger level";
    changes.emplace_back(name, level);
  }
  for (const auto& [logger, unused] : changes) {
    if (!knownLogger(logger)) return "error: unknown logger name";
  }
  for (const auto& [logger, to] : changes) base::Log::setByName(logger, to);
  return {};
}

Answer logging(const Request& request) {
  const std::string wrong = changeLevels(request);
  if (wrong.empty()) return Answer::text(loggers());
  return Answer::text(wrong +
                          "\n\nusage: /logging?<name>=<level> (change single level)\n"
                          "usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n"
                          "usage: /logging?level=<level> (change all levels)\n"
                          "levels: trace debug info warning error critical off\n" +
                          loggers(),
                      400);
}

// ---- what is set without effect, and what is set though nobody said so ----

Answer unsupported(const Sources& sources) {
  std::string out;
  for (const std::string& line : sources.unsupported()) absl::StrAppend(&out, line, "\n");
  return Answer::text(std::move(out));
}

}  // namespace

void addServerPages(Pages& pages, const Sources& sources) {
  const auto add = [&](std::string_view path, std::string_view help, bool mutates, std::function<Answer(const Request&)> fn,
                       std::vector<Param> params = {}) {
    pages.push_back({path, help, mutates, std::move(fn), std::move(params)});
  };
  const auto ok = [](std::function<void()> fn) {
    return [fn](const Request&) {
      fn();
      return Answer::text("OK\n");
    };
  };
  add("/ready", "print server state, return 200 if LIVE, otherwise return 503", false, [&](const Request&) { return ready(sources); });
  add("/server_info", "print server version/status information", false, [&](const Request&) { return serverInfo(sources); });
  add("/memory", "print current allocation/heap usage", false, [](const Request&) { return memory(); });
  add("/hot_restart_version", "print the hot restart compatibility version", false,
      [](const Request&) { return Answer::text("disabled"); });
  add("/logging", "query/change logging levels", true, logging,
      {{"paths", "Change multiple logging levels by setting to <logger_name1>:<desired_level1>,<logger_name2>:<desired_level2>."},
       {"level",
        "desired logging level, this will change all loggers's level; One of (, trace, debug, info, warning, error, critical, off)"}});
  add("/healthcheck/fail", "cause the server to fail health checks", true, ok([&] { sources.fail_health_check(true); }));
  add("/healthcheck/ok", "cause the server to pass health checks", true, ok([&] { sources.fail_health_check(false); }));
  add("/reopen_logs", "reopen access logs", true, ok([&] { sources.reopen_logs(); }));
  add("/reset_counters", "reset all counters to zero", true, ok([&] { sources.stats.resetCounters(); }));
  add("/quitquitquit", "exit the server", true, ok([&] { sources.quit(); }));
  add("/drain_listeners", "drain listeners", true,
      [&](const Request& request) {
        const bool graceful = request.has("graceful"), skip_exit = request.has("skip_exit");
        if (skip_exit && !graceful) return Answer::text("skip_exit requires graceful\n", 400);
        sources.drain_listeners(graceful, request.has("inboundonly"), skip_exit);
        return Answer::text("OK\n");
      },
      {{"graceful",
        "When draining listeners, enter a graceful drain period prior to closing listeners. This behaviour and duration is configurable "
        "via server options or CLI"},
       {"skip_exit", "When draining listeners, do not exit after the drain period. This must be used with graceful"},
       {"inboundonly",
        "Drains all inbound listeners. traffic_direction field in envoy_v3_api_msg_config.listener.v3.Listener is used to determine "
        "whether a listener is inbound or outbound."}});
  add("/unsupported", "print what the configuration sets without effect in Outrider", false,
      [&](const Request&) { return unsupported(sources); });
  add("/outrider/defaults", "print the defaults of unset fields that differ from Envoy's", false,
      [&](const Request&) { return Answer::text(sources.defaults()); });
}

}  // namespace outrider::admin
