// A transport_socket's typed_config into a live TLS context.
// Thread: off the workers (reads files). Errors: every one, with its path below the current one. Files that the config
// names are read here, once. Types: the two TLS contexts; plain text (RawBuffer) is the caller's own case; any other is
// refused.
#pragma once

#include <memory>
#include <string_view>

#include "source/tls/live_context.h"

namespace outrider::stats {
class Store;
}

namespace outrider::tls {

inline constexpr std::string_view kDownstreamType = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
inline constexpr std::string_view kUpstreamType = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

// What every TLS transport socket of the process shares. Lifetime: the process's.
struct SocketParse {
  std::shared_ptr<ContextCache> contexts;
  Secrets& secrets;
  stats::Store& stats;
};

// `owner`: the stat prefix of the listener or cluster, with its dot. Null after problems. Secrets that have not come
// are no problem: wants() names them and ready() is false until then.
std::shared_ptr<LiveServerContext> parseServerSocket(std::string_view type, std::string_view bytes, const std::string& owner,
                                                     const SocketParse& shared, config::Problems& problems);
std::shared_ptr<LiveClientContext> parseClientSocket(std::string_view type, std::string_view bytes, const std::string& owner,
                                                     const SocketParse& shared, config::Problems& problems);

}  // namespace outrider::tls
