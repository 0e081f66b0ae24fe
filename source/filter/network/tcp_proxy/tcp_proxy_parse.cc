#include "source/filter/network/tcp_proxy/tcp_proxy_parse.h"

#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb.h"
#include "source/filter/network/tcp_proxy/config.h"

// Deprecated fields still arrive, and are honoured or reported like the others.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::filter::network::tcp_proxy {
namespace {

namespace pb = envoy::extensions::filters::network::tcp_proxy::v3;

base::Nanos nanosOf(const google::protobuf::Duration& duration) { return duration.seconds() * base::kSecond + duration.nanos(); }

void parseTargets(const pb::TcpProxy& in, FilterContext& context, TcpProxyConfig& out) {
  config::Problems& problems = context.parse.problems;
  switch (in.cluster_specifier_case()) {
    case pb::TcpProxy::kCluster:
      if (in.cluster().empty()) problems.addAt("cluster", {}, "must not be empty");
      out.targets.push_back({context.parse.names.intern(in.cluster()), 1});
      return;
    case pb::TcpProxy::kWeightedClusters: {
      const auto at = problems.field("weighted_clusters");
      const auto& list = in.weighted_clusters().clusters();
      if (list.empty()) problems.addAt("clusters", {}, "must have at least one cluster");
      uint64_t total = 0;
      for (int i = 0; i < list.size(); ++i) {
        const auto each = problems.element("clusters", static_cast<size_t>(i));
        if (list[i].name().empty()) problems.addAt("name", {}, "must not be empty");
        if (list[i].weight() == 0) problems.addAt("weight", "0", "must be at least 1");
        if (list[i].has_metadata_match()) problems.unsupported("metadata_match");
        total += list[i].weight();
        out.targets.push_back({context.parse.names.intern(list[i].name()), list[i].weight()});
      }
      if (total > UINT32_MAX) problems.addAt("clusters", std::to_string(total), "have weights that add up to too much", "4294967295");
      out.total_weight = static_cast<uint32_t>(total);
      return;
    }
    case pb::TcpProxy::CLUSTER_SPECIFIER_NOT_SET: problems.addAt("cluster", {}, "is required", "cluster or weighted_clusters"); return;
  }
}

void parseTimes(const pb::TcpProxy& in, config::Problems& problems, TcpProxyConfig& out) {
  if (in.has_idle_timeout()) {
    out.idle_timeout = nanosOf(in.idle_timeout());
    if (out.idle_timeout < 0) problems.addAt("idle_timeout", {}, "is negative", "0s switches it off");
  }
  if (in.has_max_downstream_connection_duration()) {
    out.max_duration = nanosOf(in.max_downstream_connection_duration());
    if (out.max_duration < base::kMilli) problems.addAt("max_downstream_connection_duration", {}, "must be at least 1ms");
  }
  if (in.has_max_downstream_connection_duration_jitter_percentage()) {
    const double percent = in.max_downstream_connection_duration_jitter_percentage().value();
    if (!(percent >= 0 && percent <= 100)) {
      problems.addAt("max_downstream_connection_duration_jitter_percentage", std::to_string(percent), "is no percentage", "0 to 100");
    }
    out.max_duration_jitter = percent / 100;
  }
  if (in.has_max_connect_attempts()) {
    out.max_connect_attempts = in.max_connect_attempts().value();
    if (out.max_connect_attempts == 0) problems.addAt("max_connect_attempts", "0", "must be at least 1");
  }
}

}  // namespace

std::shared_ptr<const NetworkFilterFactory> parseTcpProxy(std::string_view, std::string_view bytes, FilterContext& context) {
  config::Problems& problems = context.parse.problems;
  pb::TcpProxy in;
  if (!in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    problems.add("cannot be decoded as TcpProxy");
    return nullptr;
  }
  const size_t before = problems.size();
  auto out = std::make_shared<TcpProxyConfig>();
  if (in.stat_prefix().empty()) problems.addAt("stat_prefix", {}, "must not be empty");
  parseTargets(in, context, *out);
  parseTimes(in, problems, *out);
  for (int i = 0; i < in.access_log_size(); ++i) {
    const auto at = problems.element("access_log", static_cast<size_t>(i));
    if (!context.access_log) continue;
    if (auto log = context.access_log(in.access_log(i).SerializeAsString())) out->access_logs.push_back(std::move(log));
  }
  out->log_on_connected = in.flush_access_log_on_connected() || in.access_log_options().flush_access_log_on_connected();
  if (in.has_tunneling_config()) problems.addAt("tunneling_config", {}, "is not supported: bytes would go out without their tunnel");
  if (in.has_metadata_match()) problems.unsupported("metadata_match");
  if (in.hash_policy_size() > 0) problems.unsupported("hash_policy");
  if (in.has_on_demand()) problems.unsupported("on_demand");
  if (in.has_backoff_options()) problems.unsupported("backoff_options");
  if (in.proxy_protocol_tlvs_size() > 0) problems.unsupported("proxy_protocol_tlvs");
  if (in.upstream_connect_mode() != 0) problems.unsupported("upstream_connect_mode");
  if (in.has_max_early_data_bytes()) problems.unsupported("max_early_data_bytes");
  if (in.has_access_log_flush_interval() || in.access_log_options().has_access_log_flush_interval()) {
    problems.unsupported("access_log_options.access_log_flush_interval");
  }
  if (problems.size() != before) return nullptr;
  out->stats = stats::Set<TcpStat>(context.parse.stats.scope("tcp." + in.stat_prefix() + ".", kTcpTable));
  return out;
}

}  // namespace outrider::filter::network::tcp_proxy
