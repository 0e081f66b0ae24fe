#include "source/upstream/call/tcp_lease.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "source/upstream/cluster_view.h"
#include "source/upstream/pool/connect.h"

namespace outrider::upstream {

bool delivered(net::Connection& connection) {
  if (!connection.open()) return true;
  if (!connection.out().empty() || connection.piped() > 0 || connection.transport().hasSealed()) return false;
  int waiting = 0;
  return ::ioctl(connection.fd(), SIOCOUTQ, &waiting) < 0 || waiting == 0;
}

TcpLease::TcpLease(Cluster& cluster, TcpLeaseOwner& owner, ClusterPartRef part, HostRef host)
    : cluster_(&cluster),
      owner_(&owner),
      part_(std::move(part)),
      host_(std::move(host)),
      reset_timer_(event::Timer::to<&TcpLease::tryReset>(cluster.loop().timers(), this)) {}

TcpLease::~TcpLease() = default;

TcpLease::Taken TcpLease::take(Cluster& cluster, TcpLeaseOwner& owner, const lb::LbContext& context) {
  Taken out;
  const ClusterPartRef part = cluster.partRef();
  const ClusterStats& stats = part->stats;
  // The breaker comes first, as in Envoy: a full cluster is not asked for a host.
  bool counted = false;
  if (!cluster.breaker(false).connections.tryAcquire(counted)) {
    stats.inc(ClusterStat::kUpstreamCxOverflow);
    out.refusal = Refusal::kOverflow;
    return out;
  }
  const auto refuse = [&](Refusal why) {
    (void)cluster.breaker(false).connections.release(counted);
    out.refusal = why;
    return out;
  };
  const Host* host = cluster.pick(context);
  if (host == nullptr) {
    stats.inc(ClusterStat::kUpstreamCxNoneHealthy);
    return refuse(Refusal::kNoHost);
  }
  out.host = HostRef(host);
  TransportArgs args;
  args.host = host;
  std::unique_ptr<net::Connection> connection = makeConnection(cluster.loop(), *part, args, out.failure);
  if (connection == nullptr) {
    stats.inc(ClusterStat::kUpstreamCxConnectFail);
    host->stats.cx_connect_fail.fetch_add(1, std::memory_order_relaxed);
    return refuse(Refusal::kNoConnection);
  }
  auto* made = new TcpLease(cluster, owner, part, out.host);
  made->permit_counted_ = counted;
  made->connection_ = std::move(connection);
  made->connection_->setSink(*made);
  made->connection_->setBufferLimit(part->spec->buffer_limit);
  cluster.leases().pushBack(*made);
  host->load.connections.fetch_add(1, std::memory_order_relaxed);
  host->load.active.fetch_add(1, std::memory_order_relaxed);
  host->stats.cx_total.fetch_add(1, std::memory_order_relaxed);
  stats.inc(ClusterStat::kUpstreamCxTotal);
  stats.inc(ClusterStat::kUpstreamCxActive);
  made->connection_->startConnect(part->spec->connect_timeout);
  out.lease = made;
  return out;
}

void TcpLease::onConnected() {
  connected_ = true;
  part_->stats.record(ClusterStat::kUpstreamCxConnectMs,
                      static_cast<uint64_t>((cluster_->loop().now() - connection_->startedAt()) / base::kMilli));
  part_->stats.inc(ClusterStat::kUpstreamRqTotal);
  part_->stats.inc(ClusterStat::kUpstreamRqActive);
  host_->stats.rq_total.fetch_add(1, std::memory_order_relaxed);
  if (owner_ != nullptr) owner_->onLeaseConnected();
}

void TcpLease::onBytes(base::Buffer& in, bool eof) {
  if (owner_ != nullptr) {
    owner_->onLeaseBytes(in, eof);
  } else {
    in.clear();
  }
}

void TcpLease::onFlush(base::Buffer&) {
  if (owner_ != nullptr) owner_->onLeaseFlush();
}

void TcpLease::onRoom() {
  if (owner_ != nullptr) owner_->onLeaseRoom();
}

void TcpLease::onPassed(size_t bytes) {
  if (owner_ != nullptr) owner_->onLeasePassed(bytes);
}

void TcpLease::onClosed(net::CloseReason reason) {
  if (closed_) return;
  closed_ = true;
  reset_timer_.cancel();
  base::IntrusiveList<TcpLease, TcpLeaseTag>::erase(*this);
  const ClusterStats& stats = part_->stats;
  const bool remote = reason == net::CloseReason::kRemoteFin || reason == net::CloseReason::kRemoteReset;
  (void)cluster_->breaker(false).connections.release(permit_counted_);
  host_->load.connections.fetch_sub(1, std::memory_order_relaxed);
  host_->load.active.fetch_sub(1, std::memory_order_relaxed);
  stats.dec(ClusterStat::kUpstreamCxActive);
  stats.inc(ClusterStat::kUpstreamCxDestroy);
  stats.inc(remote ? ClusterStat::kUpstreamCxDestroyRemote : ClusterStat::kUpstreamCxDestroyLocal);
  stats.inc(ClusterStat::kUpstreamCxRxBytesTotal, static_cast<int64_t>(connection_->bytesRead()));
  stats.inc(ClusterStat::kUpstreamCxTxBytesTotal, static_cast<int64_t>(connection_->bytesWritten()));
  stats.record(ClusterStat::kUpstreamCxLengthMs, static_cast<uint64_t>((cluster_->loop().now() - connection_->startedAt()) / base::kMilli));
  if (connected_) {
    stats.dec(ClusterStat::kUpstreamRqActive);
    if (owner_ != nullptr) {
      stats.inc(ClusterStat::kUpstreamCxDestroyWithActiveRq);
      stats.inc(remote ? ClusterStat::kUpstreamCxDestroyRemoteWithActiveRq : ClusterStat::kUpstreamCxDestroyLocalWithActiveRq);
    }
  } else if (reason != net::CloseReason::kLocal) {
    stats.inc(ClusterStat::kUpstreamCxConnectFail);
    host_->stats.cx_connect_fail.fetch_add(1, std::memory_order_relaxed);
    if (reason == net::CloseReason::kConnectTimeout || reason == net::CloseReason::kHandshakeTimeout) {
      stats.inc(ClusterStat::kUpstreamCxConnectTimeout);
    }
  }
  cluster_->loop().retire(this);
  if (TcpLeaseOwner* owner = std::exchange(owner_, nullptr)) owner->onLeaseClosed(reason);
}

void TcpLease::finish(base::Nanos linger) {
  owner_ = nullptr;
  if (closed_) return;
  if (!connected_) {
    closeNow();
  } else {
    connection_->closeAfterFlush(linger);
  }
}

void TcpLease::abort() {
  owner_ = nullptr;
  if (closed_) return;
  reset_by_ = cluster_->loop().now() + kDeliveryPatience;
  if (!connected_) {
    closeNow();
    return;
  }
  connection_->pauseReading(net::Connection::kPauseClosing);
  tryReset();
}

void TcpLease::tryReset() {
  if (!delivered(*connection_) && cluster_->loop().now() < reset_by_) {
    reset_timer_.armIn(kDeliveryPoll);
    return;
  }
  connection_->closeReset();
  onClosed(net::CloseReason::kLocal);
}

void TcpLease::closeNow() {
  owner_ = nullptr;
  if (closed_) return;
  connection_->closeNow();
  onClosed(net::CloseReason::kLocal);
}

void TcpLease::closeForCluster() {
  if (closed_) return;
  connection_->closeNow();
  onClosed(net::CloseReason::kLocal);
}

}  // namespace outrider::upstream
