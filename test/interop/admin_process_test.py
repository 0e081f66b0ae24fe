#!/usr/bin/env python3
"""The admin endpoint of the real binary: what operators, agents and probes ask of it; and beside Envoy, page by page.

Envoy is taken from --envoy or from where tools/setup puts it; without it the comparison is skipped.
"""
import http.client
import json
import os
import re
import signal
import socket
import stat
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
import xds
from harness import check, wait_for

harness.bound(150)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(self.path)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False


def page(proxy, path, method="GET", status=200):
    got, _, body = proxy.admin(method, path)
    check(got == status, "%s %s: %d, expected %d: %s" % (method, path, got, status, body[:200]))
    return body.decode()


def plain(proxy, *listeners, clusters=None, **more):
    ports = listeners or (harness.free_port(),)
    made = [harness.listener("l%d" % i, port, harness.hcm("in%d" % i, harness.everything_to("a"))) for i, port in enumerate(ports)]
    return harness.bootstrap(made, clusters or [harness.cluster("a", harness.free_port())], proxy.admin_port, **more)


class World:
    """One plain proxy; stories that end it start their own."""

    def __init__(self, outrider, folder):
        self.outrider, self.folder, self.count = outrider, folder, 0
        self.shared = self.proxy()
        self.shared.start(plain(self.shared, stats_flush_interval="3s"))

    def proxy(self, *arguments):
        self.count += 1
        return harness.Proxy("outrider", self.outrider, self.folder, name="admin%d" % self.count, arguments=arguments, concurrency=1)


# ---- alone ------------------------------------------------------------------------------------------------------

def agents_find_what_they_poll(world):
    """The two questions that pilot-agent asks before it calls a sidecar ready, and the one it asks while draining."""
    text = page(world.shared, r"/stats?usedonly&filter=^(server\.state|listener_manager\.workers_started)")
    check(text == "listener_manager.workers_started: 1\nserver.state: 0\n", text)
    text = page(world.shared, "//stats?usedonly&filter=^server.live$")
    check(text == "server.live: 1\n", text)
    text = page(world.shared, "/stats?filter=downstream_cx_active$&usedonly")
    check("listener.admin.downstream_cx_active: 1\n" in text, text)
    check(page(world.shared, "/stats?format=prometheus") .startswith("# TYPE envoy_"), "no Prometheus text")


def prometheus_text_is_well_formed(world):
    seen, current = set(), None
    line_form = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*",?)*)\} (nan|[0-9.e+-]+)')
    for line in page(world.shared, "/stats/prometheus").splitlines():
        if line.startswith("# TYPE "):
            current = line.split()[2]
            check(current not in seen, "%s comes twice" % current)
            seen.add(current)
            continue
        form = line_form.fullmatch(line)
        check(form, "not a sample: " + line)
        check(re.fullmatch(re.escape(current) + "(_bucket|_sum|_count)?", form.group(1)), "%s below %s" % (line, current))
    check("envoy_cluster_upstream_cx_total" in seen and "envoy_server_live" in seen, "known names are missing")


def a_get_never_changes_anything(world):
    for path in ("/quitquitquit", "/healthcheck/fail", "/drain_listeners", "/logging?level=trace", "/reset_counters", "/reopen_logs",
                 "/ready/../quitquitquit"):
        body = page(world.shared, path, status=405)
        check(body == "Method GET not allowed, POST required.", body)
    check(page(world.shared, "/ready") == "LIVE\n" and world.shared.alive(), "something happened")


def health_check_failure_shows(world):
    check(page(world.shared, "/healthcheck/fail", "POST") == "OK\n", "no OK")
    check(page(world.shared, "/ready", status=503) == "DRAINING\n", "still ready")
    check(json.loads(page(world.shared, "/server_info"))["state"] == "DRAINING", "/server_info differs")
    check(world.shared.stats("^server.live$") == {"server.live": 0}, "server.live")
    page(world.shared, "/healthcheck/ok", "POST")
    check(page(world.shared, "/ready") == "LIVE\n", "not ready again")


def what_has_no_effect_is_listed(world):
    check("stats_flush_interval" in page(world.shared, "/unsupported"), "the field is not named")
    check("safe defaults" in page(world.shared, "/outrider/defaults"), "no defaults")


