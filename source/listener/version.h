// One version of a listener: an immutable value made off the workers, with its chains, its matcher and what it waits for.
// Thread: any. Lifetime: shared by main and the workers; chains that are equal in two versions are the same ChainPart.
// Source: envoy.config.listener.v3.Listener.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "source/base/address.h"
#include "source/base/clock.h"
#include "source/filter/listener.h"
#include "source/filter/network.h"
#include "source/listener/filter_chain_match.h"
#include "source/listener/stats.h"
#include "source/net/listen_socket.h"

namespace outrider::accesslog {
class AccessLog;
}

namespace outrider::listener {

enum class TrafficDirection : uint8_t { kUnspecified, kInbound, kOutbound };

struct ListenerVersion {
  std::string name;
  std::vector<base::Address> addresses;             // the main one first
  net::ListenOptions options;
  bool bind_to_port = true;
  TrafficDirection direction = TrafficDirection::kUnspecified;
  uint32_t most_accepts = 16;                       // a turn
  base::Nanos first_bytes_timeout = 15 * base::kSecond;   // listener_filters_timeout; 0: none
  bool continue_on_timeout = false;
  std::vector<std::shared_ptr<const filter::ListenerFilterFactory>> listener_filters;

  struct Chain {
    ChainMatchSpec match;
    std::shared_ptr<const filter::ChainPart> part;
    uint64_t hash = 0;                              // of the chain's config: equal means the same
  };
  std::vector<Chain> chains;                        // the default chain, if any, is the last one
  int default_chain = ChainMatcher::kNoChain;
  ChainMatcher matcher;
  std::vector<std::shared_ptr<const accesslog::AccessLog>> access_logs;   // connections without a chain, mostly
  ListenerStats stats;
};
using ListenerVersionRef = std::shared_ptr<const ListenerVersion>;

}  // namespace outrider::listener
