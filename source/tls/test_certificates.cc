#include "source/tls/test_certificates.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

namespace outrider::tls::testing {
namespace {

template <class Write>
std::string pemText(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

X509* readCertificate(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* out = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return out;
}

X509* begin(std::string_view name, int from_days, int to_days, EVP_PKEY* key) {
  X509* out = X509_new();
  X509_set_version(out, 2);
  unsigned char serial[12];
  RAND_bytes(serial, sizeof serial);
  serial[0] &= 0x7f;
  BIGNUM* number = BN_bin2bn(serial, sizeof serial, nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(out));
  BN_free(number);
  X509_gmtime_adj(X509_getm_notBefore(out), long{from_days} * 86400);
  X509_gmtime_adj(X509_getm_notAfter(out), long{to_days} * 86400);
  X509_set_pubkey(out, key);
  const std::string text(name);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(out), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.c_str()), -1, -1,
                             0);
  return out;
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension != nullptr) X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

Authority::Authority(std::string_view name) : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")) {
  certificate_ = begin(name, -10, 365, key_);
  X509_set_issuer_name(certificate_, X509_get_subject_name(certificate_));
  extend(certificate_, certificate_, NID_basic_constraints, "critical,CA:TRUE");
  extend(certificate_, certificate_, NID_key_usage, "critical,keyCertSign,cRLSign");
  extend(certificate_, certificate_, NID_subject_key_identifier, "hash");
  X509_sign(certificate_, key_, EVP_sha256());
  pem_ = pemText([&](BIO* bio) { PEM_write_bio_X509(bio, certificate_); });
}

Authority::~Authority() {
  X509_free(certificate_);
  EVP_PKEY_free(key_);
}

Pair Authority::issue(const Wish& wish) const {
  EVP_PKEY* key = wish.rsa ? EVP_RSA_gen(2048) : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  X509* leaf = begin(wish.common_name, wish.from_days, wish.to_days, key);
  if (wish.to_seconds > 0) X509_gmtime_adj(X509_getm_notAfter(leaf), wish.to_seconds);
  X509_set_issuer_name(leaf, X509_get_subject_name(certificate_));
  extend(leaf, certificate_, NID_basic_constraints, "critical,CA:FALSE");
  if (!wish.usage.empty()) extend(leaf, certificate_, NID_ext_key_usage, wish.usage);
  if (!wish.raw_dns.empty()) {
    GENERAL_NAMES* names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, wish.raw_dns.data(), static_cast<int>(wish.raw_dns.size()));
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, name);
    X509_add1_ext_i2d(leaf, NID_subject_alt_name, names, 0, 0);
    GENERAL_NAMES_free(names);
  } else if (!wish.sans.empty()) {
    extend(leaf, certificate_, NID_subject_alt_name, wish.sans);
  }
  X509_sign(leaf, key_, EVP_sha256());
  Pair out{pemText([&](BIO* bio) { PEM_write_bio_X509(bio, leaf); }),
           pemText([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); })};
  X509_free(leaf);
  EVP_PKEY_free(key);
  return out;
}

std::string Authority::revoke(const std::vector<std::string>& certificates, int to_days, int to_seconds) const {
  X509_CRL* crl = X509_CRL_new();
  X509_CRL_set_version(crl, 1);
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(certificate_));
  ASN1_TIME* time = ASN1_TIME_new();
  X509_gmtime_adj(time, -2 * 86400);
  X509_CRL_set1_lastUpdate(crl, time);
  for (const std::string& pem : certificates) {
    X509* certificate = readCertificate(pem);
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate));
    X509_REVOKED_set_revocationDate(entry, time);
    X509_CRL_add0_revoked(crl, entry);
    X509_free(certificate);
  }
  X509_gmtime_adj(time, to_seconds > 0 ? to_seconds : long{to_days} * 86400);
  X509_CRL_set1_nextUpdate(crl, time);
  ASN1_TIME_free(time);
  X509_CRL_sort(crl);
  X509_CRL_sign(crl, key_, EVP_sha256());
  std::string out = pemText([&](BIO* bio) { PEM_write_bio_X509_CRL(bio, crl); });
  X509_CRL_free(crl);
  return out;
}

std::string hashOf(const std::string& pem, std::string* raw) {
  X509* certificate = readCertificate(pem);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  X509_digest(certificate, EVP_sha256(), bytes, &size);
  X509_free(certificate);
  if (raw != nullptr) raw->assign(reinterpret_cast<char*>(bytes), size);
  std::string out;
  for (unsigned i = 0; i < size; ++i) {
    out += "0123456789abcdef"[bytes[i] >> 4];
    out += "0123456789abcdef"[bytes[i] & 15];
  }
  return out;
}

std::string spkiRaw(const std::string& pem) {
  X509* certificate = readCertificate(pem);
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned digest = 0;
  EVP_Digest(der, static_cast<size_t>(size), bytes, &digest, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  X509_free(certificate);
  return {reinterpret_cast<char*>(bytes), digest};
}

}  // namespace outrider::tls::testing
