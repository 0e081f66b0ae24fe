// HTTP/1.1 towards an upstream: one exchange at a time, the connection is used again only after a clean one.
// Thread: the connection's worker. Lifetime: its connection's; `settings`, `counters`, `sink` and `out` outlive it.
// Writes to `out` at once. Not reusable after: a body without length, `connection: close`, bytes behind a response, an answer
// before the request's end, a refused Upgrade or CONNECT, a reset, a broken rule. Faults of the peer end the exchange with
// kProtocolError and details. Sources: RFC 9112; the codec seam in source/http/codec.h.
#pragma once

#include <cstdint>

#include "source/base/buffer.h"
#include "source/http/codec.h"
#include "source/http/h1/body_reader.h"
#include "source/http/h1/encoder.h"
#include "source/http/h1/head_parser.h"
#include "source/http/h1/settings.h"

namespace outrider::http::h1 {

class ClientCodec final : public http::ClientCodec, private http::ClientStream {
 public:
  ClientCodec(const Settings& settings, Counters& counters, ClientCodecSink& sink, base::Buffer& out)
      : settings_(settings), counters_(counters), sink_(sink), out_(out) {
    finder_.start();
  }

  Protocol protocol() const override { return Protocol::kHttp11; }
  ClientStream& newStream(ResponseSink& sink) override;
  Feed feed(base::Buffer& in) override;
  void onPeerFinished() override;
  void fill(base::Buffer&) override {}
  void onOutputDrained() override;
  void drain() override;
  void resetAll(ResetReason reason) override;
  bool finished() const override { return finished_; }
  bool outputFinished() const override { return output_finished_; }
  size_t openStreams() const override { return stream_ != nullptr ? 1 : 0; }
  size_t freeStreams() const override { return stream_ == nullptr && !finished_ ? 1 : 0; }

 private:
  enum class Phase : uint8_t {
    kIdle,  // no exchange
    kHead,  // waiting for, or in, a response head
    kBody,
    kTunnel,
    kStop,  // nothing more is read
  };
  enum class Request : uint8_t { kNone, kBody, kDone };

  // ClientStream
  void sendHead(const RequestHead& head, bool last) override;
  Room sendData(base::Buffer& data, bool last) override;
  void sendTrailers(const HeaderMap& trailers) override;
  void reset(ResetReason reason) override;
  void pause(bool on) override;

  Feed feedIdle(base::Buffer& in);
  Feed feedHead(base::Buffer& in, bool& again);
  Feed feedBody(base::Buffer& in, bool& again);
  Feed feedTunnel(base::Buffer& in);
  bool deliverTrailers(base::Buffer& in);
  void responseDone(const base::Buffer& in);
  void requestDone();
  Feed broken(const CodecError& error);
  void endExchange(ResetReason reason, std::string_view details);
  void fail();
  void stop();

  const Settings& settings_;
  Counters& counters_;
  ClientCodecSink& sink_;
  base::Buffer& out_;

  // of the connection
  Phase phase_ = Phase::kIdle;
  bool closing_ = false;
  bool finished_ = false;
  bool output_finished_ = false;
  bool input_finished_ = false;
  bool done_to_tell_ = false;  // onStreamDone() is due after a reset
  bool in_event_ = false;
  HeadFinder finder_;
  BodyReader body_;

  // of the open exchange
  ResponseSink* stream_ = nullptr;
  Request request_ = Request::kNone;
  BodyWriter out_body_;
  ResponseContext context_;
  bool reusable_ = false;
  bool paused_ = false;
  bool writer_waits_ = false;
  bool tunnel_in_done_ = false;
  bool failed_ = false;  // our own side cannot go on; told from feed()
  uint32_t informational_ = 0;
};

}  // namespace outrider::http::h1
