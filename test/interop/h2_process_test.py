#!/usr/bin/env python3
"""HTTP/2 end to end: the four pairs of protocols, resets and GOAWAY in each direction, limits on streams, windows, keepalive.

With --envoy every exchange of the four pairs is also played through the reference, and what differs is a failure.
"""
import os
import shutil
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import check

harness.enter_venv("hpack")
import h1
import h2
from h2 import (CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INTERNAL_ERROR, NO_ERROR, PING, PROTOCOL_ERROR, REFUSED_STREAM,
                RST_STREAM, WINDOW_UPDATE, frame, get)

U32 = struct.Struct(">I").pack


class Answer:
    def __init__(self, status, headers, body, trailers, interim, cut):
        self.status, self.headers, self.body, self.trailers, self.interim, self.cut = status, headers, body, trailers, interim, cut

    def get(self, name):
        return next((v for n, v in self.headers if n == name), None)


def ask(version, port, path="/ok", method="GET", headers=(), body=None, trailers=None):
    """One exchange on a new connection over HTTP/1 or HTTP/2. `cut`: the answer did not end as it should."""
    if version == 2:
        with h2.Client(port) as client:
            client.until(lambda: client.settings_seen, 3)      # windows as the proxy gives them, once it knows that we know
            check(client.alive(), "no answer to a PING")
            s = client.request(get(path, method, more=list(headers)), body, trailers, timeout=8)
            return Answer(s.status, s.headers, s.body, s.trailers, s.interim, s.reset is not None or not s.ended)
    with h1.Client(port) as client:
        text = "%s %s HTTP/1.1\r\nhost: h\r\n" % (method, path) + "".join("%s: %s\r\n" % p for p in headers)
        if trailers is not None:
            text += "transfer-encoding: chunked\r\n"
        elif body is not None:
            text += "content-length: %d\r\n" % len(body)
        data = text.encode() + b"\r\n"
        if trailers is not None:
            data += b"%x\r\n%s\r\n0\r\n" % (len(body), body) + "".join("%s: %s\r\n" % p for p in trailers).encode() + b"\r\n"
        elif body is not None:
            data += body
        client.send(data)
        a = client.response(method=method, timeout=8)
        if a is None:
            return Answer(None, [], b"", [], [], True)
        return Answer(a.status, a.headers, a.body, a.trailers, a.interim, not a.complete)


def start_nginx(folder, port):
    """nginx that speaks HTTP/2 and leaves a connection after 100 requests; None where it is not installed."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        return None
    at = os.path.join(folder, "nginx")
    os.makedirs(os.path.join(at, "www"))
    for name, data in (("small", b"small"), ("large", b"0123456789" * 30000)):
        with open(os.path.join(at, "www", name), "wb") as out:
            out.write(data)
    config = os.path.join(at, "nginx.conf")
    with open(config, "w") as out:
        out.write("""
