#!/usr/bin/env python3
"""HTTP/1.1 through the real binary with peers that nobody here wrote: curl, nginx on both sides, Python's http.client.

Also what no well-behaved peer does: slow heads, idle streams, upstreams that close or reset within a message, and the drain on SIGTERM.
A tool that is not installed skips its story.
"""
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import h1
import harness
from harness import check, wait_for

GET = b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
TRAILERS_UP = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": harness.HTTP_OPTIONS, "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}}}


def serve(converse):
    """A server of one function a connection; returns its port."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)

    def one(s):
        with s:
            try:
                converse(s)
            except OSError:
                pass

    harness.each_connection(listening, one)
    return listening.getsockname()[1]


def read_head(s):
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(4096)
        if not more:
            raise OSError("ended")
        data += more


def refuses_uploads(s):
    """Answers after the head and closes with the body unread, so that the kernel resets the connection."""
    read_head(s)
    s.sendall(b"HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")


def closes_unannounced(s):
    """Serves two requests, then closes without having said so."""
    for _ in range(2):
        read_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class World:
    """One proxy, one scripted upstream, one listener a manner of serving."""

    def __init__(self, chosen, folder):
        self.chosen, self.folder = chosen, folder
        self.up = h1.Upstream("up")
        self.dead = harness.free_port()
        self.nginx_port = harness.free_port()
        self.ports, self.logs, listeners = {}, {}, []

        def add(name, target="up", **fields):
            self.ports[name] = harness.free_port()
            log = os.path.join(folder, name + ".log")
            self.logs[name] = harness.LogFile(log)
            routes = harness.everything_to(target, timeout=fields.pop("timeout", "10s"))
            listeners.append(harness.listener(name, self.ports[name], harness.hcm(name, routes, [harness.file_log(log)], **fields)))
        add("plain")
        add("old", http_protocol_options={"accept_http_10": True, "default_host_for_http_10": "old.test"})
        add("trailers", target="up_trailers", http_protocol_options={"enable_trailers": True})
        add("quick", timeout="0.5s", request_headers_timeout="0.6s",
            common_http_protocol_options={"idle_timeout": "0.4s"})
        add("lazy", timeout="0s", stream_idle_timeout="0.5s")
        add("aging", common_http_protocol_options={"max_connection_duration": "0.3s"}, drain_timeout="0.5s")
        add("upgrades", upgrade_configs=[{"upgrade_type": "websocket"}])
        add("dead", target="dead")
        add("refusing", target="refusing")
        add("closing", target="closing")
        add("nginx", target="nginx")
        self.proxy = harness.Proxy("outrider", chosen.outrider, folder)
        self.proxy.start(harness.bootstrap(listeners, [
            harness.cluster("up", self.up.port), harness.cluster("up_trailers", self.up.port, **TRAILERS_UP),
            harness.cluster("refusing", serve(refuses_uploads)), harness.cluster("closing", serve(closes_unannounced)),
            harness.cluster("dead", self.dead), harness.cluster("nginx", self.nginx_port)], self.proxy.admin_port))

    def client(self, listener="plain", **options):
        return h1.Client(self.ports[listener], **options)

    def url(self, path, listener="plain"):
        return "http://127.0.0.1:%d%s" % (self.ports[listener], path)

    def expect_log(self, listener, path, *parts):
        """The line of the request with this path (give it a query of its own)."""
        found = []

        def there():
            found[:] = [line for line in self.logs[listener].fresh() if b"|" + path + b"|" in line]
            return found
        wait_for(there, 5, lambda: "the log line of %s" % path)
        line = found[0].decode().split("|")
        check(list(parts) == line[:len(parts)], "log of %s has %s, expected %s" % (path, line[:len(parts)], list(parts)))


def tool(name):
    path = shutil.which(name)
    if not path and os.access("/usr/sbin/" + name, os.X_OK):
        path = "/usr/sbin/" + name
    return path


def run(*command, seconds=20, data=None):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
    return done.returncode, done.stdout, done.stderr


def curl(*arguments, seconds=20, data=None):
    code, out, err = run("curl", "-sS", "--noproxy", "*", "--max-time", str(seconds - 2), *arguments, seconds=seconds, data=data)
    check(code == 0, "curl %s ended with %d: %s" % (arguments, code, err.decode()))
    return out


# ---- curl ---------------------------------------------------------------------------------------------------------

def curl_keeps_its_connection(w):
    out = curl("-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null", w.url("/ok"), "-o", "/dev/null", w.url("/size/5000"),
               "-o", "/dev/null", w.url("/chunked/5000"))
    check(out.split() == [b"200", b"1", b"200", b"0", b"200", b"0"], "statuses and new connections: %r" % out)


def curl_sends_and_takes_chunks(w):
    sent = os.urandom(300000)
    mark = w.up.mark()
    got = curl("-T", "-", "-H", "Content-Type: application/octet-stream", w.url("/echo"), data=sent)
    check(got == sent, "sent %d bytes in chunks, %d came back" % (len(sent), len(got)))
    check(w.up.since(mark)[0][0].get("transfer-encoding") == "chunked", "upstream did not get chunks")
    got = curl(w.url("/chunked/250000"))
    check(got == b"c" * 250000, "%d bytes of 250000 came in chunks" % len(got))


def curl_waits_for_leave_to_send(w):
    big = b"b" * 1100000
    mark = w.up.mark()
    got = curl("-v", "-H", "Expect: 100-continue", "--expect100-timeout", "15", "--data-binary", "@-", "-o", "/dev/null",
               "-w", "%{http_code} %{time_total}", w.url("/ok"), data=big).split()
    check(got[0] == b"200" and float(got[1]) < 5, "status and time: %r" % got)
    seen = w.up.since(mark)[0][0]
    check(seen.get("expect") is None and seen.get("content-length") == "1100000", "upstream got %s" % seen.headers)


def heads_and_empty_answers(w):
    for path, length, coding in (("/size/1234", "1234", None), ("/chunked/10", None, "chunked")):
        with w.client() as client:
            for _ in range(2):                      # the second shows that nothing of a body came
                client.send(b"HEAD %s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
                answer = client.response(method="HEAD")
                check(answer.status == 200 and answer.get("content-length") == length and answer.get("transfer-encoding") == coding,
                      "HEAD %s: %s" % (path, answer.headers))
    for status in (204, 304):
        with w.client() as client:
            for _ in range(2):
                client.send(GET % (b"/status/%d" % status))
                answer = client.response()
                check(answer.status == status and not answer.get("transfer-encoding"), "%d: %s" % (status, answer.headers))
    out = curl("-I", w.url("/size/77"))
    check(b"content-length: 77" in out, "curl -I: %r" % out)


def big_and_many_header_fields(w):
    ok = curl("-o", "/dev/null", "-w", "%{http_code}", *sum((["-H", "x-%d: %s" % (i, "v" * 900)] for i in range(60)), []), w.url("/ok"))
    check(ok == b"200", "54 KiB of fields: %r" % ok)
    large = curl("-o", "/dev/null", "-w", "%{http_code}", *sum((["-H", "x-%d: %s" % (i, "v" * 7000)] for i in range(9)), []), w.url("/ok"))
    check(large == b"431", "63 KiB of fields: %r" % large)
    many = curl("-o", "/dev/null", "-w", "%{http_code}", *sum((["-H", "x-%d: v" % i] for i in range(101)), []), w.url("/ok"))
    check(many == b"431", "over 100 fields: %r" % many)


def upgrades(w):
    ask = b"GET /switch HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with w.client() as client:
        client.send(ask)
        answer = client.response()
        check(answer.status == 403 and client.ended(2.5), "an upgrade that is not enabled: %s" % answer.status)
    w.expect_log("plain", b"/switch", "403", "-", "upgrade_failed")
    with w.client("upgrades") as client:
        client.send(ask + b"early")
        answer = client.response()
        check(answer.status == 101 and answer.get("upgrade") == "websocket", "an enabled upgrade: %s" % answer.status)
        client.send(b" and late" * 1000)
        client.half_close()
        check(client.ended(5), "the tunnel did not end with both halves")
        check(client.buffer == b"early" + b" and late" * 1000, "came back: %d bytes" % len(client.buffer))
    w.expect_log("upgrades", b"/switch", "101")
    with w.client("upgrades") as client:            # the worker that carried the tunnel serves on
        client.send(GET % b"/ok")
        check(client.response().status == 200, "no answer after a tunnel")
    # An upstream that refuses the upgrade answers like any other, and what followed is nobody's request.
    mark = w.up.mark()
    with w.client("upgrades") as client:
        client.send(ask.replace(b"/switch", b"/ok") + GET % b"/smuggled")
        answer = client.response()
        check(answer.status == 200 and client.ended(2.5), "a refused upgrade: %s" % answer.status)
    check([r.target for r in w.up.since(mark)[0]] == ["/ok"], "upstream saw %s" % [r.target for r in w.up.since(mark)[0]])


def http_1_0(w):
    check(curl("-0", "-o", "/dev/null", "-w", "%{http_code}", w.url("/ok")) == b"426", "HTTP/1.0 is refused by default")
    check(curl("-0", w.url("/chunked/3000", "old")) == b"c" * 3000, "HTTP/1.0 where it is accepted, body of unknown length")
    with w.client("old") as client:
        client.send(b"GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        first = client.response()
        client.send(b"GET /ok HTTP/1.0\r\n\r\n")
        second = client.response()
        check(first.status == second.status == 200 and client.ended(2.5), "keep-alive, then not: %s %s" % (first.status, second.status))
        check(first.get("connection") == "keep-alive", "connection: %s" % first.get("connection"))


def a_body_that_ends_with_its_connection(w):
    with w.client() as client:
        for _ in range(2):
            client.send(GET % b"/noeof")
            answer = client.response()
            check(answer.complete and answer.body == b"until the end" and answer.get("transfer-encoding") == "chunked",
                  "%r %s" % (answer.body, answer.headers))


def trailers_both_ways(w):
    with w.client("trailers") as client:
        mark = w.up.mark()
        client.send(b"POST /trailers HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n")
        answer = client.response()
        check(answer.body == b"with trailers" and answer.trailers == [("x-trailer", "end")], "answer: %s" % answer.trailers)
        check(w.up.since(mark)[0][0].trailers == [("x-sum", "7")], "upstream: %s" % w.up.since(mark)[0][0].trailers)


def a_request_is_framed_as_it_came(w):
    """Also when its end is known before there is a connection to send it on: each of these needs a new one."""
    for _ in range(3):
        mark = w.up.mark()
        with w.client("trailers") as client:
            client.send(b"POST /closing HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            check(client.response().status == 200, "no answer")
        seen = w.up.since(mark)[0][0]
        check(seen.get("transfer-encoding") == "chunked" and seen.get("content-length") is None, "upstream got %s" % seen.headers)


def pipelined_answers_keep_their_order(w):
    sizes = [1, 70000, 0, 5000, 200000, 3, 64 * 1024, 17] * 4
    with w.client() as client:
        client.send(b"".join(GET % (b"/size/%d" % n) for n in sizes))
        for n in sizes:
            answer = client.response()
            check(answer.complete and len(answer.body) == n, "expected %d bytes, got %d" % (n, len(answer.body)))


# ---- upstreams that misbehave ---------------------------------------------------------------------------------------

def an_upstream_that_cuts_its_answer(w):
    """Before its head: 503. Within it: 502. Behind it: the client's connection ends, so that nobody takes the piece for the whole."""
    for path, status, details in ((b"/close", 503, "upstream_reset_before_response_started{connection_termination}"),
                                  (b"/rst", 503, "upstream_reset_before_response_started{connection_termination}"),
                                  (b"/parthdr", 502, "upstream_reset_before_response_started{protocol_error}"),
                                  (b"/garbage", 502, "upstream_reset_before_response_started{protocol_error}")):
        path += b"?cut"
        with w.client() as client:
            client.send(GET % path)
            answer = client.response()
            check(answer is not None and answer.status == status, "%s: %s" % (path, answer and answer.status))
            client.send(GET % b"/ok")
            check(client.response().status == 200, "%s: the connection does not go on" % path)
        w.expect_log("plain", path, str(status), "UC" if status == 503 else "UPE", details)
    for path in (b"/chunktrunc", b"/rstbody"):
        with w.client() as client:
            client.send(GET % path)
            answer = client.response()
            check(answer.status == 200 and not answer.complete and client.ended(2), "%s: %s" % (path, answer.raw[-60:]))
            check(not answer.raw.endswith(b"0\r\n\r\n"), "a cut body was ended like a whole one")
    with w.client("dead") as client:
        client.send(GET % b"/ok")
        answer = client.response()
        check(answer.status == 503 and b"remote connection failure" in answer.body, "%s %r" % (answer.status, answer.body))


