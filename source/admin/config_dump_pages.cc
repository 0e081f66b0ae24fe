// /config_dump: what the process was told, part by part, and /init_dump: what it waits for.
#include <google/protobuf/util/field_mask_util.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "envoy/admin/v3/config_dump.pb.h"
#include "envoy/admin/v3/init_dump.pb.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "source/admin/address_wire.h"
#include "source/admin/dump_mask.h"
#include "source/admin/json_writer.h"
#include "source/admin/page.h"
#include "source/base/absl_compat.h"
#include "source/config/any.h"
#include "source/config/json_print.h"
#include "source/config/schema.h"
#include "source/match/regex.h"

namespace outrider::admin {
namespace {

namespace dump = envoy::admin::v3;
using envoy::config::endpoint::v3::ClusterLoadAssignment;
using envoy::config::listener::v3::Listener;
using envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
using google::protobuf::Message;
using MessagePtr = std::unique_ptr<Message>;

constexpr std::string_view kUrl = "type.googleapis.com/";
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

std::string print(const Message& message) { return config::toJson(message, {.secret = isSecret}); }

std::string quoted(std::string_view text) {
  std::string out;
  config::appendJsonString(out, text);
  return out;
}

template <class Time>
void setTime(base::Nanos at, Time* out) {
  out->set_seconds(at / base::kSecond);
  out->set_nanos(static_cast<int32_t>(at % base::kSecond / base::kMilli * base::kMilli));  // Envoy tells milliseconds
}

void setAny(std::string_view type_url, const std::string& bytes, google::protobuf::Any* out) {
  out->set_type_url(std::string(type_url));
  out->set_value(bytes);
}

// A list of a part of the dump: its elements are made one by one, when they are printed (one step may find none, or some).
using Made = std::vector<MessagePtr>;
struct List {
  std::string_view name;  // "static_clusters"
  std::vector<std::function<Made()>> steps;
};

Made made(MessagePtr one) {
  Made out;
  out.push_back(std::move(one));
  return out;
}

struct Part {
  std::string_view type;  // "envoy.admin.v3.ClustersConfigDump"
  std::string version;    // printed when not empty
  std::vector<List> lists;
};

// What came from a control plane, copied for as long as the dump takes: names and shared bytes.
struct Kept {
  std::string name;
  std::optional<config::ResourceView::Version> accepted, replaced, refused;
  std::string error;
};

class Dump final {
 public:
  Dump(const Sources& sources, std::shared_ptr<const match::Regex> names, bool endpoints)
      : sources_(sources), names_(std::move(names)), endpoints_(endpoints) {}

  // All parts but the bootstrap, in Envoy's order. Each is a snapshot of names and shared bytes.
  static constexpr size_t kParts = 6;
  std::optional<Part> part(size_t index) const {
    switch (index) {
      case 0: return clusters();
      case 1: return endpoints_ ? std::optional<Part>(endpoints()) : std::nullopt;
      case 2: return listeners();
      case 3: return scopedRoutes();
      case 4: return routes();
      default: return secrets();
    }
  }

 private:
  bool wanted(const std::string& name) const { return names_ == nullptr || names_->fullMatch(name); }

  std::vector<std::shared_ptr<const Kept>> kept(std::string_view type_url, bool all = false) const {
    std::vector<std::shared_ptr<const Kept>> out;
    sources_.resources(type_url, [&](const config::ResourceView& resource) {
      if (!all && !wanted(resource.name)) return;
      auto one = std::make_shared<Kept>();
      one->name = resource.name;
      if (resource.accepted != nullptr) one->accepted = *resource.accepted;
      if (resource.replaced != nullptr) one->replaced = *resource.replaced;
      if (resource.refused != nullptr) one->refused = *resource.refused;
      if (resource.error != nullptr) one->error = *resource.error;
      out.push_back(std::move(one));
    });
    return out;
  }

  void setFailure(const Kept& kept, std::string_view type_url, dump::UpdateFailureState* out) const {
    setAny(type_url, *kept.refused->bytes, out->mutable_failed_configuration());
    setTime(kept.refused->at, out->mutable_last_update_attempt());
    out->set_details(kept.error);
    out->set_version_info(kept.refused->version);
  }

