#include "source/net/listen_socket.h"

#include <cerrno>
#include <cstring>

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace outrider::net {
namespace {

absl::Status failure(const base::Address& address, const char* call) {
  const int error = errno;
  const std::string text = absl::StrCat("cannot bind '", address.str(), "': ", call, ": ", std::strerror(error));
  return error == EADDRINUSE ? absl::AlreadyExistsError(text) : absl::UnavailableError(text);
}

// Options set before bind; -1 and errno on failure.
int configure(int fd, const base::Address& address, const ListenOptions& options) {
  const int on = 1;
  if (address.isIp()) {
    if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) return -1;
    // Accepted sockets inherit it: no call a connection.
    if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) return -1;
  }
  if (address.family() == AF_INET6) {
    const int v6_only = options.v6_only ? 1 : 0;
    if (::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only) < 0) return -1;
  }
  if (options.freebind && ::setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on) < 0) return -1;
  if (options.transparent && ::setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on) < 0) return -1;
  if (options.fast_open > 0) {
    const int queue = options.fast_open;
    if (::setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue) < 0) return -1;
  }
  for (const ListenOptions::Raw& raw : options.raw) {
    if (::setsockopt(fd, raw.level, raw.name, raw.value.data(), static_cast<socklen_t>(raw.value.size())) < 0) return -1;
  }
  return 0;
}

// A socket file that nobody listens on any more stands in the way of bind; one with a living owner is left alone.
void removeStaleSocketFile(const base::Address& address) {
  const std::string path = address.str();
  if (path.empty() || path[0] == '@') return;
  struct stat info;
  if (::stat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) return;
  if (::connect(probe, address.sockAddr(), address.length()) < 0 && errno == ECONNREFUSED) ::unlink(path.c_str());
  ::close(probe);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ListenSocket>> ListenSocket::open(const base::Address& address, const ListenOptions& options, size_t workers,
                                                                 bool join) {
  std::unique_ptr<ListenSocket> out(new ListenSocket(address, options));
  if (address.isUnix()) removeStaleSocketFile(address);
  const size_t count = options.reuse_port && address.isIp() ? workers : 1;
  for (size_t i = 0; i < count; ++i) {
    const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return failure(address, "socket");
    out->fds_.push_back(fd);
    if (configure(fd, address, options) < 0) return failure(address, "setsockopt");
    const int on = 1;
    if ((i > 0 || join) && address.isIp() && ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0)
      return failure(address, "SO_REUSEPORT");
    const base::Address& at = i == 0 ? address : out->local_;
    if (::bind(fd, at.sockAddr(), at.length()) < 0) return failure(address, "bind");
    if (i == 0) {
      sockaddr_storage own;
      socklen_t size = sizeof own;
      if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) < 0) return failure(address, "getsockname");
      out->local_ = base::Address::fromSockaddr(reinterpret_cast<sockaddr*>(&own), size);
      // Alone on the port so far: now others of ours may join.
      if (options.reuse_port && address.isIp() && ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) {
        return failure(address, "SO_REUSEPORT");
      }
      const std::string path = address.isUnix() ? address.str() : std::string();
      if (!path.empty() && path[0] != '@' && options.unix_mode != 0) ::chmod(path.c_str(), options.unix_mode);
    }
  }
  for (const int fd : out->fds_) {
    if (::listen(fd, options.backlog) < 0) return failure(address, "listen");
  }
  return out;
}

bool ListenSocket::adjust(const ListenOptions& options) {
  ListenOptions rest = options;
  rest.backlog = options_.backlog;
  rest.fast_open = options_.fast_open;
  if (rest != options_) return false;
  for (const int fd : fds_) {
    const int queue = options.fast_open;
    if (queue != options_.fast_open && ::setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue) < 0) return false;
    if (options.backlog != options_.backlog && ::listen(fd, options.backlog) < 0) return false;
  }
  options_ = options;
  return true;
}

ListenSocket::~ListenSocket() {
  for (const int fd : fds_) ::close(fd);
  const std::string path = local_.isUnix() ? local_.str() : std::string();
  if (!path.empty() && path[0] != '@') ::unlink(path.c_str());
}

}  // namespace outrider::net
