#include "source/config/tls_parse.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "envoy/config/core/v3/config_source.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/common.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb.h"
#include "source/base/absl_compat.h"
#include "source/match/regex.h"

// Deprecated fields still arrive from control planes, and must be honoured or refused like the others.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace outrider::config {
namespace {

namespace core = envoy::config::core::v3;
namespace tls = envoy::extensions::transport_sockets::tls::v3;
namespace matcher = envoy::type::matcher::v3;

constexpr size_t kMostFileBytes = 16 * 1024 * 1024;
constexpr size_t kTicketKeyBytes = 80;

// Returns 0 or errno.
int readFile(const std::string& path, std::string& out) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = 0;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) error = EISDIR;
  char chunk[16 * 1024];
  while (error == 0) {
    const ssize_t n = ::read(fd, chunk, sizeof chunk);
    if (n == 0) break;
    if (n < 0) {
      if (errno != EINTR) error = errno;
      continue;
    }
    if (out.size() + static_cast<size_t>(n) > kMostFileBytes) error = EFBIG;
    out.append(chunk, static_cast<size_t>(n));
  }
  ::close(fd);
  return error;
}

// ---- Names ----

struct Name {
  std::string_view boring;
  std::string_view openssl;  // empty: not offered by this build's library, or not safe
};

