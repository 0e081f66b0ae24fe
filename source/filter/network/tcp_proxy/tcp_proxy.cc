#include "source/filter/network/tcp_proxy/tcp_proxy.h"

#include "source/upstream/cluster_view.h"

namespace outrider::filter::network::tcp_proxy {

using stream::ResponseFlag;
using Pause = net::Connection::Pause;

std::unique_ptr<NetworkFilter> TcpProxyConfig::make(const NetworkContext& context) const {
  return std::make_unique<TcpProxy>(*this, context);
}

TcpProxy::TcpProxy(const TcpProxyConfig& config, const NetworkContext& context)
    : context_(context),
      downstream_(context.connection),
      config_(config),
      part_(context.chain.part()),
      retry_(event::Deferred::to<&TcpProxy::connect>(this)),
      idle_timer_(event::Timer::to<&TcpProxy::onIdle>(context.worker.loop.timers(), this)),
      duration_timer_(event::Timer::to<&TcpProxy::onMaxDuration>(context.worker.loop.timers(), this)),
      reset_timer_(event::Timer::to<&TcpProxy::tryReset>(context.worker.loop.timers(), this)) {
  config_.stats.inc(TcpStat::kCxTotal);
  info_.connection = &context_.info;
  info_.remote = context_.info.remote();
  info_.start = context_.worker.loop.now();
  info_.start_wall = context_.worker.loop.wall();
  touch();
}

TcpProxy::~TcpProxy() = default;

base::Nanos TcpProxy::linger() const { return config_.idle_timeout > 0 ? config_.idle_timeout : 3600 * base::kSecond; }

// ---- Connecting ----

void TcpProxy::onConnected() {
  phase_ = Phase::kConnecting;
  downstream_.pauseReading(Pause::kPauseUpstream);  // until there is somebody to give the bytes to
  if (config_.idle_timeout > 0) idle_timer_.armIn(config_.idle_timeout);
  if (config_.max_duration > 0) {
    const double extra = config_.max_duration_jitter * static_cast<double>(context_.worker.random.below(1u << 20)) / (1u << 20);
    duration_timer_.armIn(config_.max_duration + static_cast<base::Nanos>(static_cast<double>(config_.max_duration) * extra));
  }
  // Not from within the connection's event: what fails at once closes it.
  context_.worker.loop.defer(retry_);
}

void TcpProxy::connect() {
  if (phase_ != Phase::kConnecting) return;
  upstream::Cluster* cluster = context_.worker.clusters.find(config_.choose(context_.worker.random));
  if (cluster == nullptr) {
    config_.stats.inc(TcpStat::kCxNoRoute);
    info_.flags.set(ResponseFlag::kNoClusterFound);
    giveUp("cluster_not_found");
    return;
  }
  cluster_part_ = cluster->partRef();
  info_.cluster = cluster_part_.get();
  if (attempts_ >= config_.max_connect_attempts) {
    cluster_part_->stats.inc(upstream::ClusterStat::kUpstreamCxConnectAttemptsExceeded);
    info_.flags.set(ResponseFlag::kUpstreamRetryLimitExceeded);
    giveUp("upstream_connect_failed");
    return;
  }
  ++attempts_;
  info_.attempts = static_cast<uint16_t>(attempts_);
  upstream::lb::LbContext context;
  std::optional<base::Address> destination;
  if (const config::ClusterSpec& spec = *cluster_part_->spec; spec.discovery == config::Discovery::kOriginalDst) {
    bool invalid = false;
    destination = upstream::originalDestination(spec.original_dst, nullptr, info_.connection, invalid);
    if (destination.has_value()) context.destination = &*destination;
  }
  auto taken = upstream::TcpLease::take(*cluster, *this, context);
  if (taken.host != nullptr) {
    host_ = taken.host;
    info_.host = host_.get();
  }
  switch (taken.refusal) {
    case upstream::TcpLease::Refusal::kNone: lease_ = taken.lease; return;
    case upstream::TcpLease::Refusal::kNoHost:
      info_.flags.set(ResponseFlag::kNoHealthyUpstream);
      giveUp("no_healthy_upstream");
      return;
    case upstream::TcpLease::Refusal::kOverflow:
      info_.flags.set(ResponseFlag::kUpstreamOverflow);
      giveUp("upstream_overflow");
      return;
    case upstream::TcpLease::Refusal::kNoConnection: break;
  }
  upstream_failure_ = std::move(taken.failure);
  info_.upstream_transport_failure = upstream_failure_;
  connectFailed(ResponseFlag::kUpstreamConnectionFailure);
}

void TcpProxy::connectFailed(ResponseFlag flag) {
  info_.flags.set(flag);
  context_.worker.loop.defer(retry_);  // the next attempt, or the end of them
}

void TcpProxy::giveUp(std::string_view details) {
  // A clean end would look like an empty answer.
  resetDownstream(details);
}

void TcpProxy::onLeaseConnected() {
  phase_ = Phase::kOpen;
  touch();
  info_.pool_ready_at = context_.worker.loop.now();
  info_.upstream_local = lease_->connection().local();
  info_.upstream_connection_id = lease_->connection().id();
  if (const stream::SecurityInfo* tls = lease_->connection().transport().security(); tls != nullptr && !config_.access_logs.empty()) {
    upstream_tls_ = std::make_unique<stream::SecurityInfo>(*tls);  // the log is written when that connection is gone
    info_.upstream_tls = upstream_tls_.get();
  }
  if (config_.log_on_connected) log();
  downstream_.resumeReading(Pause::kPauseUpstream);
  downstream_.passTo(lease_->connection());
  lease_->connection().passTo(downstream_);
}

// ---- Bytes ----

void TcpProxy::receivedBytes(size_t bytes) {
  touch();
  info_.bytes_received += bytes;
  config_.stats.inc(TcpStat::kCxRxBytesTotal, static_cast<int64_t>(bytes));
}

void TcpProxy::sentBytes(size_t bytes) {
  touch();
  info_.bytes_sent += bytes;
  config_.stats.inc(TcpStat::kCxTxBytesTotal, static_cast<int64_t>(bytes));
}

void TcpProxy::pauseDownstream() {
  if (downstream_.readingPaused()) return;
  config_.stats.inc(TcpStat::kFlowPaused);
  cluster_part_->stats.inc(upstream::ClusterStat::kUpstreamFlowControlBackedUpTotal);
  downstream_.pauseReading(Pause::kPauseUpstream);
}

void TcpProxy::pauseUpstream() {
  if (lease_->connection().readingPaused()) return;
  cluster_part_->stats.inc(upstream::ClusterStat::kUpstreamFlowControlPausedReadingTotal);
  lease_->connection().pauseReading(Pause::kPauseUpstream);
}

void TcpProxy::onBytes(base::Buffer& in, bool eof) {
  if (phase_ != Phase::kOpen || lease_ == nullptr) {
    if (phase_ == Phase::kResetting) in.clear();
    return;
  }
  net::Connection& upstream = lease_->connection();
  receivedBytes(in.size());
  upstream.out().move(in);
  upstream.markDirty();
  if (eof) {
    downstream_ended_ = true;
    upstream.finishWriting();
    finishIfDone();
  } else if (upstream.out().size() > upstream.bufferLimit()) {
    pauseDownstream();
  }
}

void TcpProxy::onPassed(size_t bytes) {
  if (lease_ == nullptr) return;
  receivedBytes(bytes);
  if (lease_->connection().piped() > 0) pauseDownstream();
}

void TcpProxy::onLeaseRoom() {
  if (!downstream_.readingPaused()) return;
  config_.stats.inc(TcpStat::kFlowResumed);
  cluster_part_->stats.inc(upstream::ClusterStat::kUpstreamFlowControlDrainedTotal);
  downstream_.resumeReading(Pause::kPauseUpstream);
}

void TcpProxy::onLeaseBytes(base::Buffer& in, bool eof) {
  sentBytes(in.size());
  downstream_.out().move(in);
  downstream_.markDirty();
  if (eof) {
    upstream_ended_ = true;
    downstream_.finishWriting();
    finishIfDone();
  } else if (downstream_.out().size() > downstream_.bufferLimit()) {
    pauseUpstream();
  }
}

void TcpProxy::onLeasePassed(size_t bytes) {
  sentBytes(bytes);
  if (downstream_.piped() > 0) pauseUpstream();
}

void TcpProxy::onFlush(base::Buffer&) { touch(); }

void TcpProxy::onRoom() {
  if (lease_ == nullptr || !lease_->connection().readingPaused()) return;
  cluster_part_->stats.inc(upstream::ClusterStat::kUpstreamFlowControlResumedReadingTotal);
  lease_->connection().resumeReading(Pause::kPauseUpstream);
}

// ---- Ends ----

void TcpProxy::finishIfDone() {
  if (!downstream_ended_ || !upstream_ended_) return;
  phase_ = Phase::kOver;
  if (!upstream::delivered(lease_->connection())) config_.stats.inc(TcpStat::kUpstreamFlushTotal);
  std::exchange(lease_, nullptr)->finish(linger());
  context_.chain.closeAfterFlush(linger());
}

void TcpProxy::onLeaseClosed(net::CloseReason reason) {
  upstream::TcpLease& lease = *std::exchange(lease_, nullptr);
  if (reason == net::CloseReason::kTransportError) upstream_failure_ = lease.connection().transport().failure();
  info_.upstream_transport_failure = upstream_failure_;
  if (phase_ == Phase::kConnecting) {
    connectFailed(ResponseFlag::kUpstreamConnectionFailure);
    return;
  }
  if (phase_ != Phase::kOpen) return;
  if (reason == net::CloseReason::kRemoteReset) info_.flags.set(ResponseFlag::kUpstreamRemoteReset);
  // However it was cut, the client must not take it for the end of what the server wanted to say.
  resetDownstream(reason == net::CloseReason::kLocal ? "upstream_closed_by_proxy" : "upstream_reset");
}

void TcpProxy::resetDownstream(std::string_view details) {
  phase_ = Phase::kResetting;
  reset_details_ = details;
  reset_by_ = context_.worker.loop.now() + upstream::kDeliveryPatience;
  downstream_.pauseReading(Pause::kPauseClosing);
  tryReset();
}

void TcpProxy::tryReset() {
  if (!upstream::delivered(downstream_) && context_.worker.loop.now() < reset_by_) {
    reset_timer_.armIn(upstream::kDeliveryPoll);
    return;
  }
  context_.chain.closeReset(reset_details_);
}

void TcpProxy::onClosed(net::CloseReason reason) {
  const Phase before = std::exchange(phase_, Phase::kOver);
  idle_timer_.cancel();
  duration_timer_.cancel();
  reset_timer_.cancel();
  retry_.unlink();
  if (upstream::TcpLease* lease = std::exchange(lease_, nullptr)) {
    if (before != Phase::kOpen || reason == net::CloseReason::kLocal) {
      lease->closeNow();
    } else {
      // A client that was cut (or whose TLS broke) is cut upstream, too: half of what it said must not look whole.
      if (!upstream::delivered(lease->connection())) config_.stats.inc(TcpStat::kUpstreamFlushTotal);
      info_.flags.set(ResponseFlag::kDownstreamRemoteReset);
      lease->abort();
    }
  }
  info_.end = context_.worker.loop.now();
  log();
}

void TcpProxy::onIdle() {
  const base::Nanos until = active_at_ + config_.idle_timeout;
  if (context_.worker.loop.now() < until) {  // lazily: bytes only note the time
    idle_timer_.armAt(until);
    return;
  }
  config_.stats.inc(TcpStat::kIdleTimeout);
  info_.flags.set(ResponseFlag::kStreamIdleTimeout);
  context_.chain.closeNow("tcp_session_idle_timeout");
}

void TcpProxy::onMaxDuration() {
  config_.stats.inc(TcpStat::kMaxDuration);
  info_.flags.set(ResponseFlag::kDurationTimeout);
  context_.chain.closeNow("max_downstream_connection_duration");
}

void TcpProxy::log() {
  info_.upstream_wire_sent = info_.bytes_received;
  info_.upstream_wire_received = info_.bytes_sent;
  for (const auto& each : config_.access_logs) each->log({nullptr, nullptr, nullptr, info_});
}

}  // namespace outrider::filter::network::tcp_proxy
