#include "source/config/cluster_parse.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/extensions/clusters/dns/v3/dns_cluster.pb.h"
#include "envoy/extensions/load_balancing_policies/common/v3/common.pb.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb.h"
#include "envoy/extensions/load_balancing_policies/maglev/v3/maglev.pb.h"
#include "envoy/extensions/load_balancing_policies/random/v3/random.pb.h"
#include "envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash.pb.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb.h"
#include "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"
#include "envoy/extensions/upstreams/tcp/v3/tcp_protocol_options.pb.h"
#include "source/config/any.h"
#include "source/config/checked_any.h"
#include "source/config/endpoint_parse.h"
#include "source/config/header_case.h"
#include "source/config/health_check_parse.h"
#include "source/config/schema.h"
#include "source/config/validate.h"

// Deprecated fields still arrive from control planes, and must be honoured or refused like the others.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::config {
namespace {

namespace core = envoy::config::core::v3;
namespace pb = envoy::config::cluster::v3;
namespace http = envoy::extensions::upstreams::http::v3;
namespace lb = envoy::extensions::load_balancing_policies;
using envoy::extensions::clusters::dns::v3::DnsCluster;
using envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;
using envoy::extensions::upstreams::tcp::v3::TcpProtocolOptions;

base::Nanos nanos(const google::protobuf::Duration& in) { return in.seconds() * base::kSecond + in.nanos(); }

void declareProtocols(Honored& honored) {
  honored.fields<core::HttpProtocolOptions>(
      {"idle_timeout", "max_connection_duration", "max_headers_count", "max_response_headers_kb", "max_requests_per_connection"});
  honored.fields<core::Http1ProtocolOptions>({"header_key_format", "enable_trailers"});
  honored.all<core::Http1ProtocolOptions::HeaderKeyFormat>();
  honored.fields<core::Http2ProtocolOptions>({"hpack_table_size", "max_concurrent_streams", "initial_stream_window_size",
                                              "initial_connection_window_size", "connection_keepalive"});
  honored.fields<core::KeepaliveSettings>({"interval", "timeout", "interval_jitter", "connection_idle_interval"});
  honored.fields<core::UpstreamHttpProtocolOptions>({"auto_sni", "auto_san_validation", "override_auto_sni_header"});
}

// Messages inside of Any: Envoy's rules, and a report of what is not acted on.
const Checker& innerChecker() {
  static const Checker* const checker = [] {
    auto* honored = new Honored();
    declareProtocols(*honored);
    honored->fields<http::HttpProtocolOptions>({"common_http_protocol_options", "upstream_http_protocol_options", "explicit_http_config",
                                                "use_downstream_protocol_config", "auto_config", "http_filters"});
    honored->fields<TcpProtocolOptions>({"idle_timeout"});
    honored->fields<DnsCluster>({"dns_refresh_rate", "dns_failure_refresh_rate", "respect_dns_ttl", "dns_jitter",
                                 "typed_dns_resolver_config", "dns_lookup_family", "all_addresses_in_single_endpoint"});
    honored->fields<CaresDnsResolverConfig>({"resolvers", "dns_resolver_options"});
    honored->fields<lb::least_request::v3::LeastRequest>({"choice_count", "locality_lb_config"});
    honored->fields<lb::round_robin::v3::RoundRobin>({"locality_lb_config"});
    honored->fields<lb::random::v3::Random>({"locality_lb_config"});
    honored->fields<lb::ring_hash::v3::RingHash>({"hash_function", "minimum_ring_size", "maximum_ring_size", "use_hostname_for_hashing",
                                                  "hash_balance_factor", "consistent_hashing_lb_config", "locality_weighted_lb_config"});
    honored->fields<lb::maglev::v3::Maglev>({"table_size", "consistent_hashing_lb_config", "locality_weighted_lb_config"});
    honored->fields<lb::common::v3::ConsistentHashingLbConfig>({"use_hostname_for_hashing", "hash_balance_factor"});
    return new Checker(honored);
  }();
  return *checker;
}

template <class M>
bool open(const google::protobuf::Any& any, M& out, Problems& problems) {
  return unpack(any, out, problems) && innerChecker().check(out, problems);
}

class Parser {
 public:
  Parser(const pb::Cluster& in, Problems& problems) : in_(in), problems_(problems) {}