// BoringSSL knows few suites; OpenSSL's spelling is the same for most of them.
constexpr Name kCiphers[] = {
    {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA"},
    {"ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES256-SHA"},
    {"ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA256"},
    {"ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES256-SHA384"},
    {"ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"},
    {"ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES256-SHA"},
    {"ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256"},
    {"ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384"},
    {"ECDHE-PSK-AES128-CBC-SHA", "ECDHE-PSK-AES128-CBC-SHA"},
    {"ECDHE-PSK-AES256-CBC-SHA", "ECDHE-PSK-AES256-CBC-SHA"},
    {"ECDHE-PSK-CHACHA20-POLY1305", "ECDHE-PSK-CHACHA20-POLY1305"},
    {"AES128-GCM-SHA256", "AES128-GCM-SHA256"},
    {"AES256-GCM-SHA384", "AES256-GCM-SHA384"},
    {"AES128-SHA", "AES128-SHA"},
    {"AES256-SHA", "AES256-SHA"},
    {"AES128-SHA256", "AES128-SHA256"},
    {"AES256-SHA256", "AES256-SHA256"},
    // RFC names, which BoringSSL takes too.
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
};

constexpr Name kGroups[] = {
    {"X25519", "X25519"},   {"P-256", "P-256"},     {"P-384", "P-384"},   {"P-521", "P-521"},     {"prime256v1", "P-256"},
    {"secp384r1", "P-384"}, {"secp521r1", "P-521"}, {"x25519", "X25519"}, {"X25519MLKEM768", ""}, {"X25519Kyber768Draft00", ""},
    {"MLKEM1024", ""},      {"P-224", ""},
};

constexpr std::string_view kSignatures[] = {
    "rsa_pkcs1_sha1",         "ecdsa_sha1",
    "rsa_pkcs1_sha256",       "rsa_pkcs1_sha384",
    "rsa_pkcs1_sha512",       "ecdsa_secp256r1_sha256",
    "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512",
    "rsa_pss_rsae_sha256",    "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512",    "ed25519",
};

template <size_t N>
const Name* find(const Name (&table)[N], std::string_view name) {
  for (const Name& entry : table) {
    if (entry.boring == name) return &entry;
  }
  return nullptr;
}

TlsVersion version(tls::TlsParameters::TlsProtocol in, TlsVersion automatic) {
  switch (in) {
    case tls::TlsParameters::TLSv1_0: return TlsVersion::kTls10;
    case tls::TlsParameters::TLSv1_1: return TlsVersion::kTls11;
    case tls::TlsParameters::TLSv1_2: return TlsVersion::kTls12;
    case tls::TlsParameters::TLSv1_3: return TlsVersion::kTls13;
    default: return automatic;
  }
}

TlsParamsSpec parseParams(const tls::TlsParameters& in, bool client, Problems& problems) {
  TlsParamsSpec out;
  out.min = version(in.tls_minimum_protocol_version(), TlsVersion::kTls12);
  out.max = version(in.tls_maximum_protocol_version(), client ? TlsVersion::kTls12 : TlsVersion::kTls13);
  // As in Envoy: a client whose minimum alone is raised to 1.3 speaks 1.3.
  if (client && in.tls_maximum_protocol_version() == tls::TlsParameters::TLS_AUTO && out.min == TlsVersion::kTls13) {
    out.max = TlsVersion::kTls13;
  }
  if (out.min > out.max) {
    problems.addAt("tls_minimum_protocol_version", "", "is above tls_maximum_protocol_version");
  }
  for (int i = 0; i < in.cipher_suites_size(); ++i) {
    const auto at = problems.element("cipher_suites", static_cast<size_t>(i));
    mapCiphers(in.cipher_suites(i), out.ciphers, problems);
  }
  for (int i = 0; i < in.ecdh_curves_size(); ++i) {
    const auto at = problems.element("ecdh_curves", static_cast<size_t>(i));
    const Name* name = find(kGroups, in.ecdh_curves(i));
    if (name == nullptr) {
      problems.add(in.ecdh_curves(i), "no such curve", "valid are X25519, P-256, P-384, P-521");
    } else if (name->openssl.empty()) {
      problems.add(in.ecdh_curves(i), "is not in this TLS library", "valid are X25519, P-256, P-384, P-521");
    } else {
      out.groups.emplace_back(name->openssl);
    }
  }
  for (int i = 0; i < in.signature_algorithms_size(); ++i) {
    const std::string& name = in.signature_algorithms(i);
    if (std::find(std::begin(kSignatures), std::end(kSignatures), name) == std::end(kSignatures)) {
      const auto at = problems.element("signature_algorithms", static_cast<size_t>(i));
      problems.add(name, "no such signature algorithm", "an example is ecdsa_secp256r1_sha256");
    } else {
      out.signatures.push_back(name);
    }
  }
  for (int i = 0; i < in.compliance_policies_size(); ++i) {
    const auto at = problems.element("compliance_policies", static_cast<size_t>(i));
    problems.add(tls::TlsParameters::CompliancePolicy_Name(in.compliance_policies(i)), "compliance policies are not supported");
  }
  return out;
}

// ---- Certificates ----

DataSpec dataAt(std::string_view field, const core::DataSource& in, Problems& problems) {
  const auto at = problems.field(field);
  return readDataSource(in, problems);
}

// `followed`: by SDS, where the files are read again when they change.
CertificateSpec parseCertificate(const tls::TlsCertificate& in, bool followed, Problems& problems) {
  CertificateSpec out;
  if (in.has_certificate_chain()) out.chain = dataAt("certificate_chain", in.certificate_chain(), problems);
  if (in.has_private_key()) out.key = dataAt("private_key", in.private_key(), problems);
  if (in.has_pkcs12()) out.pkcs12 = dataAt("pkcs12", in.pkcs12(), problems);
  if (in.has_password()) out.password = dataAt("password", in.password(), problems);
  if (in.has_ocsp_staple()) {
    if (in.ocsp_staple().specifier_case() == core::DataSource::kInlineString) {
      problems.addAt("ocsp_staple", "", "must be inline_bytes or filename (DER)");
    } else {
      out.ocsp_staple = dataAt("ocsp_staple", in.ocsp_staple(), problems);
    }
  }
  out.watched_directory = in.watched_directory().path();
  if (in.has_watched_directory() && !followed) problems.unsupported("watched_directory");  // of secrets by SDS only
  if (in.has_private_key_provider()) {
    problems.addAt("private_key_provider", in.private_key_provider().provider_name(), "private key providers are not supported",
                   "give private_key");
  }
  if (in.signed_certificate_timestamp_size() > 0) problems.unsupported("signed_certificate_timestamp");
  if (in.has_pkcs12()) {
    if (in.has_certificate_chain() || in.has_private_key()) {
      problems.addAt("pkcs12", "", "excludes certificate_chain and private_key");
    }
  } else if (!in.has_private_key_provider()) {
    if (!in.has_certificate_chain()) problems.addAt("certificate_chain", "", "is required");
    if (!in.has_private_key()) problems.addAt("private_key", "", "is required");
  }
  return out;
}

// ---- Validation ----

// `in` with or without colons between the bytes.
bool parseHex(std::string_view in, Sha256& out) {
  std::string digits;
  for (const char c : in) {
    if (c == ':') continue;
    digits += c;
  }
  if (digits.size() != out.size() * 2) return false;
  for (size_t i = 0; i < digits.size(); ++i) {
    const char c = digits[i];
    int nibble;
    if (c >= '0' && c <= '9')
      nibble = c - '0';
    else if (c >= 'a' && c <= 'f')
      nibble = c - 'a' + 10;
    else if (c >= 'A' && c <= 'F')
      nibble = c - 'A' + 10;
    else
      return false;
    out[i / 2] = static_cast<uint8_t>(i % 2 == 0 ? nibble << 4 : out[i / 2] | nibble);
  }
  return true;
}

bool parseBase64(std::string_view in, Sha256& out) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (in.size() != 44 || in[43] != '=') return false;  // 32 bytes
  uint32_t bits = 0;
  int held = 0;
  size_t made = 0;
  for (const char c : in.substr(0, 43)) {
    const size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    held += 6;
    if (held >= 8 && made < out.size()) {
      held -= 8;
      out[made++] = static_cast<uint8_t>(bits >> held);
    }
  }
  return made == out.size() && (bits & ((1u << held) - 1)) == 0;
}

