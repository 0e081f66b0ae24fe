#include "source/tls/certificate.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509v3.h>

#include "source/tls/cert_info.h"

namespace outrider::tls {
namespace {

constexpr int kLeastRsaBits = 2048;

std::string lowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

BioPtr readOnly(const std::string& bytes) { return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))); }

int passwordFrom(char* to, int room, int /*writing*/, void* password) {
  const auto& text = *static_cast<const std::string*>(password);
  if (static_cast<int>(text.size()) > room) return -1;
  std::memcpy(to, text.data(), text.size());
  return static_cast<int>(text.size());
}

void loadPem(const config::CertificateSpec& spec, Certificate& out, config::Problems& problems) {
  const BioPtr chain = readOnly(spec.chain.bytes);
  out.leaf.reset(PEM_read_bio_X509_AUX(chain.get(), nullptr, nullptr, nullptr));
  if (out.leaf == nullptr) {
    problems.addAt("certificate_chain", spec.chain.path, "holds no certificate: " + opensslCause(), "PEM");
  } else {
    out.chain.reset(sk_X509_new_null());
    while (X509* next = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)) sk_X509_push(out.chain.get(), next);
    const unsigned long last = ERR_peek_last_error();
    if (ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE) {
      ERR_clear_error();  // the end of the text
    } else if (last != 0) {
      problems.addAt("certificate_chain", spec.chain.path, "has a broken certificate: " + opensslCause());
    }
  }
  const BioPtr key = readOnly(spec.key.bytes);
  std::string password = spec.password.bytes;
  out.key.reset(PEM_read_bio_PrivateKey(key.get(), nullptr, passwordFrom, &password));
  if (out.key == nullptr) {
    problems.addAt("private_key", spec.key.path, "holds no usable private key: " + opensslCause(), "PEM");
  }
}

void loadPkcs12(const config::CertificateSpec& spec, Certificate& out, config::Problems& problems) {
  const BioPtr bio = readOnly(spec.pkcs12.bytes);
  PKCS12* pack = d2i_PKCS12_bio(bio.get(), nullptr);
  EVP_PKEY* key = nullptr;
  X509* leaf = nullptr;
  STACK_OF(X509)* chain = nullptr;
  if (pack == nullptr || PKCS12_parse(pack, spec.password.bytes.c_str(), &key, &leaf, &chain) != 1 || key == nullptr || leaf == nullptr) {
    problems.addAt("pkcs12", spec.pkcs12.path, "cannot be read: " + opensslCause());
  }
  PKCS12_free(pack);
  out.leaf.reset(leaf);
  out.key.reset(key);
  out.chain.reset(chain);
}

void checkKey(Certificate& out, std::string_view path, config::Problems& problems) {
  switch (EVP_PKEY_get_base_id(out.key.get())) {
    case EVP_PKEY_RSA:
      if (EVP_PKEY_get_bits(out.key.get()) < kLeastRsaBits) {
        problems.addAt("certificate_chain", path, "has an RSA key of " + std::to_string(EVP_PKEY_get_bits(out.key.get())) + " bits",
                       "2048 or more");
      }
      break;
    case EVP_PKEY_EC: {
      char group[64] = {};
      EVP_PKEY_get_group_name(out.key.get(), group, sizeof group, nullptr);
      const std::string_view name = group;
      if (name != "prime256v1" && name != "secp384r1" && name != "secp521r1") {
        problems.addAt("certificate_chain", path, "has an EC key on " + std::string(name), "P-256, P-384 or P-521");
      }
      out.ecdsa = true;
      break;
    }
    case EVP_PKEY_ED25519: out.ecdsa = true; break;
    default: problems.addAt("certificate_chain", path, "has a key of an unknown kind", "RSA, EC or Ed25519"); break;
  }
}

void collectNames(Certificate& out) {
  for (const San& san : sansOf(*out.leaf)) {
    if (san.type == config::SanType::kDns) out.names.push_back(lowerCase(san.value));
  }
  if (!out.names.empty()) return;
  const X509_NAME* subject = X509_get_subject_name(out.leaf.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return;
  const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  out.names.push_back(
      lowerCase({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))}));
}

