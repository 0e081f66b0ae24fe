#include "absl/strings/str_cat.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

struct Trip {
  Delivery delivery;
  std::string name;  // this watch may be gone when it arrives
  std::shared_ptr<const config::EndpointsSpec> before;
  std::shared_ptr<const config::EndpointsSpec> spec;
  std::vector<Failure> failures;
  std::vector<Report> reports;
};

void read(const Assembler& assembler, Trip& at) {
  for (const ResourceIn& resource : at.delivery.resources) {
    config::Problems problems;
    auto spec = assembler.readEndpoints(resource.bytes, at.before.get(), problems);
    if (!problems.empty()) {
      at.failures.push_back({resource.name, problems.str("; ")});
    } else if (spec->cluster_name != at.name) {
      at.failures.push_back({resource.name, absl::StrCat("is of cluster '", spec->cluster_name, "', '", at.name, "' was asked for")});
    } else {
      at.spec = std::move(spec);
      if (!problems.unsupportedPaths().empty()) at.reports.push_back({absl::StrCat("endpoints ", at.name), std::move(problems)});
    }
  }
}

}  // namespace

Follower::Endpoints::Endpoints(Follower& owner, std::string name, const std::string& source, const std::string& stats_prefix)
    : owner_(owner), name_(std::move(name)), source_(source) {
  id_ = owner_.parts_.hub.watch(readSource(source), kEndpointType, name_, *this, stats_prefix);
  if (id_ == 0) owner_.parts_.clusters.endpointsTimedOut(name_);
}

Follower::Endpoints::~Endpoints() { owner_.parts_.hub.unwatch(id_); }

void Follower::Endpoints::onDelivery(Delivery delivery) {
  // One endpoint change is little work: it is done here, and only large answers go to the config thread.
  constexpr size_t kSmall = 64 * 1024;
  size_t bytes = 0;
  for (const ResourceIn& resource : delivery.resources) bytes += resource.bytes->size();
  FollowerParts& parts = owner_.parts_;
  const auto apply = [&parts](Trip& at) {
    if (at.spec != nullptr) parts.clusters.updateEndpoints(at.name, at.spec);
    for (const Report& report : at.reports) parts.unsupported(report.resource, report.problems);
    at.delivery.done(verdictOf("", at.failures, "; "));
  };
  Trip trip{std::move(delivery), name_, parts.clusters.endpointsOf(name_), nullptr, {}, {}};
  const Assembler& assembler = parts.assembler;
  if (bytes < kSmall) {
    read(assembler, trip);
    apply(trip);
    return;
  }
  owner_.prepare(
      std::make_shared<Trip>(std::move(trip)), [&assembler](Trip& at) { read(assembler, at); },
      [apply](const std::shared_ptr<Trip>& at) { apply(*at); });
}

void Follower::Endpoints::onFetchTimeout(std::string_view) { owner_.parts_.clusters.endpointsTimedOut(name_); }

}  // namespace outrider::xds
