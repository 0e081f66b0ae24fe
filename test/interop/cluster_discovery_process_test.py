#!/usr/bin/env python3
"""Where the hosts of a cluster come from: EDS by file, STRICT_DNS and LOGICAL_DNS. Runs against Outrider, or with --proxy envoy against
the reference."""
import json
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
import dns
import h1
from bench import ClusterBench, Script, endpoints
from harness import check, wait_for

ARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


def eds(script):
    a, b = h1.Upstream("a"), h1.Upstream("b")
    path = os.path.join(script.folder("eds-file"), "eds.json")

    def write(assignment, text=None):
        body = text if text is not None else json.dumps({"version_info": "1", "resources": [
            dict({"@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"}, **assignment)]})
        with open(path + ".new", "w") as out:
            out.write(body)
        os.rename(path + ".new", path)

    write(endpoints("service", [(0, [a.port])]))
    source = {"resource_api_version": "V3", "path_config_source": {"path": path}}
    bench = ClusterBench(script, "eds", [{"name": "e", "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {
        "service_name": "service", "eds_config": source}}, {
            "name": "cut", "type": "EDS", "connect_timeout": "1s", "common_lb_config": {"close_connections_on_host_set_change": True},
            "eds_cluster_config": {"service_name": "service", "eds_config": source}}], log_level="warning")

    def settles(want):
        bench.settles("/e/", want, requests=8)

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
        if script.outrider:
            wait_for(lambda: "not updated" in bench.proxy.said(), 5, "the file to be refused")
        else:
            bench.reaches("cluster.e.update_failure", 1)
        check(set(bench.who("/e/", 6)) == {"a", "b"}, "a bad file changed the endpoints")
        write(endpoints("service", [(0, [b.port])]))
        settles({"b"})

    def connections_follow():
        write(endpoints("service", [(0, [a.port])]))
        bench.settles("/e/", {"a"})
        bench.settles("/cut/", {"a"})
        kept, cut = bench.stat("cluster.e.upstream_cx_active"), bench.stat("cluster.cut.upstream_cx_active")
        check(kept >= 1 and cut >= 1, "no connections to look at: %d and %d" % (kept, cut))
        gone, lost = bench.stat("cluster.cut.upstream_cx_destroy_local"), bench.stat("cluster.e.upstream_cx_destroy_local")
        write(endpoints("service", [(0, [a.port, b.port])]))
        bench.reaches("cluster.cut.upstream_cx_destroy_local", gone + cut)
        bench.settles("/e/", {"a", "b"})
        check(bench.stat("cluster.e.upstream_cx_destroy_local") == lost, "a cluster that does not ask for it lost connections")

    def emptied():
        write({"cluster_name": "service", "endpoints": []})
        settles({503})
        write(endpoints("service", [(0, [a.port])]))
        settles({"a"})

    script.stories(("EDS: the first file serves", first), ("EDS: a host appears", changed),
                   ("EDS: health status takes a host out and back", health),
                   ("EDS: a broken file changes nothing, the next one does", nonsense),
                   ("EDS: close_connections_on_host_set_change closes what is idle", connections_follow),
                   ("EDS: no endpoints is 503, then back", emptied))
    bench.stop()


def dns_clusters(script):
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
    bench = ClusterBench(script, "dns", [
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

    settles = bench.settles

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
        settles("/ttl/", {"127.0.0.2"})
        count, others = server.count("ttl.test"), server.count("two.test")
        # The old TTL was one second; a name that is asked for every 0.2 s is the clock.
        wait_for(lambda: server.count("two.test") >= others + 8, 15, "another name to be asked for")
        check(server.count("ttl.test") == count, "asked again although the TTL is 300 s")

    def alias_ttl():
        if not script.outrider:
            return            # it looks at the address's TTL only
        settles("/link/", {"127.0.0.1"})
        server.set("link.test", cname=("two.test", 1), a=["127.0.0.3"], ttl=3000)
        settles("/link/", {"127.0.0.3"})

    def families():
        if six is None:
            script.tally.skip("AAAA", "no ::1 here")
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

    script.stories(
        ("DNS: all addresses of a name serve", both_addresses), ("DNS: addresses come and go", moves),
        ("DNS: SERVFAIL keeps the last good hosts and is asked again", servfail), ("DNS: NXDOMAIN empties, then back", nxdomain),
        ("DNS: a name without addresses empties", no_data), ("DNS: an unknown name is 503", unknown),
        ("DNS: respect_dns_ttl asks when the TTL ends and not before", ttl), ("DNS: lookup families", families),
        ("DNS: a CNAME is followed", alias), ("DNS: a CNAME's TTL counts, too", alias_ttl), ("DNS: dns_resolution_config works, too", old_field),
        ("DNS: use_tcp_for_dns_lookups", over_tcp), ("DNS: a truncated answer is asked again over TCP", truncated),
        ("DNS: LOGICAL_DNS uses one address", logical), ("DNS: an address needs no DNS", literal),
        ("DNS: malformed answers change nothing", malformed))
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


def main():
    return Script("discovery", __doc__).run(eds=eds, dns=dns_clusters)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