  ClusterSpec run() {
    out_.name = in_.name();
    out_.stat_name = in_.alt_stat_name().empty() ? in_.name() : in_.alt_stat_name();
    if (in_.name().empty()) problems_.addAt("name", {}, "is empty");
    discovery();
    endpoints();
    if (in_.has_connect_timeout()) out_.connect_timeout = nanos(in_.connect_timeout());
    if (out_.connect_timeout <= 0) problems_.addAt("connect_timeout", {}, "must be greater than 0s");
    if (in_.has_per_connection_buffer_limit_bytes()) out_.buffer_limit = in_.per_connection_buffer_limit_bytes().value();
    balancing();
    breakers();
    protocols();
    healthChecks();
    transport();
    connecting();
    out_.close_on_health_failure = in_.close_connections_on_host_health_failure();
    out_.ignore_health_on_removal = in_.ignore_health_on_host_removal();
    if (in_.has_wait_for_warm_on_init()) out_.wait_for_warm = in_.wait_for_warm_on_init().value();
    if (in_.has_metadata()) out_.metadata = stableBytes(in_.metadata());
    refused();
    return std::move(out_);
  }

 private:
  void discovery() {
    if (in_.has_cluster_type()) {
      const auto at = problems_.field("cluster_type");
      const std::string type = innerType(in_.cluster_type().typed_config());
      if (type != DnsCluster::descriptor()->full_name()) {
        problems_.addAt("typed_config", type.empty() ? in_.cluster_type().name() : type, "is not supported yet",
                        "type STATIC, STRICT_DNS, LOGICAL_DNS or EDS, or " + DnsCluster::descriptor()->full_name());
        return;
      }
      const auto inner = problems_.field("typed_config");
      DnsCluster dns;
      if (open(in_.cluster_type().typed_config(), dns, problems_)) dnsCluster(dns);
      return;
    }
    switch (in_.type()) {
      case pb::Cluster::STATIC: out_.discovery = Discovery::kStatic; break;
      case pb::Cluster::STRICT_DNS: out_.discovery = Discovery::kStrictDns; break;
      case pb::Cluster::LOGICAL_DNS: out_.discovery = Discovery::kLogicalDns; break;
      case pb::Cluster::ORIGINAL_DST: originalDst(); return;
      case pb::Cluster::EDS:
        out_.discovery = Discovery::kEds;
        out_.eds_name = in_.eds_cluster_config().service_name().empty() ? in_.name() : in_.eds_cluster_config().service_name();
        if (in_.eds_cluster_config().has_eds_config()) {
          out_.eds_source = stableBytes(in_.eds_cluster_config().eds_config());
        } else {
          const auto at = problems_.field("eds_cluster_config");
          problems_.addAt("eds_config", {}, "is missing");
        }
        return;
      default:
        problems_.addAt("type", pb::Cluster::DiscoveryType_Name(in_.type()), "is not supported yet",
                        "STATIC, STRICT_DNS, LOGICAL_DNS, EDS or ORIGINAL_DST");
        return;
    }
    if (in_.has_eds_cluster_config()) problems_.addAt("eds_cluster_config", {}, "set in a non-EDS cluster");
    if (out_.discovery == Discovery::kStatic) return;
    DnsSpec& dns = out_.dns;
    if (in_.has_dns_refresh_rate()) dns.refresh = nanos(in_.dns_refresh_rate());
    dns.respect_ttl = in_.respect_dns_ttl();
    dns.jitter = nanos(in_.dns_jitter());
    failureRate(in_.has_dns_failure_refresh_rate(), in_.dns_failure_refresh_rate());
    switch (in_.dns_lookup_family()) {
      case pb::Cluster::V4_ONLY: dns.family = DnsFamily::kV4Only; break;
      case pb::Cluster::V6_ONLY: dns.family = DnsFamily::kV6Only; break;
      case pb::Cluster::V4_PREFERRED: dns.family = DnsFamily::kV4Preferred; break;
      case pb::Cluster::ALL: dns.family = DnsFamily::kAll; break;
      default: break;
    }
    resolvers(in_.dns_resolvers(), "dns_resolvers");
    dns.use_tcp = in_.use_tcp_for_dns_lookups();
    if (in_.has_dns_resolution_config()) {
      const auto at = problems_.field("dns_resolution_config");
      resolvers(in_.dns_resolution_config().resolvers(), "resolvers");
      resolverOptions(in_.dns_resolution_config().dns_resolver_options());
    }
    if (in_.has_typed_dns_resolver_config()) typedResolver(in_.typed_dns_resolver_config());
  }

  template <class Rate>
  void failureRate(bool given, const Rate& rate) {
    DnsSpec& dns = out_.dns;
    dns.failure_base = given ? nanos(rate.base_interval()) : dns.refresh;
    dns.failure_max = given && rate.has_max_interval() ? nanos(rate.max_interval()) : given ? 10 * dns.failure_base : dns.failure_base;
    if (dns.failure_max < dns.failure_base) {
      const auto at = problems_.field("dns_failure_refresh_rate");
      problems_.addAt("max_interval", {}, "is below base_interval");
    }
  }

