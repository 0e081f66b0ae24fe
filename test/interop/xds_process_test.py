#!/usr/bin/env python3
"""The real binary follows `outrider control-plane`: first configuration, changes under load, refusals, restarts, files, time-outs."""
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time

import harness
import mesh_bootstraps
import xds
from harness import check, wait_for


class World:
    """A control plane, a proxy that follows it, and two backends."""

    def __init__(self, chosen, folder, name, delta=False, own_streams=False, resources=None, timeout=None, **more):
        self.outrider, self.folder, self.name = chosen.outrider, os.path.join(folder, name), name
        os.makedirs(self.folder)
        self.delta, self.own_streams, self.timeout, self.more = delta, own_streams, timeout, more
        self.source = xds.source_of("DELTA_GRPC" if delta else "GRPC") if own_streams else xds.ADS
        self.one, self.two = xds.Backend("one"), xds.Backend("two")
        self.port = harness.free_port()
        self.plane = xds.Own(chosen.outrider, self.folder, self.basic() if resources is None else resources)
        self.proxy = harness.Proxy("outrider", chosen.outrider, self.folder, log_level="info")

    def basic(self, backend=None, cluster="web"):
        return [xds.eds_cluster(cluster, self.source), xds.endpoints(cluster, (backend or self.one).port),
                xds.listener("in", self.port, xds.rds_hcm("in", "main", self.source)), xds.routes("main", xds.route("/", cluster))]

    def start(self, **kw):
        self.proxy.start(xds.bootstrap(self.proxy, self.plane.port, self.delta, self.own_streams, timeout=self.timeout, **self.more), **kw)
        return self

    def serves(self, wanted, path="/", port=None, seconds=10, headers=()):
        got = [None]

        def there():
            got[0] = xds.answers(port or self.port, path, headers)
            return got[0] == (200, wanted)
        wait_for(there, seconds, lambda: "%s from %s, got %s; the proxy said: %s" % (wanted, path, got[0], self.proxy.said()[-1500:]))

    def stop(self):
        if self.proxy.child is not None:
            harness.check(self.proxy.alive(), "the proxy died: " + self.proxy.said()[-2000:])
            self.proxy.child.kill()
            self.proxy.child.wait()
        self.plane.stop()


def first_config_and_changes(chosen, folder, name, delta, own_streams):
    world = World(chosen, folder, name, delta, own_streams).start()
    try:
        world.serves("one")
        for kind in ("CDS", "EDS", "LDS", "RDS"):
            world.plane.expect("^ACK .*%s%s" % (kind, " delta" if delta else ""))
        load = xds.Load(world.port)
        # An endpoint, then a new cluster and a route to it.
        mark = world.plane.mark()
        world.plane.put(world.basic(world.two))
        world.serves("two")
        world.plane.expect("^ACK .*EDS", mark)
        before = world.proxy.stats(r"cluster_manager\.cluster_(added|modified|removed)|listener_manager\.listener_(added|modified)$")
        # A new cluster and the route to it in one change: the control plane orders them.
        both = [xds.eds_cluster("web", world.source), xds.endpoints("web", world.two.port), world.basic()[2],
                xds.eds_cluster("next", world.source), xds.endpoints("next", world.one.port)]
        world.plane.put(both + [xds.routes("main", xds.route("/", "next"))])
        world.serves("one")
        after = world.proxy.stats(r"cluster_manager\.cluster_(added|modified|removed)|listener_manager\.listener_(added|modified)$")
        check(after["listener_manager.listener_modified"] == before["listener_manager.listener_modified"], "a route change touched a listener")
        check(after["cluster_manager.cluster_added"] == before["cluster_manager.cluster_added"] + 1, "clusters: %s then %s" % (before, after))
        # The old cluster goes, nobody is harmed.
        world.plane.put([world.basic()[2], xds.eds_cluster("next", world.source), xds.endpoints("next", world.one.port),
                         xds.routes("main", xds.route("/", "next"))])
        wait_for(lambda: world.proxy.stats("cluster_manager.cluster_removed")["cluster_manager.cluster_removed"] == 1, 10, "the removal")
        # A second listener comes and goes.
        other = harness.free_port()
        world.plane.put([world.basic()[2], xds.eds_cluster("next", world.source), xds.endpoints("next", world.one.port),
                         xds.routes("main", xds.route("/", "next")),
                         xds.listener("more", other, xds.rds_hcm("more", "main", world.source))])
        world.serves("one", port=other)
        world.plane.put([world.basic()[2], xds.eds_cluster("next", world.source), xds.endpoints("next", world.one.port),
                         xds.routes("main", xds.route("/", "next"))])
        wait_for(lambda: xds.answers(other) is None, 10, "the listener to be gone")
        load.end()
        nacks = world.plane.lines("NACK")
        check(not nacks, "refused: %s" % nacks)
    finally:
        world.stop()


