// What can be said of an X.509 certificate: for /certs, for the peer's SecurityInfo, for metrics of expiry.
// Thread: any (values). Texts as Envoy prints them: RFC 2253 subjects, lower-case hexadecimal, "%0A" for line ends in
// PEM.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/tls_spec.h"

struct x509_st;
struct X509_crl_st;

namespace outrider::tls {

struct San {
  config::SanType type;
  std::string value;  // IP addresses in text form; names may hold any byte, zero too
  bool operator==(const San&) const = default;
};

struct CertInfo {
  std::string path;  // the file, or "<inline>"
  std::string serial;
  std::string subject;
  std::vector<San> sans;
  int64_t valid_from = 0, valid_to = 0;  // seconds since the epoch

  // Whole days left, 0 when it is over.
  uint32_t daysLeft(int64_t now) const { return valid_to <= now ? 0 : static_cast<uint32_t>((valid_to - now) / 86400); }
};

CertInfo describe(x509_st& certificate, std::string_view path);
std::vector<San> sansOf(x509_st& certificate);
std::string subjectOf(x509_st& certificate);
std::string issuerOf(x509_st& certificate);
std::string serialOf(x509_st& certificate);
std::string fingerprint256(x509_st& certificate);
std::string fingerprint1(x509_st& certificate);
std::string pemOf(x509_st& certificate);  // plain PEM
std::string urlEncoded(std::string_view pem);
int64_t notBefore(x509_st& certificate);
int64_t notAfter(x509_st& certificate);
int64_t nextUpdate(X509_crl_st& list);  // 0: it does not say

// days_until_first_cert_expiring: the fewest days over all of them; the largest number when there is none, as in Envoy.
template <class Range>
uint32_t daysUntilFirstExpiry(const Range& certificates, int64_t now) {
  uint32_t least = std::numeric_limits<uint32_t>::max();
  for (const CertInfo& info : certificates) {
    if (const uint32_t days = info.daysLeft(now); days < least) least = days;
  }
  return least;
}

}  // namespace outrider::tls
