#!/usr/bin/env python3
"""Clusters end to end: discovery (STATIC, STRICT_DNS, EDS by file), balancing, priorities and panic, pools, circuit breakers,
timeouts to connect, active health checks. Each story runs against Outrider, or with --proxy envoy against the reference."""
import json
import os
import socket
import re
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
import cluster_fields
import dns
import h1
import h2
from harness import check, wait_for

ARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
LOG = "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\t%RESPONSE_CODE%\t%RESPONSE_FLAGS%\t%RESPONSE_CODE_DETAILS%\t%UPSTREAM_HOST%\t%UPSTREAM_REQUEST_ATTEMPT_COUNT%\n"

tally = harness.Tally("clusters")
options = None


class Bench:
    """A proxy whose path /<cluster>/... leads to that cluster with the prefix cut off; `log` has a line a request."""

    def __init__(self, name, clusters, routes=None, concurrency=1, **bootstrap):
        self.folder = os.path.join(harness.work_folder(options.keep), name)
        os.makedirs(self.folder)
        self.port = harness.free_port()
        self.proxy = harness.Proxy(options.proxy, options.binary, self.folder, name=name, concurrency=concurrency)
        if options.proxy == "envoy":
            self.proxy.arguments.append("--use-dynamic-base-id")
        self.log = harness.LogFile(os.path.join(self.folder, "log"))
        made = []
        for each in clusters:
            action = {"cluster": each["name"], "prefix_rewrite": "/", "timeout": "8s"}
            action.update((routes or {}).get(each["name"], {}))
            made.append({"match": {"prefix": "/%s/" % each["name"]}, "route": action})
        hosts = [{"name": "all", "domains": ["*"], "routes": made}]
        logs = [harness.file_log(self.log.path, LOG)]
        config = harness.bootstrap([harness.listener("in", self.port, harness.hcm("in", hosts, logs))], clusters,
                                   self.proxy.admin_port, **bootstrap)
        self.proxy.start(config, listening=self.port)

    def client(self):
        return h1.Client(self.port)

    def get(self, path, client=None, method="GET", body=None, timeout=None, headers=()):
        own = client is None
        client = client or self.client()
        head = "%s %s HTTP/1.1\r\nhost: h\r\n" % (method, path)
        for name, value in headers:
            head += "%s: %s\r\n" % (name, value)
        if body is not None:
            head += "content-length: %d\r\n" % len(body)
        try:
            client.send(head.encode() + b"\r\n" + (body or b""))
            answer = client.response(method, timeout)
            check(answer is not None, "the connection ended without an answer to %s" % path)
            return answer
        finally:
            if own:
                client.close()

    def status(self, path, **more):
        return self.get(path, **more).status

    def who(self, path, count, client=None):
        """How many of `count` requests each upstream served, by its name; anything but 200 by its status."""
        found = {}
        for _ in range(count):
            answer = self.get(path, client)
            key = answer.get("x-served-by") if answer.status == 200 else answer.status
            found[key] = found.get(key, 0) + 1
        return found

    def line(self):
        return self.log.take(1)[0].split("\t")

    def lines_of(self, path):
        """All lines so far whose path begins so."""
        self.log.offset = 0
        return [l.decode().rstrip("\n").split("\t") for l in self.log.fresh() if l.decode().startswith(path)]

    def counters(self, wanted):
        """Counters (after all, not deltas) as expected; needs the admin interface."""
        wrong = {}

        def met():
            wrong.clear()
            now = self.proxy.stats("^cluster[.]")
            wrong.update({k: now.get(k, 0) for k, v in wanted.items() if now.get(k, 0) != v})
            return not wrong
        wait_for(met, 5, lambda: "counters %s, wanted %s" % (wrong, {k: wanted[k] for k in wrong}), pause=0.05)

    def stop(self):
        self.proxy.stop()