bool parseTextMatch(const matcher::StringMatcher& in, match::StringMatchSpec& out, Problems& problems) {
  out.ignore_case = in.ignore_case();
  const auto nonEmpty = [&](std::string_view field, const std::string& text) {
    if (!text.empty()) return true;
    problems.addAt(field, "", "must not be empty");
    return false;
  };
  switch (in.match_pattern_case()) {
    case matcher::StringMatcher::kExact:
      out.kind = match::StringMatchSpec::Kind::kExact;
      out.value = in.exact();
      return true;
    case matcher::StringMatcher::kPrefix:
      out.kind = match::StringMatchSpec::Kind::kPrefix;
      out.value = in.prefix();
      return nonEmpty("prefix", out.value);
    case matcher::StringMatcher::kSuffix:
      out.kind = match::StringMatchSpec::Kind::kSuffix;
      out.value = in.suffix();
      return nonEmpty("suffix", out.value);
    case matcher::StringMatcher::kContains:
      out.kind = match::StringMatchSpec::Kind::kContains;
      out.value = in.contains();
      return nonEmpty("contains", out.value);
    case matcher::StringMatcher::kSafeRegex:
      out.kind = match::StringMatchSpec::Kind::kRegex;
      out.value = in.safe_regex().regex();
      if (!nonEmpty("safe_regex.regex", out.value)) return false;
      if (const auto compiled = match::Regex::compile(out.value); !compiled.ok()) {
        problems.addAt("safe_regex.regex", out.value, base::toStd(compiled.status().message()));
        return false;
      }
      return true;
    case matcher::StringMatcher::kCustom:
      problems.addAt("custom", in.custom().name(), "custom string matchers are not supported");
      return false;
    case matcher::StringMatcher::MATCH_PATTERN_NOT_SET: break;
  }
  problems.add("must have one of exact, prefix, suffix, contains, safe_regex");
  return false;
}

