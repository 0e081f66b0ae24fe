// Carries one client's bytes to a host of a cluster and back. Each direction ends by itself (half-close); a reset on
// one side becomes a reset on the other once the bytes before it are delivered; a slower side pauses the other. Thread:
// the connection's worker. Lifetime: its NetworkChain's; an upstream connection that still has bytes to write outlives
// it.
#pragma once

#include "source/filter/network.h"
#include "source/filter/network/tcp_proxy/config.h"
#include "source/upstream/call/tcp_lease.h"

namespace outrider::filter::network::tcp_proxy {

class TcpProxy final : public NetworkFilter, public upstream::TcpLeaseOwner {
 public:
  TcpProxy(const TcpProxyConfig& config, const NetworkContext& context);
  ~TcpProxy() override;

  void onConnected() override;
  void onBytes(base::Buffer& in, bool eof) override;
  void onFlush(base::Buffer& out) override;
  void onRoom() override;
  void onPassed(size_t bytes) override;
  void onClosed(net::CloseReason reason) override;
  // TCP has no moment at which nothing is under way: the connection stays until its end or the drain's.
  void onDrain() override {}
  // What is under way keeps the version it began with.
  void onConfig(const ChainRef&) override {}

  void onLeaseConnected() override;
  void onLeaseBytes(base::Buffer& in, bool eof) override;
  void onLeaseFlush() override { touch(); }
  void onLeaseRoom() override;
  void onLeasePassed(size_t bytes) override;
  void onLeaseClosed(net::CloseReason reason) override;

 private:
  enum class Phase : uint8_t { kHandshake, kConnecting, kOpen, kResetting, kOver };

  void connect();  // deferred for later attempts
  void connectFailed(stream::ResponseFlag flag);
  void giveUp(std::string_view details);
  void receivedBytes(size_t bytes);
  void sentBytes(size_t bytes);
  void pauseDownstream();
  void pauseUpstream();
  void finishIfDone();
  void resetDownstream(std::string_view details);
  void tryReset();
  void onIdle();
  void onMaxDuration();
  void touch() { active_at_ = context_.worker.loop.now(); }
  base::Nanos linger() const;
  void log();

  const NetworkContext context_;
  net::Connection& downstream_;
  const TcpProxyConfig& config_;
  const ChainRef part_;                  // keeps config_
  upstream::TcpLease* lease_ = nullptr;  // not after onLeaseClosed, nor after it was let go
  event::Deferred retry_;
  event::Timer idle_timer_;
  event::Timer duration_timer_;
  event::Timer reset_timer_;
  base::Nanos active_at_ = 0;
  base::Nanos reset_by_ = 0;
  std::string_view reset_details_;
  stream::StreamInfo info_;
  upstream::ClusterPartRef cluster_part_;  // the last one tried: info_ has views on these
  upstream::HostRef host_;
  std::string upstream_failure_;
  std::unique_ptr<stream::SecurityInfo> upstream_tls_;
  uint32_t attempts_ = 0;
  Phase phase_ = Phase::kHandshake;
  bool downstream_ended_ = false;  // its FIN was passed on
  bool upstream_ended_ = false;
};

}  // namespace outrider::filter::network::tcp_proxy
