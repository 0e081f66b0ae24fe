// What a client may see of the served resources while a change reaches it in three steps: first what is new and changed that others
// lean on (clusters, endpoints, secrets), then what leads traffic there (listeners, scoped routes, routes), last what goes.
// Thread: one. Lifetime: a view borrows both snapshots. Source: envoy docs api-docs/xds_protocol, "eventual consistency considerations".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "source/xds/served_files.h"

namespace outrider::xds {

enum class ServedStep : uint8_t { kMake, kSwitch, kRest };

// What a resource makes its client ask for next.
struct ServedNeed {
  std::string type_url;
  std::string name;
};

// Endpoints of a cluster; routes of a listener or scope; secrets of any. Names that come from a file of the client are left out.
std::vector<ServedNeed> needsOf(const google::protobuf::Any& resource);

class ServedView final {
 public:
  // All there is, at rest.
  ServedView(const ServedResources& all) : before_(all), after_(all), step_(ServedStep::kRest) {}  // NOLINT: a view of it, as a string_view
  ServedView(const ServedResources& before, const ServedResources& after, ServedStep step) : before_(before), after_(after), step_(step) {}

  // By name.
  using Each = std::pair<const std::string*, const ServedResource*>;
  std::vector<Each> of(std::string_view type_url) const;
  const ServedResource* find(std::string_view type_url, std::string_view name) const;

  // What clients will ask for, and can have, because of what the step brings anew.
  struct News {
    std::string type_url;
    std::string name;  // of the new or changed resource
    ServedNeed need;
  };
  std::vector<News> news() const;

 private:
  enum class Seen : uint8_t { kBefore, kBoth, kAfter };
  Seen seen(std::string_view type_url) const;

  const ServedResources& before_;
  const ServedResources& after_;
  const ServedStep step_;
};

}  // namespace outrider::xds
