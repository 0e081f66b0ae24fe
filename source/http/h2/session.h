// What both ends of an HTTP/2 connection share: nghttp2 without I/O, bodies as slices, our own flow control, the guards.
//
// Thread: the connection's worker. Lifetime: a Session belongs to its codec; a Stream to its Session, until the owner has heard
// (or said) the end, nghttp2 has forgotten it, and no frame that reads its arena is still to be sent.
// Flow control: window goes back for bytes that a sink took, at half a window, and not while the stream is paused. The same
// bytes hold back the connection's window, so what a peer can make us keep is bounded by that window.
// Source: RFC 9113, 9110, 8441; nghttp2 1.52. Units: bytes, nanoseconds.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <nghttp2/nghttp2.h>

#include "source/base/arena.h"
#include "source/base/buffer.h"
#include "source/base/clock.h"
#include "source/base/intrusive_list.h"
#include "source/http/codec.h"
#include "source/http/h2/budget.h"
#include "source/http/h2/settings.h"
#include "source/http/pipe.h"

namespace outrider::http::h2 {

class Session;

// Details of an end with kRemoteRefused: what makes it safe to send the request again (RFC 9113 8.7).
inline constexpr std::string_view kRefused = "http2.remote_refuse";       // RST_STREAM(REFUSED_STREAM)
inline constexpr std::string_view kNotProcessed = "http2.not_processed";  // above the last stream of a GOAWAY, or never sent

// The owner's PING came back.
class PingSink {
 public:
  virtual void onPingAck() = 0;

 protected:
  ~PingSink() = default;
};

struct OpenTag;
struct ReadyTag;
struct RoomTag;
struct CreditTag;

// One exchange, without its direction.
class Stream : public base::TaggedNode<OpenTag>,     // every stream of the session
               public base::TaggedNode<ReadyTag>,    // has something to deliver
               public base::TaggedNode<RoomTag>,     // owes its writer an onRoom()
               public base::TaggedNode<CreditTag> {  // owes the peer window
 public:
  Stream(Session& session, int32_t id);
  virtual ~Stream();
  static void* operator new(size_t size);
  static void operator delete(void* at);

 protected:
  friend class Session;
  friend struct Callbacks;

  // What the peer sent. A field's answer: false and the message is malformed.
  enum class Field : uint8_t { kKeep, kMalformed, kRejected };
  virtual Field onField(std::string_view name, std::string_view value, bool static_name, bool static_value) = 0;
  virtual void onBlockBegins() = 0;                       // HEADERS came: head, informational or trailers
  virtual bool onBlockEnds(bool last) = 0;                // false: malformed
  virtual void onOverflow(std::string_view details) = 0;  // the block was over a limit; it has just ended
  // Upward.
  virtual void emitData(base::Buffer& data, bool last) = 0;
  virtual void emitTrailers(HeaderMap& trailers) = 0;
  virtual void emitRoom() = 0;
  virtual void emitMalformed(std::string_view details) = 0;
  virtual void emitEnd(ResetReason reason, std::string_view details) = 0;
  virtual bool keepsRequestOpen() const { return true; }  // server: no RST_STREAM after an early response

  // Downward, for both directions.
  Room sendBody(base::Buffer& data, bool last);
  void sendTrailerFields(const HeaderMap& trailers);
  void resetWith(uint32_t code);  // the owner gave up: silence from here
  void setPaused(bool on);

  // Shared field work: limits, underscores, cookies, into `map`.
  Field keepField(HeaderMap& map, std::string_view name, std::string_view value, bool static_name, bool static_value, bool trailer);
  void joinCookies(HeaderMap& map);

  bool ownerGone() const { return told_; }

  Session& session_;
  int32_t id_;
  base::Arena* arena_ = nullptr;  // one reference, from the first use until this object dies
  base::Nanos born_;

  // Outbound.
  Pipe out_;
  nghttp2_nv* trailers_out_ = nullptr;  // in the arena; submitted when the body is out
  uint32_t trailers_out_count_ = 0;
  uint32_t pins_ = 0;  // HEADERS frames that nghttp2 may still read from the arena
  bool head_sent_ = false;
  bool waiting_data_ = false;  // nghttp2 was told to come back when there is data
  bool local_done_ = false;    // END_STREAM is on the wire

  // Inbound.
  base::Buffer in_;  // arrived, not delivered
  HeaderMap* trailers_in_ = nullptr;
  size_t uncredited_ = 0;  // delivered bytes whose window the peer has not got back
  uint64_t body_bytes_ = 0;
  uint32_t block_bytes_ = 0;
  uint32_t block_count_ = 0;
  struct Crumb {
    Crumb* next;
    std::string_view value;
  };
  Crumb* crumbs_ = nullptr;  // cookies after the first
  Crumb* last_crumb_ = nullptr;
  size_t crumb_bytes_ = 0;
  std::string_view block_fault_;  // over a limit: the rest of the block is decoded and dropped
  bool head_done_ = false;        // the final head was delivered
  bool block_open_ = false;       // between HEADERS and END_HEADERS
  bool remote_done_ = false;      // END_STREAM came
  bool last_told_ = false;        // the sink knows that
  bool paused_ = false;

  // The end.
  bool told_ = false;    // the owner heard the end, or said it
  bool closed_ = false;  // nghttp2 has forgotten the stream
  bool remote_reset_ = false;
  bool owner_reset_ = false;
  bool excused_ = false;   // a reset of ours that is no fault of the peer
  bool farewell_ = false;  // the owner left behind a complete response: it goes out first
  bool unsent_ = false;    // client: the request never left
  uint32_t remote_code_ = 0;
  uint32_t late_code_ = 0;
  ResetReason reason_ = ResetReason::kNone;
  std::string_view details_;
};

class Session {
 public:
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void setPingSink(PingSink* sink) { ping_sink_ = sink; }
  void sendPing();                // its answer is PingSink::onPingAck()
  size_t outboundFrames() const;  // queued in nghttp2

