#!/usr/bin/env python3
"""What a client sees when a host dies, by kind of death: refused, reset, black hole, slow, 5xx.

Traffic runs all the time over two hosts. One of them dies and later comes back. Without retries only requests that met the dead host
before active health checks noticed may fail; with retries none may. Afterwards the dead host gets nothing, until it is back.
Runs against Outrider, or with --proxy envoy against the reference."""
import os
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
import h1
from harness import check, wait_for

tally = harness.Tally("faults")
options = None

PREVIOUS_HOSTS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
INTERVAL = 0.1          # of health checks, seconds
THRESHOLD = 2


class Mortal:
    """An HTTP/1.1 server that can die in several ways and come back."""

    def __init__(self, name):
        self.name, self.mode = name, "well"
        self.served = 0                       # requests that were answered 200, checks not counted
        self.met = 0                          # requests that met it dead, as far as it can see them
        self.lock = threading.Lock()
        self.kept = []
        self.back = threading.Event()         # a slow answer waits for it
        self.listen(0)

    def listen(self, port):
        self.listening = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self.listening.getsockname()[1]
        self.live = set()
        threading.Thread(target=self._accept, args=(self.listening,), daemon=True).start()

    def _accept(self, listening):
        while True:
            try:
                s, _ = listening.accept()
            except OSError:
                return
            with self.lock:
                self.live.add(s)
            if self.mode == "reset":
                self._reset(s)
                continue
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    @staticmethod
    def _reset(s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()

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
                health = b" /health" in head
                if self.mode != "well" and not health:
                    with self.lock:
                        self.met += 1
                if self.mode == "reset":
                    self._reset(s)
                    return
                if self.mode == "slow":
                    self.back.wait(3)                 # longer than any timeout of the routes
                status = 503 if self.mode == "5xx" else 200
                if status == 200 and self.mode == "well" and not health:
                    with self.lock:
                        self.served += 1
                s.sendall(b"HTTP/1.1 %d Said\r\nx-served-by: %s\r\ncontent-length: 2\r\n\r\nok" % (status, self.name.encode()))
        except OSError:
            pass
        finally:
            with self.lock:
                self.live.discard(s)
            try:
                s.close()
            except OSError:
                pass

    def _end(self):
        try:
            self.listening.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listening.close()
        with self.lock:
            for s in list(self.live):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def die(self, mode):
        self.mode = mode
        self.back.clear()
        if mode in ("refused", "black hole"):
            self._end()
        if mode == "black hole":
            self.kept = harness.black_hole(self.port)

    def recover(self):
        for s in self.kept:
            s.close()
        self.kept = []
        again = self.mode in ("refused", "black hole")
        self.mode = "well"
        if again:
            self.listen(self.port)
        self.back.set()


class Traffic:
    """Clients that ask one after another all the time; each answer with its time."""

    def __init__(self, port, path, clients=4, pause=0.004):
        self.port, self.path, self.pause = port, path, pause
        self.results, self.lock, self.over = [], threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def _run(self):
        client = None
        while not self.over.is_set():
            began = time.monotonic()
            try:
                client = client or h1.Client(self.port)
                client.send(("GET %s HTTP/1.1\r\nhost: h\r\n\r\n" % self.path).encode())
                answer = client.response(timeout=6)
                status = answer.status if answer else 0
                by = answer.get("x-served-by") if answer else None
                if not answer:
                    client = None
            except OSError:
                client, status, by = None, 0, None
            with self.lock:
                self.results.append((began, time.monotonic(), status, by))
            time.sleep(self.pause)                    # the pace of the traffic, not a wait for anything

    def more(self, each):
        """Waits until every client has made that many further requests from its first to its last byte."""
        since = time.monotonic()
        wanted = each * len(self.threads)

        def made():
            with self.lock:
                return sum(1 for r in self.results if r[0] >= since) >= wanted
        wait_for(made, 15, "%d requests of each client" % each)
        return since

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(8)
        return self.results


def health_of(proxy, cluster, port):
    """What /clusters says of the host's health."""
    mark = "%s::127.0.0.1:%d::health_flags::" % (cluster, port)
    return next((l[len(mark):] for l in proxy.admin("GET", "/clusters")[2].decode().splitlines() if l.startswith(mark)), "")


def run(kind, proxy, bench_port, path, host, other, retries):
    traffic = Traffic(bench_port, path)
    wait_for(lambda: {r[3] for r in traffic.results} >= {host.name, other.name}, 5, "both hosts to serve")
    traffic.more(10)
    died = time.monotonic()
    host.die(kind)
    wait_for(lambda: health_of(proxy, path.strip("/"), host.port).startswith("/failed_active_hc"), 10, "the death to be noticed")
    traffic.more(10)                             # begun after the word of /clusters, which every worker follows a turn later
    met = host.met
    quiet_from = traffic.more(30)                # by now it must be out of use
    later_met = host.met
    host.recover()
    recovered = time.monotonic()
    wait_for(lambda: any(r[3] == host.name and r[0] > recovered for r in list(traffic.results)), 10, "the host to serve again")
    traffic.more(10)
    results = traffic.stop()
    failed = [r for r in results if r[2] != 200]
    print("      %-10s %s: %d of %d requests failed, the last %.2f s after the death" % (
        kind, "with retries" if retries else "no retries  ", len(failed), len(results),
        max([r[1] - died for r in failed], default=0)))
    check(later_met == met, "%d requests still met the dead host" % (later_met - met))
    check(not [r for r in failed if r[0] < died - 0.05], "requests failed before the death")
    check(not [r for r in failed if r[0] > quiet_from], "requests failed although the death is known: %s" % [
        (round(r[0] - died, 2), r[2]) for r in failed if r[0] > quiet_from][:5])
    if retries:
        check(not failed, "%d requests failed in spite of retries: %s" % (len(failed), [(round(r[0] - died, 2), r[2]) for r in failed[:5]]))
    else:
        # The other host serves all the time: at most every second request until the checks noticed, and what was under way.
        asked = sum(1 for r in results if died - 0.05 <= r[0] <= quiet_from)
        check(len(failed) <= asked // 2 + len(traffic.threads), "%d of %d requests failed until the checks noticed" % (len(failed), asked))


def main():
    global options
    options = harness.options(__doc__, proxy_choice=True)
    harness.bound(110)
    work = harness.work_folder(options.keep)
    kinds = ("refused", "reset", "black hole", "slow", "5xx")
    pairs, clusters, routes = {}, [], []
    for kind in kinds:
        for retries in (False, True):
            name = kind.replace(" ", "") + ("-retry" if retries else "")
            pairs[name] = Mortal("dies"), Mortal("lives")
            check_of = {"timeout": "0.1s", "interval": "%.1fs" % INTERVAL, "no_traffic_interval": "%.1fs" % INTERVAL,
                        "unhealthy_threshold": THRESHOLD, "healthy_threshold": 2, "http_health_check": {"path": "/health"}}
            clusters.append(harness.cluster(name, *(m.port for m in pairs[name]), connect_timeout="0.2s", health_checks=[check_of],
                                            common_lb_config={"healthy_panic_threshold": {"value": 0}}))
            action = {"cluster": name, "timeout": "2s"}
            if retries:
                action["retry_policy"] = {"retry_on": "connect-failure,reset,5xx", "num_retries": 2, "per_try_timeout": "0.3s",
                                          "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.05s"},
                                          "host_selection_retry_max_attempts": 10, "retry_host_predicate": [{
                                              "name": "previous", "typed_config": {"@type": PREVIOUS_HOSTS}}]}
            else:
                action["timeout"] = "0.3s"
            routes.append({"match": {"prefix": "/" + name + "/"}, "route": action})
    for cluster in clusters:
        cluster["circuit_breakers"] = {"thresholds": [{"max_retries": 100}]}
    port = harness.free_port()
    proxy = harness.Proxy(options.proxy, options.binary, work, concurrency=2,
                          arguments=["--use-dynamic-base-id"] if options.proxy == "envoy" else [])
    hosts = [{"name": "all", "domains": ["*"], "routes": routes}]
    proxy.start(harness.bootstrap([harness.listener("in", port, harness.hcm("in", hosts))], clusters, proxy.admin_port), listening=port)
    for retries in (False, True):
        for kind in kinds:
            name = kind.replace(" ", "") + ("-retry" if retries else "")
            title = "%s: %s" % (kind, "with retries no request fails" if retries else "only requests before the checks notice fail")
            tally.run(title, run, kind, proxy, port, "/" + name + "/", *pairs[name], retries)

    def at_rest():
        check(proxy.alive(), "the proxy ended")
        proxy.expect_at_rest("^cluster[.]")
    tally.run("nothing is left under way", at_rest)
    proxy.stop()
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
