// Carries the bytes between one end of a socketpair, where gRPC C++ speaks HTTP/2, and an ordinary connection of a cluster: so the
// cluster's DNS, balancing, TLS, bind address and timeouts hold for management streams too.
// Thread: main. Lifetime: its owner's; both connections go to the graveyard with it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "source/net/connection.h"

namespace outrider::xds {

// A connection to a host of the cluster, made but not started (startConnect is called here), or why there is none.
struct Dialed {
  std::unique_ptr<net::Connection> connection;
  base::Nanos connect_timeout = 5 * base::kSecond;
  std::shared_ptr<void> pin;  // what must live as long: host, cluster
  std::string error;          // when there is no connection: "no such cluster", "no healthy host"
};
using Dialer = std::function<Dialed(std::string_view cluster)>;

class Relay final {
 public:
  struct Events {
    std::function<void()> connected;
    std::function<void(const std::string& why)> closed;  // last; the near end is closed, so gRPC's call ends by itself
  };
  // Takes over `fd`, one end of a stream socketpair.
  Relay(event::Loop& loop, int fd, Dialed dialed, Events events);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

 private:
  class End final : public net::ConnectionSink {
   public:
    End(Relay& relay, std::unique_ptr<net::Connection> connection, bool far);
    void onConnected() override;
    void onBytes(base::Buffer& in, bool eof) override;
    void onFlush(base::Buffer& /*out*/) override {}
    void onRoom() override;
    void onClosed(net::CloseReason reason) override;

    Relay& relay;
    std::unique_ptr<net::Connection> connection;  // null: closed
    End* other = nullptr;
    const bool is_far;
  };
  void close();
  void retire(End& end);

  event::Loop& loop_;
  std::shared_ptr<void> pin_;
  Events events_;
  std::string why_;
  End near_;
  End far_;
};

}  // namespace outrider::xds
