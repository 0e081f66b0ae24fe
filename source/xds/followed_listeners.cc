#include <map>

#include "envoy/config/listener/v3/listener.pb.h"
#include "source/base/absl_compat.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {

struct Follower::Listeners::Trip {
  Delivery delivery;
  Hub::Pause routes, secrets;                                  // what follows from this is asked for in one request a type
  std::map<std::string, listener::ListenerVersionRef> before;  // chains that stay equal are taken over from what serves now
  std::vector<Assembler::ListenerDraft> drafts;
  std::vector<Failure> failures;
  std::vector<Report> reports;
};

void Follower::Listeners::onDelivery(Delivery delivery) {
  auto trip = std::make_shared<Trip>();
  trip->delivery = std::move(delivery);
  trip->routes = owner_.parts_.hub.pause(kRouteType);
  trip->secrets = owner_.parts_.hub.pause(kSecretType);
  for (const ResourceIn& resource : trip->delivery.resources) {
    trip->before[resource.name] = owner_.parts_.assembler.servingVersion(resource.name);
  }
  owner_.prepare(
      std::move(trip),
      [&assembler = owner_.parts_.assembler](Trip& at) {
        for (const ResourceIn& resource : at.delivery.resources) {
          envoy::config::listener::v3::Listener message;
          if (!message.ParseFromString(*resource.bytes)) {
            at.failures.push_back({resource.name, "cannot be decoded"});
            continue;
          }
          config::Problems problems;
          Assembler::ListenerDraft draft = assembler.parseListener(message, true, at.before[resource.name].get(), problems);
          if (problems.empty()) {
            at.drafts.push_back(std::move(draft));
          } else {
            at.failures.push_back({resource.name, problems.str("; ")});
          }
          if (!problems.unsupportedPaths().empty()) at.reports.push_back({"listener " + resource.name, std::move(problems)});
        }
      },
      [this](const std::shared_ptr<Trip>& at) {
        owner_.afterClusters([this, at] {
          apply(*at);
          for (const auto& [resource, problems] : at->reports) owner_.parts_.unsupported(resource, problems);
        });
      });
}

void Follower::Listeners::apply(Trip& trip) {
  // Removals before additions: an address may move from one name to another.
  for (const std::string& name : trip.delivery.removed) owner_.parts_.assembler.removeListener(name, owner_.parts_.drain_time);
  for (Assembler::ListenerDraft& draft : trip.drafts) {
    const std::string name = draft.parsed.version->name;
    if (const absl::Status status = owner_.parts_.assembler.applyListener(std::move(draft)); !status.ok()) {
      trip.failures.push_back({name, std::string(base::toStd(status.message()))});
    }
  }
  owner_.listenersChanged();
  trip.delivery.done(verdictOf("Error adding/updating listener(s) ", trip.failures, "\n"));
  if (!std::exchange(drop_asked_, true)) {
    owner_.parts_.assembler.whenListenersWarm([this, &owner = owner_, alive = owner_.alive_] {
      if (!*alive) return;
      drop_asked_ = false;
      owner.parts_.hub.dropReplaced(kListenerType);
    });
  }
  first();
}

void Follower::Listeners::first() {
  if (!std::exchange(first_, true)) owner_.listenersReady();
}

}  // namespace outrider::xds