  void dnsCluster(const DnsCluster& in) {
    out_.discovery = in.all_addresses_in_single_endpoint() ? Discovery::kLogicalDns : Discovery::kStrictDns;
    DnsSpec& dns = out_.dns;
    if (in.has_dns_refresh_rate()) dns.refresh = nanos(in.dns_refresh_rate());
    dns.respect_ttl = in.respect_dns_ttl();
    dns.jitter = nanos(in.dns_jitter());
    failureRate(in.has_dns_failure_refresh_rate(), in.dns_failure_refresh_rate());
    using namespace envoy::extensions::clusters::common::dns::v3;
    switch (in.dns_lookup_family()) {
      case V4_ONLY: dns.family = DnsFamily::kV4Only; break;
      case V6_ONLY: dns.family = DnsFamily::kV6Only; break;
      case V4_PREFERRED: dns.family = DnsFamily::kV4Preferred; break;
      case ALL: dns.family = DnsFamily::kAll; break;
      default: break;
    }
    if (in.has_typed_dns_resolver_config()) typedResolver(in.typed_dns_resolver_config());
  }

  void resolvers(const google::protobuf::RepeatedPtrField<core::Address>& in, std::string_view name) {
    for (int i = 0; i < in.size(); ++i) {
      const auto at = problems_.element(name, static_cast<size_t>(i));
      const core::SocketAddress& socket = in[i].socket_address();
      const uint32_t port = socket.port_value() == 0 ? 53 : socket.port_value();
      const auto address = port > 65535 ? std::nullopt : base::Address::parseIp(socket.address(), static_cast<uint16_t>(port));
      if (address) {
        out_.dns.resolvers.push_back(*address);
      } else {
        problems_.add(socket.address(), "is no address of a resolver", "an IP address and a port");
      }
    }
  }

  void resolverOptions(const core::DnsResolverOptions& in) {
    out_.dns.use_tcp = out_.dns.use_tcp || in.use_tcp_for_dns_lookups();
    out_.dns.no_search = in.no_default_search_domain();
  }

  void typedResolver(const core::TypedExtensionConfig& in) {
    const auto at = problems_.field("typed_dns_resolver_config");
    const std::string type = innerType(in.typed_config());
    if (type != CaresDnsResolverConfig::descriptor()->full_name()) {
      problems_.unsupported("typed_config");  // another way to ask the same: c-ares is used
      return;
    }
    const auto inner = problems_.field("typed_config");
    CaresDnsResolverConfig cares;
    if (!open(in.typed_config(), cares, problems_)) return;
    resolvers(cares.resolvers(), "resolvers");
    resolverOptions(cares.dns_resolver_options());
  }

  void endpoints() {
    if (out_.discovery == Discovery::kOriginalDst) return;
    if (!in_.has_load_assignment()) return;
    const auto at = problems_.field("load_assignment");
    if (out_.discovery == Discovery::kEds) {
      problems_.add({}, "set in an EDS cluster");
      return;
    }
    const bool dns = out_.discovery != Discovery::kStatic;
    out_.endpoints = parseEndpoints(in_.load_assignment(), dns ? Names::kResolved : Names::kRefused, problems_);
    if (out_.discovery != Discovery::kLogicalDns) return;
    size_t count = 0;
    for (const LocalityEndpoints& locality : out_.endpoints.localities) count += locality.endpoints.size();
    if (count != 1) {
      problems_.addAt("endpoints", absl::StrCat(count, " endpoints"), "are not possible in a LOGICAL_DNS cluster", "exactly one endpoint");
    }
  }

  void originalDst() {
    out_.discovery = Discovery::kOriginalDst;
    OriginalDstSpec& to = out_.original_dst;
    if (in_.has_cleanup_interval()) to.cleanup = nanos(in_.cleanup_interval());
    if (in_.has_load_assignment())
      problems_.addAt("load_assignment", {}, "does not fit the type ORIGINAL_DST: hosts are found by destination");
    if (!in_.has_original_dst_lb_config()) return;
    const auto at = problems_.field("original_dst_lb_config");
    const pb::Cluster::OriginalDstLbConfig& from = in_.original_dst_lb_config();
    if (from.use_http_header()) {
      to.header = from.http_header_name().empty() ? "x-envoy-original-dst-host" : absl::AsciiStrToLower(from.http_header_name());
    } else if (!from.http_header_name().empty()) {
      problems_.addAt("http_header_name", from.http_header_name(), "needs use_http_header");
    }
    if (from.has_upstream_port_override()) to.port = static_cast<uint16_t>(from.upstream_port_override().value());
    if (from.has_metadata_key()) problems_.unsupported("metadata_key");
  }

