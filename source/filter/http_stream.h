// One HTTP exchange: the walk of its request through the chain's hooks to the terminal, and of its response back.
//
// Codec events only record and mark; run() does the work later in the same turn. Per direction the events are head, data*,
// trailers?, end; a filter may hold, and what waits at it goes on when it resumes. A reply made on the request side walks the
// response hooks of all filters, entered or not; one made on the response side before the head left is written without hooks;
// after the head left it is a reset. A stream ends once: outcome, counters, access log line, arena given back.
// Thread: its connection's worker. Lifetime: arena object; retires itself to the loop's graveyard when it ended.
#pragma once

#include "source/base/local_ref.h"
#include "source/config/local_part.h"
#include "source/event/loop.h"
#include "source/filter/http_filter.h"
#include "source/filter/network.h"
#include "source/filter/worker_context.h"
#include "source/http/codec.h"
#include "source/stream/stream_info.h"

namespace outrider::config {
class RouteTable;
}

namespace outrider::filter {

// What the connection manager does for its streams (and the tests' harness in its place).
class HttpStreamOwner {
 public:
  // Normalises and sanitises the head; a reply refuses it.
  virtual const Reply* admit(HttpStream& stream, http::RequestHead& head) = 0;
  // Matches the head as it is now: sets stream.setRoute().
  virtual void match(HttpStream& stream) = 0;
  // The route is known (or null): limits of it are set; a reply refuses what it does not allow, as an upgrade.
  virtual const Reply* afterMatch(HttpStream&, http::RequestHead&) { return nullptr; }
  virtual const HttpChain& chainFor(HttpStream& stream) = 0;
  // A reply of the proxy's own, before any hook sees it: its status, body, type and head may be another.
  virtual void shapeReply(HttpStream&, Reply&, http::ResponseHead&) {}
  virtual void finishResponse(HttpStream& stream, http::ResponseHead& head) = 0;       // last edits before the codec
  virtual bool finishInformational(HttpStream& stream, http::ResponseHead& head) = 0;  // false: it is not passed on
  virtual void onStreamEnd(HttpStream& stream) = 0;  // the stream is gone after the turn: log and count now
  virtual WorkerContext& worker() = 0;

 protected:
  ~HttpStreamOwner() = default;
};

struct HttpStreamTag;

class HttpStream final : public http::RequestSink, public event::Retired, public base::TaggedNode<HttpStreamTag> {
 public:
  struct Limits {
    size_t body = 1 << 20;     // bytes that may wait at a holding filter
    base::Nanos idle = 0;      // stream_idle_timeout; 0: none
    base::Nanos request = 0;   // request_timeout; 0: none
    base::Nanos head = 0;      // H2: from the first frame to a whole head; 0: none
    base::Nanos duration = 0;  // max_stream_duration; 0: none
  };
  // `pin` keeps the config that the owner answers from alive as long as the stream.
  static HttpStream& create(HttpStreamOwner& owner, http::ServerStream& codec, const stream::ConnectionInfo& connection,
                            const Limits& limits, ChainRef pin);

  // ---- codec events: record, mark ----
  base::Arena& arena() override { return *arena_; }
  void onRequestHead(http::RequestHead& head, bool last) override;
  void onRequestData(base::Buffer& data, bool last) override;
  void onRequestTrailers(http::HeaderMap& trailers) override;
  void onMalformed(const http::CodecError& error) override;
  void onRoom() override;
  void onEnd(http::ResetReason reason) override;

  // ---- for the terminal ----
  void wake() { worker_.loop.defer(work_); }  // run() later this turn
  void pauseRequest(bool on) { pauseSource(kPauseTerminal, on); }
  void sendInformational(http::ResponseHead& head);
  void respond(http::ResponseHead& head, bool last);  // arena object
  [[nodiscard]] http::Room respondData(base::Buffer& data, bool last);
  void respondTrailers(http::HeaderMap& trailers);
  void respondWith(const Reply& reply);        // a local reply: through the response hooks; reset if too late
  void resetStream(http::ResetReason reason);  // abort the exchange
  bool responseStarted() const { return response_started_; }
  bool requestComplete() const { return request_complete_; }
  bool done() const { return finishing_; }

  // ---- for filters and the owner ----
  WorkerContext& worker() const { return worker_; }
  stream::StreamInfo& info() { return info_; }
  http::RequestHead& request() { return *request_; }
  bool hasRequest() const { return request_ != nullptr; }
  http::ResponseHead* response() { return response_; }
  http::HeaderMap* requestTrailers() { return request_trailers_; }
  http::HeaderMap* responseTrailers() { return response_trailers_; }
  http::ServerStream& codec() { return codec_; }
  const config::CompiledRoute* route();  // matches if nobody did since clearRoute()
  void clearRoute();
  void setRoute(const config::CompiledRoute* route, config::PartRef<config::RouteTable> pin);
  const config::PartRef<config::RouteTable>& routePin() const { return route_pin_; }
  Reply& makeReply(uint16_t status, std::string_view body, std::string_view details);
  StreamHandle handleFor(uint16_t filter);
  void queueResume(uint16_t filter, Direction direction, Verdict verdict);
  const HttpChain* chain() const { return chain_; }
  void touch() { last_activity_ = worker_.loop.now(); }
  http::ResetReason endReason() const { return end_reason_; }
  void endNow(http::ResetReason reason);  // by the owner: the connection is gone
  void setIdleTimeout(base::Nanos idle);  // the route's own
  void setDuration(base::Nanos most);     // from the stream's start on; 0: no limit
  const void* ownerData = nullptr;        // the owner's, opaque
  bool upgraded = false;                  // the owner's: an upgrade or CONNECT that it let in

