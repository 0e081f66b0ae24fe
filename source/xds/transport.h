// The seam between an xDS session and what carries its stream: gRPC C++ (grpc_transport.h), or the tests' scripted server.
// Thread: main. Messages are serialized DiscoveryRequest / DiscoveryResponse or their delta forms.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace outrider::xds {

// Events come from the loop, never from within open() or send(). The sink may destroy the stream within an event.
class StreamSink {
 public:
  virtual void onStreamOpen() = 0;  // the server is reached; at most once
  virtual void onStreamMessage(std::string bytes) = 0;
  virtual void onStreamClosed(int grpc_status, std::string_view message) = 0;  // the last event

 protected:
  ~StreamSink() = default;
};

// One bidirectional stream. Destroying it cancels the call; no event comes after.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void send(std::string bytes) = 0;
  // The last message was taken. One at a time is in memory: the next comes after this.
  virtual void next() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // `method`: "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources". Never null: what goes wrong comes
  // as onStreamClosed. `sink` outlives the stream.
  virtual std::unique_ptr<Stream> open(std::string_view method, StreamSink& sink) = 0;
};

}  // namespace outrider::xds