  // ---- balancing ----
  void balancing() {
    const pb::Cluster::CommonLbConfig& common = in_.common_lb_config();
    if (in_.has_common_lb_config()) {
      const auto at = problems_.field("common_lb_config");
      // Given without a value it is 0: Envoy's own reading of an empty Percent.
      if (common.has_healthy_panic_threshold()) out_.panic_threshold = common.healthy_panic_threshold().value();
      out_.locality_weighted = common.has_locality_weighted_lb_config();
      out_.close_on_host_set_change = common.close_connections_on_host_set_change();
      out_.ignore_new_hosts_until_first_check = common.ignore_new_hosts_until_first_hc();
      if (out_.discovery == Discovery::kStatic && common.consistent_hashing_lb_config().use_hostname_for_hashing()) {
        const auto inner = problems_.field("consistent_hashing_lb_config");
        problems_.addAt("use_hostname_for_hashing", "true", "is not possible in a STATIC cluster", "a type that knows names");
      }
    }
    if (in_.has_load_balancing_policy()) {
      const auto at = problems_.field("load_balancing_policy");
      policies(in_.load_balancing_policy(), true);
      return;
    }
    switch (in_.lb_policy()) {
      case pb::Cluster::ROUND_ROBIN: out_.lb = LbKind::kRoundRobin; break;
      case pb::Cluster::LEAST_REQUEST:
        out_.lb = LbKind::kLeastRequest;
        if (in_.least_request_lb_config().has_choice_count()) out_.choice_count = in_.least_request_lb_config().choice_count().value();
        break;
      case pb::Cluster::RANDOM: out_.lb = LbKind::kRandom; break;
      case pb::Cluster::RING_HASH: {
        HashLbSpec& hash = hashing(HashLbSpec::Kind::kRing, common.consistent_hashing_lb_config());
        const auto at = problems_.field("ring_hash_lb_config");
        ringSizes(in_.ring_hash_lb_config(), hash);
        hash.murmur = in_.ring_hash_lb_config().hash_function() == pb::Cluster::RingHashLbConfig::MURMUR_HASH_2;
        break;
      }
      case pb::Cluster::MAGLEV: {
        HashLbSpec& hash = hashing(HashLbSpec::Kind::kMaglev, common.consistent_hashing_lb_config());
        const auto at = problems_.field("maglev_lb_config");
        tableSize(in_.maglev_lb_config(), hash);
        break;
      }
      case pb::Cluster::CLUSTER_PROVIDED:
        out_.lb = LbKind::kProvided;
        if (out_.discovery != Discovery::kOriginalDst) {
          problems_.addAt("lb_policy", "CLUSTER_PROVIDED", "belongs to clusters of the type ORIGINAL_DST");
        }
        return;
      default:
        problems_.addAt("lb_policy", pb::Cluster::LbPolicy_Name(in_.lb_policy()), "is not supported yet",
                        "ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH, MAGLEV or CLUSTER_PROVIDED");
    }
    if (out_.discovery == Discovery::kOriginalDst) {
      problems_.addAt("lb_policy", pb::Cluster::LbPolicy_Name(in_.lb_policy()), "does not fit the type ORIGINAL_DST", "CLUSTER_PROVIDED");
    }
  }

  template <class Common>
  HashLbSpec& hashing(HashLbSpec::Kind kind, const Common& common) {
    out_.lb = LbKind::kHash;
    HashLbSpec& hash = out_.hash_lb.emplace();
    hash.kind = kind;
    hash.use_hostname = common.use_hostname_for_hashing();
    hash.balance_factor = common.hash_balance_factor().value();
    return hash;
  }

  template <class M>
  void ringSizes(const M& in, HashLbSpec& out) {
    if (in.has_minimum_ring_size()) out.min_ring_size = in.minimum_ring_size().value();
    if (in.has_maximum_ring_size()) out.max_ring_size = in.maximum_ring_size().value();
    if (out.min_ring_size > out.max_ring_size) {
      problems_.addAt("minimum_ring_size", absl::StrCat(out.min_ring_size), "is above maximum_ring_size",
                      absl::StrCat("at most ", out.max_ring_size));
    }
  }

  template <class M>
  void tableSize(const M& in, HashLbSpec& out) {
    if (in.has_table_size()) out.table_size = in.table_size().value();
    bool prime = out.table_size >= 2;
    for (uint64_t i = 2; prime && i * i <= out.table_size; ++i) prime = out.table_size % i != 0;
    if (!prime) problems_.addAt("table_size", absl::StrCat(out.table_size), "is not a prime number", "a prime, such as 65537");
  }

  template <class M>
  bool localities(const M& in) {
    if (in.has_locality_lb_config() && in.locality_lb_config().has_locality_weighted_lb_config()) out_.locality_weighted = true;
    return true;
  }

