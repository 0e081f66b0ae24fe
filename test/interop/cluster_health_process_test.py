#!/usr/bin/env python3
"""Active health checks: what a host must answer, and what happens to traffic when it does not. Runs against Outrider, or with
--proxy envoy against the reference."""
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
import h2
from bench import ClusterBench, Script, http_options, placed
from harness import check, wait_for


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


def health_checks(script):
    a, b = Checked("a"), Checked("b")
    odd, quiet, named, other = Checked("odd"), Checked("quiet"), Checked("named"), Checked("other")
    moved, alone, off, eds_host = Checked("moved"), Checked("alone"), Checked("off"), Checked("eds")
    at_once, patient = Checked("atonce"), Checked("retriable")
    odd.status = 418
    plain = socket.create_server(("127.0.0.1", 0))
    two = h2.Upstream("two")

    def talk(s):
        with s:
            try:
                if s.recv(100) == b"ping":
                    s.sendall(b"xxpongyy")
                s.recv(100)
            except OSError:
                pass
    harness.each_connection(plain, talk)
    nothing = harness.free_port()
    lone = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
    bench = ClusterBench(script, "health", [
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
        harness.cluster("atonce", at_once.port, **health(unhealthy_threshold=1000), **lone),
        harness.cluster("retriable", patient.port, **health({"retriable_statuses": [{"start": 500, "end": 504}]}, unhealthy_threshold=4), **lone),
        harness.cluster("dead", moved.port, close_connections_on_host_health_failure=True, **health(), **lone),
    ])

    flags, settles = bench.health_flags, bench.settles

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
        before = quiet.checks
        wait_for(lambda: quiet.checks >= before + 2, 5, "the checks after it")
        check(bench.status("/quiet/") == 200, "one missing answer took the host out; unhealthy_threshold is 2")
        quiet.status = -1
        settles("/quiet/", {503})
        quiet.status = 200
        settles("/quiet/", {"quiet"})

    def expected():
        settles("/odd/", {"odd"})
        odd.status = 200
        settles("/odd/", {503})

    def threshold_of_answers():
        settles("/atonce/", {"atonce"})
        at_once.status = 503
        settles("/atonce/", {503})
        settles("/retriable/", {"retriable"})
        before = patient.checks
        patient.status = 503
        settles("/retriable/", {503})
        check(patient.checks - before >= 4, "out after %d checks; unhealthy_threshold is 4" % (patient.checks - before))
        patient.status, before = 200, patient.checks
        settles("/retriable/", {"retriable"})

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

    script.stories(
        ("health: out at the threshold, no traffic, back at the threshold", out_and_back),
        ("health: one missing answer is not enough", one_timeout_is_none), ("health: expected_statuses", expected),
        ("health: a wrong status counts at once, a retriable one to the threshold", threshold_of_answers),
        ("health: method, path, host and headers of the request", request_form),
        ("health: a host's own port and name", own_address), ("health: TCP with send and receive", tcp),
        ("health: over HTTP/2", over_h2), ("health: reuse_connection", connections),
        ("health: disable_active_health_check", switched_off), ("health: discovery's word counts, too", discovery_says),
        ("health: a process that ends and comes back", process_dies), ("health: counters", counters))
    bench.stop()


def main():
    return Script("health checks", __doc__).run(health=health_checks)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
