// A listening address with its descriptors: one a worker with SO_REUSEPORT, or one for all.
// Thread: main makes and owns it; a worker's Acceptor uses its own descriptor. Lifetime: until its last user is gone; then
// it is accepted until EAGAIN and closed (closing a SO_REUSEPORT socket resets what is queued on it).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "source/base/address.h"

namespace outrider::net {

struct ListenOptions {
  bool reuse_port = true;  // ignored for UNIX sockets
  bool freebind = false;
  bool transparent = false;
  int backlog = 4096;
  int fast_open = 0;       // queue length; 0: off
  uint32_t unix_mode = 0;  // 0: as umask says
  bool v6_only = true;     // ipv4_compat turns it off
  struct Raw {             // core.SocketOption, set before bind
    int level, name;
    std::string value;
    bool operator==(const Raw&) const = default;
  };
  std::vector<Raw> raw;
  bool operator==(const ListenOptions&) const = default;
};

class ListenSocket final {
 public:
  // Binds and listens. The first bind is made without SO_REUSEPORT, so a foreign owner of the port is an error.
  // `join`: the port is ours already (a listener that changes its options). Errors: one line that names the address and the
  // cause ("cannot bind '127.0.0.1:80': bind: Address already in use").
  static absl::StatusOr<std::unique_ptr<ListenSocket>> open(const base::Address& address, const ListenOptions& options, size_t workers,
                                                            bool join = false);
  ~ListenSocket();
  ListenSocket(const ListenSocket&) = delete;
  ListenSocket& operator=(const ListenSocket&) = delete;

  // Options that a listening socket can change (its queues): taken over. False, and nothing happened: it needs a new socket.
  bool adjust(const ListenOptions& options);

  const base::Address& asked() const { return asked_; }
  const base::Address& local() const { return local_; }  // with the port that the kernel chose
  const ListenOptions& options() const { return options_; }
  int fd(size_t worker) const { return fds_[worker % fds_.size()]; }
  bool shared() const { return fds_.size() == 1; }

 private:
  ListenSocket(const base::Address& asked, const ListenOptions& options) : asked_(asked), options_(options) {}
  base::Address asked_;
  base::Address local_;
  ListenOptions options_;
  std::vector<int> fds_;
};

}  // namespace outrider::net