daemon off; master_process off; worker_processes 1; pid %(f)s/pid; error_log %(f)s/error.log;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path %(f)s/b; proxy_temp_path %(f)s/p; fastcgi_temp_path %(f)s/x; uwsgi_temp_path %(f)s/x;
  scgi_temp_path %(f)s/x; keepalive_requests 100;
  server { listen 127.0.0.1:%(port)d http2; root %(f)s/www; }
}
""" % {"f": at, "port": port})
    with open(os.path.join(at, "out"), "wb") as out:
        child = harness.spawn([program, "-p", at, "-c", config], stdout=out, stderr=out)

    def listening():
        check(child.poll() is None, "nginx ended: %s" % open(os.path.join(at, "out")).read())
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True
    harness.wait_for(listening, 10, "nginx")
    return child


# ---- the proxy under test ----------------------------------------------------------------------------------------

class Scene:
    """One proxy, its upstreams and a listener for each way through it."""

    def __init__(self, kind, binary, folder, like_envoy=False):
        self.proxy = harness.Proxy(kind, binary, folder, concurrency=1, like_envoy=like_envoy, arguments=["--drain-time-s", "5"])
        self.up = {"h1": h1.Upstream("up1"), "h2": h2.Upstream("up2"), "few": h2.Upstream("few", initial_settings=((3, 3),)),
                   "deaf": h2.Upstream("deaf"), "leaving": h2.Upstream("leaving"), "gone": h2.Upstream("gone")}
        keepalive = {"connection_keepalive": {"interval": "0.2s", "timeout": "0.3s"}}
        listeners, clusters = [], []
        self.port, self.log = {}, {}

        def way(name, cluster, route=None, **more):
            self.port[name] = harness.free_port()
            log = os.path.join(folder, "%s-%s.log" % (kind, name))
            self.log[name] = harness.LogFile(log)
            listeners.append(harness.listener(name, self.port[name], harness.hcm(
                name, harness.everything_to(cluster, **(route or {})), [harness.file_log(log)],
                http_protocol_options={"enable_trailers": True}, **more)))
        trailers = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": harness.HTTP_OPTIONS, "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}}}
        clusters.append(harness.cluster("h1", self.up["h1"].port, **trailers))
        for name in ("h2", "few", "leaving"):
            clusters.append(harness.cluster(name, self.up[name].port, **harness.http2_options()))
        clusters.append(harness.cluster("deaf", self.up["deaf"].port, **harness.http2_options(**keepalive)))
        clusters.append(harness.cluster("narrow", self.up["gone"].port, circuit_breakers={"thresholds": [{"max_requests": 3}]},
                                        **harness.http2_options(max_concurrent_streams=2)))
        nginx_port = harness.free_port()
        self.nginx = None if like_envoy or kind == "envoy" else start_nginx(folder, nginx_port)
        if self.nginx is not None:
            clusters.append(harness.cluster("nginx", nginx_port, **harness.http2_options()))
            way("nginx", "nginx")
        way("h1", "h1")
        way("h2", "h2")
        way("few", "few")
        way("deaf", "deaf")
        way("narrow", "narrow")
        way("leaving", "leaving", route={"retry_policy": {"retry_on": "refused-stream", "num_retries": 2}})
        way("once", "leaving")
        way("two", "h2", http2_protocol_options={"max_concurrent_streams": 2})
        way("alive", "h2", http2_protocol_options=keepalive)
        way("idle", "h2", stream_idle_timeout="0.5s")
        way("duration", "h2", common_http_protocol_options={"max_stream_duration": "0.5s"})
        way("hundred", "h1", proxy_100_continue=True)
        self.proxy.start(harness.bootstrap(listeners, clusters, self.proxy.admin_port))

    def logged(self, name, path):
        """Code, flags and details of the exchange with that path, which is asked for once."""
        def found():
            return [line for line in self.log[name].fresh() if ("|%s|" % path).encode() in line]
        line = harness.wait_for(found, 5, "the log line of " + path)[0].decode().split("|")
        return line[0], line[1], line[2]

    def rest(self):
        self.proxy.expect_at_rest(r"^(http|cluster)\..*")


scene = reference = None
VERSIONS = {"h1": 1, "h2": 2}
OWN = ("date", "x-envoy-upstream-service-time", "server", "x-request-id")


# ---- the four pairs ----------------------------------------------------------------------------------------------

BODY = bytes(range(256)) * 700          # 175 KiB: more than one frame, than one block and than HTTP/2's first window
EXCHANGES = [
    ("GET", dict(path="/ok")),
    ("GET of 300 kB", dict(path="/size/300000")),
    ("POST", dict(path="/echo", method="POST", body=BODY)),
    ("POST of nothing", dict(path="/echo", method="POST", body=b"")),
    ("HEAD", dict(path="/size/1234", method="HEAD")),
    ("204", dict(path="/status/204")),
    ("304", dict(path="/status/304")),
    ("404", dict(path="/status/404")),
    ("trailers of the answer", dict(path="/trailers")),
    ("trailers of the request", dict(path="/echo", method="POST", body=b"abc", trailers=[("x-t", "v")])),
    ("100-continue", dict(path="/echo", method="POST", body=b"abc", headers=[("expect", "100-continue")])),
    ("103", dict(path="/s103")),
    ("cookies", dict(path="/ok", headers=[("cookie", "a=1"), ("cookie", "b=2")])),
]


def play(at, down, up, exchange):
    """(what the client saw, what the upstream saw) in a form that can be compared."""
    upstream = at.up[up]
    mark = upstream.mark()
    answer = ask(VERSIONS[down], at.port[up], **exchange)
    seen = upstream.since(mark)
    seen = seen[0] if up == "h1" else seen
    requests = [r for r in seen if r.complete]
    client = (answer.status, sorted((n, v) for n, v in answer.headers if n not in OWN), answer.body, answer.trailers,
              answer.interim, answer.cut)
    server = [(r.method, r.target, sorted((n, v) for n, v in r.headers if n not in OWN), r.body, r.trailers) for r in requests]
    return client, server


def pair(down, up):
    def story():
        for title, exchange in EXCHANGES:
            client, server = play(scene, down, up, exchange)
            status, headers, body, trailers, interim, cut = client
            check(not cut, "%s: the answer was cut: %s" % (title, status))
            check(len(server) == 1, "%s: the upstream saw %d requests" % (title, len(server)))
            check(server[0][0] == exchange.get("method", "GET"), "%s: upstream got %s" % (title, server[0][0]))
            if exchange.get("body") is not None:
                check(server[0][3] == exchange["body"], "%s: upstream got %d bytes" % (title, len(server[0][3])))
            wanted = {"GET of 300 kB": b"s" * 300000, "POST": BODY, "HEAD": b"", "204": b"", "304": b""}
            if title in wanted:
                check(body == wanted[title], "%s: %d bytes came back" % (title, len(body)))
            check(status == (int(title) if title in ("204", "304", "404") else 200), "%s: status %s" % (title, status))
            if title == "trailers of the answer":
                check(trailers == [("x-trailer", "end")], "%s: %s" % (title, trailers))
            if title == "trailers of the request":
                check(server[0][4] == [("x-t", "v")], "%s: upstream got %s" % (title, server[0][4]))
            if title == "100-continue":
                check(interim == [100], "interim %s" % interim)
            if title == "cookies" and down == "h2":
                check([v for n, v in server[0][2] if n == "cookie"] == ["a=1; b=2"], "%s" % server[0][2])
            if reference is not None:
                other = play(reference, down, up, exchange)
                check((client, server) == other, "%s differs: %s / reference %s" % (
                    title, harness.short((client, server), 700), harness.short(other, 700)))
    return story


# ---- resets ------------------------------------------------------------------------------------------------------

def resets_of_an_upstream_become_503():
    """Before the head: 503 and the flag; a refused stream is not retried unless asked for."""
    for down in ("h1", "h2"):
        for code in (CANCEL, INTERNAL_ERROR, PROTOCOL_ERROR, REFUSED_STREAM):
            path = "/reset/%d?%s" % (code, down)
            answer = ask(VERSIONS[down], scene.port["h2"], path)
            wanted = 502 if code == PROTOCOL_ERROR else 503
            check(answer.status == wanted and not answer.cut, "code %d: status %s" % (code, answer.status))
            log = scene.logged("h2", path)
            check(log[0] == str(wanted) and log[1] == ("UPE" if code == PROTOCOL_ERROR else "UR"), "code %d: log %s" % (code, log))
            if reference is not None:
                other = ask(VERSIONS[down], reference.port["h2"], path)
                check((answer.status, answer.body) == (other.status, other.body), "%d: %s, reference %s" % (code, answer.body, other.body))
                check(log == reference.logged("h2", path), "code %d: log %s differs from the reference" % (code, log))


def resets_in_the_body_reach_the_client():
    path = "/half/%d?here" % INTERNAL_ERROR
    with h2.Client(scene.port["h2"]) as client:
        s = client.request(get(path))
        check(s.status == 200 and s.body == b"half" and s.reset is not None, "status %s, %r, reset %s" % (s.status, s.body, s.reset))
        check(client.request(get()).status == 200, "the connection did not live on")
    log = scene.logged("h2", path)
    check(log[0] == "200" and "UR" in log[1], "log %s" % (log,))
    if reference is not None:
        with h2.Client(reference.port["h2"]) as client:
            other = client.request(get(path))
        check(s.reset == other.reset, "RST_STREAM %s, reference %s" % (s.reset, other.reset))
        check(log == reference.logged("h2", path), "log %s differs from the reference" % (log,))
    answer = ask(1, scene.port["h2"], "/half/%d" % INTERNAL_ERROR)
    check(answer.status == 200 and answer.cut, "HTTP/1: %s, complete" % answer.status)


def a_reset_of_the_client_reaches_the_upstream():
    upstream = scene.up["h2"]
    mark = upstream.mark()
    with h2.Client(scene.port["h2"]) as client:
        client.headers(client.new_stream(), get("/hang?given-up"))
        harness.wait_for(lambda: upstream.since(mark), 3, "the request at the upstream")
        client.frame(RST_STREAM, 0, 1, U32(CANCEL))
        harness.wait_for(lambda: upstream.since(mark)[0].reset is not None, 3, "the reset at the upstream")
        check(upstream.since(mark)[0].reset == CANCEL, "code %s" % upstream.since(mark)[0].reset)
        check(client.request(timeout=3).status == 200, "the connection did not live on")
    log = scene.logged("h2", "/hang?given-up")
    check(log == ("0", "DR", "http2.remote_reset"), "log %s" % (log,))
    upstream_connections = scene.up["h1"]
    mark = upstream_connections.mark()
    with h2.Client(scene.port["h1"]) as client:
        client.headers(1, get("/hang"))
        harness.wait_for(lambda: upstream_connections.since(mark)[0], 3, "the request at the HTTP/1 upstream")
        client.frame(RST_STREAM, 0, 1, U32(CANCEL))
        harness.wait_for(lambda: not scene.proxy.stats("^cluster.h1.upstream_cx_active$").get("cluster.h1.upstream_cx_active"),
                         3, "the HTTP/1 connection with half an exchange to be closed")
    scene.rest()


def refused_streams_are_retried_if_asked_for():
    upstream = scene.up["leaving"]
    for path in ("/refused", "/leave"):
        with upstream.lock:
            upstream.refusals = 1
        mark = upstream.mark()
        answer = ask(2, scene.port["leaving"], path)
        check(answer.status == 200, "%s: status %s, log %s" % (path, answer.status, scene.log["leaving"].fresh()))
        check(len(upstream.since(mark)) == 2, "%s: %d attempts" % (path, len(upstream.since(mark))))
    scene.rest()


# matrix: 244
def unprocessed_requests_go_out_again():
    """No retry policy: a refused stream, or one above the last of a GOAWAY, was not acted upon. Not with Envoy's defaults."""
    upstream = scene.up["leaving"]
    watched = r"^cluster\.leaving\.upstream_rq_unprocessed_replayed$"
    for path, body in (("/refused", None), ("/leave", None), ("/refused", b"b" * 3000)):
        with upstream.lock:
            upstream.refusals = 1
        mark, before = upstream.mark(), sum(scene.proxy.stats(watched).values())
        answer = ask(2, scene.port["once"], path, "POST" if body else "GET", body=body)
        if reference is not None:
            check(answer.status == 503, "%s with Envoy's defaults: status %s" % (path, answer.status))
            continue
        check(answer.status == 200, "%s: status %s" % (path, answer.status))
        check(len(upstream.since(mark)) == 2, "%s: %d attempts" % (path, len(upstream.since(mark))))
        harness.wait_for(lambda: sum(scene.proxy.stats(watched).values()) == before + 1, 3, watched)
    if reference is None:                                # who always refuses is asked once more, no oftener
        with upstream.lock:
            upstream.refusals = 5
        mark = upstream.mark()
        check(ask(2, scene.port["once"], "/refused").status == 503, "a host that refuses always")
        check(len(upstream.since(mark)) == 2, "%d attempts" % len(upstream.since(mark)))
        with upstream.lock:
            upstream.refusals = 0
    scene.rest()