  static constexpr size_t kOutBudget = 128 * 1024;  // fill() stops here and asks to be called again

 protected:
  friend class Stream;
  friend struct Callbacks;

  Session(const Settings& settings, Counters& counters, const base::Nanos& now, bool server);
  virtual ~Session();

  virtual Stream* newInbound(int32_t id) = 0;  // server: HEADERS of a new stream; null on the client
  virtual void emitOutput() = 0;
  virtual void emitWantFeed() = 0;
  virtual void emitConnectionError(std::string_view details) = 0;
  virtual void onStreamGone() = 0;  // a stream's owner is done with it
  virtual void onSlotFree() = 0;    // nghttp2 forgot a stream
  virtual void onPeerSettings() = 0;
  virtual void onPeerGoAway() = 0;

  Feed feedBytes(base::Buffer& in);
  void fillBytes(base::Buffer& out);
  void outputDrained();
  void endAll(ResetReason reason);  // and nothing goes on after it
  void goAway(bool notice);
  bool done() const;
  bool broken() const { return dead_ || !failure_.empty(); }

  // Adds a head to the queue and pins the arena. False when nghttp2 refused (the stream is gone).
  bool submitHead(Stream& stream, std::span<nghttp2_nv> fields, bool last, bool informational);
  // Client: opens the stream.
  bool submitRequest(Stream& stream, std::span<nghttp2_nv> fields, bool last);
  void submitReset(Stream& stream, uint32_t code);
  void malformed(Stream& stream, std::string_view details);
  void fail(uint32_t code, std::string_view details, uint64_t* counter);
  void adopt(Stream& stream) {
    streams_.pushBack(stream);
    ++open_;
  }
  void markReady(Stream& stream);
  uint32_t remoteSetting(int32_t id) const;
  uint32_t nextStreamId() const;
  void endSoon(Stream& stream);  // client: a request that could not be sent; onEnd() comes with the next fill()
  void settleGone();