  // The first policy that is known counts.
  void policies(const pb::LoadBalancingPolicy& in, bool outer) {
    std::string seen;
    for (int i = 0; i < in.policies_size(); ++i) {
      const auto at = problems_.element("policies", static_cast<size_t>(i));
      const auto extension = problems_.field("typed_extension_config");
      const auto inner = problems_.field("typed_config");
      const google::protobuf::Any& any = in.policies(i).typed_extension_config().typed_config();
      const std::string type = innerType(any);
      if (type == lb::round_robin::v3::RoundRobin::descriptor()->full_name()) {
        lb::round_robin::v3::RoundRobin policy;
        out_.lb = LbKind::kRoundRobin;
        if (open(any, policy, problems_)) localities(policy);
        return;
      }
      if (type == lb::least_request::v3::LeastRequest::descriptor()->full_name()) {
        lb::least_request::v3::LeastRequest policy;
        out_.lb = LbKind::kLeastRequest;
        if (!open(any, policy, problems_)) return;
        if (policy.has_choice_count()) out_.choice_count = policy.choice_count().value();
        localities(policy);
        return;
      }
      if (type == lb::random::v3::Random::descriptor()->full_name()) {
        lb::random::v3::Random policy;
        out_.lb = LbKind::kRandom;
        if (open(any, policy, problems_)) localities(policy);
        return;
      }
      if (type == lb::ring_hash::v3::RingHash::descriptor()->full_name()) {
        lb::ring_hash::v3::RingHash policy;
        if (!open(any, policy, problems_)) return;
        HashLbSpec& hash = hashing(HashLbSpec::Kind::kRing, policy.consistent_hashing_lb_config());
        if (!policy.has_consistent_hashing_lb_config()) {  // the deprecated places of the same
          hash.use_hostname = policy.use_hostname_for_hashing();
          hash.balance_factor = policy.hash_balance_factor().value();
        }
        ringSizes(policy, hash);
        hash.murmur = policy.hash_function() == lb::ring_hash::v3::RingHash::MURMUR_HASH_2;
        out_.locality_weighted |= policy.has_locality_weighted_lb_config();
        return;
      }
      if (type == lb::maglev::v3::Maglev::descriptor()->full_name()) {
        lb::maglev::v3::Maglev policy;
        if (!open(any, policy, problems_)) return;
        HashLbSpec& hash = hashing(HashLbSpec::Kind::kMaglev, policy.consistent_hashing_lb_config());
        tableSize(policy, hash);
        out_.locality_weighted |= policy.has_locality_weighted_lb_config();
        return;
      }
      if (outer && type == lb::wrr_locality::v3::WrrLocality::descriptor()->full_name()) {
        lb::wrr_locality::v3::WrrLocality policy;
        out_.locality_weighted = true;
        if (!open(any, policy, problems_)) return;
        const auto child = problems_.field("endpoint_picking_policy");
        policies(policy.endpoint_picking_policy(), false);
        return;
      }
      absl::StrAppend(&seen, seen.empty() ? "" : ", ", type);
    }
    problems_.addAt("policies", seen, "no policy of the list is supported",
                    "round_robin, least_request, random, ring_hash, maglev or wrr_locality");
  }

  // ---- limits ----
  void breakers() {
    if (!in_.has_circuit_breakers()) return;
    const auto at = problems_.field("circuit_breakers");
    for (int i = 0; i < in_.circuit_breakers().thresholds_size(); ++i) {
      const auto inner = problems_.element("thresholds", static_cast<size_t>(i));
      const pb::CircuitBreakers::Thresholds& from = in_.circuit_breakers().thresholds(i);
      BreakerSpec& to = out_.breakers[from.priority() == core::HIGH ? 1 : 0];
      if (from.has_max_connections()) to.connections = from.max_connections().value();
      if (from.has_max_pending_requests()) to.pending = from.max_pending_requests().value();
      if (from.has_max_requests()) to.requests = from.max_requests().value();
      if (from.has_max_retries()) to.retries = from.max_retries().value();
      to.track_remaining = from.track_remaining();
      if (from.has_max_connection_pools()) {
        problems_.addAt("max_connection_pools", absl::StrCat(from.max_connection_pools().value()),
                        "is not supported yet: more pools could be opened");
      }
      if (from.has_retry_budget()) {
        to.budget = true;
        if (from.retry_budget().has_budget_percent()) to.budget_percent = from.retry_budget().budget_percent().value();
        if (from.retry_budget().has_min_retry_concurrency()) to.min_retry_concurrency = from.retry_budget().min_retry_concurrency().value();
      }
    }
    if (in_.circuit_breakers().per_host_thresholds_size() > 0) {
      problems_.addAt("per_host_thresholds", {}, "are not supported yet: a host could get too many connections");
    }
  }

  // ---- protocols ----
  void http2(const core::Http2ProtocolOptions& in) {
    Http2Spec& to = out_.http.http2;
    if (in.has_hpack_table_size()) to.hpack_table = in.hpack_table_size().value();
    to.max_concurrent_streams = in.max_concurrent_streams().value();
    to.stream_window = in.initial_stream_window_size().value();
    to.connection_window = in.initial_connection_window_size().value();
    if (in.has_connection_keepalive()) {
      const core::KeepaliveSettings& keepalive = in.connection_keepalive();
      to.keepalive_interval = nanos(keepalive.interval());
      to.keepalive_timeout = nanos(keepalive.timeout());
      if (keepalive.has_interval_jitter()) to.keepalive_jitter = static_cast<uint32_t>(keepalive.interval_jitter().value());
      if (keepalive.has_connection_idle_interval()) problems_.unsupported("connection_idle_interval");
    }
  }