void loadStaple(const config::DataSpec& data, Certificate& out, config::Problems& problems) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.bytes.data());
  const std::unique_ptr<OCSP_RESPONSE, FreeWith<OCSP_RESPONSE_free>> response(
      d2i_OCSP_RESPONSE(nullptr, &bytes, static_cast<long>(data.bytes.size())));
  if (response == nullptr || OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
    ERR_clear_error();
    problems.addAt("ocsp_staple", data.path, "is no successful OCSP response", "DER");
    return;
  }
  const std::unique_ptr<OCSP_BASICRESP, FreeWith<OCSP_BASICRESP_free>> basic(OCSP_response_get1_basic(response.get()));
  if (basic == nullptr || OCSP_resp_count(basic.get()) != 1) {
    problems.addAt("ocsp_staple", data.path, "must speak of exactly one certificate");
    return;
  }
  OCSP_SINGLERESP* single = OCSP_resp_get0(basic.get(), 0);
  ASN1_INTEGER* serial = nullptr;
  OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single)));
  if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(out.leaf.get())) != 0) {
    problems.addAt("ocsp_staple", data.path, "is for another certificate");
    return;
  }
  ASN1_GENERALIZEDTIME* next = nullptr;
  OCSP_single_get0_status(single, nullptr, nullptr, nullptr, &next);
  std::tm parts{};
  // Without a next update it is never known to be fresh.
  if (next != nullptr && ASN1_TIME_to_tm(next, &parts) == 1) out.staple_until = ::timegm(&parts);
  out.staple = data.bytes;
}

}  // namespace

bool Certificate::covers(std::string_view server_name, bool wildcard) const {
  const size_t dot = server_name.find('.');
  for (const std::string& name : names) {
    if (!wildcard) {
      if (name == server_name) return true;
    } else if (dot != std::string_view::npos && name.size() > 2 && name[0] == '*' &&
               std::string_view(name).substr(1) == server_name.substr(dot)) {
      return true;
    }
  }
  return false;
}

std::unique_ptr<const Certificate> loadCertificate(const config::CertificateSpec& spec, config::Problems& problems) {
  ERR_clear_error();
  const size_t before = problems.size();
  auto out = std::make_unique<Certificate>();
  const bool packed = spec.pkcs12.set();
  if (packed) {
    loadPkcs12(spec, *out, problems);
  } else {
    loadPem(spec, *out, problems);
  }
  if (out->leaf != nullptr && out->key != nullptr) {
    if (X509_check_private_key(out->leaf.get(), out->key.get()) != 1) {
      problems.addAt("private_key", packed ? spec.pkcs12.path : spec.key.path,
                     "is not the key of the certificate in " + (packed ? spec.pkcs12.path : spec.chain.path));
    }
    checkKey(*out, packed ? spec.pkcs12.path : spec.chain.path, problems);
    collectNames(*out);
    out->must_staple = X509_get_ext_by_NID(out->leaf.get(), NID_tlsfeature, -1) >= 0;
    if (spec.ocsp_staple.set()) loadStaple(spec.ocsp_staple, *out, problems);
  }
  ERR_clear_error();
  if (problems.size() != before) return nullptr;
  return out;
}

bool loadBundle(std::string_view field, const config::DataSpec& data, Bundle& out, config::Problems& problems) {
  ERR_clear_error();
  const BioPtr bio = readOnly(data.bytes);
  STACK_OF(X509_INFO)* infos = PEM_X509_INFO_read_bio(bio.get(), nullptr, nullptr, nullptr);
  if (infos == nullptr) {
    problems.addAt(field, data.path, "cannot be read: " + opensslCause(), "PEM");
    return false;
  }
  for (int i = 0; i < sk_X509_INFO_num(infos); ++i) {
    X509_INFO* info = sk_X509_INFO_value(infos, i);
    if (info->x509 != nullptr) {
      X509_up_ref(info->x509);
      out.certificates.emplace_back(info->x509);
    }
    if (info->crl != nullptr) {
      X509_CRL_up_ref(info->crl);
      out.crls.emplace_back(info->crl);
    }
  }
  sk_X509_INFO_pop_free(infos, X509_INFO_free);
  ERR_clear_error();
  return true;
}

std::string opensslCause() {
  std::string out;
  while (const unsigned long error = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(error);
    if (!out.empty()) out += ", ";
    out += reason != nullptr ? reason : std::to_string(error);
  }
  return out.empty() ? "no cause was given" : out;
}

}  // namespace outrider::tls
