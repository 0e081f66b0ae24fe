#include "source/tls/verifier.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "source/base/absl_compat.h"
#include "source/tls/openssl_ptr.h"

namespace outrider::tls {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool sameDns(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

// Plain letters, digits and the signs of host names. A name with anything else (a zero byte) matches nothing.
bool plainDns(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '*';
  });
}

}  // namespace

Verifier::Verifier(const config::ValidationSpec* spec, bool client, config::Problems& problems) : wildcards_(client) {
  if (spec == nullptr) return;
  chain_ = spec->verifiesChain();
  allow_expired_ = spec->allow_expired;
  accept_untrusted_ = spec->accept_untrusted;
  spki_ = spec->spki;
  hashes_ = spec->hashes;
  for (const config::SanMatcherSpec& san : spec->sans) {
    auto compiled = match::StringMatcher::compile(san.text);
    if (!compiled.ok()) {
      problems.addAt("match_typed_subject_alt_names", san.text.value, base::toStd(compiled.status().message()));
      continue;
    }
    sans_.push_back({san.type, *std::move(compiled)});
  }
}

bool Verifier::dnsCovers(std::string_view pattern, std::string_view name) {
  if (!plainDns(pattern) || !plainDns(name)) return false;
  if (sameDns(pattern, name)) return true;
  if (pattern.size() < 3 || pattern[0] != '*' || pattern[1] != '.') return false;
  const std::string_view parent = pattern.substr(1);                // ".example.com"
  if (parent.find('.', 1) == std::string_view::npos) return false;  // "*.com" covers too much
  const size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 && sameDns(parent, name.substr(dot));
}

bool Verifier::matches(const NameMatcher& wanted, const San& san) const {
  if (wanted.type != san.type) return false;
  if (san.value.find('\0') != std::string::npos) return false;
  const match::StringMatchSpec& spec = wanted.matcher.spec();
  if (san.type == config::SanType::kDns && spec.kind == match::StringMatchSpec::Kind::kExact) {
    return wildcards_ ? dnsCovers(san.value, spec.value) : sameDns(san.value, spec.value);
  }
  return wanted.matcher.matches(san.value);
}

bool Verifier::matchesAnyName(const std::vector<San>& sans) const {
  for (const San& san : sans) {
    for (const NameMatcher& wanted : sans_) {
      if (matches(wanted, san)) return true;
    }
  }
  return false;
}

bool Verifier::pinned(X509& leaf) const {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const auto among = [&](const std::vector<config::Sha256>& list) {
    return std::any_of(list.begin(), list.end(), [&](const config::Sha256& one) { return std::memcmp(one.data(), hash, one.size()) == 0; });
  };
  if (!hashes_.empty() && X509_digest(&leaf, EVP_sha256(), hash, &size) == 1 && among(hashes_)) return true;
  if (spki_.empty()) return false;
  unsigned char* der = nullptr;
  const int bytes = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&leaf), &der);
  if (bytes <= 0) return false;
  const bool hashed = EVP_Digest(der, static_cast<size_t>(bytes), hash, &size, EVP_sha256(), nullptr) == 1;
  OPENSSL_free(der);
  return hashed && among(spki_);
}

Verifier::Verdict Verifier::verify(X509_STORE_CTX& store, std::string_view sni, std::string& failure) const {
  X509* leaf = X509_STORE_CTX_get0_cert(&store);
  if (chain_ && X509_verify_cert(&store) != 1) {
    failure = "verify cert failed: X509_verify_cert: certificate verification error at depth ";
    failure += std::to_string(X509_STORE_CTX_get_error_depth(&store));
    failure += ": ";
    failure += X509_verify_cert_error_string(X509_STORE_CTX_get_error(&store));
    // OpenSSL may fail without saying why (out of memory); that is no success.
    if (X509_STORE_CTX_get_error(&store) == X509_V_OK) X509_STORE_CTX_set_error(&store, X509_V_ERR_UNSPECIFIED);
    return Verdict::kChain;
  }
  // No code of OpenSSL's stands for these; this one makes it send the alert certificate_unknown.
  constexpr int kRefused = X509_V_ERR_PERMITTED_VIOLATION;
  if ((!spki_.empty() || !hashes_.empty()) && (leaf == nullptr || !pinned(*leaf))) {
    failure = "verify cert failed: cert hash and spki";
    X509_STORE_CTX_set_error(&store, kRefused);
    return Verdict::kHash;
  }
  if (sni.empty() && sans_.empty()) return Verdict::kOk;
  bool named = false;
  std::vector<San> sans;
  if (leaf != nullptr) {
    sans = sansOf(*leaf);
    if (sni.empty()) {
      named = matchesAnyName(sans);
    } else {
      named = std::any_of(sans.begin(), sans.end(),
                          [&](const San& san) { return san.type == config::SanType::kDns && dnsCovers(san.value, sni); });
    }
  }
  if (named) return Verdict::kOk;
  failure = "verify cert failed: SAN matcher, certificate SANs are [";
  for (const San& san : sans) {
    if (failure.back() != '[') failure += ", ";
    failure += san.value;
  }
  failure += ']';
  X509_STORE_CTX_set_error(&store, kRefused);
  return Verdict::kName;
}

}  // namespace outrider::tls