def nginx_leaves_after_some_requests():
    """nginx ends a connection after keepalive_requests: requests on the way to it, and answers on the way back, are not lost."""
    if scene.nginx is None:
        return
    whole = b"0123456789" * 30000
    with h2.Client(scene.port["nginx"], timeout=20) as client:
        for _ in range(12):
            numbers = [client.new_stream() for _ in range(40)]
            for i, n in enumerate(numbers):
                client.headers(n, get("/large" if i % 8 == 0 else "/small"))
            for i, n in enumerate(numbers):
                s = client.wait_stream(n)
                check(s.status == 200 and s.ended and s.reset is None, "status %s, reset %s" % (s.status, s.reset))
                check(s.body == (whole if i % 8 == 0 else b"small"), "%d bytes of an answer" % len(s.body))
    replayed = scene.proxy.stats(r"^cluster\.nginx\.upstream_rq_unprocessed_replayed$")
    check(sum(replayed.values()) > 0, "nginx refused nothing, so this showed nothing")
    scene.rest()


# ---- GOAWAY ------------------------------------------------------------------------------------------------------

def goaway_of_an_upstream_is_graceful():
    """What is open on that connection ends there; what comes later takes a new one; nothing fails."""
    upstream = scene.up["h2"]
    with h2.Client(scene.port["h2"]) as client:
        check(client.request(get()).status == 200, "no answer")
        mark, connections = upstream.mark(), upstream.connections
        slow = client.new_stream()
        client.headers(slow, get("/echo", "POST"), end=False)
        client.frame(DATA, 0, slow, b"one")
        harness.wait_for(lambda: upstream.since(mark) and upstream.since(mark)[0].body == b"one", 3, "the first half upstream")
        check(client.request(get("/goaway")).status == 200, "the request that brought GOAWAY was not answered")
        for _ in range(5):
            check(client.request(get()).status == 200, "a request after GOAWAY was not answered")
        client.frame(DATA, END_STREAM, slow, b"two")
        s = client.wait_stream(slow)
        check(s.status == 200 and s.body == b"onetwo", "the open stream: %s, %r, reset %s" % (s.status, s.body, s.reset))
        check(upstream.connections == connections + 1, "%d connections, had %d" % (upstream.connections, connections))
    scene.rest()


