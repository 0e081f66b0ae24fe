// The process: main's loop and everything that main owns; starts the workers, follows signals, drains and ends.
// Thread: main. Lifetime: main()'s. Errors at start: a status of one line a problem; the process then exits with 1.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "source/accesslog/grpc_log.h"
#include "source/accesslog/log_file.h"
#include "source/admin/endpoint.h"
#include "source/config/names.h"
#include "source/config/validate.h"
#include "source/filter/registry.h"
#include "source/listener/listener_manager.h"
#include "source/server/bootstrap.h"
#include "source/server/concurrency.h"
#include "source/server/config_thread.h"
#include "source/server/flags.h"
#include "source/server/loop_stats.h"
#include "source/server/stats.h"
#include "source/server/worker.h"
#include "source/tls/socket_parse.h"
#include "source/upstream/cluster_manager.h"
#include "source/xds/assembler.h"
#include "source/xds/follower.h"
#include "source/xds/grpc_transport.h"
#include "source/xds/hub.h"

namespace outrider::server {

enum class State : uint8_t { kPreInitializing, kInitializing, kLive, kDraining };
std::string_view stateName(State state);  // as /ready prints it

class Server final : private event::IoHandler {
 public:
  // `clock` moves only when tests say so; `threads` false: workers are stepped by the caller.
  Server(Flags flags, const base::Clock& clock = base::SystemClock::instance(), bool threads = true);
  ~Server();

  // Parses the bootstrap and its static resources; with Mode::kValidate that is all.
  absl::Status load();
  // Follows what is dynamic; workers start when the first configuration is there.
  void start();
  // start(), then serves until told to end; returns the exit code.
  int run();

  // ---- for admin and tests ----
  State state() const;
  bool healthy() const { return !failed_health_check_; }
  void failHealthCheck(bool fail);
  // Graceful: clients are asked to leave over --drain-time-s, then the listeners close, unless `skip_exit`. Else they close now.
  void drainListeners(bool graceful, bool inbound_only, bool skip_exit);
  void quit();      // as SIGTERM's second: now
  void shutdown();  // as SIGTERM: drain, then end
  event::Loop& loop() { return loop_; }
  std::vector<std::unique_ptr<Worker>>& workers() { return workers_; }
  stats::Store& stats() { return stats_; }
  listener::ListenerManager& listeners() { return *listeners_; }
  upstream::ClusterManager& clusters() { return *clusters_; }
  const Flags& flags() const { return flags_; }
  const LoadedBootstrap& bootstrap() const { return *bootstrap_; }
  const std::vector<std::string>& unsupported() const { return unsupported_; }
  const xds::Hub& hub() const { return *hub_; }
  const xds::Assembler& assembler() const { return *assembler_; }
  const tls::ContextCache& tlsContexts() const { return *contexts_; }
  size_t workerCount() const { return workers_.size(); }
  std::string defaultsText() const;  // /outrider/defaults
  void refreshStats();               // the process's own gauges, when somebody looks
  void reopenLogs();
  admin::Endpoint* admin() { return admin_.get(); }  // null: none is configured
  int stepUntilIdle();                               // tests: turns main and all workers until nothing happens

 private:
  void onReady(uint32_t events) override;  // signals
  absl::StatusOr<upstream::TransportSourceRef> makeTransport(const config::ClusterSpec& spec, const tls::SocketParse& tls);
  void onSignal(int signal);
  void startWorkers();
  absl::Status loadStatic(config::Problems& problems);
  void loadStaticResources(const envoy::config::bootstrap::v3::Bootstrap::StaticResources& resources, config::Problems& problems);
  void checkManagementClusters(config::Problems& problems) const;
  absl::Status startXds(config::Problems& problems);
  absl::Status startAdmin(config::Problems& problems);
  xds::Dialed dial(std::string_view cluster);
  void reportUnsupported(std::string_view resource, const config::Problems& problems);
  void printDefaults() const;
  void watchHeap();
  void limitConnections();
  void endDrain();
  void closeListeners();

  const Flags flags_;
  const bool threads_;
  const Concurrency concurrency_;
  event::Loop loop_;
  stats::Store stats_;
  ServerStats server_stats_;
  std::unique_ptr<LoopStats> loop_stats_;
  config::NameTable names_;
  filter::Registry registry_;
  config::Honored honored_;
  std::unique_ptr<config::Checker> checker_;
  std::unique_ptr<LoadedBootstrap> bootstrap_;
  std::unique_ptr<accesslog::LogFiles> log_files_;
  std::shared_ptr<accesslog::GrpcLogs> grpc_logs_;
  tls::Secrets secrets_;
  std::shared_ptr<tls::ContextCache> contexts_;
  listener::ConnectionLimit limit_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<upstream::ClusterManager> clusters_;
  std::unique_ptr<listener::ListenerManager> listeners_;
  std::unique_ptr<upstream::ClusterView> main_view_;  // main's own look at the clusters, for management streams
  std::unique_ptr<xds::Hub> hub_;
  std::unique_ptr<xds::Assembler> assembler_;
  std::unique_ptr<xds::Follower> follower_;
  std::unique_ptr<ConfigThread> config_thread_;
  std::unique_ptr<admin::Endpoint> admin_;
  std::vector<xds::Assembler::ListenerDraft> drafts_;  // parsed, not yet bound
  std::vector<std::shared_ptr<const config::ClusterSpec>> clusters_of_bootstrap_;
  std::vector<std::string> unsupported_;
  size_t unsupported_count_ = 0;
  State state_ = State::kPreInitializing;
  bool failed_health_check_ = false;
  bool draining_ = false;
  base::Nanos started_at_ = 0;  // wall clock
  size_t workers_idle_ = 0;
  int signal_fd_ = -1;
  int exit_code_ = 0;
  event::Timer drain_delay_;
  event::Timer drain_listeners_;
  bool drain_inbound_only_ = false;
  event::Timer heap_watch_;
  uint64_t removals_seen_ = 0;
  bool trims_again_ = false;
  uint64_t heap_seen_ = 0, heap_after_trim_ = 0;  // bytes, at the last look and after the last trim
  bool heap_trimmed_ = false;                     // since the last look
};

}  // namespace outrider::server
