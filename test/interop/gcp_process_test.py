#!/usr/bin/env python3
"""go-control-plane, a control plane that nobody here wrote, drives the real binary: ADS and a stream a type, both variants.

Snapshots change under load; every answer to it is checked for what it acknowledges. Needs a Go toolchain that can fetch the
modules of gcp/go.mod; without one everything is skipped and says why.
"""
import json
import subprocess
import sys
import time

import harness
import xds
from harness import check, wait_for

CHANGES = r"(listener|cluster)_(added|modified|removed|in_place_updated)$|listener_in_place_updated$"


class World:
    def __init__(self, chosen, folder, name, delta, own_streams, ads=True):
        self.delta = delta
        self.source = xds.source_of("DELTA_GRPC" if delta else "GRPC") if own_streams else xds.ADS
        self.one, self.two = xds.Backend("one"), xds.Backend("two")
        self.port, self.tls_port = harness.free_port(), harness.free_port()
        # The cache's ADS mode answers a named request only if it lists all names; of a stream a type it knows nothing.
        self.flags = ["-ads"] if ads and not own_streams else []
        self.plane = xds.Gcp(*self.flags)
        self.proxy = harness.Proxy("outrider", chosen.outrider, folder, name=name, log_level="info")
        self.own_streams = own_streams

    def basic(self, web, other=None):
        other = other or self.two
        return [xds.eds_cluster("web", self.source), xds.eds_cluster("other", self.source),
                xds.endpoints("web", web.port), xds.endpoints("other", other.port),
                xds.listener("in", self.port, xds.rds_hcm("in", "main", self.source)),
                xds.routes("main", xds.route("/other", "other"), xds.route("/", "web"))]

    def start(self):
        self.proxy.start(xds.bootstrap(self.proxy, self.plane.port, self.delta, self.own_streams))
        return self

    def serves(self, wanted, path="/", port=None, headers=(), seconds=10):
        got = [None]

        def there():
            got[0] = xds.answers(port or self.port, path, headers)
            return got[0] == (200, wanted)
        wait_for(there, seconds, lambda: "%s from %s, got %s; events: %s; the proxy said: %s" % (
            wanted, path, got[0], self.plane.events[-4:], self.proxy.said()[-1200:]))

    def stop(self):
        alive = self.proxy.alive()
        if self.proxy.child is not None:
            self.proxy.child.kill()
            self.proxy.child.wait()
        self.plane.stop()
        check(alive, "the proxy died: " + self.proxy.said()[-2000:])


def follows(chosen, folder, name, delta, own_streams):
    world = World(chosen, folder, name, delta, own_streams)
    plane = world.plane
    plane.put(world.basic(world.one))
    try:
        world.start()
        world.serves("one")
        world.serves("two", "/other")
        for kind in ("CDS", "EDS", "LDS", "RDS"):
            plane.expect_ack(kind)
        opens = [e for e in plane.events if e["event"] == "open"]
        check(all(e["delta"] == delta for e in opens), str(opens))
        check(len(opens) == (4 if own_streams else 1), "streams: %s" % opens)
        first = {}
        for request in [e for e in plane.events if e["event"] == "request"]:
            first.setdefault(request["stream"], request)
            # go-control-plane fills it in again for later requests of the state of the world.
            check(not delta or request["nodes"] == 1, "the node comes once a stream, in the first request: %s" % request)
        check(all(e["agent"] == "envoy" for e in first.values()), str(first))
        eds = plane.requests("EDS")
        names = set(name for e in eds for name in (e["names"] or []))
        check(names == {"web", "other"}, "EDS names: %s" % eds)

        load = xds.Load(world.port)
        mark = plane.mark()
        plane.put(world.basic(world.two))                                   # endpoints
        world.serves("two")
        plane.expect_ack("EDS", mark)
        mark = plane.mark()
        changed = world.basic(world.two)
        changed[5] = xds.routes("main", xds.route("/", "other"))            # routes
        changed[3] = xds.endpoints("other", world.one.port)
        plane.put(changed)
        world.serves("one")
        plane.expect_ack("RDS", mark)
        mark = plane.mark()
        more = harness.free_port()
        added = changed + [xds.listener("more", more, xds.rds_hcm("more", "second", world.source)),
                           xds.routes("second", xds.route("/", "third")),
                           xds.eds_cluster("third", world.source), xds.endpoints("third", world.two.port)]
        plane.put(added)                                                    # a listener with its routes and its cluster
        world.serves("two", port=more)
        plane.expect_ack("LDS", mark)
        plane.put(changed)                                                  # and all of it goes
        wait_for(lambda: xds.answers(more) is None, 10, "the listener to be gone")
        wait_for(lambda: world.proxy.stats("cluster_manager.cluster_removed")["cluster_manager.cluster_removed"] == 1, 10, "the cluster")
        load.end()
        refused = [e for e in plane.events if e["event"] == "request" and e["error"]]
        check(not refused, "refused: %s" % refused[:2])
    finally:
        world.stop()


