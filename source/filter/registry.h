// The categories of extensions that filters belong to, and what parsing one gives.
// Thread: as config::ExtensionTable. The menu itself is server/catalog.cc.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "source/config/extension.h"
#include "source/config/route_tables.h"
#include "source/config/tls_spec.h"
#include "source/filter/http_filter.h"
#include "source/filter/listener.h"
#include "source/filter/network.h"

namespace outrider::config {
class RouteTable;
}
namespace outrider::accesslog {
class AccessLog;
}

namespace outrider::filter {

// Gives route tables their dense ids: one per inline table, one per name that RDS is asked for. Lives on main; parsers that run
// elsewhere get ids from it too, so it is thread-safe.
class RouteTableNames {
 public:
  virtual config::RouteTableId idOfInline() = 0;
  // `source`: serialized envoy.config.core.v3.ConfigSource.
  virtual config::RouteTableId idOfRds(std::string_view name, std::string_view source) = 0;
  // One per set of scopes; `key` says what makes it that set (where it comes from, and where its tables do).
  // kNoScopeSet: nobody brings scopes here, so who asks for them is refused.
  virtual config::ScopeSetId idOfScopes(std::string_view /*key*/) { return config::kNoScopeSet; }
  // Who uses a table holds its lease; with the last one gone the id is free and workers drop the table. Null: ids are never free.
  virtual std::shared_ptr<const void> leaseOf(config::RouteTableId /*id*/) { return nullptr; }
  // Can resources of this type (the message's full name) come from `source`, a serialized ConfigSource? Problems say why not.
  virtual void checkSource(std::string_view /*source*/, std::string_view /*type*/, config::Problems& /*problems*/) {}

 protected:
  ~RouteTableNames() = default;
};

// What a listener version needs beside itself: collected while its filters are parsed.
struct ListenerNeeds {
  struct InlineTable {
    config::RouteTableId id;
    std::shared_ptr<const config::RouteTable> table;
    std::shared_ptr<const void> lease = nullptr;
  };
  struct RdsTable {
    config::RouteTableId id;
    std::string name;
    std::string source;        // serialized ConfigSource
    std::string stats_prefix;  // "http.in.rds.main."
  };
  // Scopes that SRDS brings.
  struct ScopeSet {
    config::ScopeSetId id;
    std::string name;               // scoped_routes.name
    std::string scoped_source;      // serialized ConfigSource of SRDS
    std::string rds_source;         // serialized ConfigSource of the tables that scopes name
    std::string resources_locator;  // of an xdstp collection; empty: all there are
    std::string stats_prefix;       // "http.in.scoped_rds.main."
  };
  std::vector<InlineTable> tables;
  std::vector<ScopeSet> scope_sets;
  std::vector<RdsTable> rds;
  std::vector<config::SdsRef> secrets;
};

struct Registry;

struct FilterContext {
  config::ParseContext& parse;
  const Registry& registry;
  RouteTableNames& route_names;
  ListenerNeeds& needs;
  std::string listener_stat_prefix;   // "listener.127.0.0.1_80."
  std::string http_stat_prefix = {};  // "http.ingress.", while a connection manager is parsed
  // Of a serialized envoy.config.accesslog.v3.AccessLog, at the current path; null after a problem.
  std::function<std::shared_ptr<const accesslog::AccessLog>(std::string_view bytes)> access_log;
  uint32_t buffer_limit = 64 * 1024;  // bytes that a connection may have waiting to be written
};

// A parsed HTTP filter: either one that goes on, or the chain's end.
struct HttpFilterProduct {
  const FilterOps* ops = nullptr;
  const TerminalOps* terminal = nullptr;
  std::shared_ptr<const void> config;
};

struct Registry {
  config::ExtensionTable<HttpFilterProduct, FilterContext> http;
  config::ExtensionTable<std::shared_ptr<const NetworkFilterFactory>, FilterContext> network;
  config::ExtensionTable<std::shared_ptr<const ListenerFilterFactory>, FilterContext> listener;
};

}  // namespace outrider::filter
