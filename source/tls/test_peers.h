// Two connections of one loop that talk TLS to each other over a socket pair.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "source/event/loop.h"
#include "source/net/connection.h"
#include "source/stats/stats.h"
#include "source/tls/context.h"
#include "source/tls/session.h"
#include "source/tls/test_certificates.h"

namespace outrider::tls {

inline config::DataSpec inlined(std::string bytes) { return {std::move(bytes), "<inline>"}; }

inline config::CertificateSpec certificateOf(const testing::Pair& pair) {
  config::CertificateSpec out;
  out.chain = inlined(pair.certificate);
  out.key = inlined(pair.key);
  return out;
}

// One end: hears, says, remembers.
class Peer final : public net::ConnectionSink {
 public:
  Peer(event::Loop& loop, int fd, std::unique_ptr<net::Transport> transport)
      : connection_(loop, fd, std::move(transport), base::Address(), base::Address()) {
    connection_.setSink(*this);
    base::Buffer none;
    connection_.startAccepted(none);
  }
  void onConnected() override { connected = true; }
  void onBytes(base::Buffer& in, bool end) override {
    received += in.size();
    if (keep) text += in.str();
    in.clear();
    eof |= end;
    if (heard) heard();
  }
  void onFlush(base::Buffer&) override {}
  void onRoom() override {
    if (room) room();
  }
  void onClosed(net::CloseReason why) override {
    closed = why;
    failure = connection_.transport().failure();
  }
  void say(std::string_view words) {
    connection_.out().append(words);
    connection_.markDirty();
  }
  net::Connection& connection() { return connection_; }
  const net::SecurityInfo& security() { return *connection_.transport().security(); }

  std::string text, failure;
  size_t received = 0;
  bool connected = false, eof = false, keep = true;
  net::CloseReason closed = net::CloseReason::kNone;
  std::function<void()> heard, room;

 private:
  net::Connection connection_;
};

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() {
    server_spec_.common.certificates.push_back(certificateOf(authority_.issue({.common_name = "server", .sans = "DNS:server.test"})));
    client_spec_.common.params.max = config::TlsVersion::kTls13;
    client_spec_.common.validation.emplace();
    client_spec_.common.validation->trusted_ca = inlined(authority_.pem());
    client_spec_.sni = "server.test";
  }

  ServerContextRef serverContext() {
    config::Problems problems;
    auto out = cache_.server(server_spec_, problems);
    EXPECT_TRUE(problems.empty()) << problems.str();
    return out;
  }
  ClientContextRef clientContext() {
    config::Problems problems;
    auto out = cache_.client(client_spec_, problems);
    EXPECT_TRUE(problems.empty()) << problems.str();
    return out;
  }

  // Connects the two specs as they are now, and lets them talk until nothing moves.
  void connect(ClientArgs args = {}, int socket_buffer = 0) {
    client_.reset();
    server_.reset();
    int fds[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    if (socket_buffer > 0) {
      for (const int fd : fds) {
        ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &socket_buffer, sizeof socket_buffer);
        ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &socket_buffer, sizeof socket_buffer);
      }
    }
    server_ = std::make_unique<Peer>(loop_, fds[0], makeServerTransport(serverContext(), server_stats_));
    client_ = std::make_unique<Peer>(loop_, fds[1], makeClientTransport(clientContext(), client_stats_, args));
    turns();
  }
  // The server alone; the other end of the socket is the test's.
  int serverAlone() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    server_ = std::make_unique<Peer>(loop_, fds[0], makeServerTransport(serverContext(), server_stats_));
    turns();
    return fds[1];
  }
  void turns() {
    while (loop_.turn(0)) {
    }
  }
  uint64_t serverStat(SslStat stat) const { return server_stats_->counters.read(stat); }
  uint64_t clientStat(SslStat stat) const { return client_stats_->counters.read(stat); }

  testing::Authority authority_;
  config::DownstreamTlsSpec server_spec_;
  config::UpstreamTlsSpec client_spec_;
  ContextCache cache_;
  stats::Store store_;
  SslStatsRef server_stats_ = SslStats::make(store_, "listener.a.", SslSide::kServer);
  SslStatsRef client_stats_ = SslStats::make(store_, "cluster.a.", SslSide::kClient);
  event::Loop loop_;
  std::unique_ptr<Peer> server_, client_;
};

}  // namespace outrider::tls