  void http1(const core::Http1ProtocolOptions& in) {
    const HeaderCase names = parseHeaderCase(in, problems_);
    out_.http.proper_case = names.proper;
    out_.http.preserve_case = names.preserve;
    out_.http.preserve_case_proper = names.preserve_proper;
    out_.http.http1_trailers = in.enable_trailers();
  }

  void common(const core::HttpProtocolOptions& in) {
    UpstreamHttpSpec& to = out_.http;
    if (in.has_idle_timeout()) to.idle_timeout = nanos(in.idle_timeout());
    if (in.has_max_connection_duration()) problems_.unsupported("max_connection_duration");
    if (in.has_max_requests_per_connection()) to.max_requests_per_connection = in.max_requests_per_connection().value();
    if (in.has_max_headers_count()) to.max_headers_count = in.max_headers_count().value();
    if (in.has_max_response_headers_kb()) to.max_headers_kb = in.max_response_headers_kb().value();
  }

  void sni(const core::UpstreamHttpProtocolOptions& in) {
    out_.http.auto_sni = in.auto_sni();
    out_.http.auto_san_validation = in.auto_san_validation();
    out_.http.override_auto_sni_header = in.override_auto_sni_header();
    // Names would be checked against nothing.
    if (in.auto_san_validation()) problems_.addAt("auto_san_validation", "true", "is not supported yet", "match_typed_subject_alt_names");
    if (in.auto_sni()) problems_.addAt("auto_sni", "true", "is not supported yet", "sni in UpstreamTlsContext");
  }

  void protocols() {
    UpstreamHttpSpec& to = out_.http;
    if (in_.has_max_requests_per_connection()) to.max_requests_per_connection = in_.max_requests_per_connection().value();
    if (in_.has_common_http_protocol_options()) {
      const auto at = problems_.field("common_http_protocol_options");
      common(in_.common_http_protocol_options());
    }
    if (in_.has_http_protocol_options()) {
      const auto at = problems_.field("http_protocol_options");
      http1(in_.http_protocol_options());
    }
    if (in_.has_http2_protocol_options()) {
      const auto at = problems_.field("http2_protocol_options");
      to.protocol = UpstreamProtocol::kHttp2;
      http2(in_.http2_protocol_options());
    }
    if (in_.protocol_selection() == pb::Cluster::USE_DOWNSTREAM_PROTOCOL) to.protocol = UpstreamProtocol::kDownstream;
    if (in_.has_upstream_http_protocol_options()) {
      const auto at = problems_.field("upstream_http_protocol_options");
      sni(in_.upstream_http_protocol_options());
    }
    const auto at = problems_.field("typed_extension_protocol_options");
    std::vector<std::string> keys;
    for (const auto& [key, any] : in_.typed_extension_protocol_options()) keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    for (const std::string& key : keys) {
      const auto inner = problems_.key(key);
      const google::protobuf::Any& any = in_.typed_extension_protocol_options().at(key);
      const std::string type = innerType(any);
      if (type == http::HttpProtocolOptions::descriptor()->full_name()) {
        http::HttpProtocolOptions options;
        if (open(any, options, problems_)) httpOptions(options);
      } else if (type == TcpProtocolOptions::descriptor()->full_name()) {
        TcpProtocolOptions options;
        if (open(any, options, problems_)) out_.tcp_idle_timeout = nanos(options.idle_timeout());
      } else {
        problems_.add(
            type, "is not supported",
            absl::StrCat(http::HttpProtocolOptions::descriptor()->full_name(), " or ", TcpProtocolOptions::descriptor()->full_name()));
      }
    }
  }