# ---- limits on streams -------------------------------------------------------------------------------------------

def an_upstreams_limit_brings_more_connections():
    upstream = scene.up["few"]
    mark, connections = upstream.mark(), upstream.connections
    with h2.Client(scene.port["few"]) as client:
        numbers = [client.new_stream() for _ in range(10)]
        for i, n in enumerate(numbers):                # one by one: before its SETTINGS came a connection has no known limit
            client.headers(n, get("/echo", "POST"), end=False)
            harness.wait_for(lambda: len(upstream.since(mark)) == i + 1, 5, lambda: "%d requests upstream" % (i + 1))
        check(upstream.connections - connections == 4, "%d connections for 10 streams of 3 a connection" % (upstream.connections - connections))
        for n in numbers:
            client.frame(DATA, END_STREAM, n, b"x%d" % n)
        for n in numbers:
            s = client.wait_stream(n)
            check(s.status == 200 and s.body == b"x%d" % n, "stream %d: %s %r reset %s" % (n, s.status, s.body, s.reset))
    scene.rest()


def our_own_limit_on_upstream_streams_holds():
    upstream = scene.up["gone"]
    mark, connections = upstream.mark(), upstream.connections
    with h2.Client(scene.port["narrow"]) as client:
        numbers = [client.new_stream() for _ in range(3)]
        for n in numbers:
            client.headers(n, get("/echo", "POST"), end=False)
        harness.wait_for(lambda: len(upstream.since(mark)) == 3, 5, "3 requests upstream")
        check(upstream.connections - connections == 2, "%d connections for 3 streams of 2 a connection" % (upstream.connections - connections))
        s = client.request(get())
        check(s.status == 503 and s.get("x-envoy-overloaded") == "true", "over max_requests: %s %s" % (s.status, s.headers))
        for n in numbers:
            client.frame(DATA, END_STREAM, n, b"x")
        check(all(client.wait_stream(n).status == 200 for n in numbers), "the admitted ones did not end well")
    scene.rest()


