#include "test/stories/world.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <sstream>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "source/base/log.h"

namespace outrider::test {
namespace {

sockaddr_in loopback(uint16_t port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(port);
  return at;
}

}  // namespace

// ---- Wire ----

Wire::~Wire() {
  if (fd_ >= 0) ::close(fd_);
}

void Wire::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ASSERT_GT(n, 0) << std::strerror(errno);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

size_t Wire::trySend(std::string_view bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) break;
    sent += static_cast<size_t>(n);
  }
  return sent;
}

void Wire::finish() { ::shutdown(fd_, SHUT_WR); }

void Wire::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(fd_);
  fd_ = -1;
}

void Wire::pump() {
  if (fd_ < 0 || ended_ || stalled_) return;
  char bytes[16384];
  while (true) {
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0) {
      received_.append(bytes, static_cast<size_t>(n));
      continue;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    ended_ = true;
    reset_ = n < 0;
    return;
  }
}

std::string Wire::take() { return std::exchange(received_, {}); }

// ---- Backend ----

Backend::Backend() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
  sockaddr_in at = loopback(0);
  socklen_t size = sizeof at;
  const int room = 1 << 16;  // else the kernel grows it to megabytes; connections inherit it
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  if (::bind(fd_, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(fd_, 100) != 0) std::abort();
  ::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
  port_ = ntohs(at.sin_port);
}

Backend::~Backend() { stopListening(); }

void Backend::stopListening() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Backend::pump() {
  while (fd_ >= 0) {
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) break;
    wires_.push_back(std::make_unique<Wire>(fd));
  }
  for (const auto& wire : wires_) wire->pump();
}

// ---- World ----

World::World(const std::string& yaml, uint32_t workers) {
  server::Flags flags;
  flags.config_yaml = yaml;
  flags.concurrency = workers;
  base::Log::setAll(base::LogLevel::kWarning);
  server_ = std::make_unique<server::Server>(std::move(flags), clock_, false);
  const absl::Status status = server_->load();
  if (!status.ok()) {
    ADD_FAILURE() << std::string(status.message());
    std::abort();
  }
  server_->start();
  if (!until([this] { return server_->state() == server::State::kLive; })) {
    ADD_FAILURE() << "the server does not become live";
    std::abort();
  }
}

World::~World() = default;

base::Nanos World::realNow() { return base::SystemClock::instance().mono(); }

void World::step() {
  server_->stepUntilIdle();
  for (Backend* backend : backends_) backend->pump();
  for (const auto& client : clients_) client->pump();
}

void World::settle() {
  // Loopback hands bytes over at once, or at the next moment that another thread of the kernel gets: a few quiet rounds.
  for (int quiet = 0; quiet < 20; ++quiet) {
    step();
    timespec moment{0, 100'000};
    ::nanosleep(&moment, nullptr);
  }
}

void World::advance(base::Nanos by) {
  clock_.advance(by);
  settle();
}

Wire& World::connect(std::string_view listener) {
  for (const auto& active : server_->listeners().active()) {
    if (active.version->name != listener) continue;
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const sockaddr_in at = loopback(active.sockets.front()->local().port());
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) ADD_FAILURE() << std::strerror(errno);
    clients_.push_back(std::make_unique<Wire>(fd));
    return *clients_.back();
  }
  ADD_FAILURE() << "no listener " << listener;
  std::abort();
}

Backend& World::watch(Backend& backend) {
  backends_.push_back(&backend);
  return backend;
}

uint64_t World::counter(std::string_view name) const {
  uint64_t value = 0;
  bool found = false;
  stats::Store::Visitor visitor;
  visitor.number = [&](const std::string& at, stats::Kind, const stats::Scope::Reading& reading) {
    if (at != name) return;
    value = reading.value;
    found = true;
  };
  server_->stats().visit(visitor);
  EXPECT_TRUE(found) << "no statistic " << name;
  return value;
}

// ---- configurations ----

std::string indent(std::string_view lines, size_t by) {
  std::string out;
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    out += std::string(by, ' ') + std::string(lines.substr(0, end)) + "\n";
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  return out;
}

std::string edge(const Edge& edge) {
  std::string hosts;
  std::istringstream ports(edge.hosts);
  for (std::string port; ports >> port;) {
    hosts += "- endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: " + port + " } } }\n";
  }
  return R"(static_resources:
  listeners:
  - name: in
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
)" + indent(edge.manager, 10) +
         R"(          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: / }
                route:
                  cluster: backend
)" + indent(edge.route, 18) +
         R"(          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
  - name: backend
)" + indent(edge.cluster, 4) +
         R"(    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
)" + indent(hosts, 8);
}

}  // namespace outrider::test
