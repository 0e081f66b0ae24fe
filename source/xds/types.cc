#include "source/xds/types.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <limits>

namespace outrider::xds {
namespace {

constexpr TypeInfo kTypes[] = {
    {kRuntimeType, "RTDS", "runtime layer", "envoy.service.runtime.v3.RuntimeDiscoveryService", "StreamRuntime", "DeltaRuntime", false},
    {kClusterType, "CDS", "cluster", "envoy.service.cluster.v3.ClusterDiscoveryService", "StreamClusters", "DeltaClusters", true},
    {kEndpointType, "EDS", "endpoints", "envoy.service.endpoint.v3.EndpointDiscoveryService", "StreamEndpoints", "DeltaEndpoints", false},
    {kListenerType, "LDS", "listener", "envoy.service.listener.v3.ListenerDiscoveryService", "StreamListeners", "DeltaListeners", true},
    {kScopedRouteType, "SRDS", "scoped route", "envoy.service.route.v3.ScopedRoutesDiscoveryService", "StreamScopedRoutes",
     "DeltaScopedRoutes", true},
    {kRouteType, "RDS", "route", "envoy.service.route.v3.RouteDiscoveryService", "StreamRoutes", "DeltaRoutes", false},
    {kVirtualHostType, "VHDS", "virtual host", "envoy.service.route.v3.VirtualHostDiscoveryService", "", "DeltaVirtualHosts", false},
    {kSecretType, "SDS", "secret", "envoy.service.secret.v3.SecretDiscoveryService", "StreamSecrets", "DeltaSecrets", false},
    {kExtensionType, "ECDS", "extension config", "envoy.service.extension.v3.ExtensionConfigDiscoveryService", "StreamExtensionConfigs",
     "DeltaExtensionConfigs", false},
};

}  // namespace

const TypeInfo* findTypeInfo(std::string_view type_url) {
  for (const TypeInfo& type : kTypes) {
    if (type.url == type_url) return &type;
  }
  return nullptr;
}

const TypeInfo* findTypeInfoOfService(std::string_view service) {
  for (const TypeInfo& type : kTypes) {
    if (type.service == service) return &type;
  }
  return nullptr;
}

size_t typeRank(std::string_view type_url) {
  const TypeInfo* type = findTypeInfo(type_url);
  return type == nullptr ? std::size(kTypes) : static_cast<size_t>(type - kTypes);
}

std::string methodOfType(std::string_view type_url, bool delta) {
  const TypeInfo* type = findTypeInfo(type_url);
  if (type == nullptr) return {};
  const std::string_view method = delta ? type->delta_method : type->stream_method;
  if (method.empty()) return {};
  std::string path = "/";
  path += type->service;
  path += '/';
  path += method;
  return path;
}

std::string_view adsMethod(bool delta) {
  return delta ? "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
               : "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
}

std::string_view typeLabel(std::string_view type_url) {
  const TypeInfo* type = findTypeInfo(type_url);
  return type == nullptr ? type_url : type->abbreviation;
}

bool readResourceName(std::string_view bytes, std::string& name) {
  using Wire = google::protobuf::internal::WireFormatLite;
  name.clear();
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) return false;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  while (const uint32_t tag = in.ReadTag()) {
    if (tag == Wire::MakeTag(1, Wire::WIRETYPE_LENGTH_DELIMITED)) {
      uint32_t size = 0;
      if (!in.ReadVarint32(&size) || size > bytes.size() || !in.ReadString(&name, static_cast<int>(size))) return false;
    } else if (!Wire::SkipField(&in, tag)) {
      return false;
    }
  }
  return in.ConsumedEntireMessage();
}

void appendName(std::string& message, int number, std::string_view name) {
  message += static_cast<char>(number << 3 | 2);  // length-delimited
  size_t size = name.size();
  for (; size >= 0x80; size >>= 7) message += static_cast<char>(size | 0x80);
  message += static_cast<char>(size);
  message += name;
}

}  // namespace outrider::xds
