#include "source/server/bootstrap_admin.h"

#include "absl/strings/str_join.h"
#include "envoy/admin/v3/server_info.pb.h"
#include "source/base/absl_compat.h"
#include "source/server/server.h"

namespace outrider::server {
namespace {

void printFlags(const Flags& flags, size_t workers, envoy::admin::v3::CommandLineOptions& out) {
  using envoy::admin::v3::CommandLineOptions;
  out.set_base_id(flags.base_id);
  out.set_concurrency(static_cast<uint32_t>(workers));
  out.set_config_path(flags.config_path);
  out.set_config_yaml(flags.config_yaml);
  out.set_allow_unknown_static_fields(flags.allow_unknown_static_fields);
  out.set_admin_address_path(flags.admin_address_path);
  out.set_local_address_ip_version(flags.local_address_ip_version == Flags::IpVersion::kV6 ? CommandLineOptions::v6
                                                                                           : CommandLineOptions::v4);
  out.set_log_level(std::string(base::levelName(flags.log_level)));
  out.set_component_log_level(flags.component_log_level);
  out.set_log_format(flags.log_format);
  out.set_log_path(flags.log_path);
  out.set_service_cluster(flags.service_cluster);
  out.set_service_node(flags.service_node);
  out.set_service_zone(flags.service_zone);
  out.mutable_file_flush_interval()->set_seconds(flags.file_flush_interval_msec / 1000);
  out.mutable_file_flush_interval()->set_nanos(static_cast<int32_t>(flags.file_flush_interval_msec % 1000) * 1'000'000);
  out.mutable_drain_time()->set_seconds(flags.drain_time_s.value_or(600));
  out.mutable_parent_shutdown_time()->set_seconds(flags.parent_shutdown_time_s);
  switch (flags.mode) {
    case Flags::Mode::kServe: out.set_mode(CommandLineOptions::Serve); break;
    case Flags::Mode::kValidate: out.set_mode(CommandLineOptions::Validate); break;
    case Flags::Mode::kInitOnly: out.set_mode(CommandLineOptions::InitOnly); break;
  }
  out.set_disable_hot_restart(flags.disable_hot_restart);
  out.set_enable_mutex_tracing(flags.enable_mutex_tracing);
  out.set_restart_epoch(flags.restart_epoch);
  out.set_cpuset_threads(flags.cpuset_threads);
  out.set_reject_unknown_dynamic_fields(flags.reject_unknown_dynamic_fields);
  out.set_log_format_escaped(flags.log_format_escaped);
  for (const std::string& name : flags.disabled_extensions) out.add_disabled_extensions(name);
  out.set_ignore_unknown_dynamic_fields(flags.ignore_unknown_dynamic_fields);
  out.set_use_dynamic_base_id(flags.use_dynamic_base_id);
  out.set_base_id_path(flags.base_id_path);
  out.set_drain_strategy(flags.drain_strategy == Flags::DrainStrategy::kImmediate ? CommandLineOptions::Immediate
                                                                                  : CommandLineOptions::Gradual);
  out.set_enable_fine_grain_logging(flags.enable_fine_grain_logging);
  out.set_socket_path(flags.socket_path);
  out.set_socket_mode(flags.socket_mode);
  out.set_enable_core_dump(flags.enable_core_dump);
  for (const auto& [name, value] : flags.stats_tags) out.add_stats_tag(name + ":" + value);
  out.set_skip_hot_restart_on_no_parent(flags.skip_hot_restart_on_no_parent);
  out.set_skip_hot_restart_parent_stats(flags.skip_hot_restart_parent_stats);
  out.set_skip_deprecated_logs(flags.skip_deprecated_logs);
}

envoy::admin::v3::ServerInfo::State stateOf(State state) {
  using envoy::admin::v3::ServerInfo;
  switch (state) {
    case State::kPreInitializing: return ServerInfo::PRE_INITIALIZING;
    case State::kInitializing: return ServerInfo::INITIALIZING;
    case State::kLive: return ServerInfo::LIVE;
    case State::kDraining: return ServerInfo::DRAINING;
  }
  OUTRIDER_UNREACHABLE();
}

}  // namespace

void printServerInfo(const Server& server, envoy::admin::v3::ServerInfo& out) {
  const std::string line = versionLine();  // "outrider version: a/b/c/d/e"
  out.set_version(line.substr(line.rfind(' ') + 1));
  out.set_state(stateOf(server.state()));
  printFlags(server.flags(), server.workerCount(), *out.mutable_command_line_options());
}

admin::Sources adminSources(Server& server) {
  admin::Sources out{server.loop(),      server.stats(),       server.clusters(),
                     server.listeners(), server.tlsContexts(), server.bootstrap().message};
  out.started_at = server.loop().wall();
  out.strict = server.flags().defaults == Flags::Defaults::kOutrider;
  out.state = [&server] { return stateName(server.state()); };
  out.server_info = [&server](envoy::admin::v3::ServerInfo& info) { printServerInfo(server, info); };
  out.refresh = [&server] { server.refreshStats(); };
  out.unsupported = [&server]() -> const std::vector<std::string>& { return server.unsupported(); };
  out.defaults = [&server] { return server.defaultsText(); };
  out.resource_names = [&server](std::string_view type_url, const std::function<void(std::string_view)>& fn) {
    server.hub().visitNames(type_url, fn);
  };
  out.resource = [&server](std::string_view type_url, const std::string& name,
                           const std::function<void(const config::ResourceView&)>& fn) { server.hub().visit(type_url, name, fn); };
  out.version = [&server](std::string_view type_url) { return server.hub().version(type_url); };
  out.listener_warms = [&server](const std::string& name) { return server.assembler().isWarming(name); };
  out.fail_health_check = [&server](bool fail) { server.failHealthCheck(fail); };
  out.drain_listeners = [&server](bool graceful, bool inbound_only, bool skip_exit) {
    server.drainListeners(graceful, inbound_only, skip_exit);
  };
  out.reopen_logs = [&server] { server.reopenLogs(); };
  out.quit = [&server] { server.quit(); };
  return out;
}

}  // namespace outrider::server
