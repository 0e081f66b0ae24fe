// Makes a connection to a host as its cluster says: source address, keep-alive, transport, connect timeout.
// Thread: the worker. Lifetime: of one call. The connection is not started.
#pragma once

#include <memory>
#include <string>

#include "source/net/connection.h"
#include "source/upstream/cluster_part.h"

namespace outrider::upstream {

// Null: `failure` says why, in Envoy's words.
std::unique_ptr<net::Connection> makeConnection(event::Loop& loop, const ClusterPart& part, const TransportArgs& args,
                                                std::string& failure);

}  // namespace outrider::upstream
