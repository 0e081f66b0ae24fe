// A listener on one worker: accepts, reads first bytes if someone wants them, chooses a chain, owns the connections.
// Thread: its worker. Lifetime: the worker's table of listeners; after removal it lives on, without acceptors, until its last
// connection is gone. An update swaps the version; no descriptor is touched when the addresses and options are the same.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "source/filter/network.h"
#include "source/listener/version.h"
#include "source/net/acceptor.h"
#include "source/net/listen_socket.h"

namespace outrider::listener {

// Process-wide accounting of client connections against a limit (0: none). Shared by all workers.
struct ConnectionLimit {
  std::atomic<uint64_t> active{0};
  std::atomic<uint64_t> limit{0};
};

class ActiveListener final : private filter::NetworkChainOwner {
 public:
  // Finds the listener of an address, among all of the worker.
  using Find = std::function<ActiveListener*(const base::Address&)>;
  ActiveListener(filter::WorkerContext& worker, ConnectionLimit& limit, Find find = {});
  ~ActiveListener();

  // The first version, or the next one; touches no descriptor. Connections of chains that are gone drain, and are cut after
  // `drain_time`; `draining` is held until then.
  void apply(ListenerVersionRef version, base::Nanos drain_time, DrainingRef draining);
  // Accepts on this worker's descriptors of these sockets, instead of those before: their queues are served first.
  void listen(std::vector<std::shared_ptr<net::ListenSocket>> sockets);
  // No further accepts. `take_queue`: what the kernel has accepted is served first (the descriptor is about to be closed).
  void stopListening(bool take_queue);
  // Ends all connections politely (drain), or cuts what is left.
  void drainAll();
  void closeAll();

  size_t connections() const { return connections_; }
  const ListenerVersionRef& version() const { return version_; }
  bool isAt(const base::Address& address) const;
  // Called when the last connection is gone, from within a turn: mark and look later.
  void onEmpty(std::function<void()> fn) { on_empty_ = std::move(fn); }

 private:
  class Pending;  // a connection whose first bytes are looked at
  struct PendingTag;
  struct ActiveChain {
    ListenerVersion::Chain spec;
    filter::ChainRef part;
    base::IntrusiveList<filter::NetworkChain, filter::NetworkChainTag> connections;
  };

  struct OldChains;  // of one former version
  class Door;        // one socket's acceptor

  void onAccepted(int fd, const base::Address& local, const base::Address& remote);
  void look(int fd, const base::Address& local, const base::Address& remote, base::Buffer& prefix, const filter::FirstBytes& first);
  bool handOff(int fd, const base::Address& remote, const filter::FirstBytes& first, base::Buffer& prefix);
  void onChainClosed(filter::NetworkChain& chain, net::CloseReason reason) override;
  void start(int fd, const base::Address& local, const base::Address& remote, const filter::FirstBytes& first, base::Buffer& prefix);
  void refuse(int fd);
  void log(stream::StreamInfo& info, const stream::ConnectionInfo& connection, base::Nanos started) const;
  void leave();

  filter::WorkerContext& worker_;
  ConnectionLimit& limit_;
  const Find find_;
  ListenerVersionRef version_;
  std::vector<std::unique_ptr<ActiveChain>> chains_;    // of the current version, by its indexes
  std::vector<std::unique_ptr<OldChains>> old_chains_;  // draining
  std::vector<std::unique_ptr<Door>> doors_;
  base::IntrusiveList<Pending, PendingTag> pending_;
  size_t connections_ = 0;
  std::function<void()> on_empty_;
};

}  // namespace outrider::listener
