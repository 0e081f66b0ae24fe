// The resource types of xDS: their services, their order on a stream, and what their messages call them.
// Thread: any. Source: envoy/service/*/v3, envoy docs api-docs/xds_protocol.
#pragma once

#include <string>
#include <string_view>

namespace outrider::xds {

inline constexpr std::string_view kClusterType = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
inline constexpr std::string_view kEndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
inline constexpr std::string_view kListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener";
inline constexpr std::string_view kRouteType = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
inline constexpr std::string_view kScopedRouteType = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration";
inline constexpr std::string_view kVirtualHostType = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
inline constexpr std::string_view kSecretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
inline constexpr std::string_view kRuntimeType = "type.googleapis.com/envoy.service.runtime.v3.Runtime";
inline constexpr std::string_view kExtensionType = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

struct TypeInfo {
  std::string_view url;
  std::string_view abbreviation;   // "CDS"
  std::string_view noun;           // "cluster", for messages
  std::string_view service;        // "envoy.service.cluster.v3.ClusterDiscoveryService"
  std::string_view stream_method;  // "StreamClusters"; empty: the service has none
  std::string_view delta_method;
  bool absence_deletes;  // a state-of-the-world response removes what it does not name
};

// In the order in which a client asks for them: RTDS, CDS, EDS, LDS, SRDS, RDS, VHDS, SDS, ECDS.
const TypeInfo* findTypeInfo(std::string_view type_url);
const TypeInfo* findTypeInfoOfService(std::string_view service);
// Place in that order; types that are not listed come last.
size_t typeRank(std::string_view type_url);
// "/service/Method" of the type's own service; empty when it has none.
std::string methodOfType(std::string_view type_url, bool delta);
std::string_view adsMethod(bool delta);
// "CDS", or the URL itself.
std::string_view typeLabel(std::string_view type_url);

// Adds a name to a serialized message's repeated string field `number` (below 16): requests have tens of thousands, and message
// objects for them would cost several times as much.
void appendName(std::string& message, int number, std::string_view name);

// Is `bytes` a message, and what is the string in its field 1: the name of every resource type above?
bool readResourceName(std::string_view bytes, std::string& name);

}  // namespace outrider::xds
