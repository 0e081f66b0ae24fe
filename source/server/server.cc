#include "source/server/server.h"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>

#include <malloc.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "source/accesslog/access_log_parse.h"
#include "source/admin/admin_parse.h"
#include "source/admin/process_memory.h"
#include "source/base/log.h"
#include "source/config/cluster_parse.h"
#include "source/config/schema.h"
#include "source/server/bootstrap_admin.h"
#include "source/server/catalog.h"
#include "source/server/concurrency.h"
#include "source/server/version.h"
#include "source/upstream/matched_transport_source.h"
#include "source/upstream/tls_transport_source.h"
#include "source/xds/types.h"

namespace outrider::server {
namespace {

// A drain without --drain-time-s takes at most this.
constexpr base::Nanos kDefaultDrain = 15 * base::kSecond;

// A cluster's TLS context as pools use it.

const sigset_t& followedSignals() {
  static const sigset_t signals = [] {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) sigaddset(&set, signal);
    return set;
  }();
  return signals;
}

constexpr base::Nanos kHeapLook = base::kSecond;

}  // namespace

std::string_view stateName(State state) {
  switch (state) {
    case State::kPreInitializing: return "PRE_INITIALIZING";
    case State::kInitializing: return "INITIALIZING";
    case State::kLive: return "LIVE";
    case State::kDraining: return "DRAINING";
  }
  OUTRIDER_UNREACHABLE();
}

