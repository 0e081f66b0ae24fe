// Decides whether a peer's certificate is good enough: chain, names, pinned hashes.
// Thread: immutable, any. Lifetime: its context's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/problems.h"
#include "source/config/tls_spec.h"
#include "source/match/string_matcher.h"
#include "source/tls/cert_info.h"

struct x509_store_ctx_st;

namespace outrider::tls {

class Verifier final {
 public:
  enum class Verdict : uint8_t { kOk, kChain, kName, kHash };

  Verifier() = default;
  // `spec` may be null: nothing is verified. `client`: the peers are servers, whose certificates often say
  // "*.example.com"; that covers one label of an exact DNS name. A client's name must be the very one that was
  // configured.
  Verifier(const config::ValidationSpec* spec, bool client, config::Problems& problems);

  // The chain by OpenSSL, then hashes, then names. `sni`: when not empty, stands in for the configured names.
  // `failure` gets the reason in Envoy's words. accept_untrusted does not change the verdict: the caller lets it pass.
  Verdict verify(x509_store_ctx_st& store, std::string_view sni, std::string& failure) const;

  bool verifiesAnything() const { return chain_ || !sans_.empty() || !spki_.empty() || !hashes_.empty(); }
  bool pinsOrNames() const { return !sans_.empty() || !spki_.empty() || !hashes_.empty(); }
  bool acceptUntrusted() const { return accept_untrusted_; }
  bool allowExpired() const { return allow_expired_; }

  bool matchesAnyName(const std::vector<San>& sans) const;
  static bool dnsCovers(std::string_view pattern, std::string_view name);  // RFC 6125 6.4.3, one whole label

 private:
  struct NameMatcher {
    config::SanType type;
    match::StringMatcher matcher;
  };
  bool matches(const NameMatcher& wanted, const San& san) const;
  bool pinned(x509_st& leaf) const;

  std::vector<NameMatcher> sans_;
  std::vector<config::Sha256> spki_;
  std::vector<config::Sha256> hashes_;
  bool chain_ = false;
  bool allow_expired_ = false;
  bool accept_untrusted_ = false;
  bool wildcards_ = false;
};

}  // namespace outrider::tls
