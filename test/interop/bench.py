"""A proxy between a client and scripted upstreams, and the script that plays groups of stories against it.

A process test makes a Script, hands its groups to run(), and in each group starts a Bench and ends it. Raw peers: h1.py, h2.py."""
import os
import threading

import h1
import harness
from harness import check, wait_for


class Script:
    """Options and results of one process test, which runs against Outrider, or with --proxy envoy against the reference."""

    def __init__(self, name, description, seconds=150):
        self.tally = harness.Tally(name)
        self.options = harness.options(description, proxy_choice=True)
        self.outrider = self.options.proxy == "outrider"
        harness.bound(seconds)

    def folder(self, name):
        path = os.path.join(harness.work_folder(self.options.keep), name)
        os.makedirs(path)
        return path

    def stories(self, *pairs):
        """Plays (title, function) one after another."""
        for title, story in pairs:
            self.tally.run(title, story)

    def run(self, **groups):
        """Calls each group with this script, or those that --only names; returns the exit code."""
        for name, group in groups.items():
            if not self.options.only or name in self.options.only.split(","):
                group(self)
        return self.tally.close()


class Bench:
    """A proxy with the given listeners and clusters, in a folder of its own."""

    def __init__(self, script, name, listeners, clusters, concurrency=1, flush_ms=20, log_level="error", **bootstrap):
        self.folder = script.folder(name)
        options = script.options
        self.proxy = harness.Proxy(options.proxy, options.binary, self.folder, name=name, concurrency=concurrency, flush_ms=flush_ms,
                                   log_level=log_level, arguments=[] if script.outrider else ["--use-dynamic-base-id"])
        self.proxy.start(harness.bootstrap(listeners, clusters, self.proxy.admin_port, **bootstrap),
                         listening=listeners[0]["address"]["socket_address"]["port_value"])

    def stat(self, name):
        """One counter or gauge; 0 as long as there is none of that name."""
        return self.proxy.stats("^%s$" % name.replace(".", "[.]")).get(name, 0)

    def reaches(self, name, least, seconds=8):
        """Waits until a counter or gauge is at least that."""
        wait_for(lambda: self.stat(name) >= least, seconds, lambda: "%s to be %d, is %d" % (name, least, self.stat(name)), pause=0.02)

    def counters(self, wanted):
        """Counters as expected (their values, not what they moved by)."""
        wrong = {}

        def met():
            wrong.clear()
            now = self.proxy.stats("^cluster[.]")
            wrong.update({k: now.get(k, 0) for k, v in wanted.items() if now.get(k, 0) != v})
            return not wrong
        wait_for(met, 5, lambda: "counters %s, wanted %s" % (wrong, {k: wanted[k] for k in wrong}), pause=0.05)

    def stop(self):
        self.proxy.stop()


CLUSTER_LOG = ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\t%RESPONSE_CODE%\t%RESPONSE_FLAGS%\t%RESPONSE_CODE_DETAILS%\t%UPSTREAM_HOST%\t"
               "%UPSTREAM_REQUEST_ATTEMPT_COUNT%\n")


class ClusterBench(Bench):
    """A proxy whose path /<cluster>/... leads to that cluster with the prefix cut off; `log` has a line a request."""

    def __init__(self, script, name, clusters, routes=None, **more):
        self.script, self.port = script, harness.free_port()
        made = []
        for each in clusters:
            action = {"cluster": each["name"], "prefix_rewrite": "/", "timeout": "8s"}
            action.update((routes or {}).get(each["name"], {}))
            made.append({"match": {"prefix": "/%s/" % each["name"]}, "route": action})
        self.log = harness.LogFile(os.path.join(script.folder(name + "-log"), "log"))
        hcm = harness.hcm("in", [{"name": "all", "domains": ["*"], "routes": made}], [harness.file_log(self.log.path, CLUSTER_LOG)])
        super().__init__(script, name, [harness.listener("in", self.port, hcm)], clusters, **more)

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

    def send(self, path):
        """A client whose request is under way."""
        client = self.client()
        client.send(("GET %s HTTP/1.1\r\nhost: h\r\n\r\n" % path).encode())
        return client

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

    def settles(self, path, want, seconds=8, requests=6):
        """Waits until requests to the path are served by exactly these."""
        last = {}

        def met():
            last.clear()
            last.update(self.who(path, requests))
            return set(last) == want
        wait_for(met, seconds, lambda: "%s to be served by %s, last %s" % (path, want, last), pause=0.03)

    def lines_of(self, path):
        """All lines so far whose path begins so."""
        self.log.offset = 0
        return [l.decode().rstrip("\n").split("\t") for l in self.log.fresh() if l.decode().startswith(path)]

    def last_line(self, path):
        return wait_for(lambda: self.lines_of(path), 5, "a log line of %s" % path)[-1]

    def health_flags(self, cluster, port):
        """What /clusters says of a host's health."""
        text = self.proxy.admin("GET", "/clusters")[2].decode()
        mark = "%s::127.0.0.1:%d::health_flags::" % (cluster, port)
        return next((l[len(mark):] for l in text.splitlines() if l.startswith(mark)), None)


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


# ---- clusters of a bootstrap ----

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


def breaker(**limits):
    return {"circuit_breakers": {"thresholds": [limits]}}
