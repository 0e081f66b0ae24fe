#include "source/admin/connection.h"

namespace outrider::admin {
namespace {

constexpr base::Nanos kTick = base::kSecond;
constexpr base::Nanos kLinger = base::kSecond;

}  // namespace

// ---- one exchange ----

void Connection::Exchange::open(http::ServerStream& stream) {
  release();
  stream_ = &stream;
  arena_ = base::Arena::create();
  request_ = Request();
  answer_ = Answer();
  target_.clear();
  body_bytes_ = 0;
  refused_ = full_ = head_sent_ = false;
}

void Connection::Exchange::release() {
  begin_.unlink();
  base::TaggedNode<event::ReadyTag>::unlink();
  answer_.pieces.reset();
  stream_ = nullptr;
  if (arena_ != nullptr) std::exchange(arena_, nullptr)->unref();
}

void Connection::Exchange::onRequestHead(http::RequestHead& head, bool last) {
  request_.method = head.method;
  request_.host = head.authority;
  request_.has_origin = head.headers.has(http::HeaderId::kOrigin);
  target_ = head.path;
  if (last) owner_.loop_.defer(begin_);
}

void Connection::Exchange::onRequestData(base::Buffer& data, bool last) {
  body_bytes_ += data.size();
  data.clear();
  if (refused_) return;
  if (body_bytes_ > kMostBody) {
    refused_ = true;
    answer_ = Answer::text("Payload Too Large", 413);
    owner_.loop_.defer(begin_);
  } else if (last) {
    owner_.loop_.defer(begin_);
  }
}

void Connection::Exchange::onRequestTrailers(http::HeaderMap&) { owner_.loop_.defer(begin_); }

void Connection::Exchange::onMalformed(const http::CodecError& error) {
  if (head_sent_) return;
  refused_ = true;
  answer_ = Answer::text(std::string(error.details), error.status);
  owner_.loop_.defer(begin_);
}

void Connection::Exchange::onRoom() {
  full_ = false;
  owner_.loop_.makeReady(*this);
}

void Connection::Exchange::onEnd(http::ResetReason) { release(); }

void Connection::Exchange::begin() {
  if (stream_ == nullptr || head_sent_) return;
  owner_.progress();
  if (!refused_) {
    if (parseTarget(target_, request_)) {
      answer_ = owner_.owner_.answer(request_);
    } else {
      answer_ = Answer::text("Bad Request", 400);
    }
  }
  sendHead();
  pump();
}

void Connection::Exchange::sendHead() {
  http::ResponseHead head(*arena_);
  head.status = answer_.status;
  head.headers.add(http::HeaderId::kContentType, answer_.content_type);
  head.headers.add(http::HeaderId::kCacheControl, "no-cache, max-age=0");
  head.headers.add("x-content-type-options", "nosniff");
  head.headers.addCopy(http::HeaderId::kDate, owner_.loop_.httpDate());
  head.headers.add(http::HeaderId::kServer, "envoy");
  head_sent_ = true;
  owner_.owner_.onAnswered(answer_.status);
  stream_->sendHead(head, false);
}

void Connection::Exchange::pump() {
  if (stream_ == nullptr || full_) return;
  std::string text = std::move(answer_.body);
  answer_.body.clear();
  bool more = answer_.pieces != nullptr;
  if (more && text.size() < kPieceBytes) more = answer_.pieces->next(text);
  const bool head_only = request_.method == "HEAD";
  base::Buffer data;
  if (!head_only) data.append(text);
  const bool last = head_only || !more;
  if (stream_->sendData(data, last) == http::Room::kFull) full_ = true;
  if (last) {
    answer_.pieces.reset();
  } else if (!full_) {
    owner_.loop_.makeReady(*this);
  }
}

// ---- the connection ----

Connection::Connection(event::Loop& loop, int fd, const base::Address& local, const base::Address& remote,
                       const http::h1::Settings& settings, ConnectionOwner& owner)
    : loop_(loop),
      owner_(owner),
      socket_(loop, fd, net::makePlainTransport(), local, remote),
      codec_(settings, counters_, *this, socket_.out(), "http"),
      exchange_(*this),
      timer_(event::Timer::to<&Connection::onTimer>(loop.timers(), this)),
      progress_at_(loop.now()) {
  socket_.setSink(*this);
  base::Buffer none;
  socket_.startAccepted(none);
  timer_.armIn(kTick);
}

Connection::~Connection() = default;

void Connection::cut() {
  closing_ = true;
  timer_.cancel();
  socket_.closeReset();
  codec_.resetAll(http::ResetReason::kConnectionClosed);
}

void Connection::onBytes(base::Buffer& in, bool eof) {
  if (closing_) {
    in.clear();
    return;
  }
  const http::Feed fed = codec_.feed(in);
  if (fed == http::Feed::kPaused) socket_.pauseReading(net::Connection::kPauseCodec);
  if (eof) codec_.onPeerFinished();
  const bool partial = exchange_.isOpen() ? !exchange_.answering() : !in.empty() && fed == http::Feed::kMore;
  if (partial && !partial_) progress();
  partial_ = partial;
  closeIfFinished();
  if (!closing_ && eof && codec_.openStreams() == 0) {
    closing_ = true;
    socket_.closeAfterFlush(kLinger);
  }
}

void Connection::onFlush(base::Buffer&) { closeIfFinished(); }

void Connection::closeIfFinished() {
  if (closing_ || !codec_.finished() || codec_.openStreams() > 0) return;
  closing_ = true;
  socket_.closeAfterFlush(kLinger);
}

void Connection::onClosed(net::CloseReason) {
  closing_ = true;
  timer_.cancel();
  codec_.resetAll(http::ResetReason::kConnectionClosed);
  owner_.onGone(*this);
}

http::RequestSink& Connection::onNewStream(http::ServerStream& stream) {
  exchange_.open(stream);
  return exchange_;
}

void Connection::onWantFeed() {
  if (closing_) return;
  socket_.resumeReading(net::Connection::kPauseCodec);
  socket_.wantFeed();
}

void Connection::progress() {
  progress_at_ = loop_.now();
  written_ = socket_.bytesWritten();
}

void Connection::onTimer() {
  if (exchange_.answering() && socket_.bytesWritten() != written_) progress();
  const base::Nanos most = exchange_.answering() ? kStallTime : partial_ ? kRequestTime : kIdleTime;
  if (!closing_ && loop_.now() - progress_at_ >= most) {
    cut();
    owner_.onGone(*this);
    return;
  }
  timer_.armIn(kTick);
}

}  // namespace outrider::admin
