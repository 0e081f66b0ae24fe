// HTTP/1.0 and 1.1 towards a client: one exchange at a time, pipelined requests wait in the connection's buffer.
// Thread: the connection's worker. Lifetime: its connection's; `settings`, `counters`, `sink` and `out` outlive it.
// Writes to `out` at once. An exchange's end is told from the next feed(), which onWantFeed() asks for.
// After an early answer the rest of the request is read away (Settings::drain_limit) or the connection finishes; a rest is never
// parsed as a request. Behind an Upgrade or CONNECT request bytes wait until the answer makes them a tunnel's, or are dropped.
// Sources: RFC 9112; the codec seam in source/http/codec.h.
#pragma once

#include <cstdint>

#include "source/base/buffer.h"
#include "source/http/codec.h"
#include "source/http/h1/body_reader.h"
#include "source/http/h1/encoder.h"
#include "source/http/h1/head_parser.h"
#include "source/http/h1/settings.h"

namespace outrider::http::h1 {

class ServerCodec final : public http::ServerCodec, private http::ServerStream {
 public:
  // `scheme`: what the transport stands for, "http" or "https"; static.
  ServerCodec(const Settings& settings, Counters& counters, ServerCodecSink& sink, base::Buffer& out, std::string_view scheme)
      : settings_(settings), counters_(counters), sink_(sink), out_(out), scheme_(scheme) {
    finder_.start();
  }

  // Nothing is under way and nothing is remembered: a codec made anew when bytes come does the same.
  bool dormant() const {
    return phase_ == Phase::kHead && stream_ == nullptr && !closing_ && !finished_ && !output_finished_ && !input_finished_ &&
           !skipped_empty_line_ && !idle_to_tell_ && !wait_for_output_ && !in_event_;
  }
  // Codecs come and go with the exchanges of connections that mostly wait.
  static void* operator new(size_t size);
  static void operator delete(void* memory);
  static void trimThisThread();

  Protocol protocol() const override { return protocol_; }
  Feed feed(base::Buffer& in) override;
  void onPeerFinished() override;
  void fill(base::Buffer&) override {}
  void onOutputDrained() override;
  void drain() override;
  void announceDrain() override { closing_ = true; }
  void resetAll(ResetReason reason) override;
  bool finished() const override { return finished_; }
  bool outputFinished() const override { return output_finished_; }
  bool clientIsDone() const override { return client_is_done_; }
  size_t openStreams() const override { return stream_ != nullptr ? 1 : 0; }

 private:
  enum class Phase : uint8_t {
    kHead,    // between requests, or in a head
    kBody,    // in the body of the open request
    kWait,    // the request is complete, its answer is not
    kHold,    // Upgrade or CONNECT: bytes wait for the answer
    kTunnel,  // bytes pass both ways
    kDrain,   // answered early; the rest of the request is read away
    kStop,    // nothing more is read
  };
  enum class Reply : uint8_t { kNone, kBody, kDone };

  // ServerStream
  void sendInformational(const ResponseHead& head) override;
  void sendHead(const ResponseHead& head, bool last) override;
  Room sendData(base::Buffer& data, bool last) override;
  void sendTrailers(const HeaderMap& trailers) override;
  void reset(ResetReason reason) override;
  void pause(bool on) override;
  uint64_t bytesIn() const override { return bytes_in_; }
  uint32_t id() const override { return id_; }

  Feed feedHead(base::Buffer& in, bool& again);
  Feed feedBody(base::Buffer& in, bool& again);
  Feed feedTunnel(base::Buffer& in);
  Feed feedDrain(base::Buffer& in, bool& again);
  bool dropEmptyLine(base::Buffer& in);
  void openStream();
  Feed openMalformed(const CodecError& error);
  void deliverTrailers(base::Buffer& in);
  void endRequest();
  Feed cutShort();
  bool replyFraming(const ResponseHead& head, bool last, bool& zero_length);
  ConnectionLine connectionLine(const ResponseHead& head) const;
  void replied();
  void endExchange(ResetReason reason);
  void stop();
  void wantFeed();

  const Settings& settings_;
  Counters& counters_;
  ServerCodecSink& sink_;
  base::Buffer& out_;
  const std::string_view scheme_;

  // of the connection
  Phase phase_ = Phase::kHead;
  Protocol protocol_ = Protocol::kHttp11;
  bool closing_ = false;  // the next answer is the last
  bool finished_ = false;
  bool output_finished_ = false;  // a tunnel's way to the client is at its end
  bool input_finished_ = false;   // the client half-closed
  bool client_closes_ = false;    // the latest head said that no other follows
  bool client_is_done_ = false;   // and all of that request was read when the answer was complete
  bool skipped_empty_line_ = false;
  bool idle_to_tell_ = false;     // onIdle() is due
  bool wait_for_output_ = false;  // reading stopped at the output limit
  bool in_event_ = false;         // an upward event is under way
  uint32_t id_ = 0;
  uint64_t drained_ = 0;
  HeadFinder finder_;
  BodyReader body_;

  // of the open exchange
  RequestSink* stream_ = nullptr;
  Reply reply_ = Reply::kNone;
  BodyWriter out_body_;
  bool close_after_ = false;
  bool end_due_ = false;  // onEnd() is due
  bool head_request_ = false;
  bool connect_request_ = false;
  bool upgrade_request_ = false;
  bool expects_continue_ = false;  // and got none so far
  bool malformed_ = false;
  bool paused_ = false;
  bool writer_waits_ = false;  // sendData answered kFull
  bool tunnel_in_done_ = false;
  uint64_t bytes_in_ = 0;
};

}  // namespace outrider::http::h1
