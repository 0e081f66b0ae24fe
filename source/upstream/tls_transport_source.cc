#include "source/upstream/tls_transport_source.h"

namespace outrider::upstream {

std::unique_ptr<net::Transport> TlsTransportSource::make(const TransportArgs& args) const {
  const config::UpstreamTlsSpec& spec = context_->spec();
  tls::ClientArgs out;
  out.sni = args.sni;
  if (out.sni.empty() && spec.auto_host_sni && args.host != nullptr) out.sni = args.host->hostname();
  char peer[base::Address::kTextSize];
  if (args.host != nullptr) out.peer = {peer, args.host->address.print(peer)};
  // What the cluster says it offers wins over what a pool would like.
  std::string alpn;
  if (spec.common.alpn.empty()) {
    for (size_t i = 0; i < args.alpn_count; ++i) {
      alpn += static_cast<char>(args.alpn[i].size());
      alpn += args.alpn[i];
    }
  }
  out.alpn = alpn;
  return context_->makeTransport(out);
}

TransportSourceRef parseTransportSource(std::string_view type, std::string_view bytes, const std::string& owner,
                                        const tls::SocketParse& shared, config::Problems& problems) {
  if (type.ends_with("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")) return nullptr;
  auto context = tls::parseClientSocket(type, bytes, owner, shared, problems);
  return context == nullptr ? nullptr : std::make_shared<const TlsTransportSource>(std::move(context));
}

}  // namespace outrider::upstream
