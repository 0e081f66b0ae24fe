"""Large configurations from go-control-plane over ADS, Outrider beside Envoy: what it takes to be ready, and what one change costs.

tools/bench config                             1,000, 10,000 and 100,000 clusters of 10 endpoints, and 10 clusters of 20,000 (15 minutes)
tools/bench config --shapes 1000x10,10x20000 --modes delta,sotw --changes 5 --only outrider,envoy
tools/bench config --json FILE --markdown docs/performance.md

One listener, one virtual host with three routes a cluster. One worker; nothing is pinned, for the config thread and the worker may
each have a core. Ready: /ready says so and a request through the listener is answered by its backend. A change is one of: an endpoint
of a cluster, a route of the table, a cluster (another EDS name, so it warms up). Each is made without traffic, for the CPU of all
threads until the proxy is quiet again, and then under 1,000 requests a second, for the time until an answer shows it and the
latencies of those requests in the half second around it. An endpoint among 20,000 cannot be seen in answers: there it is the time
until the control plane has the ACK. The longest turn is the upper edge of the highest bucket of the worker's histogram that a kind of
change adds to: CPU time of a turn with Outrider, elapsed time with Envoy. Envoy is left out with 100,000 clusters (--all has it too).
"""
import argparse
import http.client
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

from . import figures, proxies, report
from .processes import BenchError, Process, free_ports, raise_file_limit

ADS = {"ads": {}, "resource_api_version": "V3"}
EXTENSION = "type.googleapis.com/envoy.extensions."
TYPE = {"CDS": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "RDS": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "EDS": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "LDS": "type.googleapis.com/envoy.config.listener.v3.Listener"}
TABLE, ROUTES_EACH, RATE = "table", 3, 1000
KINDS = {"endpoint": "EDS", "routes": "RDS", "cluster": "CDS"}


def bootstrap(name, admin, plane, delta):
    """Envoy merges its figures when the admin page is asked, not every some seconds: with thousands of clusters that costs more than a change."""
    http2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": EXTENSION + "upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}}
    return {
        "node": {"id": "bench", "cluster": "bench"}, "enable_dispatcher_stats": True,
        **({"stats_flush_on_admin": True} if name == "envoy" else {}),
        "admin": {"address": address(admin)},
        "dynamic_resources": {"cds_config": ADS, "lds_config": ADS, "ads_config": {
            "api_type": "DELTA_GRPC" if delta else "GRPC", "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "plane"}}]}},
        "static_resources": {"clusters": [{"name": "plane", "type": "STATIC", "connect_timeout": "5s", "typed_extension_protocol_options": http2,
                                           "load_assignment": assignment("plane", plane)}]},
    }


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def assignment(name, *ports):
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}} for port in ports]}]}


def eds(name, *ports):
    return {"@type": TYPE["EDS"], **assignment(name, *ports)}