Server::Server(Flags flags, const base::Clock& clock, bool threads)
    : flags_(std::move(flags)),
      threads_(threads),
      concurrency_(chooseConcurrency(flags_.concurrency, readCpuLimits())),
      loop_(clock),
      stats_(concurrency_.workers + 1),
      server_stats_(stats_.scope("server.", kServerTable)),
      drain_delay_(event::Timer::to<&Server::endDrain>(loop_.timers(), this)),
      drain_listeners_(event::Timer::to<&Server::closeListeners>(loop_.timers(), this)),
      heap_watch_(event::Timer::to<&Server::watchHeap>(loop_.timers(), this)) {
  if (threads_) {
    // Before any thread is made: they inherit it, and signals come through main's loop alone.
    ::pthread_sigmask(SIG_BLOCK, &followedSignals(), nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }
  fillCatalog(registry_);
  declareBootstrap(honored_);
  admin::declareAdmin(honored_);
  config::declareClusters(honored_);
  checker_ = std::make_unique<config::Checker>(&honored_, flags_.reject_unsupported);
  contexts_ = std::make_shared<tls::ContextCache>();
  accesslog::LogFileOptions log_options;
  log_options.flush_interval = flags_.file_flush_interval_msec * base::kMilli;
  log_files_ = std::make_unique<accesslog::LogFiles>(stats_, log_options);
}

Server::~Server() {
  admin_.reset();
  config_thread_.reset();
  follower_.reset();
  hub_.reset();
  for (const auto& worker : workers_) worker->stop();
  for (const auto& worker : workers_) {
    worker->join();
    if (!threads_) {
      stats::setSlot(worker->context().slot);
      worker->finish();
      stats::setSlot(0);
    }
  }
  assembler_.reset();
  listeners_.reset();
  clusters_.reset();
  main_view_.reset();
  workers_.clear();
  if (signal_fd_ >= 0) {
    loop_.remove(signal_fd_, *this);
    ::close(signal_fd_);
  }
  loop_stats_.reset();
  loop_.setBudget(event::Loop::kNoBudget);
  loop_.turn(0);  // parts that workers posted back are destroyed here
}

State Server::state() const { return failed_health_check_ || draining_ ? State::kDraining : state_; }

// ---- start ----

// What protects a cluster's connections: one transport socket, or one of several for each host.
absl::StatusOr<upstream::TransportSourceRef> Server::makeTransport(const config::ClusterSpec& spec, const tls::SocketParse& tls) {
  const std::string prefix = absl::StrCat("cluster.", spec.stat_name, ".");
  std::vector<config::SdsRef> secrets;
  absl::Status status;
  const auto source = [&](const config::AnySpec& socket, absl::string_view field) -> upstream::TransportSourceRef {
    if (!socket.set() || !status.ok()) return nullptr;
    config::Problems found;
    auto live = tls::parseClientSocket(socket.type_url.substr(socket.type_url.rfind('/') + 1), socket.bytes, prefix, tls, found);
    if (live == nullptr) {
      status = absl::InvalidArgumentError(absl::StrCat(field, ".typed_config.", found.str()));
      return nullptr;
    }
    const auto wants = live->wants();
    secrets.insert(secrets.end(), wants.begin(), wants.end());
    return std::make_shared<upstream::TlsTransportSource>(std::move(live));
  };
  upstream::TransportSourceRef made = source(spec.transport, "transport_socket");
  if (!spec.transport_matches.empty()) {
    std::vector<upstream::MatchedTransportSource::Match> matches;
    std::vector<std::string> names;
    for (size_t i = 0; i < spec.transport_matches.size(); ++i) {
      const config::TransportMatchSpec& match = spec.transport_matches[i];
      matches.push_back({match.labels, source(match.transport, absl::StrCat("transport_socket_matches[", i, "].transport_socket"))});
      names.push_back(match.name);
    }
    made = std::make_shared<upstream::MatchedTransportSource>(std::move(matches), names, std::move(made), stats_,
                                                              prefix);
  }
  if (!status.ok()) return status;
  follower_->clusterSecrets(spec.name, secrets);
  return made;
}

absl::Status Server::load() {
  started_at_ = loop_.wall();
  config::Problems problems;
  bootstrap_ = loadBootstrap(flags_, {}, *checker_, problems);
  if (bootstrap_ == nullptr || !problems.empty()) return absl::InvalidArgumentError(problems.str());
  problems.setLocator(bootstrap_.get());

  OUTRIDER_LOG(kInfo, kMain, "%s", concurrency_.why.c_str());
  limitConnections();
  const bool every_turn = bootstrap_->message.enable_dispatcher_stats();
  loop_stats_ = std::make_unique<LoopStats>(loop_, stats_, "server.", "main", every_turn);
  auto node = bootstrap_->message.node();
  xds::completeNode(node);
  grpc_logs_ = std::make_shared<accesslog::GrpcLogs>(stats_, node.SerializeAsString());
  for (uint32_t i = 0; i < concurrency_.workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(i + 1, loop_.mailbox(), stats_, limit_, &names_, every_turn, loop_.clock()));
    workers_.back()->logTo(*grpc_logs_);
  }
  const tls::SocketParse tls{contexts_, secrets_, stats_};
  main_view_ = std::make_unique<upstream::ClusterView>(loop_, loop_.mailbox(), 0, &names_);
  clusters_ = std::make_unique<upstream::ClusterManager>(
      loop_, stats_, names_,
      [this](std::shared_ptr<const upstream::ClusterChanges> changes) {
        main_view_->apply(*changes);
        for (const auto& worker : workers_) worker->applyClusters(changes);
      },
      [this, tls](const config::ClusterSpec& spec) -> absl::StatusOr<upstream::TransportSourceRef> { return makeTransport(spec, tls); });
  listeners_ = std::make_unique<listener::ListenerManager>(
      stats_, workers_.size(),
      [this](std::shared_ptr<const listener::ListenerChange> change) {
        for (const auto& worker : workers_) worker->applyListener(change);
      },
      flags_.drain_time_s.value_or(600) * base::kSecond);
  assembler_ = std::make_unique<xds::Assembler>(xds::AssemblerParts{
      loop_,
      stats_,
      names_,
      registry_,
      *checker_,
      {flags_.defaults == Flags::Defaults::kEnvoy},
      *clusters_,
      *listeners_,
      tls,
      [this](config::RouteTableId id, std::shared_ptr<const config::RouteTable> table) {
        for (const auto& worker : workers_) worker->applyRoutes(id, table);
      },
      [this](config::ScopeSetId id, std::shared_ptr<const config::ScopeIndex> scopes) {
        for (const auto& worker : workers_) worker->applyScopes(id, scopes);
      },
      [this](std::string_view bytes, config::Problems& found) { return accesslog::parseAccessLog(bytes, *log_files_, found, grpc_logs_); },
      [this](const envoy::config::core::v3::ConfigSource& source, std::string_view type_url, config::Problems& found) {
        (void)hub_->check(source, type_url, found);
      }});
  state_ = State::kInitializing;
  config_thread_ = std::make_unique<ConfigThread>();
  if (absl::Status status = startXds(problems); !status.ok()) return status;
  absl::Status status = loadStatic(problems);
  if (status.ok()) status = startAdmin(problems);
  reportUnsupported("bootstrap", problems);
  return status;
}

