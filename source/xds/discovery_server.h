// Serves the resources of a folder's files to any client of xDS: ADS and the services of the single types, state of the world and
// delta, over gRPC without TLS. A change of a file is served at once, in the order that leaves no gap (served_node.h); what did not
// change keeps its version.
// Thread: main; gRPC's threads only hand bytes over. Lifetime: stop() and its `stopped` come before the destructor, once started.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "source/event/loop.h"

namespace outrider::xds {

class DiscoveryServer final {
 public:
  // `say` gets one line for each ACK, NACK, late answer and reload, and for each problem of a file.
  DiscoveryServer(event::Loop& loop, std::string folder, std::function<void(const std::string& line)> say);
  ~DiscoveryServer();
  DiscoveryServer(const DiscoveryServer&) = delete;
  DiscoveryServer& operator=(const DiscoveryServer&) = delete;

  absl::StatusOr<int> start(const std::string& address);  // "127.0.0.1:0"; the port
  void stop(std::function<void()> stopped);               // ends all streams; `stopped` comes from the loop
  size_t resourceCount() const;

 private:
  class Plane;
  const std::unique_ptr<Plane> plane_;
};

}  // namespace outrider::xds
