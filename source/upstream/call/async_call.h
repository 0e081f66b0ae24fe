// A request of the proxy's own over a cluster's pool: log services, authorization services, key servers.
//
// The owner fills head(), starts, sends; what comes is told by onCall(), which runs alone in the loop (a deferred call), so it may
// do anything to the call, even destroy it. Several news may come as one.
// Thread: the cluster's worker. Lifetime: the owner's; destroying a call gives up what is under way. No retries.
#pragma once

#include <string_view>

#include "source/event/loop.h"
#include "source/upstream/call/attempt.h"

namespace outrider::upstream {

class AsyncCall;

class AsyncCallOwner {
 public:
  virtual void onCall(AsyncCall& call) = 0;

 protected:
  ~AsyncCallOwner() = default;
};

class AsyncCall final : private AttemptOwner {
 public:
  struct Options {
    base::Nanos timeout = 0;             // from start to the response's end; 0: none
    size_t most_response = 1024 * 1024;  // of body that the owner has not taken; more ends the call
    size_t buffer_limit = 64 * 1024;     // of request bytes that wait: send() answers kFull above it
    bool high_priority = false;
  };
  enum class End : uint8_t {
    kNone,      // under way
    kComplete,  // the whole response is here, whatever its status
    kNoHost,    // no healthy host
    kOverflow,  // a circuit breaker
    kConnect,   // no connection could be made
    kReset,     // the connection or the stream broke
    kTimeout,
    kTooBig,
  };

  AsyncCall(Cluster& cluster, AsyncCallOwner& owner, const Options& options);
  ~AsyncCall();
  AsyncCall(const AsyncCall&) = delete;
  AsyncCall& operator=(const AsyncCall&) = delete;

  // Before start(). Views must be static or in arena(). `authority` is the cluster's name and the scheme the transport's until changed.
  http::RequestHead& head() { return *head_; }
  base::Arena& arena() { return *arena_; }

  void start(bool last);  // `last`: no body
  http::Room send(base::Buffer& data, bool last);
  void sendTrailers(const http::HeaderMap& trailers);  // copied; the request's end
  void cancel();                                       // no further onCall()

  End end() const { return end_; }
  bool ended() const { return end_ != End::kNone; }
  uint16_t status() const { return attempt_ == nullptr || attempt_->head() == nullptr ? 0 : attempt_->head()->status; }
  const http::ResponseHead* response() const { return attempt_ == nullptr ? nullptr : attempt_->head(); }
  const http::HeaderMap* trailers() const { return attempt_ == nullptr ? nullptr : attempt_->trailers(); }
  base::Buffer& body() { return body_; }                // take from it what you have read
  bool writable() const { return !full_ && !ended(); }  // false: wait for an onCall() after which it is true
  const Host* host() const { return attempt_ == nullptr ? nullptr : attempt_->host(); }
  bool sent() const { return attempt_ != nullptr && attempt_->requestSent(); }  // it has, or had, a connection
  // For logs: "overflow", "delayed connect error: Connection refused"; empty after kComplete.
  std::string_view failure() const;
  event::Loop& loop() { return loop_; }

 private:
  void onAttempt(Attempt& attempt) override;
  void onTimeout();
  void work();  // deferred
  void finish(End end);

  event::Loop& loop_;
  AsyncCallOwner& owner_;
  const Options options_;
  base::LocalRef<Cluster> cluster_;
  base::Arena* const arena_;
  http::RequestHead* const head_;
  Attempt* attempt_ = nullptr;  // in the arena
  base::Buffer body_;
  event::Deferred work_;
  event::Timer timeout_;
  base::Nanos started_at_ = 0;
  End end_ = End::kNone;
  bool full_ = false;
  bool timed_out_ = false;
};

// A call that nobody waits for: it ends by itself, or with its worker (ClusterView::keep).
struct DetachedTag;
class DetachedCall : public base::TaggedNode<DetachedTag> {
 public:
  virtual ~DetachedCall() = default;
};

}  // namespace outrider::upstream
