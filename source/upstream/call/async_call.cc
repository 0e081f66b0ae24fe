#include "source/upstream/call/async_call.h"

#include <charconv>

#include "source/upstream/cluster_view.h"

namespace outrider::upstream {
namespace {

void countResponse(const ClusterPart& part, uint16_t status) {
  part.stats.inc(ClusterStat::kUpstreamRqCompleted);
  const int klass = status / 100;
  if (klass < 1 || klass > 5) return;
  part.stats.inc(static_cast<ClusterStat>(static_cast<int>(ClusterStat::kUpstreamRq1xx) + klass - 1));
  char code[4];
  std::to_chars(code, code + 3, status);
  part.codes->inc({code, 3});
}

AsyncCall::End endOf(http::ResetReason reason) {
  switch (reason) {
    case http::ResetReason::kPoolOverflow: return AsyncCall::End::kOverflow;
    case http::ResetReason::kConnectFailure:
    case http::ResetReason::kConnectTimeout: return AsyncCall::End::kConnect;
    default: return AsyncCall::End::kReset;
  }
}

}  // namespace

AsyncCall::AsyncCall(Cluster& cluster, AsyncCallOwner& owner, const Options& options)
    : loop_(cluster.loop()),
      owner_(owner),
      options_(options),
      cluster_(&cluster),
      arena_(base::Arena::create()),
      head_(arena_->make<http::RequestHead>(*arena_)),
      work_(event::Deferred::to<&AsyncCall::work>(this)),
      timeout_(event::Timer::to<&AsyncCall::onTimeout>(cluster.loop().timers(), this)) {
  const ClusterPart& part = cluster.part();
  head_->authority = arena_->copy(part.name);
  head_->scheme = part.transport != nullptr && part.transport->secure() ? "https" : "http";
}

AsyncCall::~AsyncCall() {
  if (attempt_ != nullptr) attempt_->~Attempt();
  arena_->unref();
}

void AsyncCall::start(bool last) {
  started_at_ = loop_.now();
  if (options_.timeout > 0) timeout_.armIn(options_.timeout);
  Attempt::Options options;
  options.high_priority = options_.high_priority;
  options.buffer_limit = options_.buffer_limit;
  attempt_ = arena_->make<Attempt>(*cluster_, *arena_, static_cast<AttemptOwner&>(*this), options);
  if (attempt_->pick({}) == nullptr) {
    cluster_->part().stats.inc(ClusterStat::kUpstreamCxNoneHealthy);
    loop_.defer(work_);
    return;
  }
  attempt_->start(*head_, last);
}

http::Room AsyncCall::send(base::Buffer& data, bool last) {
  if (attempt_ == nullptr || ended()) {
    data.clear();
    return http::Room::kMore;
  }
  const http::Room room = attempt_->sendData(data, last);
  full_ = room == http::Room::kFull;
  return room;
}

void AsyncCall::sendTrailers(const http::HeaderMap& trailers) {
  if (attempt_ == nullptr || ended()) return;
  auto* copy = arena_->make<http::HeaderMap>(*arena_);
  copy->copyFrom(trailers);
  attempt_->sendTrailers(*copy);
}

void AsyncCall::cancel() {
  timeout_.cancel();
  if (attempt_ != nullptr && !attempt_->done()) attempt_->abandon();
  if (end_ == End::kNone) end_ = End::kReset;
}

void AsyncCall::onAttempt(Attempt&) { loop_.defer(work_); }

void AsyncCall::onTimeout() {
  timed_out_ = true;
  loop_.defer(work_);
}

void AsyncCall::finish(End end) {
  end_ = end;
  timeout_.cancel();
  const ClusterPart& part = cluster_->part();
  switch (end) {
    case End::kNone: break;
    case End::kComplete:
      countResponse(part, attempt_->head()->status);
      part.stats.record(ClusterStat::kUpstreamRqTime, static_cast<uint64_t>((loop_.now() - started_at_) / base::kMilli));
      break;
    case End::kTimeout:
      part.stats.inc(ClusterStat::kUpstreamRqTimeout);
      attempt_->host()->stats.rq_timeout.fetch_add(1, std::memory_order_relaxed);
      countResponse(part, 504);
      break;
    case End::kNoHost:
    case End::kOverflow:
    case End::kConnect:
    case End::kReset:
    case End::kTooBig: countResponse(part, 503); break;
  }
  if (!attempt_->done()) attempt_->abandon();
}

void AsyncCall::work() {
  if (ended()) return;
  if (attempt_->takeRoom()) full_ = false;
  body_.move(attempt_->body().pending());
  attempt_->bodyTaken();
  if (attempt_->noHost()) {
    finish(End::kNoHost);
  } else if (body_.size() > options_.most_response) {
    finish(End::kTooBig);
  } else if (attempt_->ended()) {
    // The response is whole; a request that is not at its end is given up, for nobody reads it any more.
    finish(End::kComplete);
  } else if (attempt_->done()) {
    finish(endOf(attempt_->failure()));
  } else if (timed_out_) {
    finish(End::kTimeout);
  }
  owner_.onCall(*this);  // last: it may destroy the call
}

std::string_view AsyncCall::failure() const {
  switch (end_) {
    case End::kNone:
    case End::kComplete: return {};
    case End::kNoHost: return "no healthy upstream";
    case End::kOverflow: return "overflow";
    case End::kTimeout: return "timeout";
    case End::kTooBig: return "the response is too big";
    case End::kConnect:
      if (!attempt_->transportFailure().empty()) return attempt_->transportFailure();
      return attempt_->failure() == http::ResetReason::kConnectTimeout ? "connect timeout" : "connect failure";
    case End::kReset: break;
  }
  if (attempt_ == nullptr) return "cancelled";
  if (!attempt_->failureDetails().empty()) return attempt_->failureDetails();
  switch (attempt_->failure()) {
    case http::ResetReason::kRemoteReset: return "remote reset";
    case http::ResetReason::kRemoteRefused: return "remote refused stream reset";
    case http::ResetReason::kConnectionClosed: return "connection termination";
    case http::ResetReason::kProtocolError: return "protocol error";
    default: return "reset";
  }
}

}  // namespace outrider::upstream
