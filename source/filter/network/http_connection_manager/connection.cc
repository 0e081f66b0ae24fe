#include "source/filter/network/http_connection_manager/connection.h"

#include <algorithm>
#include <charconv>

#include "source/accesslog/access_log.h"
#include "source/base/log.h"
#include "source/config/route_table.h"
#include "source/filter/network/http_connection_manager/request_admission.h"
#include "source/http/grpc.h"
#include "source/http/h1/encoder.h"
#include "source/http/h1/server_codec.h"
#include "source/http/h2/server_codec.h"

namespace outrider::filter::network::http_connection_manager {

using http::HeaderId;
using http::ResetReason;

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// What the HTTP/1 codecs of this worker counted since it was last folded in: those counters are the process's, no connection's.
constinit thread_local http::h1::Counters h1_counters;

// A drained connection without its first byte waits this long for it.
constexpr base::Nanos kFreshGrace = base::kSecond;

// How long the whole exchange may take (RouteAction.MaxStreamDuration); 0: no limit; an offset that leaves nothing ends it at once.
base::Nanos streamDuration(const HcmSpec& spec, const config::ForwardSpec& forward, const http::RequestHead& head) {
  if (forward.grpc_timeout_max.has_value()) {
    const http::Header* asked = head.headers.find(std::string_view("grpc-timeout"));
    if (base::Nanos wish = asked == nullptr ? 0 : http::readGrpcTimeout(asked->value()); wish > 0) {
      if (*forward.grpc_timeout_max > 0) wish = std::min(wish, *forward.grpc_timeout_max);
      return std::max<base::Nanos>(wish - forward.grpc_timeout_offset.value_or(0), 1);
    }
  }
  return forward.max_stream_duration.value_or(spec.max_stream_duration);
}

// As Envoy, an informational answer is one more that was completed.
void countInformational(const HcmConfig& config) {
  config.stats.inc(HcmStat::kRqCompleted);
  config.stats.inc(HcmStat::kRq1xx);
  config.listener_stats.inc(ListenerHttpStat::kRqCompleted);
  config.listener_stats.inc(ListenerHttpStat::kRq1xx);
}

bool isConnectionFault(net::CloseReason reason) {
  return reason == net::CloseReason::kRemoteReset || reason == net::CloseReason::kRemoteFin;
}

}  // namespace

std::unique_ptr<NetworkFilter> HcmConfig::make(const NetworkContext& context) const {
  return std::make_unique<HttpServerConnection>(*this, context);
}

HttpServerConnection::HttpServerConnection(const HcmConfig& config, const NetworkContext& context)
    : context_(context),
      connection_(context.connection),
      config_(&config),
      part_(context.chain.part()),
      timer_(event::Timer::to<&HttpServerConnection::onTimer>(context.worker.loop.timers(), this)),
      idle_since_(context.worker.loop.now()) {
  config_->stats.inc(HcmStat::kCxTotal);
  config_->stats.inc(HcmStat::kCxActive);
}

HttpServerConnection::~HttpServerConnection() = default;

// ---- of the connection ----

void HttpServerConnection::onConnected() {
  secure_ = context_.info.tls != nullptr;
  if (secure_) {
    config_->stats.inc(HcmStat::kCxSslTotal);
    config_->stats.inc(HcmStat::kCxSslActive);
  }
  armTimer();
}

bool HttpServerConnection::chooseCodec(const base::Buffer& in, bool eof) {
  bool h2 = false;
  const HcmSpec& spec = config_->spec;
  switch (spec.codec) {
    case CodecType::kHttp1: break;
    case CodecType::kHttp2: h2 = true; break;
    case CodecType::kAuto: {
      if (context_.info.alpn() == "h2") {
        h2 = true;
        break;
      }
      if (!context_.info.alpn().empty()) break;
      // Prior knowledge: the preface says it.
      char head[kPreface.size()];
      const size_t n = std::min(in.size(), kPreface.size());
      in.copyOut(n, head);
      if (std::string_view(head, n) == kPreface.substr(0, n)) {
        if (n < kPreface.size() && !eof) return false;
        h2 = n == kPreface.size();
      }
      break;
    }
  }
  if (h2) {
    h2_ = std::make_unique<Http2Side>();
    auto codec = std::make_unique<http::h2::ServerCodec>(spec.h2, h2_->counters, static_cast<http::ServerCodecSink&>(*this),
                                                         context_.worker.loop.now());
    h2_->keepalive.start(*codec, spec.h2.keepalive, context_.worker.loop.now(), context_.worker.random.next());
    codec_ = std::move(codec);
    if (h2_->keepalive.deadline() > 0) armTimer();
    config_->stats.inc(HcmStat::kCxHttp2Total);
    config_->stats.inc(HcmStat::kCxHttp2Active);
  } else {
    http1_ = true;
    wakeCodec();
    config_->stats.inc(HcmStat::kCxHttp1Total);
    config_->stats.inc(HcmStat::kCxHttp1Active);
  }
  codec_part_ = part_;
  if (draining_) startDrain();
  return true;
}

