#include "source/filter/http_stream.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "source/config/route_table.h"

namespace outrider::filter {

using base::Buffer;
using http::ResetReason;
using http::Room;

namespace {

// Local replies that are redone for a restart loop would never end.
constexpr uint8_t kMostRestarts = 5;
constexpr size_t kSourcePiece = 64 * 1024;

// "application/grpc" and "application/grpc+proto", but not grpc-web, whose clients read HTTP.
bool isGrpc(std::string_view type) {
  constexpr std::string_view kType = "application/grpc";
  return type.starts_with(kType) && (type.size() == kType.size() || type[kType.size()] == '+');
}

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

HttpStream& HttpStream::create(HttpStreamOwner& owner, http::ServerStream& codec,
                               const stream::ConnectionInfo& connection, const Limits& limits, ChainRef pin) {
  base::Arena* arena = base::Arena::create();
  return *arena->make<HttpStream>(owner, codec, connection, limits, std::move(pin), arena);
}

HttpStream::HttpStream(HttpStreamOwner& owner, http::ServerStream& codec, const stream::ConnectionInfo& connection,
                       const Limits& limits, ChainRef pin, base::Arena* arena)
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
  if (slot_ != ~0u) {
    Slots& all = slots();
    all.table[slot_].stream = nullptr;
    ++all.table[slot_].generation;
    all.free.push_back(slot_);
  }
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
    reply.grpc_status = 4;   // DEADLINE_EXCEEDED
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
      resetStream(ResetReason::kTimeout);   // HTTP/2: CANCEL, and tx_flush_timeout (matrix row 220)
      return;
    }
    Reply& reply = makeReply(request_complete_ ? 504 : 408, "stream timeout", "stream_idle_timeout");
    reply.close = !request_complete_;   // nobody waits for the rest of it
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

void HttpStream::makeChain() {
  chain_ = &owner_.chainFor(*this);
  state_ = static_cast<char*>(arena_->alloc(chain_->stateSize()));
  const auto& filters = chain_->filters();
  off_ = 0;
  for (size_t i = 0; i < filters.size(); ++i) {
    bool off = filters[i].disabled;
    if (route_ != nullptr) {
      if (const auto own = route_->overrideOf(filters[i].name); own.found) off = own.disabled;
    }
    if (off) off_ |= uint64_t{1} << i;
    filters[i].ops->construct(state_ + filters[i].offset, filters[i].config.get(),
                              StreamContext(*this, static_cast<uint16_t>(i)));
  }
  terminal_ = chain_->terminal().construct(state_ + chain_->terminalOffset(), chain_->terminalConfig(), *this);
  if (!filters.empty()) {
    request_stages_ = arena_->array<Stage>(filters.size());
    response_stages_ = arena_->array<Stage>(filters.size());
    for (size_t i = 0; i < filters.size(); ++i) {
      new (&request_stages_[i]) Stage();
      new (&response_stages_[i]) Stage();
    }
  }
}

void HttpStream::destroyChain() {
  if (chain_ == nullptr) return;
  const auto& filters = chain_->filters();
  for (size_t i = filters.size(); i-- > 0;) filters[i].ops->destroy(state_ + filters[i].offset);
  chain_->terminal().destroy(terminal_);
  terminal_ = nullptr;
  for (size_t i = 0; i < filters.size(); ++i) {
    for (Stage* stage : {&request_stages_[i], &response_stages_[i]}) {
      if (stage->in != nullptr) stage->in->~Buffer();
      if (stage->out != nullptr) stage->out->~Buffer();
    }
  }
  chain_ = nullptr;
}

void HttpStream::restart() {
  if (request_at_terminal_ || response_started_ || request_bytes_left_ || ++restarts_ > kMostRestarts) {
    Reply& reply = makeReply(500, "restart refused", "restart_after_forwarding");
    reply.reason = "internal_restart_refused";
    respondWith(reply);
    return;
  }
  // Everything of the request that waits at some filter goes back to the start, in order.
  Buffer held;
  bool end = false;
  for (size_t i = chain_->filters().size(); i-- > 0;) {
    Stage& stage = request_stages_[i];
    if (stage.out != nullptr) held.move(*stage.out);
    if (stage.in != nullptr) held.move(*stage.in);
    end |= (stage.waits & kWaitsEnd) != 0;
  }
  if (slot_ != ~0u) {
    // Answers that are still on the way to the old filters must not reach the new ones.
    Slots& all = slots();
    all.table[slot_].stream = nullptr;
    ++all.table[slot_].generation;
    all.free.push_back(slot_);
    slot_ = ~0u;
  }
  dropResumes();
  destroyChain();
  pauseSource(kPauseHeld, false);
  clearRoute();
  owner_.match(*this);
  route_matched_ = true;
  makeChain();
  const bool trailers = request_trailers_ != nullptr && !trailers_pending_;
  // While the head walks, the rest waits at the first filter: that is where another restart finds it and takes it round.
  Stage& first = request_stages_[0];
  if (!held.empty()) bufferOf(first.in).move(held);
  if (end) first.waits |= kWaitsEnd;
  const uint8_t restarts = restarts_;
  walkHead<Direction::kRequest>(0, head_last_);
  if (stopped<Direction::kRequest>() || restarts != restarts_) return;
  if (first.in != nullptr) held.move(*first.in);
  first.waits &= static_cast<uint8_t>(~kWaitsEnd);
  if (!held.empty() || end) walkData<Direction::kRequest>(0, held, end);
  if (trailers && !stopped<Direction::kRequest>() && restarts == restarts_) walkTrailers<Direction::kRequest>(0);
}

// ---- walking ----

template <Direction D>
size_t HttpStream::filterAt(size_t i) const {
  return D == Direction::kRequest ? i : chain_->filters().size() - 1 - i;
}

template <Direction D>
HttpStream::Stage& HttpStream::stageAt(size_t i) {
  return D == Direction::kRequest ? request_stages_[filterAt<D>(i)] : response_stages_[filterAt<D>(i)];
}

template <Direction D>
bool HttpStream::stopped() const {
  return finishing_ || cutOff() || (D == Direction::kRequest ? request_dead_ : bypass_hooks_);
}

void* HttpStream::stateOf(size_t filter) const { return state_ + chain_->filters()[filter].offset; }

Buffer& HttpStream::bufferOf(Buffer*& slot) {
  if (slot == nullptr) slot = arena_->make<Buffer>();
  return *slot;
}

template <Direction D>
void HttpStream::act(size_t i, Verdict verdict, uint8_t waits) {
  switch (verdict.kind) {
    case Verdict::Kind::kNext: return;
    case Verdict::Kind::kHold: {
      Stage& stage = stageAt<D>(i);
      stage.holding = true;
      stage.waits |= waits;
      return;
    }
    case Verdict::Kind::kReply:
      if (D == Direction::kRequest) {
        respondWith(*verdict.reply_);
      } else {
        localReply(*verdict.reply_, false);
      }
      return;
    case Verdict::Kind::kRestart:
      if (D == Direction::kRequest) {
        restart();
      } else {
        resetStream(ResetReason::kLocal);
      }
      return;
  }
}

template <Direction D>
void HttpStream::walkHead(size_t i, bool last) {
  const size_t n = chain_ == nullptr || (D == Direction::kResponse && bypass_hooks_) ? 0 : chain_->filters().size();
  for (; i < n; ++i) {
    if (off(filterAt<D>(i))) continue;
    const FilterOps& ops = *chain_->filters()[filterAt<D>(i)].ops;
    Verdict verdict = Verdict::next();
    if constexpr (D == Direction::kRequest) {
      if (ops.request == nullptr) continue;
      verdict = ops.request(stateOf(filterAt<D>(i)), *request_, last);
    } else {
      if (ops.response == nullptr) continue;
      verdict = ops.response(stateOf(filterAt<D>(i)), *response_, last);
    }
    if (verdict.kind != Verdict::Kind::kNext) {
      act<D>(i, verdict, static_cast<uint8_t>(kWaitsHead | (last ? kHeadLast : 0)));
      return;
    }
  }
  atEndHead<D>(last);
}

// The filter at `i` let go: its held head walks on.
template <Direction D>
void HttpStream::release(size_t i) {
  Stage& stage = stageAt<D>(i);
  stage.holding = false;
  if ((stage.waits & kWaitsHead) == 0) return;
  const bool last = (stage.waits & kHeadLast) != 0 && (stage.in == nullptr || stage.in->empty()) &&
                    (stage.out == nullptr || stage.out->empty());
  stage.waits &= static_cast<uint8_t>(~(kWaitsHead | kHeadLast));
  walkHead<D>(i + 1, last);
}

template <Direction D>
void HttpStream::overLimit(size_t i) {
  const FilterOps& ops = *chain_->filters()[filterAt<D>(i)].ops;
  const bool has_hook = D == Direction::kRequest ? ops.request_data != nullptr : ops.response_data != nullptr;
  if (!has_hook) {
    // It waits for something else than the body: the source waits with it.
    if (D == Direction::kRequest) {
      pauseSource(kPauseHeld, true);
    } else {
      response_held_full_ = true;
    }
    return;
  }
  // It wants more of a body than may be held.
  if (D == Direction::kRequest) {
    Reply& reply = makeReply(413, "Payload Too Large", "request_payload_too_large");
    reply.reason = "request_body_too_large_to_hold";
    respondWith(reply);
  } else {
    Reply& reply = makeReply(500, "Internal Server Error", "response_payload_too_large");
    reply.reason = "response_body_too_large_to_hold";
    localReply(reply, false);
  }
}

template <Direction D>
void HttpStream::walkData(size_t i, Buffer& data, bool last) {
  const size_t n = chain_ == nullptr || (D == Direction::kResponse && bypass_hooks_) ? 0 : chain_->filters().size();
  for (; i < n; ++i) {
    if (stopped<D>()) return;
    if (off(filterAt<D>(i))) continue;
    const FilterOps& ops = *chain_->filters()[filterAt<D>(i)].ops;
    const auto hook = D == Direction::kRequest ? ops.request_data : ops.response_data;
    Stage& stage = stageAt<D>(i);
    if (hook == nullptr && !stage.holding) continue;
    Buffer& in = bufferOf(stage.in);
    in.move(data);
    if (last) stage.waits |= kWaitsEnd;
    if (hook == nullptr) {
      if (in.size() > limits_.body) overLimit<D>(i);
      return;
    }
    Buffer& out = bufferOf(stage.out);
    const Verdict verdict = hook(stateOf(filterAt<D>(i)), in, out, last);
    if (verdict.kind == Verdict::Kind::kHold) {
      stage.holding = true;
      if (in.size() + out.size() > limits_.body) overLimit<D>(i);
      return;
    }
    if (verdict.kind != Verdict::Kind::kNext) {
      act<D>(i, verdict, 0);
      return;
    }
    if (stage.holding) {
      const uint8_t restarts = restarts_;
      release<D>(i);
      if (stopped<D>() || restarts != restarts_) return;
    }
    stage.waits &= static_cast<uint8_t>(~kWaitsEnd);
    if (last) out.move(in);
    data.move(out);
    if (data.empty() && !last) return;
  }
  if (!stopped<D>() || D == Direction::kResponse) atEndData<D>(data, last);
}

template <Direction D>
void HttpStream::walkTrailers(size_t i) {
  const size_t n = chain_ == nullptr || (D == Direction::kResponse && bypass_hooks_) ? 0 : chain_->filters().size();
  http::HeaderMap& trailers = D == Direction::kRequest ? *request_trailers_ : *response_trailers_;
  for (; i < n; ++i) {
    if (stopped<D>()) return;
    if (off(filterAt<D>(i))) continue;
    const FilterOps& ops = *chain_->filters()[filterAt<D>(i)].ops;
    const auto hook = D == Direction::kRequest ? ops.request_trailers : ops.response_trailers;
    const bool has_data_hook = D == Direction::kRequest ? ops.request_data != nullptr : ops.response_data != nullptr;
    Stage& stage = stageAt<D>(i);
    if (hook == nullptr) {
      if (stage.holding) {
        stage.waits |= kWaitsTrailers;
        return;
      }
      // A filter with bytes in its pipe and no interest in trailers: the body ends here, so they go on.
      if (!has_data_hook || stage.in == nullptr || stage.in->empty()) continue;
    } else {
      const Verdict verdict = hook(stateOf(filterAt<D>(i)), trailers, bufferOf(stage.out));
      if (verdict.kind == Verdict::Kind::kHold) {
        stage.holding = true;
        stage.waits |= kWaitsTrailers;
        return;
      }
      if (verdict.kind != Verdict::Kind::kNext) {
        act<D>(i, verdict, 0);
        return;
      }
    }
    const uint8_t restarts = restarts_;
    if (stage.holding) {
      release<D>(i);
      if (stopped<D>() || restarts != restarts_) return;
    }
    Buffer rest;
    if (stage.out != nullptr) rest.move(*stage.out);
    if (stage.in != nullptr) rest.move(*stage.in);
    const bool end = trailers.empty();
    if (end) {
      // They became body: nobody behind sees trailers any more.
      (D == Direction::kRequest ? request_trailers_ : response_trailers_) = nullptr;
    }
    if (!rest.empty() || end) walkData<D>(i + 1, rest, end);
    if (end || restarts != restarts_) return;   // after a restart they went round again with the rest
  }
  if (!stopped<D>() || D == Direction::kResponse) atEndTrailers<D>();
}

void HttpStream::queueResume(uint16_t filter, Direction direction, Verdict verdict) {
  auto* resume = arena_->make<Resume>(Resume{filter, direction, verdict, nullptr});
  *resumes_end_ = resume;
  resumes_end_ = &resume->next;
  wake();
}

// A reply that nobody will hear: its source was given to the stream nevertheless.
void HttpStream::drop(const Verdict& verdict) {
  if (verdict.kind == Verdict::Kind::kReply) delete verdict.reply_->source;
}

void HttpStream::dropResumes() {
  for (const Resume* at = resumes_; at != nullptr; at = at->next) drop(at->verdict);
  resumes_ = nullptr;
  resumes_end_ = &resumes_;
}

void HttpStream::runResumes() {
  while (resumes_ != nullptr && !finishing_) {
    const Resume resume = *resumes_;
    resumes_ = resume.next;
    if (resumes_ == nullptr) resumes_end_ = &resumes_;
    if (chain_ == nullptr) {
      drop(resume.verdict);
      continue;
    }
    const auto go = [&]<Direction D>() {
      if (stopped<D>()) return drop(resume.verdict);
      const size_t i = D == Direction::kRequest ? resume.filter : chain_->filters().size() - 1 - resume.filter;
      Stage& stage = stageAt<D>(i);
      if (!stage.holding) return drop(resume.verdict);  // it went on by itself meanwhile
      if (resume.verdict.kind != Verdict::Kind::kNext) {
        act<D>(i, resume.verdict, 0);
        return;
      }
      // The head first; bytes and end stay at the stage meanwhile, where a restart finds them.
      const uint8_t restarts = restarts_;
      release<D>(i);
      if (stopped<D>() || restarts != restarts_) return;
      const uint8_t waits = std::exchange(stage.waits, uint8_t{0});
      Buffer rest;
      if (stage.out != nullptr) rest.move(*stage.out);
      if (stage.in != nullptr) rest.move(*stage.in);
      if (D == Direction::kRequest) {
        pauseSource(kPauseHeld, false);
      } else if (response_held_full_) {
        response_held_full_ = false;
        if (!response_blocked_ && terminal_ != nullptr && !finishing_) terminal_->onResponseRoom();
      }
      if (stopped<D>()) return;
      const bool end = (waits & kWaitsEnd) != 0;
      if (!rest.empty() || end) walkData<D>(i + 1, rest, end);
      if ((waits & kWaitsTrailers) != 0 && !stopped<D>() && restarts == restarts_) walkTrailers<D>(i + 1);
    };
    if (resume.direction == Direction::kRequest) {
      go.template operator()<Direction::kRequest>();
    } else {
      go.template operator()<Direction::kResponse>();
    }
  }
}

// ---- the request's end of the chain: the terminal ----

template <>
void HttpStream::atEndHead<Direction::kRequest>(bool last) {
  request_at_terminal_ = true;
  const Verdict verdict = terminal_->onRequest(*request_, last);
  if (verdict.kind == Verdict::Kind::kReply) respondWith(*verdict.reply_);
}

template <>
void HttpStream::atEndData<Direction::kRequest>(Buffer& data, bool last) {
  request_bytes_left_ = true;
  if (terminal_->onRequestData(data, last) == Room::kFull) pauseRequest(true);
}

template <>
void HttpStream::atEndTrailers<Direction::kRequest>() {
  terminal_->onRequestTrailers(*request_trailers_);
}

// ---- the response's end of the chain: the codec ----

void HttpStream::completeResponse() {
  response_complete_ = true;
  if (request_complete_) return;
  // Nobody waits for the rest of the request: the codec drains or refuses it.
  request_dead_ = true;
  inbox_.clear();
  pauseSource(kPauseHeld, false);
  pauseSource(kPauseTerminal, false);
}

template <>
void HttpStream::atEndHead<Direction::kResponse>(bool last) {
  if (cutOff()) return;
  owner_.finishResponse(*this, *response_);
  response_sent_ = true;
  info_.response_code = response_->status;
  info_.first_downstream_tx = info_.last_downstream_tx = worker_.loop.now();
  if (last) completeResponse();
  touch();
  codec_.sendHead(*response_, last);
}

template <>
void HttpStream::atEndData<Direction::kResponse>(Buffer& data, bool last) {
  if (cutOff()) return data.clear();
  info_.bytes_sent += data.size();
  info_.last_downstream_tx = worker_.loop.now();
  if (last) completeResponse();
  touch();
  if (codec_.sendData(data, last) == Room::kFull) response_blocked_ = true;
}

template <>
void HttpStream::atEndTrailers<Direction::kResponse>() {
  if (cutOff()) return;
  completeResponse();
  info_.last_downstream_tx = worker_.loop.now();
  codec_.sendTrailers(*response_trailers_);
}

void HttpStream::sendInformational(http::ResponseHead& head) {
  if (finishing_ || cutOff() || terminal_muted_ || response_started_) return;
  if (chain_ != nullptr) {
    for (size_t i = 0; i < chain_->filters().size(); ++i) {
      const size_t filter = filterAt<Direction::kResponse>(i);
      const auto hook = chain_->filters()[filter].ops->informational;
      if (hook != nullptr && !off(filter) && hook(stateOf(filter), head).kind != Verdict::Kind::kNext) return;
    }
  }
  if (!owner_.finishInformational(*this, head)) return;
  codec_.sendInformational(head);
}

void HttpStream::respond(http::ResponseHead& head, bool last) {
  if (finishing_ || cutOff() || terminal_muted_) return;
  response_ = &head;
  response_started_ = true;
  head.keep_alive = true;   // so far it spoke of the upstream's connection
  walkHead<Direction::kResponse>(0, last);
}

Room HttpStream::respondData(Buffer& data, bool last) {
  if (finishing_ || cutOff() || terminal_muted_) {
    data.clear();
    return Room::kMore;
  }
  walkData<Direction::kResponse>(0, data, last);
  return response_blocked_ || response_held_full_ ? Room::kFull : Room::kMore;
}

void HttpStream::respondTrailers(http::HeaderMap& trailers) {
  if (finishing_ || cutOff() || terminal_muted_) return;
  response_trailers_ = &trailers;
  walkTrailers<Direction::kResponse>(0);
}

// ---- replies of our own ----

Reply& HttpStream::makeReply(uint16_t status, std::string_view body, std::string_view details) {
  Reply& reply = *arena_->make<Reply>();
  reply.status = status;
  reply.body = body;
  reply.details = details;
  return reply;
}

void HttpStream::respondWith(const Reply& reply) { localReply(reply, true); }

void HttpStream::localReply(const Reply& reply, bool through_hooks) {
  // A source belongs to the stream from here on, whatever becomes of the reply.
  std::unique_ptr<BodySource> source(reply.source);
  if (finishing_ || cutOff()) return;
  if (reply.flag != stream::ResponseFlag::kCount) info_.flags.set(reply.flag);
  info_.details = reply.details;
  info_.reason = reply.reason;
  terminal_muted_ = true;
  request_dead_ = true;
  inbox_.clear();
  // A body nobody reads any more must not keep the source paused.
  pauseSource(kPauseHeld, false);
  pauseSource(kPauseTerminal, false);
  delete std::exchange(source_, nullptr);
  if (response_sent_) {
    resetStream(ResetReason::kLocal);
    return;
  }
  if (response_started_ || !through_hooks) {
    bypass_hooks_ = true;
    response_held_full_ = false;   // the filter that held the other response has no say in this one
  }
  response_started_ = true;
  auto& head = *arena_->make<http::ResponseHead>(*arena_);
  // Who sent what is no request is not asked for another, as Envoy.
  head.keep_alive = !reply.close && reply.status != 400;
  const bool grpc = request_ != nullptr && isGrpc(request_->headers.get(http::HeaderId::kContentType));
  if (grpc) {
    // gRPC clients want trailers-only: HTTP 200 and the status in the head.
    int status = reply.grpc_status;
    if (status < 0) {
      switch (reply.status) {
        case 400: status = 13; break;
        case 401: status = 16; break;
        case 403: status = 7; break;
        case 404: status = 12; break;
        case 429:
        case 502:
        case 503:
        case 504: status = 14; break;
        default: status = 2;
      }
    }
    head.status = 200;
    if (reply.headers != nullptr) head.headers.copyFrom(*reply.headers);
    head.headers.remove(http::HeaderId::kContentLength);
    head.headers.set(http::HeaderId::kContentType, "application/grpc");
    char text[8];
    const auto end = std::to_chars(text, text + sizeof text, status).ptr;
    head.headers.addCopy(http::HeaderId::kGrpcStatus, {text, static_cast<size_t>(end - text)});
    if (!reply.body.empty()) {
      // Percent-encoding of what a header may not hold (gRPC over HTTP/2, "Status-Message").
      char* encoded = arena_->bytes(reply.body.size() * 3);
      size_t size = 0;
      for (const char c : reply.body) {
        if (c >= 0x20 && c <= 0x7e && c != '%') {
          encoded[size++] = c;
        } else {
          constexpr char kHex[] = "0123456789ABCDEF";
          encoded[size++] = '%';
          encoded[size++] = kHex[(static_cast<unsigned char>(c) >> 4) & 15];
          encoded[size++] = kHex[static_cast<unsigned char>(c) & 15];
        }
      }
      head.headers.add(http::HeaderId::kGrpcMessage, std::string_view(encoded, size));
    }
    response_ = &head;
    walkHead<Direction::kResponse>(0, true);
    return;
  }
  head.status = reply.status;
  const bool bodyless = request_ != nullptr && request_->isHead();
  // What others add to the head may say of which type the body is, never how long it is.
  if (reply.headers != nullptr) head.headers.copyFrom(*reply.headers);
  const std::string_view type = !reply.content_type.empty() ? reply.content_type : "text/plain";
  if (source == nullptr) {
    if (!reply.body.empty()) {
      char* text = arena_->bytes(24);
      const auto end = std::to_chars(text, text + 24, reply.body.size()).ptr;
      head.headers.set(http::HeaderId::kContentLength, {text, static_cast<size_t>(end - text)});
      if (!head.headers.has(http::HeaderId::kContentType)) head.headers.add(http::HeaderId::kContentType, type);
    } else {
      head.headers.remove(http::HeaderId::kContentLength);
      head.headers.remove(http::HeaderId::kContentType);
    }
  } else if (!reply.content_type.empty()) {
    head.headers.set(http::HeaderId::kContentType, type);
  }
  response_ = &head;
  const bool head_only = bodyless || (source == nullptr && reply.body.empty());
  if (!head_only) source_ = source.release();
  const uint8_t mine = ++replies_;
  walkHead<Direction::kResponse>(0, head_only);
  // A response hook may have put another reply in this one's place.
  if (!finishing_ && !head_only && replies_ == mine) sendReplyBody(reply);
}

void HttpStream::sendReplyBody(const Reply& reply) {
  if (source_ != nullptr) {
    pullSource();
    return;
  }
  Buffer body;
  body.append(reply.body);
  walkData<Direction::kResponse>(0, body, true);
}

void HttpStream::pullSource() {
  while (source_ != nullptr && !finishing_ && !response_blocked_ && !response_held_full_) {
    Buffer piece;
    const BodySource::State state = source_->read(piece, kSourcePiece);
    const bool last = state == BodySource::State::kDone;
    if (last) {
      delete source_;
      source_ = nullptr;
    }
    if (!piece.empty() || last) walkData<Direction::kResponse>(0, piece, last);
    if (state == BodySource::State::kWait) return;
  }
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