void Server::reportUnsupported(std::string_view resource, const config::Problems& problems) {
  // Each is said once; a flood of like resources is counted, not listed.
  constexpr size_t kMostListed = 1000;
  for (const std::string& path : problems.unsupportedPaths()) {
    ++unsupported_count_;
    if (unsupported_.size() >= kMostListed) continue;
    std::string line = absl::StrCat(base::toAbsl(resource), ": ", path);
    if (std::find(unsupported_.begin(), unsupported_.end(), line) != unsupported_.end()) continue;
    OUTRIDER_LOG(kWarning, kConfig, "%s: is set but has no effect in Outrider", line.c_str());
    unsupported_.push_back(std::move(line));
  }
}

// ---- control plane ----

xds::Dialed Server::dial(std::string_view cluster) {
  xds::Dialed out;
  upstream::Cluster* at = main_view_->find(cluster);
  if (at == nullptr) {
    out.error = absl::StrCat("no such cluster: '", base::toAbsl(cluster), "'");
    return out;
  }
  const upstream::Host* host = at->pick({});
  if (host == nullptr) {
    out.error = absl::StrCat("cluster '", base::toAbsl(cluster), "' has no healthy host");
    return out;
  }
  const upstream::ClusterPart& part = at->part();
  std::unique_ptr<net::Transport> transport;
  if (part.transport == nullptr) {
    transport = net::makePlainTransport();
  } else {
    upstream::TransportArgs args;
    args.host = host;
    static constexpr std::string_view kH2[] = {"h2"};
    args.alpn = kH2;
    args.alpn_count = 1;
    transport = part.transport->make(args);
    if (transport == nullptr) {
      out.error = std::string(part.transport->failure());
      return out;
    }
  }
  const int fd = net::makeSocket(host->address);
  if (fd < 0) {
    out.error = std::strerror(errno);
    return out;
  }
  out.connection = std::make_unique<net::Connection>(loop_, fd, std::move(transport), base::Address(), host->address);
  out.connect_timeout = part.spec->connect_timeout;
  out.pin = std::make_shared<upstream::HostRef>(host);
  return out;
}