void parseSans(const tls::CertificateValidationContext& in, ValidationSpec& out, Problems& problems) {
  for (int i = 0; i < in.match_typed_subject_alt_names_size(); ++i) {
    const auto at = problems.element("match_typed_subject_alt_names", static_cast<size_t>(i));
    const auto& entry = in.match_typed_subject_alt_names(i);
    SanMatcherSpec san;
    switch (entry.san_type()) {
      case tls::SubjectAltNameMatcher::EMAIL: san.type = SanType::kEmail; break;
      case tls::SubjectAltNameMatcher::DNS: san.type = SanType::kDns; break;
      case tls::SubjectAltNameMatcher::URI: san.type = SanType::kUri; break;
      case tls::SubjectAltNameMatcher::IP_ADDRESS: san.type = SanType::kIp; break;
      case tls::SubjectAltNameMatcher::OTHER_NAME:
        problems.addAt("san_type", "OTHER_NAME", "is not supported", "valid are EMAIL, DNS, URI, IP_ADDRESS");
        continue;
      default: problems.addAt("san_type", "", "is required", "valid are EMAIL, DNS, URI, IP_ADDRESS"); continue;
    }
    const auto in_matcher = problems.field("matcher");
    if (!entry.has_matcher()) {
      problems.add("is required");
    } else if (parseTextMatch(entry.matcher(), san.text, problems)) {
      out.sans.push_back(std::move(san));
    }
  }
  // The deprecated list holds names of any type.
  for (int i = 0; i < in.match_subject_alt_names_size(); ++i) {
    const auto at = problems.element("match_subject_alt_names", static_cast<size_t>(i));
    SanMatcherSpec san;
    if (!parseTextMatch(in.match_subject_alt_names(i), san.text, problems)) continue;
    for (const SanType type : {SanType::kDns, SanType::kUri, SanType::kEmail, SanType::kIp}) {
      san.type = type;
      out.sans.push_back(san);
    }
  }
}

// `alone`: not the defaults of a combined context, whose trust comes later by SDS.
ValidationSpec parseValidation(const tls::CertificateValidationContext& in, bool alone, Problems& problems) {
  ValidationSpec out;
  if (in.has_trusted_ca()) {
    out.trusted_ca = dataAt("trusted_ca", in.trusted_ca(), problems);
    if (out.trusted_ca.set() && out.trusted_ca.bytes.empty()) problems.addAt("trusted_ca", out.trusted_ca.path, "is empty");
  }
  if (in.has_crl()) out.crl = dataAt("crl", in.crl(), problems);
  out.system_roots = in.has_system_root_certs();
  parseSans(in, out, problems);
  for (int i = 0; i < in.verify_certificate_spki_size(); ++i) {
    const auto at = problems.element("verify_certificate_spki", static_cast<size_t>(i));
    Sha256 hash;
    if (parseBase64(in.verify_certificate_spki(i), hash)) {
      out.spki.push_back(hash);
    } else {
      problems.add(in.verify_certificate_spki(i), "is not a base64 SHA-256", "44 characters");
    }
  }
  for (int i = 0; i < in.verify_certificate_hash_size(); ++i) {
    const auto at = problems.element("verify_certificate_hash", static_cast<size_t>(i));
    Sha256 hash;
    if (parseHex(in.verify_certificate_hash(i), hash)) {
      out.hashes.push_back(hash);
    } else {
      problems.add(in.verify_certificate_hash(i), "is not a hexadecimal SHA-256", "64 digits, colons between bytes allowed");
    }
  }
  out.allow_expired = in.allow_expired_certificate();
  out.accept_untrusted = in.trust_chain_verification() == tls::CertificateValidationContext::ACCEPT_UNTRUSTED;
  out.only_leaf_crl = in.only_verify_leaf_cert_crl();
  if (in.has_max_verify_depth()) {
    if (in.max_verify_depth().value() > 100) {
      problems.addAt("max_verify_depth", std::to_string(in.max_verify_depth().value()), "is above 100");
    }
    out.max_depth = in.max_verify_depth().value();
  }
  out.watched_directory = in.watched_directory().path();
  if (in.has_watched_directory() && alone) problems.unsupported("watched_directory");  // of secrets by SDS only
  if (in.has_custom_validator_config()) {
    problems.addAt("custom_validator_config", in.custom_validator_config().name(), "custom certificate validators are not supported");
  }
  if (in.has_ca_certificate_provider_instance()) {
    problems.addAt("ca_certificate_provider_instance", in.ca_certificate_provider_instance().instance_name(),
                   "certificate providers are not supported", "give trusted_ca");
  }
  if (in.require_signed_certificate_timestamp().value()) {
    problems.addAt("require_signed_certificate_timestamp", "true", "is not supported");
  }
  if (alone && !out.verifiesChain()) {
    // A name or a revocation list says nothing about a certificate that anybody could have made.
    if (!out.sans.empty()) {
      problems.addAt("trusted_ca", "", "is required to verify subject alternative names");
    }
    if (out.crl.set()) problems.addAt("trusted_ca", "", "is required to verify with a crl");
    if (out.allow_expired) problems.addAt("trusted_ca", "", "is required for allow_expired_certificate");
  }
  return out;
}

