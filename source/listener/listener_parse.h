// envoy.config.listener.v3.Listener into a ListenerVersion and what it needs before it may serve.
// Thread: off the workers. Errors: every one with its path. Chains equal to one of `before` (by hash) are taken over from it.
#pragma once

#include <memory>

#include "source/filter/registry.h"
#include "source/listener/version.h"

namespace envoy::config::listener::v3 {
class Listener;
}

namespace outrider::listener {

// Makes the transport of a chain from its transport_socket's type and bytes; null result after a problem. Plain chains never ask.
using TransportParse = std::function<std::shared_ptr<const filter::TransportFactory>(std::string_view type, std::string_view bytes,
                                                                                     filter::FilterContext& context)>;

struct ListenerParse {
  config::ParseContext& parse;
  const filter::Registry& registry;
  filter::RouteTableNames& route_names;
  TransportParse transport;
  std::function<std::shared_ptr<const accesslog::AccessLog>(std::string_view bytes, config::Problems& problems)> access_log;
  base::Nanos default_handshake_timeout = 10 * base::kSecond;
};

struct ParsedListener {
  std::shared_ptr<ListenerVersion> version;
  filter::ListenerNeeds needs;
};

// Meaningful only when no problem was added.
ParsedListener parseListener(const envoy::config::listener::v3::Listener& in, const ListenerVersion* before, ListenerParse& context);

}  // namespace outrider::listener
