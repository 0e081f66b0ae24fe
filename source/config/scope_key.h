// hcm.v3.ScopedRoutes.ScopeKeyBuilder, compiled: the key of a request's scope, and the scopes by key.
// Thread: immutable, any; the key's bytes live in the head's arena. Matching allocates in that arena only.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "source/config/route_spec.h"
#include "source/config/route_tables.h"
#include "source/http/field_name.h"

namespace outrider::config {

class ScopeKey final {
 public:
  explicit ScopeKey(ScopeKeySpec spec);
  // All fragments in one text, so that different keys never look alike; nullopt: a header or element is missing, and no scope fits.
  std::optional<std::string_view> of(const http::RequestHead& head) const;
  // The same text for a scope's own key.
  static std::string of(const std::vector<std::string>& fragments);

 private:
  const ScopeKeySpec spec_;
  std::vector<http::FieldName> headers_;
};

// Which table a request of a scope uses. Two scopes with one key: add() says so, and the first stays.
class ScopeIndex final {
 public:
  bool add(const ScopeSpec& scope, RouteTableId table) { return tables_.try_emplace(ScopeKey::of(scope.key), table).second; }
  RouteTableId find(const ScopeKey& key, const http::RequestHead& head) const {
    const auto text = key.of(head);
    if (!text.has_value()) return kNoRouteTable;
    const auto it = tables_.find(*text);
    return it == tables_.end() ? kNoRouteTable : it->second;
  }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const { return a == b; }
  };
  absl::flat_hash_map<std::string, RouteTableId, Hash, Equal> tables_;
};

}  // namespace outrider::config
