// The hosts of an ORIGINAL_DST cluster as one worker knows them: made when a request for their address comes, dropped when none came
// for a while.
// Thread: the worker. Lifetime: of its Cluster. Source: Envoy docs "service_discovery" (original destination).
#pragma once

#include <functional>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "source/config/cluster_spec.h"
#include "source/event/loop.h"
#include "source/http/head.h"
#include "source/stream/stream_info.h"
#include "source/upstream/host.h"

namespace outrider::upstream {

class Destinations final {
 public:
  // `dropped`: told of each host that is forgotten, so that its connections go.
  Destinations(event::Loop& loop, base::Nanos cleanup, std::function<void(const Host&)> dropped);

  const Host& at(const base::Address& address);
  size_t size() const { return hosts_.size(); }

 private:
  struct Hash {
    size_t operator()(const base::Address& address) const { return address.hash(); }
  };
  struct Known {
    HostRef host;
    bool used;  // since the last sweep
  };
  void sweep();

  const base::Nanos cleanup_;
  const std::function<void(const Host&)> dropped_;
  absl::flat_hash_map<base::Address, Known, Hash> hosts_;
  event::Timer sweep_;
};

// Where a request or a connection wanted to go, as the cluster looks for it: in a header of the request, if there is one, else where the
// client connected to before it was redirected here. `invalid`: the header names no address.
std::optional<base::Address> originalDestination(const config::OriginalDstSpec& spec, const http::RequestHead* head,
                                                 const stream::ConnectionInfo* connection, bool& invalid);

}  // namespace outrider::upstream