absl::Status Server::startXds(config::Problems& problems) {
  const auto& message = bootstrap_->message;
  xds::HubOptions options;
  options.node = message.node();
  xds::completeNode(options.node);
  options.allow_unknown_fields = !flags_.reject_unknown_dynamic_fields;
  options.seed = static_cast<uint64_t>(loop_.wall());
  options.elsewhere = [this](std::function<void()> job) { config_thread_->post(std::move(job)); };
  hub_ = std::make_unique<xds::Hub>(
      loop_, stats_,
      [this](const xds::Target& target) -> std::unique_ptr<xds::Transport> {
        return std::make_unique<xds::GrpcTransport>(loop_, target, [this](std::string_view cluster) { return dial(cluster); });
      },
      std::move(options));
  if (message.dynamic_resources().has_ads_config()) {
    const auto at = problems.field("dynamic_resources");
    const auto ads = problems.field("ads_config");
    if (!hub_->setAds(message.dynamic_resources().ads_config(), problems)) return absl::InvalidArgumentError(problems.str());
  }
  {
    const auto at = problems.field("dynamic_resources");
    const auto& dynamic = message.dynamic_resources();
    if (dynamic.has_cds_config()) {
      const auto cds = problems.field("cds_config");
      (void)hub_->check(dynamic.cds_config(), xds::kClusterType, problems);
    }
    if (dynamic.has_lds_config()) {
      const auto lds = problems.field("lds_config");
      (void)hub_->check(dynamic.lds_config(), xds::kListenerType, problems);
    }
    if (!dynamic.lds_resources_locator().empty())
      problems.addAt("lds_resources_locator", dynamic.lds_resources_locator(), "is not implemented");
    if (!dynamic.cds_resources_locator().empty())
      problems.addAt("cds_resources_locator", dynamic.cds_resources_locator(), "is not implemented");
  }
  for (int i = 0; i < message.layered_runtime().layers_size(); ++i) {
    const auto runtime = problems.field("layered_runtime");
    const auto at = problems.element("layers", static_cast<size_t>(i));
    const auto& layer = message.layered_runtime().layers(i);
    if (layer.has_disk_layer()) problems.unsupported("disk_layer");
    if (!layer.has_rtds_layer()) continue;
    const auto rtds = problems.field("rtds_layer");
    const auto source = problems.field("rtds_config");
    (void)hub_->check(layer.rtds_layer().rtds_config(), xds::kRuntimeType, problems);
  }
  if (!problems.empty()) return absl::InvalidArgumentError(problems.str());
  const base::Nanos drain = flags_.drain_time_s.value_or(600) * base::kSecond;
  follower_ = std::make_unique<xds::Follower>(
      xds::FollowerParts{loop_, *hub_, *assembler_, *clusters_, [this](std::function<void()> job) { config_thread_->post(std::move(job)); },
                         [this](std::string_view resource, const config::Problems& found) { reportUnsupported(resource, found); }, drain});
  return absl::OkStatus();
}

// Who serves the configuration is named in the bootstrap itself: nobody else could tell where it is.
void Server::checkManagementClusters(config::Problems& problems) const {
  const auto& dynamic = bootstrap_->message.dynamic_resources();
  const auto at = problems.field("dynamic_resources");
  const auto look = [&](const envoy::config::core::v3::ApiConfigSource& source) {
    for (int i = 0; i < source.grpc_services_size(); ++i) {
      if (!source.grpc_services(i).has_envoy_grpc()) continue;
      const std::string& name = source.grpc_services(i).envoy_grpc().cluster_name();
      if (clusters_->has(name)) continue;
      const auto element = problems.element("grpc_services", static_cast<size_t>(i));
      const auto grpc = problems.field("envoy_grpc");
      problems.addAt("cluster_name", name, "no static cluster has this name", "one of static_resources.clusters");
    }
  };
  if (dynamic.has_ads_config()) {
    const auto ads = problems.field("ads_config");
    look(dynamic.ads_config());
  }
  if (dynamic.cds_config().has_api_config_source()) {
    const auto cds = problems.field("cds_config");
    const auto api = problems.field("api_config_source");
    look(dynamic.cds_config().api_config_source());
  }
  if (dynamic.lds_config().has_api_config_source()) {
    const auto lds = problems.field("lds_config");
    const auto api = problems.field("api_config_source");
    look(dynamic.lds_config().api_config_source());
  }
}

