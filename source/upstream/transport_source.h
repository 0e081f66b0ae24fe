// Makes the transport of a new upstream connection: the seam between clusters and what protects their bytes. Two kinds exist:
// plain bytes (no source at all) and TLS, whose context follows its secrets.
// Thread: make() and ready() from any; an implementation swaps its context atomically when a secret changes.
// Lifetime: shared by the versions of a cluster that have an equal transport_socket.
#pragma once

#include <memory>
#include <string_view>

#include "source/net/transport.h"
#include "source/upstream/host.h"

namespace outrider::upstream {

struct TransportArgs {
  const Host* host = nullptr;
  std::string_view sni;                    // auto_sni; empty: the configured one
  const std::string_view* alpn = nullptr;  // offered protocols ("h2", "http/1.1"); null: the configured ones
  size_t alpn_count = 0;
};

class TransportSource {
 public:
  virtual ~TransportSource() = default;
  // Null: it cannot be made now (a secret is missing): the connection fails with failure().
  virtual std::unique_ptr<net::Transport> make(const TransportArgs& args) const = 0;
  virtual bool ready() const = 0;   // its secrets have arrived
  virtual bool secure() const = 0;  // bytes are encrypted: scheme is https for auto_config and x-forwarded-proto
  virtual bool secureTo(const Host&) const { return secure(); }  // where hosts differ
  virtual std::string_view failure() const = 0;
  virtual void hostMade(const Host&) const {}  // for statistics
};
using TransportSourceRef = std::shared_ptr<const TransportSource>;

}  // namespace outrider::upstream