def refuses(chosen, folder, delta):
    world = World(chosen, folder, "refuses-%s" % delta, delta, False)
    plane = world.plane
    plane.put(world.basic(world.one))
    try:
        world.start()
        world.serves("one")
        plane.expect_ack("RDS")
        load = xds.Load(world.port)
        mark = plane.mark()
        good = [xds.eds_cluster("c%d" % i) for i in range(9)] + [xds.endpoints("c%d" % i, world.two.port) for i in range(9)]
        bad = xds.eds_cluster("bad", circuit_breakers={"thresholds": [{"retry_budget": {"budget_percent": {"value": 400}}}]})
        version = plane.put(world.basic(world.one) + good + [bad])
        nack = plane.expect_nack("CDS", mark)
        check("bad" in nack["error"] and "circuit_breakers.thresholds[0].retry_budget.budget_percent.value" in nack["error"], str(nack))
        check("c3" not in nack["error"], str(nack))
        if not delta:
            check(nack["version"] != version, "a NACK names the version before: %s" % nack)
        wait_for(lambda: world.proxy.stats("active_clusters")["cluster_manager.active_clusters"] == 12, 10,
                 lambda: "nine more clusters: %s" % world.proxy.stats("active_clusters|warming_clusters"))
        # A state-of-the-world server sends again what was refused, again and again, so responses are told by their version.
        mark = plane.mark()
        version = plane.put(world.basic(world.one))
        plane.expect_ack("CDS", mark, version=None if delta else version)
        mark = plane.mark()
        spoiled = world.basic(world.one)
        spoiled[5] = xds.routes("main", {"match": {"safe_regex": {"regex": "("}}, "route": {"cluster": "web"}})
        plane.put(spoiled)
        nack = plane.expect_nack("RDS", mark)
        check("virtual_hosts[0].routes[0].match.safe_regex.regex" in nack["error"], str(nack))
        world.serves("one")
        load.end()
    finally:
        world.stop()


def restarts(chosen, folder, delta):
    world = World(chosen, folder, "restarts-%s" % delta, delta, False)
    resources = world.basic(world.one)
    world.plane.put(resources)
    try:
        world.start()
        world.serves("one")
        world.plane.expect_ack("RDS")
        load = xds.Load(world.port)
        pattern = r"_modified$|parts_rebuilt|pools_drained|cluster_(added|removed)"
        before = world.proxy.stats(pattern)
        port = world.plane.port
        world.plane.child.kill()
        world.plane.child.wait()
        wait_for(lambda: world.proxy.stats("control_plane.connected_state")["control_plane.connected_state"] == 0, 10, "the break to be seen")
        world.plane = xds.Gcp(*world.flags, port=port)
        world.plane.put(resources)
        first = world.plane.expect(lambda e: e["event"] == "request" and e["type"] == xds.TYPES["CDS"], seconds=25)
        if delta:
            check(set(first["held"] or {}) == {"web", "other"}, "what is held: %s" % first)
        else:
            check(first["version"] == "1" and not first["nonce"], "the last accepted version, no nonce: %s" % first)
        world.plane.expect(lambda e: e["event"] == "request" and e["type"] == xds.TYPES["RDS"], seconds=20)
        after = world.proxy.stats(pattern)
        moved = {k: (before[k], v) for k, v in after.items() if before.get(k) != v}
        check(not moved, "moved by a restart: %s" % moved)
        world.plane.version = 1
        world.plane.put(world.basic(world.two))
        world.serves("two")
        load.end()
    finally:
        world.stop()


