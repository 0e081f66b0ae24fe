// xDS streams over gRPC C++: framing and streaming only; back-off, node and acknowledgement are the session's.
//
// envoy_grpc: HTTP/2 over one end of a socketpair that a Relay joins to an ordinary connection of the named cluster.
// google_grpc: a channel of gRPC's own. Every stream has its own channel and connection.
// Thread: main; gRPC's threads only hand bytes over through the loop's mailbox. Lifetime: the destructor waits until gRPC is done
// with every call (its streams are destroyed before, which cancels them). The loop outlives it.
#pragma once

#include <memory>
#include <string_view>

#include "source/event/loop.h"
#include "source/xds/relay.h"
#include "source/xds/target.h"
#include "source/xds/transport.h"

namespace outrider::xds {

class GrpcTransport final : public Transport {
 public:
  GrpcTransport(event::Loop& loop, Target target, Dialer dialer);
  ~GrpcTransport() override;
  std::unique_ptr<Stream> open(std::string_view method, StreamSink& sink) override;

  struct Calls;  // those that gRPC still has

 private:
  event::Loop& loop_;
  const Target target_;
  const Dialer dialer_;
  const std::shared_ptr<Calls> calls_;
};

}  // namespace outrider::xds
