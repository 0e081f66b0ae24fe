#include "envoy/config/route/v3/scoped_route.pb.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {

struct Follower::Scopes::Trip {
  Delivery delivery;
  config::ScopeSetId set;
  Hub::Pause routes;  // RDS requests that follow from this leave as one
  std::vector<Assembler::ScopeDraft> drafts;
  std::vector<Failure> failures;
  std::vector<Report> reports;
};

Follower::Scopes::Scopes(Follower& owner, const Assembler::Wants::Scopes& wanted) : owner_(owner), set_(wanted.id) {
  id_ = owner_.parts_.hub.watch(readSource(wanted.source), kScopedRouteType, {}, *this, wanted.stats_prefix);
  if (id_ == 0) owner_.parts_.assembler.scopesTimedOut(set_);
}

Follower::Scopes::~Scopes() { owner_.parts_.hub.unwatch(id_); }

void Follower::Scopes::onDelivery(Delivery delivery) {
  auto trip = std::make_shared<Trip>();
  trip->delivery = std::move(delivery);
  trip->set = set_;
  trip->routes = owner_.parts_.hub.pause(kRouteType);
  owner_.prepare(
      std::move(trip),
      [&assembler = owner_.parts_.assembler](Trip& at) {
        for (const ResourceIn& resource : at.delivery.resources) {
          envoy::config::route::v3::ScopedRouteConfiguration message;
          if (!message.ParseFromString(*resource.bytes)) {
            at.failures.push_back({resource.name, "cannot be decoded"});
            continue;
          }
          config::Problems problems;
          Assembler::ScopeDraft draft = assembler.parseScope(message, problems);
          if (problems.empty()) {
            at.drafts.push_back(std::move(draft));
          } else {
            at.failures.push_back({resource.name, problems.str("; ")});
          }
          if (!problems.unsupportedPaths().empty()) at.reports.push_back({"scoped route " + resource.name, std::move(problems)});
        }
      },
      [&owner = owner_](const std::shared_ptr<Trip>& at) {
        owner.afterClusters([&owner, at] {
          if (!owner.scopes_.contains(at->set)) return;
          std::vector<std::pair<std::string, std::string>> refused;
          owner.parts_.assembler.applyScopes(at->set, std::move(at->drafts), at->delivery.removed, refused);
          for (auto& [name, why] : refused) at->failures.push_back({std::move(name), std::move(why)});
          owner.listenersChanged();
          at->delivery.done(verdictOf("Error adding/updating scoped route(s) ", at->failures, "\n"));
          for (const auto& [resource, problems] : at->reports) owner.parts_.unsupported(resource, problems);
        });
      });
}

void Follower::Scopes::onFetchTimeout(std::string_view) { owner_.parts_.assembler.scopesTimedOut(set_); }

}  // namespace outrider::xds
