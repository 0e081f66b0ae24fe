// All listeners of one worker, by the dense id that main gave them. Changes come as letters and are applied between two turns.
// Thread: its worker. Lifetime: the worker's.
#pragma once

#include <memory>
#include <vector>

#include "source/listener/active_listener.h"

namespace outrider::listener {

// What main tells each worker of one listener. A value; `sockets` are replaced only when `new_sockets` says so.
struct ListenerChange {
  uint32_t id = 0;
  ListenerVersionRef version;  // null: gone
  std::vector<std::shared_ptr<net::ListenSocket>> sockets;
  bool new_sockets = false;
  base::Nanos drain_time = 0;  // of what is gone: cut after this
  DrainingRef draining;        // the same, as counted; held by whoever still drains it
};

class WorkerListeners final {
 public:
  WorkerListeners(filter::WorkerContext& worker, ConnectionLimit& limit);
  ~WorkerListeners();

  void apply(const ListenerChange& change);
  void stopAccepting(bool inbound_only, bool take_queue);  // /drain_listeners, shutdown
  void drainAll(bool inbound_only);                        // polite: connections are asked to end
  void closeAll();
  size_t connections() const;

 private:
  struct Leaving;
  ActiveListener* find(const base::Address& address) const;

  filter::WorkerContext& worker_;
  ConnectionLimit& limit_;
  std::vector<std::unique_ptr<ActiveListener>> active_;  // by id; null: none
  std::vector<std::unique_ptr<Leaving>> leaving_;        // removed, with connections that still end
};

}  // namespace outrider::listener
