// One worker's view of the route tables: by dense id, an entry a table, filled by change lists between two turns.
// Thread: its worker. Lifetime: the worker's; streams pin the table they matched with, not this view.
#pragma once

#include <cstdint>
#include <vector>

#include "source/config/local_part.h"

namespace outrider::config {

class RouteTable;
class ScopeIndex;

// Ids are given out on main: one for each inline table of a listener version, one for each name asked of RDS.
using RouteTableId = uint32_t;
inline constexpr RouteTableId kNoRouteTable = UINT32_MAX;

// One for each set of scopes that SRDS brings.
using ScopeSetId = uint32_t;
inline constexpr ScopeSetId kNoScopeSet = UINT32_MAX;

class RouteTables final {
 public:
  // Null: no such table yet (RDS has not answered): 404.
  const PartRef<RouteTable>& find(RouteTableId id) const {
    static const PartRef<RouteTable> none;
    return id < tables_.size() ? tables_[id] : none;
  }
  void set(RouteTableId id, PartRef<RouteTable> table) {
    if (id >= tables_.size()) tables_.resize(id + 1);
    tables_[id] = std::move(table);
  }
  // Null: SRDS has not answered.
  const PartRef<ScopeIndex>& scopes(ScopeSetId id) const {
    static const PartRef<ScopeIndex> none;
    return id < scopes_.size() ? scopes_[id] : none;
  }
  void setScopes(ScopeSetId id, PartRef<ScopeIndex> scopes) {
    if (id >= scopes_.size()) scopes_.resize(id + 1);
    scopes_[id] = std::move(scopes);
  }

 private:
  std::vector<PartRef<RouteTable>> tables_;
  std::vector<PartRef<ScopeIndex>> scopes_;
};

}  // namespace outrider::config
