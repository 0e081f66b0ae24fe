"""Control planes and resources for the tests of dynamic configuration.

Own: `outrider control-plane` over a folder. Gcp: the Go program in gcp/, go-control-plane's own server, driven line by line.
Resources are dictionaries in JSON form with "@type", so both take the same ones.
"""
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time

import harness
from harness import Failure, check, wait_for

TYPES = {
    "CDS": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "EDS": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "LDS": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "RDS": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "SRDS": "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration",
    "SDS": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
    "RTDS": "type.googleapis.com/envoy.service.runtime.v3.Runtime",
}
ADS = {"ads": {}, "resource_api_version": "V3"}


# ---- resources --------------------------------------------------------------------------------------------------

def typed(kind, message):
    return dict({"@type": TYPES[kind]}, **message)


def eds_cluster(name, source=None, **more):
    return typed("CDS", dict({"name": name, "type": "EDS", "connect_timeout": "2s",
                              "eds_cluster_config": {"eds_config": source or ADS}}, **more))


def endpoints(name, *ports):
    return typed("EDS", {"cluster_name": name, "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": harness.address(port)}} for port in ports]}]})


def route(match, cluster_name, **action):
    return {"match": {"prefix": match}, "route": dict({"cluster": cluster_name}, **action)}


def routes(name, *list_of_routes, **more):
    return typed("RDS", dict({"name": name, "virtual_hosts": [
        {"name": "all", "domains": ["*"], "routes": list(list_of_routes)}]}, **more))


def rds_hcm(stat_prefix, route_name, source=None, **more):
    config = {"@type": harness.HCM, "stat_prefix": stat_prefix,
              "rds": {"route_config_name": route_name, "config_source": source or ADS},
              "http_filters": [{"name": "router", "typed_config": {"@type": harness.ROUTER}}]}
    config.update(more)
    return {"name": "hcm", "typed_config": config}


def listener(name, port, *filters, **more):
    return typed("LDS", harness.listener(name, port, *filters, **more))


def secret(name, certificate, key):
    return typed("SDS", {"name": name, "tls_certificate": {
        "certificate_chain": {"inline_string": open(certificate).read()}, "private_key": {"inline_string": open(key).read()}}})


def sds_tls(name, source=None):
    return {"name": "tls", "typed_config": {"@type": harness.DOWNSTREAM_TLS, "common_tls_context": {
        "tls_certificate_sds_secret_configs": [{"name": name, "sds_config": source or ADS}]}}}


def source_of(api_type, timeout=None):
    """A stream of its own to the cluster `xds`."""
    made = {"api_config_source": {"api_type": api_type, "transport_api_version": "V3",
                                  "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}, "resource_api_version": "V3"}
    if timeout:
        made["initial_fetch_timeout"] = timeout
    return made


def bootstrap(proxy, xds_port, delta=False, own_streams=False, lds=True, cds=True, timeout=None, **more):
    api = "DELTA_GRPC" if delta else "GRPC"
    dynamic = {}
    if own_streams:
        source = source_of(api, timeout)
    else:
        source = dict(ADS)
        if timeout:
            source["initial_fetch_timeout"] = timeout
        dynamic["ads_config"] = {"api_type": api, "transport_api_version": "V3",
                                 "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}
    if cds:
        dynamic["cds_config"] = source
    if lds:
        dynamic["lds_config"] = source
    made = harness.bootstrap([], [harness.cluster("xds", xds_port, **harness.http2_options())], proxy.admin_port,
                             dynamic_resources=dynamic)
    made.update(more)
    return made


# ---- peers ------------------------------------------------------------------------------------------------------

class Backend:
    """HTTP/1.1; every answer's body is the backend's name."""

    def __init__(self, name):
        self.name, self.served = name, 0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self):
                owner.served += 1
                body = owner.name.encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_arguments):
                pass
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def get(port, path="/", headers=(), timeout=5, connection=None):
    """(status, body); one connection of its own unless given."""
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        own.request("GET", path, headers=dict(headers))
        answer = own.getresponse()
        return answer.status, answer.read().decode("latin-1")
    finally:
        if connection is None:
            own.close()


def answers(port, path="/", headers=()):
    """Like get(); None when nobody serves there."""
    try:
        return get(port, path, headers)
    except (OSError, http.client.HTTPException):
        return None


class Load:
    """Requests without pause from `threads` clients, half of them on fresh connections; whatever is not 200 is kept."""

    def __init__(self, port, threads=2, path="/", pause=0.002):
        self.port, self.path, self.pause = port, path, pause
        self.count, self.failures, self.stop_asked = 0, [], False
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        kept = None
        while not self.stop_asked:
            try:
                if number % 2:
                    status, body = get(self.port, self.path)
                else:
                    if kept is None:
                        kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                    kept.request("GET", self.path)
                    answer = kept.getresponse()
                    status, body = answer.status, answer.read()
                    if answer.will_close:
                        kept.close()
                        kept = None
                self.count += 1
                if status != 200:
                    self.failures.append("%d %s" % (status, body))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                kept = None
            time.sleep(self.pause)

    def end(self):
        self.stop_asked = True
        for thread in self.threads:
            thread.join(10)
        check(self.count > 0, "no request was made")
        check(not self.failures, "%d of %d requests failed, first: %s" % (len(self.failures), self.count, self.failures[:3]))
        return self.count


# ---- control planes ---------------------------------------------------------------------------------------------

class Lines:
    """A child's standard output, read as it comes."""

    def __init__(self, child):
        self.child, self.lines = child, []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))