def storm(chosen, folder, name, delta, own_streams):
    """Each change brings a cluster, leads all traffic to it and takes the one before away, in one file; no request may notice."""
    world = World(chosen, folder, name, delta, own_streams).start()

    def move(number, wait):
        backend = world.one if number % 2 else world.two
        world.plane.put(world.basic(backend, "c%d" % number))
        if wait:
            world.serves(backend.name)
    try:
        world.serves("one")
        load = xds.Load(world.port)
        for number in range(30):
            move(number, True)
        for number in range(30, 60):        # none waits for the one before
            move(number, number == 59)
            time.sleep(random.uniform(0, 0.01))
        wait_for(lambda: sorted(world.proxy.stats(r"^cluster\.c\d+\.membership_total$")) == ["cluster.c59.membership_total"], 10,
                 lambda: "the last cluster alone: %s" % sorted(world.proxy.stats(r"^cluster\.c\d+\.membership_total$")))
        load.end()
        odd = world.plane.lines("NACK") + world.plane.lines("LATE")
        check(not odd, "refused or late: %s" % odd)
    finally:
        world.stop()


def one_bad_of_ten(chosen, folder, delta):
    world = World(chosen, folder, "bad-%s" % delta, delta).start()
    try:
        world.serves("one")
        clusters = [xds.eds_cluster("c%d" % i) for i in range(9)]
        bad = xds.eds_cluster("bad", circuit_breakers={"thresholds": [{"max_connections": 1}, {"priority": "HIGH", "retry_budget": {"budget_percent": {"value": 400}}}]})
        mark = world.plane.mark()
        world.plane.put(world.basic() + clusters + [bad] + [xds.endpoints("c%d" % i, world.two.port) for i in range(9)])
        nack = world.plane.expect("^NACK .*CDS", mark)
        check("bad" in nack and "circuit_breakers.thresholds[1].retry_budget.budget_percent.value" in nack, nack)
        check("c0" not in nack, "good ones are named, too: " + nack)
        wait_for(lambda: world.proxy.stats("cluster_manager.active_clusters")["cluster_manager.active_clusters"] == 11, 10,
                 "nine clusters beside web and xds")
        # A known cluster turns bad: the version before serves on.
        mark = world.plane.mark()
        world.plane.put([xds.eds_cluster("web", lb_policy="RING_HASH", ring_hash_lb_config={"minimum_ring_size": 99999999999})] + world.basic()[1:])
        nack = world.plane.expect("^NACK .*CDS", mark)
        check("web" in nack, nack)
        world.serves("one")
        # A listener and a route table that are bad.
        mark = world.plane.mark()
        spoiled = world.basic()
        spoiled[3] = xds.routes("main", {"match": {"safe_regex": {"regex": "("}}, "route": {"cluster": "web"}})
        world.plane.put(spoiled)
        nack = world.plane.expect("^NACK .*RDS", mark)
        check("virtual_hosts[0].routes[0].match.safe_regex.regex" in nack and "main" in nack, nack)
        world.serves("one")
        mark = world.plane.mark()
        spoiled = world.basic()
        spoiled.append(xds.listener("spoiled", harness.free_port(), {"name": "x", "typed_config": {"@type": harness.HCM, "stat_prefix": "x",
                                    "rds": {"route_config_name": "main", "config_source": xds.ADS}}}))
        world.plane.put(spoiled)
        nack = world.plane.expect("^NACK .*LDS", mark)
        check("spoiled" in nack and "filter_chains[0].filters[0].typed_config" in nack, nack)
        world.serves("one")
    finally:
        world.stop()


