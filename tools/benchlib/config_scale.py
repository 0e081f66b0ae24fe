"""Large configurations over delta ADS: what a proxy needs to take N clusters, and what one changed endpoint costs it.

tools/bench config [--clusters 1000,10000] [--changes 20] [--only outrider,envoy] [--outrider FILE]

The control plane is Outrider's own (`outrider control-plane`), the same for both; only the proxy's CPU and memory count.
Each cluster has one endpoint by EDS. A change is seen when the control plane has the proxy's ACK for it.
"""
import argparse
import os
import re
import statistics
import tempfile
import time

from . import proxies, report
from .processes import BenchError, Process, free_ports, raise_file_limit

HEAD = "resources:\n"
CLUSTER = """- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: c%d
  type: EDS
  connect_timeout: 1s
  eds_cluster_config: { eds_config: { ads: {}, resource_api_version: V3 } }
"""
ENDPOINT = """- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: c%d
  endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %d } } } } ] } ]
"""
BOOTSTRAP = """node: { id: bench, cluster: bench }
dynamic_resources:
  ads_config: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: control_plane } } ] }
  cds_config: { ads: {}, resource_api_version: V3 }
static_resources:
  clusters:
  - name: control_plane
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
    load_assignment:
      cluster_name: control_plane
      endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %d } } } } ] } ]
"""


def write(path, text):
    """Appears in one step, so that the control plane never reads half a file."""
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


class ControlPlane:
    """The embedded control plane over a folder of `count` clusters; cluster 0's endpoint has a file of its own."""

    def __init__(self, outrider, folder, count):
        self.resources = os.path.join(folder, "resources")
        os.mkdir(self.resources)
        self.log = os.path.join(folder, "control-plane.out")
        self.port_of_change = 20000
        write(os.path.join(self.resources, "clusters.yaml"), HEAD + "".join(CLUSTER % number for number in range(count)))
        write(os.path.join(self.resources, "endpoints.yaml"), HEAD + "".join(ENDPOINT % (number, 19999) for number in range(1, count)))
        self.change()
        self.port = free_ports(1)[0]
        self.process = Process("control plane", [outrider, "control-plane", "--listen", f"127.0.0.1:{self.port}", "--dir", self.resources], None, self.log)
        self.process.wait_port(self.port, 120)

    def change(self):
        self.port_of_change += 1
        write(os.path.join(self.resources, "changed.yaml"), HEAD + ENDPOINT % (0, self.port_of_change))

    def endpoint_acks(self):
        with open(self.log, errors="replace") as file:
            text = file.read()
        if re.search(r"\bNACK\b", text):
            raise BenchError("the control plane reports a NACK:\n" + text[-2000:])
        return len(re.findall(r"^ACK .* EDS .*$", text, re.M))

    def wait_acks(self, least, seconds):
        deadline = time.monotonic() + seconds
        while self.endpoint_acks() < least:
            self.process.check_alive()
            if time.monotonic() > deadline:
                raise BenchError(f"no ACK of the endpoints within {seconds} s:\n{self.process.last_words()}")
            time.sleep(0.01)

    def wait_quiet(self, process, seconds=180):
        """Until the proxy uses less than 2 % of a core for a second, with an ACK of endpoints behind it; returns how long before that it was busy."""
        self.wait_acks(1, seconds)
        deadline, last_busy, before = time.monotonic() + seconds, time.monotonic(), process.cpu_seconds()
        while time.monotonic() < last_busy + 1:
            if time.monotonic() > deadline:
                raise BenchError(f"{process.name} is still busy after {seconds} s")
            time.sleep(0.2)
            now = process.cpu_seconds()
            if now - before > 0.004:
                last_busy = time.monotonic()
            before = now
        return last_busy


def measure(name, program, outrider, count, changes, folder):
    plane = ControlPlane(outrider, folder, count)
    proxy = None
    try:
        config = os.path.join(folder, "bootstrap.yaml")
        write(config, BOOTSTRAP % plane.port)
        started = time.monotonic()
        proxy = Process(name, proxies.envoy_command(name, program, config), None, os.path.join(folder, name + ".out"))
        took = plane.wait_quiet(proxy) - started
        result = {"start_s": took, "start_cpu_s": proxy.cpu_seconds(), "memory_mib": proxy.memory() / (1 << 20)}
        idle, clock = proxy.cpu_seconds(), time.monotonic()
        time.sleep(2)
        idle_rate = (proxy.cpu_seconds() - idle) / (time.monotonic() - clock)
        costs = []
        for _ in range(changes):
            acks, before, clock = plane.endpoint_acks(), proxy.cpu_seconds(), time.monotonic()
            plane.change()
            plane.wait_acks(acks + 1, 60)
            plane.wait_quiet(proxy, 60)
            costs.append(1000 * max(0, proxy.cpu_seconds() - before - idle_rate * (time.monotonic() - clock)))
        result["change_ms"], result["changes"] = statistics.median(costs), changes
        result["change_most_ms"] = max(costs)
        return result
    finally:
        if proxy:
            proxy.stop()
        plane.process.stop()


ROWS = [("start_s", "seconds from start until all is taken", "{:.2f}"), ("start_cpu_s", "CPU seconds for that", "{:.2f}"),
        ("memory_mib", "memory then, MiB (Pss)", "{:.0f}"), ("change_ms", "CPU of one endpoint change, ms (median)", "{:.2f}"),
        ("change_most_ms", "the same, the most", "{:.2f}")]


def main(words):
    parser = argparse.ArgumentParser(prog="tools/bench config", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", default="1000,10000", help="numbers of clusters, by comma")
    parser.add_argument("--changes", type=int, default=20, help="endpoint changes (20)")
    parser.add_argument("--only", default="outrider,envoy")
    parser.add_argument("--outrider", default=proxies.find_outrider(), help="the program (default: the release build of this checkout)")
    arguments = parser.parse_args(words)
    if not arguments.outrider:
        raise BenchError("build //source/server:outrider with -c opt first: its control plane serves the configuration")
    raise_file_limit()
    programs = {name: arguments.outrider if name == "outrider" else proxies.FINDERS[name]() for name in arguments.only.split(",")}
    programs = {name: program for name, program in programs.items() if program}
    for count in map(int, arguments.clusters.split(",")):
        results = {}
        for name, program in programs.items():
            with tempfile.TemporaryDirectory(prefix="outrider-bench-") as folder:
                results[name] = measure(name, program, arguments.outrider, count, arguments.changes, folder)
        print(report.table(f"{count} clusters over delta ADS, {arguments.changes} endpoint changes", [(key, label) for key, label, _ in ROWS], list(programs),
                           lambda key, name: {key: form for key, _, form in ROWS}[key].format(results[name][key])) + "\n", flush=True)
    return 0
