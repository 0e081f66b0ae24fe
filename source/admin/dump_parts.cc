#include "source/admin/dump_parts.h"

#include <algorithm>

#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "source/admin/address_wire.h"
#include "source/config/any.h"
#include "source/config/json_print.h"
#include "source/match/regex.h"

namespace outrider::admin {
namespace {

namespace dump = envoy::admin::v3;
using envoy::config::endpoint::v3::ClusterLoadAssignment;
using envoy::config::listener::v3::Listener;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
using config::ResourceView;
using google::protobuf::Message;

constexpr std::string_view kCluster = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
constexpr std::string_view kListener = "type.googleapis.com/envoy.config.listener.v3.Listener";
constexpr std::string_view kRoute = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
constexpr std::string_view kScopedRoute = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";
constexpr std::string_view kSecret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

// Also what signs us in at a control plane: the API does not mark it, and a dump is no place for it.
bool isSecret(const google::protobuf::FieldDescriptor& field) {
  return config::isSensitive(field) ||
         (field.name() == "initial_metadata" && field.containing_type()->full_name() == "envoy.config.core.v3.GrpcService");
}

void setAny(std::string_view type_url, const std::string& bytes, google::protobuf::Any* out) {
  out->set_type_url(std::string(type_url));
  out->set_value(bytes);
}

void setFailure(const ResourceView& one, std::string_view type_url, dump::UpdateFailureState* out) {
  setAny(type_url, *one.refused->bytes, out->mutable_failed_configuration());
  setTime(one.refused->at, out->mutable_last_update_attempt());
  out->set_details(*one.error);
  out->set_version_info(one.refused->version);
}

}  // namespace

std::string printDump(const Message& message) { return config::toJson(message, {.secret = isSecret}); }

std::string quotedDump(std::string_view text) {
  std::string out;
  config::appendJsonString(out, text);
  return out;
}

bool DumpPart::sort(const Slice& slice) const {
  return std::any_of(names.begin(), names.end(), [&](const Names& each) { return each->sort(slice); });
}

class DumpParts::Builder {
 public:
  explicit Builder(const DumpParts& from) : sources_(from.sources_), pattern_(from.names_.get()) {}

  DumpPart clusters() const {
    const Names names = namesOf(kCluster);
    const auto dynamic = [](const ResourceView& one, const ResourceView::Version& version, Made& made) {
      auto out = std::make_unique<dump::ClustersConfigDump::DynamicCluster>();
      out->set_version_info(version.version);
      setAny(kCluster, *version.bytes, out->mutable_cluster());
      setTime(version.at, out->mutable_last_updated());
      if (one.refused != nullptr) setFailure(one, kCluster, out->mutable_error_state());
      made.push_back(std::move(out));
    };
    auto fixed = each("static_clusters", statics().clusters(), [*this](const auto& cluster, Made& made) {
      if (!wanted(cluster.name())) return;
      auto out = std::make_unique<dump::ClustersConfigDump::StaticCluster>();
      out->mutable_cluster()->PackFrom(cluster);
      setTime(sources_.started_at, out->mutable_last_updated());
      made.push_back(std::move(out));
    });
    // While its next version warms, the one before serves.
    auto active = each("dynamic_active_clusters", kCluster, names, [*this, dynamic](const ResourceView& one, Made& made) {
      if (one.accepted == nullptr) return;
      const auto view = sources_.clusters.find(one.name);
      if (view.warming == nullptr) {
        dynamic(one, *one.accepted, made);
      } else if (view.active != nullptr && one.replaced != nullptr) {
        dynamic(one, *one.replaced, made);
      }
    });
    auto warming = each("dynamic_warming_clusters", kCluster, names, [*this, dynamic](const ResourceView& one, Made& made) {
      if (one.accepted != nullptr && sources_.clusters.find(one.name).warming != nullptr) dynamic(one, *one.accepted, made);
    });
    return {typeOf(0), sources_.version(kCluster), {names}, {std::move(fixed), std::move(active), std::move(warming)}};
  }