def restart_of_the_control_plane(chosen, folder, delta):
    world = World(chosen, folder, "restart-%s" % delta, delta).start()
    try:
        world.serves("one")
        load = xds.Load(world.port)
        pattern = r"_modified$|parts_rebuilt|pools_drained|cluster_(added|removed)|listener_(added|removed)|connected_state"
        before = world.proxy.stats(pattern)
        check(before["control_plane.connected_state"] == 1, str(before))
        world.plane.stop()
        wait_for(lambda: world.proxy.stats("connected_state")["control_plane.connected_state"] == 0, 10, "the break to be seen")
        world.serves("one")
        world.plane.start(world.plane.port)
        wait_for(lambda: world.proxy.stats("connected_state")["control_plane.connected_state"] == 1, 20, "the stream to come back")
        world.plane.expect("^ACK .*LDS")
        world.serves("one")
        after = world.proxy.stats(pattern)
        moved = {k: (before[k], v) for k, v in after.items() if before.get(k) != v}
        check(not moved, "moved by a restart with the same resources: %s" % moved)
        world.plane.put(world.basic(world.two))
        world.serves("two")
        load.end()
    finally:
        world.stop()


def warming(chosen, folder):
    """A listener waits for its routes, a cluster for its endpoints; the version before serves meanwhile."""
    world = World(chosen, folder, "warming", timeout="0s").start()
    try:
        world.serves("one")
        changed = world.basic()
        changed[2] = xds.listener("in", world.port, xds.rds_hcm("in2", "later", dict(xds.ADS, initial_fetch_timeout="0s")))
        world.plane.put(changed)
        wait_for(lambda: world.proxy.stats("total_listeners_warming")["listener_manager.total_listeners_warming"] == 1, 10, "warming")
        world.serves("one")
        world.plane.put(changed + [xds.routes("later", xds.route("/", "web", prefix_rewrite="/"))])
        wait_for(lambda: world.proxy.stats("total_listeners_warming")["listener_manager.total_listeners_warming"] == 0, 10, "the listener")
        world.serves("one")
        # A cluster that asks for endpoints of another name.
        lazy = xds.eds_cluster("web", dict(xds.ADS, initial_fetch_timeout="0s"))
        lazy["eds_cluster_config"]["service_name"] = "elsewhere"
        full = [lazy, xds.endpoints("web", world.one.port)] + changed[2:] + [xds.routes("later", xds.route("/", "web"))]
        world.plane.put(full)
        wait_for(lambda: world.proxy.stats("warming_clusters")["cluster_manager.warming_clusters"] == 1, 10, "a warming cluster")
        world.serves("one")
        world.plane.put(full + [xds.endpoints("elsewhere", world.two.port)])
        world.serves("two")
    finally:
        world.stop()


def fetch_timeouts(chosen, folder):
    """What never comes holds up the start no longer than initial_fetch_timeout; then it is served without."""
    world = World(chosen, folder, "timeout")
    soon = dict(xds.ADS, initial_fetch_timeout="0.3s")
    world.plane.put([xds.eds_cluster("web", soon), xds.listener("in", world.port, xds.rds_hcm("in", "main", soon)),
                     xds.eds_cluster("other"), xds.endpoints("other", world.two.port)])
    world.start()
    try:
        wait_for(lambda: xds.answers(world.port) is not None, 10, "the listener")
        check(xds.get(world.port)[0] == 404, "without routes: %s" % (xds.get(world.port),))
        stats = world.proxy.stats("init_fetch_timeout")
        check(stats["cluster.web.init_fetch_timeout"] == 1 and stats["http.in.rds.main.init_fetch_timeout"] == 1, str(stats))
        world.plane.put(world.basic())
        world.serves("one")
    finally:
        world.stop()


def unknown_cluster_and_back(chosen, folder):
    """RDS may name a cluster that CDS took away (503), and gets it back."""
    world = World(chosen, folder, "unknown").start()
    try:
        world.serves("one")
        world.plane.put(world.basic()[2:])
        wait_for(lambda: xds.get(world.port)[0] == 503, 10, "503 without the cluster")
        check(not world.plane.lines("NACK"), str(world.plane.lines("NACK")))
        left = world.proxy.stats(r"^cluster\.web\.")
        check(not left, "statistics of a cluster that is gone: %s" % sorted(left)[:5])
        world.plane.put(world.basic())
        world.serves("one")
        checked = world.basic()
        checked[3] = xds.routes("main", xds.route("/", "nowhere"), validate_clusters=True)
        mark = world.plane.mark()
        world.plane.put(checked)
        nack = world.plane.expect("^NACK .*RDS", mark)
        check("nowhere" in nack, nack)
        world.serves("one")
    finally:
        world.stop()


