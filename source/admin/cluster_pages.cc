// /clusters: every cluster with its limits and its hosts.
#include <utility>

#include "absl/strings/str_cat.h"
#include "envoy/admin/v3/clusters.pb.h"
#include "source/admin/address_wire.h"
#include "source/admin/json_writer.h"
#include "source/admin/page.h"
#include "source/admin/sorted_names.h"
#include "source/base/absl_compat.h"
#include "source/config/json_print.h"
#include "source/match/regex.h"

namespace outrider::admin {
namespace {

using upstream::HealthFlag;
using upstream::Host;

struct HostFigures {
  uint64_t cx_active, cx_connect_fail, cx_total, rq_active, rq_error, rq_success, rq_timeout, rq_total;
};

HostFigures figuresOf(const Host& host) {
  constexpr auto relaxed = std::memory_order_relaxed;
  return {host.load.connections.load(relaxed), host.stats.cx_connect_fail.load(relaxed), host.stats.cx_total.load(relaxed),
          host.load.active.load(relaxed),      host.stats.rq_error.load(relaxed),        host.stats.rq_success.load(relaxed),
          host.stats.rq_timeout.load(relaxed), host.stats.rq_total.load(relaxed)};
}

void printText(const std::string& name, const upstream::ClusterManager::View& view, std::string& out) {
  const config::ClusterSpec& spec = view.active->spec();
  const auto line = [&](const auto&... parts) { absl::StrAppend(&out, name, "::", parts..., "\n"); };
  line("observability_name::", spec.stat_name);
  for (size_t i = 0; i < 2; ++i) {
    const absl::string_view priority = i == 0 ? "default_priority::" : "high_priority::";
    line(priority, "max_connections::", spec.breakers[i].connections);
    line(priority, "max_pending_requests::", spec.breakers[i].pending);
    line(priority, "max_requests::", spec.breakers[i].requests);
    line(priority, "max_retries::", spec.breakers[i].retries);
  }
  line("added_via_api::", view.dynamic ? "true" : "false");
  if (view.active->hosts() == nullptr) return;
  const upstream::HostSet& set = *view.active->hosts();
  for (size_t i = 0; i < set.hosts.size(); ++i) {
    const Host& host = *set.hosts[i];
    const HostFigures figures = figuresOf(host);
    const std::string address = host.address.str();
    const stream::HostTexts& texts = host.said();
    const auto of = [&](absl::string_view key, const auto& value) {
      absl::StrAppend(&out, name, "::", address, "::", key, "::", value, "\n");
    };
    of("cx_active", figures.cx_active);
    of("cx_connect_fail", figures.cx_connect_fail);
    of("cx_total", figures.cx_total);
    of("rq_active", figures.rq_active);
    of("rq_error", figures.rq_error);
    of("rq_success", figures.rq_success);
    of("rq_timeout", figures.rq_timeout);
    of("rq_total", figures.rq_total);
    of("hostname", texts.hostname);
    of("health_flags", upstream::healthText(host.load.health.load(std::memory_order_relaxed)));
    of("weight", host.weight.load(std::memory_order_relaxed));
    of("region", texts.region);
    of("zone", texts.zone);
    of("sub_zone", texts.sub_zone);
    of("canary", host.details().canary ? "true" : "false");
    of("priority", set.priorityOf(i));
    of("success_rate", "-1");
    of("local_origin_success_rate", "-1");
  }
}

void printMessage(const std::string& name, const upstream::ClusterManager::View& view, envoy::admin::v3::ClusterStatus& out) {
  using envoy::config::core::v3::HealthStatus;
  const config::ClusterSpec& spec = view.active->spec();
  out.set_name(name);
  out.set_added_via_api(view.dynamic);
  out.set_observability_name(spec.stat_name);
  for (size_t i = 0; i < 2; ++i) {
    auto& limits = *out.mutable_circuit_breakers()->add_thresholds();
    if (i == 1) limits.set_priority(envoy::config::core::v3::HIGH);
    limits.mutable_max_connections()->set_value(spec.breakers[i].connections);
    limits.mutable_max_pending_requests()->set_value(spec.breakers[i].pending);
    limits.mutable_max_requests()->set_value(spec.breakers[i].requests);
    limits.mutable_max_retries()->set_value(spec.breakers[i].retries);
  }
  if (!spec.eds_name.empty() && spec.eds_name != name) out.set_eds_service_name(spec.eds_name);
  if (view.active->hosts() == nullptr) return;
  const upstream::HostSet& set = *view.active->hosts();
  for (size_t i = 0; i < set.hosts.size(); ++i) {
    const Host& host = *set.hosts[i];
    auto& status = *out.add_host_statuses();
    printAddress(host.address, *status.mutable_address());
    const HostFigures figures = figuresOf(host);
    const auto add = [&](const char* key, uint64_t value, bool gauge) {
      auto& metric = *status.add_stats();
      metric.set_name(key);
      metric.set_value(value);
      if (gauge) metric.set_type(envoy::admin::v3::SimpleMetric::GAUGE);
    };
    add("cx_connect_fail", figures.cx_connect_fail, false);
    add("cx_total", figures.cx_total, false);
    add("rq_error", figures.rq_error, false);
    add("rq_success", figures.rq_success, false);
    add("rq_timeout", figures.rq_timeout, false);
    add("rq_total", figures.rq_total, false);
    add("cx_active", figures.cx_active, true);
    add("rq_active", figures.rq_active, true);
    auto& health = *status.mutable_health_status();
    health.set_failed_active_health_check(host.has(HealthFlag::kFailedActive));
    health.set_failed_outlier_check(host.has(HealthFlag::kFailedOutlier));
    health.set_failed_active_degraded_check(host.has(HealthFlag::kDegradedActive));
    health.set_pending_dynamic_removal(host.has(HealthFlag::kPendingRemoval));
    health.set_pending_active_hc(host.has(HealthFlag::kPendingActive));
    health.set_eds_health_status(host.has(HealthFlag::kEdsDraining)   ? HealthStatus::DRAINING
                                 : host.has(HealthFlag::kFailedEds)   ? HealthStatus::UNHEALTHY
                                 : host.has(HealthFlag::kDegradedEds) ? HealthStatus::DEGRADED
                                                                      : HealthStatus::HEALTHY);
    status.set_weight(host.weight.load(std::memory_order_relaxed));
    status.set_hostname(host.hostname());
    status.set_priority(set.priorityOf(i));
    auto& locality = *status.mutable_locality();
    locality.set_region(host.said().region);
    locality.set_zone(host.said().zone);
    locality.set_sub_zone(host.said().sub_zone);
  }
}

class ClusterPieces final : public Pieces {
 public:
  ClusterPieces(const Sources& sources, bool json, std::shared_ptr<const match::Regex> filter)
      : sources_(sources), json_(json), filter_(std::move(filter)) {
    sources.clusters.forEach([&](const std::string& name, const upstream::ClusterManager::View& view) {
      if (view.active != nullptr) names_.add(name);
    });
  }

