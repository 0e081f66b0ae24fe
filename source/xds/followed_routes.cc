#include "source/base/absl_compat.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {

Follower::Routes::Routes(Follower& owner, std::string name, std::string source, const std::string& stats_prefix)
    : owner_(owner), name_(std::move(name)), source_(std::move(source)) {
  id_ = owner_.parts_.hub.watch(readSource(source_), kRouteType, name_, *this, stats_prefix);
  if (id_ == 0) owner_.parts_.assembler.routesTimedOut(name_, source_);
}

Follower::Routes::~Routes() { owner_.parts_.hub.unwatch(id_); }

void Follower::Routes::onDelivery(Delivery delivery) {
  struct Trip {
    Delivery delivery;
    std::string source, name;  // this watch may be gone when it arrives
    std::shared_ptr<const config::RouteTable> before, table;
    std::vector<Failure> failures;
    config::Problems problems;
  };
  auto trip = std::make_shared<Trip>();
  trip->delivery = std::move(delivery);
  trip->source = source_;
  trip->name = name_;
  trip->before = owner_.parts_.assembler.servingRoutes(name_, source_);
  owner_.prepare(
      std::move(trip),
      [&assembler = owner_.parts_.assembler](Trip& at) {
        for (const ResourceIn& resource : at.delivery.resources) {
          if (resource.name != at.name) continue;
          at.table = assembler.readRoutes(*resource.bytes, at.before.get(), at.problems);
          if (at.problems.empty() && at.table != nullptr) continue;
          at.failures.push_back({resource.name, at.problems.str("; ")});
          at.table = nullptr;
        }
      },
      [&owner = owner_](const std::shared_ptr<Trip>& at) {
        owner.afterClusters([&owner, at] {
          if (at->table != nullptr) {
            const absl::Status status = owner.parts_.assembler.applyRoutes(at->name, at->source, std::move(at->table));
            if (!status.ok()) at->failures.push_back({at->name, std::string(base::toStd(status.message()))});
          }
          if (!at->problems.unsupportedPaths().empty()) owner.parts_.unsupported("route configuration " + at->name, at->problems);
          at->delivery.done(verdictOf("", at->failures, "; "));
        });
      });
}

void Follower::Routes::onFetchTimeout(std::string_view) { owner_.parts_.assembler.routesTimedOut(name_, source_); }

}  // namespace outrider::xds
