// What a connection manager was told, with every default resolved (Outrider's safe ones, or Envoy's with --defaults=envoy).
// Thread: any; an immutable value. Source: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "source/base/address.h"
#include "source/base/clock.h"
#include "source/http/h1/settings.h"
#include "source/http/h2/settings.h"

namespace outrider::filter::network::http_connection_manager {

enum class CodecType : uint8_t { kAuto, kHttp1, kHttp2 };
enum class ServerHeader : uint8_t { kOverwrite, kAppendIfAbsent, kPassThrough };
enum class ClientCert : uint8_t { kSanitize, kForwardOnly, kAppendForward, kSanitizeSet, kAlwaysForwardOnly };
enum class EscapedSlashes : uint8_t { kKeep, kReject, kUnescapeAndRedirect, kUnescapeAndForward };

// Where the client's address is found when it is not the connection's: one of original_ip_detection_extensions.
struct IpDetection {
  enum class Kind : uint8_t { kForwardedFor, kHeader };
  Kind kind = Kind::kForwardedFor;
  uint32_t trusted_hops = 0;             // kForwardedFor: entries from the end of the list
  std::vector<base::CidrRange> trusted;  // kForwardedFor: or the last that is none of these
  bool skip_append = true;               // kForwardedFor: whom we are connected with is not added to the list
  std::string header;                    // kHeader: lower case
  bool trusted_address = false;          // kHeader: the address may make a request internal
  uint16_t reject = 0;                   // kHeader: the answer to who has none; 0: the next one is asked
  bool operator==(const IpDetection&) const = default;
};

struct HcmSpec {
  std::string stat_prefix;
  CodecType codec = CodecType::kAuto;
  http::h1::Settings h1;
  http::h2::Settings h2;

  // Times; 0: none.
  base::Nanos stream_idle_timeout = 300 * base::kSecond;
  base::Nanos request_timeout = 0;
  base::Nanos request_headers_timeout = 10 * base::kSecond;
  base::Nanos idle_timeout = 3600 * base::kSecond;
  base::Nanos max_connection_duration = 0;
  base::Nanos max_stream_duration = 0;
  base::Nanos drain_timeout = 5 * base::kSecond;
  base::Nanos delayed_close_timeout = base::kSecond;
  uint32_t max_requests_per_connection = 0;

  // Who the client is.
  bool use_remote_address = false;
  uint32_t xff_num_trusted_hops = 0;
  bool skip_xff_append = false;
  std::vector<IpDetection> ip_detection;         // empty: the list, by xff_num_trusted_hops. Not with use_remote_address
  std::string scheme;                            // every request has this one; empty: its own
  std::vector<base::CidrRange> internal_ranges;  // who counts as internal
  bool internal_unix = false;
  ClientCert client_cert = ClientCert::kSanitize;
  bool cert_subject = false, cert_cert = false, cert_chain = false, cert_dns = false, cert_uri = false;
  bool strip_untrusted_internal = true;  // x-envoy-attempt-count and decorator from outside go (row 101)
  std::string via;
  bool add_user_agent = false;
  bool append_forwarded_port = false;

  // Heads.
  std::string server_name = "envoy";
  ServerHeader server_header = ServerHeader::kOverwrite;
  bool generate_request_id = true;
  bool preserve_external_request_id = false;
  bool always_set_request_id_in_response = false;
  bool normalize_path = true;
  bool merge_slashes = true;
  EscapedSlashes escaped_slashes = EscapedSlashes::kReject;
  bool reject_bad_percent = true;   // %zz and %00 in a path (row 071)
  bool one_case_of_escapes = true;  // %2f becomes %2F where paths are normalised
  bool strip_matching_port = false;
  bool strip_any_port = false;
  bool strip_trailing_dot = false;
  bool allow_trace = false;
  bool reject_trace = true;  // TRACE is 405 unless a route asks for it
  bool proxy_100_continue = false;
  struct Upgrade {
    std::string type;
    bool enabled = true;
    bool operator==(const Upgrade&) const = default;
  };
  std::vector<Upgrade> upgrades;
  size_t stream_buffer_limit = 1 << 20;  // bytes that may wait at a holding filter

  bool operator==(const HcmSpec&) const = default;
};

}  // namespace outrider::filter::network::http_connection_manager