absl::Status Server::loadStatic(config::Problems& problems) {
  const auto& resources = bootstrap_->message.static_resources();
  loadStaticResources(resources, problems);
  checkManagementClusters(problems);
  if (!problems.empty()) return absl::InvalidArgumentError(problems.str());
  if (flags_.mode == Flags::Mode::kValidate) return absl::OkStatus();
  for (xds::Assembler::ListenerDraft& draft : drafts_) {
    if (absl::Status status = assembler_->applyListener(std::move(draft)); !status.ok()) return status;
  }
  drafts_.clear();
  for (const auto& spec : clusters_of_bootstrap_) follower_->clusterApplied(*spec);
  clusters_of_bootstrap_.clear();
  follower_->listenersChanged();
  return absl::OkStatus();
}

void Server::loadStaticResources(const envoy::config::bootstrap::v3::Bootstrap::StaticResources& resources, config::Problems& problems) {
  const auto in_static = problems.field("static_resources");
  for (int i = 0; i < resources.secrets_size(); ++i) {
    const auto at = problems.element("secrets", static_cast<size_t>(i));
    config::SdsRef ref;
    ref.name = resources.secrets(i).name();
    assembler_->applySecret(tls::Secrets::keyOf(ref), resources.secrets(i), problems);
  }
  for (int i = 0; i < resources.clusters_size(); ++i) {
    const auto at = problems.element("clusters", static_cast<size_t>(i));
    auto spec = assembler_->parseCluster(resources.clusters(i), problems);
    if (spec == nullptr) continue;
    if (const absl::Status status = assembler_->applyCluster(spec, false); !status.ok()) {
      problems.add(base::toStd(status.message()));
      continue;
    }
    clusters_of_bootstrap_.push_back(std::move(spec));
  }
  clusters_->flush();
  for (int i = 0; i < resources.listeners_size(); ++i) {
    const auto at = problems.element("listeners", static_cast<size_t>(i));
    const size_t before = problems.size();
    xds::Assembler::ListenerDraft draft = assembler_->parseListener(resources.listeners(i), false, nullptr, problems);
    if (problems.size() > before) continue;
    if (draft.parsed.version->name.empty()) draft.parsed.version->name = absl::StrCat("listener_", i);
    if (const absl::Status status = assembler_->checkClusters(draft); !status.ok()) problems.add(base::toStd(status.message()));
    // Nothing is bound before everything parsed.
    drafts_.push_back(std::move(draft));
  }
}

absl::Status Server::startAdmin(config::Problems& problems) {
  const auto spec = admin::parseAdmin(bootstrap_->message.admin(), problems);
  if (!problems.empty()) return absl::InvalidArgumentError(problems.str());
  if (!spec || flags_.mode == Flags::Mode::kValidate) return absl::OkStatus();
  admin_ = std::make_unique<admin::Endpoint>(adminSources(*this));
  return admin_->listen(spec->address, spec->options, flags_.admin_address_path);
}

void Server::limitConnections() {
  if (flags_.defaults == Flags::Defaults::kEnvoy) return;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return;
  limit_.limit = files.rlim_cur / 4 * 3;
  OUTRIDER_LOG(kInfo, kMain, "at most %lu client connections: three quarters of the limit of open files (%lu)",
               static_cast<unsigned long>(limit_.limit.load()), static_cast<unsigned long>(files.rlim_cur));
}

std::string Server::defaultsText() const {
  if (flags_.defaults == Flags::Defaults::kEnvoy) return "unset fields have Envoy's defaults (--defaults=envoy)\n";
  return "unset fields have safe defaults (--defaults=envoy for Envoy's)\n"
         "paths are normalised, slashes merged, escaped slashes refused\n"
         "strict HTTP/1\n"
         "request heads within 10 s\n"
         "HTTP/2: 100 streams, windows 256 KiB and 1 MiB\n"
         "buffers 64 KiB\n"
         "nobody is internal unless listed\n";
}

