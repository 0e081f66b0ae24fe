// What the admin pages show, and what their buttons do: the server fills it in.
// Thread: main. Lifetime: the server's; everything referred to outlives the Endpoint.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/resource_view.h"
#include "source/event/loop.h"
#include "source/listener/listener_manager.h"
#include "source/stats/stats.h"
#include "source/tls/context.h"
#include "source/upstream/cluster_manager.h"

namespace envoy::admin::v3 {
class ServerInfo;
}
namespace envoy::config::bootstrap::v3 {
class Bootstrap;
}

namespace outrider::admin {

struct Sources {
  event::Loop& loop;
  stats::Store& stats;
  upstream::ClusterManager& clusters;
  listener::ListenerManager& listeners;
  const tls::ContextCache& tls;
  const envoy::config::bootstrap::v3::Bootstrap& bootstrap;
  base::Nanos started_at = 0;  // wall clock
  bool strict = true;          // refuse what browsers are tricked into; false: as Envoy

  std::function<std::string_view()> state;  // "LIVE"
  std::function<void(envoy::admin::v3::ServerInfo&)> server_info;
  std::function<void()> refresh;  // gauges, before statistics are read
  std::function<const std::vector<std::string>&()> unsupported;
  std::function<std::string()> defaults;  // the safe defaults in effect, a line each

  // Of control planes: the names of a type's resources (by its URL; in no order, some perhaps twice), what is known of one of them
  // (from each source that has it), the version of the last response, and what is not served yet.
  std::function<void(std::string_view type_url, const std::function<void(std::string_view name)>& fn)> resource_names;
  std::function<void(std::string_view type_url, const std::string& name, const std::function<void(const config::ResourceView&)>& fn)>
      resource;
  std::function<std::string(std::string_view type_url)> version;
  std::function<bool(const std::string& listener)> listener_warms;

  std::function<void(bool fail)> fail_health_check;
  std::function<void(bool graceful, bool inbound_only, bool skip_exit)> drain_listeners;
  std::function<void()> reopen_logs;
  std::function<void()> quit;
};

}  // namespace outrider::admin
