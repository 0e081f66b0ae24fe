// The connections of one worker to one host over one protocol, and the attempts that wait for them.
//
// HTTP/1: idle connections are a LIFO, so warm ones serve and surplus ages out. HTTP/2: the connection with most free streams.
// Thread: the worker. Lifetime: counted: its Cluster's table, its attempts and its connections; leaves when all are gone.
#pragma once

#include <memory>
#include <string>

#include "source/base/local_ref.h"
#include "source/http/codec.h"
#include "source/http/h2/client_codec.h"
#include "source/http/h2/keepalive.h"
#include "source/net/connection.h"
#include "source/upstream/call/attempt.h"
#include "source/upstream/codec_settings.h"

namespace outrider::upstream {

enum class PoolProtocol : uint8_t { kHttp1, kHttp2, kAuto };

struct ConnectionTag;

class PoolConnection final : public net::ConnectionSink,
                             public http::ClientCodecSink,
                             public event::Retired,
                             public base::TaggedNode<ConnectionTag> {
 public:
  PoolConnection(HostPool& pool, std::unique_ptr<net::Connection> connection);
  ~PoolConnection() override;

  http::ClientCodec* codec() { return codec_.get(); }
  net::Connection& connection() { return *connection_; }
  bool ready() const { return codec_ != nullptr && !closed_; }
  bool reused() const { return served_ > 1 || idle_since_ > 0; }  // not made for the request that it has
  void close(net::CloseReason reason = net::CloseReason::kLocal);

  void onConnected() override;
  void onBytes(base::Buffer& in, bool eof) override;
  void onFlush(base::Buffer& out) override;
  void onRoom() override;
  void onClosed(net::CloseReason reason) override;

  void onOutput() override { connection_->markDirty(); }
  void onWantFeed() override {
    connection_->resumeReading(net::Connection::kPauseCodec);
    connection_->wantFeed();
  }
  void onStreamDone() override;
  void onGoAway() override;
  void onCapacity() override;
  void onConnectionError(std::string_view details) override;

 private:
  friend class HostPool;
  void onKeepalive();
  void countHttp2();

  base::LocalRef<HostPool> pool_;
  std::unique_ptr<net::Connection> connection_;
  std::shared_ptr<const CodecSettings> settings_;
  std::unique_ptr<http::ClientCodec> codec_;
  http::h2::ClientCodec* h2_ = nullptr;  // it, where it speaks HTTP/2
  http::h1::Counters h1_counters_;
  http::h2::Counters h2_counters_;
  http::h2::Keepalive keepalive_;
  event::Timer keepalive_timer_;
  base::Nanos idle_since_ = 0;
  uint32_t served_ = 0;
  bool closed_ = false;
  bool permit_counted_ = false;
};

class HostPool final {
 public:
  HostPool(Cluster& cluster, HostRef host, PoolProtocol protocol);
  void ref() { ++refs_; }
  void unref() {
    if (--refs_ == 0) delete this;
  }

  // Gives the attempt a stream now or queues it; failures are recorded in the attempt.
  void acquire(Attempt& attempt);
  void cancel(Attempt& attempt);  // it waits no longer
  // No new streams; connections close when their streams end. `now`: close them at once.
  void drain(bool now);
  bool draining() const { return draining_; }
  size_t connections() const { return connections_; }

  Cluster& cluster() { return *cluster_; }
  const Host& host() const { return *host_; }

 private:
  friend class PoolConnection;
  ~HostPool();

  void work();  // deferred: serves who waits, closes what is finished
  void connect();
  void connectionFailed(http::ResetReason reason, std::string_view transport_failure);
  PoolConnection* freeConnection();
  PoolConnection* connectionFor(const Attempt& attempt);  // for one that waits; null: none now
  void assign(PoolConnection& connection);
  bool spent(const PoolConnection& connection) const;  // served as many requests as it may
  void setIdle(PoolConnection& connection);
  void dropStale(base::Nanos idle_since);  // idle connections that have been so for at least as long
  void onIdleTimer();
  uint32_t wanted() const;  // connections that waiting attempts ask for

  base::LocalRef<Cluster> cluster_;
  const HostRef host_;
  const PoolProtocol protocol_;
  event::Loop& loop_;
  event::Deferred work_;
  event::Timer idle_timer_;
  base::IntrusiveList<Attempt, PendingTag> pending_;
  base::IntrusiveList<PoolConnection, ConnectionTag> idle_;  // front: last used
  base::IntrusiveList<PoolConnection, ConnectionTag> busy_;  // ready, with streams
  base::IntrusiveList<PoolConnection, ConnectionTag> connecting_;
  uint32_t refs_ = 0;
  uint32_t pending_count_ = 0;
  uint32_t connecting_count_ = 0;
  uint32_t connections_ = 0;
  uint32_t peer_streams_ = 100;  // HTTP/2: that one connection may have at once, as the host's SETTINGS said last
  bool draining_ = false;
};

}  // namespace outrider::upstream
