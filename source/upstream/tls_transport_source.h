// A cluster's TLS transport socket as its TransportSource: each new connection takes the secrets as they are then.
// Thread: made off the workers; make() and ready() from any. Lifetime: shared.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "source/tls/socket_parse.h"
#include "source/upstream/transport_source.h"

namespace outrider::upstream {

class TlsTransportSource final : public TransportSource {
 public:
  explicit TlsTransportSource(std::shared_ptr<const tls::LiveClientContext> context) : context_(std::move(context)) {}
  std::unique_ptr<net::Transport> make(const TransportArgs& args) const override;
  bool ready() const override { return context_->ready(); }
  bool secure() const override { return true; }
  std::string_view failure() const override { return "TLS error: Secret is not supplied by SDS"; }
  const tls::LiveClientContext& context() const { return *context_; }

 private:
  const std::shared_ptr<const tls::LiveClientContext> context_;
};

// Of a transport_socket's typed_config; `owner`: "cluster.<name>.". Null: plain bytes (RawBuffer), or after problems.
TransportSourceRef parseTransportSource(std::string_view type, std::string_view bytes, const std::string& owner,
                                        const tls::SocketParse& shared, config::Problems& problems);

}  // namespace outrider::upstream
