#include "source/upstream/pool/connect.h"

#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"

namespace outrider::upstream {
namespace {

void bindSource(int fd, const ClusterPart& part, const base::Address& to) {
  const config::ClusterSpec& spec = *part.spec;
  for (const base::Address& source : spec.source_addresses) {
    if (source.family() != to.family()) continue;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (spec.freebind) ::setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
    if (::bind(fd, source.sockAddr(), source.length()) < 0) part.stats.inc(ClusterStat::kBindErrors);
  }
}

void keepAlive(int fd, const config::KeepaliveSpec& spec) {
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  const auto put = [fd](int name, uint32_t value) {
    const int number = static_cast<int>(value);
    if (value > 0) ::setsockopt(fd, IPPROTO_TCP, name, &number, sizeof number);
  };
  put(TCP_KEEPCNT, spec.probes);
  put(TCP_KEEPIDLE, spec.time_s);
  put(TCP_KEEPINTVL, spec.interval_s);
}

}  // namespace

std::unique_ptr<net::Connection> makeConnection(event::Loop& loop, const ClusterPart& part, const TransportArgs& args,
                                                std::string& failure) {
  std::unique_ptr<net::Transport> transport = part.transport == nullptr ? net::makePlainTransport() : part.transport->make(args);
  if (transport == nullptr) {
    failure = std::string(part.transport->failure());
    return nullptr;
  }
  const base::Address& to = args.host->address;
  const int fd = net::makeSocket(to);
  if (fd < 0) {
    failure = absl::StrCat("immediate connect error: ", std::strerror(errno));
    return nullptr;
  }
  if (to.isIp()) {
    bindSource(fd, part, to);
    if (part.spec->keepalive.on) keepAlive(fd, part.spec->keepalive);
  }
  auto connection = std::make_unique<net::Connection>(loop, fd, std::move(transport), base::Address(), to);
  connection->setBufferLimit(part.spec->buffer_limit);
  return connection;
}

}  // namespace outrider::upstream
