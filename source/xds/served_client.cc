#include "source/xds/served_client.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "source/xds/subscription.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;

constexpr char kIdentifier[] = "outrider control-plane";

std::string versionOf(const std::map<std::string, std::string>& versions) {
  std::string all;
  for (const auto& [name, version] : versions) all += name + '\0' + version + '\0';
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, hashBytes(all));
  return text;
}

std::string oneLine(const std::string& text) {
  std::string line;
  for (const char c : text) {
    if (c == '\n') {
      line += "; ";
    } else {
      line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  while (!line.empty() && (line.back() == ' ' || line.back() == ';')) line.pop_back();
  return line;
}

}  // namespace

std::string ServedClient::nodeOf(bool delta, const std::string& bytes) {
  if (delta) {
    discovery::DeltaDiscoveryRequest request;
    return request.ParseFromString(bytes) ? request.node().id() : std::string();
  }
  discovery::DiscoveryRequest request;
  return request.ParseFromString(bytes) ? request.node().id() : std::string();
}

bool ServedClient::onRequest(const std::string& bytes, const ServedView& view) {
  if (delta_) {
    discovery::DeltaDiscoveryRequest request;
    if (!request.ParseFromString(bytes)) return false;
    if (request.has_node()) node_ = request.node().id();
    onDelta(request, view);
    return true;
  }
  discovery::DiscoveryRequest request;
  if (!request.ParseFromString(bytes)) return false;
  if (request.has_node()) node_ = request.node().id();
  onSotw(request, view);
  return true;
}

void ServedClient::onResources(const ServedView& view) {
  std::vector<std::string> order;
  for (const auto& [type_url, type] : types_) order.push_back(type_url);
  std::stable_sort(order.begin(), order.end(), [](const std::string& a, const std::string& b) { return typeRank(a) < typeRank(b); });
  for (const std::string& type_url : order) {
    Type& type = types_[type_url];
    if (delta_) {
      sendDelta(type_url, type, view, {}, false);
    } else {
      sendSotw(type_url, type, view, false);
    }
  }
}

bool ServedClient::settled(std::set<std::string>* open) const {
  bool all = true;
  for (const auto& [type_url, type] : types_) {
    if (type.nonce == type.answered) continue;
    all = false;
    if (open != nullptr) open->insert(std::string(typeLabel(type_url)));
  }
  return all;
}

bool ServedClient::refused(const std::string& type_url) const {
  const auto type = types_.find(type_url);
  return type != types_.end() && type->second.refused;
}

bool ServedClient::asksFor(const std::string& type_url, const std::string& name) const {
  const auto type = types_.find(type_url);
  return type != types_.end() && wants(type->second, name);
}

bool ServedClient::has(const std::string& type_url, const std::string& name, const std::string& version) const {
  const auto type = types_.find(type_url);
  if (type == types_.end()) return false;
  const auto sent = type->second.sent.find(name);
  return sent != type->second.sent.end() && sent->second == version;
}

void ServedClient::told(const std::string& type_url, Type& type, const std::string& nonce, const google::rpc::Status* error) {
  if (nonce.empty() || type.answered == nonce) return;
  type.answered = nonce;
  type.refused = error != nullptr;
  std::string line = error == nullptr ? "ACK  " : "NACK ";
  line +=
      oneLine(node_) + " " + std::string(typeLabel(type_url)) + (delta_ ? " delta" : "") + " nonce " + nonce + " version " + type.version;
  if (error != nullptr) line += ": " + oneLine(error->message());
  say_(line);
}

// -- state of the world --

void ServedClient::onSotw(const discovery::DiscoveryRequest& request, const ServedView& view) {
  const std::string type_url = only_type_.empty() ? request.type_url() : only_type_;
  Type& type = types_[type_url];
  if (type.started && request.response_nonce() != type.nonce) return;  // of an earlier response: a newer one is on its way
  if (type.started) told(type_url, type, request.response_nonce(), request.has_error_detail() ? &request.error_detail() : nullptr);

  std::set<std::string, std::less<>> names(request.resource_names().begin(), request.resource_names().end());
  const bool star = names.erase("*") > 0;
  const bool wildcard = star || (names.empty() && !type.named);
  type.named = type.named || star || !names.empty();
  const bool more =
      !type.started || (wildcard && !type.wildcard) || !std::includes(type.names.begin(), type.names.end(), names.begin(), names.end());
  type.started = true;
  type.wildcard = wildcard;
  type.names = std::move(names);
  std::erase_if(type.sent, [&](const auto& each) { return !wants(type, each.first); });
  if (more) sendSotw(type_url, type, view, true);
}

void ServedClient::sendSotw(const std::string& type_url, Type& type, const ServedView& view, bool anyway) {
  std::map<std::string, std::string> now;
  discovery::DiscoveryResponse response;
  for (const auto& [name, resource] : view.of(type_url)) {
    if (!wants(type, *name)) continue;
    now[*name] = resource->version;
    *response.add_resources() = resource->any;
  }
  if (!anyway && now == type.sent) return;
  if (now.empty() && !type.wildcard) return;  // none of these names exists (yet)
  type.sent = std::move(now);
  type.version = versionOf(type.sent);
  type.nonce = std::to_string(++responses_);
  response.set_type_url(type_url);
  response.set_version_info(type.version);
  response.set_nonce(type.nonce);
  response.mutable_control_plane()->set_identifier(kIdentifier);
  send_(response.SerializeAsString());
}

// -- delta --

void ServedClient::onDelta(const discovery::DeltaDiscoveryRequest& request, const ServedView& view) {
  const std::string type_url = only_type_.empty() ? request.type_url() : only_type_;
  Type& type = types_[type_url];
  const bool first = !type.started;
  type.started = true;
  if (first) {
    for (const auto& [name, version] : request.initial_resource_versions()) type.sent[name] = version;
    type.wildcard = request.resource_names_subscribe().empty();
  } else {
    told(type_url, type, request.response_nonce(), request.has_error_detail() ? &request.error_detail() : nullptr);
  }
  std::set<std::string> fresh;
  for (const std::string& name : request.resource_names_subscribe()) {
    if (name == "*") {
      type.wildcard = true;
    } else {
      type.names.insert(name);
      fresh.insert(name);
    }
  }
  for (const std::string& name : request.resource_names_unsubscribe()) {
    if (name == "*") {
      type.wildcard = false;
    } else {
      type.names.erase(name);
    }
  }
  if (!request.resource_names_unsubscribe().empty()) std::erase_if(type.sent, [&](const auto& each) { return !wants(type, each.first); });
  // Who asks for a name again gets it again; who names it with its version already has it.
  if (first) std::erase_if(fresh, [&](const std::string& name) { return type.sent.contains(name); });
  sendDelta(type_url, type, view, fresh, first && type.wildcard);
}

void ServedClient::sendDelta(const std::string& type_url, Type& type, const ServedView& view, const std::set<std::string>& fresh,
                             bool anyway) {
  discovery::DeltaDiscoveryResponse response;
  std::map<std::string, std::string> now;
  for (const auto& [name, resource] : view.of(type_url)) {
    if (!wants(type, *name)) continue;
    now[*name] = resource->version;
    const auto sent = type.sent.find(*name);
    if (sent != type.sent.end() && sent->second == resource->version && !fresh.contains(*name)) continue;
    discovery::Resource& out = *response.add_resources();
    out.set_name(*name);
    out.set_version(resource->version);
    *out.mutable_resource() = resource->any;
  }
  std::set<std::string> gone;
  for (const auto& [name, version] : type.sent) {
    if (!now.contains(name)) gone.insert(name);
  }
  for (const std::string& name : fresh) {
    if (view.find(type_url, name) == nullptr) gone.insert(name);
  }
  for (const std::string& name : gone) response.add_removed_resources(name);
  type.sent = std::move(now);
  if (response.resources().empty() && gone.empty() && !anyway) return;
  type.version = versionOf(type.sent);
  type.nonce = std::to_string(++responses_);
  response.set_type_url(type_url);
  response.set_system_version_info(type.version);
  response.set_nonce(type.nonce);
  response.mutable_control_plane()->set_identifier(kIdentifier);
  send_(response.SerializeAsString());
}

}  // namespace outrider::xds