// With the settings of now: exchanges take them from their first byte on.
void HttpServerConnection::wakeCodec() {
  if (!http1_ || codec_ != nullptr) return;
  codec_ = std::make_unique<http::h1::ServerCodec>(config_->spec.h1, h1_counters, static_cast<http::ServerCodecSink&>(*this),
                                                   connection_.out(), secure_ ? "https" : "http");
  codec_part_ = part_;
}

void HttpServerConnection::restCodec() {
  if (http1_ && codec_ != nullptr && static_cast<http::h1::ServerCodec&>(*codec_).dormant()) codec_.reset();
}

void HttpServerConnection::onBytes(base::Buffer& in, bool eof) {
  if (closing_) {
    in.clear();
    return;
  }
  if (codec_ == nullptr) {
    if (in.empty() && !eof) return;
    wakeCodec();
  }
  if (codec_ == nullptr) {
    if (in.empty() && eof) {
      closing_ = true;
      context_.chain.closeNow();
      return;
    }
    if (!chooseCodec(in, eof)) {
      if (!in.empty() && head_since_ == 0 && !closing_) {  // half a preface
        head_since_ = context_.worker.loop.now();
        armTimer();
      }
      return;
    }
  }
  const http::Feed fed = codec_->feed(in);
  if (h1_counters.any()) foldCounters();
  if (fed == http::Feed::kPaused) connection_.pauseReading(net::Connection::kPauseCodec);
  if (eof) codec_->onPeerFinished();
  // An unfinished head starts the slow-loris clock; a finished one stops it.
  const bool partial = !in.empty() && open_streams_ == 0 && fed == http::Feed::kMore;
  if (partial && head_since_ == 0) {
    head_since_ = context_.worker.loop.now();
    armTimer();
  } else if (!partial && open_streams_ > 0) {
    head_since_ = 0;
  }
  closeIfFinished();
  if (!closing_ && eof && codec_->openStreams() == 0) {
    closing_ = true;
    context_.chain.closeAfterFlush(config_->spec.delayed_close_timeout);
  }
  if (in.empty() && !closing_) restCodec();
}

void HttpServerConnection::onFlush(base::Buffer& out) {
  if (codec_ == nullptr) return;
  codec_->fill(out);
  if (h2_ != nullptr && h2_->counters.any()) foldCounters();
  if (!closing_) {
    if (codec_->outputFinished()) connection_.finishWriting();
    closeIfFinished();
  }
}

void HttpServerConnection::closeIfFinished() {
  if (closing_ || codec_ == nullptr || !codec_->finished() || codec_->openStreams() > 0) return;
  closing_ = true;
  context_.chain.closeAfterFlush(config_->spec.delayed_close_timeout, {}, codec_->clientIsDone());
}

void HttpServerConnection::onRoom() {
  if (codec_ != nullptr) codec_->onOutputDrained();
}

