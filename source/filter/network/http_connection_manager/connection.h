// One client connection that speaks HTTP: picks the codec, makes the streams, times and counts them, and closes politely.
// Thread: the connection's worker. Lifetime: owned by its NetworkChain; streams never outlive it (they end with onClosed).
#pragma once

#include <memory>
#include <optional>

#include "source/filter/http_stream.h"
#include "source/filter/network/http_connection_manager/config.h"
#include "source/http/h2/keepalive.h"

namespace outrider::filter::network::http_connection_manager {

class HttpServerConnection final : public NetworkFilter, private http::ServerCodecSink, private HttpStreamOwner {
 public:
  HttpServerConnection(const HcmConfig& config, const NetworkContext& context);
  ~HttpServerConnection() override;

  void onConnected() override;
  void onBytes(base::Buffer& in, bool eof) override;
  void onFlush(base::Buffer& out) override;
  void onRoom() override;
  void onClosed(net::CloseReason reason) override;
  void onDrain() override;
  void onConfig(const ChainRef& chain) override;

 private:
  // Of the codec.
  http::RequestSink& onNewStream(http::ServerStream& stream) override;
  void onOutput() override { connection_.markDirty(); }
  void onWantFeed() override;
  void onIdle() override;
  void onConnectionError(std::string_view details) override;

  // Of the streams.
  const Reply* admit(HttpStream& stream, http::RequestHead& head) override;
  void match(HttpStream& stream) override;
  const Reply* afterMatch(HttpStream& stream, http::RequestHead& head) override;
  const HttpChain& chainFor(HttpStream& stream) override { return *static_cast<const HcmConfig*>(stream.ownerData)->chain; }
  void shapeReply(HttpStream& stream, Reply& reply, http::ResponseHead& head) override;
  void finishResponse(HttpStream& stream, http::ResponseHead& head) override;
  bool finishInformational(HttpStream& stream, http::ResponseHead& head) override;
  void onStreamEnd(HttpStream& stream) override;
  WorkerContext& worker() override { return context_.worker; }

  bool chooseCodec(const base::Buffer& in, bool eof);
  void wakeCodec();
  void restCodec();
  void startDrain();
  void closeIfFinished();
  void onTimer();
  void refuseSlowHead();
  void armTimer();
  void foldCounters();

  NetworkContext context_;
  net::Connection& connection_;
  const HcmConfig* config_;
  ChainRef part_;        // pins config_
  ChainRef codec_part_;  // pins the settings that the codec was made with
  struct Http2Side {     // what HTTP/1 connections, of which most wait, do without
    http::h2::Counters counters;
    http::h2::Keepalive keepalive;
  };
  std::unique_ptr<Http2Side> h2_;  // null: HTTP/1. Outlives the codec
  // HTTP/1's exists only while there is something to do: an idle connection keeps `http1_` alone.
  std::unique_ptr<http::ServerCodec> codec_;
  event::Timer timer_;          // the nearest of the deadlines below; checked when it fires
  base::Nanos idle_since_;      // meaningful while no stream is open
  base::Nanos head_since_ = 0;  // H1: bytes of an unfinished head wait since; 0: none
  base::Nanos drain_at_ = 0;    // H2: the second GOAWAY
  uint32_t open_streams_ = 0;
  uint32_t requests_ = 0;
  bool http1_ = false;  // chosen, for good
  bool secure_ = false;
  bool draining_ = false;
  bool closing_ = false;
  bool cut_by_close_ = false;  // the client left an exchange behind
  base::IntrusiveList<HttpStream, HttpStreamTag> streams_;
};

}  // namespace outrider::filter::network::http_connection_manager
