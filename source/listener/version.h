// One version of a listener: an immutable value made off the workers, with its chains, its matcher and what it waits for.
// Thread: any. Lifetime: shared by main and the workers; chains that are equal in two versions are the same ChainPart.
// Source: envoy.config.listener.v3.Listener.
#pragma once

#include <memory>
#include <string>
#include <typeinfo>
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
  std::vector<base::Address> addresses;  // the main one first
  net::ListenOptions options;
  bool bind_to_port = true;
  bool hand_off = false;  // use_original_dst: to the listener of the address that the client wanted
  TrafficDirection direction = TrafficDirection::kUnspecified;
  uint32_t most_accepts = 16;                            // a turn
  base::Nanos first_bytes_timeout = 15 * base::kSecond;  // listener_filters_timeout; 0: none
  bool continue_on_timeout = false;
  std::vector<std::shared_ptr<const filter::ListenerFilterFactory>> listener_filters;

  struct Chain {
    ChainMatchSpec match;
    std::shared_ptr<const filter::ChainPart> part;
    uint64_t hash = 0;       // of the chain's config: equal means the same
    uint64_t admission = 0;  // of what decides who may connect: TLS or not, which client certificates
    // Does this chain go on with the connections of `old`? The same name, else (both without) the same match, and nothing changed
    // in who may connect: no connection outlives its permission. A filter of another type cannot take connections over either.
    bool succeeds(const Chain& old) const;
  };
  std::vector<Chain> chains;  // the default chain, if any, is the last one
  int default_chain = ChainMatcher::kNoChain;
  ChainMatcher matcher;
  std::vector<std::shared_ptr<const accesslog::AccessLog>> access_logs;  // connections without a chain, mostly
  ListenerStats stats;
};
inline bool ListenerVersion::Chain::succeeds(const Chain& old) const {
  const std::string& name = part->info.filter_chain;
  if (name != old.part->info.filter_chain || (name.empty() && match != old.match)) return false;
  if (admission != old.admission) return false;
  const filter::NetworkFilterFactory& mine = *part->factory;
  const filter::NetworkFilterFactory& theirs = *old.part->factory;
  return typeid(mine) == typeid(theirs);
}

using ListenerVersionRef = std::shared_ptr<const ListenerVersion>;

}  // namespace outrider::listener