def scopes_and_runtime(chosen, folder, delta):
    """SRDS: scopes by header, with their own tables by RDS; RTDS: a layer is accepted and what it cannot do is said."""
    world = World(chosen, folder, "scopes-%s" % delta, delta, False)

    def scope(name, key, route_name):
        return xds.typed("SRDS", {"name": name, "route_configuration_name": route_name, "key": {"fragments": [{"string_key": key}]}})
    scoped = {"name": "hcm", "typed_config": {"@type": harness.HCM, "stat_prefix": "in", "scoped_routes": {
        "name": "by-tenant", "rds_config_source": xds.ADS, "scoped_rds": {"scoped_rds_config_source": xds.ADS},
        "scope_key_builder": {"fragments": [{"header_value_extractor": {"name": "x-tenant", "element_separator": ";", "index": 0}}]}},
        "http_filters": [{"name": "router", "typed_config": {"@type": harness.ROUTER}}]}}
    base = world.basic(world.one)[:4] + [xds.listener("in", world.port, scoped)]
    layer = xds.typed("RTDS", {"name": "layer", "layer": {"some.switch": 7, "envoy.reloadable_features.x": True}})
    tables = [xds.routes("table-a", xds.route("/", "web")), xds.routes("table-b", xds.route("/", "other"))]
    world.plane.put(base + tables + [scope("s1", "a", "table-a"), scope("s2", "b", "table-b"), layer])
    try:
        config = xds.bootstrap(world.proxy, world.plane.port, delta)
        config["layered_runtime"] = {"layers": [{"name": "rtds", "rtds_layer": {"name": "layer", "rtds_config": xds.ADS}}]}
        world.proxy.start(config)
        for kind in ("RTDS", "SRDS", "RDS"):
            world.plane.expect_ack(kind)
        world.serves("one", headers=[("x-tenant", "a")])
        world.serves("two", headers=[("x-tenant", "b")])
        check(xds.get(world.port, headers=[("x-tenant", "c")])[0] == 404, "an unknown scope")
        check(xds.get(world.port)[0] == 404, "no key at all")
        check("some.switch" in world.proxy.said() and "reloadable_features" not in world.proxy.said(), world.proxy.said()[-1500:])
        world.plane.put(base + tables + [scope("s1", "b", "table-a"), scope("s2", "a", "table-b"), layer])     # swapped keys
        world.serves("two", headers=[("x-tenant", "a")])
        world.serves("one", headers=[("x-tenant", "b")])
        mark = world.plane.mark()
        world.plane.put(base + tables + [scope("s1", "b", "table-a"), scope("s2", "a", "table-b"), scope("s3", "a", "table-a"), layer])
        nack = world.plane.expect_nack("SRDS", mark)
        check("s3" in nack["error"] and "s2" in nack["error"], str(nack))
        world.serves("two", headers=[("x-tenant", "a")])
        world.plane.put(base + [tables[0], scope("s1", "b", "table-a"), layer])                                # a scope goes
        wait_for(lambda: xds.get(world.port, headers=[("x-tenant", "a")])[0] == 404, 10, "the scope to be gone")
        world.serves("one", headers=[("x-tenant", "b")])
    finally:
        world.stop()


def many_updates(chosen, folder, delta):
    """A hundred changes of everything, under load: no request fails, memory stays flat."""
    world = World(chosen, folder, "many-%s" % delta, delta, False)
    plane = world.plane
    inline = lambda i: xds.listener("inline", world.tls_port, harness.hcm("inline", [{"name": "v%d" % i, "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": str(i)}}}]}]))

    def everything(i):
        web = [world.one, world.two][i % 2]
        resources = world.basic(web)
        resources[0] = xds.eds_cluster("web", connect_timeout="%d.5s" % (1 + i % 3))
        resources[4] = xds.listener("in", world.port, xds.rds_hcm("in", "main", server_name="s%d" % i))
        resources[5] = xds.routes("main", xds.route("/r%d" % i, "other"), xds.route("/", "web"))
        return resources + [inline(i), xds.eds_cluster("extra%d" % (i % 4)), xds.endpoints("extra%d" % (i % 4), world.one.port)]
    plane.put(everything(0))
    try:
        world.start()
        world.serves("0", port=world.tls_port)
        load = xds.Load(world.port)
        sizes = {}
        for i in range(1, 121):
            plane.put(everything(i))
            world.serves(str(i), port=world.tls_port)
            if i in (20, 120):
                sizes[i] = world.proxy.memory_kib()
        load.end()
        refused = [e for e in plane.events if e["event"] == "request" and e["error"]]
        check(not refused, "refused: %s" % refused[:2])
        grown = sizes[120] - sizes[20]
        print("      a hundred updates of everything: RSS %+d KiB, %d requests" % (grown, load.count))
        check(grown < 8 * 1024, "memory grew by %d KiB in 100 updates" % grown)
    finally:
        world.stop()


