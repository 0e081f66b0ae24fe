#include "source/xds/served_files.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <set>

#include "envoy/service/discovery/v3/discovery.pb.h"
#include "source/config/document.h"
#include "source/config/json_print.h"
#include "source/config/yaml.h"
#include "source/xds/subscription.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

bool isResourceFile(std::string_view name) {
  if (name.empty() || name.front() == '.') return false;
  for (const std::string_view end : {".yaml", ".yml", ".json"}) {
    if (name.size() > end.size() && name.substr(name.size() - end.size()) == end) return true;
  }
  return false;
}

// Of the content as JSON with sorted keys: the same values give the same version however they were written.
std::string versionOf(const google::protobuf::Any& any) {
  const std::string json = config::toJson(any, {.compact = true, .secret = nullptr});
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, hashBytes(json));
  return text;
}

}  // namespace

bool ServedFiles::readOne(const std::string& path, std::vector<Named>& out, std::vector<std::string>& problems) const {
  auto content = config::readFile(path);
  if (!content.ok()) {
    problems.push_back(path + ": " + std::string(content.status().message()));
    return false;
  }
  config::Problems found;
  config::UnknownFields unknown;
  const auto document = config::Document::parse(*std::move(content), path, found);
  envoy::service::discovery::v3::DiscoveryResponse list;
  if (document != nullptr) {
    found.setLocator(document.get());
    if (document->root().kind != config::Node::Kind::kMap) {
      found.add({.what = "holds no resources", .valid = "a list under `resources`, or one value with \"@type\"", .file = path});
    } else if (config::findMember(document->root(), "@type") != nullptr) {
      (void)config::toMessage(*document, *list.add_resources(), unknown, found);
    } else {
      (void)config::toMessage(*document, list, unknown, found);
    }
  }
  for (const config::Problem& problem : found.list()) problems.push_back(problem.str());
  if (!found.empty()) return false;
  for (google::protobuf::Any& any : *list.mutable_resources()) {
    Named named;
    if (!readResourceName(any.value(), named.name)) {
      problems.push_back(path + ": a resource of type " + any.type_url() + " cannot be read");
      return false;
    }
    named.resource.version = versionOf(any);
    named.resource.any = std::move(any);
    out.push_back(std::move(named));
  }
  return true;
}

void ServedFiles::load(std::vector<std::string>& problems) {
  DIR* folder = ::opendir(folder_.c_str());
  if (folder == nullptr) {
    problems.push_back(folder_ + ": " + strerror(errno));
    return;
  }
  std::set<std::string> names;
  while (const dirent* entry = ::readdir(folder)) {
    if (isResourceFile(entry->d_name)) names.insert(entry->d_name);
  }
  ::closedir(folder);

  std::erase_if(files_, [&](const auto& file) { return !names.contains(file.first); });
  for (const std::string& name : names) {
    std::vector<Named> read;
    if (readOne(folder_ + "/" + name, read, problems)) files_[name] = std::move(read);
  }
  ServedResources all;
  for (const auto& [file, resources] : files_) {
    for (const Named& named : resources) {
      const std::string& type = named.resource.any.type_url();
      if (!all[type].emplace(named.name, named.resource).second) {
        problems.push_back(folder_ + "/" + file + ": " + std::string(typeLabel(type)) + " " + named.name +
                           " is in an earlier file or place too; that one is served");
      }
    }
  }
  // What stays the same keeps its very bytes.
  for (auto& [type, resources] : all) {
    const auto old = resources_->find(type);
    if (old == resources_->end()) continue;
    for (auto& [name, resource] : resources) {
      const auto before = old->second.find(name);
      if (before != old->second.end() && before->second.version == resource.version) resource = before->second;
    }
  }
  resources_ = std::make_shared<const ServedResources>(std::move(all));
}

size_t ServedFiles::count() const {
  size_t count = 0;
  for (const auto& [type, resources] : *resources_) count += resources.size();
  return count;
}

}  // namespace outrider::xds
