// One try of one request against one host: picks the host, waits for a connection's stream, carries bytes both ways.
//
// It records what comes and tells its owner only that something did (onAttempt marks; it must not call back from within).
// Thread: the worker. Lifetime: arena object of its owner (the router, a side call); destroying it gives up what is under way.
#pragma once

#include "source/base/intrusive_list.h"
#include "source/base/local_ref.h"
#include "source/http/codec.h"
#include "source/http/pipe.h"
#include "source/stream/stream_info.h"
#include "source/upstream/cluster_part.h"
#include "source/upstream/lb/lb_context.h"

namespace outrider::upstream {

class Attempt;
class Cluster;
class HostPool;
class PoolConnection;

class AttemptOwner {
 public:
  virtual void onAttempt(Attempt& attempt) = 0;

 protected:
  ~AttemptOwner() = default;
};

struct PendingTag;

class Attempt final : public http::ResponseSink, public base::TaggedNode<PendingTag> {
 public:
  struct Options {
    bool high_priority = false;
    bool fresh = false;                                   // a connection that has served nobody, if one may be made
    size_t buffer_limit = 64 * 1024;                      // of bytes that wait in either direction
    http::Protocol downstream = http::Protocol::kHttp11;  // for clusters that follow the client's protocol
  };
  Attempt(Cluster& cluster, base::Arena& arena, AttemptOwner& owner, const Options& options);
  ~Attempt();
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;

  // Picks the host; null: there is none (the attempt is done, noHost()).
  const Host* pick(const lb::LbContext& context);
  // After pick(): takes a stream of the host's pool or waits for one. `head` lives in the owner's arena.
  void start(const http::RequestHead& head, bool last);
  [[nodiscard]] http::Room sendData(base::Buffer& data, bool last);
  void sendTrailers(const http::HeaderMap& trailers);
  void pauseResponse(bool on);
  void abandon();  // gives up; no further event

  enum class Phase : uint8_t { kNew, kQueued, kStreaming, kDone };
  Phase phase() const { return phase_; }
  bool done() const { return phase_ == Phase::kDone; }
  bool noHost() const { return no_host_; }
  const Host* host() const { return host_; }
  // It failed because a connection that was there before ended without an answer: the peer may have closed it, being idle, just as
  // this request went out.
  bool stale() const { return reused_ && failure_ == http::ResetReason::kConnectionClosed && head_ == nullptr && informational_ == 0; }
  // The upstream said that it did not act on the request: refused its stream, or left by a GOAWAY below it (goneAway()). Any request may
  // be sent again.
  bool unprocessed() const;
  bool goneAway() const;
  bool requestSent() const { return request_sent_; }  // at least its head was handed to a connection

  http::ResponseHead* head() { return head_; }
  uint16_t informational() const { return informational_; }  // status of the last 1xx, 0: none
  http::ResponseHead* takeInformational() { return std::exchange(informational_head_, nullptr); }
  http::Pipe& body() { return body_; }
  void bodyTaken();  // after draining body(): the source may go on
  http::HeaderMap* trailers() { return trailers_; }
  bool ended() const { return response_ended_; }                         // the whole response is here
  [[nodiscard]] bool takeRoom() { return std::exchange(room_, false); }  // request bytes may go on

  // After done() without ended():
  http::ResetReason failure() const { return failure_; }
  std::string_view failureDetails() const { return failure_details_; }
  std::string_view transportFailure() const { return transport_failure_; }
  void fillInfo(stream::StreamInfo& info) const;

  // ---- of the codec ----
  base::Arena& arena() override { return arena_; }
  void onInformational(http::ResponseHead& head) override;
  void onResponseHead(http::ResponseHead& head, bool last) override;
  void onResponseData(base::Buffer& data, bool last) override;
  void onResponseTrailers(http::HeaderMap& trailers) override;
  void onRoom() override;
  void onEnd(http::ResetReason reason, std::string_view details) override;

 private:
  friend class HostPool;
  friend class PoolConnection;
  // Becomes a request, as the breaker counts them; false: there are as many as may be, and it has failed.
  bool admit();
  void attach(PoolConnection& connection);
  void fail(http::ResetReason reason, std::string_view transport_failure);
  void finish();
  void updatePause();

  base::Arena& arena_;
  AttemptOwner& owner_;
  const Options options_;
  base::LocalRef<Cluster> cluster_;
  base::LocalRef<HostPool> pool_;
  const Host* host_ = nullptr;
  const http::RequestHead* request_ = nullptr;
  const http::HeaderMap* request_trailers_ = nullptr;
  http::ClientStream* stream_ = nullptr;
  PoolConnection* connection_ = nullptr;  // while streaming
  base::Buffer waiting_;                  // request bytes before there is a stream
  bool request_last_ = false;
  bool head_last_ = false;  // the request was its head alone
  bool waiting_full_ = false;

  http::ResponseHead* head_ = nullptr;
  http::ResponseHead* informational_head_ = nullptr;
  http::HeaderMap* trailers_ = nullptr;
  http::Pipe body_;
  uint16_t informational_ = 0;

  Phase phase_ = Phase::kNew;
  http::ResetReason failure_ = http::ResetReason::kNone;
  std::string_view failure_details_, transport_failure_;
  bool no_host_ = false;
  bool response_ended_ = false;
  bool request_sent_ = false;
  bool room_ = false;
  bool owner_paused_ = false;
  bool stream_paused_ = false;
  bool counted_load_ = false, counted_active_ = false;
  bool reused_ = false;                           // its connection had served, or waited to, before
  bool permit_ = false, permit_counted_ = false;  // of the requests breaker
  bool pending_permit_ = false, pending_counted_ = false;

  // Of the connection that served it, kept for logs.
  base::Address local_;
  uint64_t connection_id_ = 0;
  http::Protocol protocol_ = http::Protocol::kHttp11;
  bool has_protocol_ = false;
  base::Nanos pool_ready_at_ = 0, sent_at_ = 0;
  uint64_t wire_sent_ = 0, wire_received_ = 0;  // HTTP/1: the connection's when it began, then the exchange's own
};

}  // namespace outrider::upstream