class Go:
    """`gcp load` and `gcp backends`: the ends of the traffic, fast enough for hundreds of requests a second over TLS."""

    def __init__(self, *arguments):
        self.child = harness.spawn([xds.Gcp.binary] + [str(a) for a in arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE)

    def line(self):
        line = self.child.stdout.readline()
        check(line, "the load's process ended with %s" % self.child.poll())
        return json.loads(line)

    def end(self):
        """What it says when its standard input ends."""
        self.child.stdin.close()
        return self.line()


LANES = ("h1", "h2", "tls", "mtls", "tcp")


class Storm:
    """What the control plane says at step i: in each step endpoints, routes, the certificate and some listeners are others."""

    def __init__(self, world, made, backends):
        self.source, self.made, self.backends = world.source, made, backends
        self.ports = {lane: harness.free_port() for lane in LANES}
        self.coming = harness.free_port()
        self.authority = xds.typed("SDS", {"name": "authority", "validation_context": {
            "trusted_ca": {"inline_string": open(made["ca"]).read()}}})

    def tls(self, mutual):
        common = {"alpn_protocols": ["h2", "http/1.1"],
                  "tls_certificate_sds_secret_configs": [{"name": "cert", "sds_config": self.source}]}
        config = {"@type": harness.DOWNSTREAM_TLS, "common_tls_context": common}
        if mutual:
            common["validation_context_sds_secret_config"] = {"name": "authority", "sds_config": self.source}
            config["require_client_certificate"] = True
        return {"transport_socket": {"name": "tls", "typed_config": config}}

    def listener(self, lane, number, i):
        if lane == "tcp":
            filters = {"name": "tcp", "typed_config": {"@type": harness.TCP_PROXY, "stat_prefix": "tcp%d" % ((i + number) // 2 % 2), "cluster": "echo"}}
        else:
            filters = xds.rds_hcm(lane, "main", self.source, server_name="s%d" % ((i + number) // 2), codec_type="HTTP2" if lane == "h2" else "AUTO")
        # The filter chain changes in each second step, the listener around it in each sixth.
        return xds.listener(lane, self.ports[lane], filters, per_connection_buffer_limit_bytes=(1 << 20) + (i + number) // 6,
                            **(self.tls(lane == "mtls") if lane in ("tls", "mtls") else {}))

    def some(self, kind, i):
        ports = self.backends[kind]
        return [ports[(i + k) % len(ports)] for k in range(1 + i % 3)]

    def at(self, i):
        which = "server2" if i % 2 else "server"
        out = [xds.eds_cluster("web", self.source, connect_timeout="%ds" % (2 + i // 4 % 2)), xds.endpoints("web", *self.some("http1", i)),
               xds.eds_cluster("next", self.source, **harness.http2_options()), xds.endpoints("next", *self.some("http2", i)),
               xds.eds_cluster("echo", self.source), xds.endpoints("echo", *self.some("echo", i)),
               xds.routes("main", xds.route("/never%d" % i, "next"), xds.route("/", ("web", "next")[i // 2 % 2])),
               xds.secret("cert", self.made[which], self.made[which + "_key"]), self.authority]
        out += [self.listener(lane, number, i) for number, lane in enumerate(LANES)]
        if i % 3:
            out.append(xds.listener("coming", self.coming, xds.rds_hcm("coming", "main", self.source)))
        return out


def storm(chosen, folder, workers, delta, own_streams):
    """HTTP/1, HTTP/2, TLS, mutual TLS and TCP at once while everything changes, nothing waiting for anything: no request fails."""
    world = World(chosen, folder, "storm-%d-%s-%s" % (workers, delta, own_streams), delta, own_streams)
    world.proxy.concurrency = workers
    made = harness.make_certificates(folder)
    backends = Go("backends")
    try:
        plan = Storm(world, made, backends.line())
        world.plane.put(plan.at(0))
        world.start()
        wait_for(lambda: (xds.answers(plan.ports["h1"]) or (0,))[0] == 200, 10, "the listeners")
        for kind in ("CDS", "EDS", "LDS", "RDS", "SDS"):
            world.plane.expect_ack(kind)
        before = world.proxy.stats(CHANGES)
        load = Go("load", "-rate", chosen.rate, "-ca", made["ca"], "-cert", made["client"], "-key", made["client_key"],
                  *[word for lane in LANES for word in ("-" + lane, plan.ports[lane])])
        began = time.monotonic()
        for i in range(1, 101):
            world.plane.put(plan.at(i))
            time.sleep(max(0.0, began + i * chosen.storm_seconds / 100 - time.monotonic()))     # the pace of the changes, not a wait for anything
        told = load.end()
        after = world.proxy.stats(CHANGES)
        moved = {name.rpartition(".")[2]: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
        print("      %d requests in %.1f s, %.0f a second, %d on fresh connections; p50 %.1f ms, p99 %.1f ms; failed %d, refused %d, sent again %d" % (
            told["requests"], told["seconds"], told["rate"], told["fresh"], told["p50_ms"], told["p99_ms"], told["failed"], told["refused"], told["again"]))
        print("      %s; 100 changes: %s" % (", ".join("%s %d (%d connections)" % (lane, told["by"][lane]["requests"], told["by"][lane]["opened"])
                                                       for lane in LANES), moved))
        if chosen.report:
            with open(chosen.report, "a") as out:
                out.write(json.dumps(dict(told, workers=workers, delta=delta, own_streams=own_streams, moved=moved)) + "\n")
        check(not told["failed"], "%d of %d requests failed: %s" % (told["failed"], told["requests"], told["failures"][:6]))
        check(told["rate"] > 0.9 * chosen.rate, "only %.0f requests a second" % told["rate"])
        for lane in LANES:
            seen = told["by"][lane]["seen"]
            check(lane == "tcp" or (seen["servers"] > 5 and seen["backends"] == 8), "what %s saw of the changes: %s" % (lane, seen))
            check("tls" not in lane or seen["certificates"] == 2, "what %s saw of the changes: %s" % (lane, seen))
        refused = [e for e in world.plane.events if e["event"] == "request" and e["error"]]
        check(not refused, "refused: %s" % refused[:2])
    finally:
        world.stop()
        harness.end(backends.child)


def main():
    chosen = harness.options(__doc__, storm_seconds=(float, 8.0, "of each storm"), rate=(float, 500.0, "requests a second in a storm"),
                             storms=(str, "few", "few, or all: both variants, ADS and a stream a type, 2 and 3 workers"),
                             report=(str, "", "a file for each storm's outcome, one JSON line each"), gcp=(str, "", "the built Go program"), only=(str, "", "words of titles"))
    harness.bound(850 + int(8 * chosen.storm_seconds))
    folder = harness.work_folder(chosen.keep)
    tally = harness.Tally("gcp")
    xds.Gcp.binary = chosen.gcp or None
    why = None if chosen.gcp else xds.Gcp.build(folder)
    if why:
        tally.skip("go-control-plane drives Outrider", why)
        return tally.close()
    stories = []
    for delta in (False, True):
        kind = "delta" if delta else "state of the world"
        for own in (False, True):
            stories.append(("snapshots change under load: %s, %s" % (kind, "a stream a type" if own else "ADS"), follows,
                            ("follows-%s-%s" % (delta, own), delta, own)))
        stories.append(("good resources apply, bad ones are refused by name and field: %s" % kind, refuses, (delta,)))
        stories.append(("the server is killed and comes back: %s" % kind, restarts, (delta,)))
        stories.append(("scopes and runtime: %s" % kind, scopes_and_runtime, (delta,)))
        stories.append(("a hundred updates of everything: %s" % kind, many_updates, (delta,)))
    for workers in (2, 3):
        for delta in (False, True):
            for own in (False, True):
                if chosen.storms == "all" or (workers, delta, own) in ((2, True, False), (3, False, True)):
                    stories.append(("a storm of changes over %s, %d workers: %s" % (
                        "a stream a type" if own else "ADS", workers, "delta" if delta else "state of the world"), storm, (workers, delta, own)))
    for title, story, arguments in stories:
        if chosen.only and not any(word in title for word in chosen.only.split(",")):
            continue
        tally.run(title, story, chosen, folder, *arguments)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