def cluster(name, service):
    return {"@type": TYPE["CDS"], "name": name, "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {"eds_config": ADS, "service_name": service}}


def listener(port):
    return {"@type": TYPE["LDS"], "name": "bench", "address": address(port), "filter_chains": [{"filters": [{"name": "http", "typed_config": {
        "@type": EXTENSION + "filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "bench",
        "rds": {"route_config_name": TABLE, "config_source": ADS},
        "http_filters": [{"name": "router", "typed_config": {"@type": EXTENSION + "filters.http.router.v3.Router"}}]}}]}]}


class Talker:
    """A child that takes a JSON object (or a word) a line and tells one a line."""

    def __init__(self, name, command):
        self.name, self.events, self.arrived = name, [], threading.Condition()
        self.child = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            event = json.loads(line)
            with self.arrived:
                self.events.append((time.time_ns(), event))
                self.arrived.notify_all()

    def say(self, line):
        self.child.stdin.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        self.child.stdin.flush()

    def mark(self):
        return len(self.events)

    def expect(self, wanted, since=0, seconds=120, what="an event"):
        """(nanoseconds of its arrival, event) of the first that fits."""
        deadline, at = time.monotonic() + seconds, since
        with self.arrived:
            while True:
                while at < len(self.events):
                    if wanted(self.events[at][1]):
                        return self.events[at]
                    at += 1
                if self.child.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"{self.name}: no {what} within {seconds} s; last: {self.events[-3:]}")
                self.arrived.wait(0.5)

    def command(self, **words):
        """When the cache got it, in nanoseconds of the wall clock."""
        since = self.mark()
        self.say(words)
        event = self.expect(lambda event: event["event"] in ("applied", "error"), since)[1]
        if event["event"] == "error":
            raise BenchError(f"{self.name}: {event['why']}")
        return event["at_ns"]

    def acked(self, kind, since):
        """Nanoseconds at which the proxy's ACK of that type came."""
        arrived, event = self.expect(lambda event: event["event"] == "request" and event["type"] == TYPE[kind] and event["nonce"], since, what=f"ACK of {kind}")
        if event["error"]:
            raise BenchError(f"NACK of {kind}: {event['error'][:300]}")
        return arrived

    def end(self):
        if self.child.poll() is None:
            self.child.stdin.close()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def cpu_ms(pid):
    """CPU time of a process, of its ended threads too, by the clock that the kernel has for it (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2) * 1e3


class Probe:
    """Asks /ready all the time, a connection each, and keeps the longest answer."""

    def __init__(self, port):
        self.port, self.longest, self.count, self.stopped = port, 0.0, 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            began = time.monotonic()
            if ask(self.port, "/ready", 60)[0]:
                self.longest = max(self.longest, (time.monotonic() - began) * 1e3)
                self.count += 1
            time.sleep(0.005)

    def end(self):
        self.stopped = True
        self.thread.join(60)
        return self.longest


def ask(port, path, seconds=5):
    """(status, body); (None, b"") without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException, socket.timeout):
        return None, b""
    finally:
        connection.close()


def parse_histogram(text):
    """{upper edge of a bucket: count} of the first histogram in `/stats?histogram_buckets=detailed`."""
    found = re.search(r"totals=([^\n]*)", text)
    return {float(low) + float(width): int(count) for low, width, count in re.findall(r"([\d.e+]+),([\d.e+]+):(\d+)", found.group(1))} if found else {}


def highest_added(before, after):
    """The highest bucket that has more now; None if none has."""
    added = [edge for edge, count in after.items() if count > before.get(edge, 0)]
    return max(added) if added else None