def secrets(chosen, folder, delta):
    world = World(chosen, folder, "secrets-%s" % delta, delta)
    made = harness.make_certificates(world.folder)
    tls = xds.listener("in", world.port, xds.rds_hcm("in", "main"), transport_socket=xds.sds_tls("cert"))
    rest = [world.basic()[0], world.basic()[1], tls, world.basic()[3]]
    world.plane.put(rest + [xds.secret("cert", made["server"], made["server_key"])])
    world.start()

    def serial():
        import ssl
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", world.port), 5) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                    return wrapped.getpeercert(True)
        except OSError:
            return None
    try:
        first = wait_for(serial, 10, lambda: "a handshake; " + world.proxy.said()[-800:])
        mark = world.plane.mark()
        world.plane.put(rest + [xds.secret("cert", made["server2"], made["server2_key"])])
        wait_for(lambda: serial() not in (None, first), 10, "the new certificate")
        mark = world.plane.mark()
        second = serial()
        world.plane.put(rest + [xds.secret("cert", made["server2"], made["server_key"])])
        nack = world.plane.expect("^NACK .*SDS", mark)
        check("cert" in nack and "private_key" in nack, nack)
        check(serial() == second, "a bad secret replaced the good one")
        # Nobody wants it any more: the name is dropped from the request.
        world.plane.put(world.basic())
        world.serves("one")
        wait_for(lambda: not world.proxy.stats(r"^sds\.cert\."), 10, "the secret's watch to end")
    finally:
        world.stop()


def files(chosen, folder):
    """path_config_source for every type, replaced by rename and in place, and through a watched directory."""
    world = World(chosen, folder, "files", resources=[])
    at = lambda name: os.path.join(world.folder, name)
    file = lambda name: {"path_config_source": {"path": at(name)}, "resource_api_version": "V3"}
    os.makedirs(at("eds"))
    eds = {"path_config_source": {"path": at("eds/e.json"), "watched_directory": {"path": at("eds")}}, "resource_api_version": "V3"}

    def write(name, *resources, in_place=False):
        path = at(name) if in_place else at(name + ".new")
        with open(path, "w") as out:
            json.dump({"version_info": "1", "resources": list(resources)}, out)
        if not in_place:
            os.rename(path, at(name))
    write("c.yaml", xds.eds_cluster("web", eds))
    write("eds/e.json", xds.endpoints("web", world.one.port))
    write("l.yaml", xds.listener("in", world.port, xds.rds_hcm("in", "main", file("r.yaml"))))
    write("r.yaml", xds.routes("main", xds.route("/", "web")))
    config = harness.bootstrap([], [], world.proxy.admin_port,
                               dynamic_resources={"cds_config": file("c.yaml"), "lds_config": file("l.yaml")})
    world.proxy.start(config)
    try:
        world.serves("one")
        write("eds/e.json", xds.endpoints("web", world.two.port))
        world.serves("two")
        write("eds/e.json", xds.endpoints("web", world.one.port), in_place=True)
        world.serves("one")
        write("r.yaml", xds.routes("main", {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}}),
              in_place=True)
        world.serves("direct")
        with open(at("r.yaml"), "w") as out:
            out.write("resources: [ {")
        wait_for(lambda: "r.yaml" in world.proxy.said(), 10, "a word on the broken file")
        world.serves("direct")
        write("r.yaml", xds.routes("main", xds.route("/", "web")))
        world.serves("one")
        other = harness.free_port()
        write("l.yaml", xds.listener("in", world.port, xds.rds_hcm("in", "main", file("r.yaml"))),
              xds.listener("more", other, xds.rds_hcm("more", "main", file("r.yaml"))))
        world.serves("one", port=other)
    finally:
        world.stop()


