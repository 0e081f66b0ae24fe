// One connection to a host of a cluster that carries plain bytes both ways, for tcp_proxy and the like: picks the host,
// obeys the breakers, connects (with TLS where the cluster says so), counts.
//
// Thread: the worker. Lifetime: its own. It lives until onLeaseClosed, or, after the owner let it go (finish, abort,
// closeNow), until what it still has to do is done; it never calls an owner that let it go, nor from within a call of
// the owner's.
#pragma once

#include <memory>
#include <string>

#include "source/base/intrusive_list.h"
#include "source/base/local_ref.h"
#include "source/net/connection.h"
#include "source/upstream/cluster_part.h"
#include "source/upstream/lb/lb_context.h"

namespace outrider::upstream {

class Cluster;
struct TcpLeaseTag;

class TcpLeaseOwner {
 public:
  virtual void onLeaseConnected() = 0;
  virtual void onLeaseBytes(base::Buffer& in,
                            bool eof) = 0;                   // leave in `in` what cannot be taken yet, and pause reading
  virtual void onLeaseFlush() = 0;                           // bytes are about to be written
  virtual void onLeaseRoom() = 0;                            // connection().out() was above its limit and fell below half
  virtual void onLeasePassed(size_t bytes) { (void)bytes; }  // net::ConnectionSink::onPassed
  virtual void onLeaseClosed(net::CloseReason reason) = 0;   // the last event

 protected:
  ~TcpLeaseOwner() = default;
};

class TcpLease final : public net::ConnectionSink, public event::Retired, public base::TaggedNode<TcpLeaseTag> {
 public:
  enum class Refusal : uint8_t {
    kNone,
    kNoHost,       // UH
    kOverflow,     // UO: the connections breaker
    kNoConnection  // UF: no socket, or the transport's secret has not come; `failure` says so
  };
  struct Taken {
    TcpLease* lease = nullptr;
    Refusal refusal = Refusal::kNone;
    HostRef host;  // the one that was picked, also when refused
    std::string failure;
  };
  // Picks a host and begins to connect. The cluster has a part.
  static Taken take(Cluster& cluster, TcpLeaseOwner& owner, const lb::LbContext& context);

  net::Connection& connection() { return *connection_; }
  const HostRef& host() const { return host_; }
  const ClusterPartRef& part() const { return part_; }  // as it was when the connection was made
  bool connected() const { return connected_; }

  // The owner lets go. finish: what is in out() is written, then the end, within `linger` of the last progress.
  void finish(base::Nanos linger);
  // abort: the same, but the end is a reset (it waits a moment for the peer's kernel to have the bytes).
  void abort();
  void closeNow();
  // Of the cluster: its host failed or the worker ends; the owner is told.
  void closeForCluster();

  void onConnected() override;
  void onBytes(base::Buffer& in, bool eof) override;
  void onFlush(base::Buffer& out) override;
  void onRoom() override;
  void onPassed(size_t bytes) override;
  void onClosed(net::CloseReason reason) override;

 private:
  TcpLease(Cluster& cluster, TcpLeaseOwner& owner, ClusterPartRef part, HostRef host);
  ~TcpLease() override;
  void tryReset();

  base::LocalRef<Cluster> cluster_;
  TcpLeaseOwner* owner_;  // null: let go
  const ClusterPartRef part_;
  const HostRef host_;
  std::unique_ptr<net::Connection> connection_;
  event::Timer reset_timer_;
  base::Nanos reset_by_ = 0;
  bool permit_counted_ = false;
  bool connected_ = false;
  bool closed_ = false;
};

// Everything that was written is with the peer's kernel (or its TCP stack said so): a reset loses nothing any more.
bool delivered(net::Connection& connection);
// How often to ask that, and for how long.
inline constexpr base::Nanos kDeliveryPoll = 5 * base::kMilli;
inline constexpr base::Nanos kDeliveryPatience = base::kSecond;

}  // namespace outrider::upstream
