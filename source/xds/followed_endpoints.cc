#include "absl/strings/str_cat.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "source/config/endpoint_parse.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

struct Trip {
  Delivery delivery;
  std::string name;  // this watch may be gone when it arrives
  std::shared_ptr<config::EndpointsSpec> spec;
  std::vector<Failure> failures;
};

void read(Trip& at) {
  for (const ResourceIn& resource : at.delivery.resources) {
    envoy::config::endpoint::v3::ClusterLoadAssignment message;
    if (!message.ParseFromString(*resource.bytes)) {
      at.failures.push_back({resource.name, "cannot be decoded"});
      continue;
    }
    config::Problems problems;
    auto spec = std::make_shared<config::EndpointsSpec>(config::parseEndpoints(message, config::Names::kRefused, problems));
    if (message.cluster_name() != at.name) {
      at.failures.push_back({resource.name, absl::StrCat("is of cluster '", message.cluster_name(), "', '", at.name, "' was asked for")});
    } else if (!problems.empty()) {
      at.failures.push_back({resource.name, problems.str("; ")});
    } else {
      at.spec = std::move(spec);
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
  const auto apply = [&clusters = owner_.parts_.clusters](Trip& at) {
    if (at.spec != nullptr) clusters.updateEndpoints(at.name, at.spec);
    at.delivery.done(verdictOf("", at.failures, "; "));
  };
  if (bytes < kSmall) {
    Trip trip{std::move(delivery), name_, nullptr, {}};
    read(trip);
    apply(trip);
    return;
  }
  owner_.prepare(std::make_shared<Trip>(Trip{std::move(delivery), name_, nullptr, {}}), read,
                 [apply](const std::shared_ptr<Trip>& at) { apply(*at); });
}

void Follower::Endpoints::onFetchTimeout(std::string_view) { owner_.parts_.clusters.endpointsTimedOut(name_); }

}  // namespace outrider::xds
