#include "source/upstream/call/grpc_call.h"

#include "source/http/grpc.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"

namespace outrider::upstream {
namespace {

// What may wait beside one message of full size; flow control stops the server well below it.
constexpr size_t kSlack = 512 * 1024;

AsyncCall::Options callOptions(const GrpcCall::Options& options) {
  AsyncCall::Options out;
  out.timeout = options.timeout;
  out.most_response = options.most_message + kGrpcPrefix + kSlack;
  out.buffer_limit = options.buffer_limit;
  return out;
}

}  // namespace

GrpcCall::GrpcCall(Cluster& cluster, GrpcCallOwner& owner, const Options& options)
    : call_(cluster, *this, callOptions(options)), owner_(owner), reader_(options.most_message), timeout_(options.timeout) {
  http::RequestHead& head = call_.head();
  head.method = "POST";
  head.headers.add(http::HeaderId::kTe, "trailers");
  head.headers.add(http::HeaderId::kContentType, "application/grpc");
}

void GrpcCall::start(std::string_view path) {
  http::RequestHead& head = call_.head();
  head.path = call_.arena().copy(path);
  if (timeout_ > 0) head.headers.add(http::HeaderId::kGrpcTimeout, http::printGrpcTimeout(call_.arena(), timeout_));
  call_.start(false);
}

http::Room GrpcCall::send(std::string_view message) {
  if (ended_ || finished_) return http::Room::kMore;
  base::Buffer frame;
  appendGrpcMessage(message, frame);
  return call_.send(frame, false);
}

void GrpcCall::finish() {
  if (ended_ || finished_) return;
  finished_ = true;
  base::Buffer nothing;
  (void)call_.send(nothing, true);
}

void GrpcCall::cancel() {
  call_.cancel();
  if (ended_) return;
  ended_ = true;
  status_ = GrpcStatus::kCancelled;
}

bool GrpcCall::next(base::Buffer& message) {
  message.clear();
  if (broken_) return false;
  switch (reader_.next(call_.body(), message)) {
    case GrpcReader::Next::kMessage: return true;
    case GrpcReader::Next::kMore: return false;
    case GrpcReader::Next::kTooBig:
      status_ = GrpcStatus::kResourceExhausted;
      message_ = "a message is too big";
      break;
    case GrpcReader::Next::kCompressed:
      status_ = GrpcStatus::kInternal;
      message_ = "a message is compressed, which nobody asked for";
      break;
  }
  broken_ = ended_ = true;
  call_.cancel();
  return false;
}

void GrpcCall::onCall(AsyncCall& call) {
  if (call.ended() && !ended_) conclude();
  owner_.onGrpc(*this);  // last: it may destroy the call
}

void GrpcCall::conclude() {
  ended_ = true;
  switch (call_.end()) {
    case AsyncCall::End::kNone:
    case AsyncCall::End::kComplete: break;
    case AsyncCall::End::kTimeout:
      status_ = GrpcStatus::kDeadlineExceeded;
      message_ = call_.failure();
      return;
    case AsyncCall::End::kTooBig:
      status_ = GrpcStatus::kResourceExhausted;
      message_ = call_.failure();
      return;
    case AsyncCall::End::kReset:
      // Once the server has spoken, a broken stream is its fault rather than its absence.
      status_ = call_.response() != nullptr ? GrpcStatus::kInternal : GrpcStatus::kUnavailable;
      message_ = call_.failure();
      return;
    case AsyncCall::End::kNoHost:
    case AsyncCall::End::kOverflow:
    case AsyncCall::End::kConnect:
      status_ = GrpcStatus::kUnavailable;
      message_ = call_.failure();
      return;
  }
  const http::HeaderMap& head = call_.response()->headers;
  const http::HeaderMap* from = call_.trailers();
  if (from == nullptr || !from->has(http::HeaderId::kGrpcStatus)) from = &head;  // an answer without messages has it here
  if (!from->has(http::HeaderId::kGrpcStatus)) {
    const uint16_t http_status = call_.response()->status;
    status_ = http_status == 200 ? GrpcStatus::kUnknown : grpcStatusOfHttp(http_status);
    message_ = http_status == 200 ? std::string("the response has no grpc-status") : absl::StrCat("HTTP status ", http_status);
    return;
  }
  const std::string_view text = from->get(http::HeaderId::kGrpcStatus);
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    status_ = GrpcStatus::kUnknown;
    message_ = "grpc-status is no number";
    return;
  }
  status_ = static_cast<GrpcStatus>(number);
  message_ = decodeGrpcMessage(from->get(http::HeaderId::kGrpcMessage));
}

}  // namespace outrider::upstream