void HttpServerConnection::onClosed(net::CloseReason reason) {
  closing_ = true;
  timer_.cancel();
  if (h2_ != nullptr) h2_->keepalive.stop();
  const bool remote = isConnectionFault(reason);
  const HcmStats& stats = config_->stats;
  stats.inc(HcmStat::kCxDestroy);
  stats.inc(remote ? HcmStat::kCxDestroyRemote : HcmStat::kCxDestroyLocal);
  if (open_streams_ > 0 || cut_by_close_) {
    stats.inc(HcmStat::kCxDestroyActiveRq);
    stats.inc(remote ? HcmStat::kCxDestroyRemoteActiveRq : HcmStat::kCxDestroyLocalActiveRq);
  }
  stats.dec(HcmStat::kCxActive);
  if (secure_) stats.dec(HcmStat::kCxSslActive);
  if (http1_) stats.dec(HcmStat::kCxHttp1Active);
  if (h2_ != nullptr) stats.dec(HcmStat::kCxHttp2Active);
  if (codec_ != nullptr) {
    codec_->resetAll(ResetReason::kConnectionClosed);
    codec_.reset();
  }
  // Streams end now: their owner goes with this turn.
  while (!streams_.empty()) {
    HttpStream& stream = streams_.front();
    base::IntrusiveList<HttpStream, HttpStreamTag>::erase(stream);
    stream.endNow(ResetReason::kConnectionClosed);
  }
  stats.inc(HcmStat::kCxRxBytes, static_cast<int64_t>(connection_.bytesRead()));
  stats.inc(HcmStat::kCxTxBytes, static_cast<int64_t>(connection_.bytesWritten()));
  stats.record(HcmStat::kCxLength, static_cast<uint64_t>((context_.worker.loop.now() - connection_.startedAt()) / base::kMilli));
  foldCounters();
}

void HttpServerConnection::onDrain() {
  if (draining_) return;
  draining_ = true;
  wakeCodec();
  if (codec_ != nullptr) {
    startDrain();
  } else if (connection_.bytesRead() == 0) {
    // Its first request may be on the way: who has just been accepted is not turned away.
    drain_at_ = context_.worker.loop.now() + kFreshGrace;
    armTimer();
  }
}

void HttpServerConnection::startDrain() {
  draining_ = true;
  config_->stats.inc(HcmStat::kCxDrainClose);
  codec_->announceDrain();
  connection_.markDirty();
  if (codec_->protocol() == http::Protocol::kHttp2) {
    if (codec_->openStreams() == 0) {
      codec_->drain();
    } else {
      drain_at_ = context_.worker.loop.now() + config_->spec.drain_timeout;
    }
    armTimer();
  } else if (open_streams_ == 0 && !closing_ && requests_ > 0 && head_since_ == 0) {
    // Between two requests, nothing lost: an idle connection ends at once.
    closing_ = true;
    context_.chain.closeAfterFlush(config_->spec.delayed_close_timeout, "drained");
  }
}

void HttpServerConnection::onConfig(const ChainRef& chain) {
  // The codec keeps the settings it was made with; new streams take the new chain, routes and timeouts.
  const auto* next = static_cast<const HcmConfig*>((*chain)->factory.get());
  config_ = next;
  part_ = chain;
}

void HttpServerConnection::onTimer() {
  const base::Nanos now = context_.worker.loop.now();
  const HcmSpec& spec = config_->spec;
  wakeCodec();
  if (h2_ != nullptr && !h2_->keepalive.onTime()) {
    ++h2_->counters.keepalive_timeout;
    closing_ = true;
    context_.chain.closeNow("http2_ping_timeout");
    return;
  }
  if (drain_at_ > 0 && now >= drain_at_) {
    drain_at_ = 0;
    if (codec_ == nullptr) {
      if (connection_.bytesRead() == 0) {
        closing_ = true;
        context_.chain.closeAfterFlush(spec.delayed_close_timeout, "drained");
        return;
      }
    } else {
      codec_->drain();
      connection_.markDirty();
    }
  }
  if (head_since_ > 0 && open_streams_ == 0 && spec.request_headers_timeout > 0 && now >= head_since_ + spec.request_headers_timeout) {
    config_->stats.inc(HcmStat::kRqHeaderTimeout);
    closing_ = true;
    if (codec_ != nullptr && codec_->protocol() != http::Protocol::kHttp2) refuseSlowHead();
    context_.chain.closeAfterFlush(spec.delayed_close_timeout, "request_header_timeout");
    return;
  }
  const bool in_head = head_since_ > 0 && spec.request_headers_timeout > 0;  // busy, and timed as such
  if (open_streams_ == 0 && !in_head && spec.idle_timeout > 0 && now >= idle_since_ + spec.idle_timeout) {
    config_->stats.inc(HcmStat::kCxIdleTimeout);
    if (codec_ != nullptr) codec_->drain();
    closing_ = true;
    context_.chain.closeAfterFlush(spec.delayed_close_timeout, "connection_idle_timeout");
    return;
  }
  if (spec.max_connection_duration > 0 && !draining_ && now >= connection_.startedAt() + spec.max_connection_duration) {
    config_->stats.inc(HcmStat::kCxMaxDuration);
    if (codec_ != nullptr && codec_->protocol() != http::Protocol::kHttp2) {
      // The client may be about to ask: for a while answers say close, then the idle connection ends.
      draining_ = true;
      config_->stats.inc(HcmStat::kCxDrainClose);
      codec_->announceDrain();
      drain_at_ = now + spec.drain_timeout;
    } else {
      onDrain();
    }
    if (closing_) return;
  }
  armTimer();
  restCodec();
}

