#!/usr/bin/env python3
"""Connections to the hosts of a cluster: pools, circuit breakers, timeouts to connect. Runs against Outrider, or with --proxy envoy against
the reference."""
import os
import select
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
import h1
import h2
from bench import ClusterBench, Script, breaker, http_options, parallel
from harness import check, wait_for


class Scripted:
    """An HTTP/1 server that plays one function a connection: play(server, socket, number of the connection)."""

    def __init__(self, play):
        self.play, self.accepted, self.executed = play, 0, []
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listening.getsockname()[1]
        self.lock = threading.Lock()
        harness.each_connection(self.listening, self._one)

    def _one(self, s):
        with self.lock:
            self.accepted += 1
            number = self.accepted
        try:
            self.play(self, s, number)
        except OSError:
            pass
        finally:
            s.close()

    def request(self, s, seconds=10):
        """Method and id (the path) of the next request, read to its end; None at the end or after `seconds`."""
        s.settimeout(seconds)
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                more = s.recv(65536)
                if not more:
                    return None
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            length = [int(l.split(b":")[1]) for l in head.lower().split(b"\r\n") if l.startswith(b"content-length:")]
            while length and len(body) < length[0]:
                body += s.recv(65536)
        except socket.timeout:
            return None
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        return method, path

    def answer(self, s, seen):
        with self.lock:
            self.executed.append(seen)
        s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def pools(script):
    a = h1.Upstream("a")
    two, few, away, solo = h2.Upstream("two"), h2.Upstream("few", initial_settings=[(3, 2)]), h2.Upstream("away"), h2.Upstream("solo")

    def once(server, s, _number):
        # Serves one request; the connection then ends when the next one arrives, as in a race with an idle timeout.
        seen = server.request(s)
        if seen:
            server.answer(s, seen)
            server.request(s)

    def tight(server, s, _number):
        while True:
            seen = server.request(s, 0.08)       # an idle timeout that clients meet exactly
            if seen is None:
                return
            server.answer(s, seen)
    seen = []

    def says_who(server, s, _number):
        seen.append(s.getpeername()[0])
        server.answer(s, server.request(s))

    def hears(_server, s, _number):
        seen.append(s.recv(65536)[:16])
    racing, timed, peers, first = Scripted(once), Scripted(tight), Scripted(says_who), Scripted(hears)
    bench = ClusterBench(script, "pools", [
        harness.cluster("reuse", a.port),
        harness.cluster("most", a.port, **http_options({"max_requests_per_connection": 2})),
        harness.cluster("oldmost", a.port, max_requests_per_connection=3),
        harness.cluster("idle", a.port, **http_options({"idle_timeout": "0.3s"})),
        harness.cluster("h2", two.port, **http_options(http2={})),
        harness.cluster("h2few", few.port, **http_options(http2={})),
        harness.cluster("h2most", two.port, **http_options({"max_requests_per_connection": 2}, http2={})),
        harness.cluster("h2idle", solo.port, **http_options({"idle_timeout": "0.3s"}, http2={})),
        harness.cluster("away", away.port, **http_options(http2={})),
        harness.cluster("racing", racing.port), harness.cluster("timed", timed.port),
        harness.cluster("bound", peers.port, upstream_bind_config={"source_address": harness.address(0, "127.0.0.7")["socket_address"]}),
        harness.cluster("like", first.port, **{"typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": harness.HTTP_OPTIONS, "use_downstream_protocol_config": {
                "http_protocol_options": {}, "http2_protocol_options": {}}}}}),
    ])

    def fresh(upstream, jobs):
        """Connections that the jobs opened at the upstream, as requests a connection."""
        with upstream.lock:
            before = len(upstream.connections)
        jobs()
        with upstream.lock:
            return upstream.connections[before:]

    def reuse():
        made = fresh(a, lambda: bench.who("/reuse/", 10))
        check([len(c.requests) for c in made] == [10], "requests a connection: %s" % [len(c.requests) for c in made])
        # As many connections as requests at once, and no more.
        made = fresh(a, lambda: parallel([lambda: bench.get("/reuse/size/300000") for _ in range(8)]))
        check(len(made) <= 7, "%d new connections for 8 requests at once beside an idle one" % len(made))

    def most():
        for path, limit in (("/most/", 2), ("/oldmost/", 3)):
            made = fresh(a, lambda: bench.who(path, 6))
            check([len(c.requests) for c in made] == [limit] * (6 // limit), "%s: requests a connection: %s" % (path, [len(c.requests) for c in made]))
            wait_for(lambda: all(not c.open for c in made), 3, "used up connections to close")

    def idle():
        made = fresh(a, lambda: bench.get("/idle/"))
        check(made[0].open, "closed at once")
        wait_for(lambda: not made[0].open, 3, "the idle connection to close")
        made = fresh(a, lambda: bench.get("/idle/"))
        check(len(made) == 1, "no new connection after the old one closed")

    def closing():
        for _ in range(3):
            check(bench.status("/reuse/closing") == 200, "status")
        after = [c.requests[i + 1].target for c in a.connections for i, r in enumerate(c.requests[:-1]) if r.target == "/closing"]
        check(not after, "a connection was used after 'connection: close'")

    def multiplexed():
        before = two.connections
        held = [bench.send("/h2/hang") for _ in range(20)]
        wait_for(lambda: sum(1 for r in two.since(0) if r.target == "/hang") >= 20, 3, "20 requests at the upstream")
        check(two.connections - before == 1, "20 requests at once took %d connections" % (two.connections - before))
        for each in held:
            each.close(rst=True)
        check(bench.status("/h2/") == 200, "the connection is of no use after 20 resets")

    def few_streams():
        results = parallel([lambda: bench.status("/h2few/size/100000") for _ in range(12)])
        check(results == [200] * 12, "statuses %s" % results)

    def h2_most():
        before = two.connections
        for _ in range(6):
            check(bench.status("/h2most/") == 200, "status")
        check(two.connections - before == 3, "6 requests took %d connections" % (two.connections - before))

    def h2_idle():
        check(bench.status("/h2idle/") == 200, "status")
        wait_for(lambda: solo.closed == 1, 3, "the idle connection to close")
        check(bench.status("/h2idle/") == 200 and solo.connections == 2, "no new connection after the old one closed")

    def goaway():
        before = away.connections
        for _ in range(4):
            check(bench.status("/away/goaway") == 200, "the answer before GOAWAY was lost")
        check(away.connections - before == 4, "a connection was used after GOAWAY")

    def bound():
        del seen[:]
        check(bench.status("/bound/") == 200 and seen == ["127.0.0.7"], "connections from %s" % seen)

    def like_downstream():
        del seen[:]
        check(bench.status("/like/") == 503 and seen and seen[0].startswith(b"GET / HTTP/1.1"), "an HTTP/1 client's upstream hears %s" % seen)
        del seen[:]
        with h2.Client(bench.port) as client:
            stream = client.new_stream()
            client.headers(stream, h2.get(path="/like/"), end=True)
            check(client.until(lambda: client.stream(stream).over, 5), "no answer over HTTP/2")
        check(seen and seen[0].startswith(b"PRI * HTTP/2.0"), "an HTTP/2 client's upstream hears %s" % seen)

    def raced_get():
        results = [bench.status("/racing/%d" % i) for i in range(20)]
        if not script.outrider:
            return        # without a retry policy it answers 503
        check(results == [200] * 20, "statuses %s" % results)
        paths = [p for _, p in racing.executed]
        check(len(paths) == len(set(paths)), "a request was answered twice")

    def raced_post():
        before = len(racing.executed)
        results = [bench.status("/racing/p%d" % i, method="POST", body=b"x") for i in range(20)]
        done = [p for m, p in racing.executed[before:] if m == "POST"]
        check(len(done) == len(set(done)), "a POST was executed twice")
        check(set(results) <= {200, 503} and results.count(200) == len(done), "%s, executed %d" % (results, len(done)))
        failed = [l for l in bench.lines_of("/racing/p") if l[1] == "503"]
        check(all(l[2] == "UC" for l in failed), "logged %s" % failed)

    def timed_race():
        # Each client asks again at the moment when its upstream connection times out.
        def one(number, method):
            seen = []
            with bench.client() as client:
                for i in range(25):
                    seen.append(bench.status("/timed/%s%d-%d" % (method, number, i), client=client, method=method,
                                             body=b"x" if method == "POST" else None))
                    time.sleep(0.0795 + 0.001 * (i % 2))     # the client's own pace, not a wait for anything
            return seen
        jobs = [lambda n=n, m=m: one(n, m) for n in range(4) for m in ("GET", "POST")]
        gets, posts = [], []
        for (n, m), result in zip([(n, m) for n in range(4) for m in ("GET", "POST")], parallel(jobs)):
            check(isinstance(result, list), "%s" % result)
            (gets if m == "GET" else posts).extend(result)
        if script.outrider:
            check(set(gets) == {200}, "GETs failed %d times of %d: %s" % (len(gets) - gets.count(200), len(gets), [
                l for l in bench.lines_of("/timed/GET") if l[1] != "200"]))
        done = [p for m, p in timed.executed if m == "POST"]
        check(len(done) == len(set(done)), "a POST was executed twice")

    def counters():
        bench.counters({
            "cluster.most.upstream_cx_max_requests": 3, "cluster.most.upstream_cx_http1_total": 3, "cluster.oldmost.upstream_cx_max_requests": 2,
            "cluster.h2most.upstream_cx_max_requests": 3, "cluster.h2most.upstream_cx_http2_total": 3, "cluster.away.upstream_cx_close_notify": 4, "cluster.reuse.upstream_cx_close_notify": 3,
            "cluster.h2.upstream_cx_http2_total": 1, "cluster.h2.upstream_rq_total": 21, "cluster.h2.upstream_rq_tx_reset": 20,
            "cluster.h2.upstream_rq_200": 1, "cluster.h2.upstream_rq_active": 0})
        idle_now = bench.proxy.stats("idle_timeout")
        check(idle_now["cluster.idle.upstream_cx_idle_timeout"] >= 1 and idle_now["cluster.h2idle.upstream_cx_idle_timeout"] >= 1, "%s" % idle_now)

    script.stories(
        ("HTTP/1: one connection serves one after another", reuse), ("max_requests_per_connection", most),
        ("HTTP/1: idle_timeout closes", idle), ("HTTP/1: connection: close is honoured", closing),
        ("HTTP/2: one connection serves many at once", multiplexed), ("HTTP/2: the peer's stream limit is kept", few_streams),
        ("HTTP/2: max_requests_per_connection", h2_most), ("HTTP/2: idle_timeout closes", h2_idle),
        ("HTTP/2: GOAWAY moves on to a new connection", goaway), ("pools count as the reference does", counters),
        ("a connection that ends as a GET arrives: asked once more on another", raced_get),
        ("a connection that ends as a POST arrives: 503, never executed twice", raced_post),
        ("requests that meet the upstream's idle timeout", timed_race),
        ("upstream_bind_config.source_address", bound), ("use_downstream_protocol_config: the upstream hears the client's protocol", like_downstream))
    bench.stop()


def breakers(script):
    a, two = h1.Upstream("a"), h2.Upstream("two")
    bench = ClusterBench(script, "breakers", [
        harness.cluster("cx", a.port, **breaker(max_connections=1, max_pending_requests=1)),
        harness.cluster("pending", a.port, **breaker(max_connections=1, max_pending_requests=0)),
        harness.cluster("rq", two.port, **breaker(max_requests=3), **http_options(http2={})),
        harness.cluster("rq1", a.port, **breaker(max_connections=1, max_requests=1, max_pending_requests=5)),
        harness.cluster("retries", a.port, **breaker(max_retries=0)),
        harness.cluster("left", a.port, **breaker(max_connections=2, max_pending_requests=5, max_requests=4, max_retries=3, track_remaining=True)),
        harness.cluster("high", a.port, circuit_breakers={"thresholds": [
            {"priority": "DEFAULT", "max_pending_requests": 0}, {"priority": "HIGH", "max_pending_requests": 5}]}),
    ], routes={"retries": {"retry_policy": {"retry_on": "5xx", "num_retries": 2}}, "high": {"priority": "HIGH"}})

    def hang(path, upstream_count, least):
        client = bench.send(path)
        wait_for(lambda: upstream_count() >= least, 3, "%s to reach the upstream" % path)
        return client

    def hung():
        return sum(1 for c in a.connections if c.open and c.requests and c.requests[-1].target.startswith("/hang"))

    def refused(path):
        answer = bench.get(path, timeout=3)
        check((answer.status, answer.body) == (503, b"upstream connect error or disconnect/reset before headers. reset reason: overflow"),
              "%s %r" % (answer.status, answer.body))
        check(answer.get("x-envoy-overloaded") == "true", "x-envoy-overloaded is %s" % answer.get("x-envoy-overloaded"))
        line = bench.last_line(path)
        check(line[2:4] == ["UO", "upstream_reset_before_response_started{overflow}"], "logged %s" % line)

    def connections():
        one = hang("/cx/hang", hung, 1)
        waiting = bench.send("/cx/")
        bench.reaches("cluster.cx.upstream_rq_pending_active", 1)
        refused("/cx/third")
        gauges = bench.proxy.stats("^cluster[.]cx[.]circuit_breakers[.]default")
        check(gauges.get("cluster.cx.circuit_breakers.default.cx_open") == 1 and
              gauges.get("cluster.cx.circuit_breakers.default.rq_pending_open") == 1, "gauges %s" % gauges)
        check(hung() == 1 and sum(1 for c in a.connections if c.open) == 1, "a second connection was made")
        one.close(rst=True)               # ends its upstream connection: the one that waits gets a new one
        answer = waiting.response()
        check(answer.status == 200, "who waited got %s" % answer.status)
        waiting.close()
        check(bench.status("/cx/") == 200, "the breaker stays open")

    def pending():
        refused("/pending/")

    def requests():
        def at_two():
            return sum(1 for r in two.since(0) if r.target.startswith("/hang") and r.reset is None)
        held = []
        for i in range(3):
            held.append(bench.send("/rq/hang"))
            wait_for(lambda: at_two() >= i + 1, 3, "request %d to reach the upstream" % i)
        refused("/rq/fourth")
        held.pop().close(rst=True)
        wait_for(lambda: at_two() == 2, 3, "the request to be given up")
        check(bench.status("/rq/") == 200, "the breaker stays open")
        for each in held:
            each.close(rst=True)

    def waiting_is_no_request():
        # While requests wait for the only connection they count as pending, not as requests.
        one = hang("/rq1/hang", hung, 1)
        waiting = [bench.send("/rq1/") for _ in range(3)]
        bench.reaches("cluster.rq1.upstream_rq_pending_active", 3)
        one.close(rst=True)
        got = [each.response().status for each in waiting]
        check(got == [200, 200, 200], "who waited got %s" % got)
        for each in waiting:
            each.close()

    def retries():
        answer = bench.get("/retries/status/503")
        line = bench.last_line("/retries/")
        check(answer.status == 503 and line[5] == "1" and line[2] == "UO", "retried without a permit: %s" % line)

    def priorities():
        check(bench.status("/high/") == 200, "the HIGH thresholds do not hold")

    def remaining():
        def left():
            now = bench.proxy.stats("^cluster[.]left[.]circuit_breakers[.]default[.]remaining")
            return {k.rpartition("_")[2]: v for k, v in now.items() if not k.endswith("_pools")}
        at_rest = {"cx": 2, "pending": 5, "rq": 4, "retries": 3}
        wait_for(lambda: left() == at_rest, 5, lambda: "what is left at rest: %s" % left())
        one = bench.send("/left/hang")
        wait_for(lambda: left() == dict(at_rest, cx=1, rq=3), 5, lambda: "what is left beside one request: %s" % left())
        one.close(rst=True)
        wait_for(lambda: left() == at_rest, 5, lambda: "what is left after it: %s" % left())

    def counters():
        bench.counters({
            "cluster.cx.upstream_rq_pending_overflow": 1, "cluster.cx.upstream_rq_503": 1, "cluster.cx.circuit_breakers.default.cx_open": 1,
            "cluster.cx.circuit_breakers.default.rq_pending_open": 0, "cluster.pending.upstream_rq_pending_overflow": 1,
            "cluster.rq.upstream_rq_active_overflow": 1, "cluster.rq1.upstream_rq_active_overflow": 0, "cluster.rq1.upstream_rq_pending_overflow": 0,
            "cluster.rq1.upstream_rq_200": 3, "cluster.retries.upstream_rq_retry_overflow": 1, "cluster.high.upstream_rq_pending_overflow": 0})

    script.stories(
        ("max_connections and max_pending_requests", connections), ("max_pending_requests of 0", pending),
        ("max_requests", requests), ("requests that wait are no requests yet", waiting_is_no_request),
        ("max_retries of 0", retries), ("thresholds by priority", priorities), ("track_remaining shows what is left", remaining),
        ("breakers count as the reference does", counters))
    bench.stop()

    wide = ClusterBench(script, "exact", [harness.cluster("rq", two.port, **breaker(max_requests=7), **http_options(http2={})),
                           harness.cluster("pend", 1, **breaker(max_pending_requests=4))], concurrency=3)

    def exact():
        base = two.mark()
        clients = [wide.send("/rq/hang") for _ in range(60)]
        # Every request is at the upstream or answered; whichever is more than the limit allows shows in the sums.
        refused = lambda: select.select([each.socket for each in clients], [], [], 0)[0]
        wait_for(lambda: len(two.since(base)) + len(refused()) >= 60, 10,
                 lambda: "60 fates: %d at the upstream, %d answered" % (len(two.since(base)), len(refused())))
        answered = set(refused())
        statuses = [each.response(timeout=5).status for each in clients if each.socket in answered]
        check(set(statuses) == {503}, "statuses %s" % statuses)
        there, refusals = len(two.since(base)), len(statuses)
        check(there == 7 and refusals == 53, "%d reached the upstream, %d were refused; the limit is 7" % (there, refusals))
        for each in clients:
            each.close(rst=True)
    script.tally.run("max_requests is exact over all workers", exact)
    wide.stop()


def connecting(script):
    kept = harness.black_hole()
    hole = kept[0].getsockname()[1]
    refused = harness.free_port()
    bench = ClusterBench(script, "connecting", [
        harness.cluster("hole", hole, connect_timeout="0.3s"), harness.cluster("refused", refused),
        harness.cluster("holeh2", hole, connect_timeout="0.3s", **http_options(http2={})),
    ], routes={"hole": {}, "refused": {}})

    def expect(path, body, details, least):
        before = time.monotonic()
        answer = bench.get(path)
        took = time.monotonic() - before
        check((answer.status, answer.body.decode()) == (503, body), "%s %r" % (answer.status, answer.body))
        check(least <= took, "took %.2f s" % took)
        line = bench.last_line(path)
        check(line[2:4] == ["UF", details], "logged %s" % line)

    def timeout():
        for path in ("/hole/", "/holeh2/"):
            expect(path, "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
                   "upstream_reset_before_response_started{connection_timeout}", 0.28)

    def refusal():
        answer = bench.get("/refused/")
        text = answer.body.decode()
        check(answer.status == 503 and text.startswith("upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"),
              "%s %r" % (answer.status, text))
        line = bench.last_line("/refused/")
        check(line[2:4] == ["UF", "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"], "logged %s" % line)

    def counters():
        bench.counters({
            "cluster.hole.upstream_cx_connect_timeout": 1, "cluster.hole.upstream_cx_connect_fail": 1, "cluster.hole.upstream_rq_pending_failure_eject": 1,
            "cluster.hole.upstream_cx_http1_total": 1, "cluster.hole.upstream_rq_503": 1, "cluster.hole.upstream_cx_destroy_local": 1,
            "cluster.refused.upstream_cx_connect_fail": 1, "cluster.refused.upstream_cx_connect_timeout": 0, "cluster.refused.upstream_cx_destroy_remote": 1,
            "cluster.refused.upstream_rq_pending_failure_eject": 1, "cluster.holeh2.upstream_cx_http2_total": 1})
    script.stories(("connect_timeout answers 503 UF", timeout), ("a refused connection answers 503 UF", refusal),
                   ("failures to connect count as the reference does", counters))
    bench.stop()
    for s in kept:
        s.close()


def main():
    return Script("pools", __doc__).run(pools=pools, breakers=breakers, connecting=connecting)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
