// A test authority and what it signs. Thread: any. Lifetime: values; all in PEM.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;
struct x509_st;

namespace outrider::tls::testing {

struct Pair {
  std::string certificate;
  std::string key;
};

struct Wish {
  std::string common_name = "leaf";
  std::string sans;     // OpenSSL's form: "DNS:a.test,URI:spiffe://a/b,IP:127.0.0.1"; empty: none
  std::string raw_dns;  // one DNS name, byte by byte as given (may hold zeros); replaces `sans`
  std::string usage = "serverAuth,clientAuth";
  int from_days = -1, to_days = 30;  // from now
  int to_seconds = 0;                // in the place of to_days
  bool rsa = false;
};

class Authority final {
 public:
  explicit Authority(std::string_view name = "Test authority");
  ~Authority();
  Pair issue(const Wish& wish) const;
  const std::string& pem() const { return pem_; }
  // A revocation list that names the given certificates.
  std::string revoke(const std::vector<std::string>& certificates, int to_days = 30, int to_seconds = 0) const;

 private:
  evp_pkey_st* key_ = nullptr;
  x509_st* certificate_ = nullptr;
  std::string pem_;
};

// Lower-case hexadecimal SHA-256 of the certificate; base64 SHA-256 of its public key.
std::string hashOf(const std::string& pem, std::string* raw = nullptr);
std::string spkiRaw(const std::string& pem);

}  // namespace outrider::tls::testing
