#include "source/tls/cert_info.h"

#include <arpa/inet.h>
#include <ctime>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "source/tls/openssl_ptr.h"

namespace outrider::tls {
namespace {

constexpr char kHex[] = "0123456789abcdef";

std::string textOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

std::string nameOf(const X509_NAME* name) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  return textOf(bio.get());
}

std::string digestOf(X509& certificate, const EVP_MD* kind) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(&certificate, kind, bytes, &size) != 1) return {};
  std::string out;
  for (unsigned i = 0; i < size; ++i) {
    out += kHex[bytes[i] >> 4];
    out += kHex[bytes[i] & 15];
  }
  return out;
}

int64_t secondsOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return static_cast<int64_t>(::timegm(&parts));
}

std::string bytesOf(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))};
}

}  // namespace

std::vector<San> sansOf(X509& certificate) {
  std::vector<San> out;
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr));
  if (names == nullptr) return out;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    switch (name->type) {
      case GEN_EMAIL: out.push_back({config::SanType::kEmail, bytesOf(name->d.rfc822Name)}); break;
      case GEN_DNS: out.push_back({config::SanType::kDns, bytesOf(name->d.dNSName)}); break;
      case GEN_URI: out.push_back({config::SanType::kUri, bytesOf(name->d.uniformResourceIdentifier)}); break;
      case GEN_IPADD: {
        const std::string raw = bytesOf(name->d.iPAddress);
        char text[INET6_ADDRSTRLEN];
        if ((raw.size() == 4 || raw.size() == 16) &&
            ::inet_ntop(raw.size() == 4 ? AF_INET : AF_INET6, raw.data(), text, sizeof text) != nullptr) {
          out.push_back({config::SanType::kIp, text});
        }
        break;
      }
      default: break;  // other kinds are never matched
    }
  }
  GENERAL_NAMES_free(names);
  return out;
}

std::string subjectOf(X509& certificate) { return nameOf(X509_get_subject_name(&certificate)); }
std::string issuerOf(X509& certificate) { return nameOf(X509_get_issuer_name(&certificate)); }

std::string serialOf(X509& certificate) {
  BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(&certificate), nullptr);
  if (number == nullptr) return {};
  char* text = BN_bn2hex(number);
  std::string out = text != nullptr ? text : "";
  OPENSSL_free(text);
  BN_free(number);
  for (char& c : out) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string fingerprint256(X509& certificate) { return digestOf(certificate, EVP_sha256()); }
std::string fingerprint1(X509& certificate) { return digestOf(certificate, EVP_sha1()); }

std::string pemOf(X509& certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), &certificate) != 1) return {};
  return textOf(bio.get());
}

std::string urlEncoded(std::string_view pem) {
  std::string out;
  out.reserve(pem.size() + pem.size() / 8);
  for (const char c : pem) {
    switch (c) {
      case '\n': out += "%0A"; break;
      case ' ': out += "%20"; break;
      case '+': out += "%2B"; break;
      case '/': out += "%2F"; break;
      case '=': out += "%3D"; break;
      default: out += c;
    }
  }
  return out;
}

int64_t notBefore(X509& certificate) { return secondsOf(X509_get0_notBefore(&certificate)); }
int64_t notAfter(X509& certificate) { return secondsOf(X509_get0_notAfter(&certificate)); }
int64_t nextUpdate(X509_CRL& list) { return secondsOf(X509_CRL_get0_nextUpdate(&list)); }

CertInfo describe(X509& certificate, std::string_view path) {
  CertInfo out;
  out.path = path;
  out.serial = serialOf(certificate);
  out.subject = subjectOf(certificate);
  out.sans = sansOf(certificate);
  out.valid_from = notBefore(certificate);
  out.valid_to = notAfter(certificate);
  return out;
}

}  // namespace outrider::tls