def our_limit_on_a_clients_streams_holds():
    with h2.Client(scene.port["two"]) as client:
        client.until(lambda: client.settings_seen, 3)
        check((3, 2) in client.settings_seen, "SETTINGS %s" % client.settings_seen)
        for n in (1, 3, 5):
            client.headers(n, get("/echo", "POST"), end=False)
        s = client.wait_stream(5, 3)
        check(s.reset == REFUSED_STREAM, "the third stream: %s reset %s" % (s.status, s.reset))
        for n in (1, 3):
            client.frame(DATA, END_STREAM, n, b"x")
            check(client.wait_stream(n).status == 200, "stream %d" % n)
        client.next_stream = 7
        check(client.request(get()).status == 200, "the connection did not live on")
    scene.rest()


# ---- windows -----------------------------------------------------------------------------------------------------

def a_slow_reader_does_not_stop_the_others():
    """One stream's window stays shut, on both kinds of upstream; others on the same connections are served; memory is bounded."""
    for name in ("h1", "h2"):
        before = scene.proxy.memory_kib()
        with h2.Client(scene.port[name], open_window=False) as client:
            client.frame(WINDOW_UPDATE, 0, 0, U32(1 << 24))
            client.headers(1, get("/size/30000000"))
            client.until(lambda: len(client.stream(1).body) >= 65535, 5)
            check(len(client.stream(1).body) == 65535, "%s: %d bytes in a window of 65535" % (name, len(client.stream(1).body)))
            client.next_stream = 3
            for _ in range(20):
                s = client.request(get("/size/50000"))
                check(s.status == 200 and len(s.body) == 50000, "%s: %s, %d bytes beside a stalled stream" % (name, s.status, len(s.body)))
            grown = scene.proxy.memory_kib() - before
            check(grown < 8192, "%s: a stalled answer of 30 MB holds %d KiB" % (name, grown))
            client.frame(RST_STREAM, 0, 1, U32(CANCEL))
            check(client.request(get()).status == 200, "%s: the connection did not live on" % name)
    scene.rest()


