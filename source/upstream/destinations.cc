#include "source/upstream/destinations.h"

#include "source/base/absl_compat.h"

namespace outrider::upstream {

Destinations::Destinations(event::Loop& loop, base::Nanos cleanup, std::function<void(const Host&)> dropped)
    : cleanup_(cleanup), dropped_(std::move(dropped)), sweep_(event::Timer::to<&Destinations::sweep>(loop.timers(), this)) {}

const Host& Destinations::at(const base::Address& address) {
  Known& known = hosts_[address];
  known.used = true;
  if (known.host == nullptr) {
    known.host = HostRef(new Host(address, nullptr));
    if (hosts_.size() == 1) sweep_.armIn(cleanup_);
  }
  return *known.host;
}

void Destinations::sweep() {
  for (auto it = hosts_.begin(); it != hosts_.end();) {
    Known& known = it->second;
    const auto at = it++;
    if (std::exchange(known.used, false) || known.host->load.active.load(std::memory_order_relaxed) > 0) continue;
    dropped_(*known.host);
    hosts_.erase(at);
  }
  if (!hosts_.empty()) sweep_.armIn(cleanup_);
}

std::optional<base::Address> originalDestination(const config::OriginalDstSpec& spec, const http::RequestHead* head,
                                                 const stream::ConnectionInfo* connection, bool& invalid) {
  std::optional<base::Address> out;
  invalid = false;
  if (!spec.header.empty() && head != nullptr) {
    if (const http::Header* said = head->headers.find(std::string_view(spec.header))) {
      out = base::Address::parseIpPort(said->value());
      if (!out.has_value()) {
        invalid = true;
        return out;
      }
    }
  }
  if (!out.has_value() && connection != nullptr && connection->local_restored && connection->local().isIp()) out = connection->local();
  if (out.has_value() && spec.port != 0) out = out->withPort(spec.port);
  return out;
}

}  // namespace outrider::upstream