  DumpPart endpoints() const {
    const auto names = std::make_shared<SortedNames>();
    sources_.clusters.forEach([&](const std::string& name, const upstream::ClusterManager::View& view) {
      if (view.active != nullptr) names->add(name);
    });
    const auto list = [&](std::string_view name, bool dynamic, auto empty) {
      return DumpList{name, [names] { return names->size(); },
                      [*this, names, dynamic, empty](size_t i) {
                        Made made;
                        const std::string& of = (*names)[i];
                        const auto view = sources_.clusters.find(of);
                        if (view.active == nullptr || view.dynamic != dynamic || !wanted(of)) return made;
                        auto out = std::make_unique<std::decay_t<decltype(empty)>>();
                        printEndpoints(of, *view.active, out->mutable_endpoint_config());
                        made.push_back(std::move(out));
                        return made;
                      }};
    };
    return {typeOf(1),
            {},
            {names},
            {list("static_endpoint_configs", false, dump::EndpointsConfigDump::StaticEndpointConfig()),
             list("dynamic_endpoint_configs", true, dump::EndpointsConfigDump::DynamicEndpointConfig())}};
  }

  DumpPart listeners() const {
    const Names names = namesOf(kListener);
    auto fixed = each("static_listeners", statics().listeners(), [*this](const Listener& listener, Made& made) {
      if (!wanted(listener.name())) return;
      auto out = std::make_unique<dump::ListenersConfigDump::StaticListener>();
      out->mutable_listener()->PackFrom(listener);
      setTime(sources_.started_at, out->mutable_last_updated());
      made.push_back(std::move(out));
    });
    const auto state = [](const ResourceView::Version& version, dump::ListenersConfigDump::DynamicListenerState* out) {
      out->set_version_info(version.version);
      setAny(kListener, *version.bytes, out->mutable_listener());
      setTime(version.at, out->mutable_last_updated());
    };
    auto dynamic = each("dynamic_listeners", kListener, names, [*this, state](const ResourceView& one, Made& made) {
      auto out = std::make_unique<dump::ListenersConfigDump::DynamicListener>();
      out->set_name(one.name);
      if (one.accepted != nullptr) {
        if (!sources_.listener_warms(one.name)) {
          state(*one.accepted, out->mutable_active_state());
        } else {
          state(*one.accepted, out->mutable_warming_state());
          if (one.replaced != nullptr) state(*one.replaced, out->mutable_active_state());
        }
      }
      if (one.refused != nullptr) setFailure(one, kListener, out->mutable_error_state());
      made.push_back(std::move(out));
    });
    return {typeOf(2), sources_.version(kListener), {names}, {std::move(fixed), std::move(dynamic)}};
  }

  DumpPart scopedRoutes() const {
    const Names names = namesOf(kListener);
    auto fixed = eachManager("inline_scoped_route_configs", names, [*this](const HttpConnectionManager& manager, base::Nanos at, Made& made) {
      const auto& scoped = manager.scoped_routes();
      if (!scoped.has_scoped_route_configurations_list() || !wanted(scoped.name())) return;
      auto out = std::make_unique<dump::ScopedRoutesConfigDump::InlineScopedRouteConfigs>();
      out->set_name(scoped.name());
      setTime(at, out->mutable_last_updated());
      for (const auto& one : scoped.scoped_route_configurations_list().scoped_route_configurations()) {
        out->add_scoped_route_configs()->PackFrom(one);
      }
      made.push_back(std::move(out));
    });
    auto dynamic = eachManager("dynamic_scoped_route_configs", names, [*this](const HttpConnectionManager& manager, base::Nanos, Made& made) {
      const auto& scoped = manager.scoped_routes();
      if (!scoped.has_scoped_rds() || !wanted(scoped.name())) return;
      auto out = std::make_unique<dump::ScopedRoutesConfigDump::DynamicScopedRouteConfigs>();
      out->set_name(scoped.name());
      out->set_version_info(sources_.version(kScopedRoute));
      base::Nanos newest = 0;
      std::vector<std::string> scopes;  // all of them are one element
      sources_.resource_names(kScopedRoute, [&](std::string_view name) { scopes.emplace_back(name); });
      std::sort(scopes.begin(), scopes.end());
      scopes.erase(std::unique(scopes.begin(), scopes.end()), scopes.end());
      for (const std::string& name : scopes) {
        sources_.resource(kScopedRoute, name, [&](const ResourceView& one) {
          if (one.accepted == nullptr) return;
          setAny(kScopedRoute, *one.accepted->bytes, out->add_scoped_route_configs());
          newest = std::max(newest, one.accepted->at);
        });
      }
      if (newest > 0) setTime(newest, out->mutable_last_updated());
      made.push_back(std::move(out));
    });
    return {typeOf(3), {}, {names}, {std::move(fixed), std::move(dynamic)}};
  }