def a_slow_upstream_stops_its_client_only():
    """An upstream that opens no window for one upload: the client's window shuts, other streams go on."""
    upstream = scene.up["h2"]
    with h2.Client(scene.port["h1"]) as client:
        window = dict(client.settings_seen if client.until(lambda: client.settings_seen, 3) else []).get(4, 65535)
        # /hang reads nothing of a body beyond what the kernel takes; the proxy must not take more than its window.
        client.headers(1, get("/hang", "POST", more=[("content-length", "100000000")]), end=False)
        check(client.alive(), "no PING answer")
        client.next_stream = 3
        for _ in range(10):
            check(client.request(get()).status == 200, "a request beside an upload")
        check(reference is not None or window == 256 << 10, "the stream window is %d" % window)
        client.frame(RST_STREAM, 0, 1, U32(CANCEL))
    scene.rest()


def large_bodies_pass_with_flat_memory():
    size = 48 << 20
    for name in ("h1", "h2"):
        before = scene.proxy.memory_kib()
        with h2.Client(scene.port[name], timeout=30) as client:
            client.headers(1, get("/size/%d" % size))
            s = client.stream(1)
            got = 0
            while not s.over and client.pump(20):
                got += len(s.body)
                s.body = b""
            got += len(s.body)
            check(s.ended and got == size, "%s: %d bytes of %d, reset %s" % (name, got, size, s.reset))
        check(scene.proxy.memory_kib() - before < 20 * 1024, "%s: memory grew by %d KiB" % (name, scene.proxy.memory_kib() - before))


