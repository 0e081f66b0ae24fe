#include "source/upstream/pool/host_pool.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "source/http/h1/client_codec.h"
#include "source/http/h2/client_codec.h"
#include "source/upstream/cluster_view.h"
#include "source/upstream/http2_stats.h"
#include "source/upstream/pool/connect.h"

namespace outrider::upstream {

using http::ResetReason;

// ---- one connection ----

PoolConnection::PoolConnection(HostPool& pool, std::unique_ptr<net::Connection> connection)
    : pool_(&pool),
      connection_(std::move(connection)),
      settings_(pool.cluster_->settings()),
      keepalive_timer_(event::Timer::to<&PoolConnection::onKeepalive>(pool.loop_.timers(), this)) {
  connection_->setSink(*this);
}

PoolConnection::~PoolConnection() = default;

void PoolConnection::onConnected() {
  HostPool& pool = *pool_;
  const ClusterStats& stats = pool.cluster_->part().stats;
  stats.record(ClusterStat::kUpstreamCxConnectMs, static_cast<uint64_t>((pool.loop_.now() - connection_->startedAt()) / base::kMilli));
  bool h2 = pool.protocol_ == PoolProtocol::kHttp2;
  if (pool.protocol_ == PoolProtocol::kAuto) h2 = connection_->transport().alpn() == "h2";
  if (h2) {
    // Its first streams go out before its SETTINGS come: as many as the host allowed last.
    http::h2::Settings settings = settings_->h2;
    settings.assumed_peer_streams = pool.peer_streams_;
    auto codec = std::make_unique<http::h2::ClientCodec>(settings, h2_counters_, *this, pool.loop_.now());
    h2_ = codec.get();
    (void)pool.cluster_->http2Stats();  // its names are there from now on
    keepalive_.start(*codec, settings_->h2.keepalive, pool.loop_.now(), static_cast<uint64_t>(pool.loop_.now()) ^ connection_->id());
    codec_ = std::move(codec);
    if (keepalive_.deadline() > 0) keepalive_timer_.armAt(keepalive_.deadline());
    if (pool.protocol_ == PoolProtocol::kAuto) stats.inc(ClusterStat::kUpstreamCxHttp2Total);
  } else {
    codec_ = std::make_unique<http::h1::ClientCodec>(settings_->h1, h1_counters_, *this, connection_->out());
    if (pool.protocol_ == PoolProtocol::kAuto) stats.inc(ClusterStat::kUpstreamCxHttp1Total);
  }
  base::IntrusiveList<PoolConnection, ConnectionTag>::erase(*this);
  --pool.connecting_count_;
  pool.busy_.pushBack(*this);
  connection_->markDirty();      // h2: preface and SETTINGS
  pool.loop_.defer(pool.work_);  // streams start outside of this event
}

void PoolConnection::onBytes(base::Buffer& in, bool eof) {
  if (codec_ == nullptr) return;
  if (codec_->feed(in) == http::Feed::kPaused) connection_->pauseReading(net::Connection::kPauseCodec);
  if (eof) codec_->onPeerFinished();
  if ((eof && codec_->openStreams() == 0) || (codec_->finished() && codec_->openStreams() == 0)) pool_->loop_.defer(pool_->work_);
}

void PoolConnection::onFlush(base::Buffer& out) {
  if (codec_ == nullptr) return;
  codec_->fill(out);
  if (h2_ != nullptr) countHttp2();
  if (codec_->outputFinished()) connection_->finishWriting();
}

void PoolConnection::countHttp2() {
  if (!h2_counters_.any()) return;
  if (const stats::ScopeRef& scope = pool_->cluster_->http2Stats(); scope != nullptr) addHttp2(scope, h2_counters_);
  h2_counters_ = {};
}

void PoolConnection::onRoom() {
  if (codec_ != nullptr) codec_->onOutputDrained();
}

void PoolConnection::onStreamDone() {
  HostPool& pool = *pool_;
  if (closed_) return;
  // The common case needs no further call: nobody waits and the connection may serve again.
  if (pool.pending_.empty() && !pool.draining_ && codec_->openStreams() == 0 && codec_->freeStreams() > 0 && !codec_->finished() &&
      !connection_->peerFinished()) {
    pool.setIdle(*this);
    return;
  }
  pool.loop_.defer(pool.work_);
}

void PoolConnection::onGoAway() {
  pool_->cluster_->part().stats.inc(ClusterStat::kUpstreamCxCloseNotify);
  pool_->loop_.defer(pool_->work_);
}

void PoolConnection::onCapacity() {
  pool_->peer_streams_ = std::max(std::min(h2_->peerStreams(), settings_->h2.max_concurrent_streams), 1u);
  pool_->loop_.defer(pool_->work_);
}

void PoolConnection::onConnectionError(std::string_view) {
  pool_->cluster_->part().stats.inc(ClusterStat::kUpstreamCxProtocolError);
  pool_->loop_.defer(pool_->work_);
}

void PoolConnection::onKeepalive() {
  if (closed_) return;
  if (!keepalive_.onTime()) {
    ++h2_counters_.keepalive_timeout;
    close(net::CloseReason::kTransportError);  // a peer that does not answer is gone
    return;
  }
  keepalive_timer_.armAt(keepalive_.deadline());
}

void PoolConnection::close(net::CloseReason reason) {
  if (closed_) return;
  connection_->closeNow();
  onClosed(reason);
}

void PoolConnection::onClosed(net::CloseReason reason) {
  if (closed_) return;
  closed_ = true;
  keepalive_timer_.cancel();
  keepalive_.stop();
  HostPool& pool = *pool_;
  const ClusterPart& part = pool.cluster_->part();
  const ClusterStats& stats = part.stats;
  const bool remote =
      reason == net::CloseReason::kRemoteFin || reason == net::CloseReason::kRemoteReset || reason == net::CloseReason::kConnectFailed;
  const bool was_connecting = codec_ == nullptr;
  base::IntrusiveList<PoolConnection, ConnectionTag>::erase(*this);
  --pool.connections_;
  pool.host_->load.connections.fetch_sub(1, std::memory_order_relaxed);
  (void)pool.cluster_->breaker(false).connections.release(permit_counted_);
  stats.inc(ClusterStat::kUpstreamCxDestroy);
  stats.dec(ClusterStat::kUpstreamCxActive);
  stats.inc(remote ? ClusterStat::kUpstreamCxDestroyRemote : ClusterStat::kUpstreamCxDestroyLocal);
  stats.inc(ClusterStat::kUpstreamCxRxBytesTotal, static_cast<int64_t>(connection_->bytesRead()));
  stats.inc(ClusterStat::kUpstreamCxTxBytesTotal, static_cast<int64_t>(connection_->bytesWritten()));
  stats.record(ClusterStat::kUpstreamCxLengthMs, static_cast<uint64_t>((pool.loop_.now() - connection_->startedAt()) / base::kMilli));
  if (codec_ != nullptr && codec_->openStreams() > 0) {
    stats.inc(ClusterStat::kUpstreamCxDestroyWithActiveRq, static_cast<int64_t>(codec_->openStreams()));
    stats.inc(remote ? ClusterStat::kUpstreamCxDestroyRemoteWithActiveRq : ClusterStat::kUpstreamCxDestroyLocalWithActiveRq,
              static_cast<int64_t>(codec_->openStreams()));
    // If the peer closed it for being idle, it has done, or is about to do, the same with those that are idle for longer.
    if (remote && reused()) pool.dropStale(idle_since_);
    codec_->resetAll(reason == net::CloseReason::kLocal ? ResetReason::kLocal : ResetReason::kConnectionClosed);
  }
  if (was_connecting) {
    --pool.connecting_count_;
    std::string cause;
    ResetReason why = ResetReason::kConnectFailure;
    switch (reason) {
      case net::CloseReason::kConnectFailed:
        cause = absl::StrCat("delayed connect error: ", std::strerror(connection_->error()));
        pool.host_->stats.cx_connect_fail.fetch_add(1, std::memory_order_relaxed);
        stats.inc(ClusterStat::kUpstreamCxConnectFail);
        break;
      case net::CloseReason::kConnectTimeout:
      case net::CloseReason::kHandshakeTimeout:
        why = ResetReason::kConnectTimeout;
        pool.host_->stats.cx_connect_fail.fetch_add(1, std::memory_order_relaxed);
        stats.inc(ClusterStat::kUpstreamCxConnectFail);
        stats.inc(ClusterStat::kUpstreamCxConnectTimeout);
        break;
      case net::CloseReason::kTransportError:
        cause = std::string(connection_->transport().failure());
        pool.host_->stats.cx_connect_fail.fetch_add(1, std::memory_order_relaxed);
        stats.inc(ClusterStat::kUpstreamCxConnectFail);
        break;
      default: stats.inc(ClusterStat::kUpstreamCxConnectFail); pool.host_->stats.cx_connect_fail.fetch_add(1, std::memory_order_relaxed);
    }
    if (reason != net::CloseReason::kLocal) pool.connectionFailed(why, cause);
  }
  if (h2_ != nullptr) countHttp2();
  pool.loop_.defer(pool.work_);
  pool.loop_.retire(this);
}

// ---- the pool ----

HostPool::HostPool(Cluster& cluster, HostRef host, PoolProtocol protocol)
    : cluster_(&cluster),
      host_(std::move(host)),
      protocol_(protocol),
      loop_(cluster.loop()),
      work_(event::Deferred::to<&HostPool::work>(this)),
      idle_timer_(event::Timer::to<&HostPool::onIdleTimer>(loop_.timers(), this)) {}

HostPool::~HostPool() = default;

PoolConnection* HostPool::freeConnection() {
  // One that just heard GOAWAY, or broke, is among the idle until this turn's work().
  const auto usable = [](PoolConnection& each) { return each.ready() && !each.codec_->finished() && each.codec_->freeStreams() > 0; };
  if (!idle_.empty() && usable(idle_.front())) return &idle_.front();
  PoolConnection* best = nullptr;
  idle_.forEach([&](PoolConnection& each) {
    if (best == nullptr && usable(each)) best = &each;
  });
  if (best != nullptr || protocol_ == PoolProtocol::kHttp1) return best;
  size_t room = 0;
  busy_.forEach([&](PoolConnection& each) {
    if (!each.ready() || each.codec_->finished() || spent(each)) return;
    const size_t free = each.codec_->freeStreams();
    if (free > room) {
      best = &each;
      room = free;
    }
  });
  return best;
}

bool HostPool::spent(const PoolConnection& connection) const {
  const uint32_t most = cluster_->part().spec->http.max_requests_per_connection;
  return most > 0 && connection.served_ >= most;
}

void HostPool::assign(PoolConnection& connection) {
  base::IntrusiveList<PoolConnection, ConnectionTag>::erase(connection);
  busy_.pushBack(connection);
  ++connection.served_;
}

void HostPool::acquire(Attempt& attempt) {
  if (!draining_ && pending_.empty() && !attempt.options_.fresh) {
    if (PoolConnection* connection = freeConnection()) {
      if (!attempt.admit()) return;
      assign(*connection);
      attempt.attach(*connection);
      return;
    }
  }
  const ClusterPart& part = cluster_->part();
  if (!cluster_->breaker(attempt.options_.high_priority).pending.tryAcquire(attempt.pending_counted_)) {
    part.stats.inc(ClusterStat::kUpstreamRqPendingOverflow);
    attempt.fail(ResetReason::kPoolOverflow, {});
    return;
  }
  attempt.pending_permit_ = true;
  part.stats.inc(ClusterStat::kUpstreamRqPendingTotal);
  part.stats.inc(ClusterStat::kUpstreamRqPendingActive);
  pending_.pushBack(attempt);
  ++pending_count_;
  if (connecting_count_ >= wanted()) return;
  // A connection that has just come up serves who waits at the end of the turn.
  if (!attempt.options_.fresh && freeConnection() != nullptr)
    loop_.defer(work_);
  else
    connect();
}

uint32_t HostPool::wanted() const {
  if (protocol_ == PoolProtocol::kHttp1) return pending_count_;
  return pending_count_ == 0 ? 0 : 1 + (pending_count_ - 1) / peer_streams_;
}

void HostPool::cancel(Attempt& attempt) {
  if (!base::IntrusiveList<Attempt, PendingTag>::contains(attempt)) return;
  base::IntrusiveList<Attempt, PendingTag>::erase(attempt);
  --pending_count_;
  cluster_->part().stats.dec(ClusterStat::kUpstreamRqPendingActive);
  if (attempt.pending_permit_) {
    attempt.pending_permit_ = false;
    (void)cluster_->breaker(attempt.options_.high_priority).pending.release(attempt.pending_counted_);
  }
}

void HostPool::connect() {
  const ClusterPart& part = cluster_->part();
  bool counted = false;
  if (!cluster_->breaker(false).connections.tryAcquire(counted)) {
    part.stats.inc(ClusterStat::kUpstreamCxOverflow);
    // At least one connection a pool: a cluster at its limit must not starve this worker.
    if (connections_ > 0) return;
    cluster_->breaker(false).connections.force(counted);
  }
  static constexpr std::string_view kBoth[] = {"h2", "http/1.1"};
  static constexpr std::string_view kH2[] = {"h2"};
  TransportArgs args;
  args.host = host_.get();
  if (protocol_ == PoolProtocol::kAuto) {
    args.alpn = kBoth;
    args.alpn_count = 2;
  } else if (protocol_ == PoolProtocol::kHttp2) {
    args.alpn = kH2;
    args.alpn_count = 1;
  }
  std::string failure;
  std::unique_ptr<net::Connection> connection = makeConnection(loop_, part, args, failure);
  if (connection == nullptr) {
    (void)cluster_->breaker(false).connections.release(counted);
    part.stats.inc(ClusterStat::kUpstreamCxConnectFail);
    host_->stats.cx_connect_fail.fetch_add(1, std::memory_order_relaxed);
    connectionFailed(ResetReason::kConnectFailure, failure);
    return;
  }
  auto* made = new PoolConnection(*this, std::move(connection));
  made->permit_counted_ = counted;
  connecting_.pushBack(*made);
  ++connecting_count_;
  ++connections_;
  host_->load.connections.fetch_add(1, std::memory_order_relaxed);
  host_->stats.cx_total.fetch_add(1, std::memory_order_relaxed);
  part.stats.inc(ClusterStat::kUpstreamCxTotal);
  if (protocol_ == PoolProtocol::kHttp1) part.stats.inc(ClusterStat::kUpstreamCxHttp1Total);
  if (protocol_ == PoolProtocol::kHttp2) part.stats.inc(ClusterStat::kUpstreamCxHttp2Total);
  part.stats.inc(ClusterStat::kUpstreamCxActive);
  made->connection_->startConnect(part.spec->connect_timeout);
}

void HostPool::connectionFailed(ResetReason reason, std::string_view transport_failure) {
  // Whoever waits beyond what the remaining attempts to connect can serve fails with this cause.
  uint32_t keep = protocol_ == PoolProtocol::kHttp1 ? connecting_count_ : (connecting_count_ > 0 ? pending_count_ : 0);
  while (pending_count_ > keep) {
    Attempt& attempt = pending_.front();
    cancel(attempt);
    cluster_->part().stats.inc(ClusterStat::kUpstreamRqPendingFailureEject);
    attempt.fail(reason, transport_failure);
  }
}

void HostPool::setIdle(PoolConnection& connection) {
  const config::UpstreamHttpSpec& http = cluster_->part().spec->http;
  base::IntrusiveList<PoolConnection, ConnectionTag>::erase(connection);
  if (spent(connection)) {
    cluster_->part().stats.inc(ClusterStat::kUpstreamCxMaxRequests);
    busy_.pushBack(connection);
    connection.codec_->drain();
    loop_.defer(work_);
    return;
  }
  connection.idle_since_ = loop_.now();
  idle_.pushFront(connection);
  if (http.idle_timeout > 0 && !idle_timer_.armed()) idle_timer_.armIn(http.idle_timeout);
}

void HostPool::dropStale(base::Nanos idle_since) {
  while (!idle_.empty() && idle_.back().idle_since_ <= idle_since) idle_.back().close();
}

void HostPool::onIdleTimer() {
  const base::Nanos timeout = cluster_->part().spec->http.idle_timeout;
  if (timeout <= 0) return;
  const base::LocalRef<HostPool> keep(this);
  // The least recently used are at the back.
  while (!idle_.empty() && idle_.back().idle_since_ + timeout <= loop_.now()) {
    cluster_->part().stats.inc(ClusterStat::kUpstreamCxIdleTimeout);
    idle_.back().close();
  }
  if (!idle_.empty()) idle_timer_.armAt(idle_.back().idle_since_ + timeout);
}

PoolConnection* HostPool::connectionFor(const Attempt& attempt) {
  // Where none can be made, one that has served must do.
  const bool fresh = attempt.options_.fresh && (connecting_count_ > 0 || cluster_->breaker(false).connections.exhausted() == false);
  PoolConnection* found = fresh ? nullptr : freeConnection();
  if (found != nullptr) return found;
  // A connection that has just come up, or an HTTP/1 one that has just ended its exchange, is busy so far, and free.
  busy_.forEach([&](PoolConnection& each) {
    if (found != nullptr || !each.ready() || each.codec_->finished() || spent(each) || each.codec_->freeStreams() == 0) return;
    if (!fresh || each.served_ == 0) found = &each;
  });
  return found;
}

void HostPool::work() {
  const base::LocalRef<HostPool> keep(this);
  // Connections that can serve no more. A draining pool still serves who waited when it began to drain.
  const bool over = draining_ && pending_.empty();
  busy_.forEach([&](PoolConnection& each) {
    if (each.codec_ == nullptr || each.codec_->openStreams() > 0) return;
    if (each.codec_->finished() || each.connection_->peerFinished() || over) {
      each.close();
    } else if (!draining_ && pending_.empty() && each.codec_->freeStreams() > 0) {
      setIdle(each);
    }
  });
  idle_.forEach([&](PoolConnection& each) {
    if (each.codec_->finished() || each.connection_->peerFinished() || over) each.close();
  });
  while (!pending_.empty()) {
    Attempt& attempt = pending_.front();
    PoolConnection* connection = connectionFor(attempt);
    if (connection == nullptr) break;
    cancel(attempt);
    if (!attempt.admit()) continue;
    assign(*connection);
    attempt.attach(*connection);
  }
  busy_.forEach([&](PoolConnection& each) {
    if (!draining_ && each.codec_ != nullptr && each.codec_->openStreams() == 0 && each.codec_->freeStreams() > 0) setIdle(each);
  });
  while (connecting_count_ < wanted()) {
    const uint32_t before = connecting_count_;
    connect();
    if (connecting_count_ == before) break;
  }
}

void HostPool::drain(bool now) {
  draining_ = true;
  const base::LocalRef<HostPool> keep(this);
  idle_timer_.cancel();
  while (!idle_.empty()) idle_.front().close();
  if (pending_.empty()) {
    while (!connecting_.empty()) connecting_.front().close();
  }
  busy_.forEach([&](PoolConnection& each) {
    if (now) {
      each.close();
    } else if (each.codec_ != nullptr) {
      each.codec_->drain();
      each.connection_->markDirty();
    }
  });
  if (now) {
    while (!connecting_.empty()) connecting_.front().close();
    while (!pending_.empty()) {
      Attempt& attempt = pending_.front();
      cancel(attempt);
      attempt.fail(ResetReason::kConnectionClosed, {});
    }
  }
}

}  // namespace outrider::upstream
