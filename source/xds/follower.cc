#include "source/xds/follower.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/config_source.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/config/route/v3/scoped_route.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "envoy/service/runtime/v3/rtds.pb.h"
#include "source/base/absl_compat.h"
#include "source/base/log.h"
#include "source/config/endpoint_parse.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

// What a job on the config thread made of one resource.
struct Failure {
  std::string name;
  std::string why;
};

std::string joined(std::string_view intro, const std::vector<Failure>& failures, std::string_view separator) {
  return absl::StrCat(base::toAbsl(intro), absl::StrJoin(failures, base::toAbsl(separator), [](std::string* out, const Failure& failure) {
                        absl::StrAppend(out, failure.name, ": ", failure.why);
                      }));
}

std::vector<std::string> namesOf(const std::vector<Failure>& failures) {
  std::vector<std::string> out;
  for (const Failure& failure : failures) out.push_back(failure.name);
  return out;
}

// A delivery on its way through the config thread and back. Shared, because closures are copied.
using Carried = std::shared_ptr<Delivery>;

}  // namespace

// ---- CDS ----

class Follower::Clusters final : public Watcher {
  using Specs = std::vector<std::shared_ptr<const config::ClusterSpec>>;

 public:
  explicit Clusters(Follower& owner) : owner_(owner) {}

  void onDelivery(Delivery delivery) override {
    struct Result {
      std::vector<std::shared_ptr<const config::ClusterSpec>> specs;
      std::vector<Failure> failures;
      std::vector<std::pair<std::string, std::shared_ptr<config::Problems>>> reports;
    };
    auto carried = std::make_shared<Delivery>(std::move(delivery));
    // EDS requests that follow from this leave as one.
    auto pause = std::make_shared<Hub::Pause>(owner_.parts_.hub.pause(kEndpointType));
    Follower& owner = owner_;
    owner.parts_.parse([&owner, carried, pause, alive = owner.alive_] {
      auto result = std::make_shared<Result>();
      for (const ResourceIn& resource : carried->resources) {
        envoy::config::cluster::v3::Cluster message;
        auto problems = std::make_shared<config::Problems>();
        if (!message.ParseFromString(*resource.bytes)) {
          result->failures.push_back({resource.name, "cannot be decoded"});
          continue;
        }
        if (auto spec = owner.parts_.assembler.parseCluster(message, *problems)) {
          result->specs.push_back(std::move(spec));
        } else {
          result->failures.push_back({resource.name, problems->str("; ")});
        }
        if (!problems->unsupportedPaths().empty()) result->reports.emplace_back("cluster " + resource.name, problems);
      }
      owner.post([&owner, carried, pause, result, alive] {
        if (!*alive) return;
        for (const auto& [name, problems] : result->reports) owner.parts_.unsupported(name, *problems);
        owner.clusters_->apply(carried, pause, std::make_shared<Specs>(std::move(result->specs)),
                               std::make_shared<std::vector<Failure>>(std::move(result->failures)), 0);
      });
    });
  }

  void onFetchTimeout(std::string_view) override { first(); }