class Run:
    """One proxy with one shape over one mode."""

    def __init__(self, name, program, clusters, endpoints, delta, folder, tools, changes):
        self.name, self.clusters, self.endpoints, self.delta, self.changes = name, clusters, endpoints, delta, changes
        self.parts = []
        try:
            self.begin(program, folder, tools)
        except BaseException:
            self.end()
            raise

    def begin(self, program, folder, tools):
        name, clusters, endpoints = self.name, self.clusters, self.endpoints
        self.backends = self.part(Talker("backends", [tools["load"], "backends", "-count", 24]))
        self.ports = self.backends.expect(lambda event: event["event"] == "backends", what="ports of backends")[1]["ports"]
        self.plane = self.part(Talker("control plane", [tools["gcp"], "-linear", "-quiet"]))
        plane_port = self.plane.expect(lambda event: event["event"] == "listening", what="port of the control plane")[1]["port"]
        self.admin, self.port = free_ports(2)
        self.next_endpoint, self.alternate, self.first = 9, False, "live"
        self.plane.command(clusters=clusters, endpoints=endpoints, port=9)
        self.plane.command(update=[self.live(), eds("live2", self.ports[22]), eds("live-alternate", self.ports[23])])
        self.plane.command(update=[cluster("live", "live"), cluster("live2", "live2")])
        self.plane.command(table=TABLE, clusters=clusters, each=ROUTES_EACH, first="live")
        self.plane.command(update=[listener(self.port)])
        config = os.path.join(folder, f"{name}.json")
        with open(config, "w") as file:
            json.dump(bootstrap(name, self.admin, plane_port, self.delta), file)
        self.load = tools["load"]
        self.began = time.monotonic()
        self.proxy = Process(name, proxies.envoy_command(name, program, config), None, os.path.join(folder, f"{name}.out"))

    def part(self, talker):
        self.parts.append(talker)
        return talker

    def live(self):
        return eds("live", *self.ports[:9], self.ports[self.next_endpoint])

    def pid(self):
        return self.proxy.child.pid

    def wait_ready(self, seconds):
        """(seconds until ready, the longest answer of /ready meanwhile in ms)"""
        probe = Probe(self.admin)
        try:
            while True:
                self.proxy.check_alive()
                if ask(self.admin, "/ready", 60)[0] == 200 and ask(self.port, "/c0/0/")[0] == 200:
                    return time.monotonic() - self.began, probe.end()
                if time.monotonic() > self.began + seconds:
                    raise BenchError(f"{self.name} is not ready after {seconds} s\n{self.proxy.last_words()}")
                time.sleep(0.01)
        finally:
            probe.stopped = True

    def settle(self, idle=0.0, seconds=60):
        """Until a quarter of a second costs no more than it does at rest (ms of CPU a second) and a little."""
        deadline, before = time.monotonic() + seconds, cpu_ms(self.pid())
        while time.monotonic() < deadline:
            time.sleep(0.25)
            now = cpu_ms(self.pid())
            if now - before < idle * 0.25 + 1.5:
                return
            before = now
        raise BenchError(f"{self.name} is still busy after {seconds} s")

    def turns(self):
        """The worker's histogram of turns."""
        path = "outrider.loop.worker_0.turn_cpu_us" if self.name == "outrider" else "listener_manager.worker_0.dispatcher.loop_duration_us"
        text = ask(self.admin, f"/stats?histogram_buckets=detailed&filter=^{path}$", 30)[1]
        if self.name == "envoy":  # the first question begins the merge, the second one sees it
            time.sleep(0.5)
            text = ask(self.admin, f"/stats?histogram_buckets=detailed&filter=^{path}$", 30)[1]
        return parse_histogram(text.decode())

    def change(self, kind):
        """Makes one change; (nanoseconds at which the cache had it, the bodies that show it or None)"""
        fixed = [f"b{number}" for number in range(22)]
        if kind == "endpoint" and self.endpoints > 1000:
            self.next_endpoint += 1
            return self.plane.command(endpoint=1, endpoints=self.endpoints, port=10000 + self.next_endpoint), None
        if kind == "endpoint":
            self.next_endpoint = 9 + (self.next_endpoint - 8) % 13
            return self.plane.command(update=[self.live()]), [f"b{self.next_endpoint}"]
        if kind == "routes":
            self.first = "live2" if self.first == "live" else "live"
            at = self.plane.command(table=TABLE, clusters=self.clusters, each=ROUTES_EACH, first=self.first)
            return at, ["b22"] if self.first == "live2" else fixed
        self.alternate = not self.alternate
        at = self.plane.command(update=[cluster("live", "live-alternate" if self.alternate else "live")])
        return at, ["b23"] if self.alternate else fixed

    def cost(self, kind, idle):
        """ms of CPU of one change, in all threads"""
        began, before, since = time.monotonic(), cpu_ms(self.pid()), self.plane.mark()
        self.change(kind)
        self.plane.acked(KINDS[kind], since)
        self.settle(idle)
        return max(0.0, cpu_ms(self.pid()) - before - idle * (time.monotonic() - began))

    def restore(self, idle):
        """/c0/0/ leads to the first cluster again, and that one to its own endpoints."""
        for kind, other in (("routes", self.first != "live"), ("cluster", self.alternate)):
            if other:
                since = self.plane.mark()
                self.change(kind)
                self.plane.acked(KINDS[kind], since)
                self.settle(idle)

    def effect(self, kind, traffic):
        """(ms until it shows, p99 in µs and the longest latency in µs of the traffic around it)"""
        traffic.say("mark")
        since, plane = traffic.mark(), self.plane.mark()
        at, bodies = self.change(kind)
        if bodies is None:
            shown = self.plane.acked(KINDS[kind], plane)
        else:
            shown = traffic.expect(lambda event: event["event"] == "body" and event["body"] in bodies and event["at_ns"] >= at, since,
                                   60, f"answer of {bodies[0]}")[1]["at_ns"]
            self.plane.acked(KINDS[kind], plane)
        time.sleep(0.5)
        since = traffic.mark()
        traffic.say("mark")
        told = traffic.expect(lambda event: event["event"] == "mark", since, 20, "figures of the traffic")[1]
        if told["failed"]:
            raise BenchError(f"{told['failed']} requests failed during a change: {told['why']}")
        return (shown - at) / 1e6, told["p99_us"], told["most_us"]

    def measure(self, patience):
        result = {}
        result["ready_s"], result["ready_probe_ms"] = self.wait_ready(patience)
        result["ready_cpu_s"] = cpu_ms(self.pid()) / 1e3
        self.settle(20)
        time.sleep(1)
        result["memory_mib"] = self.proxy.memory() / (1 << 20)
        before, began = cpu_ms(self.pid()), time.monotonic()
        time.sleep(2)
        idle = (cpu_ms(self.pid()) - before) / (time.monotonic() - began)
        turns = {}
        for kind in KINDS:
            start = self.turns()
            self.cost(kind, idle)  # the first one also pays for what is made on first use
            result[f"{kind}_cpu_ms"] = figures.median([self.cost(kind, idle) for _ in range(self.changes)])
            turns[kind] = [(start, self.turns())]
            self.restore(idle)
        traffic = self.part(Talker("traffic", [self.load, "rate", "-port", self.port, "-rate", RATE, "-connections", 4, "-path", "/c0/0/", "-watch"]))
        traffic.expect(lambda event: event["event"] == "body", seconds=20, what="answer")
        time.sleep(0.5)
        for kind in KINDS:
            start = self.turns()
            effects = [self.effect(kind, traffic) for _ in range(self.changes)]
            turns[kind].append((start, self.turns()))
            self.restore(idle + RATE)
            for place, key in enumerate(("shown_ms", "p99_us", "most_us")):
                result[f"{kind}_{key}"] = figures.median([each[place] for each in effects])
            longest = [edge for edge in (highest_added(*pair) for pair in turns[kind]) if edge is not None]
            result[f"{kind}_turn_us"] = max(longest) if longest else None
        traffic.end()
        return result

    def shrink(self):
        """MiB after all but 100 clusters have gone."""
        self.plane.command(table=TABLE, clusters=100, each=ROUTES_EACH, first="c0")
        since = self.plane.mark()
        self.plane.command(clusters=100, endpoints=self.endpoints, port=9)
        self.plane.acked("CDS", since)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = re.search(rb"active_clusters: (\d+)", ask(self.admin, "/stats?filter=cluster_manager.active_clusters", 30)[1])
            if found and int(found.group(1)) <= 110:
                break
            time.sleep(0.1)
        else:
            raise BenchError("the clusters do not go")
        self.settle(20)
        least, since = self.proxy.memory(), time.monotonic()
        while time.monotonic() < since + 8 and time.monotonic() < deadline:  # allocators give pages back after a while
            time.sleep(0.5)
            now = self.proxy.memory()
            if now < 0.98 * least:
                least, since = now, time.monotonic()
        return min(least, self.proxy.memory()) / (1 << 20)

    def end(self):
        for each in reversed(self.parts):  # the traffic first: it would see its connections end
            each.end()
        if hasattr(self, "proxy"):
            self.proxy.stop()