  bool next(std::string& out) override {
    const Slice slice(sources_);
    if (names_.sort(slice)) return true;
    if (json_ && !std::exchange(begun_, true)) writer_.openObject(out);
    const size_t end = out.size() + kPieceBytes;
    for (; at_ < names_.size() && out.size() < end && !slice.over(); ++at_) {
      if (filter_ != nullptr && !filter_->partialMatch(names_[at_])) continue;
      const upstream::ClusterManager::View view = sources_.clusters.find(names_[at_]);
      if (view.active == nullptr) continue;  // went away meanwhile
      if (!json_) {
        printText(names_[at_], view, out);
        continue;
      }
      if (!std::exchange(open_, true)) writer_.openList("cluster_statuses", out);
      envoy::admin::v3::ClusterStatus status;
      printMessage(names_[at_], view, status);
      writer_.element(config::toJson(status), out);
    }
    if (at_ < names_.size()) return true;
    if (json_) {
      if (open_) writer_.close(out);
      writer_.close(out);
      out += '\n';
    }
    return false;
  }

 private:
  const Sources& sources_;
  const bool json_;
  const std::shared_ptr<const match::Regex> filter_;
  SortedNames names_;
  size_t at_ = 0;
  bool begun_ = false, open_ = false;
  JsonWriter writer_;
};

Answer clusters(const Sources& sources, const Request& request) {
  const std::string* format = request.param("format");
  const bool json = format != nullptr && *format == "json";
  std::shared_ptr<const match::Regex> filter;
  if (const std::string* pattern = request.param("filter"); pattern != nullptr && !pattern->empty()) {
    auto compiled = match::Regex::compile(*pattern);
    if (!compiled.ok()) return Answer::text(absl::StrCat("Invalid re2 regex: ", compiled.status().message()), 400);
    filter = *std::move(compiled);
  }
  return Answer::stream(std::make_unique<ClusterPieces>(sources, json, std::move(filter)), json ? kJson : kText);
}

}  // namespace

void addClusterPages(Pages& pages, const Sources& sources) {
  pages.push_back({"/clusters",
                   "upstream cluster status",
                   false,
                   [&](const Request& request) { return clusters(sources, request); },
                   {{"filter", "Regular expression (Google re2) for filtering clusters by name"},
                    {"format", "File format to use; One of (text, json)"}}});
}

}  // namespace outrider::admin