// ---- SDS ----

SdsRef parseSds(const tls::SdsSecretConfig& in, Problems& problems) {
  SdsRef out;
  out.name = in.name();
  if (in.name().empty()) problems.addAt("name", "", "must not be empty");
  if (!in.has_sds_config()) return out;
  const auto at = problems.field("sds_config");
  const core::ConfigSource& source = in.sds_config();
  out.source = source.SerializeAsString();
  if (source.has_initial_fetch_timeout()) {
    out.initial_fetch_timeout = source.initial_fetch_timeout().seconds() * 1'000'000'000 + source.initial_fetch_timeout().nanos();
  }
  switch (source.config_source_specifier_case()) {
    case core::ConfigSource::kAds: out.from = SdsRef::From::kAds; break;
    case core::ConfigSource::kPath:
      out.from = SdsRef::From::kPath;
      out.path = source.path();
      break;
    case core::ConfigSource::kPathConfigSource:
      out.from = SdsRef::From::kPath;
      out.path = source.path_config_source().path();
      out.watched_directory = source.path_config_source().watched_directory().path();
      break;
    case core::ConfigSource::kApiConfigSource: out.from = SdsRef::From::kApi; break;
    case core::ConfigSource::kSelf: out.from = SdsRef::From::kAds; break;  // "the stream that this came by"
    case core::ConfigSource::CONFIG_SOURCE_SPECIFIER_NOT_SET:
      problems.add("must have one of ads, api_config_source, path_config_source");
      break;
  }
  return out;
}

SdsRef sdsAt(std::string_view field, const tls::SdsSecretConfig& in, Problems& problems) {
  const auto at = problems.field(field);
  return parseSds(in, problems);
}

std::vector<std::string> parseTicketKeys(const tls::TlsSessionTicketKeys& in, Problems& problems) {
  std::vector<std::string> out;
  if (in.keys_size() == 0) problems.addAt("keys", "", "must have at least one key");
  for (int i = 0; i < in.keys_size(); ++i) {
    const auto at = problems.element("keys", static_cast<size_t>(i));
    DataSpec key = readDataSource(in.keys(i), problems);
    if (key.set() && key.bytes.size() != kTicketKeyBytes) {
      problems.add("has " + std::to_string(key.bytes.size()) + " bytes; a ticket key has exactly 80");
      continue;
    }
    out.push_back(std::move(key.bytes));
  }
  return out;
}

