// The contract of network filters and the chain that a connection's bytes go through.
//
// A chain ends in one terminal filter (http_connection_manager, tcp_proxy); events arrive in the order of net::ConnectionSink.
// Thread: the connection's worker. Lifetime: the chain owns its connection and filter and retires both when the connection closed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "source/config/local_part.h"
#include "source/filter/worker_context.h"
#include "source/net/connection.h"
#include "source/stream/stream_info.h"

namespace outrider::filter {

class NetworkChain;
struct ChainPart;
using ChainRef = config::PartRef<ChainPart>;

// What a network filter may know and ask.
struct NetworkContext {
  WorkerContext& worker;
  NetworkChain& chain;
  net::Connection& connection;
  stream::ConnectionInfo& info;
};

class NetworkFilter {
 public:
  virtual ~NetworkFilter() = default;
  virtual void onConnected() = 0;                        // transport is up: ALPN and peer are known
  virtual void onBytes(base::Buffer& in, bool eof) = 0;  // leave in `in` what cannot be taken yet (and pause reading)
  virtual void onFlush(base::Buffer& out) = 0;
  virtual void onRoom() = 0;
  virtual void onPassed(size_t bytes) { (void)bytes; }  // as in net::ConnectionSink, where the filter asked for it
  virtual void onClosed(net::CloseReason reason) = 0;   // the last event
  // The listener (or the server) drains: finish what is under way, then close. May come at any time, also twice.
  virtual void onDrain() = 0;
  // The listener has a new version of this chain: what starts from now on takes it (the factory is of the same type).
  virtual void onConfig(const ChainRef& chain) = 0;
};

// The parsed config of a network filter: immutable, made off the workers, shared while equal.
class NetworkFilterFactory {
 public:
  virtual ~NetworkFilterFactory() = default;
  virtual std::unique_ptr<NetworkFilter> make(const NetworkContext& context) const = 0;
};

// Makes a chain's transports: plain, or TLS sessions of one context.
class TransportFactory {
 public:
  virtual ~TransportFactory() = default;
  virtual std::unique_ptr<net::Transport> make() const = 0;
};

// One filter chain of a listener version, as config: immutable, shared by the versions in which it is equal.
struct ChainPart {
  stream::ListenerInfo info;
  std::shared_ptr<const TransportFactory> transport;  // null: plain
  std::shared_ptr<const NetworkFilterFactory> factory;
  base::Nanos handshake_timeout = 0;  // 0: none
  uint32_t buffer_limit = 64 * 1024;
};
struct NetworkChainTag;

// Told when one of its chains is over: the listener's list of connections.
class NetworkChainOwner {
 public:
  virtual void onChainClosed(NetworkChain& chain, net::CloseReason reason) = 0;

 protected:
  ~NetworkChainOwner() = default;
};

class NetworkChain final : public net::ConnectionSink, public event::Retired, public base::TaggedNode<NetworkChainTag> {
 public:
  NetworkChain(WorkerContext& worker, NetworkChainOwner& owner, std::unique_ptr<net::Connection> connection, stream::ConnectionInfo info,
               ChainRef part);
  ~NetworkChain() override;

  void start(base::Buffer& prefix);
  void drain();
  void update(ChainRef part);  // a paired chain of a new listener version
  // By the filter: ends the connection. `details` (static) goes to the access log's termination details.
  void closeAfterFlush(base::Nanos linger, std::string_view details = {}, bool peer_is_done = false);
  void closeNow(std::string_view details = {});
  void closeReset(std::string_view details = {});

  net::Connection& connection() { return *connection_; }
  stream::ConnectionInfo& info() { return info_; }
  const ChainRef& part() const { return part_; }

  void onConnected() override;
  void onBytes(base::Buffer& in, bool eof) override { filter_->onBytes(in, eof); }
  void onFlush(base::Buffer& out) override { filter_->onFlush(out); }
  void onRoom() override { filter_->onRoom(); }
  void onPassed(size_t bytes) override { filter_->onPassed(bytes); }
  void onClosed(net::CloseReason reason) override;

 private:
  WorkerContext& worker_;
  NetworkChainOwner& owner_;
  std::unique_ptr<net::Connection> connection_;
  std::unique_ptr<NetworkFilter> filter_;
  stream::ConnectionInfo info_;
  ChainRef part_;
  bool over_ = false;
};

}  // namespace outrider::filter