void Server::refreshStats() {
  server_stats_.set(ServerStat::kLive, state() == State::kLive ? 1 : 0);
  // As in ServerInfo: LIVE, DRAINING, PRE_INITIALIZING, INITIALIZING.
  constexpr uint64_t kNumbers[] = {2, 3, 0, 1};
  server_stats_.set(ServerStat::kState, kNumbers[static_cast<size_t>(state())]);
  server_stats_.set(ServerStat::kUptime, static_cast<uint64_t>((loop_.wall() - started_at_) / base::kSecond));
  server_stats_.set(ServerStat::kConcurrency, workers_.size());
  server_stats_.set(ServerStat::kTotalConnections, limit_.active.load(std::memory_order_relaxed));
  server_stats_.set(ServerStat::kParentConnections, 0);
  server_stats_.set(ServerStat::kHotRestartEpoch, flags_.restart_epoch);
  // As Envoy has it: the first digits of the revision.
  server_stats_.set(ServerStat::kVersion, std::strtoull(std::string(kRevision.substr(0, 6)).c_str(), nullptr, 16));
  const auto memory = admin::ProcessMemory::now();
  server_stats_.set(ServerStat::kMemoryAllocated, memory.own);
  server_stats_.set(ServerStat::kMemoryHeapSize, memory.reserved);
  uint32_t days = std::numeric_limits<uint32_t>::max();
  const int64_t now = loop_.wall() / base::kSecond;
  contexts_->visit([&](const tls::NativeContext& context) {
    days =
        std::min({days, tls::daysUntilFirstExpiry(context.ownCertificates(), now), tls::daysUntilFirstExpiry(context.authorities(), now)});
  });
  server_stats_.set(ServerStat::kDaysUntilExpiry, days);
}

// What a large configuration needed while it was read, and what many clusters held that have gone, lies free in the heap in pieces
// too small to leave by themselves. Given back on the config thread when memory has grown and grows no more, and, after removals, once
// more with the next look: what workers still used comes free a little later.
void Server::watchHeap() {
  constexpr uint64_t kMany = 64;
  // A trim interrupts the workers' cores (each page given back is taken from all of them): not for what one change needs.
  constexpr uint64_t kLeast = uint64_t{16} << 20, kCalm = uint64_t{1} << 19;
  const uint64_t removals = clusters_->stats().read(upstream::ClusterManagerStat::kClusterRemoved);
  const bool many = removals - removals_seen_ >= kMany;
  const uint64_t own = admin::ProcessMemory::now().own;
  if (std::exchange(heap_trimmed_, false)) heap_after_trim_ = own;
  const bool grown = own > heap_after_trim_ + std::max(kLeast, heap_after_trim_ / 4) && own < heap_seen_ + kCalm;
  if (many || trims_again_ || grown) {
    config_thread_->post([] { ::malloc_trim(0); });
    heap_trimmed_ = true;
  }
  trims_again_ = many;
  removals_seen_ = removals;
  heap_seen_ = own;
  heap_watch_.armIn(kHeapLook);
}

void Server::reopenLogs() {
  base::Log::reopen();
  log_files_->reopenAll();
}

void Server::printDefaults() const {
  const std::vector<std::string> lines = absl::StrSplit(defaultsText(), '\n', absl::SkipEmpty());
  OUTRIDER_LOG(kInfo, kMain, "%s", absl::StrJoin(lines, "; ").c_str());
}

void Server::startWorkers() {
  if (threads_) {
    for (const auto& worker : workers_) worker->start();
  }
  listeners_->stats().set(listener::ManagerStat::kWorkersStarted, 1);
}

void Server::start() {
  printDefaults();
  const auto& dynamic = bootstrap_->message.dynamic_resources();
  follower_->start(bootstrap_->message.layered_runtime(), dynamic.has_cds_config() ? &dynamic.cds_config() : nullptr,
                   dynamic.has_lds_config() ? &dynamic.lds_config() : nullptr, [this] {
                     startWorkers();
                     state_ = State::kLive;
                     server_stats_.record(ServerStat::kInitializationTime,
                                          static_cast<uint64_t>((loop_.wall() - started_at_) / base::kMilli));
                     OUTRIDER_LOG(kInfo, kMain, "all clusters and listeners are initialized; serving");
                   });
}

