// The chain of one exchange: made, walked both ways, held, resumed and restarted.
#include "source/filter/http_stream.h"

#include <utility>

#include "source/config/route_table.h"

namespace outrider::filter {

using base::Buffer;
using http::ResetReason;
using http::Room;

namespace {

constexpr uint8_t kMostRestarts = 5;  // filters that send each other's request round again would never end

}  // namespace

// ---- the chain ----

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
    filters[i].ops->construct(state_ + filters[i].offset, filters[i].config.get(), StreamContext(*this, static_cast<uint16_t>(i)));
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
  dropHandles();  // answers that are still on the way to the old filters must not reach the new ones
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
  const bool last =
      (stage.waits & kHeadLast) != 0 && (stage.in == nullptr || stage.in->empty()) && (stage.out == nullptr || stage.out->empty());
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
    if (end || restarts != restarts_) return;  // after a restart they went round again with the rest
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
  head.keep_alive = true;  // so far it spoke of the upstream's connection
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

// What the other files call.
template void HttpStream::walkHead<Direction::kRequest>(size_t, bool);
template void HttpStream::walkHead<Direction::kResponse>(size_t, bool);
template void HttpStream::walkData<Direction::kRequest>(size_t, Buffer&, bool);
template void HttpStream::walkData<Direction::kResponse>(size_t, Buffer&, bool);
template void HttpStream::walkTrailers<Direction::kRequest>(size_t);

}  // namespace outrider::filter