# ---- time --------------------------------------------------------------------------------------------------------

def keepalive_closes_a_silent_client():
    with h2.Client(scene.port["alive"]) as client:
        s = client.request(get())
        check(s.status == 200, "status %s" % s.status)
        started = time.monotonic()
        while time.monotonic() - started < 1.5 and not client.eof:
            client.pump(0.1)                           # answers PINGs
        check(not client.eof, "a client that answers was closed")
        counters = harness.Counters(scene.proxy, "^http2.keepalive_timeout$")
        silent = client.socket                         # reads, and says nothing more
        silent.settimeout(3)
        try:
            while silent.recv(65536):
                pass
        except socket.timeout:
            raise harness.Failure("a silent client was not closed")
        except OSError:
            pass
        counters.expect({"http2.keepalive_timeout": 1})


def keepalive_leaves_a_silent_upstream():
    upstream = scene.up["deaf"]
    check(ask(2, scene.port["deaf"]).status == 200, "no answer")
    connections = upstream.connections
    harness.wait_for(lambda: upstream.pings >= 2, 4, "PINGs at the upstream")
    upstream.deaf = True
    answer = ask(2, scene.port["deaf"], "/hang?deaf")
    check(answer.status == 503, "status %s" % answer.status)
    log = scene.logged("deaf", "/hang?deaf")
    check(log[1] == "UC", "log %s" % (log,))
    upstream.deaf = False
    check(ask(2, scene.port["deaf"]).status == 200, "no answer after it")
    check(upstream.connections > connections, "no new connection")
    scene.rest()


def timeouts_end_streams():
    for name, details in (("idle", "stream_idle_timeout"), ("duration", "max_duration_timeout")):
        with h2.Client(scene.port[name]) as client:
            s = client.request(get("/hang"), timeout=5)
            log = scene.logged(name, "/hang")
            if reference is None:
                check(s.status == 504, "%s: status %s reset %s" % (name, s.status, s.reset))
                check(log[2] == details, "%s: log %s" % (name, log))
            else:
                with h2.Client(reference.port[name]) as other_client:
                    other = other_client.request(get("/hang"), timeout=5)
                    check((s.status, s.body) == (other.status, other.body), "%s: %s %r, reference %s %r" % (
                        name, s.status, s.body, other.status, other.body))
                    check(log == reference.logged(name, "/hang"), "%s: log %s differs from the reference" % (name, log))
            check(client.request(get()).status == 200, "%s: the connection did not live on" % name)
    scene.rest()


# ---- the end -----------------------------------------------------------------------------------------------------

