#include "source/filter/http_stream.h"

#include <vector>

#include "source/config/route_table.h"

namespace outrider::filter {

using base::Buffer;
using http::ResetReason;

namespace {

// Streams by slot, so that a handle of a dead one is a no-op. One table a thread.
struct Slot {
  HttpStream* stream = nullptr;
  uint32_t generation = 0;
};
struct Slots {
  std::vector<Slot> table;
  std::vector<uint32_t> free;
};
Slots& slots() {
  static thread_local Slots instance;
  return instance;
}

}  // namespace

// ---- StreamHandle, StreamContext ----

HttpStream* StreamHandle::stream() const {
  const Slots& all = slots();
  if (slot_ >= all.table.size() || all.table[slot_].generation != generation_) return nullptr;
  return all.table[slot_].stream;
}

void StreamHandle::resume(Direction direction, Verdict verdict) const {
  if (HttpStream* at = stream()) at->queueResume(filter_, direction, verdict);
}

StreamHandle StreamContext::handle() const { return stream_->handleFor(filter_); }
base::Arena& StreamContext::arena() const { return stream_->arena(); }
WorkerContext& StreamContext::worker() const { return stream_->worker(); }
stream::ResponseFlags& StreamContext::flags() const { return stream_->info().flags; }
http::RequestHead& StreamContext::request() const { return stream_->request(); }
const config::CompiledRoute* StreamContext::route() const { return stream_->route(); }
void StreamContext::clearRoute() const { stream_->clearRoute(); }
Reply& StreamContext::makeReply(uint16_t status, std::string_view body, std::string_view details) const {
  return stream_->makeReply(status, body, details);
}
const void* StreamContext::perRoute() const {
  const config::CompiledRoute* route = stream_->route();
  if (route == nullptr || stream_->chain() == nullptr) return nullptr;
  return route->filterConfig(stream_->chain()->filters()[filter_].name);
}

// ---- HttpChain ----

HttpChain::HttpChain(std::vector<Entry> filters, const TerminalOps& terminal, std::shared_ptr<const void> terminal_config)
    : filters_(std::move(filters)), terminal_(terminal), terminal_config_(std::move(terminal_config)) {
  size_t at = 0;
  for (Entry& entry : filters_) {
    at = (at + entry.ops->align - 1) & ~(entry.ops->align - 1);
    entry.offset = at;
    at += entry.ops->size;
    any_request_data_ |= entry.ops->request_data != nullptr;
  }
  at = (at + terminal_.align - 1) & ~(terminal_.align - 1);
  terminal_offset_ = at;
  state_size_ = at + terminal_.size;
}

// ---- birth and death ----

HttpStream& HttpStream::create(HttpStreamOwner& owner, http::ServerStream& codec, const stream::ConnectionInfo& connection,
                               const Limits& limits, ChainRef pin) {
  base::Arena* arena = base::Arena::create();
  return *arena->make<HttpStream>(owner, codec, connection, limits, std::move(pin), arena);
}

HttpStream::HttpStream(HttpStreamOwner& owner, http::ServerStream& codec, const stream::ConnectionInfo& connection, const Limits& limits,
                       ChainRef pin, base::Arena* arena)
    : owner_(owner),
      codec_(codec),
      worker_(owner.worker()),
      arena_(arena),
      limits_(limits),
      pin_(std::move(pin)),
      work_(event::Deferred::to<&HttpStream::run>(this)),
      timer_(event::Timer::to<&HttpStream::onTimeout>(worker_.loop.timers(), this)),
      last_activity_(worker_.loop.now()) {
  info_.connection = &connection;
  info_.start = worker_.loop.now();
  info_.start_wall = worker_.loop.wall();
  info_.has_protocol = true;
  if (limits_.request > 0) request_deadline_ = info_.start + limits_.request;
  armTimer();
}

HttpStream::~HttpStream() {
  dropHandles();
  delete source_;
  dropResumes();
  destroyChain();
}

void HttpStream::bury() {
  base::Arena* arena = arena_;
  this->~HttpStream();
  arena->unref();
}

void HttpStream::armTimer() {
  base::Nanos at = 0;
  if (limits_.idle > 0) at = last_activity_ + limits_.idle;
  if (request_deadline_ > 0 && (at == 0 || request_deadline_ < at)) at = request_deadline_;
  if (limits_.head > 0 && request_ == nullptr && (at == 0 || info_.start + limits_.head < at)) at = info_.start + limits_.head;
  if (limits_.duration > 0 && (at == 0 || info_.start + limits_.duration < at)) at = info_.start + limits_.duration;
  if (at > 0) {
    timer_.armAt(at);
  } else {
    timer_.cancel();
  }
}

void HttpStream::setIdleTimeout(base::Nanos idle) {
  limits_.idle = idle;
  armTimer();
}

void HttpStream::setDuration(base::Nanos most) {
  if (limits_.duration == most) return;
  limits_.duration = most;
  armTimer();
}

void HttpStream::onTimeout() {
  if (finishing_ || ended_) return;
  const base::Nanos now = worker_.loop.now();
  if (limits_.duration > 0 && now >= info_.start + limits_.duration) {
    limits_.duration = 0;
    Reply& reply = makeReply(request_complete_ ? 504 : 408, "downstream duration timeout", "max_duration_timeout");
    reply.close = !request_complete_;
    reply.grpc_status = 4;  // DEADLINE_EXCEEDED
    reply.reason = "max_stream_duration";
    respondWith(reply);
  } else if (limits_.head > 0 && request_ == nullptr && now >= info_.start + limits_.head) {
    Reply& reply = makeReply(408, "request header timeout", "request_header_timeout");
    reply.close = true;
    reply.reason = "downstream_header_timeout";
    respondWith(reply);
  } else if (request_deadline_ > 0 && now >= request_deadline_ && !request_complete_) {
    request_deadline_ = 0;
    Reply& reply = makeReply(408, "request timeout", "request_overall_timeout");
    reply.close = true;
    reply.reason = "downstream_request_timeout";
    respondWith(reply);
  } else if (limits_.idle > 0 && now >= last_activity_ + limits_.idle) {
    info_.flags.set(stream::ResponseFlag::kStreamIdleTimeout);
    if (response_started_) {
      info_.details = "stream_idle_timeout";
      resetStream(ResetReason::kTimeout);  // HTTP/2: CANCEL, and tx_flush_timeout (matrix row 220)
      return;
    }
    Reply& reply = makeReply(request_complete_ ? 504 : 408, "stream timeout", "stream_idle_timeout");
    reply.close = !request_complete_;  // nobody waits for the rest of it
    reply.reason = "stream_idle_timeout";
    respondWith(reply);
  }
  if (!finishing_) armTimer();
}

// ---- codec events ----

void HttpStream::onRequestHead(http::RequestHead& head, bool last) {
  request_ = &head;
  head_pending_ = true;
  head_last_ = last;
  request_complete_ = last;
  info_.protocol = head.protocol;
  info_.request_head_bytes = head.wire_bytes;
  info_.request_head_at = worker_.loop.now();
  if (last) info_.request_end_at = info_.request_head_at;
  wake();
}

void HttpStream::onRequestData(Buffer& data, bool last) {
  info_.bytes_received += data.size();
  touch();
  if (last) {
    request_complete_ = true;
    info_.request_end_at = worker_.loop.now();
  }
  if (request_dead_) {
    data.clear();
    return;
  }
  inbox_.move(data);
  inbox_last_ |= last;
  data_pending_ = true;
  wake();
}

void HttpStream::onRequestTrailers(http::HeaderMap& trailers) {
  request_trailers_ = &trailers;
  trailers_pending_ = true;
  request_complete_ = true;
  info_.request_end_at = worker_.loop.now();
  wake();
}

void HttpStream::onMalformed(const http::CodecError& error) {
  if (error.answered) {
    info_.flags.set(stream::ResponseFlag::kDownstreamProtocolError);
    info_.details = error.details;
    info_.reason = "downstream_protocol_error";
    if (error.status == 431) info_.response_code = error.status;
    request_dead_ = true;
    return;
  }
  malformed_ = arena_->make<http::CodecError>(error);
  info_.flags.set(stream::ResponseFlag::kDownstreamProtocolError);
  wake();
}

void HttpStream::onRoom() {
  response_room_ = true;
  touch();
  wake();
}

void HttpStream::onEnd(ResetReason reason) {
  ended_ = true;
  end_reason_ = reason;
  wake();
}

// ---- the run ----

void HttpStream::run() {
  if (finishing_) return;
  if (!ended_ || end_reason_ == ResetReason::kNone) {
    runRequestEvents();
    if (resumes_ != nullptr) runResumes();
    if (terminal_ != nullptr && !finishing_) terminal_->run();
    if (response_room_ && !finishing_) {
      response_room_ = false;
      response_blocked_ = false;
      if (source_ != nullptr) {
        pullSource();
      } else if (terminal_ != nullptr && !response_held_full_) {
        terminal_->onResponseRoom();
      }
    }
  }
  if (ended_ && !finishing_) finish(end_reason_);
}

void HttpStream::runRequestEvents() {
  if (malformed_ != nullptr && !request_dead_) {
    const http::CodecError error = *malformed_;
    Reply& reply = makeReply(error.status, {}, error.details);
    switch (error.status) {
      case 400: reply.body = "Bad Request"; break;
      case 426: reply.body = "Upgrade Required"; break;
      case 431: reply.body = "Request Header Fields Too Large"; break;
      case 501: reply.body = "Not Implemented"; break;
      default: break;
    }
    reply.reason = "downstream_protocol_error";
    reply.close = true;
    if (response_sent_) {
      info_.details = error.details;
      resetStream(ResetReason::kProtocolError);
      return;
    }
    respondWith(reply);
    return;
  }
  if (head_pending_) {
    head_pending_ = false;
    beginRequest();
    if (finishing_) return;
  }
  if (data_pending_) {
    data_pending_ = false;
    const bool last = inbox_last_;
    if (request_dead_) {
      inbox_.clear();
    } else {
      Buffer data;
      data.swap(inbox_);
      walkData<Direction::kRequest>(0, data, last);
    }
  }
  if (trailers_pending_ && !finishing_) {
    trailers_pending_ = false;
    if (!request_dead_) walkTrailers<Direction::kRequest>(0);
  }
}

void HttpStream::beginRequest() {
  if (const Reply* refused = owner_.admit(*this, *request_)) {
    respondWith(*refused);
    return;
  }
  owner_.match(*this);
  route_matched_ = true;
  makeChain();
  if (const Reply* refused = owner_.afterMatch(*this, *request_)) {
    respondWith(*refused);
    return;
  }
  walkHead<Direction::kRequest>(0, head_last_);
}

// ---- the rest ----

void HttpStream::pauseSource(PauseReason reason, bool on) {
  const bool was = request_pauses_ != 0;
  if (on) {
    request_pauses_ |= reason;
  } else {
    request_pauses_ &= static_cast<uint8_t>(~reason);
  }
  const bool is = request_pauses_ != 0;
  if (was != is && !ended_ && !finishing_) codec_.pause(is);
}

const config::CompiledRoute* HttpStream::route() {
  if (!route_matched_ && request_ != nullptr) {
    owner_.match(*this);
    route_matched_ = true;
  }
  return route_;
}

void HttpStream::clearRoute() {
  route_matched_ = false;
  route_ = nullptr;
}

void HttpStream::setRoute(const config::CompiledRoute* route, config::PartRef<config::RouteTable> pin) {
  route_ = route;
  route_pin_ = std::move(pin);
  info_.route = route;
  info_.route_metadata = route == nullptr ? std::string_view() : route->metadata();
}

StreamHandle HttpStream::handleFor(uint16_t filter) {
  Slots& all = slots();
  if (slot_ == ~0u) {
    if (all.free.empty()) {
      all.free.push_back(static_cast<uint32_t>(all.table.size()));
      all.table.emplace_back();
    }
    slot_ = all.free.back();
    all.free.pop_back();
    all.table[slot_].stream = this;
  }
  return StreamHandle(slot_, all.table[slot_].generation, filter);
}

void HttpStream::dropHandles() {
  if (slot_ == ~0u) return;
  Slots& all = slots();
  all.table[slot_].stream = nullptr;
  ++all.table[slot_].generation;
  all.free.push_back(slot_);
  slot_ = ~0u;
}

void HttpStream::endNow(ResetReason reason) {
  if (finishing_) return;
  if (!ended_) {
    ended_ = true;
    end_reason_ = reason;
  }
  finish(end_reason_);
}

void HttpStream::resetStream(ResetReason reason) {
  if (finishing_) return;
  if (!ended_) {
    ended_ = true;
    end_reason_ = reason;
    codec_.reset(reason);
  }
  wake();
}

void HttpStream::finish(ResetReason reason) {
  finishing_ = true;
  timer_.cancel();
  info_.end = worker_.loop.now();
  if (reason == ResetReason::kRemoteReset || reason == ResetReason::kRemoteRefused) {
    info_.flags.set(stream::ResponseFlag::kDownstreamRemoteReset);
    if (info_.details.empty() || info_.details == "via_upstream") info_.details = "http2.remote_reset";
  } else if (reason == ResetReason::kConnectionClosed) {
    info_.flags.set(stream::ResponseFlag::kDownstreamConnectionTermination);
    if (info_.details.empty() || info_.details == "via_upstream") info_.details = "downstream_remote_disconnect";
  }
  if (chain_ != nullptr && reason != ResetReason::kNone) {
    for (size_t i = 0; i < chain_->filters().size(); ++i) {
      const auto hook = chain_->filters()[i].ops->reset;
      if (hook != nullptr && !off(i)) hook(stateOf(i), reason);
    }
  }
  if (terminal_ != nullptr) terminal_->onStreamEnd(reason);
  owner_.onStreamEnd(*this);
  worker_.loop.retire(this);
}

}  // namespace outrider::filter
