// What is known of one exchange (or one TCP connection): filled on the way, read by formats, logs and statistics at its end.
// Thread: its worker. Lifetime: part of the stream; every view lives as long as the stream's arena or the config that the
// stream pins. Times are monotonic nanoseconds; 0: did not happen.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "source/base/address.h"
#include "source/base/clock.h"
#include "source/http/head.h"
#include "source/stream/response_flags.h"
#include "source/stream/security_info.h"

namespace outrider::stream {

// What outlives an exchange and is shared by many: plain bases of the config's and the cluster's own objects.
struct RouteInfo {
  std::string_view name;  // of the route's table
};
struct ClusterInfo {
  std::string name;
  std::string observability_name;  // alt_stat_name, else name
  std::string_view metadata;       // core.Metadata's wire bytes, of the same config
};
// What hosts have in common, or most have not.
struct HostTexts {
  std::string hostname;  // of the endpoint, may be empty
  std::string region, zone, sub_zone;
  std::string_view metadata;  // the endpoint's, as a cluster's
};
struct HostInfo {
  base::Address address;
  std::shared_ptr<const HostTexts> texts;  // null: all are empty

  const HostTexts& said() const {
    static const HostTexts none;
    return texts == nullptr ? none : *texts;
  }
  const std::string& hostname() const { return said().hostname; }
};
struct ListenerInfo {
  std::string name;
  std::string filter_chain;
};

// One per downstream connection, shared by its exchanges.
// One a client connection, most of which wait: small, and what TLS alone has is made with TLS alone.
struct ConnectionInfo {
  struct Hello {
    std::string server_name;  // SNI
    std::string alpn;
    std::string ja3;
  };
  // The addresses are the socket's own (or of who logs without one) and outlive this; null: not known.
  const base::Address* peer = nullptr;
  const base::Address* own = nullptr;
  std::unique_ptr<Hello> said;
  uint64_t id = 0;
  bool local_restored = false;        // `own` is where the client wanted to go, not where it was led to
  const SecurityInfo* tls = nullptr;  // null: plain
  const ListenerInfo* listener = nullptr;
  std::string_view termination_details;  // why we closed it
  std::string_view transport_failure;

  const base::Address& directRemote() const { return known(peer); }
  const base::Address& remote() const { return known(peer); }  // after the PROXY protocol
  const base::Address& local() const { return known(own); }
  std::string_view requestedServerName() const { return said == nullptr ? std::string_view() : said->server_name; }
  std::string_view alpn() const { return said == nullptr ? std::string_view() : said->alpn; }
  std::string_view ja3() const { return said == nullptr ? std::string_view() : said->ja3; }
  Hello& hello() {
    if (said == nullptr) said = std::make_unique<Hello>();
    return *said;
  }

 private:
  static const base::Address& unknown() {
    static const base::Address none;
    return none;
  }
  static const base::Address& known(const base::Address* address) { return address == nullptr ? unknown() : *address; }
};

struct StreamInfo {
  const ConnectionInfo* connection = nullptr;
  base::Address remote;        // the client as the proxy believes (x-forwarded-for counted)
  base::Nanos start_wall = 0;  // since the epoch
  base::Nanos start = 0;
  base::Nanos request_head_at = 0;  // head complete
  base::Nanos request_end_at = 0;   // last request byte received
  base::Nanos first_upstream_tx = 0, last_upstream_tx = 0;
  base::Nanos first_upstream_rx = 0, last_upstream_rx = 0;
  base::Nanos first_downstream_tx = 0, last_downstream_tx = 0;
  base::Nanos pool_ready_at = 0;
  base::Nanos end = 0;

  uint64_t bytes_received = 0;  // request body
  uint64_t bytes_sent = 0;      // response body
  uint64_t request_head_bytes = 0, response_head_bytes = 0, response_trailer_bytes = 0;
  uint64_t upstream_wire_sent = 0, upstream_wire_received = 0;

  ResponseFlags flags;
  uint16_t response_code = 0;  // 0: nothing was sent
  http::Protocol protocol = http::Protocol::kHttp11;
  http::Protocol upstream_protocol = http::Protocol::kHttp11;
  bool has_protocol = false;  // HTTP at all
  bool has_upstream_protocol = false;
  bool health_check = false;
  uint16_t attempts = 0;
  std::string_view details;  // Envoy's response code details
  std::string_view reason;   // Outrider's reason id; empty: upstream's own answer

  const RouteInfo* route = nullptr;
  std::string_view route_metadata;  // core.Metadata's wire bytes
  const ClusterInfo* cluster = nullptr;
  const HostInfo* host = nullptr;
  base::Address upstream_local;
  std::string_view upstream_transport_failure;
  const SecurityInfo* upstream_tls = nullptr;
  uint64_t upstream_connection_id = 0;
  std::string_view request_id;
};

}  // namespace outrider::stream
