#include "source/xds/served_view.h"

#include <google/protobuf/message.h>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace pb = google::protobuf;
using envoy::config::cluster::v3::Cluster;
using envoy::config::core::v3::ConfigSource;
using envoy::config::route::v3::ScopedRouteConfiguration;
using envoy::extensions::filters::network::http_connection_manager::v3::Rds;
using envoy::extensions::transport_sockets::tls::v3::SdsSecretConfig;

constexpr int kDeepest = 64;  // messages within messages; files hold what people write

const ServedOfType& ofType(const ServedResources& resources, std::string_view type_url) {
  static const auto* const none = new ServedOfType();
  const auto at = resources.find(type_url);
  return at == resources.end() ? *none : at->second;
}

bool isFile(const ConfigSource& source) { return source.has_path_config_source() || !source.path().empty(); }

void collect(const pb::Message& message, int depth, std::vector<ServedNeed>& out);

void collectAny(const pb::Any& any, int depth, std::vector<ServedNeed>& out) {
  const size_t slash = any.type_url().rfind('/');
  const auto* type = pb::DescriptorPool::generated_pool()->FindMessageTypeByName(any.type_url().substr(slash + 1));
  if (type == nullptr) return;
  const std::unique_ptr<pb::Message> inner(pb::MessageFactory::generated_factory()->GetPrototype(type)->New());
  if (inner->ParseFromString(any.value())) collect(*inner, depth, out);
}

void collect(const pb::Message& message, int depth, std::vector<ServedNeed>& out) {
  if (depth > kDeepest) return;
  if (const auto* any = pb::DynamicCastToGenerated<pb::Any>(&message)) return collectAny(*any, depth + 1, out);
  if (const auto* cluster = pb::DynamicCastToGenerated<Cluster>(&message)) {
    const auto& eds = cluster->eds_cluster_config();
    if (cluster->type() == Cluster::EDS && !isFile(eds.eds_config())) {
      out.push_back({std::string(kEndpointType), eds.service_name().empty() ? cluster->name() : eds.service_name()});
    }
  } else if (const auto* secret = pb::DynamicCastToGenerated<SdsSecretConfig>(&message)) {
    if (secret->has_sds_config() && !isFile(secret->sds_config())) out.push_back({std::string(kSecretType), secret->name()});
  } else if (const auto* rds = pb::DynamicCastToGenerated<Rds>(&message)) {
    if (!isFile(rds->config_source())) out.push_back({std::string(kRouteType), rds->route_config_name()});
  } else if (const auto* scope = pb::DynamicCastToGenerated<ScopedRouteConfiguration>(&message)) {
    if (!scope->has_route_configuration()) out.push_back({std::string(kRouteType), scope->route_configuration_name()});
  }
  const pb::Reflection& reflection = *message.GetReflection();
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      collect(reflection.GetMessage(message, field), depth + 1, out);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i)
      collect(reflection.GetRepeatedMessage(message, field, i), depth + 1, out);
  }
}

}  // namespace

std::vector<ServedNeed> needsOf(const pb::Any& resource) {
  std::vector<ServedNeed> out;
  collectAny(resource, 0, out);
  return out;
}

ServedView::Seen ServedView::seen(std::string_view type_url) const {
  const bool early = type_url == kRuntimeType || type_url == kClusterType || type_url == kEndpointType || type_url == kSecretType;
  switch (step_) {
    case ServedStep::kMake: return early ? Seen::kBoth : Seen::kBefore;
    case ServedStep::kSwitch:
      // Nothing leans on these, so they go in the same breath; a route table or a filter's config may still be named by the listener.
      return type_url == kListenerType || type_url == kScopedRouteType || type_url == kVirtualHostType ? Seen::kAfter : Seen::kBoth;
    case ServedStep::kRest: return Seen::kAfter;
  }
  return Seen::kAfter;
}

std::vector<ServedView::Each> ServedView::of(std::string_view type_url) const {
  const Seen which = seen(type_url);
  const ServedOfType& before = ofType(before_, type_url);
  const ServedOfType& after = ofType(after_, type_url);
  std::vector<Each> all;
  if (which == Seen::kBefore || which == Seen::kAfter) {
    for (const auto& [name, resource] : which == Seen::kAfter ? after : before) all.emplace_back(&name, &resource);
    return all;
  }
  auto old = before.begin();
  for (const auto& [name, resource] : after) {
    for (; old != before.end() && old->first < name; ++old) all.emplace_back(&old->first, &old->second);
    if (old != before.end() && old->first == name) ++old;
    all.emplace_back(&name, &resource);
  }
  for (; old != before.end(); ++old) all.emplace_back(&old->first, &old->second);
  return all;
}

const ServedResource* ServedView::find(std::string_view type_url, std::string_view name) const {
  const Seen which = seen(type_url);
  const auto in = [&](const ServedResources& resources) -> const ServedResource* {
    const ServedOfType& all = ofType(resources, type_url);
    const auto at = all.find(name);
    return at == all.end() ? nullptr : &at->second;
  };
  if (which == Seen::kBefore) return in(before_);
  const ServedResource* found = in(after_);
  return found == nullptr && which == Seen::kBoth ? in(before_) : found;
}

std::vector<ServedView::News> ServedView::news() const {
  std::vector<News> all;
  if (step_ == ServedStep::kRest) return all;
  const std::vector<std::string_view> types =
      step_ == ServedStep::kMake ? std::vector{kClusterType} : std::vector{kListenerType, kScopedRouteType};
  for (const std::string_view type_url : types) {
    const ServedOfType& before = ofType(before_, type_url);
    for (const auto& [name, resource] : ofType(after_, type_url)) {
      const auto old = before.find(name);
      if (old != before.end() && old->second.version == resource.version) continue;
      for (ServedNeed& need : needsOf(resource.any)) {
        if (find(need.type_url, need.name) != nullptr) all.push_back({std::string(type_url), name, std::move(need)});
      }
    }
  }
  return all;
}

}  // namespace outrider::xds
