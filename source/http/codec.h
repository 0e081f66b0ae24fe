// The seam between HTTP and its wire forms. A codec eats a buffer and fills a buffer; it does no I/O (DATA-PLANE, principle 4).
//
// Thread: the connection's worker. Lifetime: a codec belongs to its connection's protocol object and dies with it.
// Downward calls (on codecs and streams) return answers and never call a sink of the same stream before they return, with two
// exceptions: a codec sink's onOutput() and onWantFeed(), which only mark. Upward events may record, queue and mark: they must
// not call back into the codec that emits them. What they cause runs later in the same loop turn (event::Deferred).
//
// One exchange has two objects: the codec's Stream (downward) and the owner's sink (upward). Its end is one event: onEnd(reason)
// after both halves are done and their bytes are in the connection's buffer, or after a reset. After onEnd, and after the owner
// itself called reset(), neither side touches the other again.
#pragma once

#include <cstdint>
#include <string_view>

#include "source/base/arena.h"
#include "source/base/buffer.h"
#include "source/http/head.h"

namespace outrider::http {

enum class Room : uint8_t { kMore, kFull };  // kFull asks the writer to pause until onRoom()

enum class ResetReason : uint8_t {
  kNone,              // ended cleanly
  kLocal,             // we gave up on it
  kRemoteReset,       // RST_STREAM from the peer
  kRemoteRefused,     // REFUSED_STREAM or GOAWAY below our id: the peer did not process it
  kConnectionClosed,  // the connection ended under it
  kProtocolError,     // the peer broke the protocol
  kOverflow,          // a limit on heads or frames
  kConnectFailure,    // never had a connection (pool)
  kConnectTimeout,
  kPoolOverflow,  // circuit breaker
  kTimeout,
};

// What a codec found wrong with what a peer sent. `details` is static text in Envoy's words ("http1.codec_error").
struct CodecError {
  uint16_t status = 400;  // what a server would answer; 502 on the client side
  std::string_view details;
  bool answered = false;  // the codec ends the stream by itself: the event is for the log
};

// ---- Server side (downstream) ----

class RequestSink {
 public:
  virtual base::Arena& arena() = 0;  // where the codec puts the head and its own stream object
  virtual void onRequestHead(RequestHead& head, bool last) = 0;
  virtual void onRequestData(base::Buffer& data, bool last) = 0;  // takes all of `data`
  virtual void onRequestTrailers(HeaderMap& trailers) = 0;        // is the end
  // The message broke the rules. H1: nothing more will be read; answer with error.status if no head went out yet, the codec
  // closes behind it. H2 resets malformed streams itself (onEnd with kProtocolError follows); the event is for the log.
  virtual void onMalformed(const CodecError& error) = 0;
  virtual void onRoom() = 0;                   // sendData may go on
  virtual void onEnd(ResetReason reason) = 0;  // the last event

 protected:
  ~RequestSink() = default;
};

class ServerStream {
 public:
  virtual void sendInformational(const ResponseHead& head) = 0;  // 100, 102, 103
  // Heads are encoded at once or pin the arena: the caller may change the head object after the call, not its bytes.
  virtual void sendHead(const ResponseHead& head, bool last) = 0;
  virtual Room sendData(base::Buffer& data, bool last) = 0;  // takes all of `data`
  virtual void sendTrailers(const HeaderMap& trailers) = 0;
  virtual void reset(ResetReason reason) = 0;  // H1: the connection closes
  virtual void pause(bool on) = 0;             // stop delivering request body; h1 stops eating, h2 withholds window
  virtual uint64_t bytesIn() const = 0;        // body bytes received
  virtual uint32_t id() const = 0;             // H2 stream id, H1: count on this connection

 protected:
  ~ServerStream() = default;
};

class ServerCodecSink {
 public:
  // A message begins (H1: its head is complete; H2: HEADERS came). Never refuses; the limits are the codec's.
  virtual RequestSink& onNewStream(ServerStream& stream) = 0;
  virtual void onOutput() = 0;    // bytes to write: put the connection on the dirty list
  virtual void onWantFeed() = 0;  // feed() again before the next wait: it left bytes behind that can be eaten now
  virtual void onIdle() = 0;      // no stream is open any more
  // The connection broke the protocol as a whole (`details` as in CodecError); finished() is true.
  virtual void onConnectionError(std::string_view details) = 0;