  DumpPart routes() const {
    const Names listeners = namesOf(kListener), names = namesOf(kRoute);
    auto fixed = eachManager("static_route_configs", listeners, [*this](const HttpConnectionManager& manager, base::Nanos at, Made& made) {
      if (!manager.has_route_config() || !wanted(manager.route_config().name())) return;
      auto out = std::make_unique<dump::RoutesConfigDump::StaticRouteConfig>();
      out->mutable_route_config()->PackFrom(manager.route_config());
      setTime(at, out->mutable_last_updated());
      made.push_back(std::move(out));
    });
    auto dynamic = each("dynamic_route_configs", kRoute, names, [](const ResourceView& one, Made& made) {
      if (one.accepted == nullptr) return;
      auto out = std::make_unique<dump::RoutesConfigDump::DynamicRouteConfig>();
      out->set_version_info(one.accepted->version);
      setAny(kRoute, *one.accepted->bytes, out->mutable_route_config());
      setTime(one.accepted->at, out->mutable_last_updated());
      if (one.refused != nullptr) setFailure(one, kRoute, out->mutable_error_state());
      made.push_back(std::move(out));
    });
    return {typeOf(4), {}, {listeners, names}, {std::move(fixed), std::move(dynamic)}};
  }

  DumpPart secrets() const {
    const Names names = namesOf(kSecret);
    auto fixed = each("static_secrets", statics().secrets(), [*this](const auto& secret, Made& made) {
      if (!wanted(secret.name())) return;
      auto out = std::make_unique<dump::SecretsConfigDump::StaticSecret>();
      out->set_name(secret.name());
      setTime(sources_.started_at, out->mutable_last_updated());
      out->mutable_secret()->PackFrom(secret);
      made.push_back(std::move(out));
    });
    const auto list = [&](std::string_view name, bool active) {
      return each(name, kSecret, names, [active](const ResourceView& one, Made& made) {
        if ((one.accepted != nullptr) != active) return;
        auto out = std::make_unique<dump::SecretsConfigDump::DynamicSecret>();
        out->set_name(one.name);
        if (one.accepted != nullptr) {
          out->set_version_info(one.accepted->version);
          setTime(one.accepted->at, out->mutable_last_updated());
          setAny(kSecret, *one.accepted->bytes, out->mutable_secret());
        }
        if (one.refused != nullptr) setFailure(one, kSecret, out->mutable_error_state());
        made.push_back(std::move(out));
      });
    };
    return {typeOf(5), {}, {names}, {std::move(fixed), list("dynamic_active_secrets", true), list("dynamic_warming_secrets", false)}};
  }

 private:
  using Names = DumpPart::Names;

  bool wanted(const std::string& name) const { return pattern_ == nullptr || pattern_->fullMatch(name); }
  const envoy::config::bootstrap::v3::Bootstrap::StaticResources& statics() const { return sources_.bootstrap.static_resources(); }

  Names namesOf(std::string_view type_url) const {
    auto out = std::make_shared<SortedNames>();
    sources_.resource_names(type_url, [&](std::string_view name) { out->add(name); });
    return out;
  }

  // Of what the bootstrap has.
  template <class Repeated, class Fn>
  static DumpList each(std::string_view name, const Repeated& of, Fn fn) {
    return {name, [&of] { return static_cast<size_t>(of.size()); },
            [&of, fn](size_t i) {
              Made made;
              fn(of.Get(static_cast<int>(i)), made);
              return made;
            }};
  }

  // Of what a control plane sent, if its name is wanted.
  template <class Fn>
  DumpList each(std::string_view name, std::string_view type_url, const Names& names, Fn fn) const {
    return {name, [names] { return names->size(); },
            [*this, type_url, names, fn](size_t i) {
              Made made;
              const std::string& of = (*names)[i];
              if (wanted(of)) sources_.resource(type_url, of, [&](const ResourceView& one) { fn(one, made); });
              return made;
            }};
  }

