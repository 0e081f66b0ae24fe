// The admin endpoint: listens where the bootstrap says, and answers with the pages of pages.h.
// Thread: main. Lifetime: the server's. Bounds: kMostConnections clients (the one that waits longest makes room), a turn makes one
// piece of an answer a client.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "source/admin/connection.h"
#include "source/admin/page.h"
#include "source/admin/sources.h"
#include "source/listener/stats.h"
#include "source/net/acceptor.h"
#include "source/net/listen_socket.h"

namespace outrider::admin {

class Endpoint final : private net::AcceptSink, private ConnectionOwner {
 public:
  static constexpr size_t kMostConnections = 100;

  explicit Endpoint(Sources sources);
  ~Endpoint();

  // `address_path`: the bound address is written there; empty: nowhere.
  absl::Status listen(const base::Address& address, const net::ListenOptions& options, const std::string& address_path);
  const base::Address& local() const { return socket_->local(); }
  size_t connections() const { return count_; }

  // What a client would be answered; for tests too.
  Answer answer(const Request& request) override;

 private:
  void onAccepted(int fd, const base::Address& remote) override;
  void onAcceptFailed(int error) override;
  void onAnswered(uint16_t status) override;
  void onGone(Connection& connection) override;
  void makeRoom();
  bool trusted(const Request& request) const;

  Sources sources_;
  Pages pages_;
  http::h1::Settings settings_;
  listener::ListenerStats stats_;
  std::unique_ptr<net::ListenSocket> socket_;
  std::unique_ptr<net::Acceptor> acceptor_;
  base::IntrusiveList<Connection, ConnectionTag> connections_;
  size_t count_ = 0;
};

}  // namespace outrider::admin
