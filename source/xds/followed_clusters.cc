#include "envoy/config/cluster/v3/cluster.pb.h"
#include "source/base/absl_compat.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {

struct Follower::Clusters::Trip {
  Delivery delivery;
  Hub::Pause endpoints;  // EDS requests that follow from this leave as one
  std::vector<std::shared_ptr<const config::ClusterSpec>> specs;
  std::vector<Failure> failures;
  std::vector<Report> reports;
  size_t next = 0;  // of the specs, then of the removals: the first that is not applied
};

void Follower::Clusters::onDelivery(Delivery delivery) {
  auto trip = std::make_shared<Trip>();
  trip->delivery = std::move(delivery);
  trip->endpoints = owner_.parts_.hub.pause(kEndpointType);
  owner_.prepare(
      std::move(trip),
      [&assembler = owner_.parts_.assembler](Trip& at) {
        for (const ResourceIn& resource : at.delivery.resources) {
          envoy::config::cluster::v3::Cluster message;
          if (!message.ParseFromString(*resource.bytes)) {
            at.failures.push_back({resource.name, "cannot be decoded"});
            continue;
          }
          config::Problems problems;
          if (auto spec = assembler.parseCluster(message, problems)) {
            at.specs.push_back(std::move(spec));
          } else {
            at.failures.push_back({resource.name, problems.str("; ")});
          }
          if (!problems.unsupportedPaths().empty()) at.reports.push_back({"cluster " + resource.name, std::move(problems)});
        }
      },
      [this](const std::shared_ptr<Trip>& at) {
        for (const auto& [resource, problems] : at->reports) owner_.parts_.unsupported(resource, problems);
        apply(at);
      });
}

// Some clusters a turn, then some removals: ten thousand at once would hold up the loop.
void Follower::Clusters::apply(const std::shared_ptr<Trip>& trip) {
  constexpr size_t kPerTurn = 128;
  Delivery& delivery = trip->delivery;
  size_t& next = trip->next;
  const size_t all = trip->specs.size() + delivery.removed.size();
  for (const size_t from = next; next < all && next < from + kPerTurn; ++next) {
    if (next > from && owner_.parts_.loop.overtime()) break;
    if (next < trip->specs.size()) {
      applyOne(trip->specs[next], trip->failures);
    } else {
      owner_.removeCluster(delivery.removed[next - trip->specs.size()]);
    }
  }
  owner_.applying_clusters_ = next < all;
  if (owner_.applying_clusters_) {
    owner_.post([this, trip, alive = owner_.alive_] {
      if (*alive) apply(trip);
    });
    return;
  }
  owner_.parts_.clusters.flush();
  // Dumps show what a warming version replaces for as long as it serves.
  if (!std::exchange(drop_asked_, true)) {
    owner_.parts_.clusters.whenWarm([this, &owner = owner_, alive = owner_.alive_] {
      if (!*alive) return;
      drop_asked_ = false;
      owner.parts_.hub.dropReplaced(kClusterType);
    });
  }
  delivery.done(verdictOf("Error adding/updating cluster(s) ", trip->failures, ", "));
  first();
  owner_.clustersDone();
}

void Follower::Clusters::applyOne(const std::shared_ptr<const config::ClusterSpec>& spec, std::vector<Failure>& failures) {
  if (const absl::Status status = owner_.parts_.assembler.applyCluster(spec, true); !status.ok()) {
    failures.push_back({spec->name, std::string(base::toStd(status.message()))});
    return;
  }
  owner_.clusterApplied(*spec);
}

void Follower::Clusters::first() {
  if (!std::exchange(first_, true)) owner_.clustersReady();
}

}  // namespace outrider::xds