def an_answer_before_the_request_is_whole(w):
    with w.client() as client:                      # little is left to read: the connection may go on
        client.send(b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + b"x" * 1000)
        answer = client.response()
        check(answer.status == 200 and answer.body == b"early", "%s" % answer.status)
        client.send(b"x" * 19000 + GET % b"/ok")
        check(client.response().status == 200, "the rest was not read away")
    with w.client() as client:                      # much is left: it ends
        client.send(b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000)
        answer = client.response()
        check(answer.status == 200 and answer.body == b"early" and answer.get("connection") == "close", "%s" % answer.headers)
        check(client.ended(2.5), "still open")
    wait_for(lambda: not w.up.open_halves(), 5, "half-used upstream connections to be closed")


def an_upload_that_the_upstream_refuses(w):
    """The answer comes with a reset of its connection, and reaches the client all the same."""
    for _ in range(5):
        with w.client("refusing") as client:
            client.send(b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n")
            for _ in range(40):
                if not client.send(b"x" * 100000):
                    break
            answer = client.response()
            check(answer is not None and answer.status == 413 and answer.body == b"big", "%s" % (answer and answer.raw[:100]))


def an_upstream_that_closes_idle_connections(w):
    """A request that meets a connection just closed goes out again on a new one: nobody sees the race."""
    with w.client("closing") as client:
        for i in range(200):
            client.send(GET % b"/ok")
            answer = client.response()
            check(answer is not None and answer.status == 200, "request %d got %s" % (i, answer and answer.status))


# ---- time -----------------------------------------------------------------------------------------------------------

def a_slow_head_is_cut(w):
    began = time.monotonic()
    with w.client("quick") as client:
        client.send(b"GET /ok HTTP/1.1\r\n")
        answer = None
        for i in range(200):                        # a byte now and then does not help
            client.send(b"x")
            if h1.readable(client.socket, 0.05):
                answer = client.response()
                break
        check(answer is not None and answer.status == 408, "no 408: %s" % (answer and answer.status))
        check(client.ended(2.5), "still open after 408")
    took = time.monotonic() - began
    check(0.5 <= took < 3, "cut after %.2f s, expected 0.6" % took)


def idle_connections_end(w):
    with w.client() as patient, w.client("quick") as client:
        began = time.monotonic()
        client.send(GET % b"/ok")
        check(client.response().status == 200, "no answer")
        check(client.ended(3), "still open after 3 s")
        took = time.monotonic() - began
        check(not client.buffer and not client.reset and 0.3 < took, "ended after %.2f s with %r" % (took, client.buffer))
        patient.send(GET % b"/ok")                  # as long idle, on a listener whose idle time is the default hour
        check(patient.response().status == 200, "an idle connection was cut early")


def an_old_connection_ends_politely(w):
    """max_connection_duration: a client that keeps asking is told with an answer; an idle one is left drain_timeout to ask."""
    began = time.monotonic()
    with w.client("aging") as idle, w.client("aging") as busy:
        idle.send(GET % b"/ok")
        check(idle.response().status == 200, "no answer")
        while True:
            check(time.monotonic() - began < 5, "a busy connection was never told to end")
            busy.send(GET % b"/ok")
            answer = busy.response()
            check(answer is not None and answer.status == 200, "a busy connection ended without being told")
            if answer.get("connection") == "close":
                break
        check(busy.ended(2), "still open after its last answer")
        check(idle.ended(3) and not idle.buffer, "an idle connection did not end")
        took = time.monotonic() - began
        check(0.75 < took < 3, "the idle one ended after %.2f s, expected 0.8" % took)


def an_upstream_that_never_answers(w):
    with w.client("quick") as client:
        client.send(GET % b"/hang?never")
        answer = client.response()
        check(answer.status == 504 and answer.body == b"upstream request timeout", "%s %r" % (answer.status, answer.body))
    w.expect_log("quick", b"/hang?never", "504", "UT")
    with w.client("lazy") as client:                # no route timeout: the idle stream ends it
        client.send(GET % b"/hang")
        check(client.response().status == 504, "no answer by the idle timeout")
    with w.client("lazy") as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        answer = client.response()
        check(answer.status == 408 and client.ended(2.5), "a request that stalls in its body: %s" % answer.status)
    wait_for(lambda: not w.up.open_halves(), 5, "upstream connections of given-up requests to be closed")


# ---- other people's programs ------------------------------------------------------------------------------------------

def pythons_client_keeps_its_connection(w):
    connection = http.client.HTTPConnection("127.0.0.1", w.ports["plain"], timeout=10)
    for path, size in (("/size/10", 10), ("/chunked/99999", 99999), ("/size/0", 0), ("/size/300000", 300000)):
        connection.request("GET", path)
        answer = connection.getresponse()
        check(answer.status == 200 and len(answer.read()) == size, "%s" % path)
        socket_then = connection.sock
    connection.request("POST", "/echo", body=iter([b"a" * 1000, b"b" * 70000]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    check(connection.getresponse().read() == b"a" * 1000 + b"b" * 70000, "chunks of an iterator")
    check(connection.sock is socket_then, "another connection was made")
    connection.close()


def with_nginx(w):
    """nginx behind Outrider and nginx in front of it, both with keep-alive."""
    nginx = tool("nginx")
    front = harness.free_port()
    folder = os.path.join(w.folder, "nginx")
    os.makedirs(os.path.join(folder, "www"))
    with open(os.path.join(folder, "www", "file"), "wb") as out:
        out.write(b"0123456789" * 50000)
    config = os.path.join(folder, "nginx.conf")
    with open(config, "w") as out:
        out.write("""
daemon off; master_process off; worker_processes 1; pid %(f)s/pid; error_log %(f)s/error.log;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path %(f)s/b; proxy_temp_path %(f)s/p; fastcgi_temp_path %(f)s/x; uwsgi_temp_path %(f)s/x;
  scgi_temp_path %(f)s/x; client_max_body_size 0;
  upstream outrider { server 127.0.0.1:%(plain)d; keepalive 8; }
  server { listen 127.0.0.1:%(back)d; root %(f)s/www; location = /gone { return 410 "gone"; } }
  server { listen 127.0.0.1:%(front)d;
    location / { proxy_pass http://outrider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; } }
}
""" % {"f": folder, "plain": w.ports["plain"], "back": w.nginx_port, "front": front})
    with open(os.path.join(folder, "out"), "wb") as out:
        child = harness.spawn([nginx, "-p", folder, "-c", config], stdout=out, stderr=out)

    def listening():
        check(child.poll() is None, "nginx ended: %s" % open(os.path.join(folder, "out")).read())
        for port in (front, w.nginx_port):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
        return True
    wait_for(listening, 10, "nginx")
    # behind
    check(curl(w.url("/file", "nginx")) == b"0123456789" * 50000, "a file of nginx")
    check(curl("-r", "10-19", w.url("/file", "nginx")) == b"0123456789", "a range of it")
    check(curl("-w", "%{http_code}", w.url("/gone", "nginx")) == b"gone410", "a status of nginx")
    code = curl("-o", "/dev/null", "-w", "%{http_code}", "-z", "+1 day", w.url("/file", "nginx"))
    check(code in (b"304", b"200"), "a conditional request: %r" % code)
    # in front
    mark = w.up.mark()
    at = "http://127.0.0.1:%d" % front
    for _ in range(5):
        check(curl(at + "/size/3000") == b"s" * 3000, "through both")
    body = os.urandom(200000)
    check(curl("-T", "-", at + "/echo", data=body) == body, "a body in chunks through both")
    seen = w.up.since(mark)[0]
    check(all(r.get("host") == "outrider" for r in seen) and len(seen) == 6, "upstream saw %d requests" % len(seen))
    harness.end(child)


# ---- the end ------------------------------------------------------------------------------------------------------------

class Ending:
    """A proxy of its own, to be ended."""

    def __init__(self, w, name, *arguments):
        self.up = h1.Upstream("ending")
        self.release = threading.Event()
        self.port = harness.free_port()
        self.proxy = harness.Proxy("outrider", w.chosen.outrider, w.folder, name=name, arguments=arguments)
        self.proxy.start(harness.bootstrap([harness.listener("l", self.port, harness.hcm("l", harness.everything_to("up", timeout="30s")))],
                                           [harness.cluster("up", self.up.port)], self.proxy.admin_port))

    def client(self):
        return h1.Client(self.port)

    def term(self):
        self.proxy.child.send_signal(signal.SIGTERM)
        return time.monotonic()

    def refused(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return False
        except ConnectionResetError:                 # its handshake met the socket's end: ask again
            return False
        except ConnectionRefusedError:
            return True


def sigterm_finishes_what_is_under_way(w):
    e = Ending(w, "drain")
    idle = e.client()
    idle.send(GET % b"/ok")
    check(idle.response().status == 200, "no answer")
    busy = e.client()                                # in the middle of its body
    busy.send(b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
    wait_for(lambda: [r for r in e.up.since([])[0] if r.target == "/echo"], 5, "the request to be under way")
    e.term()
    check(idle.ended(3) and not idle.buffer and not idle.reset, "an idle connection is not closed: %r" % idle.buffer)
    wait_for(e.refused, 3, "the listener to refuse new connections")
    check(e.proxy.alive(), "it ended with a request in flight")
    busy.send(b"def")
    answer = busy.response()
    check(answer is not None and answer.status == 200 and answer.body == b"abcdef", "the request in flight was lost")
    check(answer.get("connection") == "close" and busy.ended(3), "no connection: close on the last answer: %s" % answer.headers)
    check(e.proxy.child.wait(5) == 0, "exit code %s" % e.proxy.child.returncode)


def sigterm_ends_an_idle_process_at_once(w):
    e = Ending(w, "idle")
    client = e.client()
    client.send(GET % b"/ok")
    check(client.response().status == 200, "no answer")
    began = e.term()
    check(e.proxy.child.wait(5) == 0, "exit code %s" % e.proxy.child.returncode)
    check(time.monotonic() - began < 2, "took %.2f s" % (time.monotonic() - began))


def the_drain_time_bounds_the_drain(w):
    e = Ending(w, "bounded", "--drain-time-s", "1")
    client = e.client()
    client.send(GET % b"/hang")
    wait_for(lambda: e.up.since([])[0], 5, "the request to be under way")
    began = e.term()
    code = e.proxy.child.wait(8)
    took = time.monotonic() - began
    check(code == 0 and 0.9 < took < 4, "ended with %s after %.2f s" % (code, took))


def a_second_sigterm_ends_it_at_once(w):
    e = Ending(w, "second")
    client = e.client()
    client.send(GET % b"/hang")
    wait_for(lambda: e.up.since([])[0], 5, "the request to be under way")
    e.term()
    wait_for(e.refused, 3, "the drain to begin")
    began = e.term()
    e.proxy.child.wait(5)
    check(time.monotonic() - began < 1.5, "took %.2f s after the second" % (time.monotonic() - began))


def keep_alive_clients_lose_nothing_in_a_drain(w):
    """Clients that send request after request see answers until one says close, then a refused connection; never a cut answer."""
    e = Ending(w, "busy")
    lost, served = [], [0]
    begun = threading.Barrier(9)

    def go():
        first = True
        try:
            while True:
                with e.client() as client:
                    while True:
                        if not client.send(GET % b"/size/20000"):
                            break                    # closed while idle: the request was never begun
                        answer = client.response()
                        if answer is None:
                            break                    # the same, noticed later
                        if answer.status != 200 or not answer.complete:
                            lost.append("%s, %d bytes" % (answer.status, len(answer.body)))
                            return
                        served[0] += 1
                        if first:
                            first = False
                            begun.wait(10)
                        if answer.get("connection") == "close":
                            break
        except (ConnectionRefusedError, ConnectionResetError):
            return
        except Exception as error:
            lost.append("%s: %s" % (type(error).__name__, error))
    threads = [threading.Thread(target=go) for _ in range(8)]
    for t in threads:
        t.start()
    begun.wait(10)
    e.term()
    for t in threads:
        t.join(15)
    check(not lost, "lost: %s" % lost[:3])
    check(e.proxy.child.wait(8) == 0, "exit code %s" % e.proxy.child.returncode)


def main():
    chosen = harness.options(__doc__, only=(str, None, "run the stories whose title holds this"))
    harness.bound(115)
    folder = harness.work_folder(chosen.keep)
    tally = harness.Tally("h1")
    w = World(chosen, folder)
    stories = [
        ("curl keeps its connection", curl_keeps_its_connection, "curl"),
        ("curl sends and takes chunks", curl_sends_and_takes_chunks, "curl"),
        ("curl waits for leave to send its body", curl_waits_for_leave_to_send, "curl"),
        ("HEAD, 204 and 304 have no body", heads_and_empty_answers, "curl"),
        ("big and many header fields are refused with 431", big_and_many_header_fields, "curl"),
        ("upgrades are refused unless enabled, then pass bytes both ways", upgrades, None),
        ("HTTP/1.0 is refused unless accepted", http_1_0, "curl"),
        ("a body that ends with its connection goes on in chunks", a_body_that_ends_with_its_connection, None),
        ("trailers pass both ways where enabled", trailers_both_ways, None),
        ("a request is framed as it came", a_request_is_framed_as_it_came, None),
        ("pipelined answers keep their order", pipelined_answers_keep_their_order, None),
        ("an upstream that cuts its answer", an_upstream_that_cuts_its_answer, None),
        ("an answer before the request is whole", an_answer_before_the_request_is_whole, None),
        ("an upload that the upstream refuses", an_upload_that_the_upstream_refuses, None),
        ("an upstream that closes idle connections", an_upstream_that_closes_idle_connections, None),
        ("a slow head is cut", a_slow_head_is_cut, None),
        ("idle connections end", idle_connections_end, None),
        ("an old connection ends politely", an_old_connection_ends_politely, None),
        ("an upstream that never answers", an_upstream_that_never_answers, None),
        ("Python's client keeps its connection", pythons_client_keeps_its_connection, None),
        ("nginx behind and in front", with_nginx, "nginx"),
        ("SIGTERM finishes what is under way", sigterm_finishes_what_is_under_way, None),
        ("SIGTERM ends an idle process at once", sigterm_ends_an_idle_process_at_once, None),
        ("--drain-time-s bounds the drain", the_drain_time_bounds_the_drain, None),
        ("a second SIGTERM ends it at once", a_second_sigterm_ends_it_at_once, None),
        ("keep-alive clients lose nothing in a drain", keep_alive_clients_lose_nothing_in_a_drain, None),
    ]
    for title, story, needs in stories:
        if chosen.only and chosen.only not in title:
            continue
        if needs and not tool(needs):
            tally.skip(title, "%s is not installed" % needs)
            continue
        tally.run(title, story, w)
        if not w.proxy.alive():
            tally.result("the proxy is alive after it", w.proxy.said()[-1500:])
            break
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