// The request has no stream yet: the answer, its count and its log line are the connection's own.
void HttpServerConnection::refuseSlowHead() {
  const HcmSpec& spec = config_->spec;
  stream::StreamInfo info;
  info.connection = &context_.info;
  info.remote = context_.info.remote();
  info.has_protocol = true;
  info.start = head_since_;
  info.end = context_.worker.loop.now();
  info.start_wall = context_.worker.loop.wall() - (info.end - info.start);
  info.response_code = 408;
  info.details = "request_header_timeout";
  info.reason = "downstream_header_timeout";
  base::Arena* const arena = base::Arena::create();
  {
    Reply reply;
    reply.status = 408;
    reply.body = "request header timeout";
    reply.content_type = "text/plain";
    http::ResponseHead head(*arena);
    head.status = 408;
    if (config_->local_replies != nullptr) config_->local_replies->shape(nullptr, info, *arena, reply, head);
    if (!reply.body.empty()) {
      char digits[24];
      head.headers.set(HeaderId::kContentLength,
                       arena->copy({digits, static_cast<size_t>(std::to_chars(digits, digits + 24, reply.body.size()).ptr - digits)}));
      if (!head.headers.has(HeaderId::kContentType)) head.headers.add(HeaderId::kContentType, reply.content_type);
    }
    if (!head.headers.has(HeaderId::kDate)) head.headers.add(HeaderId::kDate, context_.worker.loop.httpDate());
    if (spec.server_header != ServerHeader::kPassThrough) head.headers.set(HeaderId::kServer, spec.server_name);
    base::Buffer& out = connection_.out();
    if (http::h1::encodeResponseHead(head, http::Protocol::kHttp11, reply.body.empty(), http::h1::OutBody::kLength,
                                     http::h1::ConnectionLine::kClose, out)) {
      out.append(reply.body);
      info.bytes_sent = reply.body.size();
    }
    config_->stats.inc(HcmStat::kRqTotal);
    config_->stats.inc(HcmStat::kRqHttp1Total);
    config_->stats.inc(HcmStat::kRqCompleted);
    config_->listener_stats.inc(ListenerHttpStat::kRqCompleted);
    const int klass = info.response_code / 100 - 1;  // 200 to 599
    config_->stats.inc(static_cast<HcmStat>(static_cast<int>(HcmStat::kRq1xx) + klass));
    config_->listener_stats.inc(static_cast<ListenerHttpStat>(static_cast<int>(ListenerHttpStat::kRq1xx) + klass));
    config_->reasons->inc(info.reason);
    for (const auto& log : config_->access_logs) log->log({nullptr, &head, nullptr, info});
  }
  arena->unref();
}

void HttpServerConnection::armTimer() {
  const HcmSpec& spec = config_->spec;
  base::Nanos at = 0;
  const auto want = [&](base::Nanos deadline) {
    if (at == 0 || deadline < at) at = deadline;
  };
  if (drain_at_ > 0) want(drain_at_);
  if (h2_ != nullptr && h2_->keepalive.deadline() > 0) want(h2_->keepalive.deadline());
  if (open_streams_ == 0) {
    if (head_since_ > 0 && spec.request_headers_timeout > 0) {
      want(head_since_ + spec.request_headers_timeout);
    } else if (spec.idle_timeout > 0) {
      want(idle_since_ + spec.idle_timeout);
    }
  }
  if (spec.max_connection_duration > 0 && !draining_) want(connection_.startedAt() + spec.max_connection_duration);
  // Lazily: an earlier timer finds out by itself that its deadline moved.
  if (at > 0 && (!timer_.armed() || at < timer_.deadline())) timer_.armAt(at);
}