  const Settings settings_;
  Counters& counters_;
  const base::Nanos& now_;
  const bool server_;
  nghttp2_session* session_ = nullptr;
  size_t open_ = 0;   // streams whose owner is not done
  size_t alive_ = 0;  // streams that nghttp2 holds (or will, once the request is sent)
  bool peer_finished_ = false;
  bool gone_ = false;  // onStreamGone() is owed

 private:
  void submitSettings();
  void deliver(Stream& stream);
  void deliverReady();
  void endStream(Stream& stream, ResetReason reason, std::string_view details);
  void closeStream(Stream& stream, uint32_t code);
  void creditStreams();
  void dropInbound(Stream& stream);  // gives its window back to the connection
  void unpin(int32_t id, Stream* stream);
  void release(Stream& stream);  // destroys it if nobody needs it
  std::string_view patchSettings(std::string_view frame, char* to);
  bool countFrame(uint8_t type, uint8_t flags, size_t length, int32_t id);
  void checkOrder(int32_t id);
  // What scanFrames() found: bytes for nghttp2 (some held back earlier, then some of this slice), and what to do behind them.
  struct Scan {
    enum class Event : uint8_t { kNone, kClosed, kDependsOnItself, kGoAway };
    char held[9] = {};
    size_t held_size = 0;
    size_t feed = 0;
    size_t consumed = 0;
    Event event = Event::kNone;
    int32_t id = 0;
  };
  Scan scanFrames(std::string_view bytes);
  void act(const Scan& scan);
  bool endedByPeer(int32_t id) const;
  void eat(std::string_view bytes);
  void countRefusal();
  void countEmpty(bool empty);
  void localDone(Stream& stream);
  void settle();  // failures and owed events, at the end of feed() and fill()
  void chargeReset();
  void glitch();

  PingSink* ping_sink_ = nullptr;
  base::IntrusiveList<Stream, OpenTag> streams_;
  base::IntrusiveList<Stream, ReadyTag> ready_;
  base::IntrusiveList<Stream, RoomTag> relieved_;
  base::IntrusiveList<Stream, CreditTag> credits_;
  base::IntrusiveList<Stream, RoomTag> unsendable_;
  base::IntrusiveList<Stream, RoomTag> late_resets_;  // server: what they said so far goes out first
  base::Buffer* out_ = nullptr;                       // during fill()
  Stream* block_stream_ = nullptr;                    // whose head was decoded last
  const base::Slice* feeding_ = nullptr;              // during feed(): the slice that nghttp2 reads

  std::string_view failure_;  // why the connection is over
  uint32_t failure_code_ = 0;
  bool failure_told_ = false;
  bool dead_ = false;  // no more I/O at all
  bool settings_out_ = false;

  uint32_t empty_frames_ = 0;  // in a row
  uint64_t priority_frames_ = 0;
  uint64_t window_updates_ = 0;
  uint64_t streams_seen_ = 0;
  uint64_t data_frames_out_ = 0;
  bool sent_since_ping_ = false;
  struct Skipped {
    int32_t from = 0, to = 0;
  };
  Skipped skipped_[4];  // the last ranges of ids that the peer left out
  uint32_t skips_ = 0;
  int32_t last_inbound_id_ = 0;
  int32_t ended_by_peer_[16] = {};  // the last streams whose end the peer said
  uint32_t ended_by_peer_count_ = 0;
  uint32_t scan_left_ = 24;  // server: bytes of the preface or a frame that scanFrames() passes over
  uint32_t scan_have_ = 0;
  size_t skip_left_ = 0;  // server: bytes of a GOAWAY frame that nghttp2 does not see
  char scan_[14] = {};    // a frame's head, and what a PRIORITY frame says
  Budget resets_;
  Budget pings_;
  Budget peer_settings_;
  Budget glitches_;
  Budget refusals_;
};

}  // namespace outrider::http::h2