def levels_change_at_run_time(world):
    check("  http: error\n" in page(world.shared, "/logging", "POST"), "the level at start")
    check("  http: debug\n" in page(world.shared, "/logging?http=debug", "POST"), "one level")
    page(world.shared, "/logging?paths=http:info,nosuch:debug", "POST", status=400)
    check("  http: error\n" in page(world.shared, "/logging?level=error", "POST"), "all levels")


def a_bad_filter_is_refused_and_a_hard_one_is_fast(world):
    page(world.shared, "/stats?filter=(", status=400)
    began = time.monotonic()
    page(world.shared, "/stats?filter=((((a%2B)%2B)%2B)%2B)$")
    check(time.monotonic() - began < 2, "it took long")


def other_sites_are_kept_out(world):
    connection = http.client.HTTPConnection("127.0.0.1", world.shared.admin_port, timeout=5)
    for path, wanted in (("/config_dump", 403), ("/ready", 200)):
        connection.request("GET", path, headers={"Host": "evil.example"})
        answer = connection.getresponse()
        answer.read()
        check(answer.status == wanted, "%s of a foreign name: %d" % (path, answer.status))
    connection.close()


def probes_are_answered_among_many_slow_clients(world):
    slow = []
    for _ in range(300):
        one = socket.create_connection(("127.0.0.1", world.shared.admin_port), 5)
        one.sendall(b"GET /stats HTTP/1.1\r\nHost: loc")
        slow.append(one)
    began = time.monotonic()
    check(page(world.shared, "/ready") == "LIVE\n", "not answered")
    check(time.monotonic() - began < 2, "answered late")
    check(world.shared.open_files() < 200, "%d open files" % world.shared.open_files())
    for one in slow:
        one.close()


def port_0_and_the_address_file(world):
    proxy, path = world.proxy("--admin-address-path", os.path.join(world.folder, "address")), os.path.join(world.folder, "address")
    port = harness.free_port()
    proxy.start(dict(plain(proxy, port), admin={"address": harness.address(0)}), listening=port)
    host, _, bound = open(path).read().partition(":")
    check(host == "127.0.0.1" and int(bound) > 0, open(path).read())
    proxy.admin_port = int(bound)
    check(page(proxy, "/ready") == "LIVE\n", "not at the address that was written")
    page(proxy, "/quitquitquit", "POST")
    check(proxy.child.wait(10) == 0, "exit code %s" % proxy.child.returncode)


def a_unix_socket(world):
    proxy, path, port = world.proxy(), os.path.join(world.folder, "admin.sock"), harness.free_port()
    proxy.start(dict(plain(proxy, port), admin={"address": {"pipe": {"path": path, "mode": 0o600}}}), listening=port)
    check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "mode %o" % os.stat(path).st_mode)
    connection = UnixConnection(path)
    connection.request("GET", "/ready", headers={"Host": "anything.example"})
    check(connection.getresponse().read() == b"LIVE\n", "not answered")
    connection.close()
    proxy.stop()


def a_taken_address_is_said(world):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        proxy = world.proxy()
        proxy.admin_port = holder.getsockname()[1]
        try:
            proxy.start(plain(proxy))
        except harness.Failure as failure:
            check("admin.address" in str(failure) and "Address already in use" in str(failure), str(failure))
        else:
            raise harness.Failure("it started")
        check(proxy.child.returncode == 1, "exit code %s" % proxy.child.returncode)


def not_ready_before_its_control_plane(world):
    proxy = world.proxy()
    config = xds.bootstrap(proxy, harness.free_port(), timeout="0s")
    path = os.path.join(world.folder, "waiting.yaml")
    with open(path, "w") as out:
        json.dump(config, out)
    proxy.output = os.path.join(world.folder, "waiting.out")
    with open(proxy.output, "ab") as out:
        proxy.child = harness.spawn(proxy.command(path), stdout=out, stderr=out)

    def answered():
        try:
            return proxy.admin("GET", "/ready", timeout=2)
        except OSError:
            return None
    status, _, body = wait_for(answered, 20, "the admin endpoint")
    check(status == 503 and body in (b"PRE_INITIALIZING\n", b"INITIALIZING\n"), "%d %s" % (status, body))
    check(proxy.stats("^server.live$") == {"server.live": 0}, "server.live")
    proxy.stop()


