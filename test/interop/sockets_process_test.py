#!/usr/bin/env python3
"""Which transport socket a host gets: transport_socket_matches by the metadata of endpoints and localities. Runs against Outrider, or
with --proxy envoy against the reference."""
import os
import ssl
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
import h1
from bench import ClusterBench, Script, placed
from harness import check

UPSTREAM_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
RAW = {"name": "raw", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}


def labels(**pairs):
    return {"metadata": {"filter_metadata": {"envoy.transport_socket_match": pairs}}}


def matches(script):
    certificates = harness.make_certificates(script.folder("certificates"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates["server"], certificates["server_key"])
    plain, tls = h1.Upstream("plain"), h1.Upstream("tls", tls=context)
    secure = {"name": "tls", "typed_config": {"@type": UPSTREAM_TLS, "sni": "localhost", "common_tls_context": {
        "validation_context": {"trusted_ca": {"filename": certificates["ca"]}}}}}
    distrust = {"name": "tls", "typed_config": {"@type": UPSTREAM_TLS, "sni": "localhost", "common_tls_context": {
        "validation_context": {"trusted_ca": {"filename": certificates["client"]}}}}}

    def host(upstream, **pairs):
        return dict({"port": upstream.port}, **(labels(**pairs) if pairs else {}))

    def match(name, socket, **pairs):
        made = {"name": name, "match": pairs}
        if socket:
            made["transport_socket"] = socket
        return made
    # As Istio writes them: hosts with a sidecar speak TLS, all others plain bytes.
    mesh = [match("tlsMode-istio", secure, tlsMode="istio"), match("tlsMode-disabled", RAW)]
    zone = placed("zone", [(0, [host(tls)]), (0, [host(plain)])], transport_socket_matches=[match("far", secure, far="yes")])
    zone["load_assignment"]["endpoints"][0]["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": {"far": "yes"}}}
    bench = ClusterBench(script, "matches", [
        placed("mesh", [(0, [host(tls, tlsMode="istio"), host(plain)])], transport_socket_matches=mesh),
        placed("fallback", [(0, [host(tls), host(plain, mode="plain")])], transport_socket=secure, transport_socket_matches=[match("p", RAW, mode="plain")]),
        placed("first", [(0, [host(tls, a="1", b="2")])], transport_socket_matches=[match("no", RAW, a="1", b="3"), match("yes", secure, b="2"), match("late", distrust, a="1")]),
        placed("types", [(0, [host(tls, number=1, yes=True), host(plain, number="1", yes=True)])], transport_socket_matches=[match("n", secure, number=1, yes=True)]),
        placed("wrong", [(0, [host(tls, x="1")])], transport_socket_matches=[match("w", distrust, x="1")]),
        placed("unlabelled", [(0, [host(plain)])], transport_socket_matches=[match("w", secure, x="1")]),
        zone,
        dict(placed("checked", [(0, [host(tls, tlsMode="istio"), host(plain)])], transport_socket_matches=mesh, health_checks=[
            {"timeout": "1s", "interval": "0.05s", "unhealthy_threshold": 1, "healthy_threshold": 1, "http_health_check": {"path": "/ok"}}]),
            common_lb_config={"healthy_panic_threshold": {"value": 0}}),
    ])

    def both(name):
        found = bench.who("/%s/" % name, 8)
        check(found == {"plain": 4, "tls": 4}, "served by %s" % found)

    def first():
        check(bench.who("/first/", 3) == {"tls": 3}, "the first match did not count")

    def wrong():
        answer = bench.get("/wrong/")
        check(answer.status == 503, "answered %s" % answer.status)

    def unlabelled():
        check(bench.who("/unlabelled/", 3) == {"plain": 3}, "a host without labels got TLS")

    def checked():
        bench.settles("/checked/", {"plain", "tls"})

    def counted():
        for name, count in (("mesh.tlsMode-istio", 1), ("mesh.tlsMode-disabled", 1), ("mesh.default", 0), ("fallback.default", 1), ("fallback.p", 1),
                            ("first.yes", 1), ("first.late", 0), ("types.n", 1), ("types.default", 1), ("zone.far", 1)):
            found = bench.proxy.stats("^cluster[.]%s[.]total_match_count$" % name)
            check(list(found.values()) == [count], "%s: %s" % (name, found))
    script.stories(("hosts with a label speak TLS, others plain bytes", lambda: both("mesh")), ("hosts without labels have the cluster's own socket", lambda: both("fallback")),
                   ("the first match counts, and all of its labels must hold", first), ("labels have types", lambda: both("types")),
                   ("the certificate is verified by the match's own context", wrong), ("without a match and a socket: plain bytes", unlabelled),
                   ("labels of a locality", lambda: both("zone")), ("health checks use the host's socket", checked), ("matches are counted", counted))
    bench.stop()


if __name__ == "__main__":
    sys.exit(harness.guarded(lambda: Script("sockets", __doc__).run(matches=matches)))
