// A connection manager, compiled: what its connections and streams read. Immutable, made off the workers.
#pragma once

#include <memory>
#include <vector>

#include "source/config/route_tables.h"
#include "source/config/scope_key.h"
#include "source/filter/http_filter.h"
#include "source/filter/network.h"
#include "source/filter/network/http_connection_manager/local_reply.h"
#include "source/filter/network/http_connection_manager/spec.h"
#include "source/filter/network/http_connection_manager/stats.h"

namespace outrider::accesslog {
class AccessLog;
}

namespace outrider::filter::network::http_connection_manager {

class HcmConfig final : public NetworkFilterFactory {
 public:
  HcmSpec spec;
  std::shared_ptr<const HttpChain> chain;
  config::RouteTableId routes = config::kNoRouteTable;
  // scoped_routes: the key chooses the table, from the scopes written here or from those that SRDS brings.
  std::shared_ptr<const config::ScopeKey> scope_key;
  std::shared_ptr<const config::ScopeIndex> inline_scopes;
  config::ScopeSetId scope_set = config::kNoScopeSet;
  std::vector<std::shared_ptr<const void>> leases;  // of the tables above: they live as long as this
  std::vector<std::shared_ptr<const accesslog::AccessLog>> access_logs;
  std::shared_ptr<const LocalReplies> local_replies;  // null: our answers go out as they are
  HcmStats stats;
  stats::SeriesRef reasons;  // "http.<stat_prefix>.outrider_reason." + reason id (docs/reasons.md)
  ListenerHttpStats listener_stats;
  std::shared_ptr<CodecStats> codec_stats;

  std::unique_ptr<NetworkFilter> make(const NetworkContext& context) const override;
};

}  // namespace outrider::filter::network::http_connection_manager
