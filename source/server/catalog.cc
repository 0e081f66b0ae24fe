#include "source/server/catalog.h"

#include "source/filter/listener/http_inspector/http_inspector_parse.h"
#include "source/filter/listener/original_dst/original_dst_parse.h"
#include "source/filter/listener/tls_inspector/tls_inspector_parse.h"
#include "source/filter/network/http_connection_manager/hcm_parse.h"
#include "source/filter/network/tcp_proxy/tcp_proxy_parse.h"
#include "source/router/router_parse.h"

namespace outrider::server {

using config::Posture;

void fillCatalog(filter::Registry& registry) {
  // HTTP filters
  registry.http.add("envoy.extensions.filters.http.router.v3.Router", Posture::kDone, router::parseRouter);

  // Network filters
  registry.network.add("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", Posture::kDone,
                       filter::network::http_connection_manager::parseHcm);
  registry.network.add("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", Posture::kDone, filter::network::tcp_proxy::parseTcpProxy);

  // Listener filters
  registry.listener.add("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector", Posture::kDone,
                        filter::listener::http_inspector::parseHttpInspector);
  registry.listener.add("envoy.extensions.filters.listener.original_dst.v3.OriginalDst", Posture::kDone,
                        filter::listener::original_dst::parseOriginalDst);
  registry.listener.add("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", Posture::kDone,
                        filter::listener::tls_inspector::parseTlsInspector);
}

}  // namespace outrider::server