CommonTlsSpec parseCommon(const tls::CommonTlsContext& in, bool client, Problems& problems) {
  CommonTlsSpec out;
  {
    const auto at = problems.field("tls_params");
    out.params = parseParams(in.tls_params(), client, problems);
  }
  for (int i = 0; i < in.tls_certificates_size(); ++i) {
    const auto at = problems.element("tls_certificates", static_cast<size_t>(i));
    out.certificates.push_back(parseCertificate(in.tls_certificates(i), false, problems));
  }
  // As documented: certificates given here win over those by SDS.
  for (int i = 0; out.certificates.empty() && i < in.tls_certificate_sds_secret_configs_size(); ++i) {
    const auto at = problems.element("tls_certificate_sds_secret_configs", static_cast<size_t>(i));
    out.certificate_sds.push_back(parseSds(in.tls_certificate_sds_secret_configs(i), problems));
  }
  if (client && out.certificates.size() + out.certificate_sds.size() > 1) {
    problems.addAt("tls_certificates", "", "a client has at most one certificate");
  }
  switch (in.validation_context_type_case()) {
    case tls::CommonTlsContext::kValidationContext: {
      const auto at = problems.field("validation_context");
      out.validation = parseValidation(in.validation_context(), true, problems);
      break;
    }
    case tls::CommonTlsContext::kValidationContextSdsSecretConfig:
      out.validation_sds = sdsAt("validation_context_sds_secret_config", in.validation_context_sds_secret_config(), problems);
      break;
    case tls::CommonTlsContext::kCombinedValidationContext: {
      const auto at = problems.field("combined_validation_context");
      const auto& both = in.combined_validation_context();
      {
        const auto defaults = problems.field("default_validation_context");
        out.validation = parseValidation(both.default_validation_context(), false, problems);
      }
      if (!both.has_validation_context_sds_secret_config()) {
        problems.addAt("validation_context_sds_secret_config", "", "is required");
      } else {
        out.validation_sds = sdsAt("validation_context_sds_secret_config", both.validation_context_sds_secret_config(), problems);
      }
      break;
    }
    case tls::CommonTlsContext::kValidationContextCertificateProvider:
      problems.addAt("validation_context_certificate_provider", "", "certificate providers are not supported");
      break;
    case tls::CommonTlsContext::kValidationContextCertificateProviderInstance:
      problems.addAt("validation_context_certificate_provider_instance", "", "certificate providers are not supported");
      break;
    case tls::CommonTlsContext::VALIDATION_CONTEXT_TYPE_NOT_SET: break;
  }
  size_t alpn_bytes = 0;
  for (int i = 0; i < in.alpn_protocols_size(); ++i) {
    // One entry may hold several names, comma-separated, as Envoy reads it.
    const std::string& entry = in.alpn_protocols(i);
    for (size_t start = 0; start <= entry.size();) {
      const size_t comma = std::min(entry.find(',', start), entry.size());
      const std::string name = entry.substr(start, comma - start);
      if (name.empty() || name.size() > 255) {
        const auto at = problems.element("alpn_protocols", static_cast<size_t>(i));
        problems.add(entry, "is not a list of protocol names", "each has 1 to 255 bytes");
        break;
      }
      alpn_bytes += name.size() + 1;
      out.alpn.push_back(name);
      start = comma + 1;
    }
  }
  if (alpn_bytes >= 65535) problems.addAt("alpn_protocols", "", "is longer than 65535 bytes");
  if (in.has_tls_certificate_provider_instance()) {
    problems.addAt("tls_certificate_provider_instance", in.tls_certificate_provider_instance().instance_name(),
                   "certificate providers are not supported", "give tls_certificates");
  }
  if (in.has_tls_certificate_certificate_provider()) {
    problems.addAt("tls_certificate_certificate_provider", "", "certificate providers are not supported");
  }
  if (in.has_tls_certificate_certificate_provider_instance()) {
    problems.addAt("tls_certificate_certificate_provider_instance", "", "certificate providers are not supported");
  }
  if (in.has_custom_handshaker()) {
    problems.addAt("custom_handshaker", in.custom_handshaker().name(), "custom handshakers are not supported");
  }
  if (in.has_custom_tls_certificate_selector()) {
    problems.addAt("custom_tls_certificate_selector", in.custom_tls_certificate_selector().name(),
                   "certificate selectors are not supported");
  }
  if (in.has_key_log()) problems.unsupported("key_log");  // debugging only; leaving it out reveals less
  return out;
}

}  // namespace

