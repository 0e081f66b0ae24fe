#include "source/http/h1/server_codec.h"

#include "source/base/free_list.h"
#include "source/http/h1/event_scope.h"

namespace outrider::http::h1 {

namespace {
using Codecs = base::FreeList<ServerCodec, sizeof(ServerCodec), 64>;
}  // namespace

void* ServerCodec::operator new(size_t) { return Codecs::take(); }
void ServerCodec::operator delete(void* memory) { Codecs::give(memory); }
void ServerCodec::trimThisThread() { Codecs::trimThisThread(); }

Feed ServerCodec::feed(base::Buffer& in) {
  OUTRIDER_DCHECK(!in_event_);
  if (end_due_) endExchange(ResetReason::kNone);
  Feed answer = Feed::kMore;
  bool again = true;
  while (again) {
    again = false;
    switch (phase_) {
      case Phase::kHead: answer = feedHead(in, again); break;
      case Phase::kBody: answer = feedBody(in, again); break;
      case Phase::kWait:
      case Phase::kHold: answer = in.empty() ? Feed::kMore : Feed::kPaused; break;
      case Phase::kTunnel: answer = feedTunnel(in); break;
      case Phase::kDrain: answer = feedDrain(in, again); break;
      case Phase::kStop: answer = Feed::kFinished; break;
    }
  }
  if (idle_to_tell_ && stream_ == nullptr) {
    idle_to_tell_ = false;
    const EventScope event(in_event_);
    sink_.onIdle();
  }
  return answer;
}

// ---- heads ----

bool ServerCodec::dropEmptyLine(base::Buffer& in) {
  if (skipped_empty_line_ || finder_.scanned() > 0) return false;
  const char first = in.front()[0];
  if (first == '\n' && settings_.lenient.bare_lf) {
    in.drain(1);
  } else if (first == '\r' && in.size() >= 2 && in.linear(2)[1] == '\n') {
    in.drain(2);
  } else {
    return false;
  }
  skipped_empty_line_ = true;
  return true;
}

Feed ServerCodec::feedHead(base::Buffer& in, bool& again) {
  if (in.empty()) {
    if (input_finished_) stop();
    return input_finished_ ? Feed::kFinished : Feed::kMore;
  }
  if (out_.size() >= settings_.buffer_limit) {
    if (!wait_for_output_) ++counters_.response_flood;
    wait_for_output_ = true;
    return Feed::kPaused;
  }
  if (dropEmptyLine(in)) {
    again = true;
    return Feed::kMore;
  }
  const char first = in.front()[0];
  if (first == '\r' && in.size() == 1 && !skipped_empty_line_ && !input_finished_) return Feed::kMore;
  // No head begins like this, so there is no use in waiting for its end.
  if (!isToken(static_cast<unsigned char>(first))) {
    if (first == '\n') counters_.refused(LenientKind::kBareLf);
    return openMalformed({400, first == '\n' ? "http1.bare_lf" : "http1.codec_error"});
  }
  switch (finder_.find(in, settings_.max_head_bytes)) {
    case HeadFinder::Found::kMore:
      if (input_finished_) stop();
      return input_finished_ ? Feed::kFinished : Feed::kMore;
    case HeadFinder::Found::kBareCr: return openMalformed({400, "http1.invalid_characters"});
    case HeadFinder::Found::kTooLarge: return openMalformed({431, "http1.headers_too_large"});
    case HeadFinder::Found::kEnd: break;
  }
  openStream();
  base::Arena& arena = stream_->arena();
  const size_t size = finder_.size();
  finder_.start();
  char* const raw = takeHead(in, size, arena);
  auto* head = arena.make<RequestHead>(arena);
  Framing framing;
  CodecError error;
  if (!parseRequestHead(raw, size, settings_, counters_, scheme_, *head, framing, error)) {
    malformed_ = close_after_ = true;
    phase_ = Phase::kStop;
    const EventScope event(in_event_);
    stream_->onMalformed(error);
    return Feed::kFinished;
  }
  protocol_ = head->protocol;
  head_request_ = head->isHead();
  connect_request_ = head->isConnect();
  upgrade_request_ = !head->upgrade.empty();
  expects_continue_ = head->expect_continue;
  client_closes_ = close_after_ = !head->keep_alive;
  const bool last = framing.body == Framing::Body::kNone;
  if (last) {
    phase_ = Phase::kWait;
  } else if (framing.body == Framing::Body::kTunnel) {
    phase_ = Phase::kHold;
  } else {
    phase_ = Phase::kBody;
    body_.start(framing);
  }
  const EventScope event(in_event_);
  stream_->onRequestHead(*head, last);
  again = true;
  return Feed::kMore;
}

void ServerCodec::openStream() {
  ++id_;
  skipped_empty_line_ = false;
  reply_ = Reply::kNone;
  out_body_.start(OutBody::kNone);
  close_after_ = end_due_ = head_request_ = connect_request_ = upgrade_request_ = false;
  expects_continue_ = malformed_ = paused_ = writer_waits_ = tunnel_in_done_ = false;
  bytes_in_ = drained_ = 0;
  const EventScope event(in_event_);
  stream_ = &sink_.onNewStream(*this);
}

// A head that is not even worth splitting: the stream exists so that the refusal is answered and logged like any other.
Feed ServerCodec::openMalformed(const CodecError& error) {
  openStream();
  malformed_ = close_after_ = true;
  phase_ = Phase::kStop;
  const EventScope event(in_event_);
  stream_->onMalformed(error);
  return Feed::kFinished;
}

// ---- bodies ----

Feed ServerCodec::feedBody(base::Buffer& in, bool& again) {
  if (paused_) return in.empty() ? Feed::kMore : Feed::kPaused;
  if (in.empty()) return input_finished_ ? cutShort() : Feed::kMore;
  CodecError error;
  base::Buffer piece;
  const BodyReader::Status status = body_.read(in, piece, settings_, counters_, error);
  if (!piece.empty()) expects_continue_ = false;
  bytes_in_ += piece.size();
  switch (status) {
    case BodyReader::Status::kMore:
      if (!piece.empty()) {
        const EventScope event(in_event_);
        stream_->onRequestData(piece, false);
      }
      return input_finished_ ? cutShort() : Feed::kMore;
    case BodyReader::Status::kDone: {
      endRequest();
      const EventScope event(in_event_);
      stream_->onRequestData(piece, true);
      again = true;
      return Feed::kMore;
    }
    case BodyReader::Status::kTrailers:
      if (!piece.empty()) {
        const EventScope event(in_event_);
        stream_->onRequestData(piece, false);
      }
      deliverTrailers(in);
      again = true;
      return Feed::kMore;
    case BodyReader::Status::kError: {
      malformed_ = close_after_ = true;
      phase_ = Phase::kStop;
      const EventScope event(in_event_);
      stream_->onMalformed(error);
      return Feed::kFinished;
    }
  }
  OUTRIDER_UNREACHABLE();
}

// The client's FIN came within a request: it will never be whole, so nobody waits for its answer.
Feed ServerCodec::cutShort() {
  stop();
  endExchange(ResetReason::kConnectionClosed);
  return Feed::kFinished;
}

void ServerCodec::endRequest() {
  expects_continue_ = false;
  phase_ = Phase::kWait;
}

void ServerCodec::deliverTrailers(base::Buffer& in) {
  CodecError error;
  HeaderMap* const trailers = takeTrailers(in, body_.trailerBytes(), stream_->arena(), settings_, counters_, error);
  if (trailers == nullptr) {
    malformed_ = close_after_ = true;
    phase_ = Phase::kStop;
    const EventScope event(in_event_);
    stream_->onMalformed(error);
    return;
  }
  endRequest();
  const EventScope event(in_event_);
  if (settings_.enable_trailers && !trailers->empty()) {
    stream_->onRequestTrailers(*trailers);
  } else {
    base::Buffer nothing;
    stream_->onRequestData(nothing, true);
  }
}

Feed ServerCodec::feedTunnel(base::Buffer& in) {
  if (tunnel_in_done_) {
    in.clear();
    return Feed::kMore;
  }
  if (paused_) return in.empty() ? Feed::kMore : Feed::kPaused;
  if (!in.empty() || input_finished_) {
    base::Buffer piece;
    piece.move(in);
    bytes_in_ += piece.size();
    tunnel_in_done_ = input_finished_;
    {
      const EventScope event(in_event_);
      stream_->onRequestData(piece, input_finished_);
    }
    if (tunnel_in_done_ && reply_ == Reply::kDone) {
      stop();
      endExchange(ResetReason::kNone);
      return Feed::kFinished;
    }
  }
  return Feed::kMore;
}

Feed ServerCodec::feedDrain(base::Buffer& in, bool& again) {
  if (in.empty() && !input_finished_) return Feed::kMore;
  const size_t before = in.size();
  CodecError error;
  base::Buffer piece;
  BodyReader::Status status = body_.read(in, piece, settings_, counters_, error);
  piece.clear();
  if (status == BodyReader::Status::kTrailers) {
    in.drain(body_.trailerBytes());
    status = BodyReader::Status::kDone;
  }
  drained_ += before - in.size();
  if (status == BodyReader::Status::kError || (status == BodyReader::Status::kMore && input_finished_) ||
      drained_ > settings_.drain_limit || (status == BodyReader::Status::kMore && body_.remaining() > settings_.drain_limit)) {
    stop();
    return Feed::kFinished;
  }
  if (status == BodyReader::Status::kDone) {
    phase_ = Phase::kHead;
    again = true;
  }
  return Feed::kMore;
}

// ---- answers ----

void ServerCodec::sendInformational(const ResponseHead& head) {
  OUTRIDER_DCHECK(reply_ == Reply::kNone && head.status < 200 && head.status != 101);
  if (protocol_ == Protocol::kHttp10) return;  // RFC 9110 15.2
  if (head.status == 100) expects_continue_ = false;
  if (encodeResponseHead(head, protocol_, false, OutBody::kNone, ConnectionLine::kNone, out_, settings_.proper_case)) sink_.onOutput();
}

// Decides how the body goes out. Returns whether the connection must close behind it.
bool ServerCodec::replyFraming(const ResponseHead& head, bool last, bool& zero_length) {
  zero_length = false;
  out_body_.start(OutBody::kNone);
  if ((head.status == 101 && upgrade_request_) || (connect_request_ && head.status >= 200 && head.status < 300)) {
    out_body_.start(OutBody::kTunnel);
    return true;
  }
  if (head_request_ || head.status == 304 || head.status == 204 || head.status < 200) return false;
  const Header* length = head.headers.find(HeaderId::kContentLength);
  uint64_t bytes = 0;
  if (length != nullptr && parseContentLength(length->value(), bytes)) {
    // A length that no body will meet must not go out.
    if (last && bytes > 0) {
      zero_length = true;
      return false;
    }
    out_body_.start(OutBody::kLength, bytes);
    return false;
  }
  if (last) {
    zero_length = true;
    return false;
  }
  if (protocol_ == Protocol::kHttp10) {
    out_body_.start(OutBody::kUntilClose);
    return true;
  }
  out_body_.start(OutBody::kChunked);
  return false;
}

ConnectionLine ServerCodec::connectionLine(const ResponseHead& head) const {
  if (out_body_.kind() == OutBody::kTunnel) return connect_request_ ? ConnectionLine::kNone : ConnectionLine::kUpgrade;
  if (close_after_ || hasToken(head.headers.get(HeaderId::kConnection), "close")) return ConnectionLine::kClose;
  return protocol_ == Protocol::kHttp10 ? ConnectionLine::kKeepAlive : ConnectionLine::kNone;
}

void ServerCodec::sendHead(const ResponseHead& head, bool last) {
  OUTRIDER_DCHECK(stream_ != nullptr && reply_ == Reply::kNone && !in_event_);
  bool zero_length = false;
  if (replyFraming(head, last, zero_length) || closing_ || input_finished_ || !head.keep_alive) close_after_ = true;
  if (phase_ == Phase::kHold && out_body_.kind() != OutBody::kTunnel) close_after_ = true;  // what waits is nobody's request
  // The client may never send the body it asked leave for; a long rest is not worth reading.
  if (phase_ == Phase::kBody && (expects_continue_ || body_.remaining() > settings_.drain_limit)) close_after_ = true;
  const ConnectionLine line = connectionLine(head);
  if (line == ConnectionLine::kClose) close_after_ = true;
  // To HEAD, the framing that GET would have got (RFC 9110 9.3.2), as Envoy.
  const bool would_chunk = head_request_ && protocol_ != Protocol::kHttp10 && head.status >= 200 && head.status != 204 &&
                           head.status != 304 && !head.headers.has(HeaderId::kContentLength);
  if (!encodeResponseHead(head, protocol_, zero_length, would_chunk ? OutBody::kChunked : out_body_.kind(), line, out_,
                          settings_.proper_case)) {
    // Nothing of it may reach the client; the connection ends instead.
    reply_ = Reply::kDone;
    close_after_ = true;
    replied();
    return;
  }
  reply_ = Reply::kBody;
  if (out_body_.kind() == OutBody::kTunnel) {
    phase_ = Phase::kTunnel;
    wantFeed();
  }
  if (last) {
    replied();
  } else {
    sink_.onOutput();
  }
}

Room ServerCodec::sendData(base::Buffer& data, bool last) {
  OUTRIDER_DCHECK(stream_ != nullptr && !in_event_);
  if (reply_ != Reply::kBody) {
    data.clear();
    return Room::kMore;
  }
  if (!out_body_.write(data, last, out_)) {
    out_body_.fillUp(data, out_);
    close_after_ = true;
  }
  if (last) {
    replied();
    return Room::kMore;
  }
  sink_.onOutput();
  if (out_.size() <= settings_.buffer_limit) return Room::kMore;
  writer_waits_ = true;
  return Room::kFull;
}

void ServerCodec::sendTrailers(const HeaderMap& trailers) {
  OUTRIDER_DCHECK(stream_ != nullptr && !in_event_);
  if (reply_ == Reply::kBody) out_body_.writeTrailers(trailers, settings_.enable_trailers, out_);
  if (reply_ != Reply::kDone) replied();
}

// The answer is complete. What that means for the connection; the sink hears of it from feed().
void ServerCodec::replied() {
  reply_ = Reply::kDone;
  writer_waits_ = false;
  sink_.onOutput();
  if (phase_ == Phase::kTunnel) {
    output_finished_ = true;
    if (tunnel_in_done_) {
      end_due_ = true;
      stop();
    }
    wantFeed();
    return;
  }
  // Fewer bytes than announced: only the connection's end tells the client.
  if (out_body_.incomplete()) close_after_ = true;
  end_due_ = true;
  if (close_after_ || closing_ || malformed_) {
    client_is_done_ = client_closes_ && phase_ == Phase::kWait;
    stop();
  } else if (phase_ == Phase::kBody) {
    phase_ = Phase::kDrain;
    if (body_.remaining() > settings_.drain_limit) stop();
  } else {
    phase_ = Phase::kHead;
  }
  wantFeed();
}

void ServerCodec::endExchange(ResetReason reason) {
  RequestSink* const stream = stream_;
  stream_ = nullptr;
  end_due_ = false;
  idle_to_tell_ = true;
  paused_ = false;
  const EventScope event(in_event_);
  if (stream != nullptr) stream->onEnd(reason);
}

void ServerCodec::reset(ResetReason) {
  OUTRIDER_DCHECK(!in_event_);
  stream_ = nullptr;
  end_due_ = false;
  idle_to_tell_ = true;
  stop();
  sink_.onOutput();
  wantFeed();
}

void ServerCodec::stop() {
  phase_ = Phase::kStop;
  finished_ = true;
}

void ServerCodec::wantFeed() { sink_.onWantFeed(); }

// ---- the connection ----

void ServerCodec::pause(bool on) {
  if (paused_ == on) return;
  paused_ = on;
  if (!on) wantFeed();
}

void ServerCodec::onOutputDrained() {
  if (wait_for_output_) {
    wait_for_output_ = false;
    wantFeed();
  }
  if (writer_waits_ && stream_ != nullptr) {
    writer_waits_ = false;
    const EventScope event(in_event_);
    stream_->onRoom();
  }
}

void ServerCodec::onPeerFinished() {
  if (input_finished_) return;
  input_finished_ = true;
  if (!settings_.answer_half_closed && stream_ != nullptr && !end_due_ && phase_ != Phase::kTunnel) {
    stop();
    endExchange(ResetReason::kConnectionClosed);
  }
  wantFeed();
}

void ServerCodec::drain() {
  closing_ = true;
  if (stream_ == nullptr && ((phase_ == Phase::kHead && finder_.scanned() == 0) || phase_ == Phase::kDrain)) {
    stop();
    sink_.onOutput();
  }
}

void ServerCodec::resetAll(ResetReason reason) {
  stop();
  if (stream_ != nullptr) endExchange(end_due_ ? ResetReason::kNone : reason);
}

}  // namespace outrider::http::h1
