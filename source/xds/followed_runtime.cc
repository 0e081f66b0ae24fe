#include "envoy/service/runtime/v3/rtds.pb.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {

Follower::Runtime::~Runtime() { owner_.parts_.hub.unwatch(id_); }

bool Follower::Runtime::watch(const envoy::config::core::v3::ConfigSource& source, const std::string& name) {
  id_ = owner_.parts_.hub.watch(source, kRuntimeType, name, *this);
  return id_ != 0;
}

void Follower::Runtime::onDelivery(Delivery delivery) {
  std::vector<Failure> failures;
  for (const ResourceIn& resource : delivery.resources) {
    envoy::service::runtime::v3::Runtime message;
    if (!message.ParseFromString(*resource.bytes)) {
      failures.push_back({resource.name, "cannot be decoded"});
      continue;
    }
    report(owner_, "runtime layer " + layer_, message.layer());
  }
  delivery.done(verdictOf("", failures, "; "));
  first();
}

void Follower::Runtime::report(Follower& owner, const std::string& where, const google::protobuf::Struct& layer) {
  config::Problems problems;
  for (const auto& [key, value] : layer.fields()) {
    const bool guard = key == "envoy" || key.rfind("envoy.", 0) == 0 || key == "re2" || key.rfind("re2.", 0) == 0;
    if (!guard) problems.unsupported(key);
  }
  if (!problems.unsupportedPaths().empty()) owner.parts_.unsupported(where, problems);
}

void Follower::Runtime::first() {
  if (!std::exchange(first_, true)) owner_.runtimeReady();
}

}  // namespace outrider::xds