void HttpServerConnection::foldCounters() {
  if (h2_ == nullptr && !h1_counters.any()) return;
  http::h2::Counters h2;
  if (h2_ != nullptr) std::swap(h2, h2_->counters);
  if (h2.too_many_premature_resets > 0) {
    config_->stats.inc(HcmStat::kRqTooManyPrematureResets, static_cast<int64_t>(h2.too_many_premature_resets));
  }
  if (config_->codec_stats != nullptr) config_->codec_stats->add(h1_counters, h2);
  h1_counters = {};
}

// ---- of the codec ----

http::RequestSink& HttpServerConnection::onNewStream(http::ServerStream& codec_stream) {
  const HcmSpec& spec = config_->spec;
  HttpStream::Limits limits;
  limits.body = spec.stream_buffer_limit;
  limits.idle = spec.stream_idle_timeout;
  limits.request = spec.request_timeout;
  limits.duration = spec.max_stream_duration;
  if (codec_->protocol() == http::Protocol::kHttp2) limits.head = spec.request_headers_timeout;
  HttpStream& stream = HttpStream::create(*this, codec_stream, context_.info, limits, part_);
  stream.ownerData = config_;
  stream.info().protocol = codec_->protocol();
  streams_.pushBack(stream);
  ++open_streams_;
  ++requests_;
  head_since_ = 0;
  const HcmStats& stats = config_->stats;
  stats.inc(HcmStat::kRqTotal);
  stats.inc(HcmStat::kRqActive);
  stats.inc(codec_->protocol() == http::Protocol::kHttp2 ? HcmStat::kRqHttp2Total : HcmStat::kRqHttp1Total);
  if (spec.max_requests_per_connection > 0 && requests_ >= spec.max_requests_per_connection && !draining_) {
    stats.inc(HcmStat::kCxMaxRequests);
    draining_ = true;
    codec_->announceDrain();
    drain_at_ = context_.worker.loop.now() + spec.drain_timeout;
  }
  return stream;
}

void HttpServerConnection::onWantFeed() {
  connection_.resumeReading(net::Connection::kPauseCodec);
  connection_.wantFeed();
}

void HttpServerConnection::onIdle() {
  if (draining_ && codec_ != nullptr && codec_->protocol() == http::Protocol::kHttp2) {
    drain_at_ = 1;  // at the next timer: not from within the codec's own event
    armTimer();
  }
}

void HttpServerConnection::onConnectionError(std::string_view details) {
  config_->stats.inc(HcmStat::kCxProtocolError);
  if (context_.info.termination_details.empty()) context_.info.termination_details = details;
  OUTRIDER_LOG(kDebug, kHttp, "connection %lu: protocol error: %.*s", static_cast<unsigned long>(connection_.id()),
               static_cast<int>(details.size()), details.data());
}

// ---- of the streams ----

const Reply* HttpServerConnection::admit(HttpStream& stream, http::RequestHead& head) {
  const auto& config = *static_cast<const HcmConfig*>(stream.ownerData);
  if (head.expect_continue && config.spec.proxy_100_continue) {
    head.headers.set(HeaderId::kExpect, "100-continue");  // the upstream decides
  } else if (head.expect_continue) {
    auto& go = *stream.arena().make<http::ResponseHead>(stream.arena());
    go.status = 100;
    countInformational(config);
    stream.codec().sendInformational(go);
    head.headers.remove(HeaderId::kExpect);
  }
  return admitRequest({config.spec, config.stats, secure_}, stream, head);
}

void HttpServerConnection::match(HttpStream& stream) {
  const auto& config = *static_cast<const HcmConfig*>(stream.ownerData);
  config::RouteTableId id = config.routes;
  if (config.scope_key != nullptr) {
    // The scope names the table. An index that is replaced meanwhile is of no concern: the table is pinned below.
    const config::ScopeIndex* scopes = config.inline_scopes.get();
    if (scopes == nullptr) {
      const auto& part = context_.worker.routes.scopes(config.scope_set);
      if (part) scopes = &**part;
    }
    id = scopes == nullptr ? config::kNoRouteTable : scopes->find(*config.scope_key, stream.request());
  }
  const auto& table = context_.worker.routes.find(id);
  if (!table) {
    stream.setRoute(nullptr, {});
    return;
  }
  if (stream.request().headers.get(HeaderId::kEnvoyInternal) != "true") (*table)->removeInternalOnly(stream.request().headers);
  config::MatchContext match;
  match.random = context_.worker.random.next();
  match.secure = secure_;
  match.tls = context_.info.tls;
  stream.setRoute((*table)->match(stream.request(), match), table);
}

