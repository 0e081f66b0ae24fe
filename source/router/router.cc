#include "source/router/router.h"

#include <algorithm>
#include <charconv>

#include "source/config/body_format.h"
#include "source/http/grpc.h"
#include "source/router/words.h"

namespace outrider::router {

using config::CompiledRoute;
using filter::Reply;
using filter::Verdict;
using http::HeaderId;
using http::ResetReason;
using http::Room;
using stream::ResponseFlag;
using upstream::ClusterStat;

Router::Router(const RouterConfig& config, filter::HttpStream& stream)
    : config_(config),
      stream_(stream),
      timer_(event::Timer::to<&Router::onTimeout>(stream.worker().loop.timers(), this)),
      try_timer_(event::Timer::to<&Router::onTryTimeout>(stream.worker().loop.timers(), this)),
      back_off_(event::Timer::to<&Router::retryNow>(stream.worker().loop.timers(), this)),
      try_idle_(event::Timer::to<&Router::onTryIdle>(stream.worker().loop.timers(), this)) {}

Router::~Router() { destroyAttempt(); }

format::Input Router::formatInput() const { return {head_, stream_.response(), stream_.responseTrailers(), stream_.info()}; }

// ---- the request ----

Verdict Router::refuse(uint16_t status, std::string_view body, std::string_view details, ResponseFlag flag, std::string_view reason) {
  Reply& reply = stream_.makeReply(status, body, details);
  reply.flag = flag;
  reply.reason = reason;
  if (route_ != nullptr) editReply(reply);
  return Verdict::reply(reply);
}

// A reply of ours carries what the route adds to answers, and how often we tried.
void Router::editReply(Reply& reply) {
  auto* headers = stream_.arena().make<http::HeaderMap>(stream_.arena());
  if (reply.headers != nullptr) headers->copyFrom(*reply.headers);
  if (cluster_ && route_->virtualHost().response_attempt_count) {
    headers->set(HeaderId::kEnvoyAttemptCount, printNumber(stream_.arena(), std::max<uint16_t>(attempts_, 1)));
  }
  stream_.info().details = reply.details;  // for what the headers are made of
  route_->applyResponse(*headers, pick_, formatInput());
  reply.headers = headers;
}

Verdict Router::onRequest(http::RequestHead& head, bool last) {
  head_ = &head;
  const RouterStats& stats = config_.stats;
  stats.inc(RouterStat::kRqTotal);
  route_ = stream_.route();
  if (route_ == nullptr) {
    stats.inc(RouterStat::kNoRoute);
    return refuse(404, {}, "route_not_found", ResponseFlag::kNoRouteFound, "no_route");
  }
  switch (route_->action()) {
    case config::RouteSpec::Action::kRedirect: return redirect(head);
    case config::RouteSpec::Action::kDirect: return direct(head);
    case config::RouteSpec::Action::kNonForwarding:
      stats.inc(RouterStat::kNoRoute);
      return refuse(404, {}, "route_not_found", ResponseFlag::kNoRouteFound, "no_route");
    case config::RouteSpec::Action::kForward: break;
  }
  pick_ = route_->pick(head, stream_.worker().random.next());
  upstream::Cluster* cluster = pick_.id.valid() ? stream_.worker().clusters.find(pick_.id) : stream_.worker().clusters.find(pick_.name);
  if (cluster == nullptr) {
    stats.inc(RouterStat::kNoCluster);
    return refuse(route_->forward().cluster_not_found_code, {}, "cluster_not_found", ResponseFlag::kNoClusterFound, "no_cluster");
  }
  cluster_ = base::LocalRef<upstream::Cluster>(cluster);
  stream_.info().cluster = &cluster->info();
  if (route_->forward().idle_timeout.has_value()) stream_.setIdleTimeout(*route_->forward().idle_timeout);
  readTimeouts(head);
  retry_.read(*route_, head);
  // HTTP/2 upstreams may leave a request unprocessed (mayReplayUnprocessed).
  const bool refusable = config_.replay && cluster->part().spec->http.protocol != config::UpstreamProtocol::kHttp1;
  keep_replay_ = refusable || retry_.mayCome();
  route_->applyRequest(head, pick_, formatInput(), !config_.suppress_envoy_headers);
  head.headers.remove(HeaderId::kEnvoyUpstreamAltStatName);
  if (head.headers.has(HeaderId::kEnvoyUpstreamRqTimeoutAltResponse)) {
    timeout_status_ = 204;
    head.headers.remove(HeaderId::kEnvoyUpstreamRqTimeoutAltResponse);
  }
  if (route_->virtualHost().request_attempt_count) head.headers.set(HeaderId::kEnvoyAttemptCount, "1");
  started_at_ = stream_.worker().loop.now();
  request_ended_ = last;
  if (!route_->mirrors().empty() && head.upgrade.empty() && !head.isConnect()) startMirrors(head);
  startAttempt();
  if (last) {
    requestComplete();
  } else if (timeout_ > 0 && !head.upgrade.empty()) {
    timer_.armIn(timeout_);  // an upgrade is answered before its bytes come
  }
  return Verdict::next();
}

Verdict Router::redirect(const http::RequestHead& head) {
  config_.stats.inc(RouterStat::kRqDirectResponse);  // as Envoy counts them
  Reply& reply = stream_.makeReply(route_->redirect().code, {}, "direct_response");
  reply.reason = "redirect";
  auto* headers = stream_.arena().make<http::HeaderMap>(stream_.arena());
  headers->add(HeaderId::kLocation, route_->location(head));
  reply.headers = headers;
  editReply(reply);
  return Verdict::reply(reply);
}

Verdict Router::direct(const http::RequestHead& head) {
  config_.stats.inc(RouterStat::kRqDirectResponse);
  const uint16_t status = route_->direct().status;
  Reply& reply = stream_.makeReply(status, route_->direct().body, "direct_response");
  reply.reason = "direct_response";
  if (const config::BodyFormat* format = route_->direct().format.get()) {
    format::Input input = formatInput();
    input.local_reply_body = reply.body;
    reply.body = config::formatBody(*format, input, stream_.arena());
    auto* headers = stream_.arena().make<http::HeaderMap>(stream_.arena());
    headers->set(HeaderId::kContentType, format->content_type);
    reply.headers = headers;
  }
  editReply(reply);
  if ((status == 201 || status / 100 == 3) && !reply.headers->has(HeaderId::kLocation)) {
    // What was asked for is where it is, unless the route says another place.
    auto* headers = stream_.arena().make<http::HeaderMap>(stream_.arena());
    headers->copyFrom(*reply.headers);
    base::Arena& arena = stream_.arena();
    headers->add(HeaderId::kLocation, arena.concat(arena.concat(head.scheme, "://"), head.authority, head.path));
    reply.headers = headers;
  }
  return Verdict::reply(reply);
}

void Router::readTimeouts(http::RequestHead& head) {
  const config::ForwardSpec& forward = route_->forward();
  timeout_ = forward.timeout;
  if (forward.max_grpc_timeout.has_value() && http::isGrpc(head)) {
    // The client's own wish, as far as the route lets it; 0 is no limit on either side.
    const http::Header* wish = head.headers.find(HeaderId::kGrpcTimeout);
    timeout_ = wish == nullptr ? 0 : http::readGrpcTimeout(wish->value());
    if (timeout_ > forward.old_grpc_timeout_offset) timeout_ -= forward.old_grpc_timeout_offset;
    if (*forward.max_grpc_timeout > 0 && (timeout_ == 0 || timeout_ > *forward.max_grpc_timeout)) timeout_ = *forward.max_grpc_timeout;
  }
  if (forward.retry.has_value()) {
    try_timeout_ = forward.retry->per_try_timeout;
    try_idle_timeout_ = forward.retry->per_try_idle_timeout;
  }
  uint64_t ms = 0;
  const http::Header* expected = config_.respect_expected_timeout ? head.headers.find(HeaderId::kEnvoyExpectedRqTimeoutMs) : nullptr;
  if (expected != nullptr) {
    // The proxy before this one has counted already.
    if (parseNumber(expected->value(), ms)) timeout_ = static_cast<base::Nanos>(ms) * base::kMilli;
  } else if (const http::Header* asked = head.headers.find(HeaderId::kEnvoyUpstreamRqTimeoutMs)) {
    if (parseNumber(asked->value(), ms)) timeout_ = static_cast<base::Nanos>(ms) * base::kMilli;
    head.headers.remove(HeaderId::kEnvoyUpstreamRqTimeoutMs);
  }
  if (const http::Header* asked = head.headers.find(HeaderId::kEnvoyUpstreamRqPerTryTimeoutMs)) {
    if (parseNumber(asked->value(), ms)) try_timeout_ = static_cast<base::Nanos>(ms) * base::kMilli;
    head.headers.remove(HeaderId::kEnvoyUpstreamRqPerTryTimeoutMs);
  }
  if (timeout_ > 0 && try_timeout_ >= timeout_) try_timeout_ = 0;
  expectedTimeout(0);
}

// Tells the upstream how long it has: this try's time, at most what is left of the whole.
void Router::expectedTimeout(base::Nanos elapsed) {
  base::Nanos expected = try_timeout_ > 0 ? try_timeout_ : timeout_;
  if (expected <= 0) return;
  if (timeout_ > 0) expected = std::min(expected, std::max(timeout_ - elapsed, base::kMilli));  // 0 would mean: no limit
  if (route_->forward().max_grpc_timeout.has_value() && http::isGrpc(*head_)) {
    head_->headers.set(HeaderId::kGrpcTimeout, http::printGrpcTimeout(stream_.arena(), expected));
  }
  if (config_.suppress_envoy_headers) return;
  head_->headers.set(HeaderId::kEnvoyExpectedRqTimeoutMs,
                     expected == 15 * base::kSecond ? std::string_view("15000")
                                                    : printNumber(stream_.arena(), static_cast<uint64_t>(expected / base::kMilli)));
}

void Router::startMirrors(const http::RequestHead& head) {
  const config::ForwardSpec& forward = route_->forward();
  filter::WorkerContext& worker = stream_.worker();
  mirrors_ = static_cast<Mirror**>(stream_.arena().alloc(route_->mirrors().size() * sizeof(Mirror*), alignof(Mirror*)));
  for (size_t i = 0; i < route_->mirrors().size(); ++i) {
    const config::MirrorSpec& spec = forward.mirrors[i];
    if (spec.fraction.has_value() && worker.random.below(spec.fraction->denominator) >= spec.fraction->numerator) continue;
    const config::ForwardPlan::Mirrored& to = route_->mirrors()[i];
    upstream::Cluster* cluster =
        to.id.valid() ? worker.clusters.find(to.id) : worker.clusters.find(to.header.firstIn(head).value_or(std::string_view()));
    if (cluster == nullptr) continue;  // the request's own way does not depend on it
    Mirror::Options options;
    options.timeout = timeout_;
    options.high_priority = forward.high_priority;
    options.keep_host = spec.keep_host;
    mirrors_[mirror_count_++] = Mirror::start(*cluster, worker, stream_.info(), head, request_ended_, options);
  }
  if (request_ended_) leaveMirrors(true);
}

void Router::leaveMirrors(bool complete) {
  for (size_t i = 0; i < mirror_count_; ++i) mirrors_[i]->detach(complete);
  mirror_count_ = 0;
}

Room Router::onRequestData(base::Buffer& data, bool last) {
  request_ended_ |= last;
  for (size_t i = 0; i < mirror_count_; ++i) mirrors_[i]->feed(data, last);
  Room room = Room::kMore;
  if (attempt_ == nullptr) {
    // Between two tries: the next one needs all of it, so what is too much waits at its source.
    replay_.move(data);
    if (replay_.size() > config_.buffer_limit) room = Room::kFull;
  } else {
    if (keep_replay_) {
      replay_.share(data);
      if (replay_.size() > config_.buffer_limit) {
        replay_.clear();
        keep_replay_ = false;
        if (retry_.wanted()) cluster_->part().stats.inc(ClusterStat::kRetryOrShadowAbandoned);
      }
    }
    room = attempt_->sendData(data, last);
  }
  if (last) requestComplete();
  return room;
}

void Router::onRequestTrailers(http::HeaderMap& trailers) {
  request_trailers_ = &trailers;
  request_ended_ = true;
  for (size_t i = 0; i < mirror_count_; ++i) mirrors_[i]->feedTrailers(trailers);
  if (attempt_ != nullptr) attempt_->sendTrailers(trailers);
  requestComplete();
}

void Router::requestComplete() {
  leaveMirrors(true);
  completed_at_ = stream_.worker().loop.now();
  // The route's timeout counts from here (Envoy: the entire downstream request has been processed).
  if (timeout_ > 0 && !head_forwarded_) timer_.armIn(timeout_);
  if (timeout_ > 0 && head_forwarded_ && !response_ended_) timer_.armIn(timeout_);
  if (try_timeout_ > 0 && attempt_ != nullptr && !head_forwarded_) try_timer_.armIn(try_timeout_);
  touchTry();
}

void Router::startAttempt() {
  destroyAttempt();
  ++attempts_;
  stream_.info().attempts = attempts_;
  attempt_started_ = stream_.worker().loop.now();
  upstream::Attempt::Options options;
  options.high_priority = route_->forward().high_priority;
  options.fresh = std::exchange(stale_now_, false);
  options.downstream = head_->protocol;
  attempt_ = stream_.arena().make<upstream::Attempt>(*cluster_, stream_.arena(), static_cast<upstream::AttemptOwner&>(*this), options);
  const bool ended_with_head = request_ended_ && replay_.empty() && request_trailers_ == nullptr;
  upstream::lb::LbContext context;
  if (cluster_->part().spec->lb == config::LbKind::kHash && !route_->hash().empty()) {
    if (attempts_ == 1) hash_ = route_->hash().of(*head_, {stream_.info().remote, stream_.info().connection->local()});
    context.hash = hash_.hash;
  }
  std::optional<base::Address> destination;
  if (const config::ClusterSpec& spec = *cluster_->part().spec; spec.discovery == config::Discovery::kOriginalDst) {
    bool invalid = false;
    destination = upstream::originalDestination(spec.original_dst, head_, stream_.info().connection, invalid);
    if (invalid) cluster_->part().stats.inc(ClusterStat::kOriginalDstHostInvalid);
    if (destination.has_value()) context.destination = &*destination;
  }
  retry_.avoid(context);
  const upstream::Host* host = attempt_->pick(context);
  if (host == nullptr) {
    stream_.wake();
    return;
  }
  stream_.info().host = host;
  retry_.tried(*host, context);
  if (route_->forward().auto_host_rewrite && !host->hostname().empty()) {
    route_->rewriteHost(*head_, host->hostname(), !config_.suppress_envoy_headers);
  }
  attempt_->start(*head_, attempts_ == 1 ? request_ended_ : ended_with_head);
  if (attempts_ > 1 && !ended_with_head) {
    base::Buffer again;
    again.share(replay_);
    const bool last = request_ended_ && request_trailers_ == nullptr;
    bool full = false;
    if (!again.empty() || last) full = attempt_->sendData(again, last) == Room::kFull;
    stream_.pauseRequest(full);
    if (request_trailers_ != nullptr) attempt_->sendTrailers(*request_trailers_);
  }
  if (attempts_ > 1 && request_ended_) {
    if (try_timeout_ > 0) try_timer_.armIn(try_timeout_);
    touchTry();
  }
  if (attempt_->done()) stream_.wake();
}

void Router::endAttempt() {
  try_timer_.cancel();
  try_idle_.cancel();
  if (attempt_ == nullptr) return;
  attempt_->abandon();
  attempt_->fillInfo(stream_.info());
  // It stays in memory for what the log says of its host; the next attempt, or the end, destroys it.
  former_ = std::exchange(attempt_, nullptr);
}

void Router::destroyAttempt() {
  endAttempt();
  if (former_ != nullptr) std::exchange(former_, nullptr)->~Attempt();
}

// ---- the response ----

void Router::run() {
  if (over_ || attempt_ == nullptr) return;
  touchTry();
  progress();
}

void Router::progress() {
  if (attempt_->takeRoom()) stream_.pauseRequest(false);
  if (!head_forwarded_) {
    if (http::ResponseHead* interim = attempt_->takeInformational()) {
      // The client may act on it: what it was told cannot come from another host later.
      countResponse(interim->status, true);
      retry_.forbid();
      keep_replay_ = false;
      replay_.clear();
      stream_.sendInformational(*interim);
    }
    if (attempt_->head() != nullptr) {
      takeHead();
      if (over_ || attempt_ == nullptr || !head_forwarded_) return;
    } else if (attempt_->done()) {
      attemptFailed();
      return;
    } else {
      return;
    }
  }
  pumpResponse();
}

void Router::countResponse(uint16_t status, bool final) {
  using Answers = upstream::Cluster::Answers;
  stats::Store& store = stream_.worker().stats;
  if (!final) {
    cluster_->countAnswer(Answers::kRetry, status, store);
    return;
  }
  const upstream::ClusterPart& part = cluster_->part();
  part.stats.inc(ClusterStat::kUpstreamRqCompleted);
  const int klass = status / 100;
  if (klass >= 1 && klass <= 5) {
    part.stats.inc(static_cast<ClusterStat>(static_cast<int>(ClusterStat::kUpstreamRq1xx) + klass - 1));
  }
  char code[8];
  part.codes->inc({code, static_cast<size_t>(std::to_chars(code, code + sizeof code, status).ptr - code)});
  const bool inside = head_->headers.get(HeaderId::kEnvoyInternal) == "true";
  cluster_->countAnswer(inside ? Answers::kInternal : Answers::kExternal, status, store);
}

void Router::takeHead() {
  http::ResponseHead& head = *attempt_->head();
  stream::StreamInfo& info = stream_.info();
  if (info.first_upstream_rx == 0) info.first_upstream_rx = stream_.worker().loop.now();
  const uint32_t conditions = retry_.wanted() ? retry_.conditionsOf(head, stream_.arena()) : 0;
  if (mayRetry(conditions)) {
    retry_.hear(head, stream_.worker().loop.wall());
    timed_out_try_ = false;
    countResponse(head.status, false);
    endAttempt();
    retryLater();
    return;
  }
  head_forwarded_ = true;
  keep_replay_ = false;
  replay_.clear();
  retry_.release();
  try_timer_.cancel();
  if (head.status == 101) timer_.cancel();  // from here on it is a tunnel
  countResponse(head.status, true);
  const bool retried = attempts_ > 1u + stale_replayed_ + unprocessed_replays_;
  if (retried && !retry_.covers(conditions)) cluster_->part().stats.inc(ClusterStat::kUpstreamRqRetrySuccess);
  const base::Nanos now = stream_.worker().loop.now();
  attempt_->fillInfo(info);
  info.details = "via_upstream";
  info.response_code = head.status;                         // for what response headers are made of
  if (!config_.suppress_envoy_headers && request_ended_) {  // its time counts from the request's end
    head.headers.set(HeaderId::kEnvoyUpstreamServiceTime,
                     printNumber(stream_.arena(), static_cast<uint64_t>((now - std::max(attempt_started_, completed_at_)) / base::kMilli)));
  }
  if (route_->virtualHost().response_attempt_count) {
    head.headers.set(HeaderId::kEnvoyAttemptCount, printNumber(stream_.arena(), attempts_));
  }
  if (!hash_.set_cookie.empty()) head.headers.add(HeaderId::kSetCookie, hash_.set_cookie);
  route_->applyResponse(head.headers, pick_, formatInput());
  const bool last = attempt_->ended() && attempt_->body().size() == 0 && attempt_->trailers() == nullptr;
  if (last) response_ended_ = true;
  stream_.respond(head, last);
}

void Router::pumpResponse() {
  while (!over_ && attempt_ != nullptr && !response_ended_ && !stream_.done()) {
    const bool ended = attempt_->ended();
    base::Buffer data;
    data.move(attempt_->body().pending());
    const bool last = ended && attempt_->trailers() == nullptr;
    if (data.empty() && !last) break;
    stream_.info().last_upstream_rx = stream_.worker().loop.now();
    if (last) response_ended_ = true;
    const Room room = stream_.respondData(data, last);
    attempt_->bodyTaken();
    if (room == Room::kFull && !last) {
      attempt_->pauseResponse(true);
      break;
    }
    if (last) break;
  }
  if (over_ || attempt_ == nullptr || stream_.done()) return;
  if (!response_ended_ && attempt_->ended() && attempt_->trailers() != nullptr && attempt_->body().size() == 0) {
    response_ended_ = true;
    stream_.respondTrailers(*attempt_->trailers());
  }
  if (response_ended_) {
    timer_.cancel();
    try_idle_.cancel();
    const base::Nanos now = stream_.worker().loop.now();
    stream_.info().last_upstream_rx = now;
    attempt_->fillInfo(stream_.info());
    cluster_->part().stats.record(ClusterStat::kUpstreamRqTime, static_cast<uint64_t>((now - started_at_) / base::kMilli));
    return;
  }
  if (attempt_->done() && !attempt_->ended()) attemptFailed();
}

void Router::onResponseRoom() {
  if (attempt_ == nullptr) return;
  attempt_->pauseResponse(false);
  if (head_forwarded_) pumpResponse();
}

// ---- failures and retries ----

void Router::attemptFailed() {
  const ResetReason reason = attempt_->failure();
  stream::StreamInfo& info = stream_.info();
  attempt_->fillInfo(info);
  if (head_forwarded_) {
    // Too late for another answer.
    info.flags.set(resetFlag(reason));
    info.details = stream_.arena().concat("upstream_reset_after_response_started{", underscored(stream_.arena(), resetWords(reason)), "}");
    config_.stats.inc(RouterStat::kRqResetAfterDownstreamResponseStarted);
    over_ = true;
    endAttempt();
    stream_.resetStream(ResetReason::kLocal);
    return;
  }
  if (attempt_->noHost()) {
    cluster_->part().stats.inc(ClusterStat::kUpstreamCxNoneHealthy);
    countResponse(503, true);
    Reply& reply = stream_.makeReply(503, "no healthy upstream", "no_healthy_upstream");
    reply.flag = ResponseFlag::kNoHealthyUpstream;
    reply.reason = "no_healthy_host";
    failWith(reply);
    return;
  }
  if (mayReplayStale()) {
    stale_replayed_ = stale_now_ = true;
    cluster_->part().stats.inc(ClusterStat::kUpstreamRqStaleReplayed);
    endAttempt();
    retryNow();
    return;
  }
  if (mayReplayUnprocessed()) {
    ++unprocessed_replays_;
    cluster_->part().stats.inc(ClusterStat::kUpstreamRqUnprocessedReplayed);
    endAttempt();
    retryNow();
    return;
  }
  const bool overflow = reason == ResetReason::kPoolOverflow || reason == ResetReason::kOverflow;
  if (!overflow && mayRetry(RetryState::conditionsOf(reason, attempt_->requestSent()))) {
    timed_out_try_ = false;
    endAttempt();
    retryLater();
    return;
  }
  const std::string_view words = resetWords(reason);
  const std::string_view transport = stream_.arena().copy(attempt_->transportFailure());
  info.upstream_transport_failure = transport;
  base::Arena& arena = stream_.arena();
  // What the transport said (addresses, certificates) is for the log, not for the client.
  const std::string_view body =
      arena.concat(attempts_ > 1 ? "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: "
                                 : "upstream connect error or disconnect/reset before headers. reset reason: ",
                   words);
  std::string_view inner = underscored(arena, words);
  if (!transport.empty()) inner = arena.concat(inner, "|", underscored(arena, transport));
  const std::string_view details = arena.concat("upstream_reset_before_response_started{", inner, "}");
  const uint16_t status = reason == ResetReason::kProtocolError ? 502 : 503;
  countResponse(status, true);
  Reply& reply = stream_.makeReply(status, body, details);
  reply.flag = resetFlag(reason);
  reply.reason = reasonId(reason);
  if (overflow) {
    auto* headers = arena.make<http::HeaderMap>(arena);
    headers->add(HeaderId::kEnvoyOverloaded, "true");
    reply.headers = headers;
  }
  failWith(reply);
}

void Router::failWith(Reply& reply) {
  editReply(reply);
  over_ = true;
  retry_.release();
  timer_.cancel();
  endAttempt();
  stream_.respondWith(reply);
}

bool Router::mayRetry(uint32_t conditions) {
  const upstream::ClusterPart& part = cluster_->part();
  switch (retry_.ask(conditions, keep_replay_, *cluster_)) {
    case RetryState::Answer::kYes: return true;
    case RetryState::Answer::kNotCovered:
    case RetryState::Answer::kNotWhole: return false;
    case RetryState::Answer::kNoneLeft:
      part.stats.inc(ClusterStat::kUpstreamRqRetryLimitExceeded);
      stream_.info().flags.set(ResponseFlag::kUpstreamRetryLimitExceeded);
      return false;
    case RetryState::Answer::kOverflow:
      part.stats.inc(ClusterStat::kUpstreamRqRetryOverflow);
      stream_.info().flags.set(ResponseFlag::kUpstreamOverflow);
      return false;
  }
  OUTRIDER_UNREACHABLE();
}

// A kept connection that the upstream closed just as the request went out: whoever only reads is asked once more, whatever the retry
// policy says. The upstream may have acted on anything else, so that fails.
bool Router::mayReplayStale() const {
  if (!config_.replay || stale_replayed_ || !attempt_->stale()) return false;
  if (!request_ended_ || request_trailers_ != nullptr || stream_.info().bytes_received > 0) return false;
  return head_->method == "GET" || head_->method == "HEAD" || head_->method == "OPTIONS";
}

// The upstream said that it did not act on the request (RFC 9113 6.8, 8.7): whatever its method, it goes out again as long as it is
// whole. Connections that are being left may follow each other; a host that refuses streams is asked once more.
bool Router::mayReplayUnprocessed() const {
  constexpr uint8_t kMostDepartures = 3;
  if (!config_.replay || !keep_replay_ || !attempt_->unprocessed()) return false;
  return unprocessed_replays_ < (attempt_->goneAway() ? kMostDepartures : 1);
}

void Router::retryLater() {
  const upstream::ClusterPart& part = cluster_->part();
  part.stats.inc(ClusterStat::kUpstreamRqRetry);
  const RetryState::Wait wait = retry_.wait(attempts_, stream_.worker().random.next());
  part.stats.inc(wait.told ? ClusterStat::kUpstreamRqRetryBackoffRatelimited : ClusterStat::kUpstreamRqRetryBackoffExponential);
  back_off_.armIn(wait.time);
}

void Router::retryNow() {
  if (over_ || stream_.done()) return;
  if (route_->virtualHost().request_attempt_count) {
    head_->headers.set(HeaderId::kEnvoyAttemptCount, printNumber(stream_.arena(), attempts_ + 1u));
  }
  if (route_->virtualHost().timeout_retry) head_->headers.set(HeaderId::kEnvoyIsTimeoutRetry, timed_out_try_ ? "true" : "false");
  if (request_ended_) expectedTimeout(stream_.worker().loop.now() - completed_at_);
  startAttempt();
}

void Router::onTimeout() {
  if (over_ || response_ended_) return;
  cluster_->part().stats.inc(ClusterStat::kUpstreamRqTimeout);
  countHostTimeout();
  stream::StreamInfo& info = stream_.info();
  if (attempt_ != nullptr) attempt_->fillInfo(info);
  if (head_forwarded_) {
    cutResponse("response_timeout");
    return;
  }
  countResponse(timeout_status_, true);
  Reply& reply = stream_.makeReply(timeout_status_, timeoutBody(), "response_timeout");
  reply.flag = ResponseFlag::kUpstreamRequestTimeout;
  reply.reason = "upstream_response_timeout";
  failWith(reply);
}

void Router::onTryTimeout() {
  if (over_ || head_forwarded_ || attempt_ == nullptr) return;
  cluster_->part().stats.inc(ClusterStat::kUpstreamRqPerTryTimeout);
  tryTimedOut("upstream_per_try_timeout");
}

// Since the request's end the upstream has this long between two signs of life.
void Router::touchTry() {
  if (try_idle_timeout_ > 0 && request_ended_ && attempt_ != nullptr && !response_ended_) try_idle_.armIn(try_idle_timeout_);
}

void Router::onTryIdle() {
  if (over_ || response_ended_ || attempt_ == nullptr) return;
  cluster_->part().stats.inc(ClusterStat::kUpstreamRqPerTryIdleTimeout);
  if (!head_forwarded_) {
    tryTimedOut("upstream_per_try_idle_timeout");
    return;
  }
  cutResponse("upstream_per_try_idle_timeout");
}

void Router::countHostTimeout() {
  if (attempt_ != nullptr && attempt_->host() != nullptr) attempt_->host()->stats.rq_timeout.fetch_add(1, std::memory_order_relaxed);
}

void Router::tryTimedOut(std::string_view details) {
  countHostTimeout();
  attempt_->fillInfo(stream_.info());
  if (mayRetry(config::kRetry5xx | config::kRetryGatewayError | config::kRetryReset)) {
    timed_out_try_ = true;
    endAttempt();
    retryLater();
    return;
  }
  countResponse(timeout_status_, true);
  Reply& reply = stream_.makeReply(timeout_status_, timeoutBody(), details);
  reply.flag = ResponseFlag::kUpstreamRequestTimeout;
  reply.reason = details;
  failWith(reply);
}

// Its head is out, so there can be no other answer.
void Router::cutResponse(std::string_view details) {
  stream_.info().flags.set(ResponseFlag::kUpstreamRequestTimeout);
  stream_.info().details = details;
  over_ = true;
  endAttempt();
  stream_.resetStream(ResetReason::kLocal);
}

void Router::onStreamEnd(ResetReason) {
  over_ = true;
  timer_.cancel();
  back_off_.cancel();
  retry_.release();
  leaveMirrors(false);
  endAttempt();
  replay_.clear();
}

}  // namespace outrider::router
