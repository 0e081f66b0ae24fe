// Replies of the proxy's own: their head, and a body that is text or comes from a source under flow control.
#include "source/filter/http_stream.h"

#include <charconv>
#include <memory>
#include <utility>

namespace outrider::filter {

using base::Buffer;
using http::ResetReason;

namespace {

constexpr size_t kSourcePiece = 64 * 1024;

// "application/grpc" and "application/grpc+proto", but not grpc-web, whose clients read HTTP.
bool isGrpc(std::string_view type) {
  constexpr std::string_view kType = "application/grpc";
  return type.starts_with(kType) && (type.size() == kType.size() || type[kType.size()] == '+');
}

// What a gRPC client makes of an HTTP status, which it never sees (gRPC's http-grpc-status-mapping).
int grpcStatusOf(uint16_t status) {
  switch (status) {
    case 400: return 13;
    case 401: return 16;
    case 403: return 7;
    case 404: return 12;
    case 429:
    case 502:
    case 503:
    case 504: return 14;
    default: return 2;
  }
}

// Percent-encoding of what a header may not hold (gRPC over HTTP/2, "Status-Message").
std::string_view grpcMessage(std::string_view text, base::Arena& arena) {
  constexpr char kHex[] = "0123456789ABCDEF";
  char* const encoded = arena.bytes(text.size() * 3);
  size_t size = 0;
  for (const char c : text) {
    if (c >= 0x20 && c <= 0x7e && c != '%') {
      encoded[size++] = c;
    } else {
      encoded[size++] = '%';
      encoded[size++] = kHex[(static_cast<unsigned char>(c) >> 4) & 15];
      encoded[size++] = kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return {encoded, size};
}

// gRPC clients want trailers-only: HTTP 200 and the status in the head.
void grpcHead(const Reply& reply, bool message, base::Arena& arena, http::ResponseHead& head) {
  head.status = 200;
  head.headers.remove(http::HeaderId::kContentLength);
  head.headers.set(http::HeaderId::kContentType, "application/grpc");
  char text[8];
  const int status = reply.grpc_status < 0 ? grpcStatusOf(reply.status) : reply.grpc_status;
  const auto end = std::to_chars(text, text + sizeof text, status).ptr;
  head.headers.addCopy(http::HeaderId::kGrpcStatus, {text, static_cast<size_t>(end - text)});
  std::string_view body = reply.body;
  if (body.ends_with('\n')) body.remove_suffix(1);  // JSON ends its line
  if (message && !body.empty()) head.headers.add(http::HeaderId::kGrpcMessage, grpcMessage(body, arena));
}

}  // namespace

Reply& HttpStream::makeReply(uint16_t status, std::string_view body, std::string_view details) {
  Reply& reply = *arena_->make<Reply>();
  reply.status = status;
  reply.body = body;
  reply.details = details;
  return reply;
}

void HttpStream::respondWith(const Reply& reply) { localReply(reply, true); }

void HttpStream::localReply(const Reply& given, bool through_hooks) {
  // A source belongs to the stream from here on, whatever becomes of the reply.
  std::unique_ptr<BodySource> source(given.source);
  Reply reply = given;
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
    response_held_full_ = false;  // the filter that held the other response has no say in this one
  }
  response_started_ = true;
  auto& head = *arena_->make<http::ResponseHead>(*arena_);
  // Who sent what is no request is not asked for another, as Envoy.
  head.keep_alive = !reply.close && reply.status != 400;
  // What others add to the head may say of which type the body is, never how long it is.
  head.status = reply.status;
  if (reply.headers != nullptr) head.headers.copyFrom(*reply.headers);
  const std::string_view type_before = head.headers.get(http::HeaderId::kContentType);
  owner_.shapeReply(*this, reply, head);
  const bool bodyless = request_ != nullptr && request_->isHead();
  if (request_ != nullptr && isGrpc(request_->headers.get(http::HeaderId::kContentType))) {
    grpcHead(reply, !bodyless, *arena_, head);
    response_ = &head;
    walkHead<Direction::kResponse>(0, true);
    return;
  }
  head.status = reply.status;
  const std::string_view type = !reply.content_type.empty() ? reply.content_type : "text/plain";
  if (source == nullptr) {
    if (!reply.body.empty()) {
      char* text = arena_->bytes(24);
      const auto end = std::to_chars(text, text + 24, reply.body.size()).ptr;
      head.headers.set(http::HeaderId::kContentLength, {text, static_cast<size_t>(end - text)});
      // The type of a formatted body goes before what the reply's maker said, not before what was added by name.
      const std::string_view named = head.headers.get(http::HeaderId::kContentType);
      if (named.empty() || (named == type_before && reply.formatted)) {
        head.headers.set(http::HeaderId::kContentType, type);
      }
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

}  // namespace outrider::filter
