// /listeners and /certs.
#include "absl/strings/str_cat.h"
#include "envoy/admin/v3/certs.pb.h"
#include "envoy/admin/v3/listeners.pb.h"
#include "source/admin/address_wire.h"
#include "source/admin/page.h"
#include "source/config/json_print.h"

namespace outrider::admin {
namespace {

Answer listeners(const Sources& sources, const Request& request) {
  const std::string* format = request.param("format");
  const auto active = sources.listeners.active();
  const auto addresses = [](const listener::ListenerManager::Active& each) {
    std::vector<base::Address> out;
    if (each.sockets.empty()) return each.version->addresses;  // not bound: as configured
    for (const auto& socket : each.sockets) out.push_back(socket->local());
    return out;
  };
  if (format != nullptr && *format == "json") {
    envoy::admin::v3::Listeners out;
    for (const auto& each : active) {
      auto& status = *out.add_listener_statuses();
      status.set_name(each.version->name);
      bool first = true;
      for (const base::Address& address : addresses(each)) {
        printAddress(address, first ? *status.mutable_local_address() : *status.add_additional_local_addresses());
        first = false;
      }
    }
    return Answer::json(config::toJson(out) + "\n");
  }
  std::string text;
  for (const auto& each : active) {
    for (const base::Address& address : addresses(each)) absl::StrAppend(&text, each.version->name, "::", address.str(), "\n");
  }
  return Answer::text(std::move(text));
}

void print(const tls::CertInfo& info, int64_t now, envoy::admin::v3::CertificateDetails& out) {
  out.set_path(info.path);
  out.set_serial_number(info.serial);
  // As Envoy orders them; its message has no place for e-mail addresses.
  for (const config::SanType type : {config::SanType::kDns, config::SanType::kUri, config::SanType::kIp}) {
    for (const tls::San& san : info.sans) {
      if (san.type != type) continue;
      auto& name = *out.add_subject_alt_names();
      if (type == config::SanType::kDns) name.set_dns(san.value);
      if (type == config::SanType::kUri) name.set_uri(san.value);
      if (type == config::SanType::kIp) name.set_ip_address(san.value);
    }
  }
  out.set_days_until_expiration(info.daysLeft(now));
  out.mutable_valid_from()->set_seconds(info.valid_from);
  out.mutable_expiration_time()->set_seconds(info.valid_to);
}

Answer certs(const Sources& sources) {
  envoy::admin::v3::Certificates out;
  const int64_t now = sources.loop.wall() / base::kSecond;
  sources.tls.visit([&](const tls::NativeContext& context) {
    if (context.authorities().empty() && context.ownCertificates().empty()) return;
    auto& one = *out.add_certificates();
    for (const tls::CertInfo& info : context.authorities()) print(info, now, *one.add_ca_cert());
    for (const tls::CertInfo& info : context.ownCertificates()) print(info, now, *one.add_cert_chain());
  });
  return Answer::json(config::toJson(out, {.zeros = true}) + "\n");
}

}  // namespace

void addListenerPages(Pages& pages, const Sources& sources) {
  pages.push_back({"/listeners",
                   "print listener info",
                   false,
                   [&](const Request& request) { return listeners(sources, request); },
                   {{"format", "File format to use; One of (text, json)"}}});
  pages.push_back({"/certs", "print certs on machine", false, [&](const Request&) { return certs(sources); }, {}});
}

}  // namespace outrider::admin
