// Asks the kernel where a connection that iptables redirected wanted to go (SO_ORIGINAL_DST); behind a transparent socket (TPROXY) that
// is its local address. Thread: the accepting worker. Lifetime: until it answered. Source:
// envoy.extensions.filters.listener.original_dst.v3; Envoy docs "original_dst_filter".
#pragma once

#include "source/filter/listener.h"

namespace outrider::filter::listener::original_dst {

class OriginalDstConfig final : public ListenerFilterFactory {
 public:
  std::unique_ptr<ListenerFilter> make() const override;
  size_t mostBytes() const override { return 0; }
};

class OriginalDst final : public ListenerFilter {
 public:
  Answer onAccept(int fd, const base::Address& local, FirstBytes& found) override;
};

}  // namespace outrider::filter::listener::original_dst