class Own:
    """`outrider control-plane` over a folder with one file, replaced by rename."""

    def __init__(self, outrider, folder, resources, port=0):
        self.outrider, self.folder = outrider, os.path.join(folder, "served")
        os.makedirs(self.folder, exist_ok=True)
        self.put(resources)
        self.start(port)

    def start(self, port=0):
        self.child = harness.spawn([self.outrider, "control-plane", "--listen", "127.0.0.1:%d" % port, "--dir", self.folder],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.output = Lines(self.child)

        def port_said():
            check(self.child.poll() is None, "the control plane ended: %s" % self.output.lines)
            for line in self.output.lines:
                if line.startswith("control plane on "):
                    return int(re.match(r"control plane on [^ ]*:(\d+),", line).group(1))
            return None
        self.port = wait_for(port_said, 20, "the control plane's port")

    def put(self, resources, name="all.yaml"):
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w") as out:
            json.dump({"resources": resources}, out, indent=1)
        os.rename(path + ".new", path)

    def lines(self, word, since=0):
        return [line for line in self.output.lines[since:] if word in line]

    def mark(self):
        return len(self.output.lines)

    def expect(self, pattern, since=0, seconds=10):
        """The first line since that mark that matches."""
        def found():
            return next((line for line in self.output.lines[since:] if re.search(pattern, line)), None)
        return wait_for(found, seconds, lambda: "a line like %r; since then: %s" % (pattern, self.output.lines[since:][-12:]))

    def stop(self):
        return harness.end(self.child)


class Gcp:
    """go-control-plane, see gcp/main.go."""
    binary = None

    @classmethod
    def build(cls, folder):
        """Why it cannot be built here, or None."""
        go = shutil.which("go") or ("/usr/local/go/bin/go" if os.path.exists("/usr/local/go/bin/go") else None)
        if not go:
            return "there is no Go toolchain"
        binary = os.path.join(folder, "gcp")
        try:
            made = subprocess.run([go, "build", "-o", binary, "."], cwd=os.path.join(os.path.dirname(os.path.abspath(__file__)), "gcp"),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400)
        except subprocess.TimeoutExpired:
            return "go build did not end within 400 s"
        if made.returncode:
            return "go build: " + harness.short(made.stdout.decode("utf-8", "replace"))
        cls.binary = binary
        return None

    def __init__(self, *flags, port=0):
        self.child = harness.spawn([self.binary, "-port", str(port)] + list(flags), stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        self.events = []
        self.applied = self.version = 0
        threading.Thread(target=self.read, daemon=True).start()
        first = self.expect(lambda e: e["event"] == "listening", seconds=20)
        self.port = first["port"]

    def read(self):
        for line in self.child.stdout:
            self.events.append(json.loads(line))

    def command(self, **fields):
        before = self.mark()
        self.child.stdin.write((json.dumps(fields) + "\n").encode())
        self.child.stdin.flush()
        done = self.expect(lambda e: e["event"] in ("applied", "error"), before, 60)
        check(done["event"] == "applied", "the control plane refused a command: %s" % done)

    def put(self, resources):
        self.version += 1
        self.command(version=str(self.version), resources=resources)
        return str(self.version)

    def mark(self):
        return len(self.events)

    def expect(self, wanted, since=0, seconds=10):
        def found():
            return next((event for event in self.events[since:] if wanted(event)), None)

        def what():
            check(self.child.poll() is None, "the control plane ended with %s" % self.child.returncode)
            return "an event; last: %s" % self.events[since:][-6:]
        return wait_for(found, seconds, what)

    def requests(self, kind, since=0):
        return [e for e in self.events[since:] if e["event"] == "request" and e["type"] == TYPES[kind]]

    def expect_ack(self, kind, since=0, seconds=10, version=None):
        """The answer to the first response of that type (and version) since the mark is an ACK."""
        sent = self.expect(lambda e: e["event"] == "response" and e["type"] == TYPES[kind] and version in (None, e["version"]), since, seconds)
        answer = self.expect(lambda e: e["event"] == "request" and e["type"] == TYPES[kind] and e["nonce"] == sent["nonce"], since, seconds)
        check(not answer["error"], "%s was refused: %s" % (kind, answer["error"]))
        return answer

    def expect_nack(self, kind, since=0, seconds=10):
        return self.expect(lambda e: e["event"] == "request" and e["type"] == TYPES[kind] and e["error"], since, seconds)

    def stop(self):
        return harness.end(self.child)