def parallel(jobs):
    """Runs the functions at once; their results in order. An exception is a result."""
    results = [None] * len(jobs)

    def one(i):
        try:
            results[i] = jobs[i]()
        except Exception as error:
            results[i] = error
    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(jobs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def endpoints(name, levels):
    """load_assignment: a list of (priority, [host]) with host a port or a dictionary; or a locality with its weight."""
    out = []
    for i, (priority, hosts, *more) in enumerate(levels):
        each = {"priority": priority, "locality": {"zone": "z%d" % i}, "lb_endpoints": []}
        if more:
            each["load_balancing_weight"] = more[0]
        for host in hosts:
            host = host if isinstance(host, dict) else {"port": host}
            item = {"endpoint": {"address": harness.address(host["port"], host.get("host", "127.0.0.1"))}}
            for key in ("health_status", "load_balancing_weight", "metadata"):
                if key in host:
                    item[key] = host[key]
            for key in ("health_check_config", "hostname"):
                if key in host:
                    item["endpoint"][key] = host[key]
            each["lb_endpoints"].append(item)
        out.append(each)
    return {"cluster_name": name, "endpoints": out}


def placed(name, levels, **more):
    return dict({"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": endpoints(name, levels)}, **more)


def http_options(common=None, http2=None, **more):
    """typed_extension_protocol_options"""
    made = {"@type": harness.HTTP_OPTIONS,
            "explicit_http_config": {"http_protocol_options": {}} if http2 is None else {"http2_protocol_options": http2}}
    if common:
        made["common_http_protocol_options"] = common
    made.update(more)
    return {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": made}}


# ---- balancing --------------------------------------------------------------------------------------------------

def balancing():
    a, b, c = (h1.Upstream(n) for n in "abc")
    ports = [u.port for u in (a, b, c)]
    bad = {"health_status": "UNHEALTHY"}

    def host(upstream, **more):
        return dict({"port": upstream.port}, **more)
    bench = Bench("balancing", [
        harness.cluster("rr", *ports),
        harness.cluster("weights", (a.port, 1), (b.port, 3)),
        harness.cluster("lr", a.port, b.port, lb_policy="LEAST_REQUEST"),
        harness.cluster("lrall", a.port, b.port, c.port, lb_policy="LEAST_REQUEST", least_request_lb_config={"choice_count": 10}),
        harness.cluster("lrw", (a.port, 1), (b.port, 3), lb_policy="LEAST_REQUEST"),
        harness.cluster("random", *ports, lb_policy="RANDOM"),
        placed("failover", [(0, [host(a, **bad)]), (1, [host(b)])]),
        placed("spill", [(0, [host(a), host(c, **bad)]), (1, [host(b)])]),
        placed("panic", [(0, [host(a, **bad), host(b, **bad)])]),
        placed("nopanic", [(0, [host(a, **bad)])], common_lb_config={"healthy_panic_threshold": {"value": 0}}),
        placed("degraded", [(0, [host(a, health_status="DEGRADED"), host(b)])]),
        placed("draining", [(0, [host(a, health_status="DRAINING"), host(b), host(c)])]),
        placed("zones", [(0, [host(a)], 1), (0, [host(b)], 3)], common_lb_config={"locality_weighted_lb_config": {}}),
        placed("none", []),
    ], concurrency=2)

    def round_robin():
        # Fresh connections land on either worker: the turn is the process's, not the worker's.
        found = bench.who("/rr/", 90)
        spread = 0 if options.proxy == "outrider" else 3
        check(set(found) == set("abc") and all(abs(n - 30) <= spread for n in found.values()), "spread %s" % found)

    def weights():
        found = bench.who("/weights/", 80)
        check(abs(found.get("a", 0) - 20) <= 2 and abs(found.get("b", 0) - 60) <= 2, "spread %s" % found)

    def least_request():
        # Three requests hang on one host; with all hosts sampled the others get everything.
        held = [bench.client() for _ in range(3)]
        for each in held:
            each.send(b"GET /lrall/hang HTTP/1.1\r\nhost: h\r\n\r\n")
            time.sleep(0.05)
        try:
            wait_for(lambda: sum(len(u.open_halves()) + sum(1 for x in u.connections if x.open and x.requests and
                                 x.requests[-1].target == "/hang") for u in (a, b, c)) >= 3, 3, "requests to hang")
            busy = {u.name.decode(): sum(1 for x in u.connections if x.open and x.requests and x.requests[-1].target == "/hang")
                    for u in (a, b, c)}
            check(all(n == 1 for n in busy.values()), "three requests at once were spread as %s" % busy)
        finally:
            for each in held:
                each.close(rst=True)

    def least_request_even():
        found = bench.who("/lr/", 120)
        check(min(found.get("a", 0), found.get("b", 0)) >= 35, "spread %s" % found)

    def least_request_weights():
        found = bench.who("/lrw/", 200)
        check(found.get("b", 0) > 1.6 * found.get("a", 0) > 0, "spread %s" % found)

    def random():
        found = bench.who("/random/", 150)
        check(set(found) == set("abc") and min(found.values()) >= 25, "spread %s" % found)

    def failover():
        check(bench.who("/failover/", 20) == {"b": 20}, "an unhealthy first priority got traffic")

    def spill():
        # 50 % healthy × 1.4 = 70 % stays on the first priority.
        found = bench.who("/spill/", 200)
        check("c" not in found and 115 <= found.get("a", 0) <= 165, "spread %s" % found)

    def panic():
        found = bench.who("/panic/", 20)
        check(found == {"a": 10, "b": 10} or (options.proxy == "envoy" and set(found) == set("ab")), "spread %s" % found)

    def no_panic():
        answer = bench.get("/nopanic/")
        check((answer.status, answer.body) == (503, b"no healthy upstream"), "%s %r" % (answer.status, answer.body))
        line = wait_for(lambda: bench.lines_of("/nopanic/"), 3, "a log line")[0]
        check(line[2:4] == ["UH", "no_healthy_upstream"], "logged %s" % line)

    def degraded():
        check(bench.who("/degraded/", 20)["b"] >= 10, "degraded hosts were preferred")

    def draining():
        found = bench.who("/draining/", 20)
        check("a" not in found, "a draining host got traffic: %s" % found)

    def zones():
        found = bench.who("/zones/", 120)
        check(20 <= found.get("a", 0) <= 40, "spread %s" % found)

    def nobody():
        answer = bench.get("/none/")
        check((answer.status, answer.body) == (503, b"no healthy upstream"), "%s %r" % (answer.status, answer.body))

    for title, story in (
            ("round robin takes turns over all workers", round_robin), ("round robin honours weights", weights),
            ("least request avoids busy hosts", least_request), ("least request is even among idle hosts", least_request_even),
            ("least request honours weights", least_request_weights), ("random reaches every host", random),
            ("the next priority takes over when the first is down", failover),
            ("a half healthy priority keeps 70 percent", spill), ("panic uses unhealthy hosts", panic),
            ("a panic threshold of 0 answers 503 UH", no_panic), ("degraded hosts serve last", degraded),
            ("draining hosts get no new requests", draining), ("localities get traffic by weight", zones),
            ("a cluster without hosts answers 503", nobody)):
        tally.run(title, story)
    bench.stop()


# ---- EDS by file ------------------------------------------------------------------------------------------------

def eds():
    a, b = h1.Upstream("a"), h1.Upstream("b")
    folder = harness.work_folder(options.keep)
    path = os.path.join(folder, "eds.json")

    def write(assignment, text=None):
        body = text if text is not None else json.dumps({"version_info": "1", "resources": [
            dict({"@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"}, **assignment)]})
        with open(path + ".new", "w") as out:
            out.write(body)
        os.rename(path + ".new", path)

    write(endpoints("service", [(0, [a.port])]))
    bench = Bench("eds", [{"name": "e", "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {
        "service_name": "service", "eds_config": {"resource_api_version": "V3", "path_config_source": {"path": path}}}}])

    def settles(want, seconds=5):
        last = {}

        def met():
            last.clear()
            last.update(bench.who("/e/", 8))
            return set(last) == want
        wait_for(met, seconds, lambda: "traffic to %s, last %s" % (want, last))

    def first():
        check(bench.who("/e/", 4) == {"a": 4}, "the first endpoints do not serve")

    def changed():
        write(endpoints("service", [(0, [a.port, b.port])]))
        settles({"a", "b"})

    def health():
        write(endpoints("service", [(0, [dict(port=a.port, health_status="UNHEALTHY"), b.port])]))
        settles({"b"})
        write(endpoints("service", [(0, [a.port, b.port])]))
        settles({"a", "b"})

    def nonsense():
        write(None, "{ this is no resource")
        time.sleep(0.3)
        check(set(bench.who("/e/", 6)) == {"a", "b"}, "a bad file changed the endpoints")
        write(endpoints("service", [(0, [b.port])]))
        settles({"b"})

    def emptied():
        write({"cluster_name": "service", "endpoints": []})
        settles({503})
        write(endpoints("service", [(0, [a.port])]))
        settles({"a"})

    for title, story in (("EDS: the first file serves", first), ("EDS: a host appears", changed),
                         ("EDS: health status takes a host out and back", health),
                         ("EDS: a broken file changes nothing, the next one does", nonsense),
                         ("EDS: no endpoints is 503, then back", emptied)):
        tally.run(title, story)
    bench.stop()


# ---- DNS --------------------------------------------------------------------------------------------------------

def dns_clusters():
    server = dns.Server()
    port = harness.free_port()
    hosts = {}
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        hosts[address] = h1.Upstream(address, host=address, port=port)
    six = None
    try:
        listening = socket.socket(socket.AF_INET6)
        listening.close()
        six = h1_six("::1", port)
    except OSError:
        pass

    def resolver(**more):
        return {"name": "cares", "typed_config": dict({"@type": ARES, "resolvers": [harness.address(server.port)]}, **more)}

    def named(name, host, **more):
        made = {"name": name, "type": "STRICT_DNS", "connect_timeout": "1s", "dns_lookup_family": "V4_ONLY",
                "dns_refresh_rate": "0.2s", "typed_dns_resolver_config": resolver(),
                "load_assignment": endpoints(name, [(0, [{"host": host, "port": port}])])}
        made.update(more)
        return made

    server.set("two.test", a=["127.0.0.1", "127.0.0.2"])
    server.set("moves.test", a=["127.0.0.1"])
    server.set("fails.test", a=["127.0.0.1"])
    server.set("gone.test", a=["127.0.0.1"])
    server.set("empty.test", a=["127.0.0.1"])
    server.set("ttl.test", a=["127.0.0.1"], ttl=1)
    server.set("both.test", a=["127.0.0.1"], aaaa=["::1"])
    server.set("six.test", aaaa=["::1"])
    server.set("alias.test", cname=("two.test", 60), a=["127.0.0.3"])
    server.set("link.test", cname=("two.test", 1), a=["127.0.0.1"], ttl=3000)
    server.set("old.test", a=["127.0.0.3"])
    server.set("tcp.test", a=["127.0.0.2"])
    server.set("many.test", a=["127.0.%d.%d" % (i // 200, i % 200 + 1) for i in range(100)])
    server.set("logical.test", a=["127.0.0.1", "127.0.0.2"])
    server.set("quiet.test", silent=True)
    old = named("old", "old.test")
    del old["typed_dns_resolver_config"]
    old["dns_resolution_config"] = {"resolvers": [harness.address(server.port)]}
    bench = Bench("dns", [
        named("two", "two.test"), named("moves", "moves.test"), named("fails", "fails.test", dns_failure_refresh_rate={
            "base_interval": "0.2s", "max_interval": "0.4s"}),
        named("gone", "gone.test"), named("empty", "empty.test"), named("unknown", "nowhere.test"),
        named("ttl", "ttl.test", respect_dns_ttl=True, dns_refresh_rate="300s"),
        named("link", "link.test", respect_dns_ttl=True, dns_refresh_rate="300s"),
        named("both", "both.test", dns_lookup_family="ALL"), named("auto", "both.test", dns_lookup_family="AUTO"),
        named("six", "six.test", dns_lookup_family="V6_ONLY"), named("preferred", "six.test", dns_lookup_family="V4_PREFERRED"),
        named("alias", "alias.test"), old,
        named("tcp", "tcp.test", typed_dns_resolver_config=resolver(dns_resolver_options={"use_tcp_for_dns_lookups": True})),
        named("many", "many.test"),
        named("logical", "logical.test", type="LOGICAL_DNS"),
        named("ip", "127.0.0.2"),
    ])

    def settles(path, want, seconds=6):
        last = {}

        def met():
            last.clear()
            last.update(bench.who(path, 6))
            return set(last) == want
        wait_for(met, seconds, lambda: "%s to be served by %s, last %s" % (path, want, last), pause=0.03)

    def both_addresses():
        settles("/two/", {"127.0.0.1", "127.0.0.2"})

    def moves():
        settles("/moves/", {"127.0.0.1"})
        server.set("moves.test", a=["127.0.0.3", "127.0.0.1"])
        settles("/moves/", {"127.0.0.1", "127.0.0.3"})
        server.set("moves.test", a=["127.0.0.3"])
        settles("/moves/", {"127.0.0.3"})

    def servfail():
        settles("/fails/", {"127.0.0.1"})
        server.set("fails.test", rcode=dns.SERVFAIL)
        before = server.count("fails.test")
        wait_for(lambda: server.count("fails.test") >= before + 3, 8, "the name to be asked again after failures")
        check(set(bench.who("/fails/", 4)) == {"127.0.0.1"}, "SERVFAIL emptied the cluster")
        server.set("fails.test", a=["127.0.0.2"])
        settles("/fails/", {"127.0.0.2"})

    def nxdomain():
        settles("/gone/", {"127.0.0.1"})
        server.set("gone.test", rcode=dns.NXDOMAIN)
        settles("/gone/", {503})
        server.set("gone.test", a=["127.0.0.1"])
        settles("/gone/", {"127.0.0.1"})

    def no_data():
        settles("/empty/", {"127.0.0.1"})
        server.set("empty.test", a=[])
        settles("/empty/", {503})

    def unknown():
        check(bench.status("/unknown/") == 503, "a name that does not exist serves")

    def ttl():
        settles("/ttl/", {"127.0.0.1"})
        server.set("ttl.test", a=["127.0.0.2"], ttl=300)
        settles("/ttl/", {"127.0.0.2"}, 4)
        count = server.count("ttl.test")
        time.sleep(1.3)
        check(server.count("ttl.test") == count, "asked again although the TTL is 300 s")

    def alias_ttl():
        if options.proxy == "envoy":
            return            # it looks at the address's TTL only
        settles("/link/", {"127.0.0.1"})
        server.set("link.test", cname=("two.test", 1), a=["127.0.0.3"], ttl=3000)
        settles("/link/", {"127.0.0.3"}, 4)

    def families():
        if six is None:
            tally.skip("AAAA", "no ::1 here")
            return
        settles("/both/", {"127.0.0.1", "::1"})
        settles("/auto/", {"::1"})
        settles("/six/", {"::1"})
        settles("/preferred/", {"::1"})

    def alias():
        settles("/alias/", {"127.0.0.3"})

    def old_field():
        settles("/old/", {"127.0.0.3"})

    def over_tcp():
        settles("/tcp/", {"127.0.0.2"})
        check(server.transports("tcp.test") == {"tcp"}, "asked over %s" % server.transports("tcp.test"))

    def truncated():
        answers = {bench.get("/many/").status for _ in range(6)}
        check(answers <= {200, 503} and "tcp" in server.transports("many.test"), "a truncated answer was not asked again over TCP")
        bench.log.skip()

    def logical():
        settles("/logical/", {"127.0.0.1"} if "127.0.0.1" in bench.who("/logical/", 1) else {"127.0.0.2"})

    def literal():
        settles("/ip/", {"127.0.0.2"})

    def malformed():
        server.set("moves.test", raw=b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + b"\xc0\x0c" * 20)
        before = server.count("moves.test")
        wait_for(lambda: server.count("moves.test") >= before + 2, 12, "the name to be asked again after nonsense")
        check(set(bench.who("/moves/", 4)) == {"127.0.0.3"}, "nonsense from the resolver changed the hosts")
        check(bench.proxy.alive(), "the proxy ended")

    for title, story in (
            ("DNS: all addresses of a name serve", both_addresses), ("DNS: addresses come and go", moves),
            ("DNS: SERVFAIL keeps the last good hosts and is asked again", servfail), ("DNS: NXDOMAIN empties, then back", nxdomain),
            ("DNS: a name without addresses empties", no_data), ("DNS: an unknown name is 503", unknown),
            ("DNS: respect_dns_ttl asks when the TTL ends and not before", ttl), ("DNS: lookup families", families),
            ("DNS: a CNAME is followed", alias), ("DNS: a CNAME's TTL counts, too", alias_ttl), ("DNS: dns_resolution_config works, too", old_field),
            ("DNS: use_tcp_for_dns_lookups", over_tcp), ("DNS: a truncated answer is asked again over TCP", truncated),
            ("DNS: LOGICAL_DNS uses one address", logical), ("DNS: an address needs no DNS", literal),
            ("DNS: malformed answers change nothing", malformed)):
        tally.run(title, story)
    bench.stop()


def h1_six(host, port):
    """An upstream on ::1, or OSError where there is none."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind((host, port))
    made = h1.Upstream.__new__(h1.Upstream)
    made.name, made.tls = host.encode(), None
    made.lock = threading.Lock()
    made.connections, made.live, made.flaky, made.closing = [], set(), {}, False
    made.listening = socket.create_server((host, port), family=socket.AF_INET6, backlog=1024)
    made.port = port
    threading.Thread(target=made._accept, daemon=True).start()
    return made


# ---- pools ------------------------------------------------------------------------------------------------------

class Scripted:
    """An HTTP/1 server that plays one function a connection: play(server, socket, number of the connection)."""

    def __init__(self, play):
        self.play, self.accepted, self.executed = play, 0, []
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listening.getsockname()[1]
        self.lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self.listening.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._one, args=(s, self.accepted), daemon=True).start()

    def _one(self, s, number):
        try:
            self.play(self, s, number)
        except OSError:
            pass
        finally:
            s.close()

    def request(self, s, seconds=10):
        """Method and id (the path) of the next request, read to its end; None at the end or after `seconds`."""
        s.settimeout(seconds)
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                more = s.recv(65536)
                if not more:
                    return None
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            length = [int(l.split(b":")[1]) for l in head.lower().split(b"\r\n") if l.startswith(b"content-length:")]
            while length and len(body) < length[0]:
                body += s.recv(65536)
        except socket.timeout:
            return None
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        return method, path

    def answer(self, s, seen):
        with self.lock:
            self.executed.append(seen)
        s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def pools():
    a = h1.Upstream("a")
    two, few, away, solo = h2.Upstream("two"), h2.Upstream("few", initial_settings=[(3, 2)]), h2.Upstream("away"), h2.Upstream("solo")

    def once(server, s, _number):
        # Serves one request; the connection then ends when the next one arrives, as in a race with an idle timeout.
        seen = server.request(s)
        if seen:
            server.answer(s, seen)
            server.request(s)

    def tight(server, s, _number):
        while True:
            seen = server.request(s, 0.08)       # an idle timeout that clients meet exactly
            if seen is None:
                return
            server.answer(s, seen)
    racing, timed = Scripted(once), Scripted(tight)
    bench = Bench("pools", [
        harness.cluster("reuse", a.port),
        harness.cluster("most", a.port, **http_options({"max_requests_per_connection": 2})),
        harness.cluster("oldmost", a.port, max_requests_per_connection=3),
        harness.cluster("idle", a.port, **http_options({"idle_timeout": "0.3s"})),
        harness.cluster("h2", two.port, **http_options(http2={})),
        harness.cluster("h2few", few.port, **http_options(http2={})),
        harness.cluster("h2most", two.port, **http_options({"max_requests_per_connection": 2}, http2={})),
        harness.cluster("h2idle", solo.port, **http_options({"idle_timeout": "0.3s"}, http2={})),
        harness.cluster("away", away.port, **http_options(http2={})),
        harness.cluster("racing", racing.port), harness.cluster("timed", timed.port),
    ])

    def fresh(upstream, jobs):
        """Connections that the jobs opened at the upstream, as requests a connection."""
        with upstream.lock:
            before = len(upstream.connections)
        jobs()
        with upstream.lock:
            return upstream.connections[before:]

    def reuse():
        made = fresh(a, lambda: bench.who("/reuse/", 10))
        check([len(c.requests) for c in made] == [10], "requests a connection: %s" % [len(c.requests) for c in made])
        # As many connections as requests at once, and no more.
        made = fresh(a, lambda: parallel([lambda: bench.get("/reuse/size/300000") for _ in range(8)]))
        check(len(made) <= 7, "%d new connections for 8 requests at once beside an idle one" % len(made))

    def most():
        for path, limit in (("/most/", 2), ("/oldmost/", 3)):
            made = fresh(a, lambda: bench.who(path, 6))
            check([len(c.requests) for c in made] == [limit] * (6 // limit), "%s: requests a connection: %s" % (path, [len(c.requests) for c in made]))
            wait_for(lambda: all(not c.open for c in made), 3, "used up connections to close")

    def idle():
        made = fresh(a, lambda: bench.get("/idle/"))
        check(made[0].open, "closed at once")
        wait_for(lambda: not made[0].open, 3, "the idle connection to close")
        made = fresh(a, lambda: bench.get("/idle/"))
        check(len(made) == 1, "no new connection after the old one closed")

    def closing():
        for _ in range(3):
            check(bench.status("/reuse/closing") == 200, "status")
        after = [c.requests[i + 1].target for c in a.connections for i, r in enumerate(c.requests[:-1]) if r.target == "/closing"]
        check(not after, "a connection was used after 'connection: close'")

    def multiplexed():
        before = two.connections
        held = [bench.client() for _ in range(20)]
        for each in held:
            each.send(b"GET /h2/hang HTTP/1.1\r\nhost: h\r\n\r\n")
        wait_for(lambda: sum(1 for r in two.since(0) if r.target == "/hang") >= 20, 3, "20 requests at the upstream")
        check(two.connections - before == 1, "20 requests at once took %d connections" % (two.connections - before))
        for each in held:
            each.close(rst=True)
        check(bench.status("/h2/") == 200, "the connection is of no use after 20 resets")

    def few_streams():
        results = parallel([lambda: bench.status("/h2few/size/100000") for _ in range(12)])
        check(results == [200] * 12, "statuses %s" % results)

    def h2_most():
        before = two.connections
        for _ in range(6):
            check(bench.status("/h2most/") == 200, "status")
        check(two.connections - before == 3, "6 requests took %d connections" % (two.connections - before))

    def h2_idle():
        check(bench.status("/h2idle/") == 200, "status")
        wait_for(lambda: solo.closed == 1, 3, "the idle connection to close")
        check(bench.status("/h2idle/") == 200 and solo.connections == 2, "no new connection after the old one closed")

    def goaway():
        before = away.connections
        for _ in range(4):
            check(bench.status("/away/goaway") == 200, "the answer before GOAWAY was lost")
        check(away.connections - before == 4, "a connection was used after GOAWAY")

    def raced_get():
        results = [bench.status("/racing/%d" % i) for i in range(20)]
        if options.proxy == "envoy":
            return        # without a retry policy it answers 503
        check(results == [200] * 20, "statuses %s" % results)
        paths = [p for _, p in racing.executed]
        check(len(paths) == len(set(paths)), "a request was answered twice")

    def raced_post():
        before = len(racing.executed)
        results = [bench.status("/racing/p%d" % i, method="POST", body=b"x") for i in range(20)]
        done = [p for m, p in racing.executed[before:] if m == "POST"]
        check(len(done) == len(set(done)), "a POST was executed twice")
        check(set(results) <= {200, 503} and results.count(200) == len(done), "%s, executed %d" % (results, len(done)))
        failed = [l for l in bench.lines_of("/racing/p") if l[1] == "503"]
        check(all(l[2] == "UC" for l in failed), "logged %s" % failed)

    def timed_race():
        # Each client asks again at the moment when its upstream connection times out.
        def one(number, method):
            seen = []
            with bench.client() as client:
                for i in range(25):
                    seen.append(bench.status("/timed/%s%d-%d" % (method, number, i), client=client, method=method,
                                             body=b"x" if method == "POST" else None))
                    time.sleep(0.0795 + 0.001 * (i % 2))
            return seen
        jobs = [lambda n=n, m=m: one(n, m) for n in range(4) for m in ("GET", "POST")]
        gets, posts = [], []
        for (n, m), result in zip([(n, m) for n in range(4) for m in ("GET", "POST")], parallel(jobs)):
            check(isinstance(result, list), "%s" % result)
            (gets if m == "GET" else posts).extend(result)
        if options.proxy == "outrider":
            check(set(gets) == {200}, "GETs failed %d times of %d: %s" % (len(gets) - gets.count(200), len(gets), [
                l for l in bench.lines_of("/timed/GET") if l[1] != "200"]))
        done = [p for m, p in timed.executed if m == "POST"]
        check(len(done) == len(set(done)), "a POST was executed twice")

    def counters():
        bench.counters({
            "cluster.most.upstream_cx_max_requests": 3, "cluster.most.upstream_cx_http1_total": 3, "cluster.oldmost.upstream_cx_max_requests": 2,
            "cluster.h2most.upstream_cx_max_requests": 3, "cluster.h2most.upstream_cx_http2_total": 3, "cluster.away.upstream_cx_close_notify": 4, "cluster.reuse.upstream_cx_close_notify": 3,
            "cluster.h2.upstream_cx_http2_total": 1, "cluster.h2.upstream_rq_total": 21, "cluster.h2.upstream_rq_tx_reset": 20,
            "cluster.h2.upstream_rq_200": 1, "cluster.h2.upstream_rq_active": 0})
        idle_now = bench.proxy.stats("idle_timeout")
        check(idle_now["cluster.idle.upstream_cx_idle_timeout"] >= 1 and idle_now["cluster.h2idle.upstream_cx_idle_timeout"] >= 1, "%s" % idle_now)

    for title, story in (
            ("HTTP/1: one connection serves one after another", reuse), ("max_requests_per_connection", most),
            ("HTTP/1: idle_timeout closes", idle), ("HTTP/1: connection: close is honoured", closing),
            ("HTTP/2: one connection serves many at once", multiplexed), ("HTTP/2: the peer's stream limit is kept", few_streams),
            ("HTTP/2: max_requests_per_connection", h2_most), ("HTTP/2: idle_timeout closes", h2_idle),
            ("HTTP/2: GOAWAY moves on to a new connection", goaway), ("pools count as the reference does", counters),
            ("a connection that ends as a GET arrives: asked once more on another", raced_get),
            ("a connection that ends as a POST arrives: 503, never executed twice", raced_post),
            ("requests that meet the upstream's idle timeout", timed_race)):
        tally.run(title, story)
    bench.stop()


# ---- circuit breakers -------------------------------------------------------------------------------------------

def breaker(**limits):
    return {"circuit_breakers": {"thresholds": [limits]}}


def breakers():
    a, two = h1.Upstream("a"), h2.Upstream("two")
    bench = Bench("breakers", [
        harness.cluster("cx", a.port, **breaker(max_connections=1, max_pending_requests=1)),
        harness.cluster("pending", a.port, **breaker(max_connections=1, max_pending_requests=0)),
        harness.cluster("rq", two.port, **breaker(max_requests=3), **http_options(http2={})),
        harness.cluster("rq1", a.port, **breaker(max_connections=1, max_requests=1, max_pending_requests=5)),
        harness.cluster("retries", a.port, **breaker(max_retries=0)),
        harness.cluster("high", a.port, circuit_breakers={"thresholds": [
            {"priority": "DEFAULT", "max_pending_requests": 0}, {"priority": "HIGH", "max_pending_requests": 5}]}),
    ], routes={"retries": {"retry_policy": {"retry_on": "5xx", "num_retries": 2}}, "high": {"priority": "HIGH"}})

    def hang(path, upstream_count, least):
        client = bench.client()
        client.send(("GET %s HTTP/1.1\r\nhost: h\r\n\r\n" % path).encode())
        wait_for(lambda: upstream_count() >= least, 3, "%s to reach the upstream" % path)
        return client

    def hung():
        return sum(1 for c in a.connections if c.open and c.requests and c.requests[-1].target.startswith("/hang"))

    def refused(path):
        answer = bench.get(path, timeout=3)
        check((answer.status, answer.body) == (503, b"upstream connect error or disconnect/reset before headers. reset reason: overflow"),
              "%s %r" % (answer.status, answer.body))
        check(answer.get("x-envoy-overloaded") == "true", "x-envoy-overloaded is %s" % answer.get("x-envoy-overloaded"))
        line = wait_for(lambda: bench.lines_of(path), 3, "a log line of %s" % path)[-1]
        check(line[2:4] == ["UO", "upstream_reset_before_response_started{overflow}"], "logged %s" % line)

    def connections():
        one = hang("/cx/hang", hung, 1)
        waiting = bench.client()
        waiting.send(b"GET /cx/ HTTP/1.1\r\nhost: h\r\n\r\n")
        time.sleep(0.2)
        refused("/cx/third")
        gauges = bench.proxy.stats("^cluster[.]cx[.]circuit_breakers[.]default")
        check(gauges.get("cluster.cx.circuit_breakers.default.cx_open") == 1 and
              gauges.get("cluster.cx.circuit_breakers.default.rq_pending_open") == 1, "gauges %s" % gauges)
        check(hung() == 1 and sum(1 for c in a.connections if c.open) == 1, "a second connection was made")
        one.close(rst=True)               # ends its upstream connection: the one that waits gets a new one
        answer = waiting.response()
        check(answer.status == 200, "who waited got %s" % answer.status)
        waiting.close()
        check(bench.status("/cx/") == 200, "the breaker stays open")

    def pending():
        refused("/pending/")

    def requests():
        def at_two():
            return sum(1 for r in two.since(0) if r.target.startswith("/hang") and r.reset is None)
        held = []
        for i in range(3):
            client = bench.client()
            client.send(b"GET /rq/hang HTTP/1.1\r\nhost: h\r\n\r\n")
            held.append(client)
            wait_for(lambda: at_two() >= i + 1, 3, "request %d to reach the upstream" % i)
        refused("/rq/fourth")
        held.pop().close(rst=True)
        wait_for(lambda: at_two() == 2, 3, "the request to be given up")
        check(bench.status("/rq/") == 200, "the breaker stays open")
        for each in held:
            each.close(rst=True)

    def waiting_is_no_request():
        # While requests wait for the only connection they count as pending, not as requests.
        one = hang("/rq1/hang", hung, 1)
        waiting = [bench.client() for _ in range(3)]
        for each in waiting:
            each.send(b"GET /rq1/ HTTP/1.1\r\nhost: h\r\n\r\n")
        time.sleep(0.2)
        one.close(rst=True)
        got = [each.response().status for each in waiting]
        check(got == [200, 200, 200], "who waited got %s" % got)
        for each in waiting:
            each.close()

    def retries():
        answer = bench.get("/retries/status/503")
        line = wait_for(lambda: bench.lines_of("/retries/"), 3, "a log line")[-1]
        check(answer.status == 503 and line[5] == "1" and line[2] == "UO", "retried without a permit: %s" % line)

    def priorities():
        check(bench.status("/high/") == 200, "the HIGH thresholds do not hold")

    def counters():
        bench.counters({
            "cluster.cx.upstream_rq_pending_overflow": 1, "cluster.cx.upstream_rq_503": 1, "cluster.cx.circuit_breakers.default.cx_open": 1,
            "cluster.cx.circuit_breakers.default.rq_pending_open": 0, "cluster.pending.upstream_rq_pending_overflow": 1,
            "cluster.rq.upstream_rq_active_overflow": 1, "cluster.rq1.upstream_rq_active_overflow": 0, "cluster.rq1.upstream_rq_pending_overflow": 0,
            "cluster.rq1.upstream_rq_200": 3, "cluster.retries.upstream_rq_retry_overflow": 1, "cluster.high.upstream_rq_pending_overflow": 0})

    for title, story in (
            ("max_connections and max_pending_requests", connections), ("max_pending_requests of 0", pending),
            ("max_requests", requests), ("requests that wait are no requests yet", waiting_is_no_request),
            ("max_retries of 0", retries), ("thresholds by priority", priorities),
            ("breakers count as the reference does", counters)):
        tally.run(title, story)
    bench.stop()

    wide = Bench("exact", [harness.cluster("rq", two.port, **breaker(max_requests=7), **http_options(http2={})),
                           harness.cluster("pend", 1, **breaker(max_pending_requests=4))], concurrency=3)

    def exact():
        clients = [wide.client() for _ in range(60)]
        base = two.mark()
        for each in clients:
            each.send(b"GET /rq/hang HTTP/1.1\r\nhost: h\r\n\r\n")
        refusals = 0
        for each in clients:
            try:
                answer = each.response(timeout=0.25)
                check(answer.status == 503, "status %s" % answer.status)
                refusals += 1
            except TimeoutError:
                pass
        there = len(two.since(base))
        check(there == 7 and refusals == 53, "%d reached the upstream, %d were refused; the limit is 7" % (there, refusals))
        for each in clients:
            each.close(rst=True)
    tally.run("max_requests is exact over all workers", exact)
    wide.stop()


# ---- connecting -------------------------------------------------------------------------------------------------

def black_hole():
    """A listening socket that accepts no more: connecting to it takes for ever. Returns what must be kept alive, and the port."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    kept = [s]
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        try:
            c.connect(s.getsockname())
        except BlockingIOError:
            pass
        kept.append(c)
    return kept, s.getsockname()[1]


def connecting():
    kept, hole = black_hole()
    refused = harness.free_port()
    bench = Bench("connecting", [
        harness.cluster("hole", hole, connect_timeout="0.3s"), harness.cluster("refused", refused),
        harness.cluster("holeh2", hole, connect_timeout="0.3s", **http_options(http2={})),
    ], routes={"hole": {}, "refused": {}})

    def expect(path, body, details, least=0.0, most=1.5):
        before = time.monotonic()
        answer = bench.get(path)
        took = time.monotonic() - before
        check((answer.status, answer.body.decode()) == (503, body), "%s %r" % (answer.status, answer.body))
        check(least <= took <= most, "took %.2f s" % took)
        line = wait_for(lambda: bench.lines_of(path), 3, "a log line")[-1]
        check(line[2:4] == ["UF", details], "logged %s" % line)

    def timeout():
        for path in ("/hole/", "/holeh2/"):
            expect(path, "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
                   "upstream_reset_before_response_started{connection_timeout}", 0.28)

    def refusal():
        answer = bench.get("/refused/")
        text = answer.body.decode()
        check(answer.status == 503 and text.startswith("upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"),
              "%s %r" % (answer.status, text))
        line = wait_for(lambda: bench.lines_of("/refused/"), 3, "a log line")[-1]
        check(line[2:4] == ["UF", "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"], "logged %s" % line)
    def counters():
        bench.counters({
            "cluster.hole.upstream_cx_connect_timeout": 1, "cluster.hole.upstream_cx_connect_fail": 1, "cluster.hole.upstream_rq_pending_failure_eject": 1,
            "cluster.hole.upstream_cx_http1_total": 1, "cluster.hole.upstream_rq_503": 1, "cluster.hole.upstream_cx_destroy_local": 1,
            "cluster.refused.upstream_cx_connect_fail": 1, "cluster.refused.upstream_cx_connect_timeout": 0, "cluster.refused.upstream_cx_destroy_remote": 1,
            "cluster.refused.upstream_rq_pending_failure_eject": 1, "cluster.holeh2.upstream_cx_http2_total": 1})
    tally.run("connect_timeout answers 503 UF", timeout)
    tally.run("a refused connection answers 503 UF", refusal)
    tally.run("failures to connect count as the reference does", counters)
    bench.stop()
    for s in kept:
        s.close()


# ---- active health checks ---------------------------------------------------------------------------------------

class Checked:
    """An HTTP/1 server with a health: `status` for /health (0: closes, -1: says nothing), "ok" for the rest. Counts both."""

    def __init__(self, name, port=0, body=b"ok"):
        self.name, self.status, self.body = name, 200, body
        self.checks, self.served, self.heads, self.connections = 0, 0, [], 0
        self.open_port(port)

    def open_port(self, port):
        self.listening = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self.listening.getsockname()[1]
        self.live = set()
        threading.Thread(target=self._accept, args=(self.listening,), daemon=True).start()

    def shut(self):
        """As a process that ends: nothing listens any more, and connections are reset."""
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for s in list(self.live):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self, listening):
        while True:
            try:
                s, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            self.live.add(s)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = s.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                if b" /health" in head:
                    self.checks += 1
                    self.heads.append(head)
                    if self.status == 0:
                        return
                    if self.status == -1:
                        continue
                    s.sendall(b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\n\r\n%s" % (self.status, len(self.body), self.body))
                else:
                    self.served += 1
                    s.sendall(b"HTTP/1.1 200 OK\r\nx-served-by: %s\r\ncontent-length: 2\r\n\r\nok" % self.name.encode())
        except OSError:
            pass
        finally:
            self.live.discard(s)
            s.close()


def health(http=None, tcp=None, **more):
    made = {"timeout": "0.2s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 2, "healthy_threshold": 2}
    if tcp is None:
        made["http_health_check"] = dict({"path": "/health"}, **(http or {}))
    else:
        made["tcp_health_check"] = tcp
    made.update(more)
    return {"health_checks": [made]}


def health_checks():
    a, b = Checked("a"), Checked("b")
    odd, quiet, named, other = Checked("odd"), Checked("quiet"), Checked("named"), Checked("other")
    moved, alone, off, eds_host = Checked("moved"), Checked("alone"), Checked("off"), Checked("eds")
    odd.status = 418
    plain = socket.create_server(("127.0.0.1", 0))
    two = h2.Upstream("two")

    def talk():
        while True:
            s, _ = plain.accept()

            def one(s=s):
                try:
                    if s.recv(100) == b"ping":
                        s.sendall(b"xxpongyy")
                    s.recv(100)
                except OSError:
                    pass
                s.close()
            threading.Thread(target=one, daemon=True).start()
    threading.Thread(target=talk, daemon=True).start()
    nothing = harness.free_port()
    lone = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
    bench = Bench("health", [
        harness.cluster("pair", a.port, b.port, **health()),
        harness.cluster("odd", odd.port, **health({"expected_statuses": [{"start": 418, "end": 419}]}), **lone),
        harness.cluster("quiet", quiet.port, **health(), **lone),
        harness.cluster("named", named.port, **health({"host": "checks.test", "path": "/health?full=1", "method": "OPTIONS",
                                                        "request_headers_to_add": [{"header": {"key": "x-check", "value": "yes"}}]})),
        placed("hosts", [(0, [{"port": nothing, "health_check_config": {"port_value": other.port, "hostname": "own.test"}}])],
               **health(), **lone),
        harness.cluster("tcp", plain.getsockname()[1], **health(tcp={"send": {"text": "70696E67"}, "receive": [{"text": "706F6E67"}]}), **lone),
        harness.cluster("tcpno", plain.getsockname()[1], **health(tcp={"send": {"text": "70696E67"}, "receive": [{"text": "6E6F"}]}), **lone),
        harness.cluster("connect", nothing, **health(tcp={}), **lone),
        harness.cluster("h2", two.port, **health({"codec_client_type": "HTTP2"}), **http_options(http2={}), **lone),
        harness.cluster("alone", alone.port, **health(reuse_connection=False), **lone),
        placed("off", [(0, [{"port": off.port, "health_check_config": {"disable_active_health_check": True}}])], **health()),
        placed("eds", [(0, [{"port": eds_host.port, "health_status": "UNHEALTHY"}])], **health(), **lone),
        harness.cluster("dead", moved.port, close_connections_on_host_health_failure=True, **health(), **lone),
    ])

    def flags(cluster, upstream):
        """What /clusters says of a host's health."""
        text = bench.proxy.admin("GET", "/clusters")[2].decode()
        mark = "%s::127.0.0.1:%d::health_flags::" % (cluster, upstream)
        return next((l[len(mark):] for l in text.splitlines() if l.startswith(mark)), None)

    def settles(path, want, seconds=5):
        last = {}

        def met():
            last.clear()
            last.update(bench.who(path, 6))
            return set(last) == want
        wait_for(met, seconds, lambda: "%s to be served by %s, last %s" % (path, want, last), pause=0.03)

    def out_and_back():
        settles("/pair/", {"a", "b"})
        check(flags("pair", a.port) == "healthy", "/clusters says %s" % flags("pair", a.port))
        a.status = 503
        settles("/pair/", {"b"})
        wait_for(lambda: flags("pair", a.port) == "/failed_active_hc", 2, lambda: "/clusters to say so: %s" % flags("pair", a.port))
        served = a.served
        bench.who("/pair/", 20)
        check(a.served == served, "a failed host got traffic")
        checks = a.checks
        a.status = 200
        settles("/pair/", {"a", "b"})
        check(a.checks >= checks + 2, "back after %d checks; healthy_threshold is 2" % (a.checks - checks))

    def one_timeout_is_none():
        settles("/quiet/", {"quiet"})
        before = quiet.checks
        quiet.status = -1
        wait_for(lambda: quiet.checks > before, 3, "a check")
        quiet.status = 200
        time.sleep(0.35)
        check(bench.status("/quiet/") == 200, "one missing answer took the host out; unhealthy_threshold is 2")
        quiet.status = -1
        settles("/quiet/", {503})
        quiet.status = 200
        settles("/quiet/", {"quiet"})

    def expected():
        settles("/odd/", {"odd"})
        odd.status = 200
        settles("/odd/", {503})

    def request_form():
        wait_for(lambda: named.heads, 3, "a check")
        lines = named.heads[0].decode().split("\r\n")
        check(lines[0] == "OPTIONS /health?full=1 HTTP/1.1", lines[0])
        check("host: checks.test" in lines and "x-check: yes" in lines and "user-agent: Envoy/HC" in lines, "%s" % lines)

    def own_address():
        wait_for(lambda: other.heads, 3, "a check at health_check_config's port")
        check(b"host: own.test" in other.heads[0], "%r" % other.heads[0])

    def tcp():
        wait_for(lambda: flags("tcp", plain.getsockname()[1]) == "healthy", 3, "the TCP check to pass")
        wait_for(lambda: flags("tcpno", plain.getsockname()[1]) == "/failed_active_hc/active_hc_timeout", 3, "a wrong answer to fail the check")
        check(flags("connect", nothing) == "/failed_active_hc", "a refused connection is healthy")

    def over_h2():
        settles("/h2/", {"two"})
        check(any(r.target == "/health" for r in two.since(0)), "no check over HTTP/2")

    def connections():
        before = alone.connections
        checks = alone.checks
        wait_for(lambda: alone.checks >= checks + 3, 3, "checks")
        check(alone.connections >= before + 3, "reuse_connection: false reuses")
        check(a.checks > 5 and a.connections < a.checks, "a connection for each check although reuse_connection is true")

    def switched_off():
        check(off.checks == 0 and bench.status("/off/") == 200, "a host that is not to be checked was, or serves nothing")

    def discovery_says():
        wait_for(lambda: eds_host.checks >= 2, 3, "checks")
        check(bench.status("/eds/") == 503, "EDS says unhealthy, checks healthy: it serves")
        check(flags("eds", eds_host.port) == "/failed_eds_health", "/clusters says %s" % flags("eds", eds_host.port))

    def process_dies():
        settles("/dead/", {"moved"})
        moved.shut()
        settles("/dead/", {503})
        moved.open_port(moved.port)
        settles("/dead/", {"moved"})

    def counters():
        now = bench.proxy.stats("^cluster[.]pair[.](health_check|membership)")
        check(now.get("cluster.pair.health_check.attempt", 0) >= now.get("cluster.pair.health_check.success", 0) > 0, "%s" % now)
        check(now.get("cluster.pair.health_check.failure", 0) > 0, "%s" % now)
        check(now.get("cluster.pair.membership_healthy") == 2 == now.get("cluster.pair.membership_total"), "%s" % now)

    for title, story in (
            ("health: out at the threshold, no traffic, back at the threshold", out_and_back),
            ("health: one missing answer is not enough", one_timeout_is_none), ("health: expected_statuses", expected),
            ("health: method, path, host and headers of the request", request_form),
            ("health: a host's own port and name", own_address), ("health: TCP with send and receive", tcp),
            ("health: over HTTP/2", over_h2), ("health: reuse_connection", connections),
            ("health: disable_active_health_check", switched_off), ("health: discovery's word counts, too", discovery_says),
            ("health: a process that ends and comes back", process_dies), ("health: counters", counters)):
        tally.run(title, story)
    bench.stop()


# ---- every field is acted on, reported or refused ---------------------------------------------------------------

def fields():
    if options.proxy != "outrider":
        return
    folder = os.path.join(harness.work_folder(options.keep), "fields")
    os.makedirs(folder)

    def validate(number, more):
        made = harness.cluster("c", 8080)
        made.update(more)
        path = os.path.join(folder, "%d.json" % number)
        with open(path, "w") as out:
            json.dump({"static_resources": {"clusters": [made]}}, out)
        done = subprocess.run([options.binary, "--mode", "validate", "-c", path, "-l", "warning"], timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def named(path, text):
        """The field's own path stands in the text; * is the key of an extension."""
        parts = ["static_resources.clusters[0]." + p if i == 0 else p for i, p in enumerate(path.split(".*."))]
        return re.search(r"\S+".join(re.escape(p) for p in parts), text) is not None

    def table(title, rows, verdict):
        def story():
            wrong = []
            results = []
            for start in range(0, len(rows), 4):
                part = list(rows.items())[start:start + 4]
                results += zip([p for p, _ in part], parallel([lambda n=start + i, m=m: validate(n, m) for i, (_, m) in enumerate(part)]))
            for path, result in results:
                code, said = result
                got = "refused" if code else "reported" if "is set but has no effect" in said else "acted on"
                if got != verdict or (got != "acted on" and not named(path, said)):
                    wrong.append("%s is %s: %s" % (path, got, said.strip()[-160:]))
            check(not wrong, "; ".join(wrong))
        tally.run(title % len(rows), story)
    table("%d fields of a cluster are acted on", cluster_fields.ACTED_ON, "acted on")
    table("%d fields of a cluster are reported as without effect", cluster_fields.REPORTED, "reported")
    table("%d fields of a cluster are refused by name", cluster_fields.REFUSED, "refused")


GROUPS = {"balancing": balancing, "eds": eds, "dns": dns_clusters, "pools": pools, "breakers": breakers, "connecting": connecting,
          "health": health_checks, "fields": fields}


def main():
    global options
    options = harness.options(__doc__, proxy_choice=True)
    harness.bound(150)
    for name, group in GROUPS.items():
        if not options.only or name in options.only.split(","):
            group()
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
