// A certificate with its key and chain, loaded and checked. Thread: immutable, any. Only files of this folder include
// it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "source/config/problems.h"
#include "source/config/tls_spec.h"
#include "source/tls/openssl_ptr.h"

namespace outrider::tls {

struct Certificate {
  X509Ptr leaf;
  KeyPtr key;
  ChainPtr chain;                  // without the leaf; may be null
  std::vector<std::string> names;  // DNS names in lower case; the common name when there are none
  std::string staple;              // OCSP response, DER
  int64_t staple_until = 0;        // seconds since the epoch
  bool ecdsa = false;
  bool must_staple = false;  // the certificate itself asks for it (RFC 7633)

  bool covers(std::string_view server_name, bool wildcard) const;
};

// Null after problems were added.
std::unique_ptr<const Certificate> loadCertificate(const config::CertificateSpec& spec, config::Problems& problems);

// Every certificate and revocation list of a PEM text. False after problems were added.
struct Bundle {
  std::vector<X509Ptr> certificates;
  std::vector<std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>> crls;
};
bool loadBundle(std::string_view field, const config::DataSpec& data, Bundle& out, config::Problems& problems);

// What OpenSSL's error queue says, in one line; empties it.
std::string opensslCause();

}  // namespace outrider::tls
