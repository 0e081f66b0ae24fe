// What the tests of the TCP proxy share: a client, the proxy and a server, where client and server are plain sockets in the test's hands.
// Thread: the test's, which turns the loop itself.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"
#include "source/config/route_tables.h"
#include "source/filter/network/tcp_proxy/tcp_proxy.h"
#include "source/filter/network/tcp_proxy/tcp_proxy_parse.h"
#include "source/upstream/harness.h"

namespace outrider::filter::network::tcp_proxy {

namespace pb = envoy::extensions::filters::network::tcp_proxy::v3;
using stream::ResponseFlag;
using upstream::ClusterStat;

// A socket of the test's own: what an application would hold.
class App final {
 public:
  explicit App(int fd) : fd_(fd) {}
  App(App&& other) noexcept : fd_(std::exchange(other.fd_, -1)), text(std::move(other.text)), eof(other.eof), reset(other.reset) {}
  ~App() { close(); }
  void say(std::string_view words) { ASSERT_EQ(::send(fd_, words.data(), words.size(), MSG_NOSIGNAL), static_cast<ssize_t>(words.size())); }
  // As much of `words` as the socket takes.
  size_t push(std::string_view words) {
    const ssize_t n = ::send(fd_, words.data(), words.size(), MSG_NOSIGNAL);
    return n > 0 ? static_cast<size_t>(n) : 0;
  }
  void finish() { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void closeReset() {
    const linger hard{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }
  void hear(size_t most = SIZE_MAX) {
    char bytes[16 * 1024];
    while (fd_ >= 0 && !eof && !reset && most > 0) {
      const ssize_t n = ::recv(fd_, bytes, std::min(sizeof bytes, most), 0);
      if (n > 0) {
        text.append(bytes, static_cast<size_t>(n));
        most -= static_cast<size_t>(n);
      } else if (n == 0) {
        eof = true;
      } else if (errno == ECONNRESET || errno == EPIPE) {
        reset = true;
      } else {
        return;
      }
    }
  }
  int fd() const { return fd_; }

 private:
  int fd_;

 public:
  std::string text;
  bool eof = false, reset = false;
};

inline int listenAnywhere(uint16_t& port, int buffer = 0) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (buffer > 0) ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  EXPECT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  EXPECT_EQ(::listen(fd, 16), 0);
  socklen_t size = sizeof at;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  port = ntohs(at.sin_port);
  return fd;
}

class MemoryLog final : public accesslog::AccessLog {
 public:
  void log(const accesslog::Entry& entry) const override {
    lines.push_back(entry.info.flags.str() + " " + std::to_string(entry.info.bytes_received) + " " + std::to_string(entry.info.bytes_sent) +
                    " " + (entry.info.host != nullptr ? entry.info.host->address.str() : "-") + " " +
                    std::string(entry.info.connection->termination_details));
  }
  mutable std::vector<std::string> lines;
};

class NoNames final : public RouteTableNames {
 public:
  config::RouteTableId idOfInline() override { return {}; }
  config::RouteTableId idOfRds(std::string_view, std::string_view) override { return {}; }
};

// A client, the proxy, and a server: the client and the server are plain sockets in the test's hands.
class TcpProxyTest : public ::testing::Test, public NetworkChainOwner {
 protected:
  TcpProxyTest() {
    backend_fd_ = listenAnywhere(backend_port_, 16 * 1024);
    in_.set_stat_prefix("t");
    in_.set_cluster("a");
    world_.serve(upstream::World::spec("a", {backendAddress()}));
  }
  ~TcpProxyTest() override {
    while (!chains_.empty()) chains_.front().closeNow();
    ::close(backend_fd_);
    world_.turns(3);
  }
  base::Address backendAddress() const { return *base::Address::parseIp("127.0.0.1", backend_port_); }
  static base::Address deadAddress() {
    uint16_t port = 0;
    ::close(listenAnywhere(port));
    return *base::Address::parseIp("127.0.0.1", port);
  }

  std::shared_ptr<const NetworkFilterFactory> parse(std::string* said = nullptr) {
    config::Problems problems;
    config::ParseContext context{problems, world_.names, world_.stats, {}};
    Registry registry;
    ListenerNeeds needs;
    FilterContext filter{context, registry, no_names_, needs, "listener.a.", {}, {}};
    filter.access_log = [this](std::string_view) { return log_; };
    auto out = parseTcpProxy(kTypeName, in_.SerializeAsString(), filter);
    if (said != nullptr) {
      *said = problems.str();
      for (const std::string& path : problems.unsupportedPaths()) *said += "unsupported " + path + "\n";
    } else {
      EXPECT_TRUE(problems.empty()) << problems.str();
    }
    return out;
  }

  // A client that has connected.
  App connect(std::unique_ptr<net::Transport> transport = net::makePlainTransport()) {
    if (part_ == nullptr) {
      in_.add_access_log();
      auto part = std::make_shared<ChainPart>();
      part->factory = parse();
      part->buffer_limit = buffer_limit_;
      part_ = std::move(part);
    }
    uint16_t port = 0;
    const int listening = listenAnywhere(port);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(port);
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int small = 16 * 1024;
    ::setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    EXPECT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    ::fcntl(client, F_SETFL, O_NONBLOCK);
    const int accepted = ::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ::setsockopt(accepted, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    ::close(listening);
    auto connection = std::make_unique<net::Connection>(world_.loop, accepted, std::move(transport), base::Address(), base::Address());
    auto* chain = new NetworkChain(worker_, *this, std::move(connection), {}, config::makePart<ChainPart>(part_, world_.loop.mailbox()));
    chains_.pushBack(*chain);
    base::Buffer none;
    chain->start(none);
    return App(client);
  }
  App acceptBackend() {
    int fd = -1;
    EXPECT_TRUE(world_.until([&] { return (fd = ::accept4(backend_fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; }));
    return App(fd);
  }
  bool until(const std::function<bool()>& condition) { return static_cast<bool>(world_.until(condition)); }
  void onChainClosed(NetworkChain&, net::CloseReason) override { ++closed_; }
  uint64_t count(TcpStat stat) { return stats::Set<TcpStat>(world_.stats.scope("tcp.t.", kTcpTable)).read(stat); }
  uint64_t countUp(ClusterStat stat) { return world_.count("a", stat); }

  upstream::World world_;
  config::RouteTables routes_;
  NoNames no_names_;
  WorkerContext worker_{world_.loop, world_.loop.mailbox(), world_.view, routes_, world_.stats, Random(1), {}, 1};
  std::shared_ptr<MemoryLog> log_ = std::make_shared<MemoryLog>();
  pb::TcpProxy in_;
  std::shared_ptr<const ChainPart> part_;
  base::IntrusiveList<NetworkChain, NetworkChainTag> chains_;
  uint32_t buffer_limit_ = 64 * 1024;
  int closed_ = 0;
  int backend_fd_ = -1;
  uint16_t backend_port_ = 0;
};

}  // namespace outrider::filter::network::tcp_proxy