def _rows():
    rows = [("ready_s", "seconds until ready"), ("ready_cpu_s", "CPU seconds for that"), ("ready_probe_ms", "the longest answer of /ready meanwhile, ms"),
            ("memory_mib", "memory then, MiB (Pss)"), ("each_kib", "KiB a cluster, above 100 clusters"), ("shrunk_mib", "memory with 100 clusters left, MiB")]
    for kind, label in (("endpoint", "one endpoint"), ("routes", "one route of the table"), ("cluster", "one cluster")):
        rows += [(f"{kind}_cpu_ms", f"{label}: CPU of all threads, ms"), (f"{kind}_shown_ms", f"{label}: until it shows, ms"),
                 (f"{kind}_p99_us", f"{label}: p99 of the traffic, µs"), (f"{kind}_most_us", f"{label}: its longest, µs"),
                 (f"{kind}_turn_us", f"{label}: longest turn of the worker, µs")]
    return rows


ROWS = _rows()
# (shape, mode, row, figure, "envoy": times Envoy's | "most": absolute)
TARGETS = [
    ("10000x10", None, "memory_mib", 0.15, "envoy"), ("10000x10", None, "ready_s", 0.3, "envoy"), ("10000x10", None, "routes_cpu_ms", 0.3, "envoy"),
    ("10000x10", "delta", "endpoint_cpu_ms", 2.0, "most"), ("10000x10", "sotw", "endpoint_cpu_ms", 3.5, "most"), ("10000x10", None, "ready_probe_ms", 50.0, "most"),
    ("10x20000", None, "memory_mib", 0.2, "envoy"), ("10x20000", None, "endpoint_cpu_ms", 0.15, "envoy"), ("100000x10", None, "each_kib", 8.0, "most"),
    ("10000x10", "delta", "shrunk_mib", 1.2, "fresh"),
    *[(None, None, f"{kind}_turn_us", 1000.0, "most") for kind in KINDS],
]


