// Both sides of the upstream room on one loop, with scripted peers on the loopback: for tests.
// Thread: the test's. Real sockets, real clock; every wait is on a condition, with a limit.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <unistd.h>

#include "source/upstream/call/attempt.h"
#include "source/upstream/cluster_manager.h"
#include "source/upstream/cluster_view.h"

namespace outrider::upstream {

// Listens on 127.0.0.1; answers each HTTP/1 request head with what the script says.
class Peer final : public event::IoHandler {
 public:
  explicit Peer(event::Loop& loop) : loop_(loop), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    EXPECT_EQ(::listen(fd_, 64), 0);
    socklen_t size = sizeof at;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    loop_.add(fd_, *this, event::kReadable);
  }
  ~Peer() {
    loop_.remove(fd_, *this);
    ::close(fd_);
  }
  base::Address address() const { return *base::Address::parseIp("127.0.0.1", port); }
  void onReady(uint32_t) override {
    int fd;
    while ((fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
      ++accepted;
      lines_.push_back(std::make_unique<Line>(*this, fd));
    }
  }
  size_t open() const {
    size_t n = 0;
    for (const auto& line : lines_) n += line->fd >= 0;
    return n;
  }
  void closeAll() {
    for (auto& line : lines_) line->close();
  }
  // Says something on every open connection.
  void sayAll(const std::string& bytes) {
    for (auto& line : lines_) {
      if (line->fd >= 0) {
        EXPECT_EQ(::write(line->fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
      }
    }
  }

  uint16_t port = 0;
  int accepted = 0;
  std::vector<std::string> heads;
  std::function<std::string(const std::string& head)> answer = [](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
  };

 private:
  struct Line final : event::IoHandler {
    Line(Peer& p, int f) : peer(p), fd(f) { peer.loop_.add(fd, *this, event::kReadable); }
    ~Line() { close(); }
    void close() {
      if (fd < 0) return;
      peer.loop_.remove(fd, *this);
      ::close(fd);
      fd = -1;
    }
    void onReady(uint32_t) override {
      char bytes[4096];
      ssize_t n;
      while (fd >= 0 && (n = ::read(fd, bytes, sizeof bytes)) != -1) {
        if (n == 0) return close();
        in.append(bytes, static_cast<size_t>(n));
        for (size_t end; (end = in.find("\r\n\r\n")) != std::string::npos;) {
          const std::string head = in.substr(0, end + 4);
          in.erase(0, end + 4);
          peer.heads.push_back(head);
          const std::string out = peer.answer(head);
          if (!out.empty()) {
            EXPECT_EQ(::write(fd, out.data(), out.size()), static_cast<ssize_t>(out.size()));
          }
        }
      }
    }
    Peer& peer;
    int fd;
    std::string in;
  };
  event::Loop& loop_;
  const int fd_;
  std::vector<std::unique_ptr<Line>> lines_;
};

inline config::EndpointSpec endpointAt(const base::Address& address) {
  config::EndpointSpec out;
  out.address = address;
  out.port = address.port();
  return out;
}

class World {
 public:
  World()
      : manager(loop, stats, names, [this](auto changes) {
          letters.push_back(changes);
          view.apply(*changes);
        }) {}
  ~World() {
    view.shutdown();
    turns(3);
  }

  // A cluster that serves.
  void serve(std::shared_ptr<config::ClusterSpec> spec) {
    const auto put = manager.put(spec, true);
    ASSERT_TRUE(put.ok()) << put.status();
    manager.flush();
  }
  static std::shared_ptr<config::ClusterSpec> spec(const std::string& name, const std::vector<base::Address>& at) {
    auto out = std::make_shared<config::ClusterSpec>();
    out->name = out->eds_name = name;
    out->endpoints.localities.emplace_back();
    for (const base::Address& address : at) out->endpoints.localities[0].endpoints.push_back(endpointAt(address));
    return out;
  }
  Cluster& cluster(const std::string& name) {
    Cluster* found = view.find(name);
    EXPECT_NE(found, nullptr) << name;
    return *found;
  }
  uint64_t count(const std::string& name, ClusterStat stat) { return cluster(name).part().stats.read(stat); }

  void turns(int n) {
    for (int i = 0; i < n; ++i) loop.turn(0);
  }
  ::testing::AssertionResult until(const std::function<bool()>& condition, int limit_ms = 5000) {
    const base::Nanos end = base::SystemClock::instance().mono() + limit_ms * base::kMilli;
    while (!condition()) {
      if (base::SystemClock::instance().mono() > end) return ::testing::AssertionFailure() << "it did not come";
      loop.turn(10);
    }
    return ::testing::AssertionSuccess();
  }

  event::Loop loop;
  stats::Store stats{4};  // as with two workers: a slot is a pointer in every scope
  config::NameTable names;
  ClusterView view{loop, loop.mailbox(), 1, &names};
  std::vector<std::shared_ptr<const ClusterChanges>> letters;
  ClusterManager manager;
};

// One GET through an attempt.
class Call final : public AttemptOwner {
 public:
  Call(World& world, const std::string& cluster, std::string_view path = "/", const Attempt::Options& options = {})
      : arena_(base::Arena::create()), head_(arena_->make<http::RequestHead>(*arena_)) {
    head_->method = "GET";
    head_->scheme = "http";
    head_->authority = "test";
    head_->path = arena_->copy(path);
    attempt = arena_->make<Attempt>(world.cluster(cluster), *arena_, static_cast<AttemptOwner&>(*this), options);
    if (attempt->pick({}) != nullptr) attempt->start(*head_, true);
  }
  ~Call() {
    attempt->~Attempt();
    arena_->unref();
  }
  void onAttempt(Attempt&) override { ++events; }
  bool done() const { return attempt->done(); }
  int status() const { return attempt->head() == nullptr ? 0 : attempt->head()->status; }
  std::string body() { return attempt->body().pending().str(); }

  Attempt* attempt;
  int events = 0;

 private:
  base::Arena* arena_;
  http::RequestHead* head_;
};

}  // namespace outrider::upstream