 private:
  // Some clusters a turn, from `next` on, then some removals: ten thousand at once would hold up the loop.
  void apply(const Carried& carried, const std::shared_ptr<Hub::Pause>& pause, const std::shared_ptr<Specs>& specs,
             const std::shared_ptr<std::vector<Failure>>& refused, size_t next) {
    constexpr size_t kPerTurn = 128;
    Delivery& delivery = *carried;
    std::vector<Failure>& failures = *refused;
    const size_t all = specs->size() + delivery.removed.size();
    for (const size_t from = next; next < all && next < from + kPerTurn; ++next) {
      if (next > from && owner_.parts_.loop.overtime()) break;
      if (next < specs->size()) {
        applyOne((*specs)[next], failures);
      } else {
        removeOne(delivery.removed[next - specs->size()]);
      }
    }
    owner_.applying_clusters_ = next < all;
    if (owner_.applying_clusters_) {
      owner_.post([this, carried, pause, specs, refused, next, alive = owner_.alive_] {
        if (*alive) apply(carried, pause, specs, refused, next);
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
    if (failures.empty()) {
      delivery.done(Verdict::ok());
    } else {
      delivery.done(Verdict::nack(joined("Error adding/updating cluster(s) ", failures, ", "), namesOf(failures)));
    }
    first();
    owner_.clustersDone();
  }

  void applyOne(const std::shared_ptr<const config::ClusterSpec>& spec, std::vector<Failure>& failures) {
    if (const absl::Status status = owner_.parts_.assembler.applyCluster(spec, true); !status.ok()) {
      failures.push_back({spec->name, std::string(base::toStd(status.message()))});
      return;
    }
    owner_.clusterApplied(*spec);
  }

  void removeOne(const std::string& name) {
    if (owner_.parts_.clusters.remove(name)) owner_.clusterRemoved(name);
  }

  void first() {
    if (std::exchange(first_, true)) return;
    owner_.clustersReady();
  }

  Follower& owner_;
  bool first_ = false;
  bool drop_asked_ = false;
};

// ---- LDS ----

class Follower::Listeners final : public Watcher {
 public:
  explicit Listeners(Follower& owner) : owner_(owner) {}

  void onDelivery(Delivery delivery) override {
    struct Result {
      std::vector<Assembler::ListenerDraft> drafts;
      std::vector<Failure> failures;
      std::vector<std::pair<std::string, std::shared_ptr<config::Problems>>> reports;
    };
    auto carried = std::make_shared<Delivery>(std::move(delivery));
    auto routes = std::make_shared<Hub::Pause>(owner_.parts_.hub.pause(kRouteType));
    auto secrets = std::make_shared<Hub::Pause>(owner_.parts_.hub.pause(kSecretType));
    // Chains that stay equal are taken over from what serves now.
    auto before = std::make_shared<std::map<std::string, listener::ListenerVersionRef>>();
    for (const ResourceIn& resource : carried->resources) (*before)[resource.name] = owner_.parts_.assembler.servingVersion(resource.name);
    Follower& owner = owner_;
    owner.parts_.parse([&owner, carried, routes, secrets, before, alive = owner.alive_] {
      auto result = std::make_shared<Result>();
      for (const ResourceIn& resource : carried->resources) {
        envoy::config::listener::v3::Listener message;
        if (!message.ParseFromString(*resource.bytes)) {
          result->failures.push_back({resource.name, "cannot be decoded"});
          continue;
        }
        auto problems = std::make_shared<config::Problems>();
        Assembler::ListenerDraft draft = owner.parts_.assembler.parseListener(message, true, (*before)[resource.name].get(), *problems);
        if (problems->empty()) {
          result->drafts.push_back(std::move(draft));
        } else {
          result->failures.push_back({resource.name, problems->str("; ")});
        }
        if (!problems->unsupportedPaths().empty()) result->reports.emplace_back("listener " + resource.name, problems);
      }
      owner.post([&owner, carried, routes, secrets, result, alive] {
        if (!*alive) return;
        owner.afterClusters([&owner, carried, routes, secrets, result] {
          owner.listeners_->apply(*carried, result->drafts, result->failures);
          for (const auto& [name, problems] : result->reports) owner.parts_.unsupported(name, *problems);
        });
      });
    });
  }

  void onFetchTimeout(std::string_view) override { first(); }

 private:
  void apply(Delivery& delivery, std::vector<Assembler::ListenerDraft>& drafts, std::vector<Failure>& failures) {
    // Removals before additions: an address may move from one name to another.
    for (const std::string& name : delivery.removed) owner_.parts_.assembler.removeListener(name, owner_.parts_.drain_time);
    for (Assembler::ListenerDraft& draft : drafts) {
      const std::string name = draft.parsed.version->name;
      if (const absl::Status status = owner_.parts_.assembler.applyListener(std::move(draft)); !status.ok()) {
        failures.push_back({name, std::string(base::toStd(status.message()))});
      }
    }
    owner_.listenersChanged();
    if (failures.empty()) {
      delivery.done(Verdict::ok());
    } else {
      delivery.done(Verdict::nack(joined("Error adding/updating listener(s) ", failures, "\n"), namesOf(failures)));
    }
    if (!std::exchange(drop_asked_, true)) {
      owner_.parts_.assembler.whenListenersWarm([this, &owner = owner_, alive = owner_.alive_] {
        if (!*alive) return;
        drop_asked_ = false;
        owner.parts_.hub.dropReplaced(kListenerType);
      });
    }
    first();
  }

  void first() {
    if (std::exchange(first_, true)) return;
    owner_.listenersReady();
  }

  Follower& owner_;
  bool first_ = false;
  bool drop_asked_ = false;
};

// ---- RDS: one name of one source ----

class Follower::Routes final : public Watcher {
 public:
  Routes(Follower& owner, std::string name, std::string source, const std::string& stats_prefix)
      : owner_(owner), name_(std::move(name)), source_(std::move(source)) {
    envoy::config::core::v3::ConfigSource message;
    message.ParseFromString(source_);
    id_ = owner_.parts_.hub.watch(message, kRouteType, name_, *this, stats_prefix);
    if (id_ == 0) owner_.parts_.assembler.routesTimedOut(name_, source_);
  }
  ~Routes() { owner_.parts_.hub.unwatch(id_); }

  void onDelivery(Delivery delivery) override {
    auto carried = std::make_shared<Delivery>(std::move(delivery));
    Follower& owner = owner_;
    const std::pair<std::string, std::string> key(source_, name_);
    owner.parts_.parse([&owner, carried, key, alive = owner.alive_] {
      std::shared_ptr<const config::RouteTable> table;
      std::vector<Failure> failures;
      auto problems = std::make_shared<config::Problems>();
      for (const ResourceIn& resource : carried->resources) {
        if (resource.name != key.second) continue;
        envoy::config::route::v3::RouteConfiguration message;
        if (!message.ParseFromString(*resource.bytes)) {
          failures.push_back({resource.name, "cannot be decoded"});
        } else {
          table = owner.parts_.assembler.parseRoutes(message, *resource.bytes, *problems);
          if (!problems->empty() || table == nullptr) {
            failures.push_back({resource.name, problems->str("; ")});
            table = nullptr;
          }
        }
      }
      owner.post([&owner, carried, key, table, failures, problems, alive] {
        if (!*alive) return;
        owner.afterClusters([&owner, carried, key, table, failures, problems] {
          std::vector<Failure> bad = failures;
          if (table != nullptr) {
            const absl::Status status = owner.parts_.assembler.applyRoutes(key.second, key.first, table);
            if (!status.ok()) bad.push_back({key.second, std::string(base::toStd(status.message()))});
          }
          if (!problems->unsupportedPaths().empty()) owner.parts_.unsupported("route configuration " + key.second, *problems);
          carried->done(bad.empty() ? Verdict::ok() : Verdict::nack(joined("", bad, "; "), namesOf(bad)));
        });
      });
    });
  }

  void onFetchTimeout(std::string_view) override { owner_.parts_.assembler.routesTimedOut(name_, source_); }

 private:
  Follower& owner_;
  const std::string name_, source_;
  WatchId id_ = 0;
};

// ---- EDS: one name of one source ----

class Follower::Endpoints final : public Watcher {
 public:
  Endpoints(Follower& owner, std::string name, const std::string& source, const std::string& stats_prefix)
      : owner_(owner), name_(std::move(name)) {
    envoy::config::core::v3::ConfigSource message;
    message.ParseFromString(source);
    id_ = owner_.parts_.hub.watch(message, kEndpointType, name_, *this, stats_prefix);
    if (id_ == 0) owner_.parts_.clusters.endpointsTimedOut(name_);
  }
  ~Endpoints() { owner_.parts_.hub.unwatch(id_); }

  void onDelivery(Delivery delivery) override {
    auto carried = std::make_shared<Delivery>(std::move(delivery));
    Follower& owner = owner_;
    // One endpoint change is little work: it is done here, and only large answers go to the config thread.
    size_t bytes = 0;
    for (const ResourceIn& resource : carried->resources) bytes += resource.bytes->size();
    constexpr size_t kSmall = 64 * 1024;
    const bool here = bytes < kSmall;
    auto job = [&owner, carried, here, name = name_, alive = owner.alive_] {
      auto spec = std::make_shared<config::EndpointsSpec>();
      bool found = false;
      std::vector<Failure> failures;
      for (const ResourceIn& resource : carried->resources) {
        envoy::config::endpoint::v3::ClusterLoadAssignment message;
        if (!message.ParseFromString(*resource.bytes)) {
          failures.push_back({resource.name, "cannot be decoded"});
          continue;
        }
        config::Problems problems;
        *spec = config::parseEndpoints(message, config::Names::kRefused, problems);
        if (message.cluster_name() != name) {
          failures.push_back({resource.name, absl::StrCat("is of cluster '", message.cluster_name(), "', '", name, "' was asked for")});
        } else if (!problems.empty()) {
          failures.push_back({resource.name, problems.str("; ")});
        } else {
          found = true;
        }
      }
      auto apply = [&owner, carried, name, spec, found, failures, alive] {
        if (!*alive) return;
        if (found) owner.applyEndpoints(name, spec);
        carried->done(failures.empty() ? Verdict::ok() : Verdict::nack(joined("", failures, "; "), namesOf(failures)));
      };
      if (here) {
        apply();
      } else {
        owner.post(std::move(apply));
      }
    };
    if (here) {
      job();
    } else {
      owner.parts_.parse(std::move(job));
    }
  }

  void onFetchTimeout(std::string_view) override { owner_.parts_.clusters.endpointsTimedOut(name_); }

  void keep(std::shared_ptr<const config::EndpointsSpec> spec) { last_ = std::move(spec); }
  const std::shared_ptr<const config::EndpointsSpec>& last() const { return last_; }
  size_t users = 0;

 private:
  Follower& owner_;
  const std::string name_;
  WatchId id_ = 0;
  std::shared_ptr<const config::EndpointsSpec> last_;  // a cluster that changes is warm at once with it
};

// ---- SDS ----

class Follower::Secret final : public Watcher {
 public:
  Secret(Follower& owner, const config::SdsRef& ref) : owner_(owner), key_(tls::Secrets::keyOf(ref)), name_(ref.name) {
    envoy::config::core::v3::ConfigSource message;
    message.ParseFromString(ref.source);
    id_ = owner_.parts_.hub.watch(message, kSecretType, name_, *this);
    if (id_ == 0) owner_.parts_.assembler.secretTimedOut(key_);
  }
  ~Secret() {
    owner_.parts_.hub.unwatch(id_);
    unwatchFiles();
  }

  void onDelivery(Delivery delivery) override {
    auto carried = std::make_shared<Delivery>(std::move(delivery));
    std::vector<Failure> failures;
    for (const ResourceIn& resource : carried->resources) {
      envoy::extensions::transport_sockets::tls::v3::Secret message;
      config::Problems problems;
      if (!message.ParseFromString(*resource.bytes)) {
        failures.push_back({resource.name, "cannot be decoded"});
      } else if (!owner_.parts_.assembler.applySecret(key_, message, problems)) {
        failures.push_back({resource.name, problems.str("; ")});
      } else {
        last_ = *resource.bytes;
        watchFiles(message);
      }
      if (!problems.unsupportedPaths().empty()) owner_.parts_.unsupported("secret " + resource.name, problems);
    }
    carried->done(failures.empty() ? Verdict::ok() : Verdict::nack(joined("", failures, "; "), namesOf(failures)));
  }

  void onFetchTimeout(std::string_view) override { owner_.parts_.assembler.secretTimedOut(key_); }

 private:
  // A secret may name files: they are read again when they, or anything in watched_directory, are replaced.
  void watchFiles(const envoy::extensions::transport_sockets::tls::v3::Secret& secret) {
    unwatchFiles();
    std::vector<const envoy::config::core::v3::DataSource*> sources;
    std::string directory;
    if (secret.has_tls_certificate()) {
      const auto& in = secret.tls_certificate();
      sources = {&in.certificate_chain(), &in.private_key(), &in.pkcs12(), &in.password(), &in.ocsp_staple()};
      directory = in.watched_directory().path();
    } else if (secret.has_validation_context()) {
      sources = {&secret.validation_context().trusted_ca(), &secret.validation_context().crl()};
      directory = secret.validation_context().watched_directory().path();
    }
    const auto keep = [&](absl::StatusOr<FileWatch::Id> id) {
      if (id.ok()) {
        watched_.push_back(*id);
      } else {
        OUTRIDER_LOG(kWarning, kXds, "secret %s: %s", name_.c_str(), std::string(id.status().message()).c_str());
      }
    };
    bool any = false;
    for (const auto* source : sources) {
      if (source->filename().empty()) continue;
      any = true;
      if (directory.empty()) keep(owner_.files_.addFile(source->filename(), [this] { reread(); }));
    }
    if (any && !directory.empty()) keep(owner_.files_.addDirectory(directory, [this] { reread(); }));
  }

  void unwatchFiles() {
    for (const FileWatch::Id id : std::exchange(watched_, {})) owner_.files_.remove(id);
  }

  // A certificate and its key are two files: while only one of them is new they do not fit, and the old pair serves.
  void reread() {
    envoy::extensions::transport_sockets::tls::v3::Secret message;
    config::Problems problems;
    if (!message.ParseFromString(last_)) return;
    if (!owner_.parts_.assembler.applySecret(key_, message, problems)) {
      OUTRIDER_LOG(kWarning, kXds, "secret %s stays as it was: %s", name_.c_str(), problems.str("; ").c_str());
    }
  }

  Follower& owner_;
  const std::string key_, name_;
  std::string last_;  // what was applied, serialized: with the files' names
  std::vector<FileWatch::Id> watched_;
  WatchId id_ = 0;
};

// ---- SRDS: one set of scopes ----

class Follower::Scopes final : public Watcher {
 public:
  Scopes(Follower& owner, const Assembler::Wants::Scopes& wanted) : owner_(owner), set_(wanted.id) {
    envoy::config::core::v3::ConfigSource message;
    message.ParseFromString(wanted.source);
    id_ = owner_.parts_.hub.watch(message, kScopedRouteType, {}, *this, wanted.stats_prefix);
    if (id_ == 0) owner_.parts_.assembler.scopesTimedOut(set_);
  }
  ~Scopes() { owner_.parts_.hub.unwatch(id_); }

  void onDelivery(Delivery delivery) override {
    struct Result {
      std::vector<Assembler::ScopeDraft> drafts;
      std::vector<Failure> failures;
      std::vector<std::pair<std::string, std::shared_ptr<config::Problems>>> reports;
    };
    auto carried = std::make_shared<Delivery>(std::move(delivery));
    // RDS requests that follow from this leave as one.
    auto pause = std::make_shared<Hub::Pause>(owner_.parts_.hub.pause(kRouteType));
    Follower& owner = owner_;
    owner.parts_.parse([&owner, carried, pause, set = set_, alive = owner.alive_] {
      auto result = std::make_shared<Result>();
      for (const ResourceIn& resource : carried->resources) {
        envoy::config::route::v3::ScopedRouteConfiguration message;
        auto problems = std::make_shared<config::Problems>();
        if (!message.ParseFromString(*resource.bytes)) {
          result->failures.push_back({resource.name, "cannot be decoded"});
          continue;
        }
        Assembler::ScopeDraft draft = owner.parts_.assembler.parseScope(message, *problems);
        if (problems->empty()) {
          result->drafts.push_back(std::move(draft));
        } else {
          result->failures.push_back({resource.name, problems->str("; ")});
        }
        if (!problems->unsupportedPaths().empty()) result->reports.emplace_back("scoped route " + resource.name, problems);
      }
      owner.post([&owner, carried, pause, result, set, alive] {
        if (!*alive) return;
        owner.afterClusters([&owner, carried, pause, result, set] {
          if (!owner.scopes_.contains(set)) return;
          std::vector<std::pair<std::string, std::string>> refused;
          owner.parts_.assembler.applyScopes(set, std::move(result->drafts), carried->removed, refused);
          for (auto& [name, why] : refused) result->failures.push_back({std::move(name), std::move(why)});
          owner.listenersChanged();
          carried->done(result->failures.empty() ? Verdict::ok()
                                                 : Verdict::nack(joined("Error adding/updating scoped route(s) ", result->failures, "\n"),
                                                                 namesOf(result->failures)));
          for (const auto& [name, problems] : result->reports) owner.parts_.unsupported(name, *problems);
        });
      });
    });
  }

  void onFetchTimeout(std::string_view) override { owner_.parts_.assembler.scopesTimedOut(set_); }

 private:
  Follower& owner_;
  const config::ScopeSetId set_;
  WatchId id_ = 0;
};

// ---- RTDS: one layer ----

// Outrider has no runtime: its switches are fields of the configuration. A layer is accepted, so that a control plane that sends one
// goes on, and each of its keys is reported as having no effect; Envoy's own guards, which mean nothing here, are not.
class Follower::Runtime final : public Watcher {
 public:
  Runtime(Follower& owner, const std::string& layer) : owner_(owner), layer_(layer) {}
  ~Runtime() { owner_.parts_.hub.unwatch(id_); }

  bool watch(const envoy::config::core::v3::ConfigSource& source, const std::string& name) {
    id_ = owner_.parts_.hub.watch(source, kRuntimeType, name, *this);
    return id_ != 0;
  }

  void onDelivery(Delivery delivery) override {
    std::vector<Failure> failures;
    for (const ResourceIn& resource : delivery.resources) {
      envoy::service::runtime::v3::Runtime message;
      if (!message.ParseFromString(*resource.bytes)) {
        failures.push_back({resource.name, "cannot be decoded"});
        continue;
      }
      report(owner_, "runtime layer " + layer_, message.layer());
    }
    delivery.done(failures.empty() ? Verdict::ok() : Verdict::nack(joined("", failures, "; "), namesOf(failures)));
    first();
  }

  void onFetchTimeout(std::string_view) override { first(); }

  static void report(Follower& owner, const std::string& where, const google::protobuf::Struct& layer) {
    config::Problems problems;
    for (const auto& [key, value] : layer.fields()) {
      const bool guard = key == "envoy" || key.rfind("envoy.", 0) == 0 || key == "re2" || key.rfind("re2.", 0) == 0;
      if (!guard) problems.unsupported(key);
    }
    if (!problems.unsupportedPaths().empty()) owner.parts_.unsupported(where, problems);
  }

 private:
  void first() {
    if (!std::exchange(first_, true)) owner_.runtimeReady();
  }

  Follower& owner_;
  const std::string layer_;
  WatchId id_ = 0;
  bool first_ = false;
};

// ---- the follower ----

Follower::Follower(FollowerParts parts) : parts_(std::move(parts)), files_(parts_.loop) {}

Follower::~Follower() { *alive_ = false; }

void Follower::start(const envoy::config::bootstrap::v3::LayeredRuntime& runtime, const envoy::config::core::v3::ConfigSource* cds,
                     const envoy::config::core::v3::ConfigSource* lds, std::function<void()> ready) {
  ready_ = std::move(ready);
  if (cds != nullptr) cds_ = std::make_unique<envoy::config::core::v3::ConfigSource>(*cds);
  if (lds != nullptr) lds_ = std::make_unique<envoy::config::core::v3::ConfigSource>(*lds);
  clusters_ = std::make_unique<Clusters>(*this);
  listeners_ = std::make_unique<Listeners>(*this);
  runtime_open_ = 1;
  for (const auto& layer : runtime.layers()) {
    if (layer.has_static_layer()) Runtime::report(*this, "runtime layer " + layer.name(), layer.static_layer());
    if (!layer.has_rtds_layer()) continue;
    runtime_.push_back(std::make_unique<Runtime>(*this, layer.name()));
    if (runtime_.back()->watch(layer.rtds_layer().rtds_config(), layer.rtds_layer().name())) ++runtime_open_;
  }
  runtimeReady();
}

void Follower::runtimeReady() {
  if (--runtime_open_ > 0) return;
  if (cds_ == nullptr || parts_.hub.watch(*cds_, kClusterType, {}, *clusters_) == 0) clustersReady();
}

void Follower::afterClusters(std::function<void()> job) {
  if (applying_clusters_) {
    after_clusters_.push_back(std::move(job));
  } else {
    job();
  }
}

void Follower::clustersDone() {
  for (const auto& job : std::exchange(after_clusters_, {})) job();
}

void Follower::clustersReady() {
  parts_.clusters.whenWarm([this, alive = alive_] {
    if (!*alive) return;
    if (lds_ == nullptr || parts_.hub.watch(*lds_, kListenerType, {}, *listeners_) == 0) listenersReady();
  });
}

void Follower::listenersReady() {
  parts_.assembler.whenListenersWarm([this] {
    if (ready_) std::exchange(ready_, nullptr)();
  });
}

void Follower::clusterApplied(const config::ClusterSpec& spec) {
  const std::pair<std::string, std::string> key(spec.eds_name, spec.eds_source);
  const auto had = eds_of_.find(spec.name);
  const bool is_eds = spec.discovery == config::Discovery::kEds;
  if (had != eds_of_.end() && (!is_eds || had->second != key)) endpointsUnwanted(spec.name);
  if (!spec.transport.set() && cluster_secrets_.erase(spec.name) > 0) dropUnwantedSecrets();
  if (!is_eds) return;
  const bool fresh = eds_of_.insert_or_assign(spec.name, key).second;
  std::unique_ptr<Endpoints>& watch = endpoints_[key];
  if (watch == nullptr) {
    watch = std::make_unique<Endpoints>(*this, spec.eds_name, spec.eds_source, absl::StrCat("cluster.", spec.stat_name, "."));
  } else if (watch->last() != nullptr) {
    // The subscription stays, so the server has no reason to send again: the new version starts with what is known.
    parts_.clusters.updateEndpoints(spec.eds_name, *watch->last());
  }
  if (fresh) ++watch->users;
}

void Follower::clusterRemoved(const std::string& name) {
  endpointsUnwanted(name);
  if (cluster_secrets_.erase(name) > 0) dropUnwantedSecrets();
}

void Follower::endpointsUnwanted(const std::string& name) {
  const auto at = eds_of_.find(name);
  if (at == eds_of_.end()) return;
  const auto watch = endpoints_.find(at->second);
  eds_of_.erase(at);
  if (watch != endpoints_.end() && --watch->second->users == 0) endpoints_.erase(watch);
}

void Follower::applyEndpoints(const std::string& eds_name, std::shared_ptr<const config::EndpointsSpec> spec) {
  for (auto at = endpoints_.lower_bound({eds_name, ""}); at != endpoints_.end() && at->first.first == eds_name; ++at)
    at->second->keep(spec);
  parts_.clusters.updateEndpoints(eds_name, *spec);
}

void Follower::listenersChanged() {
  std::set<std::pair<std::string, std::string>> wanted;
  const Assembler::Wants wants = parts_.assembler.wants();
  for (const auto& rds : wants.rds) {
    const std::pair<std::string, std::string> key(rds.source, rds.name);
    wanted.insert(key);
    if (!routes_.contains(key)) routes_[key] = std::make_unique<Routes>(*this, rds.name, rds.source, rds.stats_prefix);
  }
  std::erase_if(routes_, [&](const auto& each) { return !wanted.contains(each.first); });
  std::set<config::ScopeSetId> sets;
  for (const auto& wanted_set : wants.scopes) {
    sets.insert(wanted_set.id);
    if (!scopes_.contains(wanted_set.id)) scopes_[wanted_set.id] = std::make_unique<Scopes>(*this, wanted_set);
  }
  for (auto at = scopes_.begin(); at != scopes_.end();) {
    if (sets.contains(at->first)) {
      ++at;
      continue;
    }
    const config::ScopeSetId id = at->first;
    at = scopes_.erase(at);
    parts_.assembler.forgetScopes(id);
  }
  listener_secrets_.clear();
  for (const config::SdsRef& ref : wants.secrets) {
    listener_secrets_.insert(tls::Secrets::keyOf(ref));
    secretWanted(ref);
  }
  dropUnwantedSecrets();
}

void Follower::clusterSecrets(const std::string& name, const std::vector<config::SdsRef>& refs) {
  std::set<std::string>& keys = cluster_secrets_[name];
  keys.clear();
  for (const config::SdsRef& ref : refs) {
    keys.insert(tls::Secrets::keyOf(ref));
    secretWanted(ref);
  }
  dropUnwantedSecrets();
}

void Follower::dropUnwantedSecrets() {
  for (auto at = secrets_.begin(); at != secrets_.end();) {
    const std::string& key = at->first;
    const bool wanted = listener_secrets_.contains(key) || std::any_of(cluster_secrets_.begin(), cluster_secrets_.end(),
                                                                       [&](const auto& each) { return each.second.contains(key); });
    if (wanted) {
      ++at;
      continue;
    }
    parts_.assembler.forgetSecret(key);
    at = secrets_.erase(at);
  }
}

void Follower::secretWanted(const config::SdsRef& ref) {
  if (ref.from == config::SdsRef::From::kStatic) return;
  std::unique_ptr<Secret>& watch = secrets_[tls::Secrets::keyOf(ref)];
  if (watch == nullptr) watch = std::make_unique<Secret>(*this, ref);
}

}  // namespace outrider::xds
