// One cluster as a value: cluster.v3.Cluster, checked. Thread: any (immutable once parsed). Times: nanoseconds.
// Equality is "nothing changed". What other rooms understand (transport sockets, config sources) stays as wire bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "source/base/address.h"
#include "source/base/clock.h"
#include "source/config/endpoint_spec.h"

namespace outrider::config {

enum class Discovery : uint8_t { kStatic, kStrictDns, kLogicalDns, kEds, kOriginalDst };
enum class LbKind : uint8_t { kRoundRobin, kLeastRequest, kRandom, kHash, kProvided };
enum class DnsFamily : uint8_t { kAuto, kV4Only, kV6Only, kV4Preferred, kAll };

// A typed extension that another room parses: google.protobuf.Any.
struct AnySpec {
  std::string name;  // of the extension slot, for messages only
  std::string type_url;
  std::string bytes;
  bool set() const { return !type_url.empty(); }
  bool operator==(const AnySpec&) const = default;
};

struct TransportMatchSpec {  // Cluster.TransportSocketMatch
  std::string name;
  Labels labels;
  AnySpec transport;  // not set: plain bytes
  bool operator==(const TransportMatchSpec&) const = default;
};

struct BreakerSpec {  // core.v3 CircuitBreakers.Thresholds
  uint32_t connections = 1024;
  uint32_t pending = 1024;
  uint32_t requests = 1024;
  uint32_t retries = 3;
  bool track_remaining = false;
  bool budget = false;  // retry_budget given: retries is not used
  double budget_percent = 20;
  uint32_t min_retry_concurrency = 3;
  bool operator==(const BreakerSpec&) const = default;
};

struct HashLbSpec {  // ring_hash, maglev
  enum class Kind : uint8_t { kRing, kMaglev };
  Kind kind = Kind::kRing;
  bool murmur = false;          // ring: MURMUR_HASH_2, else XX_HASH
  bool use_hostname = false;    // the host's name is its key, not its address
  uint32_t balance_factor = 0;  // percent; 0: loads are not bounded
  uint64_t min_ring_size = 1024;
  uint64_t max_ring_size = 8 * 1024 * 1024;
  uint64_t table_size = 65537;  // maglev: a prime
  bool operator==(const HashLbSpec&) const = default;
};

struct OriginalDstSpec {  // Cluster.OriginalDstLbConfig
  std::string header;     // lower case; empty: none is looked at
  uint16_t port = 0;      // instead of the destination's; 0: none
  base::Nanos cleanup = 5 * base::kSecond;
  bool operator==(const OriginalDstSpec&) const = default;
};

struct Http2Spec {  // core.v3 Http2ProtocolOptions, what a client side needs
  uint32_t hpack_table = 4096;
  uint32_t max_concurrent_streams = 0;  // 0: not given (the peer's limit holds)
  uint32_t stream_window = 0;           // 0: not given
  uint32_t connection_window = 0;
  base::Nanos keepalive_interval = 0;  // 0: none
  base::Nanos keepalive_timeout = 0;
  uint32_t keepalive_jitter = 15;  // percent of the interval
  bool operator==(const Http2Spec&) const = default;
};

enum class UpstreamProtocol : uint8_t { kHttp1, kHttp2, kDownstream, kAuto };

struct UpstreamHttpSpec {  // upstreams.http.v3.HttpProtocolOptions
  UpstreamProtocol protocol = UpstreamProtocol::kHttp1;
  Http2Spec http2;
  base::Nanos idle_timeout = 3600 * base::kSecond;  // 0: none
  base::Nanos max_connection_duration = 0;
  uint32_t max_requests_per_connection = 0;  // 0: no limit
  uint32_t max_headers_count = 100;
  uint32_t max_headers_kb = 60;
  bool proper_case = false, preserve_case = false, preserve_case_proper = false;  // header_key_format, as http::h1::Settings
  bool http1_trailers = false;  // enable_trailers
  bool auto_sni = false;
  bool auto_san_validation = false;
  std::string override_auto_sni_header;
  bool operator==(const UpstreamHttpSpec&) const = default;
};

struct StatusRange {  // [first, last]
  uint16_t first = 200, last = 200;
  bool operator==(const StatusRange&) const = default;
};

struct HealthCheckSpec {  // core.v3.HealthCheck
  enum class Kind : uint8_t { kHttp, kTcp };
  Kind kind = Kind::kHttp;
  base::Nanos timeout = 0;
  base::Nanos interval = 0;
  base::Nanos initial_jitter = 0;
  base::Nanos interval_jitter = 0;
  uint32_t interval_jitter_percent = 0;
  uint32_t unhealthy_threshold = 1;
  uint32_t healthy_threshold = 1;
  base::Nanos no_traffic_interval = 60 * base::kSecond;
  base::Nanos no_traffic_healthy_interval = 0;  // 0: as no_traffic_interval
  base::Nanos unhealthy_interval = 0;           // 0: as interval
  base::Nanos unhealthy_edge_interval = 0;
  base::Nanos healthy_edge_interval = 0;
  bool reuse_connection = true;
  // HTTP
  std::string host, path;
  std::string method = "GET";
  bool http2 = false;
  std::vector<std::pair<std::string, std::string>> headers_to_add;
  std::vector<std::string> headers_to_remove;
  std::vector<StatusRange> expected{StatusRange{}};
  std::vector<StatusRange> retriable;
  // TCP: what to send, and what must come, in this order, with anything between
  std::string send;
  std::vector<std::string> receive;
  bool operator==(const HealthCheckSpec&) const = default;
};

struct KeepaliveSpec {  // core.v3.TcpKeepalive; 0: the system's
  bool on = false;
  uint32_t probes = 0, time_s = 0, interval_s = 0;
  bool operator==(const KeepaliveSpec&) const = default;
};

struct DnsSpec {
  base::Nanos refresh = 5 * base::kSecond;
  base::Nanos failure_base = 5 * base::kSecond;  // dns_failure_refresh_rate; default: refresh
  base::Nanos failure_max = 5 * base::kSecond;
  base::Nanos jitter = 0;
  bool respect_ttl = false;
  DnsFamily family = DnsFamily::kAuto;
  std::vector<base::Address> resolvers;  // empty: the system's
  bool use_tcp = false;
  bool no_search = false;  // no_default_search_domain
  bool operator==(const DnsSpec&) const = default;
};

struct ClusterSpec {
  std::string name;
  std::string stat_name;  // alt_stat_name, else name
  Discovery discovery = Discovery::kStatic;
  OriginalDstSpec original_dst;
  std::string eds_name;     // what EDS is asked for: service_name, else name
  std::string eds_source;   // core.v3.ConfigSource, wire bytes
  EndpointsSpec endpoints;  // load_assignment
  base::Nanos connect_timeout = 5 * base::kSecond;
  uint32_t buffer_limit = 1024 * 1024;  // per_connection_buffer_limit_bytes
  LbKind lb = LbKind::kRoundRobin;
  uint32_t choice_count = 2;          // least request
  std::optional<HashLbSpec> hash_lb;  // with LbKind::kHash
  bool locality_weighted = false;     // locality_weighted_lb_config, wrr_locality
  double panic_threshold = 50;        // percent
  bool close_on_host_set_change = false;
  bool ignore_new_hosts_until_first_check = false;
  bool ignore_health_on_removal = false;
  bool close_on_health_failure = false;
  bool wait_for_warm = true;            // wait_for_warm_on_init
  std::array<BreakerSpec, 2> breakers;  // DEFAULT, HIGH
  UpstreamHttpSpec http;
  base::Nanos tcp_idle_timeout = 0;  // upstreams.tcp.v3; 0: not given
  std::vector<HealthCheckSpec> health_checks;
  DnsSpec dns;
  AnySpec transport;                                  // transport_socket; not set: plain bytes
  std::vector<TransportMatchSpec> transport_matches;  // the first that a host's labels hold goes before it
  std::vector<base::Address> source_addresses;        // upstream_bind_config, at most one of each family
  bool freebind = false;
  KeepaliveSpec keepalive;
  std::string metadata;  // core.Metadata, deterministic wire form
  bool operator==(const ClusterSpec&) const = default;
};

}  // namespace outrider::config
