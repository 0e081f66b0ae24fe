#include "source/http/h1/client_codec.h"

#include "source/http/h1/event_scope.h"

namespace outrider::http::h1 {
namespace {

// A request without a body says so, unless its method never has one (as Envoy).
bool expectsNoBody(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "DELETE" || method == "TRACE" || method == "CONNECT";
}

}  // namespace

ClientStream& ClientCodec::newStream(ResponseSink& sink) {
  OUTRIDER_DCHECK(freeStreams() > 0 && !in_event_);
  stream_ = &sink;
  phase_ = Phase::kHead;
  request_ = Request::kNone;
  out_body_.start(OutBody::kNone);
  context_ = ResponseContext();
  reusable_ = paused_ = writer_waits_ = tunnel_in_done_ = failed_ = false;
  informational_ = 0;
  finder_.start();
  return *this;
}

// ---- requests ----

void ClientCodec::sendHead(const RequestHead& head, bool last) {
  OUTRIDER_DCHECK(stream_ != nullptr && request_ == Request::kNone && !in_event_);
  context_.head_request = head.isHead();
  context_.upgrade_request = !head.upgrade.empty();
  context_.connect_request = head.isConnect() && !context_.upgrade_request;
  bool zero_length = false;
  uint64_t bytes = 0;
  const Header* length = head.headers.find(HeaderId::kContentLength);
  const bool has_length = length != nullptr && parseContentLength(length->value(), bytes);
  if (context_.connect_request || context_.upgrade_request) {
    out_body_.start(OutBody::kTunnel);
  } else if (last) {
    out_body_.start(OutBody::kNone);
    // A length that no body will meet must not go out.
    zero_length = (length == nullptr && !expectsNoBody(head.method)) || (length != nullptr && (!has_length || bytes > 0));
  } else if (has_length) {
    out_body_.start(OutBody::kLength, bytes);
  } else {
    out_body_.start(OutBody::kChunked);
  }
  request_ = Request::kBody;
  if (!encodeRequestHead(head, zero_length, out_body_.kind(), out_, settings_.proper_case)) {
    request_ = Request::kDone;
    fail();
    return;
  }
  if (last && out_body_.kind() != OutBody::kTunnel) {
    requestDone();
  } else {
    sink_.onOutput();
  }
}

Room ClientCodec::sendData(base::Buffer& data, bool last) {
  OUTRIDER_DCHECK(stream_ != nullptr && !in_event_);
  if (request_ != Request::kBody) {
    data.clear();
    return Room::kMore;
  }
  if (!out_body_.write(data, last, out_)) {
    data.clear();
    fail();
    return Room::kMore;
  }
  if (last) {
    requestDone();
    return Room::kMore;
  }
  sink_.onOutput();
  if (out_.size() <= settings_.buffer_limit) return Room::kMore;
  writer_waits_ = true;
  return Room::kFull;
}

void ClientCodec::sendTrailers(const HeaderMap& trailers) {
  OUTRIDER_DCHECK(stream_ != nullptr && !in_event_);
  if (request_ != Request::kBody) return;
  out_body_.writeTrailers(trailers, settings_.enable_trailers, out_);
  requestDone();
}

void ClientCodec::requestDone() {
  request_ = Request::kDone;
  writer_waits_ = false;
  sink_.onOutput();
  if (out_body_.incomplete()) {
    fail();  // the peer waits for what never comes
    return;
  }
  if (phase_ == Phase::kTunnel) {
    output_finished_ = true;
    if (tunnel_in_done_) sink_.onWantFeed();
  }
}

// Told from feed(), which this asks for.
void ClientCodec::fail() {
  failed_ = true;
  stop();
  sink_.onWantFeed();
}

void ClientCodec::reset(ResetReason) {
  OUTRIDER_DCHECK(!in_event_);
  if (stream_ == nullptr) return;
  stream_ = nullptr;
  done_to_tell_ = true;
  stop();
  sink_.onOutput();
  sink_.onWantFeed();
}

void ClientCodec::pause(bool on) {
  if (paused_ == on) return;
  paused_ = on;
  if (!on) sink_.onWantFeed();
}

// ---- responses ----

Feed ClientCodec::feed(base::Buffer& in) {
  OUTRIDER_DCHECK(!in_event_);
  if (failed_ && stream_ != nullptr) endExchange(ResetReason::kLocal, {});
  if (done_to_tell_) {
    done_to_tell_ = false;
    const EventScope event(in_event_);
    sink_.onStreamDone();
  }
  Feed answer = Feed::kMore;
  bool again = true;
  while (again) {
    again = false;
    switch (phase_) {
      case Phase::kIdle: answer = feedIdle(in); break;
      case Phase::kHead: answer = feedHead(in, again); break;
      case Phase::kBody: answer = feedBody(in, again); break;
      case Phase::kTunnel: answer = feedTunnel(in); break;
      case Phase::kStop: answer = Feed::kFinished; break;
    }
  }
  return answer;
}

// Nobody asked for these bytes.
Feed ClientCodec::feedIdle(base::Buffer& in) {
  if (in.empty() && !input_finished_) return Feed::kMore;
  const bool unasked = !in.empty();
  stop();
  if (unasked) {
    const EventScope event(in_event_);
    sink_.onConnectionError("http1.codec_error");
  }
  return Feed::kFinished;
}

Feed ClientCodec::feedHead(base::Buffer& in, bool& again) {
  if (in.empty()) {
    if (!input_finished_) return Feed::kMore;
    stop();
    endExchange(ResetReason::kConnectionClosed, {});
    return Feed::kFinished;
  }
  if (request_ == Request::kNone || in.front()[0] != 'H') return broken({502, "http1.codec_error"});
  switch (finder_.find(in, settings_.max_head_bytes)) {
    case HeadFinder::Found::kMore: return input_finished_ ? broken({502, "http1.codec_error"}) : Feed::kMore;
    case HeadFinder::Found::kBareCr: return broken({502, "http1.invalid_characters"});
    case HeadFinder::Found::kTooLarge: return broken({502, "http1.headers_too_large"});
    case HeadFinder::Found::kEnd: break;
  }
  base::Arena& arena = stream_->arena();
  const size_t size = finder_.size();
  finder_.start();
  char* const raw = takeHead(in, size, arena);
  auto* head = arena.make<ResponseHead>(arena);
  Framing framing;
  CodecError error;
  if (!parseResponseHead(raw, size, settings_, counters_, context_, *head, framing, error)) return broken(error);
  again = true;
  if (head->status < 200 && head->status != 101) {
    if (++informational_ > settings_.max_informational) return again = false, broken({502, "http1.codec_error"});
    const EventScope event(in_event_);
    stream_->onInformational(*head);
    return Feed::kMore;
  }
  // A refused tunnel leaves the peer free to read what follows as it likes.
  if (out_body_.kind() == OutBody::kTunnel) head->keep_alive = false;
  reusable_ = head->keep_alive;
  const bool last = framing.body == Framing::Body::kNone || (framing.body == Framing::Body::kLength && framing.length == 0);
  if (framing.body == Framing::Body::kTunnel) {
    phase_ = Phase::kTunnel;
    output_finished_ = request_ == Request::kDone;
  } else {
    phase_ = Phase::kBody;
    body_.start(framing);
  }
  {
    const EventScope event(in_event_);
    stream_->onResponseHead(*head, last);
  }
  if (last) responseDone(in);
  return Feed::kMore;
}

Feed ClientCodec::feedBody(base::Buffer& in, bool& again) {
  if (paused_) return in.empty() ? Feed::kMore : Feed::kPaused;
  if (in.empty() && !input_finished_) return Feed::kMore;
  CodecError error;
  base::Buffer piece;
  const BodyReader::Status status = body_.read(in, piece, settings_, counters_, error);
  switch (status) {
    case BodyReader::Status::kMore: {
      const bool whole = input_finished_ && body_.untilClose();
      if (!piece.empty() || whole) {
        const EventScope event(in_event_);
        stream_->onResponseData(piece, whole);
      }
      if (whole) {
        responseDone(in);
        return Feed::kFinished;
      }
      return input_finished_ ? broken({502, "http1.codec_error"}) : Feed::kMore;
    }
    case BodyReader::Status::kDone: {
      {
        const EventScope event(in_event_);
        stream_->onResponseData(piece, true);
      }
      responseDone(in);
      again = true;
      return Feed::kMore;
    }
    case BodyReader::Status::kTrailers:
      if (!piece.empty()) {
        const EventScope event(in_event_);
        stream_->onResponseData(piece, false);
      }
      if (deliverTrailers(in)) responseDone(in);
      again = true;
      return Feed::kMore;
    case BodyReader::Status::kError:
      // What came before the fault is the owner's; the end says that it is not all.
      if (!piece.empty()) {
        const EventScope event(in_event_);
        stream_->onResponseData(piece, false);
      }
      return broken(error);
  }
  OUTRIDER_UNREACHABLE();
}

bool ClientCodec::deliverTrailers(base::Buffer& in) {
  CodecError error;
  HeaderMap* const trailers = takeTrailers(in, body_.trailerBytes(), stream_->arena(), settings_, counters_, error);
  if (trailers == nullptr) {
    broken(error);
    return false;
  }
  const EventScope event(in_event_);
  if (settings_.enable_trailers && !trailers->empty()) {
    stream_->onResponseTrailers(*trailers);
  } else {
    base::Buffer nothing;
    stream_->onResponseData(nothing, true);
  }
  return true;
}

Feed ClientCodec::feedTunnel(base::Buffer& in) {
  if (!tunnel_in_done_) {
    if (paused_) return in.empty() ? Feed::kMore : Feed::kPaused;
    if (!in.empty() || input_finished_) {
      base::Buffer piece;
      piece.move(in);
      tunnel_in_done_ = input_finished_;
      const EventScope event(in_event_);
      stream_->onResponseData(piece, input_finished_);
    }
  }
  if (!tunnel_in_done_ || request_ != Request::kDone) return Feed::kMore;
  stop();
  endExchange(ResetReason::kNone, {});
  return Feed::kFinished;
}

// The response is whole. The connection goes on only if both sides agree where it ends.
void ClientCodec::responseDone(const base::Buffer& in) {
  const bool clean = reusable_ && request_ == Request::kDone && in.empty() && !closing_ && !input_finished_;
  if (clean) {
    phase_ = Phase::kIdle;
  } else {
    stop();
  }
  endExchange(ResetReason::kNone, {});
}

Feed ClientCodec::broken(const CodecError& error) {
  stop();
  endExchange(ResetReason::kProtocolError, error.details);
  return Feed::kFinished;
}

void ClientCodec::endExchange(ResetReason reason, std::string_view details) {
  ResponseSink* const stream = stream_;
  stream_ = nullptr;
  failed_ = false;
  const EventScope event(in_event_);
  if (stream != nullptr) stream->onEnd(reason, details);
  sink_.onStreamDone();
}

void ClientCodec::stop() {
  phase_ = Phase::kStop;
  finished_ = true;
}

// ---- the connection ----

void ClientCodec::onOutputDrained() {
  if (!writer_waits_ || stream_ == nullptr) return;
  writer_waits_ = false;
  const EventScope event(in_event_);
  stream_->onRoom();
}

void ClientCodec::onPeerFinished() {
  if (input_finished_) return;
  input_finished_ = true;
  sink_.onWantFeed();
}

void ClientCodec::drain() {
  closing_ = true;
  if (stream_ == nullptr) stop();
}

void ClientCodec::resetAll(ResetReason reason) {
  const bool mid_response = phase_ == Phase::kBody || (phase_ == Phase::kHead && finder_.scanned() > 0);
  stop();
  if (stream_ == nullptr) return;
  if (reason == ResetReason::kConnectionClosed && mid_response) {
    endExchange(ResetReason::kProtocolError, "http1.codec_error");  // as Envoy: a cut response is a broken one
  } else {
    endExchange(failed_ ? ResetReason::kLocal : reason, {});
  }
}

}  // namespace outrider::http::h1