  Part clusters() const {
    Part part{"envoy.admin.v3.ClustersConfigDump", sources_.version(kCluster), {}};
    List fixed{"static_clusters", {}}, active{"dynamic_active_clusters", {}}, warming{"dynamic_warming_clusters", {}};
    for (const auto& cluster : sources_.bootstrap.static_resources().clusters()) {
      if (!wanted(cluster.name())) continue;
      fixed.steps.push_back([this, &cluster] {
        auto out = std::make_unique<dump::ClustersConfigDump::StaticCluster>();
        out->mutable_cluster()->PackFrom(cluster);
        setTime(sources_.started_at, out->mutable_last_updated());
        return made(std::move(out));
      });
    }
    const auto dynamic = [this](const std::shared_ptr<const Kept>& kept, const config::ResourceView::Version& version) {
      return [this, kept, &version] {
        auto out = std::make_unique<dump::ClustersConfigDump::DynamicCluster>();
        out->set_version_info(version.version);
        setAny(kCluster, *version.bytes, out->mutable_cluster());
        setTime(version.at, out->mutable_last_updated());
        if (kept->refused) setFailure(*kept, kCluster, out->mutable_error_state());
        return made(std::move(out));
      };
    };
    for (const auto& one : kept(kCluster)) {
      if (!one->accepted) continue;
      const auto view = sources_.clusters.has(one->name) ? sources_.clusters.find(one->name) : upstream::ClusterManager::View{};
      if (view.warming == nullptr) {
        active.steps.push_back(dynamic(one, *one->accepted));
      } else {
        warming.steps.push_back(dynamic(one, *one->accepted));
        if (view.active != nullptr && one->replaced) active.steps.push_back(dynamic(one, *one->replaced));
      }
    }
    part.lists = {std::move(fixed), std::move(active), std::move(warming)};
    return part;
  }

  Part endpoints() const {
    Part part{"envoy.admin.v3.EndpointsConfigDump", {}, {}};
    List fixed{"static_endpoint_configs", {}}, dynamic{"dynamic_endpoint_configs", {}};
    sources_.clusters.forEach([&](const std::string& name, const upstream::ClusterManager::View& view) {
      if (view.active == nullptr || !wanted(name)) return;
      if (view.dynamic) {
        dynamic.steps.push_back([this, name] {
          auto out = std::make_unique<dump::EndpointsConfigDump::DynamicEndpointConfig>();
          printEndpoints(name, out->mutable_endpoint_config());
          return made(std::move(out));
        });
      } else {
        fixed.steps.push_back([this, name] {
          auto out = std::make_unique<dump::EndpointsConfigDump::StaticEndpointConfig>();
          printEndpoints(name, out->mutable_endpoint_config());
          return made(std::move(out));
        });
      }
    });
    part.lists = {std::move(fixed), std::move(dynamic)};
    return part;
  }