  void httpOptions(const http::HttpProtocolOptions& in) {
    UpstreamHttpSpec& to = out_.http;
    if (in.has_common_http_protocol_options()) {
      const auto at = problems_.field("common_http_protocol_options");
      common(in.common_http_protocol_options());
    }
    if (in.has_upstream_http_protocol_options()) {
      const auto at = problems_.field("upstream_http_protocol_options");
      sni(in.upstream_http_protocol_options());
    }
    if (in.http_filters_size() > 1 ||
        (in.http_filters_size() == 1 && in.http_filters(0).typed_config().type_url().find("UpstreamCodec") == std::string::npos)) {
      problems_.addAt("http_filters", {}, "are not supported yet");
    }
    switch (in.upstream_protocol_options_case()) {
      case http::HttpProtocolOptions::kExplicitHttpConfig: {
        const auto at = problems_.field("explicit_http_config");
        const auto& config = in.explicit_http_config();
        if (config.has_http3_protocol_options()) {
          problems_.addAt("http3_protocol_options", {}, "are not supported", "http_protocol_options or http2_protocol_options");
        } else if (config.has_http2_protocol_options()) {
          const auto inner = problems_.field("http2_protocol_options");
          to.protocol = UpstreamProtocol::kHttp2;
          http2(config.http2_protocol_options());
        } else {
          const auto inner = problems_.field("http_protocol_options");
          to.protocol = UpstreamProtocol::kHttp1;
          http1(config.http_protocol_options());
        }
        break;
      }
      case http::HttpProtocolOptions::kUseDownstreamProtocolConfig: {
        const auto at = problems_.field("use_downstream_protocol_config");
        to.protocol = UpstreamProtocol::kDownstream;
        if (in.use_downstream_protocol_config().has_http2_protocol_options()) {
          const auto inner = problems_.field("http2_protocol_options");
          http2(in.use_downstream_protocol_config().http2_protocol_options());
        }
        if (in.use_downstream_protocol_config().has_http_protocol_options()) {
          const auto inner = problems_.field("http_protocol_options");
          http1(in.use_downstream_protocol_config().http_protocol_options());
        }
        break;
      }
      case http::HttpProtocolOptions::kAutoConfig: {
        const auto at = problems_.field("auto_config");
        to.protocol = UpstreamProtocol::kAuto;
        if (!in_.has_transport_socket()) problems_.add({}, "needs a transport_socket with ALPN, such as TLS");
        if (in.auto_config().has_http3_protocol_options()) problems_.addAt("http3_protocol_options", {}, "are not supported");
        if (in.auto_config().has_http2_protocol_options()) {
          const auto inner = problems_.field("http2_protocol_options");
          http2(in.auto_config().http2_protocol_options());
        }
        if (in.auto_config().has_http_protocol_options()) {
          const auto inner = problems_.field("http_protocol_options");
          http1(in.auto_config().http_protocol_options());
        }
        break;
      }
      case http::HttpProtocolOptions::UPSTREAM_PROTOCOL_OPTIONS_NOT_SET: break;  // the rules refuse it
    }
  }

  // ---- the rest ----
  void healthChecks() {
    for (int i = 0; i < in_.health_checks_size(); ++i) {
      const auto at = problems_.element("health_checks", static_cast<size_t>(i));
      if (i > 0) {
        problems_.add({}, "is one too many", "at most one health check");
        break;
      }
      out_.health_checks.push_back(parseHealthCheck(in_.health_checks(i), problems_));
    }
  }

  void transport() {
    for (int i = 0; i < in_.transport_socket_matches_size(); ++i) {
      const auto at = problems_.element("transport_socket_matches", static_cast<size_t>(i));
      const auto& from = in_.transport_socket_matches(i);
      TransportMatchSpec& to = out_.transport_matches.emplace_back();
      to.name = from.name();
      to.labels = labelsOf(from.match());
      const auto inner = problems_.field("transport_socket");
      if (from.has_transport_socket()) to.transport = socket(from.transport_socket());
    }
    if (in_.has_transport_socket_matcher()) {
      problems_.addAt("transport_socket_matcher", {}, "is not supported yet: connections would go over another transport socket");
    }
    if (!in_.has_transport_socket()) return;
    const auto at = problems_.field("transport_socket");
    out_.transport = socket(in_.transport_socket());
  }

  AnySpec socket(const core::TransportSocket& in) {
    AnySpec out;
    const std::string type = innerType(in.typed_config());
    if (type.empty()) {
      problems_.addAt("typed_config", in.name(), "has no type", "a type URL");
      return out;
    }
    if (type == "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer") return out;
    out.name = in.name();
    out.type_url = urlOfType(type);
    if (typeOfUrl(in.typed_config().type_url()) == type) {
      if (const auto bytes = checkedBytes(in.typed_config(), problems_)) out.bytes = *bytes;
    } else {  // inside of a TypedStruct
      UnknownFields unknown;
      if (const auto inner = unpackAny(in.typed_config(), unknown, problems_)) out.bytes = stableBytes(*inner);
    }
    return out;
  }

  void connecting() {
    if (in_.has_upstream_bind_config()) {
      const auto at = problems_.field("upstream_bind_config");
      const core::BindConfig& bind = in_.upstream_bind_config();
      out_.freebind = bind.freebind().value();
      if (bind.has_source_address()) source(bind.source_address(), "source_address");
      for (const auto& extra : bind.extra_source_addresses()) source(extra.address(), "extra_source_addresses");
      for (const auto& extra : bind.additional_source_addresses()) source(extra, "additional_source_addresses");
      if (bind.socket_options_size() > 0) problems_.unsupported("socket_options");
      if (bind.has_local_address_selector()) problems_.unsupported("local_address_selector");
    }
    if (in_.upstream_connection_options().has_tcp_keepalive()) {
      const core::TcpKeepalive& keepalive = in_.upstream_connection_options().tcp_keepalive();
      out_.keepalive = {true, keepalive.keepalive_probes().value(), keepalive.keepalive_time().value(),
                        keepalive.keepalive_interval().value()};
    }
  }

