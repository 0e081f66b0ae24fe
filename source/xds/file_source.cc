#include "source/xds/file_source.h"

#include "absl/container/flat_hash_set.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "source/base/log.h"
#include "source/config/yaml.h"
#include "source/xds/types.h"

namespace outrider::xds {

FileSource::FileSource(event::Loop& loop, stats::Store& store, FileWatch& files, std::string path, const std::string& watched_directory,
                       const std::string& type_url, bool allow_unknown_fields)
    : loop_(loop),
      files_(files),
      path_(std::move(path)),
      allow_unknown_fields_(allow_unknown_fields),
      table_(loop, store, type_url, [this] { readSoon(); }),
      read_(event::Deferred::to<&FileSource::read>(this)) {
  auto id = watched_directory.empty() ? files.addFile(path_, [this] { readSoon(); })
                                      : files.addDirectory(watched_directory, [this] { readSoon(); });
  if (id.ok()) {
    watch_ = *id;
  } else {
    OUTRIDER_LOG(kWarning, kXds, "%s: %s", path_.c_str(), std::string(id.status().message()).c_str());
  }
}

FileSource::~FileSource() {
  if (watch_) files_.remove(*watch_);
}

void FileSource::read() {
  (void)table_.takeChanges();
  if (table_.unused()) return;
  if (table_.busy()) {
    again_ = true;
    return;
  }
  config::Problems problems;
  config::UnknownFields unknown;
  unknown.allow = allow_unknown_fields_;
  envoy::service::discovery::v3::DiscoveryResponse message;
  auto content = config::readFile(path_);
  if (content.ok()) {
    (void)config::parseContent(*std::move(content), path_, message, unknown, problems);
  } else {
    problems.add({.what = std::string(content.status().message()), .file = path_});
  }
  if (!problems.empty()) {
    OUTRIDER_LOG(kWarning, kXds, "%s not updated: %s", std::string(typeLabel(table_.typeUrl())).c_str(), problems.str().c_str());
    table_.countFailure();
    return;
  }
  Incoming in;
  in.full = true;
  in.version = message.version_info();
  std::string refused;
  absl::flat_hash_set<std::string> seen;
  for (google::protobuf::Any& any : *message.mutable_resources()) {
    Incoming::Item item;
    if (any.type_url() != table_.typeUrl()) {
      refused = "a resource has the type " + any.type_url() + ", not " + table_.typeUrl();
    } else if (!readResourceName(any.value(), item.name)) {
      refused = "a resource is not a readable " + table_.typeUrl();
    } else if (!item.name.empty() && !seen.insert(item.name).second) {
      refused = duplicateText(table_.typeUrl(), item.name, false);
    }
    if (!refused.empty()) {
      OUTRIDER_LOG(kWarning, kXds, "%s: %s rejected: %s", path_.c_str(), std::string(typeLabel(table_.typeUrl())).c_str(), refused.c_str());
      table_.countRejected();
      return;
    }
    item.version = in.version;
    item.take(std::move(*any.mutable_value()));
    in.items.push_back(std::move(item));
  }
  table_.apply(std::move(in), [this](const Verdict& verdict) {
    if (!verdict.accepted) {
      OUTRIDER_LOG(kWarning, kXds, "%s: %s rejected: %s", path_.c_str(), std::string(typeLabel(table_.typeUrl())).c_str(),
                   verdict.error.c_str());
    }
    if (std::exchange(again_, false)) readSoon();
  });
}

}  // namespace outrider::xds