 protected:
  ~ServerCodecSink() = default;
};

enum class Feed : uint8_t {
  kMore,     // everything usable is eaten
  kPaused,   // bytes were left on purpose (pipelined request, paused body); onWantFeed() will come
  kFinished  // nothing more will be read; write what is out, then close
};

class ServerCodec {
 public:
  virtual ~ServerCodec() = default;
  virtual Protocol protocol() const = 0;
  virtual Feed feed(base::Buffer& in) = 0;
  // The client half-closed: no new bytes come, and feed() only after onWantFeed(). H1: complete requests are still answered.
  // H2: a client that can neither acknowledge nor open windows has left; every stream ends with kConnectionClosed.
  virtual void onPeerFinished() = 0;
  virtual void fill(base::Buffer& out) = 0;  // moves what may be written now (h1 already wrote to `out`)
  virtual void onOutputDrained() = 0;        // the connection's out buffer fell below half: streams get onRoom()
  // Graceful: H1 answers `connection: close` from now on; H2 sends GOAWAY(last id) and finishes open streams.
  virtual void drain() = 0;
  // H2: GOAWAY with 2^31-1 first, so that requests under way are not lost. H1: as drain() without deadline.
  virtual void announceDrain() = 0;
  virtual void resetAll(ResetReason reason) = 0;  // the connection is gone: onEnd(reason) for every open stream
  virtual bool finished() const = 0;              // close once `out` is written
  // Half-close once `out` is written: an H1 tunnel's way out is at its end while its way in goes on.
  virtual bool outputFinished() const { return false; }
  // With finished(): the client announced that its last request was the last, and that request was read to its end. The
  // connection need not wait for the client's FIN.
  virtual bool clientIsDone() const { return false; }
  virtual size_t openStreams() const = 0;
};

// ---- Client side (upstream) ----

class ResponseSink {
 public:
  virtual base::Arena& arena() = 0;
  virtual void onInformational(ResponseHead& head) = 0;  // 1xx but 101
  virtual void onResponseHead(ResponseHead& head, bool last) = 0;
  virtual void onResponseData(base::Buffer& data, bool last) = 0;  // takes all of `data`
  virtual void onResponseTrailers(HeaderMap& trailers) = 0;        // is the end
  virtual void onRoom() = 0;
  // The last event. `details` is static text, empty unless the peer broke the protocol.
  virtual void onEnd(ResetReason reason, std::string_view details) = 0;

 protected:
  ~ResponseSink() = default;
};

class ClientStream {
 public:
  virtual void sendHead(const RequestHead& head, bool last) = 0;
  virtual Room sendData(base::Buffer& data, bool last) = 0;
  virtual void sendTrailers(const HeaderMap& trailers) = 0;
  virtual void reset(ResetReason reason) = 0;
  virtual void pause(bool on) = 0;

 protected:
  ~ClientStream() = default;
};

class ClientCodecSink {
 public:
  virtual void onOutput() = 0;
  virtual void onWantFeed() = 0;
  virtual void onStreamDone() = 0;  // a stream ended: freeStreams() may have grown, or the codec is finished()
  virtual void onGoAway() = 0;      // no new streams; open ones go on
  virtual void onCapacity() = 0;    // the peer's SETTINGS changed freeStreams()
  virtual void onConnectionError(std::string_view details) = 0;

 protected:
  ~ClientCodecSink() = default;
};

class ClientCodec {
 public:
  virtual ~ClientCodec() = default;
  virtual Protocol protocol() const = 0;
  virtual ClientStream& newStream(ResponseSink& sink) = 0;  // freeStreams() > 0
  virtual Feed feed(base::Buffer& in) = 0;
  virtual void onPeerFinished() = 0;  // H1: may be the end of a body without length
  virtual void fill(base::Buffer& out) = 0;
  virtual void onOutputDrained() = 0;
  virtual void drain() = 0;  // H2: GOAWAY(NO_ERROR)
  virtual void resetAll(ResetReason reason) = 0;
  virtual bool finished() const = 0;                     // unusable: close once `out` is written and no stream is open
  virtual bool outputFinished() const { return false; }  // as on the server side
  virtual size_t openStreams() const = 0;
  virtual size_t freeStreams() const = 0;  // how many more streams may open now (H1: 0 or 1)
};

}  // namespace outrider::http