  void source(const core::SocketAddress& in, std::string_view field) {
    const auto address =
        in.port_value() > 65535 ? std::nullopt : base::Address::parseIp(in.address(), static_cast<uint16_t>(in.port_value()));
    if (!address) {
      problems_.addAt(field, in.address(), "malformed IP address", "an IPv4 or IPv6 address");
    } else if (!std::any_of(out_.source_addresses.begin(), out_.source_addresses.end(),
                            [&](const base::Address& each) { return each.family() == address->family(); })) {
      out_.source_addresses.push_back(*address);
    }
  }

  void refused() {
    if (in_.has_lb_subset_config() && in_.lb_subset_config().subset_selectors_size() > 0) {
      problems_.addAt("lb_subset_config", {}, "is not supported yet: requests would reach other hosts");
    }
    if (in_.filters_size() > 0) problems_.addAt("filters", {}, "are not supported yet");
    if (in_.has_upstream_config()) problems_.addAt("upstream_config", in_.upstream_config().name(), "is not supported");
    if (in_.connection_pool_per_downstream_connection()) {
      problems_.addAt("connection_pool_per_downstream_connection", "true", "is not supported yet: connections would be shared");
    }
  }

  const pb::Cluster& in_;
  Problems& problems_;
  ClusterSpec out_;
};

}  // namespace

ClusterSpec parseCluster(const pb::Cluster& in, Problems& problems) { return Parser(in, problems).run(); }

void declareClusters(Honored& honored) {
  declareEndpoints(honored);
  declareHealthChecks(honored);
  declareProtocols(honored);
  honored.fields<pb::Cluster>({
      "name",
      "alt_stat_name",
      "type",
      "cluster_type",
      "eds_cluster_config",
      "connect_timeout",
      "per_connection_buffer_limit_bytes",
      "lb_policy",
      "load_assignment",
      "health_checks",
      "max_requests_per_connection",
      "circuit_breakers",
      "upstream_http_protocol_options",
      "common_http_protocol_options",
      "http_protocol_options",
      "http2_protocol_options",
      "typed_extension_protocol_options",
      "dns_refresh_rate",
      "dns_jitter",
      "dns_failure_refresh_rate",
      "respect_dns_ttl",
      "dns_lookup_family",
      "dns_resolvers",
      "use_tcp_for_dns_lookups",
      "dns_resolution_config",
      "typed_dns_resolver_config",
      "wait_for_warm_on_init",
      "upstream_bind_config",
      "lb_subset_config",
      "least_request_lb_config",
      "original_dst_lb_config",
      "cleanup_interval",
      "ring_hash_lb_config",
      "maglev_lb_config",
      "common_lb_config",
      "transport_socket",
      "transport_socket_matches",
      "transport_socket_matcher",
      "metadata",
      "protocol_selection",
      "upstream_connection_options",
      "close_connections_on_host_health_failure",
      "ignore_health_on_host_removal",
      "filters",
      "load_balancing_policy",
      "upstream_config",
      "connection_pool_per_downstream_connection",
  });
  honored.fields<pb::Cluster::LeastRequestLbConfig>({"choice_count"});
  honored.fields<pb::Cluster::CommonLbConfig>({"healthy_panic_threshold", "locality_weighted_lb_config", "ignore_new_hosts_until_first_hc",
                                               "close_connections_on_host_set_change", "consistent_hashing_lb_config"});
  honored.fields<pb::Cluster::OriginalDstLbConfig>({"use_http_header", "http_header_name", "upstream_port_override", "metadata_key"});
  honored.fields<pb::Cluster::RingHashLbConfig>({"minimum_ring_size", "maximum_ring_size", "hash_function"});
  honored.fields<pb::Cluster::MaglevLbConfig>({"table_size"});
  honored.fields<pb::Cluster::CommonLbConfig::ConsistentHashingLbConfig>({"use_hostname_for_hashing", "hash_balance_factor"});
  honored.fields<pb::UpstreamConnectionOptions>({"tcp_keepalive"});
  honored.fields<pb::CircuitBreakers>({"thresholds", "per_host_thresholds"});
  honored.fields<pb::CircuitBreakers::Thresholds>({"priority", "max_connections", "max_pending_requests", "max_requests", "max_retries",
                                                   "retry_budget", "track_remaining", "max_connection_pools"});
}

}  // namespace outrider::config
