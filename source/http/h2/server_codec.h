// The server's end of HTTP/2 (http/codec.h): requests in, responses out.
//
// Thread: the connection's worker. Lifetime: `sink`, `counters` and `now` outlive the codec. `now` is the loop's reading of the
// monotonic clock. All output appears in fill(); the first fill() brings our SETTINGS. feed() may be called with an empty buffer.
//
// What differs from the seam's common words:
// - A malformed request is reset here: onMalformed(), then onEnd(kProtocolError); nothing is answered. A head over a limit is
//   answered here with 431 and RST_STREAM(NO_ERROR): onMalformed(431), then onEnd(kOverflow).
// - A response that ends before its request ends the exchange with RST_STREAM(NO_ERROR), except tunnels and gRPC, whose
//   request side stays open until it ends or the owner resets it (kNone sends NO_ERROR).
// - Extended CONNECT (RFC 8441, if allowed) is a head with method CONNECT, a path and `upgrade` set. A 101 is sent as 200.
#pragma once

#include "source/http/codec.h"
#include "source/http/h2/session.h"

namespace outrider::http::h2 {

class ServerCodec final : public http::ServerCodec, public Session {
 public:
  ServerCodec(const Settings& settings, Counters& counters, ServerCodecSink& sink, const base::Nanos& now);
  ServerCodec(const Settings&, Counters&, ServerCodecSink&, base::Nanos&&) = delete;  // `now` is read later
  ~ServerCodec() override;

  Protocol protocol() const override { return Protocol::kHttp2; }
  Feed feed(base::Buffer& in) override { return feedBytes(in); }
  void onPeerFinished() override;
  void fill(base::Buffer& out) override { fillBytes(out); }
  void onOutputDrained() override { outputDrained(); }
  void drain() override { goAway(false); }
  void announceDrain() override { goAway(true); }
  void resetAll(ResetReason reason) override { endAll(reason); }
  bool finished() const override { return done(); }
  size_t openStreams() const override { return open_; }

 private:
  class Exchange;

  Stream* newInbound(int32_t id) override;
  void emitOutput() override { sink_.onOutput(); }
  void emitWantFeed() override { sink_.onWantFeed(); }
  void emitConnectionError(std::string_view details) override { sink_.onConnectionError(details); }
  void onStreamGone() override {
    if (open_ == 0) sink_.onIdle();
  }
  void onSlotFree() override {}
  void onPeerSettings() override {}
  void onPeerGoAway() override {}

  ServerCodecSink& sink_;
};

}  // namespace outrider::http::h2
