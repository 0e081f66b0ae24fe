#!/usr/bin/env python3
"""Consistent hashing beside Envoy: both proxies have the same hosts, and must send every key to the same one of them. Hash policies
of every kind, rings and maglev tables by weight, name, locality and priority; cookies that are made; loads that are bounded."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
import h1
from bench import placed
from harness import check

POLICIES = "type.googleapis.com/envoy.extensions.load_balancing_policies."
NAMES = "abcdefg"


def by_header(name="x-key", **more):
    return dict({"header": {"header_name": name}}, **more)


def by_cookie(name, **more):
    return {"cookie": dict({"name": name}, **more)}


HASHES = {
    "header": [by_header()],
    "rewritten": [{"header": {"header_name": "x-key", "regex_rewrite": {"pattern": {"regex": "[0-9]+"}, "substitution": "#"}}}],
    "path": [by_header(":path")], "authority": [by_header(":authority")], "method": [by_header(":method")],
    "added": [by_header("x-added")],
    "query": [{"query_parameter": {"name": "q"}}],
    "source": [{"connection_properties": {"source_ip": True}}],
    "cookie": [by_cookie("c")],
    "two": [by_header("x-key"), {"query_parameter": {"name": "q"}}],
    "same": [by_header("x-key"), by_header("x-key")],
    "terminal": [by_header("x-key", terminal=True), {"query_parameter": {"name": "q"}}],
    "made": [by_cookie("c", ttl="60s", path="/p")], "session": [by_cookie("c", ttl="0s")],
    "attributes": [by_cookie("c", ttl="5s", attributes=[{"name": "SameSite", "value": "Strict"}, {"name": "Secure"}])],
}


class Pair:
    """Envoy and Outrider with the same clusters, hosts and routes."""

    def __init__(self, binaries, folder):
        self.upstreams = {n: h1.Upstream(n) for n in NAMES}
        p = {n: u.port for n, u in self.upstreams.items()}
        ports = [p[n] for n in NAMES]
        weighted = [(port, i + 1) for i, port in enumerate(ports)]
        named = [{"port": port, "hostname": "host-%d" % i} for i, port in enumerate(ports)]
        bad = {"health_status": "UNHEALTHY"}

        def maglev(size=None):
            return {"lb_policy": "MAGLEV", **({"maglev_lb_config": {"table_size": size}} if size else {})}

        def ring(**config):
            return {"lb_policy": "RING_HASH", **({"ring_hash_lb_config": config} if config else {})}

        def by_policy(kind, **fields):
            return {"load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "p", "typed_config": dict(
                {"@type": POLICIES + kind}, **fields)}}]}}
        own_name = {"common_lb_config": {"consistent_hashing_lb_config": {"use_hostname_for_hashing": True}}}
        zones = [(0, [{"port": port} for port in ports[:2]], 3), (0, [{"port": port} for port in ports[2:]], 1)]
        unwell = [(0, [dict({"port": ports[0]}, **bad), {"port": ports[1]}, {"port": ports[2]}]), (1, [{"port": port} for port in ports[3:]])]
        by_zone = {"common_lb_config": {"locality_weighted_lb_config": {}}}
        self.clusters = [
            harness.cluster("ring", *ports, **ring()), harness.cluster("smallring", *ports, **ring(minimum_ring_size=10, maximum_ring_size=20)),
            harness.cluster("murmur", *ports, **ring(hash_function="MURMUR_HASH_2", minimum_ring_size=100)),
            harness.cluster("ringweights", *weighted, **ring(minimum_ring_size=64)),
            harness.cluster("maglev", *ports, **maglev()), harness.cluster("maglevweights", *weighted, **maglev(251)),
            harness.cluster("reversed", *ports[::-1], **maglev(251)),
            placed("ringnames", [(0, named)], type="STRICT_DNS", **ring(), **own_name),
            placed("maglevnames", [(0, named)], type="STRICT_DNS", **maglev(), **own_name),
            placed("ringzones", zones, **ring(), **by_zone), placed("maglevzones", zones, **maglev(), **by_zone),
            placed("unwellring", unwell, **ring()), placed("unwellmaglev", unwell, **maglev(251)),
            placed("panic", [(0, [dict({"port": port}, **(bad if i < 5 else {})) for i, port in enumerate(ports)])], **ring()),
            harness.cluster("typedring", *ports, **by_policy("ring_hash.v3.RingHash", minimum_ring_size=128, hash_function="XX_HASH")),
            harness.cluster("typedmaglev", *ports, **by_policy("maglev.v3.Maglev", table_size=1009)),
            harness.cluster("bounded", *ports, **ring(), common_lb_config={"consistent_hashing_lb_config": {"hash_balance_factor": 150}}),
            harness.cluster("boundedmaglev", *weighted, **maglev(), common_lb_config={"consistent_hashing_lb_config": {"hash_balance_factor": 110}}),
        ]
        self.sides = {kind: self.start(kind, binary, folder) for kind, binary in binaries.items()}

    def start(self, kind, binary, folder):
        where = os.path.join(folder, kind)
        os.mkdir(where)
        proxy = harness.Proxy(kind, binary, where, concurrency=1, like_envoy=True)
        port = harness.free_port()
        routes = [{"match": {"prefix": "/%s/" % c["name"]}, "route": {"cluster": c["name"], "prefix_rewrite": "/", "hash_policy": HASHES["header"]}}
                  for c in self.clusters]
        for name, policy in HASHES.items():
            routes.append({"match": {"prefix": "/by-%s/" % name}, "route": {"cluster": "ring", "prefix_rewrite": "/", "hash_policy": policy}})
        hcm = harness.hcm("in", [{"name": "all", "domains": ["*"], "routes": routes,
                                  "request_headers_to_add": [{"header": {"key": "x-added", "value": "%REQ(x-key)%"}}]}])
        proxy.start(harness.bootstrap([harness.listener("in", port, hcm)], self.clusters, proxy.admin_port), listening=port)
        proxy.port = port
        return proxy

    def answer(self, kind, path, headers=(), client=None, method="GET", host="h"):
        own = client is None
        client = client or h1.Client(self.sides[kind].port)
        try:
            client.send(("%s %s HTTP/1.1\r\nhost: %s\r\n%s\r\n" % (method, path, host, "".join("%s: %s\r\n" % h for h in headers))).encode())
            got = client.response(method)
            check(got is not None and got.status == 200, "%s answered %s" % (path, got and got.status))
            return got
        finally:
            if own:
                client.close()

    def choices(self, kind, requests):
        with h1.Client(self.sides[kind].port) as client:
            return [self.answer(kind, *r, client=client).get("x-served-by") for r in requests]

    def equal(self, requests, least=2):
        """Both choose alike for each of the requests, and not always the same host."""
        found = {kind: self.choices(kind, requests) for kind in self.sides}
        wrong = [(r, e, o) for r, e, o in zip(requests, found["envoy"], found["outrider"]) if e != o]
        check(not wrong, "%d of %d go elsewhere: (request, envoy, outrider) %s" % (len(wrong), len(requests), wrong[:3]))
        check(len(set(found["envoy"])) >= least, "only %s were used" % set(found["envoy"]))


def keys(path, count=120, name="x-key"):
    return [(path, [(name, "key-%d" % i)]) for i in range(count)]


def cookies(pair, path):
    """A made cookie: the same text but for its value, which leads to the host that gave it."""
    texts = {}
    for kind in pair.sides:
        with h1.Client(pair.sides[kind].port) as client:
            first = pair.answer(kind, path, client=client)
            text = [v for n, v in first.headers if n.lower() == "set-cookie"]
            check(len(text) == 1, "%s sent %s" % (kind, text))
            value = text[0].split('"')[1]
            check(len(value) == 16 and all(c in "0123456789abcdef" for c in value), "the cookie is %s" % text[0])
            again = pair.answer(kind, path, client=client)
            check([v for n, v in again.headers if n.lower() == "set-cookie"] == text, "another request of the connection got another cookie")
            for written in (value, '"%s"' % value):
                back = pair.answer(kind, path, [("cookie", "x=1; c=%s; y=2" % written)])
                check(back.get("x-served-by") == first.get("x-served-by") == again.get("x-served-by"), "the cookie led elsewhere")
                check(not [v for n, v in back.headers if n.lower() == "set-cookie"], "a cookie was sent to who had one")
        texts[kind] = text[0].replace(value, "<value>")
        pair.equal([(path, [("cookie", "c=%s%d" % (value, i))]) for i in range(20)])
    check(texts["envoy"] == texts["outrider"], "%s" % texts)


def bounded(pair, path):
    """Requests of one key that hang: they spill over the same hosts in the same order."""
    orders = {}
    for kind in pair.sides:
        held, order = [], []
        try:
            for _ in range(12):
                marks = {n: u.mark() for n, u in pair.upstreams.items()}
                client = h1.Client(pair.sides[kind].port)
                held.append(client)
                client.send(("GET %shang HTTP/1.1\r\nhost: h\r\nx-key: one\r\n\r\n" % path).encode())

                def arrived():
                    return [n for n, u in pair.upstreams.items() if u.since(marks[n])[0]]
                order += harness.wait_for(arrived, 5, "a request to arrive")
        finally:
            for client in held:
                client.close(rst=True)
        orders[kind] = order
    check(orders["envoy"] == orders["outrider"], "%s" % orders)
    check(len(set(orders["envoy"])) > 2, "it did not spill: %s" % orders["envoy"])


def gauges(pair):
    """What rings and tables are made of, by name."""
    found = {kind: proxy.stats(r"(ring_hash|maglev)_lb[.]") for kind, proxy in pair.sides.items()}
    wrong = {n: (v, found["outrider"].get(n)) for n, v in found["envoy"].items() if found["outrider"].get(n) != v}
    check(not wrong and len(found["envoy"]) == len(found["outrider"]) > 30, "(envoy, outrider) %s" % wrong)


def main():
    chosen = harness.options(__doc__)
    harness.bound(150)
    tally = harness.Tally("hashing")
    envoy = chosen.envoy or harness.installed_envoy()
    if not envoy or not chosen.outrider:
        tally.skip("hashing beside Envoy", "no envoy; tools/setup installs it" if chosen.outrider else "no outrider")
        return tally.close()
    pair = Pair({"envoy": envoy, "outrider": chosen.outrider}, harness.work_folder(chosen.keep))
    for c in pair.clusters:
        if "bounded" not in c["name"]:
            tally.run("cluster " + c["name"], pair.equal, keys("/%s/" % c["name"]))
    for name in ("header", "rewritten", "added"):
        tally.run("hash of " + name, pair.equal, keys("/by-%s/" % name), 1 if name == "rewritten" else 2)
    tally.run("several fields", pair.equal, [("/by-header/", [("x-key", "b%d" % i), ("x-key", "a"), ("x-key", "c")]) for i in range(40)])
    tally.run("several fields in another order", pair.equal, [("/by-header/", [("x-key", "c"), ("x-key", "a"), ("x-key", "b%d" % i)]) for i in range(40)])
    tally.run("path", pair.equal, [("/by-path/%d?x=%d" % (i, i), ()) for i in range(60)])
    tally.run("query parameter", pair.equal, [("/by-query/?a=1&q=%d&q=x" % i, ()) for i in range(60)] + [("/by-query/?q=%%2%d" % i, ()) for i in range(5)] +
              [("/by-query/?q", ()), ("/by-query/?q=", ()), ("/by-query/?q=a=b", ())])
    tally.run("source address", pair.equal, [("/by-source/", ())] * 5, 1)
    tally.run("authority and method", pair.equal, [("/by-authority/", ()), ("/by-method/", ())], 1)
    tally.run("cookie", pair.equal, [("/by-cookie/", [("cookie", "a=b; c=%d; d=e" % i)]) for i in range(40)] + [("/by-cookie/", [("cookie", 'c="q%d"' % i)]) for i in range(9)])
    tally.run("two policies", pair.equal, [("/by-two/?q=%d" % (i % 7), [("x-key", "k%d" % i)]) for i in range(60)])
    tally.run("the same policy twice", pair.equal, keys("/by-same/", 40))
    tally.run("a terminal policy", pair.equal, [("/by-terminal/?q=%d" % i, [("x-key", "k")]) for i in range(20)], 1)
    for name in ("made", "session", "attributes"):
        tally.run("a cookie is made: " + name, cookies, pair, "/by-%s/" % name)
    for name in ("bounded", "boundedmaglev"):
        tally.run("loads are bounded: " + name, bounded, pair, "/%s/" % name)
    tally.run("gauges of rings and tables", gauges, pair)
    for proxy in pair.sides.values():
        proxy.stop()
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
