// The client's end of HTTP/2 (http/codec.h): requests out, responses in.
//
// Thread: the connection's worker. Lifetime: `sink`, `counters` and `now` outlive the codec. All output appears in fill(); the
// first fill() brings the preface and our SETTINGS.
//
// - No request waits inside: freeStreams() says how many may start now, and the caller's pool keeps the others.
// - Streams that the peer did not process (GOAWAY below their id, REFUSED_STREAM, never sent) end with kRemoteRefused.
// - When the connection ends, a response that is all here is still told, even to an owner that paused it.
// - A head with `upgrade` goes out as extended CONNECT (RFC 8441) if the peer offered it, else the exchange ends with
//   kRemoteRefused; a 2xx to it arrives as 101 with an `upgrade` field, as from HTTP/1.
#pragma once

#include "source/http/codec.h"
#include "source/http/h2/session.h"

namespace outrider::http::h2 {

class ClientCodec final : public http::ClientCodec, public Session {
 public:
  ClientCodec(const Settings& settings, Counters& counters, ClientCodecSink& sink, const base::Nanos& now);
  ClientCodec(const Settings&, Counters&, ClientCodecSink&, base::Nanos&&) = delete;  // `now` is read later
  ~ClientCodec() override;

  Protocol protocol() const override { return Protocol::kHttp2; }
  ClientStream& newStream(ResponseSink& sink) override;
  Feed feed(base::Buffer& in) override { return feedBytes(in); }
  void onPeerFinished() override;
  void fill(base::Buffer& out) override;
  void onOutputDrained() override { outputDrained(); }
  void drain() override;
  void resetAll(ResetReason reason) override { endAll(reason); }
  bool finished() const override { return done() || (closing_ && open_ == 0); }
  size_t openStreams() const override { return open_; }
  size_t freeStreams() const override;

  bool peerAllowsConnect() const;  // it offered extended CONNECT
  uint32_t peerStreams() const;    // that it lets us open at once, as far as we know

 private:
  class Exchange;

  Stream* newInbound(int32_t) override { return nullptr; }
  void emitOutput() override { sink_.onOutput(); }
  void emitWantFeed() override { sink_.onWantFeed(); }
  void emitConnectionError(std::string_view details) override { sink_.onConnectionError(details); }
  void onStreamGone() override { sink_.onStreamDone(); }
  void onSlotFree() override { gone_ = true; }
  void onPeerSettings() override { sink_.onCapacity(); }
  void onPeerGoAway() override;

  ClientCodecSink& sink_;
  bool closing_ = false;  // GOAWAY was sent, or is owed, or came
  bool goaway_owed_ = false;
};

}  // namespace outrider::http::h2
