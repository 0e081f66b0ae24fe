#!/usr/bin/env python3
"""Connections that iptables leads to the proxy, as in a mesh's sidecar: the original_dst and http_inspector listener filters,
use_original_dst, listeners that are not bound, ORIGINAL_DST clusters. In a network namespace of its own (needs root and iptables). Runs
against Outrider, or with --proxy envoy against the reference."""
import os
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
import h1
import h2
from bench import Bench, Script
from harness import check

EXTENSIONS = "type.googleapis.com/envoy.extensions.filters."
CLIENT = "127.0.0.77"           # only what comes from here is redirected, so that the proxy's own connections are not
SERVICE, OTHER = "127.0.0.50", "127.0.0.51"
INSIDE = "OUTRIDER_TEST_NAMESPACE"


def own_network():
    """Runs this script again where iptables may be changed; says why it cannot."""
    if os.environ.get(INSIDE):
        return None
    if os.geteuid() != 0 or not shutil.which("iptables") or not shutil.which("unshare"):
        return "needs root, iptables and unshare"
    probe = subprocess.run(["unshare", "-n", "sh", "-c", "ip link set lo up && iptables -t nat -A OUTPUT -p tcp -d %s -j REDIRECT --to-ports 1" % SERVICE],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20)
    if probe.returncode:
        return "no network namespace with NAT: %s" % probe.stderr.decode().strip()[:100]
    setup = "ip link set lo up; exec \"$0\" \"$@\""
    os.execvpe("unshare", ["unshare", "-n", "sh", "-c", setup, sys.executable] + sys.argv, dict(os.environ, **{INSIDE: "1"}))


def listener_filter(kind, message):
    return {"name": kind, "typed_config": {"@type": EXTENSIONS + "listener.%s.v3.%s" % (kind, message)}}


ORIGINAL, INSPECTOR, TLS = listener_filter("original_dst", "OriginalDst"), listener_filter("http_inspector", "HttpInspector"), listener_filter("tls_inspector", "TlsInspector")


def says(text):
    return harness.hcm(text, [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": {
        "status": 200, "body": {"inline_string": text}}}]}])


def tcp(prefix, cluster):
    return {"name": "tcp", "typed_config": {"@type": EXTENSIONS + "network.tcp_proxy.v3.TcpProxy", "stat_prefix": prefix, "cluster": cluster}}


def listener(name, address, port, chains, filters=(), **more):
    return dict({"name": name, "address": harness.address(port, address), "listener_filters": list(filters), "listener_filters_timeout": "2s",
                 "filter_chains": chains}, **more)


def chain(*filters, **match):
    return dict({"filters": list(filters)}, **({"filter_chain_match": match} if match else {}))


def redirected(script):
    a = h1.Upstream("a", host=OTHER)
    outbound, plain = 15001, 15080
    log = harness.LogFile(os.path.join(script.folder("redirect-log"), "log"))
    by_log = harness.file_log(log.path, "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% %FILTER_CHAIN_NAME%\n")
    through = tcp("through", "original")
    through["typed_config"]["access_log"] = [by_log]
    for port in (outbound,):
        for wanted in (SERVICE, OTHER):
            subprocess.run(["iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-s", CLIENT, "-d", wanted, "-j", "REDIRECT", "--to-ports", str(port)], check=True)
    bench = Bench(script, "redirect", [
        listener("outbound", "0.0.0.0", outbound, [chain(through)], [ORIGINAL], use_original_dst=True),
        listener("service", SERVICE, 80, [chain(says("service"))], bind_to_port=False),
        listener("anywhere", "0.0.0.0", 81, [chain(says("anywhere"))], bind_to_port=False),
        listener("sniffed", SERVICE, 82, [chain(says("http1"), application_protocols=["http/1.0", "http/1.1"]), chain(says("http2"), application_protocols=["h2c"]),
                                          chain(through)], [ORIGINAL, TLS, INSPECTOR], bind_to_port=False),
        listener("inbound", "0.0.0.0", plain, [chain(says("of 83"), destination_port=83), chain(says("else"))], [ORIGINAL, INSPECTOR]),
    ], [{"name": "original", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "1s"}], concurrency=2)

    def get(address, port, source=CLIENT, path="/"):
        with h1.Client(port, host=address, source=source, timeout=5) as client:
            client.send(("GET %s HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n" % path).encode())
            return client.response()

    def body(address, port, **more):
        answer = get(address, port, **more)
        return answer.body.decode() if answer else None

    def handed():
        check(body(SERVICE, 80) == "service", "not the listener of the address")
        check(body(SERVICE, 81) == body(OTHER, 81) == "anywhere", "not the listener of the port")

    def passed():
        for _ in range(3):
            answer = get(OTHER, a.port)
            check(answer is not None and answer.get("x-served-by") == "a", "did not reach the address that was wanted")
        lines = log.take(3)
        check(set(lines) == {"%s:%d %s:%d -" % (OTHER, a.port, OTHER, a.port)}, "logged %s" % lines)

    def nobody():
        check(get(OTHER, 9) is None, "somebody answered")

    def sniffed():
        check(body(SERVICE, 82) == "http1", "HTTP/1 was not recognised")
        with h2.Client(82, host=SERVICE, source=CLIENT, timeout=5) as client:
            check(client.request(h2.get("/")).body == b"http2", "HTTP/2 was not recognised")

    def sniffed_slowly():
        with h1.Client(82, host=SERVICE, source=CLIENT, timeout=5) as client:
            for byte in b"GET / HTTP/1.1\r\nhost: h\r\n\r\n":
                client.send(bytes([byte]))
            check(client.response().body == b"http1", "a request in single bytes")

    def not_http():
        with h1.Client(82, host=SERVICE, source=CLIENT, timeout=5) as client:
            client.send(b"\x00\x01nothing\r\n")
            check(client.ended(3), "what is no HTTP went somewhere")

    def by_port():
        subprocess.run(["iptables", "-t", "nat", "-I", "OUTPUT", "-p", "tcp", "-s", CLIENT, "-d", SERVICE, "--dport", "83:84", "-j", "REDIRECT", "--to-ports", str(plain)], check=True)
        check(body(SERVICE, 83) == "of 83" and body(SERVICE, 84) == "else", "the destination's port did not choose the chain")

    def direct():
        check(body("127.0.0.1", plain, source=None) == "else", "a connection that nobody redirected")

    def counted():
        bench.reaches("listener.%s_80.downstream_cx_total" % SERVICE, 1)
        check(bench.stat("listener.%s_80.downstream_cx_total" % SERVICE) == 1, "the listener of the address counts its connections")
        check(bench.stat("http_inspector.http11_found") >= 2 and bench.stat("http_inspector.http2_found") == 1 and bench.stat("http_inspector.http_not_found") == 1, "the inspector counts")
        bench.proxy.expect_at_rest(r"listener[.][0-9_.]*(downstream_cx_active|downstream_pre_cx_active)$")
    script.stories(("a redirected connection goes to the listener of its address", handed), ("what has no listener goes where it wanted", passed), ("a destination that refuses", nobody),
                   ("chains by what the inspector finds", sniffed), ("the inspector reads single bytes", sniffed_slowly), ("what is no HTTP goes on as bytes", not_http),
                   ("chains by the destination's port", by_port), ("connections that came by themselves", direct), ("statistics", counted))
    bench.stop()


def main():
    why = own_network()
    script = Script("redirect", __doc__)
    if why:
        script.tally.skip("redirected connections", why)
        return script.tally.close()
    return script.run(redirected=redirected)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