const Reply* HttpServerConnection::afterMatch(HttpStream& stream, http::RequestHead& head) {
  const auto& config = *static_cast<const HcmConfig*>(stream.ownerData);
  const config::CompiledRoute* route = stream.route();
  const bool forwards = route != nullptr && route->action() == config::RouteSpec::Action::kForward;
  if (forwards) {
    const base::Nanos most = streamDuration(config.spec, route->forward(), head);
    stream.setDuration(most);
    if (most > 0 && head.headers.get(HeaderId::kContentType).starts_with("application/grpc")) {
      // The upstream is told how long it has.
      char text[24];
      char* end = std::to_chars(text, text + 20, most / base::kMilli).ptr;
      *end++ = 'm';
      head.headers.remove(std::string_view("grpc-timeout"));
      head.headers.addCopy("grpc-timeout", {text, static_cast<size_t>(end - text)});
    }
  }
  if (head.upgrade.empty() && !head.isConnect()) return nullptr;
  if (route == nullptr && head.upgrade.empty()) return nullptr;  // nobody takes this CONNECT: 404
  // The route's word, else ours.
  const std::string_view type = head.upgrade.empty() ? std::string_view("CONNECT") : head.upgrade;
  bool allowed = false;
  const config::UpgradeSpec* own = forwards ? route->upgrade(type) : nullptr;
  if (own != nullptr) {
    allowed = own->enabled;
  } else {
    for (const HcmSpec::Upgrade& upgrade : config.spec.upgrades) {
      if (http::equalsIgnoreCase(upgrade.type, type)) allowed = upgrade.enabled;
    }
  }
  if (allowed) {
    stream.upgraded = true;
    config.stats.inc(HcmStat::kCxUpgradesTotal);
    config.stats.inc(HcmStat::kCxUpgradesActive);
    return nullptr;
  }
  config.stats.inc(HcmStat::kRqWsOnNonWsRoute);
  Reply& reply = stream.makeReply(403, {}, "upgrade_failed");
  reply.reason = "upgrade_refused";
  reply.close = true;
  return &reply;
}

void HttpServerConnection::shapeReply(HttpStream& stream, Reply& reply, http::ResponseHead& head) {
  const LocalReplies* replies = static_cast<const HcmConfig*>(stream.ownerData)->local_replies.get();
  if (replies == nullptr || reply.source != nullptr) return;
  stream.info().response_code = reply.status;
  replies->shape(stream.hasRequest() ? &stream.request() : nullptr, stream.info(), stream.arena(), reply, head);
}

bool HttpServerConnection::finishInformational(HttpStream& stream, http::ResponseHead& head) {
  const auto& spec = static_cast<const HcmConfig*>(stream.ownerData)->spec;
  if (!spec.proxy_100_continue) return false;  // the client was told to go on by ourselves
  countInformational(*static_cast<const HcmConfig*>(stream.ownerData));
  if (spec.server_header == ServerHeader::kOverwrite) head.headers.set(HeaderId::kServer, spec.server_name);
  return true;
}

