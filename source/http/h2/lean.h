// A client and a server codec that exchange the same request and answer for ever, with sinks that allocate nothing themselves:
// for counting what the codecs cost.
// Thread: one. Units: bytes.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "source/http/h2/client_codec.h"
#include "source/http/h2/server_codec.h"

namespace outrider::http::h2::testing {

class LeanPair final : private ServerCodecSink, private ClientCodecSink {
 public:
  LeanPair(size_t in_flight, size_t body, const Settings& settings = {})
      : in_flight_(in_flight),
        body_(body, 'b'),
        length_(std::to_string(body)),
        server_(settings, server_counters_, *this, now_),
        client_(settings, client_counters_, *this, now_) {
    calls_.resize(in_flight);
    exchanges_.resize(in_flight);
    shuttle();
    if (client_.freeStreams() < in_flight) std::abort();
  }

  // `in_flight` requests at once, and every answer.
  void round() {
    ended_ = begun_ = 0;
    for (Call& call : calls_) start(call);
    while (ended_ < 2 * in_flight_) shuttle();
    shuttle();  // settings, windows
  }

 private:
  struct Exchange final : RequestSink {
    base::Arena& arena() override { return *memory; }
    void onRequestHead(RequestHead& head, bool last) override {
      if (!last || head.headers.count() != 10) std::abort();
    }
    void onRequestData(base::Buffer& data, bool) override { data.clear(); }
    void onRequestTrailers(HeaderMap&) override {}
    void onMalformed(const CodecError&) override { std::abort(); }
    void onRoom() override {}
    void onEnd(ResetReason reason) override {
      if (reason != ResetReason::kNone) std::abort();
      memory->unref();
      ++*ended;
    }
    ServerStream* stream = nullptr;
    base::Arena* memory = nullptr;
    size_t* ended = nullptr;
  };
  struct Call final : ResponseSink {
    base::Arena& arena() override { return *memory; }
    void onInformational(ResponseHead&) override {}
    void onResponseHead(ResponseHead& head, bool) override {
      if (head.status != 200 || head.headers.count() != 8) std::abort();
    }
    void onResponseData(base::Buffer& data, bool) override {
      received += data.size();
      data.clear();
    }
    void onResponseTrailers(HeaderMap&) override {}
    void onRoom() override {}
    void onEnd(ResetReason reason, std::string_view) override {
      if (reason != ResetReason::kNone || received != expected) std::abort();
      memory->unref();
      ++*ended;
    }
    base::Arena* memory = nullptr;
    size_t received = 0, expected = 0;
    size_t* ended = nullptr;
  };

  RequestSink& onNewStream(ServerStream& stream) override {
    Exchange& exchange = exchanges_.at(begun_++);
    exchange.stream = &stream;
    exchange.memory = base::Arena::create();
    exchange.ended = &ended_;
    return exchange;
  }
  void onOutput() override {}
  void onWantFeed() override { want_feed_ = true; }
  void onIdle() override {}
  void onStreamDone() override {}
  void onGoAway() override {}
  void onCapacity() override {}
  void onConnectionError(std::string_view) override { std::abort(); }

  // Ten fields, as a browser or a mesh client sends.
  void start(Call& call) {
    call.memory = base::Arena::create();
    call.received = 0;
    call.expected = body_.size();
    call.ended = &ended_;
    ClientStream& stream = client_.newStream(call);
    RequestHead head(*call.memory);
    head.method = "GET";
    head.scheme = "http";
    head.authority = "shop.example.test:8080";
    head.path = "/api/v1/items/42?fields=name,price";
    head.headers.add("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36");
    head.headers.add("accept", "text/html,application/xhtml+xml,application/xml;q=0.9");
    head.headers.add("accept-encoding", "gzip, deflate, br");
    head.headers.add("accept-language", "en-GB,en;q=0.5");
    head.headers.add("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark");
    head.headers.add(HeaderId::kRequestId, "6a2f1c0e-7b1d-4a51-9c40-1d7c0c6f2a10");
    head.headers.add("x-forwarded-for", "10.1.2.3");
    head.headers.add("x-forwarded-proto", "http");
    head.headers.add("cache-control", "no-cache");
    head.headers.add("x-tenant", "blue");
    stream.sendHead(head, true);
  }
  void answer(Exchange& exchange) {
    ResponseHead head(*exchange.memory);
    head.status = 200;
    head.headers.add("server", "nginx/1.22.1");
    head.headers.add("date", "Wed, 25 Nov 2026 20:00:00 GMT");
    head.headers.add("content-type", "application/json");
    head.headers.add(HeaderId::kContentLength, length_);
    head.headers.add("last-modified", "Wed, 25 Nov 2026 19:00:00 GMT");
    head.headers.add("etag", "\"6565f0a0-400\"");
    head.headers.add("cache-control", "max-age=60");
    head.headers.add("vary", "Accept-Encoding");
    exchange.stream->sendHead(head, body_.empty());
    if (body_.empty()) return;
    scratch_.append(std::string_view(body_));
    (void)exchange.stream->sendData(scratch_, true);
  }
  void shuttle() {
    const size_t known = begun_;
    client_.fill(to_server_);
    server_.feed(to_server_);
    for (size_t i = known; i < begun_; ++i) answer(exchanges_[i]);
    server_.fill(to_client_);
    client_.feed(to_client_);
    if (!want_feed_) return;
    want_feed_ = false;
    server_.feed(to_server_);
    client_.feed(to_client_);
  }

  const size_t in_flight_;
  const std::string body_, length_;
  base::Nanos now_ = base::kSecond;
  Counters server_counters_, client_counters_;
  ServerCodec server_;
  ClientCodec client_;
  std::vector<Call> calls_;
  std::vector<Exchange> exchanges_;
  size_t begun_ = 0, ended_ = 0;
  bool want_feed_ = false;
  base::Buffer to_server_, to_client_, scratch_;
};

}  // namespace outrider::http::h2::testing