def validate_mode(chosen, folder):
    """--mode validate reads dynamic parts of the bootstrap, opens nothing, and names what is wrong."""
    proxy = harness.Proxy("outrider", chosen.outrider, folder)

    def validate(config):
        path = os.path.join(folder, "validate.yaml")
        with open(path, "w") as out:
            json.dump(config, out)
        done = subprocess.run([chosen.outrider, "-c", path, "--mode", "validate"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        return done.returncode, done.stdout.decode()
    code, said = validate(xds.bootstrap(proxy, 1))
    check(code == 0 and "OK" in said, "%d: %s" % (code, said))
    spoiled = xds.bootstrap(proxy, 1)
    spoiled["dynamic_resources"]["ads_config"]["api_type"] = "REST"
    code, said = validate(spoiled)
    check(code == 1 and "dynamic_resources.ads_config.api_type" in said, "%d: %s" % (code, said))
    spoiled = xds.bootstrap(proxy, 1)
    del spoiled["dynamic_resources"]["ads_config"]
    code, said = validate(spoiled)
    check(code == 1 and "dynamic_resources.cds_config" in said, "%d: %s" % (code, said))
    spoiled = xds.bootstrap(proxy, 1)
    spoiled["dynamic_resources"]["ads_config"]["grpc_services"][0]["envoy_grpc"]["cluster_name"] = "nowhere"
    code, said = validate(spoiled)
    check(code == 1 and "nowhere" in said, "%d: %s" % (code, said))


def mesh_bootstraps_start(chosen, folder):
    """What injectors write is accepted; what has no effect is said; what would change security is refused with its path."""
    def validate(config):
        path = os.path.join(folder, "mesh.json")
        with open(path, "w") as out:
            json.dump(config, out)
        done = subprocess.run([chosen.outrider, "-c", path, "--mode", "validate"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        return done.returncode, done.stdout.decode()
    for name in ("ISTIO", "CONSUL", "KUMA"):
        code, said = validate(getattr(mesh_bootstraps, name))
        check(code == 0, "%s: %d: %s" % (name, code, said))
    plugin = json.loads(json.dumps(mesh_bootstraps.KUMA))
    plugin["dynamicResources"]["adsConfig"]["grpcServices"] = [{"googleGrpc": {
        "targetUri": "127.0.0.1:5678", "statPrefix": "ads", "credentialsFactoryName": "envoy.grpc_credentials.file_based_metadata"}}]
    code, said = validate(plugin)
    check(code == 1 and "dynamic_resources.ads_config.grpc_services[0].google_grpc.credentials_factory_name" in said, "%d: %s" % (code, said))


def main():
    chosen = harness.options(__doc__, proxy_choice=True)
    harness.bound(170)
    folder = harness.work_folder(chosen.keep)
    tally = harness.Tally("xds")
    stories = []
    for delta in (False, True):
        kind = "delta" if delta else "state of the world"
        for own in (False, True):
            name = "changes-%s-%s" % (delta, own)
            stories.append(("first configuration and changes under load: %s, %s" % (kind, "a stream a type" if own else "ADS"),
                            first_config_and_changes, (chosen, folder, name, delta, own)))
            stories.append(("clusters and routes move together under load: %s, %s" % (kind, "a stream a type" if own else "ADS"),
                            storm, (chosen, folder, name.replace("changes", "storm"), delta, own)))
        stories.append(("good resources apply, bad ones are named with their field: %s" % kind, one_bad_of_ten, (chosen, folder, delta)))
        stories.append(("the control plane is restarted and traffic never notices: %s" % kind, restart_of_the_control_plane, (chosen, folder, delta)))
        stories.append(("secrets are rotated, refused and dropped: %s" % kind, secrets, (chosen, folder, delta)))
    stories += [("listeners and clusters warm while the version before serves", warming, (chosen, folder)),
                ("initial_fetch_timeout", fetch_timeouts, (chosen, folder)),
                ("a cluster is removed while in use and comes back", unknown_cluster_and_back, (chosen, folder)),
                ("files for all types", files, (chosen, folder)),
                ("--mode validate with dynamic resources", validate_mode, (chosen, folder)),
                ("bootstraps of Istio, Consul and Kuma", mesh_bootstraps_start, (chosen, folder))]
    for title, story, arguments in stories:
        if chosen.only and not any(word in title for word in chosen.only.split(",")):
            continue
        tally.run(title, story, *arguments)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