int Server::run() {
  heap_watch_.armIn(kHeapLook);
  signal_fd_ = ::signalfd(-1, &followedSignals(), SFD_NONBLOCK | SFD_CLOEXEC);
  loop_.add(signal_fd_, *this, event::kReadable);
  start();
  loop_.run();
  return exit_code_;
}

// ---- end ----

void Server::onReady(uint32_t) {
  signalfd_siginfo info;
  while (::read(signal_fd_, &info, sizeof info) == sizeof info) onSignal(static_cast<int>(info.ssi_signo));
}

void Server::onSignal(int signal) {
  switch (signal) {
    case SIGTERM:
    case SIGINT:
      if (draining_) {
        OUTRIDER_LOG(kWarning, kMain, "a second signal to end: exiting at once");
        quit();
      } else {
        shutdown();
      }
      return;
    case SIGUSR1:
      OUTRIDER_LOG(kInfo, kMain, "reopening logs");
      reopenLogs();
      return;
    default: OUTRIDER_LOG(kWarning, kMain, "SIGHUP is ignored: configuration follows its files and control planes"); return;
  }
}

void Server::quit() { loop_.stop(); }

void Server::failHealthCheck(bool fail) { failed_health_check_ = fail; }

void Server::shutdown() {
  if (draining_) return;
  draining_ = true;
  if (flags_.drain_delay_s > 0) {
    OUTRIDER_LOG(kInfo, kMain, "draining in %u s; connections are still accepted", flags_.drain_delay_s);
    drain_delay_.armIn(flags_.drain_delay_s * base::kSecond);
    return;
  }
  endDrain();
}

void Server::endDrain() {
  const base::Nanos time = flags_.drain_time_s.has_value() ? *flags_.drain_time_s * base::kSecond : kDefaultDrain;
  OUTRIDER_LOG(kInfo, kMain, "draining: no new connections, open ones end within %lld s", static_cast<long long>(time / base::kSecond));
  listeners_->stopAll(false);
  filter::DrainState drain;
  drain.draining = drain.immediate = true;
  drain.began = loop_.now();
  for (const auto& worker : workers_) {
    worker->setDrain(drain);
    worker->stopAccepting(false);
    worker->drainConnections(false);
    worker->whenIdle(loop_.now() + time, [this](size_t left) {
      if (left > 0) OUTRIDER_LOG(kWarning, kMain, "%zu connections did not end in time", left);
      if (++workers_idle_ == workers_.size()) loop_.stop();
    });
  }
}

void Server::drainListeners(bool graceful, bool inbound_only, bool skip_exit) {
  drain_inbound_only_ = inbound_only;
  if (!graceful) {
    closeListeners();
    return;
  }
  filter::DrainState drain;
  drain.draining = true;
  drain.immediate = flags_.drain_strategy == Flags::DrainStrategy::kImmediate;
  drain.began = loop_.now();
  drain.period = flags_.drain_time_s.value_or(600) * base::kSecond;
  for (const auto& worker : workers_) worker->setDrain(drain);
  if (!skip_exit) drain_listeners_.armIn(drain.period);
}

void Server::closeListeners() {
  listeners_->stopAll(drain_inbound_only_);
  for (const auto& worker : workers_) worker->stopAccepting(drain_inbound_only_);
}

int Server::stepUntilIdle() {
  int turns = 0;
  bool any = true;
  while (any && turns < 100000) {
    any = loop_.turn(0);
    for (const auto& worker : workers_) any |= worker->step();
    ++turns;
  }
  return turns;
}

}  // namespace outrider::server
