// What Envoy's TLS transport sockets and secrets say, as plain values: files are read, names are mapped, defaults are
// filled in. Thread: any (values). Equality is the test for "no change". Source:
// envoy.extensions.transport_sockets.tls.v3. Private keys are in here: never print a spec.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "source/match/string_matcher.h"

namespace outrider::config {

// core.DataSource, read. `path` is the file's name; "<inline>" or "<environment NAME>" for the others; empty: not set.
struct DataSpec {
  std::string bytes;
  std::string path;
  bool set() const { return !path.empty(); }
  bool isFile() const { return !path.empty() && path[0] != '<'; }
  bool operator==(const DataSpec&) const = default;
};

enum class TlsVersion : uint8_t { kAuto, kTls10, kTls11, kTls12, kTls13 };

struct TlsParamsSpec {
  TlsVersion min = TlsVersion::kTls12;
  TlsVersion max = TlsVersion::kTls13;  // Envoy's default as a client is TLS 1.2
  std::vector<std::string> ciphers;     // OpenSSL's names, in order; empty: the default list
  std::vector<std::string> groups;      // OpenSSL's names; empty: X25519, P-256
  std::vector<std::string> signatures;  // RFC 8446 names ("ecdsa_secp256r1_sha256"); empty: the library's default
  bool operator==(const TlsParamsSpec&) const = default;
};

struct CertificateSpec {
  DataSpec chain;
  DataSpec key;
  DataSpec pkcs12;
  DataSpec password;
  DataSpec ocsp_staple;
  std::string watched_directory;
  bool operator==(const CertificateSpec&) const = default;
};

enum class SanType : uint8_t { kEmail, kDns, kUri, kIp };

struct SanMatcherSpec {
  SanType type = SanType::kDns;
  match::StringMatchSpec text;
  bool operator==(const SanMatcherSpec&) const = default;
};

using Sha256 = std::array<uint8_t, 32>;

struct ValidationSpec {
  DataSpec trusted_ca;
  DataSpec crl;
  bool system_roots = false;
  std::vector<SanMatcherSpec> sans;  // one match is enough; empty: any name
  std::vector<Sha256> spki;          // of the public key
  std::vector<Sha256> hashes;        // of the whole certificate
  bool allow_expired = false;
  bool accept_untrusted = false;
  bool only_leaf_crl = false;
  std::optional<uint32_t> max_depth;
  std::string watched_directory;
  bool verifiesChain() const { return trusted_ca.set() || system_roots; }
  bool pinsOrNames() const { return !sans.empty() || !spki.empty() || !hashes.empty(); }
  bool operator==(const ValidationSpec&) const = default;
};

// Where a named secret comes from. `source` is the core.ConfigSource on the wire, for who subscribes.
struct SdsRef {
  enum class From : uint8_t { kStatic, kAds, kPath, kApi };
  std::string name;
  From from = From::kStatic;
  std::string path;  // kPath
  std::string watched_directory;
  std::string source;
  int64_t initial_fetch_timeout = 15'000'000'000;  // nanoseconds; 0: wait for ever
  bool operator==(const SdsRef&) const = default;
};

struct CommonTlsSpec {
  TlsParamsSpec params;
  std::vector<CertificateSpec> certificates;
  std::vector<SdsRef> certificate_sds;
  std::optional<ValidationSpec> validation;  // with validation_sds: the defaults that the secret is merged into
  std::optional<SdsRef> validation_sds;
  std::vector<std::string> alpn;
  bool operator==(const CommonTlsSpec&) const = default;
};

enum class OcspPolicy : uint8_t { kLenient, kStrict, kMustStaple };

struct DownstreamTlsSpec {
  CommonTlsSpec common;
  bool require_client_certificate = false;
  bool full_scan_on_sni_mismatch = false;
  bool prefer_client_ciphers = false;
  bool stateless_resumption = true;  // tickets; used only with keys
  bool stateful_resumption = true;
  std::vector<std::string> ticket_keys;  // 80 bytes each; the first seals new tickets
  std::optional<SdsRef> ticket_keys_sds;
  std::optional<uint32_t> session_timeout;  // seconds
  OcspPolicy ocsp_policy = OcspPolicy::kLenient;
  bool operator==(const DownstreamTlsSpec&) const = default;
};

struct UpstreamTlsSpec {
  CommonTlsSpec common;
  std::string sni;
  bool auto_host_sni = false;
  bool auto_sni_san_validation = false;
  uint32_t max_session_keys = 1;  // 0: no resumption
  bool operator==(const UpstreamTlsSpec&) const = default;
};

struct SecretSpec {
  enum class Kind : uint8_t { kNone, kCertificate, kValidation, kTicketKeys, kGeneric };
  std::string name;
  Kind kind = Kind::kNone;
  CertificateSpec certificate;
  ValidationSpec validation;
  std::vector<std::string> ticket_keys;
  DataSpec generic;
  bool operator==(const SecretSpec&) const = default;
};

}  // namespace outrider::config
