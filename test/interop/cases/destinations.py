"""ORIGINAL_DST clusters: where requests go by the address that a header names."""
from cases.engine import CLUSTERS, LISTENERS, exchange, host, request, route, to


def original(name, **config):
    return {"name": name, "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "1s", "cleanup_interval": "1s",
            **({"original_dst_lb_config": config} if config else {})}


CLUSTERS.extend([
    lambda side: original("byheader", use_http_header=True), lambda side: original("byname", use_http_header=True, http_header_name="X-Where"),
    lambda side: original("byport", use_http_header=True, upstream_port_override=side.b.port), lambda side: original("byaddress"),
])
LISTENERS.update({"destinations": lambda side: {"hosts": [
    host("all", *[route("/%s/" % name, to(name, prefix_rewrite="/")) for name in ("byheader", "byname", "byport", "byaddress")])]}})


def fill():
    def send(name, path, *headers):
        exchange("destinations", name, listener="destinations",
                 sends_for=lambda side: [request(path, headers=" & ".join(h % {"a": side.a.port, "b": side.b.port, "no": side.ports["refused"]} for h in headers))])
    send("one host", "/byheader/x", "x-envoy-original-dst-host: 127.0.0.1:%(a)d")
    send("another host", "/byheader/x", "x-envoy-original-dst-host: 127.0.0.1:%(b)d")
    send("another header", "/byname/x", "x-where: 127.0.0.1:%(b)d", "x-envoy-original-dst-host: 127.0.0.1:%(a)d")
    send("the usual header where another is meant", "/byname/x", "x-envoy-original-dst-host: 127.0.0.1:%(a)d")
    send("another port", "/byport/x", "x-envoy-original-dst-host: 127.0.0.1:%(a)d")
    send("two headers", "/byheader/x", "x-envoy-original-dst-host: 127.0.0.1:%(a)d", "x-envoy-original-dst-host: 127.0.0.1:%(b)d")
    send("no header", "/byheader/x")
    send("not an address", "/byheader/x", "x-envoy-original-dst-host: somewhere:80")
    send("an address without a port", "/byheader/x", "x-envoy-original-dst-host: 127.0.0.1")
    send("nobody listens there", "/byheader/x", "x-envoy-original-dst-host: 127.0.0.1:%(no)d")
    send("no header is looked at", "/byaddress/x", "x-envoy-original-dst-host: 127.0.0.1:%(a)d")
