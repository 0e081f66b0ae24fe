// The listeners of the process: adds, updates in place, warms and removes them; owns their sockets.
// Thread: main. Lifetime: the server's. Workers hear of it by letters. Errors: a status that names the listener and the cause;
// the version that served before stays.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "source/listener/stats.h"
#include "source/listener/version.h"
#include "source/listener/worker_listeners.h"

namespace outrider::listener {

class ListenerManager final {
 public:
  // Posts a change to every worker's mailbox, to be applied by its WorkerListeners.
  using Post = std::function<void(std::shared_ptr<const ListenerChange>)>;
  // `drain_time`: what connections of removed or changed chains have until they are cut.
  ListenerManager(stats::Store& stats, size_t workers, Post post, base::Nanos drain_time = 600 * base::kSecond);

  // The next version of a listener, ready to serve (what it waited for is there). Equal content is found by the caller.
  absl::Status put(ListenerVersionRef version);
  absl::Status remove(const std::string& name, base::Nanos drain_time);
  // Sockets that listeners gave up stay open for those that come in the same batch of changes. To be called after the batch, also
  // when the manager is gone.
  std::function<void()> closeLeft() const;
  void stopAll(bool inbound_only);  // closes the sockets; connections stay

  struct Active {
    ListenerVersionRef version;
    std::vector<std::shared_ptr<net::ListenSocket>> sockets;
  };
  // By name, for /listeners and tests.
  std::vector<Active> active() const;
  const ManagerStats& stats() const { return stats_; }
  bool has(const std::string& name) const { return entities_.contains(name); }

 private:
  struct Entity {
    uint32_t id;
    Active active;
  };
  using Sockets = std::vector<std::shared_ptr<net::ListenSocket>>;
  // `ours`: what this listener has now. An address keeps its socket, also from a listener that is gone since: the address is
  // never without one in between.
  absl::Status openSockets(const ListenerVersion& version, const Sockets& ours, Sockets& out);

  ManagerStats stats_;
  const size_t workers_;
  Post post_;
  const base::Nanos drain_time_;
  const std::shared_ptr<Sockets> left_ = std::make_shared<Sockets>();  // no listener's any more
  // Of earlier batches: open until the last worker has read that they are gone. Who comes back meanwhile gets them again; each
  // worker reads of the end first and of the beginning then.
  using Closing = std::vector<std::weak_ptr<net::ListenSocket>>;
  const std::shared_ptr<Closing> closing_ = std::make_shared<Closing>();
  std::map<std::string, Entity> entities_;
  uint32_t next_id_ = 0;
};

}  // namespace outrider::listener
