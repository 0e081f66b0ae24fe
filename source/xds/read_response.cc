#include "source/xds/read_response.h"

#include "absl/container/flat_hash_set.h"
#include "envoy/service/discovery/v3/discovery.pb.h"
#include "source/xds/types.h"

namespace outrider::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;

constexpr std::string_view kWrapperType = "type.googleapis.com/envoy.service.discovery.v3.Resource";

base::Nanos nanosOf(const google::protobuf::Duration& in) { return in.seconds() * base::kSecond + in.nanos(); }

std::string mismatch(std::string_view inner, std::string_view outer) {
  return "type URL " + std::string(inner) + " embedded in an individual Any does not match the message-wide type URL " +
         std::string(outer) + " in DiscoveryResponse";
}

// Name, bytes and life of one resource; empty text: fine.
std::string readWrapped(discovery::Resource& in, std::string_view type_url, Incoming::Item& item) {
  item.name = in.name();
  item.version = in.version();
  item.ttl = in.has_ttl() ? nanosOf(in.ttl()) : 0;
  if (!in.has_resource()) {
    item.heartbeat = true;
    return {};
  }
  if (in.resource().type_url() != type_url) return mismatch(in.resource().type_url(), type_url);
  item.take(std::move(*in.mutable_resource()->mutable_value()));
  std::string inner;
  if (!readResourceName(*item.bytes, inner)) return "resource " + item.name + " is not a readable " + std::string(type_url);
  if (item.name.empty()) item.name = std::move(inner);
  return {};
}

}  // namespace

// Tells equal bytes from others; nothing trusts it against an attacker, who would only keep his own old config.
uint64_t hashBytes(std::string_view bytes) {
  uint64_t hash = 0x9e3779b97f4a7c15 ^ bytes.size();
  const auto mix = [&hash](uint64_t word) {
    word *= 0x87c37b91114253d5;
    word = (word << 31) | (word >> 33);
    hash ^= word * 0x4cf5ad432745937f;
    hash = ((hash << 27) | (hash >> 37)) * 5 + 0x52dce729;
  };
  size_t at = 0;
  for (; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t)) {
    uint64_t word;
    __builtin_memcpy(&word, bytes.data() + at, sizeof word);
    mix(word);
  }
  uint64_t rest = 0;
  __builtin_memcpy(&rest, bytes.data() + at, bytes.size() - at);
  mix(rest);
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccd;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53;
  hash ^= hash >> 33;
  return hash;
}

std::string duplicateText(std::string_view type_url, const std::string& name, bool delta) {
  const TypeInfo* type = findTypeInfo(type_url);
  if (!delta && type != nullptr && type->absence_deletes) return "duplicate " + std::string(type->noun) + " " + name + " found";
  return "duplicate name " + name + " found among added/updated resources";
}

ReadResponse readSotw(const std::string& bytes) {
  ReadResponse out;
  discovery::DiscoveryResponse message;
  if (!message.ParseFromString(bytes)) return out;
  out.readable = true;
  out.type_url = message.type_url();
  out.nonce = message.nonce();
  out.identifier = message.control_plane().identifier();
  out.in.full = true;
  out.in.version = message.version_info();
  absl::flat_hash_set<std::string> seen;
  out.in.items.reserve(static_cast<size_t>(message.resources_size()));
  for (google::protobuf::Any& any : *message.mutable_resources()) {
    Incoming::Item item;
    if (any.type_url() == kWrapperType) {
      discovery::Resource wrapped;
      out.error = wrapped.ParseFromString(any.value()) ? readWrapped(wrapped, message.type_url(), item)
                                                       : std::string("a wrapped resource cannot be read");
    } else if (any.type_url() != message.type_url()) {
      out.error = mismatch(any.type_url(), message.type_url());
    } else if (readResourceName(any.value(), item.name)) {
      item.take(std::move(*any.mutable_value()));
    } else {
      out.error = "a resource is not a readable " + message.type_url();
    }
    if (item.version.empty()) item.version = message.version_info();
    if (out.error.empty() && !item.name.empty() && !seen.insert(item.name).second) {
      out.error = duplicateText(message.type_url(), item.name, false);
    }
    if (!out.error.empty()) break;
    out.in.items.push_back(std::move(item));
  }
  return out;
}

ReadResponse readDelta(const std::string& bytes) {
  ReadResponse out;
  discovery::DeltaDiscoveryResponse message;
  if (!message.ParseFromString(bytes)) return out;
  out.readable = true;
  out.type_url = message.type_url();
  out.nonce = message.nonce();
  out.identifier = message.control_plane().identifier();
  out.in.version = message.system_version_info();
  absl::flat_hash_set<std::string> seen;
  out.in.items.reserve(static_cast<size_t>(message.resources_size()));
  for (discovery::Resource& resource : *message.mutable_resources()) {
    Incoming::Item item;
    out.error = readWrapped(resource, message.type_url(), item);
    if (out.error.empty() && !item.name.empty() && !seen.insert(item.name).second) {
      out.error = duplicateText(message.type_url(), item.name, true);
    }
    if (!out.error.empty()) break;
    out.in.items.push_back(std::move(item));
  }
  for (const std::string& name : message.removed_resources()) {
    if (!seen.insert(name).second && out.error.empty()) {
      out.error = "duplicate name " + name + " found in the union of added+removed resources";
    }
    out.in.removed.push_back(name);
  }
  return out;
}

}  // namespace outrider::xds
