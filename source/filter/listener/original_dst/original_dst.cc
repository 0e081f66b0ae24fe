#include "source/filter/listener/original_dst/original_dst.h"

#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace outrider::filter::listener::original_dst {
namespace {

constexpr int kOriginalDst = 80;  // SO_ORIGINAL_DST, and the same number for IPv6

bool transparent(int fd, bool v4) {
  int on = 0;
  socklen_t size = sizeof on;
  const int result = v4 ? ::getsockopt(fd, SOL_IP, IP_TRANSPARENT, &on, &size) : ::getsockopt(fd, SOL_IPV6, IPV6_TRANSPARENT, &on, &size);
  return result == 0 && on != 0;
}

}  // namespace

std::unique_ptr<ListenerFilter> OriginalDstConfig::make() const { return std::make_unique<OriginalDst>(); }

ListenerFilter::Answer OriginalDst::onAccept(int fd, const base::Address& local, FirstBytes& found) {
  if (!local.isIp()) return Answer::kDone;
  static_assert(SO_ORIGINAL_DST == kOriginalDst);
  const bool v4 = local.family() == AF_INET;
  sockaddr_storage to;
  socklen_t size = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);  // the kernel leaves it as it is
  if (::getsockopt(fd, v4 ? SOL_IP : SOL_IPV6, kOriginalDst, &to, &size) == 0) {
    found.original_destination = base::Address::fromSockaddr(reinterpret_cast<const sockaddr*>(&to), size);
  } else if (transparent(fd, v4)) {
    found.original_destination = local;
  }
  return Answer::kDone;
}

}  // namespace outrider::filter::listener::original_dst
