// TLS as a connection's transport: one OpenSSL session over an own BIO that reads the socket straight into the
// library's buffer and collects sealed records, so that a flush is one send. Thread: the connection's worker. Lifetime:
// owned by its net::Connection; it keeps its context alive. A peer that ends without close_notify is a reset (its last
// bytes may be missing), never a clean end.
#pragma once

#include <memory>
#include <string_view>

#include "source/net/transport.h"
#include "source/tls/context.h"
#include "source/tls/stats.h"

namespace outrider::tls {

// A context that is not ready gives a transport that refuses the handshake, as a listener without its secret must.
std::unique_ptr<net::Transport> makeServerTransport(const ServerContextRef& context, const SslStatsRef& stats);

struct ClientArgs {
  std::string_view sni;   // empty: the configured one
  std::string_view alpn;  // in wire form; empty: the configured names
  std::string_view peer;  // address in text form: sessions are resumed only with the same one
};
std::unique_ptr<net::Transport> makeClientTransport(const ClientContextRef& context, const SslStatsRef& stats, const ClientArgs& args);

}  // namespace outrider::tls