  void bury() override;  // of the loop

 private:
  friend class base::Arena;
  HttpStream(HttpStreamOwner& owner, http::ServerStream& codec, const stream::ConnectionInfo& connection, const Limits& limits,
             ChainRef pin, base::Arena* arena);
  ~HttpStream() override;

  enum PauseReason : uint8_t { kPauseTerminal = 1, kPauseHeld = 2 };
  enum Waits : uint8_t { kWaitsHead = 1, kWaitsEnd = 2, kWaitsTrailers = 4, kHeadLast = 8 };
  // Where a message stands at one filter. Buffers are made on first use.
  struct Stage {
    base::Buffer* in = nullptr;
    base::Buffer* out = nullptr;
    bool holding = false;
    uint8_t waits = 0;
  };
  struct Resume {
    uint16_t filter;
    Direction direction;
    Verdict verdict;
    Resume* next;
  };

  void run();
  void runRequestEvents();
  void runResumes();
  static void drop(const Verdict& verdict);
  void dropResumes();
  void beginRequest();
  void makeChain();
  void destroyChain();
  void dropHandles();
  void restart();

  template <Direction D>
  void walkHead(size_t i, bool last);
  template <Direction D>
  void walkData(size_t i, base::Buffer& data, bool last);
  template <Direction D>
  void walkTrailers(size_t i);
  template <Direction D>
  void release(size_t i);
  template <Direction D>
  void act(size_t i, Verdict verdict, uint8_t waits);
  template <Direction D>
  void overLimit(size_t i);
  template <Direction D>
  bool stopped() const;
  template <Direction D>
  size_t filterAt(size_t i) const;
  template <Direction D>
  Stage& stageAt(size_t i);
  template <Direction D>
  void atEndHead(bool last);
  template <Direction D>
  void atEndData(base::Buffer& data, bool last);
  template <Direction D>
  void atEndTrailers();
  base::Buffer& bufferOf(base::Buffer*& slot);
  void* stateOf(size_t filter) const;
  // The codec's stream is gone before its time: nobody may touch it any more. run() comes to the same conclusion.
  bool cutOff() const { return ended_ && end_reason_ != http::ResetReason::kNone; }
  bool off(size_t filter) const { return ((off_ >> filter) & 1) != 0; }

  void pauseSource(PauseReason reason, bool on);
  void localReply(const Reply& reply, bool through_hooks);
  void sendReplyBody(const Reply& reply);
  void pullSource();
  void completeResponse();
  void onTimeout();
  void armTimer();
  void finish(http::ResetReason reason);

  HttpStreamOwner& owner_;
  http::ServerStream& codec_;
  WorkerContext& worker_;
  base::Arena* const arena_;
  Limits limits_;
  ChainRef pin_;
  event::Deferred work_;
  event::Timer timer_;  // idle and request deadlines, lazily
  base::Nanos last_activity_;
  base::Nanos request_deadline_ = 0;  // 0: none

  // Request side.
  http::RequestHead* request_ = nullptr;
  http::HeaderMap* request_trailers_ = nullptr;
  base::Buffer inbox_;
  bool head_pending_ = false;
  bool head_last_ = false;
  bool data_pending_ = false;
  bool inbox_last_ = false;
  bool trailers_pending_ = false;
  bool request_complete_ = false;  // the last request byte arrived
  bool request_dead_ = false;      // answered or reset: request events go nowhere
  uint8_t request_pauses_ = 0;
  const http::CodecError* malformed_ = nullptr;

  // Response side.
  http::ResponseHead* response_ = nullptr;
  http::HeaderMap* response_trailers_ = nullptr;
  bool response_started_ = false;    // a head began its walk
  bool terminal_muted_ = false;      // a local reply took over; what the terminal still says is dropped
  bool response_sent_ = false;       // a head left to the codec
  bool response_complete_ = false;   // the last byte left to the codec
  bool response_blocked_ = false;    // the codec said full
  bool response_held_full_ = false;  // a holding filter has enough
  bool bypass_hooks_ = false;        // a reply of the response side
  bool response_room_ = false;
  BodySource* source_ = nullptr;
  uint8_t replies_ = 0;  // local replies so far

  // Chain.
  const HttpChain* chain_ = nullptr;
  char* state_ = nullptr;
  Terminal* terminal_ = nullptr;
  Stage* request_stages_ = nullptr;
  Stage* response_stages_ = nullptr;
  uint64_t off_ = 0;                  // filters that the route disables, a bit each
  bool request_at_terminal_ = false;  // the head got there: no restart any more
  bool request_bytes_left_ = false;
  Resume* resumes_ = nullptr;
  Resume** resumes_end_ = &resumes_;
  uint32_t slot_ = ~0u;  // for handles; made on first use
  uint8_t restarts_ = 0;

  const config::CompiledRoute* route_ = nullptr;
  bool route_matched_ = false;
  config::PartRef<config::RouteTable> route_pin_;

  bool ended_ = false;  // onEnd came
  bool finishing_ = false;
  http::ResetReason end_reason_ = http::ResetReason::kNone;
  stream::StreamInfo info_;
};

}  // namespace outrider::filter