DataSpec readDataSource(const core::DataSource& in, Problems& problems) {
  DataSpec out;
  switch (in.specifier_case()) {
    case core::DataSource::kFilename: {
      out.path = in.filename();
      if (in.filename().empty()) {
        problems.addAt("filename", "", "must not be empty");
      } else if (const int error = readFile(in.filename(), out.bytes); error != 0) {
        problems.addAt("filename", in.filename(), std::string("cannot be read: ") + std::strerror(error));
        out.bytes.clear();
      }
      break;
    }
    case core::DataSource::kInlineBytes:
      out.path = "<inline>";
      out.bytes = in.inline_bytes();
      break;
    case core::DataSource::kInlineString:
      out.path = "<inline>";
      out.bytes = in.inline_string();
      break;
    case core::DataSource::kEnvironmentVariable: {
      out.path = "<environment " + in.environment_variable() + ">";
      const char* value = std::getenv(in.environment_variable().c_str());
      if (value == nullptr) {
        problems.addAt("environment_variable", in.environment_variable(), "is not set");
      } else {
        out.bytes = value;
      }
      break;
    }
    case core::DataSource::SPECIFIER_NOT_SET:
      problems.add("must have one of filename, inline_bytes, inline_string, environment_variable");
      break;
  }
  return out;
}

void mapCiphers(std::string_view text, std::vector<std::string>& out, Problems& problems) {
  // Brackets group suites of equal preference; OpenSSL knows only a strict order, so a group keeps its own.
  bool group = false;
  size_t start = 0;
  const auto take = [&](std::string_view name) {
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    if (name.empty()) return;
    const Name* known = find(kCiphers, name);
    if (known == nullptr) {
      problems.add(name, "no such cipher suite", "an example is ECDHE-RSA-AES128-GCM-SHA256; TLS 1.3 suites are not configurable");
    } else if (std::find(out.begin(), out.end(), known->openssl) == out.end()) {
      out.emplace_back(known->openssl);
    }
  };
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ':';
    if (c == '[' && !group) {
      take(text.substr(start, i - start));
      group = true;
      start = i + 1;
    } else if (c == ']' && group) {
      take(text.substr(start, i - start));
      group = false;
      start = i + 1;
    } else if (c == ':' || c == ',' || (c == '|' && group)) {
      take(text.substr(start, i - start));
      start = i + 1;
    }
  }
  if (group) problems.add(text, "has a '[' without ']'");
}

DownstreamTlsSpec parseDownstreamTls(const tls::DownstreamTlsContext& in, Problems& problems) {
  DownstreamTlsSpec out;
  {
    const auto at = problems.field("common_tls_context");
    out.common = parseCommon(in.common_tls_context(), false, problems);
    if (out.common.certificates.empty() && out.common.certificate_sds.empty()) {
      problems.addAt("tls_certificates", "", "a server needs a certificate", "give tls_certificates or tls_certificate_sds_secret_configs");
    }
  }
  out.require_client_certificate = in.require_client_certificate().value();
  if (in.require_sni().value()) problems.addAt("require_sni", "true", "is not supported");
  out.full_scan_on_sni_mismatch = in.full_scan_certs_on_sni_mismatch().value();
  out.prefer_client_ciphers = in.prefer_client_ciphers();
  out.stateful_resumption = !in.disable_stateful_session_resumption();
  switch (in.session_ticket_keys_type_case()) {
    case tls::DownstreamTlsContext::kSessionTicketKeys: {
      const auto at = problems.field("session_ticket_keys");
      out.ticket_keys = parseTicketKeys(in.session_ticket_keys(), problems);
      break;
    }
    case tls::DownstreamTlsContext::kSessionTicketKeysSdsSecretConfig:
      out.ticket_keys_sds = sdsAt("session_ticket_keys_sds_secret_config", in.session_ticket_keys_sds_secret_config(), problems);
      break;
    case tls::DownstreamTlsContext::kDisableStatelessSessionResumption:
      out.stateless_resumption = !in.disable_stateless_session_resumption();
      break;
    case tls::DownstreamTlsContext::SESSION_TICKET_KEYS_TYPE_NOT_SET: break;
  }
  if (in.has_session_timeout()) {
    const int64_t seconds = in.session_timeout().seconds();
    if (seconds < 0 || seconds >= (int64_t{1} << 32) || in.session_timeout().nanos() < 0) {
      problems.addAt("session_timeout", std::to_string(seconds) + "s", "is out of range", "0 s to 4294967295 s");
    } else {
      out.session_timeout = static_cast<uint32_t>(seconds);
    }
  }
  switch (in.ocsp_staple_policy()) {
    case tls::DownstreamTlsContext::STRICT_STAPLING: out.ocsp_policy = OcspPolicy::kStrict; break;
    case tls::DownstreamTlsContext::MUST_STAPLE: out.ocsp_policy = OcspPolicy::kMustStaple; break;
    default: break;
  }
  return out;
}