  // The hosts as they are now, not what was sent: resolved, and with their health.
  void printEndpoints(const std::string& name, google::protobuf::Any* any) const {
    using envoy::config::core::v3::HealthStatus;
    using upstream::HealthFlag;
    ClusterLoadAssignment out;
    const auto view = sources_.clusters.has(name) ? sources_.clusters.find(name) : upstream::ClusterManager::View{};
    if (view.active != nullptr && view.active->hosts() != nullptr) {
      const upstream::ClusterEntity& entity = *view.active;
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

  Part listeners() const {
    Part part{"envoy.admin.v3.ListenersConfigDump", sources_.version(kListener), {}};
    List fixed{"static_listeners", {}}, dynamic{"dynamic_listeners", {}};
    for (const auto& listener : sources_.bootstrap.static_resources().listeners()) {
      if (!wanted(listener.name())) continue;
      fixed.steps.push_back([this, &listener] {
        auto out = std::make_unique<dump::ListenersConfigDump::StaticListener>();
        out->mutable_listener()->PackFrom(listener);
        setTime(sources_.started_at, out->mutable_last_updated());
        return made(std::move(out));
      });
    }
    const auto state = [](const config::ResourceView::Version& version, dump::ListenersConfigDump::DynamicListenerState* out) {
      out->set_version_info(version.version);
      setAny(kListener, *version.bytes, out->mutable_listener());
      setTime(version.at, out->mutable_last_updated());
    };
    for (const auto& one : kept(kListener)) {
      dynamic.steps.push_back([this, one, state] {
        auto out = std::make_unique<dump::ListenersConfigDump::DynamicListener>();
        out->set_name(one->name);
        if (one->accepted) {
          if (!sources_.listener_warms(one->name)) {
            state(*one->accepted, out->mutable_active_state());
          } else {
            state(*one->accepted, out->mutable_warming_state());
            if (one->replaced) state(*one->replaced, out->mutable_active_state());
          }
        }
        if (one->refused) setFailure(*one, kListener, out->mutable_error_state());
        return made(std::move(out));
      });
    }
    part.lists = {std::move(fixed), std::move(dynamic)};
    return part;
  }

  // A step for each listener: `fn` sees every connection manager of it, where route tables stand that no RDS brought.
  using ManagerFn = std::function<void(const HttpConnectionManager& manager, base::Nanos at, Made& out)>;
  void forEachManager(List& list, ManagerFn fn) const {
    const auto look = [fn](const Listener& listener, base::Nanos at) {
      Made out;
      const auto chain = [&](const envoy::config::listener::v3::FilterChain& chain) {
        for (const auto& filter : chain.filters()) {
          if (config::innerType(filter.typed_config()) != HttpConnectionManager::descriptor()->full_name()) continue;
          HttpConnectionManager manager;
          config::Problems problems;
          config::UnknownFields unknown;
          unknown.allow = true;
          if (config::unpack(filter.typed_config(), manager, unknown, problems)) fn(manager, at, out);
        }
      };
      for (const auto& each : listener.filter_chains()) chain(each);
      if (listener.has_default_filter_chain()) chain(listener.default_filter_chain());
      return out;
    };
    for (const auto& listener : sources_.bootstrap.static_resources().listeners()) {
      list.steps.push_back([look, &listener, at = sources_.started_at] { return look(listener, at); });
    }
    for (const auto& one : kept(kListener, true)) {
      if (!one->accepted) continue;
      list.steps.push_back([look, one] {
        Listener listener;
        return listener.ParseFromString(*one->accepted->bytes) ? look(listener, one->accepted->at) : Made();
      });
    }
  }

  Part scopedRoutes() const {
    Part part{"envoy.admin.v3.ScopedRoutesConfigDump", {}, {}};
    List fixed{"inline_scoped_route_configs", {}}, dynamic{"dynamic_scoped_route_configs", {}};
    forEachManager(fixed, [this](const HttpConnectionManager& manager, base::Nanos at, Made& list) {
      const auto& scoped = manager.scoped_routes();
      if (!scoped.has_scoped_route_configurations_list() || !wanted(scoped.name())) return;
      auto out = std::make_unique<dump::ScopedRoutesConfigDump::InlineScopedRouteConfigs>();
      out->set_name(scoped.name());
      setTime(at, out->mutable_last_updated());
      for (const auto& one : scoped.scoped_route_configurations_list().scoped_route_configurations()) {
        out->add_scoped_route_configs()->PackFrom(one);
      }
      list.push_back(std::move(out));
    });
    forEachManager(dynamic, [this](const HttpConnectionManager& manager, base::Nanos, Made& list) {
      const auto& scoped = manager.scoped_routes();
      if (!scoped.has_scoped_rds() || !wanted(scoped.name())) return;
      auto out = std::make_unique<dump::ScopedRoutesConfigDump::DynamicScopedRouteConfigs>();
      out->set_name(scoped.name());
      out->set_version_info(sources_.version(kScopedRoute));
      base::Nanos newest = 0;
      for (const auto& one : kept(kScopedRoute, true)) {
        if (!one->accepted) continue;
        setAny(kScopedRoute, *one->accepted->bytes, out->add_scoped_route_configs());
        newest = std::max(newest, one->accepted->at);
      }
      if (newest > 0) setTime(newest, out->mutable_last_updated());
      list.push_back(std::move(out));
    });
    part.lists = {std::move(fixed), std::move(dynamic)};
    return part;
  }

  Part routes() const {
    Part part{"envoy.admin.v3.RoutesConfigDump", {}, {}};
    List fixed{"static_route_configs", {}}, dynamic{"dynamic_route_configs", {}};
    forEachManager(fixed, [this](const HttpConnectionManager& manager, base::Nanos at, Made& list) {
      if (!manager.has_route_config() || !wanted(manager.route_config().name())) return;
      auto out = std::make_unique<dump::RoutesConfigDump::StaticRouteConfig>();
      out->mutable_route_config()->PackFrom(manager.route_config());
      setTime(at, out->mutable_last_updated());
      list.push_back(std::move(out));
    });
    for (const auto& one : kept(kRoute)) {
      if (!one->accepted) continue;
      dynamic.steps.push_back([this, one] {
        auto out = std::make_unique<dump::RoutesConfigDump::DynamicRouteConfig>();
        out->set_version_info(one->accepted->version);
        setAny(kRoute, *one->accepted->bytes, out->mutable_route_config());
        setTime(one->accepted->at, out->mutable_last_updated());
        if (one->refused) setFailure(*one, kRoute, out->mutable_error_state());
        return made(std::move(out));
      });
    }
    part.lists = {std::move(fixed), std::move(dynamic)};
    return part;
  }

  Part secrets() const {
    Part part{"envoy.admin.v3.SecretsConfigDump", {}, {}};
    List fixed{"static_secrets", {}}, active{"dynamic_active_secrets", {}}, warming{"dynamic_warming_secrets", {}};
    for (const auto& secret : sources_.bootstrap.static_resources().secrets()) {
      if (!wanted(secret.name())) continue;
      fixed.steps.push_back([this, &secret] {
        auto out = std::make_unique<dump::SecretsConfigDump::StaticSecret>();
        out->set_name(secret.name());
        setTime(sources_.started_at, out->mutable_last_updated());
        out->mutable_secret()->PackFrom(secret);
        return made(std::move(out));
      });
    }
    for (const auto& one : kept(kSecret)) {
      (one->accepted ? active : warming).steps.push_back([this, one] {
        auto out = std::make_unique<dump::SecretsConfigDump::DynamicSecret>();
        out->set_name(one->name);
        if (one->accepted) {
          out->set_version_info(one->accepted->version);
          setTime(one->accepted->at, out->mutable_last_updated());
          setAny(kSecret, *one->accepted->bytes, out->mutable_secret());
        }
        if (one->refused) setFailure(*one, kSecret, out->mutable_error_state());
        return made(std::move(out));
      });
    }
    part.lists = {std::move(fixed), std::move(active), std::move(warming)};
    return part;
  }

  const Sources& sources_;
  const std::shared_ptr<const match::Regex> names_;
  const bool endpoints_;
};

// The whole dump. The bootstrap's static clusters and listeners, which may be thousands, are printed one by one; the rest of it in
// one go.
class WholePieces final : public Pieces {
 public:
  WholePieces(const Sources& sources, std::unique_ptr<Dump> dump) : sources_(sources), dump_(std::move(dump)) {}

  bool next(std::string& out) override {
    const size_t end = out.size() + kPieceBytes;
    while (out.size() < end) {
      switch (phase_) {
        case Phase::kBegin: begin(out); break;
        case Phase::kStatics: statics(out); break;
        case Phase::kRest: rest(out); return true;
        case Phase::kParts:
          if (!step(out)) return true;  // a part's names were gathered
          break;
        case Phase::kEnd:
          writer_.close(out);
          writer_.close(out);
          out += '\n';
          return false;
      }
    }
    return true;
  }

 private:
  using Bootstrap = envoy::config::bootstrap::v3::Bootstrap;
  enum class Phase : uint8_t { kBegin, kStatics, kRest, kParts, kEnd };

  void begin(std::string& out) {
    writer_.openObject(out);
    writer_.openList("configs", out);
    writer_.openObject(out);
    writer_.member("@type", quoted(absl::StrCat(base::toAbsl(kUrl), "envoy.admin.v3.BootstrapConfigDump")), out);
    writer_.openObject("bootstrap", out);
    Bootstrap first;  // what stands before static_resources: fields go by number
    if (sources_.bootstrap.has_node()) *first.mutable_node() = sources_.bootstrap.node();
    writer_.members(print(first), out);
    phase_ = Phase::kRest;
    if (!sources_.bootstrap.has_static_resources()) return;
    writer_.openObject("static_resources", out);
    phase_ = Phase::kStatics;
  }

  void statics(std::string& out) {
    const auto& fixed = sources_.bootstrap.static_resources();
    const auto done = [&](std::string_view name, const auto& list) {
      if (list.empty()) return true;
      if (at_ == 0) writer_.openList(name, out);
      writer_.element(print(list[static_cast<int>(at_)]), out);
      if (++at_ < static_cast<size_t>(list.size())) return false;
      writer_.close(out);
      return true;
    };
    const bool next = list_ == 0   ? done("listeners", fixed.listeners())
                      : list_ == 1 ? done("clusters", fixed.clusters())
                                   : done("secrets", fixed.secrets());
    if (!next) return;
    at_ = 0;
    if (++list_ < 3) return;
    list_ = 0;
    writer_.close(out);
    phase_ = Phase::kRest;
  }

  void rest(std::string& out) {
    std::vector<const google::protobuf::FieldDescriptor*> set;
    sources_.bootstrap.GetReflection()->ListFields(sources_.bootstrap, &set);
    google::protobuf::FieldMask mask;
    for (const auto* field : set) {
      if (field->name() != "node" && field->name() != "static_resources") mask.add_paths(field->name());
    }
    Bootstrap left;
    google::protobuf::util::FieldMaskUtil::MergeMessageTo(sources_.bootstrap, mask, {}, &left);
    writer_.members(print(left), out);
    writer_.close(out);
    dump::BootstrapConfigDump times;
    setTime(sources_.started_at, times.mutable_last_updated());
    writer_.members(print(times), out);
    writer_.close(out);
    phase_ = Phase::kParts;
  }

  // False: a new part was begun, which takes its time.
  bool step(std::string& out) {
    if (!part_) {
      if (index_ == Dump::kParts) {
        phase_ = Phase::kEnd;
        return true;
      }
      part_ = dump_->part(index_++);
      if (!part_) return true;
      writer_.openObject(out);
      writer_.member("@type", quoted(absl::StrCat(base::toAbsl(kUrl), base::toAbsl(part_->type))), out);
      if (!part_->version.empty()) writer_.member("version_info", quoted(part_->version), out);
      list_ = at_ = 0;
      return false;
    }
    if (list_ == part_->lists.size()) {
      writer_.close(out);
      part_.reset();
      return true;
    }
    List& list = part_->lists[list_];
    if (at_ < list.steps.size()) {
      const Made elements = list.steps[at_]();
      list.steps[at_++] = nullptr;
      for (const MessagePtr& element : elements) {
        if (!std::exchange(list_open_, true)) writer_.openList(list.name, out);
        writer_.element(print(*element), out);
      }
      return true;
    }
    if (std::exchange(list_open_, false)) writer_.close(out);
    at_ = 0;
    ++list_;
    return true;
  }

  const Sources& sources_;
  const std::unique_ptr<Dump> dump_;
  JsonWriter writer_;
  Phase phase_ = Phase::kBegin;
  std::optional<Part> part_;
  size_t index_ = 0;  // of the next part
  size_t list_ = 0, at_ = 0;
  bool list_open_ = false;
};

// "@type" first, then the message's own members.
void printTyped(const Message& message, JsonWriter& writer, std::string& out) {
  writer.openObject(out);
  writer.member("@type", quoted(absl::StrCat(base::toAbsl(kUrl), message.GetDescriptor()->full_name())), out);
  writer.members(print(message), out);
  writer.close(out);
}

// ?resource=dynamic_active_clusters: the elements of one list, masked each.
class ListPieces final : public Pieces {
 public:
  ListPieces(std::unique_ptr<Dump> dump, List list, DumpMask mask)
      : dump_(std::move(dump)), list_(std::move(list)), mask_(std::move(mask)) {}

  bool next(std::string& out) override {
    const size_t end = out.size() + kPieceBytes;
    if (at_ == 0 && !begun_) {
      begun_ = true;
      writer_.openObject(out);
    }
    for (; at_ < list_.steps.size() && out.size() < end; ++at_) {
      for (const MessagePtr& element : list_.steps[at_]()) {
        if (!mask_.empty() && !mask_.apply(*element)) continue;
        if (!std::exchange(open_, true)) writer_.openList("configs", out);
        printTyped(*element, writer_, out);
      }
    }
    if (at_ < list_.steps.size()) return true;
    if (open_) writer_.close(out);
    writer_.close(out);
    out += '\n';
    return false;
  }

 private:
  const std::unique_ptr<Dump> dump_;  // the list's steps refer to it
  const List list_;
  const DumpMask mask_;
  JsonWriter writer_;
  size_t at_ = 0;
  bool begun_ = false, open_ = false;
};

Answer wrong(std::string text, uint16_t status) { return {status, "text/plain", std::move(text), nullptr}; }

Answer masked(const Sources& sources, const Dump& all, const std::string& text) {
  const DumpMask mask(text);
  envoy::admin::v3::ConfigDump out;
  dump::BootstrapConfigDump bootstrap;
  *bootstrap.mutable_bootstrap() = sources.bootstrap;
  setTime(sources.started_at, bootstrap.mutable_last_updated());
  if (mask.apply(bootstrap)) out.add_configs()->PackFrom(bootstrap);
  for (size_t i = 0; i < Dump::kParts; ++i) {
    const std::optional<Part> part = all.part(i);
    if (!part) continue;
    const auto* type = config::findType(part->type);
    const MessagePtr message = config::newMessage(*type);
    if (!mask.apply(*message)) continue;  // fields of other parts
    const auto* reflection = message->GetReflection();
    for (const List& list : part->lists) {
      const auto* field = type->FindFieldByName(std::string(list.name));
      for (const auto& step : list.steps) {
        for (const MessagePtr& element : step()) reflection->AddMessage(message.get(), field)->CopyFrom(*element);
      }
    }
    if (!part->version.empty()) reflection->SetString(message.get(), type->FindFieldByName("version_info"), part->version);
    if (mask.apply(*message)) out.add_configs()->PackFrom(*message);
  }
  if (out.configs().empty()) return wrong(absl::StrCat("FieldMask ", text, " could not be successfully applied to any configs."), 400);
  return Answer::json(print(out) + "\n");
}

Answer configDump(const Sources& sources, const Request& request) {
  const std::string* resource = request.param("resource");
  const std::string* mask = request.param("mask");
  std::shared_ptr<const match::Regex> names;
  if (const std::string* pattern = request.param("name_regex"); pattern != nullptr && !pattern->empty()) {
    auto compiled = match::Regex::compile(*pattern);
    if (!compiled.ok()) {
      return wrong(absl::StrCat("INVALID_ARGUMENT: Error while parsing name_regex from ", *pattern, ": ", compiled.status().message()),
                   400);
    }
    names = *std::move(compiled);
  }
  auto all = std::make_unique<Dump>(sources, std::move(names), request.has("include_eds"));
  if (resource == nullptr || resource->empty()) {
    if (mask != nullptr && !mask->empty()) return masked(sources, *all, *mask);
    return Answer::stream(std::make_unique<WholePieces>(sources, std::move(all)), kJson);
  }
  if (*resource == "bootstrap" || *resource == "last_updated" || *resource == "version_info") {
    return wrong(absl::StrCat(*resource, " is not a repeated field. Use ?mask=", *resource, " to get only this field"), 400);
  }
  const DumpMask each(mask == nullptr ? std::string_view() : std::string_view(*mask));
  for (size_t i = 0; i < Dump::kParts; ++i) {
    std::optional<Part> part = all->part(i);
    if (!part) continue;
    for (List& list : part->lists) {
      if (list.name != *resource) continue;
      if (!each.empty()) {
        for (const auto& step : list.steps) {  // what is wrong with the mask shows at the first element
          const Made first = step();
          if (first.empty()) continue;
          if (!each.apply(*first.front())) return wrong(absl::StrCat("FieldMask ", *mask, " could not be successfully used."), 400);
          break;
        }
      }
      return Answer::stream(std::make_unique<ListPieces>(std::move(all), std::move(list), each), kJson);
    }
  }
  return wrong(*resource + " not found in config dump", 404);
}

// What has not become active, and why: clusters by what they wait for.
Answer initDump(const Sources& sources) {
  envoy::admin::v3::UnreadyTargetsDumps out;
  sources.clusters.forEach([&](const std::string& name, const upstream::ClusterManager::View& view) {
    if (view.warming == nullptr) return;
    auto* one = out.add_unready_targets_dumps();
    one->set_name("cluster " + name);
    one->add_target_names(view.warming->waitsFor());
  });
  sources.resources(kListener, [&](const config::ResourceView& resource) {
    if (!sources.listener_warms(resource.name)) return;
    out.add_unready_targets_dumps()->set_name("listener " + resource.name);
  });
  return Answer::json(config::toJson(out) + "\n");
}

}  // namespace

void addConfigDumpPages(Pages& pages, const Sources& sources) {
  pages.push_back(
      {"/config_dump",
       "dump current configs",
       false,
       [&](const Request& request) { return configDump(sources, request); },
       {{"resource", "The resource to dump"},
        {"mask",
         "The mask to apply. When both resource and mask are specified, the mask is applied to every element in the desired repeated field "
         "so that only a subset of fields are returned. The mask is parsed as a Protobuf::FieldMask"},
        {"name_regex",
         "Dump only the currently loaded configurations whose names match the specified regex. Can be used with both resource and mask "
         "query parameters."},
        {"include_eds", "Dump currently loaded configuration including EDS. See the response definition for more information"}}});
  pages.push_back({"/init_dump", "dump what is not initialized yet", false, [&](const Request&) { return initDump(sources); }, {}});
}

}  // namespace outrider::admin