def draining_finishes_open_streams_and_exits():
    """SIGTERM: GOAWAY that forbids nothing yet, then one that names the last stream; open streams finish; exit 0."""
    upstream = scene.up["h2"]
    mark = upstream.mark()
    with h2.Client(scene.port["h2"]) as client:
        client.headers(1, get("/echo", "POST"), end=False)
        client.frame(DATA, 0, 1, b"one")
        harness.wait_for(lambda: upstream.since(mark) and upstream.since(mark)[0].body == b"one", 3, "the request upstream")
        goaways = []
        take = client._take

        def keep(f):
            if f.kind == GOAWAY:
                goaways.append((struct.unpack(">I", f.payload[:4])[0] & 0x7fffffff, f.code))
            take(f)
        client._take = keep
        scene.proxy.child.send_signal(signal.SIGTERM)
        check(client.until(lambda: goaways, 3), "no GOAWAY")
        check(goaways[0] == (0x7fffffff, NO_ERROR), "the first GOAWAY is %s" % (goaways[0],))
        late = 3
        client.headers(late, get())                    # it was on its way
        check(client.wait_stream(late, 3).status == 200, "a request that crossed the first GOAWAY: reset %s" % client.stream(late).reset)
        client.frame(DATA, END_STREAM, 1, b"two")
        s = client.wait_stream(1, 3)
        check(s.status == 200 and s.body == b"onetwo", "the open stream: %s %r reset %s" % (s.status, s.body, s.reset))
        check(client.until(lambda: len(goaways) > 1, 6), "no second GOAWAY: %s" % goaways)
        check(goaways[-1] == (late, NO_ERROR), "the last GOAWAY is %s" % (goaways[-1],))
        check(client.ended(5), "the connection is still open")
    code = scene.proxy.child.wait(10)
    check(code == 0, "exit code %s: %s" % (code, scene.proxy.said()[-300:]))
    harness.wait_for(lambda: upstream.closed == upstream.connections, 3, "the upstream connections to be closed")


STORIES = [
    ("an upstream's reset before its head is a 503", resets_of_an_upstream_become_503),
    ("an upstream's reset inside its body reaches the client", resets_in_the_body_reach_the_client),
    ("a client's reset reaches the upstream", a_reset_of_the_client_reaches_the_upstream),
    ("refused streams are retried if asked for", refused_streams_are_retried_if_asked_for),
    ("unprocessed requests go out again by themselves", unprocessed_requests_go_out_again),
    ("nginx leaves after some requests", nginx_leaves_after_some_requests),
    ("an upstream's GOAWAY is graceful", goaway_of_an_upstream_is_graceful),
    ("an upstream's limit on streams brings more connections", an_upstreams_limit_brings_more_connections),
    ("max_concurrent_streams of a cluster holds", our_own_limit_on_upstream_streams_holds),
    ("max_concurrent_streams of a listener holds", our_limit_on_a_clients_streams_holds),
    ("a slow reader does not stop the others", a_slow_reader_does_not_stop_the_others),
    ("an upload that nobody reads stops nobody else", a_slow_upstream_stops_its_client_only),
    ("large bodies pass with flat memory", large_bodies_pass_with_flat_memory),
    ("keepalive closes a silent client", keepalive_closes_a_silent_client),
    ("keepalive leaves a silent upstream", keepalive_leaves_a_silent_upstream),
    ("idle and overall timeouts end streams", timeouts_end_streams),
    ("SIGTERM drains HTTP/2 in two steps", draining_finishes_open_streams_and_exits),
]


def main():
    global scene, reference
    chosen = harness.options(__doc__, only=(str, None, "words of the stories to run"))
    harness.bound(110)
    folder = harness.work_folder(chosen.keep)
    tally = harness.Tally("h2")
    scene = Scene("outrider", chosen.outrider, folder, bool(chosen.envoy))
    if chosen.envoy:
        reference = Scene("envoy", chosen.envoy, folder)
    stories = [("%s to %s" % (d, u), pair(d, u)) for d in ("h1", "h2") for u in ("h1", "h2")] + STORIES
    for title, story in stories:
        if chosen.only is None or chosen.only in title:
            tally.run(title, story)
    if not scene.proxy.alive() and scene.proxy.child.returncode != 0:
        tally.result("the proxy lives", "it ended with %s: %s" % (scene.proxy.child.returncode, scene.proxy.said()[-1500:]))
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