void HttpServerConnection::finishResponse(HttpStream& stream, http::ResponseHead& head) {
  const auto& spec = static_cast<const HcmConfig*>(stream.ownerData)->spec;
  if (!head.headers.has(HeaderId::kDate)) {
    // A copy: the loop's own text changes with the second, and a stalled stream may be encoded later.
    head.headers.addCopy(HeaderId::kDate, context_.worker.loop.httpDate());
  }
  switch (spec.server_header) {
    case ServerHeader::kOverwrite: head.headers.set(HeaderId::kServer, spec.server_name); break;
    case ServerHeader::kAppendIfAbsent:
      if (!head.headers.has(HeaderId::kServer)) head.headers.add(HeaderId::kServer, spec.server_name);
      break;
    case ServerHeader::kPassThrough: break;
  }
  if (!spec.via.empty()) {
    if (const http::Header* via = head.headers.find(HeaderId::kVia)) {
      head.headers.set(HeaderId::kVia, stream.arena().concat(via->value(), ", ", spec.via));
    } else {
      head.headers.add(HeaderId::kVia, spec.via);
    }
  }
  if (stream.hasRequest() && stream.request().headers.has(HeaderId::kRequestId) &&
      (spec.always_set_request_id_in_response || stream.request().headers.has(HeaderId::kEnvoyForceTrace))) {
    head.headers.set(HeaderId::kRequestId, stream.request().headers.get(HeaderId::kRequestId));
  }
  WorkerContext& worker = context_.worker;
  if (!draining_ && worker.drain.draining && worker.drain.closeNow(worker.loop.now(), worker.random)) {
    draining_ = true;
    config_->stats.inc(HcmStat::kCxDrainClose);
    codec_->announceDrain();
    if (codec_->protocol() == http::Protocol::kHttp2) {
      drain_at_ = worker.loop.now() + spec.drain_timeout;
      armTimer();
    }
  }
}

void HttpServerConnection::onStreamEnd(HttpStream& stream) {
  const auto& config = *static_cast<const HcmConfig*>(stream.ownerData);
  const HcmStats& stats = config.stats;
  const stream::StreamInfo& info = stream.info();
  base::IntrusiveList<HttpStream, HttpStreamTag>::erase(stream);
  --open_streams_;
  stats.dec(HcmStat::kRqActive);
  if (stream.upgraded) stats.dec(HcmStat::kCxUpgradesActive);
  if (info.response_code != 0) {
    stats.inc(HcmStat::kRqCompleted);
    config.listener_stats.inc(ListenerHttpStat::kRqCompleted);
    const int klass = info.response_code / 100;
    if (klass >= 1 && klass <= 5) {
      stats.inc(static_cast<HcmStat>(static_cast<int>(HcmStat::kRq1xx) + klass - 1));
      config.listener_stats.inc(static_cast<ListenerHttpStat>(static_cast<int>(ListenerHttpStat::kRq1xx) + klass - 1));
    }
  }
  if (!info.reason.empty()) config.reasons->inc(info.reason);
  // As Envoy, every exchange that was cut counts as received, and those that we cut as sent too.
  switch (stream.endReason()) {
    case ResetReason::kNone: break;
    case ResetReason::kConnectionClosed: cut_by_close_ = true; [[fallthrough]];
    case ResetReason::kRemoteReset:
    case ResetReason::kRemoteRefused:
    case ResetReason::kProtocolError: stats.inc(HcmStat::kRqRxReset); break;
    default: stats.inc(HcmStat::kRqRxReset); stats.inc(HcmStat::kRqTxReset);
  }
  if (info.flags.has(stream::ResponseFlag::kDownstreamProtocolError)) {
    if (codec_ == nullptr || codec_->protocol() != http::Protocol::kHttp2) {
      stats.inc(HcmStat::kCxProtocolError);
      if (stream.endReason() == ResetReason::kNone) stats.inc(HcmStat::kRqRxReset);
    }
    foldCounters();
  }
  if (info.details == "stream_idle_timeout") stats.inc(HcmStat::kRqIdleTimeout);
  if (info.details == "request_header_timeout") stats.inc(HcmStat::kRqHeaderTimeout);
  if (info.details == "max_duration_timeout") stats.inc(HcmStat::kRqMaxDuration);
  if (info.details == "request_overall_timeout") stats.inc(HcmStat::kRqTimeout);
  if (info.details == "request_payload_too_large") stats.inc(HcmStat::kRqTooLarge);
  stats.record(HcmStat::kRqTime, static_cast<uint64_t>((info.end - info.start) / base::kMilli));
  for (const auto& log : config.access_logs) {
    log->log({stream.hasRequest() ? &stream.request() : nullptr, stream.response(), stream.responseTrailers(), info});
  }
  if (open_streams_ == 0) {
    idle_since_ = context_.worker.loop.now();
    if (!closing_) {
      armTimer();
      if (draining_ && codec_ != nullptr && codec_->protocol() == http::Protocol::kHttp2) {
        codec_->drain();
        connection_.markDirty();
      }
      closeIfFinished();
    }
  }
}

}  // namespace outrider::filter::network::http_connection_manager
