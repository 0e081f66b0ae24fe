#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "source/base/log.h"
#include "source/xds/followed.h"
#include "source/xds/types.h"

namespace outrider::xds {

Follower::Secret::Secret(Follower& owner, const config::SdsRef& ref) : owner_(owner), key_(tls::Secrets::keyOf(ref)), name_(ref.name) {
  id_ = owner_.parts_.hub.watch(readSource(ref.source), kSecretType, name_, *this);
  if (id_ == 0) owner_.parts_.assembler.secretTimedOut(key_);
}

Follower::Secret::~Secret() {
  owner_.parts_.hub.unwatch(id_);
  unwatchFiles();
}

void Follower::Secret::onDelivery(Delivery delivery) {
  std::vector<Failure> failures;
  for (const ResourceIn& resource : delivery.resources) {
    envoy::extensions::transport_sockets::tls::v3::Secret message;
    config::Problems problems;
    if (!message.ParseFromString(*resource.bytes)) {
      failures.push_back({resource.name, "cannot be decoded"});
    } else if (!owner_.parts_.assembler.applySecret(key_, message, problems)) {
      failures.push_back({resource.name, problems.str("; ")});
    } else {
      last_ = *resource.bytes;
      watchFiles(message);
    }
    if (!problems.unsupportedPaths().empty()) owner_.parts_.unsupported("secret " + resource.name, problems);
  }
  delivery.done(verdictOf("", failures, "; "));
}

void Follower::Secret::onFetchTimeout(std::string_view) { owner_.parts_.assembler.secretTimedOut(key_); }

// A secret may name files: they are read again when they, or anything in watched_directory, are replaced.
void Follower::Secret::watchFiles(const envoy::extensions::transport_sockets::tls::v3::Secret& secret) {
  unwatchFiles();
  std::vector<const envoy::config::core::v3::DataSource*> sources;
  std::string directory;
  if (secret.has_tls_certificate()) {
    const auto& in = secret.tls_certificate();
    sources = {&in.certificate_chain(), &in.private_key(), &in.pkcs12(), &in.password(), &in.ocsp_staple()};
    directory = in.watched_directory().path();
  } else if (secret.has_validation_context()) {
    sources = {&secret.validation_context().trusted_ca(), &secret.validation_context().crl()};
    directory = secret.validation_context().watched_directory().path();
  }
  const auto keep = [&](absl::StatusOr<FileWatch::Id> id) {
    if (id.ok()) {
      watched_.push_back(*id);
    } else {
      OUTRIDER_LOG(kWarning, kXds, "secret %s: %s", name_.c_str(), std::string(id.status().message()).c_str());
    }
  };
  bool any = false;
  for (const auto* source : sources) {
    if (source->filename().empty()) continue;
    any = true;
    if (directory.empty()) keep(owner_.files_.addFile(source->filename(), [this] { reread(); }));
  }
  if (any && !directory.empty()) keep(owner_.files_.addDirectory(directory, [this] { reread(); }));
}

void Follower::Secret::unwatchFiles() {
  for (const FileWatch::Id id : std::exchange(watched_, {})) owner_.files_.remove(id);
}

// A certificate and its key are two files: while only one of them is new they do not fit, and the old pair serves.
void Follower::Secret::reread() {
  envoy::extensions::transport_sockets::tls::v3::Secret message;
  config::Problems problems;
  if (!message.ParseFromString(last_)) return;
  if (!owner_.parts_.assembler.applySecret(key_, message, problems)) {
    OUTRIDER_LOG(kWarning, kXds, "secret %s stays as it was: %s", name_.c_str(), problems.str("; ").c_str());
  }
}

}  // namespace outrider::xds