  // A step for each listener: `fn` sees every connection manager of it, where route tables stand that no RDS brought.
  using ManagerFn = std::function<void(const HttpConnectionManager& manager, base::Nanos at, Made& made)>;
  DumpList eachManager(std::string_view name, const Names& names, ManagerFn fn) const {
    const auto& fixed = statics().listeners();
    return {name, [&fixed, names] { return static_cast<size_t>(fixed.size()) + names->size(); },
            [*this, &fixed, names, fn = std::move(fn)](size_t i) {
              Made made;
              const auto before = static_cast<size_t>(fixed.size());
              if (i < before) {
                lookInto(fixed.Get(static_cast<int>(i)), sources_.started_at, fn, made);
              } else {
                sources_.resource(kListener, (*names)[i - before], [&](const ResourceView& one) {
                  Listener listener;
                  if (one.accepted != nullptr && listener.ParseFromString(*one.accepted->bytes)) {
                    lookInto(listener, one.accepted->at, fn, made);
                  }
                });
              }
              return made;
            }};
  }
  static void lookInto(const Listener& listener, base::Nanos at, const ManagerFn& fn, Made& made) {
    const auto chain = [&](const envoy::config::listener::v3::FilterChain& chain) {
      for (const auto& filter : chain.filters()) {
        if (config::innerType(filter.typed_config()) != HttpConnectionManager::descriptor()->full_name()) continue;
        HttpConnectionManager manager;
        config::Problems problems;
        config::UnknownFields unknown;
        unknown.allow = true;
        if (config::unpack(filter.typed_config(), manager, unknown, problems)) fn(manager, at, made);
      }
    };
    for (const auto& each : listener.filter_chains()) chain(each);
    if (listener.has_default_filter_chain()) chain(listener.default_filter_chain());
  }

  // The hosts as they are now, not what was sent: resolved, and with their health.
  static void printEndpoints(const std::string& name, const upstream::ClusterEntity& entity, google::protobuf::Any* any) {
    using envoy::config::core::v3::HealthStatus;
    using upstream::HealthFlag;
    ClusterLoadAssignment out;
    if (entity.hosts() != nullptr) {
      out.set_cluster_name(entity.spec().eds_name.empty() ? name : entity.spec().eds_name);
      const upstream::HostSet& set = *entity.hosts();
      for (size_t i = 0; i < set.hosts.size(); ++i) {
        const upstream::Host& host = *set.hosts[i];
        auto* group = groupOf(host, set.priorityOf(i), out);
        auto* one = group->add_lb_endpoints();
        printAddress(host.address, *one->mutable_endpoint()->mutable_address());
        auto* check = one->mutable_endpoint()->mutable_health_check_config();
        check->set_port_value(host.details().check_port);
        check->set_hostname(host.details().check_hostname);
        one->mutable_endpoint()->set_hostname(host.hostname());
        one->set_health_status(host.has(HealthFlag::kEdsDraining)              ? HealthStatus::DRAINING
                               : host.health() == upstream::Health::kUnhealthy ? HealthStatus::UNHEALTHY
                               : host.health() == upstream::Health::kDegraded  ? HealthStatus::DEGRADED
                                                                               : HealthStatus::HEALTHY);
        if (!host.details().metadata.empty()) one->mutable_metadata()->ParseFromString(host.details().metadata);
        one->mutable_load_balancing_weight()->set_value(host.weight.load(std::memory_order_relaxed));
      }
      out.mutable_policy()->mutable_overprovisioning_factor()->set_value(entity.endpoints().overprovisioning_factor);
    }
    any->PackFrom(out);
  }

  static envoy::config::endpoint::v3::LocalityLbEndpoints* groupOf(const upstream::Host& host, uint32_t priority,
                                                                   ClusterLoadAssignment& out) {
    const stream::HostTexts& texts = host.said();
    for (auto& group : *out.mutable_endpoints()) {
      const auto& locality = group.locality();
      if (group.priority() == priority && locality.region() == texts.region && locality.zone() == texts.zone &&
          locality.sub_zone() == texts.sub_zone) {
        return &group;
      }
    }
    auto* group = out.add_endpoints();
    group->set_priority(priority);
    group->mutable_locality()->set_region(texts.region);
    group->mutable_locality()->set_zone(texts.zone);
    group->mutable_locality()->set_sub_zone(texts.sub_zone);
    group->mutable_load_balancing_weight()->set_value(0);
    return group;
  }

  const Sources& sources_;
  const match::Regex* const pattern_;
};

std::string_view DumpParts::typeOf(size_t index) {
  constexpr std::string_view kTypes[kParts] = {"envoy.admin.v3.ClustersConfigDump",  "envoy.admin.v3.EndpointsConfigDump",
                                               "envoy.admin.v3.ListenersConfigDump", "envoy.admin.v3.ScopedRoutesConfigDump",
                                               "envoy.admin.v3.RoutesConfigDump",    "envoy.admin.v3.SecretsConfigDump"};
  return kTypes[index];
}

std::optional<DumpPart> DumpParts::part(size_t index) const {
  const Builder build(*this);
  switch (index) {
    case 0: return build.clusters();
    case 1: return endpoints_ ? std::optional<DumpPart>(build.endpoints()) : std::nullopt;
    case 2: return build.listeners();
    case 3: return build.scopedRoutes();
    case 4: return build.routes();
    default: return build.secrets();
  }
}

}  // namespace outrider::admin