UpstreamTlsSpec parseUpstreamTls(const tls::UpstreamTlsContext& in, Problems& problems) {
  UpstreamTlsSpec out;
  {
    const auto at = problems.field("common_tls_context");
    out.common = parseCommon(in.common_tls_context(), true, problems);
  }
  out.sni = in.sni();
  if (out.sni.size() > 255) problems.addAt("sni", out.sni, "is longer than 255 bytes");
  if (out.sni.find('\0') != std::string::npos) problems.addAt("sni", "", "holds a zero byte");
  out.auto_host_sni = in.auto_host_sni();
  out.auto_sni_san_validation = in.auto_sni_san_validation();
  if (out.auto_sni_san_validation && !(out.common.validation && out.common.validation->verifiesChain()) && !out.common.validation_sds) {
    problems.addAt("auto_sni_san_validation", "true", "needs a validation context with trusted_ca");
  }
  if (in.allow_renegotiation()) problems.unsupported("allow_renegotiation");  // refusing it is the safe side
  if (in.has_max_session_keys()) out.max_session_keys = in.max_session_keys().value();
  return out;
}

SecretSpec parseSecret(const tls::Secret& in, Problems& problems) {
  SecretSpec out;
  out.name = in.name();
  switch (in.type_case()) {
    case tls::Secret::kTlsCertificate: {
      const auto at = problems.field("tls_certificate");
      out.kind = SecretSpec::Kind::kCertificate;
      out.certificate = parseCertificate(in.tls_certificate(), true, problems);
      break;
    }
    case tls::Secret::kValidationContext: {
      const auto at = problems.field("validation_context");
      out.kind = SecretSpec::Kind::kValidation;
      // Alone or merged into a combined context's defaults: what is missing shows when the context is made.
      out.validation = parseValidation(in.validation_context(), false, problems);
      break;
    }
    case tls::Secret::kSessionTicketKeys: {
      const auto at = problems.field("session_ticket_keys");
      out.kind = SecretSpec::Kind::kTicketKeys;
      out.ticket_keys = parseTicketKeys(in.session_ticket_keys(), problems);
      break;
    }
    case tls::Secret::kGenericSecret: {
      const auto at = problems.field("generic_secret");
      out.kind = SecretSpec::Kind::kGeneric;
      if (in.generic_secret().has_secret()) out.generic = dataAt("secret", in.generic_secret().secret(), problems);
      if (in.generic_secret().secrets_size() > 0) problems.unsupported("secrets");
      break;
    }
    case tls::Secret::TYPE_NOT_SET:
      problems.add("must have one of tls_certificate, validation_context, session_ticket_keys, generic_secret");
      break;
  }
  return out;
}

}  // namespace outrider::config
