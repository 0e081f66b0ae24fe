#include "source/upstream/call/attempt.h"

#include "source/upstream/cluster_view.h"
#include "source/upstream/pool/host_pool.h"

namespace outrider::upstream {

using http::ResetReason;
using http::Room;

Attempt::Attempt(Cluster& cluster, base::Arena& arena, AttemptOwner& owner, const Options& options)
    : arena_(arena), owner_(owner), options_(options), cluster_(&cluster), body_(options.buffer_limit) {}

Attempt::~Attempt() { abandon(); }

const Host* Attempt::pick(const lb::LbContext& context) {
  host_ = cluster_->pick(context);
  if (host_ == nullptr) {
    no_host_ = true;
    phase_ = Phase::kDone;
    failure_ = ResetReason::kConnectFailure;
  }
  return host_;
}

void Attempt::start(const http::RequestHead& head, bool last) {
  request_ = &head;
  request_last_ = head_last_ = last;
  // Balancing sees it from here: a host that lets connections wait is a busy one.
  host_->load.active.fetch_add(1, std::memory_order_relaxed);
  counted_load_ = true;
  phase_ = Phase::kQueued;
  pool_ = base::LocalRef<HostPool>(&cluster_->poolFor(*host_, options_.downstream));
  pool_->acquire(*this);
}

bool Attempt::admit() {
  const ClusterPart& part = cluster_->part();
  if (!cluster_->breaker(options_.high_priority).requests.tryAcquire(permit_counted_)) {
    part.stats.inc(ClusterStat::kUpstreamRqActiveOverflow);
    fail(ResetReason::kPoolOverflow, {});
    return false;
  }
  permit_ = true;
  host_->stats.rq_total.fetch_add(1, std::memory_order_relaxed);
  part.stats.inc(ClusterStat::kUpstreamRqTotal);
  part.stats.inc(ClusterStat::kUpstreamRqActive);
  counted_active_ = true;
  return true;
}

void Attempt::attach(PoolConnection& connection) {
  connection_ = &connection;
  reused_ = connection.reused();
  phase_ = Phase::kStreaming;
  pool_ready_at_ = sent_at_ = cluster_->loop().now();
  local_ = connection.connection().local();
  connection_id_ = connection.connection().id();
  wire_sent_ = connection.connection().bytesWritten();
  wire_received_ = connection.connection().bytesRead();
  protocol_ = connection.codec()->protocol();
  has_protocol_ = true;
  stream_ = &connection.codec()->newStream(*this);
  request_sent_ = true;
  // Framed as it came, however long it waited: a body that proved empty meanwhile still ends as a body.
  stream_->sendHead(*request_, head_last_);
  const bool last = request_last_ && request_trailers_ == nullptr;
  if (stream_ != nullptr && !head_last_ && (!waiting_.empty() || last)) {
    if (stream_->sendData(waiting_, last) == Room::kFull) {
      waiting_full_ = true;
    }
  }
  if (stream_ != nullptr && request_trailers_ != nullptr) stream_->sendTrailers(*request_trailers_);
  if (waiting_full_ && stream_ != nullptr && waiting_.empty()) {
    // What waited is on its way: the owner may send again unless the stream itself is full (then onRoom says so).
    waiting_full_ = false;
    room_ = true;
    owner_.onAttempt(*this);
  }
}

Room Attempt::sendData(base::Buffer& data, bool last) {
  request_last_ |= last;
  if (phase_ == Phase::kDone) {
    data.clear();
    return Room::kMore;
  }
  if (stream_ == nullptr) {
    waiting_.move(data);
    waiting_full_ = waiting_.size() > options_.buffer_limit;
    return waiting_full_ ? Room::kFull : Room::kMore;
  }
  sent_at_ = cluster_->loop().now();
  return stream_->sendData(data, last);
}

void Attempt::sendTrailers(const http::HeaderMap& trailers) {
  request_last_ = true;
  request_trailers_ = &trailers;
  if (stream_ != nullptr) stream_->sendTrailers(trailers);
}

void Attempt::updatePause() {
  const bool want = owner_paused_ || body_.full();
  if (want == stream_paused_ || stream_ == nullptr) return;
  stream_paused_ = want;
  const ClusterStats& stats = cluster_->part().stats;
  stats.inc(want ? ClusterStat::kUpstreamFlowControlPausedReadingTotal : ClusterStat::kUpstreamFlowControlResumedReadingTotal);
  stream_->pause(want);
}

void Attempt::pauseResponse(bool on) {
  owner_paused_ = on;
  updatePause();
}

void Attempt::bodyTaken() {
  if (body_.takeRelief()) updatePause();
}

void Attempt::abandon() {
  if (phase_ == Phase::kQueued && pool_) {
    pool_->cancel(*this);
    cluster_->part().stats.inc(ClusterStat::kUpstreamRqCancelled);
  }
  if (stream_ != nullptr) {
    http::ClientStream* stream = std::exchange(stream_, nullptr);
    const ClusterStats& stats = cluster_->part().stats;
    if (protocol_ == http::Protocol::kHttp2) {
      stats.inc(ClusterStat::kUpstreamRqTxReset);
    } else {  // HTTP/1 has no resets: its connection goes
      stats.inc(ClusterStat::kUpstreamCxDestroyWithActiveRq);
      stats.inc(ClusterStat::kUpstreamCxDestroyLocalWithActiveRq);
    }
    stream->reset(ResetReason::kLocal);
  }
  finish();
}

void Attempt::fail(ResetReason reason, std::string_view transport_failure) {
  failure_ = reason;
  pool_ready_at_ = cluster_->loop().now();  // or would have been
  transport_failure_ = arena_.copy(transport_failure);
  stream_ = nullptr;
  if (host_ != nullptr) host_->stats.rq_error.fetch_add(1, std::memory_order_relaxed);
  finish();
  owner_.onAttempt(*this);
}

void Attempt::finish() {
  phase_ = Phase::kDone;
  if (connection_ != nullptr) {
    wire_sent_ = connection_->connection().bytesWritten() - wire_sent_;
    wire_received_ = connection_->connection().bytesRead() - wire_received_;
  }
  connection_ = nullptr;
  if (counted_load_) {
    counted_load_ = false;
    host_->load.active.fetch_sub(1, std::memory_order_relaxed);
  }
  if (counted_active_) {
    counted_active_ = false;
    cluster_->part().stats.dec(ClusterStat::kUpstreamRqActive);
  }
  if (permit_) {
    permit_ = false;
    (void)cluster_->breaker(options_.high_priority).requests.release(permit_counted_);
  }
}

bool Attempt::unprocessed() const {
  return failure_ == ResetReason::kRemoteRefused && (failure_details_ == http::h2::kRefused || goneAway()) && head_ == nullptr &&
         informational_ == 0;
}
bool Attempt::goneAway() const { return failure_ == ResetReason::kRemoteRefused && failure_details_ == http::h2::kNotProcessed; }

void Attempt::fillInfo(stream::StreamInfo& info) const {
  info.host = host_;
  info.pool_ready_at = pool_ready_at_;
  if (!has_protocol_) return;
  info.upstream_local = local_;
  info.upstream_connection_id = connection_id_;
  info.upstream_protocol = protocol_;
  info.has_upstream_protocol = true;
  if (phase_ == Phase::kDone) {
    info.upstream_wire_sent = wire_sent_;
    info.upstream_wire_received = wire_received_;
  }
  if (info.first_upstream_tx == 0) info.first_upstream_tx = pool_ready_at_;
  info.last_upstream_tx = sent_at_;
}

// ---- of the codec ----

void Attempt::onInformational(http::ResponseHead& head) {
  informational_ = head.status;
  informational_head_ = &head;
  owner_.onAttempt(*this);
}

void Attempt::onResponseHead(http::ResponseHead& head, bool last) {
  head_ = &head;
  if (last) response_ended_ = true;
  if (!head.keep_alive && protocol_ != http::Protocol::kHttp2) cluster_->part().stats.inc(ClusterStat::kUpstreamCxCloseNotify);
  owner_.onAttempt(*this);
}

void Attempt::onResponseData(base::Buffer& data, bool last) {
  if (last) response_ended_ = true;
  if (body_.write(data, last) == Room::kFull) updatePause();
  owner_.onAttempt(*this);
}

void Attempt::onResponseTrailers(http::HeaderMap& trailers) {
  trailers_ = &trailers;
  response_ended_ = true;
  owner_.onAttempt(*this);
}

void Attempt::onRoom() {
  room_ = true;
  owner_.onAttempt(*this);
}

void Attempt::onEnd(ResetReason reason, std::string_view details) {
  stream_ = nullptr;
  failure_ = reason;
  failure_details_ = details;
  const ClusterStats& stats = cluster_->part().stats;
  if (reason == ResetReason::kNone) {
    host_->stats.rq_success.fetch_add(1, std::memory_order_relaxed);
  } else {
    host_->stats.rq_error.fetch_add(1, std::memory_order_relaxed);
    if (reason == ResetReason::kRemoteReset) stats.inc(ClusterStat::kUpstreamRqRxReset);
    if (reason == ResetReason::kProtocolError) stats.inc(ClusterStat::kUpstreamCxProtocolError);
  }
  finish();
  owner_.onAttempt(*this);
}

}  // namespace outrider::upstream