def verdicts(results):
    """[(shape, mode, row, found, wanted, holds)]; results: {shape: {mode: {proxy: {row: figure}}}}"""
    out = []
    for shape, modes in results.items():
        for mode, row in modes.items():
            for wanted_shape, wanted_mode, key, figure, how in TARGETS:
                ours = row.get("outrider", {}).get(key)
                if wanted_shape not in (None, shape) or wanted_mode not in (None, mode) or ours is None:
                    continue
                if how == "most":
                    out.append((shape, mode, key, ours, f"{figure:g}", figures.holds(ours, figure, 1)))
                    continue
                base = row.get("envoy", {}).get(key) if how == "envoy" else results.get("100x10", {}).get(mode, {}).get("outrider", {}).get("memory_mib")
                if base:
                    name = "envoy" if how == "envoy" else "a fresh start"
                    out.append((shape, mode, key, ours / base, f"{figure:g} x {name}", figures.holds(ours / base, figure)))
    return out


def complete(results):
    """Adds what needs two shapes: memory of one cluster above that of 100."""
    for shape, modes in results.items():
        count = int(shape.split("x")[0])
        for mode, row in modes.items():
            for name, values in row.items():
                base = results.get("100x10", {}).get(mode, {}).get(name, {}).get("memory_mib")
                if base and count > 100 and shape.endswith("x10") and "memory_mib" in values:
                    values["each_kib"] = (values["memory_mib"] - base) * 1024 / (count - 100)


def spoken(shape):
    clusters, endpoints = map(int, shape.split("x"))
    return f"{clusters:,} clusters of {endpoints:,} endpoints"


def columns_of(modes):
    return [(mode, name) for mode, row in modes.items() for name in row]


def cell_of(modes, key, column):
    value = modes[column[0]][column[1]].get(key)
    return None if value is None else report.number(value)


MODES = {"delta": "delta", "sotw": "state of the world"}


def print_tables(document):
    for shape, modes in document["results"].items():
        columns = columns_of(modes)
        names = [f"{report.LABELS[name]} {mode}" for mode, name in columns]
        shown = [(key, label) for key, label in ROWS if any(modes[mode][name].get(key) is not None for mode, name in columns)]
        print(report.table(spoken(shape), shown, names, lambda key, column: cell_of(modes, key, columns[names.index(column)])) + "\n")
    found = verdicts(document["results"])
    missed = [f"  {spoken(shape)}, {mode}, {key}: {report.number(value)}, at most {wanted}" for shape, mode, key, value, wanted, holds in found if not holds]
    print(f"Targets: {len(found) - len(missed)} hold, {len(missed)} are missed" + "".join("\n" + line for line in missed))
    for line in document["failures"]:
        print("Left out: " + line)


def markdown(document):
    out = ["; ".join(report.LABELS[name] + ": " + version for name, version in document["versions"].items()) + f". Linux {document['kernel']}; "
           f"medians of {document['changes']} changes."]
    labels = dict(ROWS)
    for shape, modes in document["results"].items():
        columns = columns_of(modes)
        names = [f"{report.LABELS[name]}, {MODES[mode]}" for mode, name in columns]
        shown = [(key, label) for key, label in ROWS if any(modes[mode][name].get(key) is not None for mode, name in columns)]
        out.append(f"### {spoken(shape)}")
        out.append(report.markdown_table("", shown, names, lambda key, column: cell_of(modes, key, columns[names.index(column)])))
    found = verdicts(document["results"])
    if found:
        out.append("### Targets")
        rows = list(range(len(found)))
        out.append(report.markdown_table("", [(row, f"{spoken(found[row][0])}, {MODES[found[row][1]]}: {labels[found[row][2]]}") for row in rows],
                                         ["found", "at most", ""], lambda row, column: {"found": report.number(found[row][3]), "at most": found[row][4].replace(" x ", " × "),
                                                                                        "": "holds" if found[row][5] else "**missed**"}[column]))
    out += ["Left out: " + line + "." for line in document["failures"]]
    return "\n\n".join(out) + "\n"


