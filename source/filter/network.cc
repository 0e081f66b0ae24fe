#include "source/filter/network.h"

namespace outrider::filter {

NetworkChain::NetworkChain(WorkerContext& worker, NetworkChainOwner& owner, std::unique_ptr<net::Connection> connection,
                           stream::ConnectionInfo info, ChainRef part)
    : worker_(worker), owner_(owner), connection_(std::move(connection)), info_(std::move(info)), part_(std::move(part)) {
  connection_->setSink(*this);
  connection_->setBufferLimit((*part_)->buffer_limit);
  info_.peer = &connection_->remote();
  info_.own = &connection_->local();
  info_.id = connection_->id();
  info_.listener = &(*part_)->info;
}

NetworkChain::~NetworkChain() = default;

void NetworkChain::start(base::Buffer& prefix) {
  filter_ = (*part_)->factory->make({worker_, *this, *connection_, info_});
  connection_->startAccepted(prefix);
  connection_->limitHandshake((*part_)->handshake_timeout);
}

void NetworkChain::update(ChainRef part) {
  if (over_) return;
  // The old part stays until the filter let go of it: filters may hold views on it.
  const ChainRef old = std::exchange(part_, std::move(part));
  info_.listener = &(*part_)->info;
  filter_->onConfig(part_);
}

void NetworkChain::drain() {
  if (!over_) filter_->onDrain();
}

void NetworkChain::closeAfterFlush(base::Nanos linger, std::string_view details, bool peer_is_done) {
  if (over_) return;
  if (info_.termination_details.empty()) info_.termination_details = details;
  connection_->closeAfterFlush(linger, peer_is_done);
}

void NetworkChain::closeNow(std::string_view details) {
  if (over_) return;
  if (info_.termination_details.empty()) info_.termination_details = details;
  connection_->closeNow();
  onClosed(net::CloseReason::kLocal);
}

void NetworkChain::closeReset(std::string_view details) {
  if (over_) return;
  if (info_.termination_details.empty()) info_.termination_details = details;
  connection_->closeReset();
  onClosed(net::CloseReason::kLocal);
}

void NetworkChain::onConnected() {
  info_.tls = connection_->transport().security();
  if (const std::string_view alpn = connection_->transport().alpn(); !alpn.empty()) info_.hello().alpn = alpn;
  if (info_.tls != nullptr && info_.requestedServerName().empty()) info_.hello().server_name = info_.tls->sni;
  filter_->onConnected();
}

void NetworkChain::onClosed(net::CloseReason reason) {
  if (over_) return;
  over_ = true;
  if (reason == net::CloseReason::kTransportError) info_.transport_failure = connection_->transport().failure();
  filter_->onClosed(reason);
  base::TaggedNode<NetworkChainTag>::unlink();
  owner_.onChainClosed(*this, reason);
  worker_.loop.retire(this);
}

}  // namespace outrider::filter