def listeners_drain_by_direction(world):
    proxy, inbound, outbound = world.proxy(), harness.free_port(), harness.free_port()
    config = plain(proxy, inbound, outbound)
    config["static_resources"]["listeners"][0]["traffic_direction"] = "INBOUND"
    config["static_resources"]["listeners"][1]["traffic_direction"] = "OUTBOUND"
    proxy.start(config)
    page(proxy, "/drain_listeners?skip_exit", "POST", status=400)
    check(page(proxy, "/drain_listeners?inboundonly", "POST") == "OK\n", "no OK")
    wait_for(lambda: not accepts(inbound), 5, "the inbound listener to close")
    check(accepts(outbound), "the outbound listener closed too")
    page(proxy, "/drain_listeners", "POST")
    wait_for(lambda: not accepts(outbound), 5, "the outbound listener to close")
    check(page(proxy, "/ready") == "LIVE\n", "the process ends with its listeners")
    proxy.stop()


def dynamic_resources_are_dumped(world):
    certificates = harness.make_certificates(world.folder)
    key = open(certificates["server_key"]).read().splitlines()[1]
    port, backend = harness.free_port(), harness.free_port()
    resources = [
        xds.eds_cluster("dyn"), xds.endpoints("dyn", backend), xds.routes("r", xds.route("/", "dyn")),
        xds.secret("s", certificates["server"], certificates["server_key"]),
        xds.listener("l", port, xds.rds_hcm("in", "r"), transport_socket=xds.sds_tls("s")),
    ]
    plane = xds.Own(world.outrider, world.folder, resources)
    proxy = world.proxy()
    proxy.start(xds.bootstrap(proxy, plane.port))

    def dump():
        text = page(proxy, "/config_dump?include_eds")
        check(key not in text, "the private key is shown")
        return {each["@type"].rpartition(".")[2]: each for each in json.loads(text)["configs"]}

    def complete():
        found = dump()
        return found if "dynamic_route_configs" in found["RoutesConfigDump"] and "dynamic_active_secrets" in found["SecretsConfigDump"] else None
    found = wait_for(complete, 15, "all resources", pause=0.1)
    cluster = found["ClustersConfigDump"]["dynamic_active_clusters"][0]
    check(cluster["cluster"]["name"] == "dyn" and cluster["version_info"] and cluster["last_updated"], str(cluster))
    check(found["ClustersConfigDump"]["version_info"], "no version")
    state = found["ListenersConfigDump"]["dynamic_listeners"][0]
    check(state["name"] == "l" and state["active_state"]["listener"]["name"] == "l" and state["active_state"]["version_info"], str(state))
    check(found["RoutesConfigDump"]["dynamic_route_configs"][0]["route_config"]["name"] == "r", "route")
    secret = found["SecretsConfigDump"]["dynamic_active_secrets"][0]
    check(secret["name"] == "s" and secret["secret"]["tls_certificate"]["private_key"]["inline_string"] == "[redacted]", str(secret)[:300])
    hosts = found["EndpointsConfigDump"]["dynamic_endpoint_configs"][0]["endpoint_config"]
    check(hosts["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] == backend, str(hosts))
    only = json.loads(page(proxy, "/config_dump?resource=dynamic_active_clusters&mask=cluster.name,version_info"))["configs"]
    check(only == [{"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster", "version_info": cluster["version_info"],
                    "cluster": {"@type": xds.TYPES["CDS"], "name": "dyn"}}], str(only))
    check("dyn::added_via_api::true\n" in page(proxy, "/clusters"), "/clusters")
    check("l::127.0.0.1:%d\n" % port in page(proxy, "/listeners"), "/listeners")
    check(re.search(r'^cluster_manager.cds.version_text: ".+"$', page(proxy, "/stats"), re.M), "no version_text")
    # A refused update: the old one serves, and the dump says what was wrong.
    unknown = "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy"
    bad = xds.listener("l", port, {"name": "n", "typed_config": {"@type": unknown, "stat_prefix": "x", "settings": {"op_timeout": "1s"}}})
    plane.put(resources[:-1] + [bad])

    def refused():
        state = dump()["ListenersConfigDump"]["dynamic_listeners"][0]
        return state if "error_state" in state else None
    state = wait_for(refused, 15, "the refusal in the dump", pause=0.1)
    check("RedisProxy" in state["error_state"]["details"], str(state["error_state"])[:500])
    check(state["active_state"]["listener"]["name"] == "l", "the old listener is gone")
    plane.put(resources)
    wait_for(lambda: "error_state" not in dump()["ListenersConfigDump"]["dynamic_listeners"][0], 15, "the refusal to be over", pause=0.1)
    proxy.stop()
    plane.stop()


def probes_do_not_wait_for_large_answers(world):
    proxy = world.proxy()
    proxy.start(plain(proxy, clusters=[harness.cluster("a%d" % i, 9) for i in range(3000)] + [harness.cluster("a", 9)]))
    slowest, over = [0.0], threading.Event()

    def probe():
        while not over.is_set():
            began = time.monotonic()
            page(proxy, "/ready")
            slowest[0] = max(slowest[0], time.monotonic() - began)
    prober = threading.Thread(target=probe)
    prober.start()
    sizes = {path: len(page(proxy, path)) for path in ("/stats", "/stats?format=json", "/stats/prometheus", "/clusters", "/config_dump?include_eds")}
    over.set()
    prober.join()
    check(all(size > 1000000 for size in sizes.values()), str(sizes))
    check(slowest[0] < 0.5, "a probe took %.0f ms" % (slowest[0] * 1000))
    proxy.stop()


# ---- beside Envoy -----------------------------------------------------------------------------------------------

class Pair:
    def __init__(self, envoy, outrider, folder):
        self.folder = folder
        certificates = harness.make_certificates(folder)
        self.sides = []
        for kind, binary in (("envoy", envoy), ("outrider", outrider)):
            arguments = ("--use-dynamic-base-id",) if kind == "envoy" else ()
            side = harness.Proxy(kind, binary, folder, name="beside-" + kind, concurrency=1, arguments=arguments, like_envoy=True)
            self.sides.append(side)
        # Where a path or a port differs between the two, comparisons could not tell; so both are told the same but for these.
        self.ports = [[harness.free_port() for _ in range(3)] for _ in self.sides]
        for side, ports in zip(self.sides, self.ports):
            tls = harness.listener("second", ports[1], {"name": "tcp", "typed_config": {
                "@type": harness.TCP_PROXY, "stat_prefix": "t", "cluster": "b"}}, transport_socket=harness.downstream_tls(certificates, mutual=True))
            tls["additional_addresses"] = [{"address": harness.address(ports[2])}]
            breakers = {"thresholds": [{"max_connections": 7}]}
            located = harness.cluster("a", 9)
            located["load_assignment"]["endpoints"][0]["locality"] = {"region": "r", "zone": "z", "sub_zone": "s"}
            config = harness.bootstrap([harness.listener("first", ports[0], harness.hcm("in", harness.everything_to("a"))), tls],
                                       [located, harness.cluster("b", (7, 3), circuit_breakers=breakers)], side.admin_port)
            config["static_resources"]["secrets"] = [
                {"name": "token", "generic_secret": {"secret": {"inline_string": "hidden"}}},
                {"name": "pair", "tls_certificate": {"certificate_chain": {"filename": certificates["server"]},
                                                     "private_key": {"inline_string": open(certificates["server_key"]).read()}}}]
            config["layered_runtime"] = {"layers": [{"name": "fixed", "static_layer": {"a.b": 1}}, {"name": "admin", "admin_layer": {}}]}
            side.start(config)

    def both(self, path, method="GET"):
        """[(status, content type, body)] with ports made equal"""
        out = []
        for side, ports in zip(self.sides, self.ports):
            status, headers, body = side.admin(method, path)
            text = body.decode()
            for i, port in enumerate(ports + [side.admin_port]):
                text = re.sub(r"\b%d\b" % port, "PORT%d" % i if '"' not in text else str(i + 1), text)
            out.append((status, dict((k.lower(), v) for k, v in headers), text))
        return out


# What is Envoy's own, or is of the moment.
DROPPED = {"extensions", "last_updated", "user_agent_name", "user_agent_build_version", "client_features"}
# Statistics that Envoy 1.40 adds to a host.
NEWER = ("rq_pending_active",)


def reduced(value):
    if isinstance(value, dict):
        return {k: reduced(v) for k, v in value.items() if k not in DROPPED}
    if isinstance(value, list):
        made = [reduced(each) for each in value if not (isinstance(each, dict) and each.get("name") in NEWER)]
        # Envoy lists clusters and secrets in the order of a hash.
        named = all(isinstance(each, dict) and "name" in each and ("host_statuses" in each or "secret" in each) for each in made)
        return sorted(made, key=lambda each: each["name"]) if named and made else made
    return value


def first_difference(a, b, path=""):
    if type(a) is not type(b):
        return "%s: %s and %s" % (path, a, b)
    if isinstance(a, dict):
        if list(a) != list(b):
            return "%s has %s, and %s" % (path, list(a), list(b))
        return next(filter(None, (first_difference(a[k], b[k], path + "." + k) for k in a)), None)
    if isinstance(a, list):
        if len(a) != len(b):
            return "%s: %d and %d elements" % (path, len(a), len(b))
        return next(filter(None, (first_difference(x, y, "%s[%d]" % (path, i)) for i, (x, y) in enumerate(zip(a, b)))), None)
    return None if a == b else "%s: %r and %r" % (path, a, b)


JSON_PAGES = ("/config_dump", "/config_dump?include_eds", "/config_dump?resource=static_clusters", "/config_dump?resource=static_listeners",
              "/config_dump?resource=static_clusters&mask=cluster.name", "/config_dump?mask=bootstrap.node.id", "/config_dump?mask=static_clusters",
              "/config_dump?name_regex=a", "/config_dump?resource=dynamic_active_clusters", "/config_dump?resource=static_secrets",
              "/clusters?format=json", "/listeners?format=json", "/certs", "/init_dump")
SAME_PAGES = ("/ready", "/listeners", "/stats?filter=(", "/stats?type=bad", "/stats?filter=^nosuch&format=json", "/config_dump?resource=nosuch",
              "/config_dump?mask=nosuch", "/config_dump?resource=bootstrap", "/config_dump?name_regex=(", "/quitquitquit", "/healthcheck/fail",
              "/stats?filter=^listener_manager.(listener_added|workers_started|total_listeners_active)$",
              "/stats?filter=^cluster_manager.(cluster_added|active_clusters|warming_clusters)$",
              "/stats/prometheus?filter=^cluster_manager.(cluster_added|active_clusters)$",
              "/stats?format=json&filter=^server.(live|state|concurrency)$&usedonly",
              "/stats?filter=^cluster.a.membership_(total|healthy)", "/stats?filter=^http.in.downstream_cx_length_ms",
              "/stats/prometheus?filter=^cluster.[ab].upstream_(cx_total|rq_pending_total)")
OTHER_METHODS = (("POST", "/healthcheck/fail"), ("GET", "/ready"), ("POST", "/healthcheck/ok"), ("POST", "/reset_counters"), ("POST", "/reopen_logs"),
                 ("POST", "/logging?level=loud"), ("POST", "/logging?nosuch=debug"), ("POST", "/logging?level=error"), ("PUT", "/ready"),
                 ("HEAD", "/ready"))


def same_json(pair, path):
    envoy, outrider = pair.both(path)
    check(envoy[0] == outrider[0], "status %d and %d: %s" % (envoy[0], outrider[0], outrider[2][:200]))
    check(envoy[1]["content-type"] == outrider[1]["content-type"], "%s and %s" % (envoy[1]["content-type"], outrider[1]["content-type"]))
    difference = first_difference(reduced(json.loads(envoy[2])), reduced(json.loads(outrider[2])))
    check(difference is None, difference)
    # And the same layout: what is equal is equal in bytes.
    strip = lambda text: re.sub(r"^ +", "", "\n".join(line for line in text.splitlines() if line.strip() in ("{", "}", "[", "]")), flags=re.M)
    check(("\n " in envoy[2]) == ("\n " in outrider[2]) and bool(strip(envoy[2])) == bool(strip(outrider[2])), "laid out differently")


def same_answer(pair, path, method="GET"):
    envoy, outrider = pair.both(path, method)
    check(envoy[0] == outrider[0], "status %d and %d: %s" % (envoy[0], outrider[0], outrider[2][:200]))
    for name in ("content-type", "cache-control", "x-content-type-options", "server", "transfer-encoding"):
        check(envoy[1].get(name) == outrider[1].get(name), "%s: %s and %s" % (name, envoy[1].get(name), outrider[1].get(name)))
    if not path.startswith("/logging"):
        check(envoy[2] == outrider[2], "%r and %r" % (envoy[2][:600], outrider[2][:600]))
    else:
        check(envoy[2].splitlines()[0] == outrider[2].splitlines()[0], "%r and %r" % (envoy[2][:100], outrider[2][:100]))


def same_lines_of_clusters(pair):
    envoy, outrider = (sorted(line for line in text.splitlines() if "::rq_pending_active::" not in line) for _, _, text in pair.both("/clusters"))
    check(envoy == outrider, str(sorted(set(envoy) ^ set(outrider)))[:600])


def same_shape_of_server_info(pair):
    envoy, outrider = (json.loads(text) for _, _, text in pair.both("/server_info"))
    for name in outrider:
        check(name in envoy, "Envoy has no " + name)
    for name in outrider["command_line_options"]:
        check(name in envoy["command_line_options"], "Envoy has no flag " + name)
    check(re.fullmatch(r"[0-9a-f]+/\d+\.\d+\.\d+/\w+/\w+/\w+", outrider["version"]), outrider["version"])
    for name in ("state", "command_line_options"):
        check(type(envoy[name]) is type(outrider[name]), name)
    for name in ("concurrency", "mode", "drain_time", "drain_strategy", "log_level", "file_flush_interval", "disable_hot_restart"):
        check(envoy["command_line_options"][name] == outrider["command_line_options"][name], name)


def every_path_of_ours_is_envoys(pair):
    ours = {"/outrider/defaults", "/unsupported"}
    known = [set(re.findall(r"^  (/\S*)( \(POST\))?: ", text, re.M)) for _, _, text in pair.both("/help")]
    check({path for path, _ in known[1]} - ours <= {path for path, _ in known[0]}, str(known[1] - known[0]))
    check({each for each in known[1] if each[0] not in ours} <= known[0], "POST differs: %s" % (known[1] - known[0]))
    for _, _, text in pair.both("/nosuch"):
        check(text.startswith("invalid path. admin commands are:\n  /: Admin home page\n"), text[:100])


ALONE = (agents_find_what_they_poll, prometheus_text_is_well_formed, a_get_never_changes_anything, health_check_failure_shows,
         what_has_no_effect_is_listed, levels_change_at_run_time, a_bad_filter_is_refused_and_a_hard_one_is_fast, other_sites_are_kept_out,
         probes_are_answered_among_many_slow_clients, port_0_and_the_address_file, a_unix_socket, a_taken_address_is_said,
         not_ready_before_its_control_plane, listeners_drain_by_direction, dynamic_resources_are_dumped, probes_do_not_wait_for_large_answers)


def main():
    chosen = harness.options(__doc__, only=(str, "", "run stories whose name has this"))
    tally = harness.Tally("admin")
    folder = harness.work_folder(chosen.keep)
    wanted = lambda name: chosen.only in name
    world = World(chosen.outrider, folder)
    for story in ALONE:
        if wanted(story.__name__):
            tally.run(story.__name__.replace("_", " "), story, world)
    world.shared.stop()
    envoy = chosen.envoy or harness.installed_envoy()
    if not envoy:
        tally.skip("beside Envoy", "no Envoy here")
        return tally.close()
    pair = Pair(envoy, chosen.outrider, folder)
    for path in JSON_PAGES:
        if wanted("json " + path):
            tally.run("as Envoy: " + path, same_json, pair, path)
    for path in SAME_PAGES:
        if wanted("same " + path):
            tally.run("as Envoy: " + path, same_answer, pair, path)
    for method, path in OTHER_METHODS:
        if wanted("method " + path):
            tally.run("as Envoy: %s %s" % (method, path), same_answer, pair, path, method)
    for story in (same_lines_of_clusters, same_shape_of_server_info, every_path_of_ours_is_envoys):
        if wanted(story.__name__):
            tally.run("as Envoy: " + story.__name__.replace("_", " "), story, pair)
    for side in pair.sides:
        side.stop()
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