def build(folder):
    """{"load": ..., "gcp": ...}: the two Go programs."""
    load = proxies.build_load(folder)
    if not load:
        raise BenchError("the configuration bench needs Go: tools/setup peers")
    gcp = os.path.join(folder, "gcp")
    done = subprocess.run([shutil.which("go"), "build", "-o", gcp, "."], cwd=os.path.join(proxies.ROOT, "test", "interop", "gcp"), capture_output=True,
                          text=True, timeout=600)
    if done.returncode:
        raise BenchError("test/interop/gcp does not build:\n" + done.stderr)
    return {"load": load, "gcp": gcp}


def run(arguments, programs):
    results, failures = {}, []
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as folder:
        tools = build(folder)
        try:
            for shape in arguments.shapes.split(","):
                clusters, endpoints = map(int, shape.split("x"))
                for mode in arguments.modes.split(","):
                    for name, program in programs.items():
                        if name == "envoy" and clusters > 10000 and not arguments.all:
                            failures.append(f"Envoy with {clusters:,} clusters: it takes too long")
                            continue
                        began, one, work = time.monotonic(), None, os.path.join(folder, f"{name}-{mode}-{shape}")
                        os.mkdir(work)
                        try:
                            one = Run(name, program, clusters, endpoints, mode == "delta", work, tools, arguments.changes)
                            found = one.measure(arguments.patience)
                            results.setdefault(shape, {}).setdefault(mode, {})[name] = found
                            if clusters == 10000:
                                found["shrunk_mib"] = one.shrink()
                        except (BenchError, OSError) as error:
                            failures.append(f"{name}, {spoken(shape)}, {mode}: {' '.join(str(error).split())[:500]}")
                            print("LEFT OUT " + failures[-1], file=sys.stderr, flush=True)
                        finally:
                            if one:
                                one.end()
                        print(f"{name} {mode} {shape}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            failures.append("the bench was stopped before its end")
    complete(results)
    return {"versions": {name: proxies.version_of(name, program) for name, program in programs.items()}, "kernel": platform.release(),
            "changes": arguments.changes, "results": results, "failures": list(dict.fromkeys(failures))}


def main(words):
    parser = argparse.ArgumentParser(prog="tools/bench config", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="100x10,1000x10,10000x10,10x20000,100000x10", help="clusters x endpoints of each, by comma")
    parser.add_argument("--modes", default="delta,sotw", help="delta, sotw (state of the world)")
    parser.add_argument("--changes", type=int, default=5, help="changes of each kind, with and without traffic (5)")
    parser.add_argument("--patience", type=int, default=150, help="seconds that a proxy has to be ready (150)")
    parser.add_argument("--only", default="outrider,envoy")
    parser.add_argument("--all", action="store_true", help="Envoy with 100,000 clusters too")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there, between '<!-- bench config: begin' and '<!-- bench config: end -->'")
    parser.add_argument("--render", metavar="FILE", help="measure nothing: tables and Markdown of what --json wrote")
    parser.add_argument("--outrider", default=proxies.find_outrider(), help="the program (default: the release build of this checkout)")
    arguments = parser.parse_args(words)
    raise_file_limit()
    if arguments.render:
        with open(arguments.render) as file:
            document = json.load(file)
    else:
        programs = {name: arguments.outrider if name == "outrider" else proxies.FINDERS[name]() for name in arguments.only.split(",")}
        for name in [name for name, program in programs.items() if not program]:
            print(f"{name}: not here, left out", file=sys.stderr)
            del programs[name]
        document = run(arguments, programs)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(document, file, indent=1)
    print_tables(document)
    if arguments.markdown:
        report.put_markdown(arguments.markdown, markdown(document), "bench config")
    return 0
