// A management server that tests play by hand: it shows every request and sends the responses that a test writes.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "source/xds/transport.h"

namespace outrider::xds {

// What all streams of all transports of a test share.
struct FakeServer {
  struct Call {
    std::string method;
    StreamSink* sink = nullptr;  // null: closed by the client
    std::deque<std::string> requests;
    size_t taken = 0;  // messages after which the client asked for more
  };
  std::vector<std::unique_ptr<Call>> calls;  // every stream that was ever opened

  Call* last() { return calls.empty() ? nullptr : calls.back().get(); }
  size_t open() const {
    size_t count = 0;
    for (const auto& call : calls) count += call->sink != nullptr ? 1 : 0;
    return count;
  }
  void breakStream(int status, std::string_view message) {
    StreamSink* sink = last()->sink;
    sink->onStreamClosed(status, message);
  }
};

class FakeTransport final : public Transport {
 public:
  explicit FakeTransport(FakeServer& server) : server_(server) {}
  std::unique_ptr<Stream> open(std::string_view method, StreamSink& sink) override {
    server_.calls.push_back(std::make_unique<FakeServer::Call>(FakeServer::Call{std::string(method), &sink, {}, 0}));
    return std::make_unique<FakeStream>(*server_.last());
  }

 private:
  class FakeStream final : public Stream {
   public:
    explicit FakeStream(FakeServer::Call& call) : call_(call) {}
    ~FakeStream() override { call_.sink = nullptr; }
    void send(std::string bytes) override { call_.requests.push_back(std::move(bytes)); }
    void next() override { ++call_.taken; }

   private:
    FakeServer::Call& call_;
  };
  FakeServer& server_;
};

}  // namespace outrider::xds
