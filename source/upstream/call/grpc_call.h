// A gRPC call of the proxy's own over a cluster: unary, or a stream of messages to the server (and from it). The cluster speaks HTTP/2.
//
// onGrpc() runs alone in the loop: it may do anything to the call, even destroy it. Take messages with next() until it says no,
// then look at ended(). Messages are bytes; who knows their types parses them.
// Thread: the cluster's worker. Lifetime: the owner's; destroying a call cancels it. Source: gRPC over HTTP/2.
#pragma once

#include <string>
#include <string_view>

#include "source/upstream/call/async_call.h"
#include "source/upstream/call/grpc_frames.h"

namespace outrider::upstream {

class GrpcCall;

class GrpcCallOwner {
 public:
  virtual void onGrpc(GrpcCall& call) = 0;

 protected:
  ~GrpcCallOwner() = default;
};

class GrpcCall final : private AsyncCallOwner {
 public:
  struct Options {
    base::Nanos timeout = 0;            // of the whole call, told to the server, too; 0: none
    size_t most_message = 1024 * 1024;  // from the server
    size_t buffer_limit = 64 * 1024;    // of messages that wait to be written: send() answers kFull above it
  };
  GrpcCall(Cluster& cluster, GrpcCallOwner& owner, const Options& options);

  http::RequestHead& head() { return call_.head(); }  // before start(): metadata, authority
  base::Arena& arena() { return call_.arena(); }
  void start(std::string_view path);  // "/package.Service/Method"
  http::Room send(std::string_view message);
  void finish();  // no more messages from here
  void cancel();  // no further onGrpc()

  bool next(base::Buffer& message);                              // the next message from the server; false: none now
  bool answered() const { return call_.response() != nullptr; }  // the server sent its head
  bool ended() const { return ended_; }
  GrpcStatus status() const { return status_; }            // once ended
  const std::string& message() const { return message_; }  // grpc-message, or why there is no status
  bool writable() const { return !ended_ && call_.writable(); }
  const Host* host() const { return call_.host(); }
  bool sent() const { return call_.sent(); }  // it has, or had, a connection

 private:
  void onCall(AsyncCall& call) override;
  void conclude();

  AsyncCall call_;
  GrpcCallOwner& owner_;
  const GrpcReader reader_;
  const base::Nanos timeout_;
  std::string message_;
  GrpcStatus status_ = GrpcStatus::kUnknown;
  bool finished_ = false;
  bool broken_ = false;  // the server's frames are wrong
  bool ended_ = false;
};

}  // namespace outrider::upstream
