#!/usr/bin/env python3
"""Two users, distinct secrets, stalled windows and sockets: no byte of one ever reaches the other.

Each user sends requests whose headers and bodies are full of a secret of that very request; the backend sends them back in headers,
body and trailers. Clients stop reading at random points, open their windows by small steps, reset streams and drop connections, so
that memory of ended exchanges is used again while bytes of others still wait. Every byte that arrives, at either end, is checked.
"""
import random
import socket
import struct
import sys
import threading
import time

import harness
from harness import check

harness.enter_venv("hpack")
import h2  # noqa: E402

SEED = 20240711


def secret(user, number):
    """64 bytes that only this request has; every byte names the user."""
    return (b"%s-%08d-" % (user, number)) + (b"A" if user == b"alice" else b"B") * 40


def owner(text):
    return {user for user in (b"alice", b"bobby") if user in text} | {u for u, c in ((b"alice", b"A" * 12), (b"bobby", b"B" * 12)) if c in text}


class EchoBackend:
    """HTTP/1.1: answers with the request's x-secret in two headers, a body of as many copies as x-copies says, and a trailer."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listening.getsockname()[1]
        self.problems, self.served = [], 0
        self.lock = threading.Lock()
        harness.each_connection(self.listening, self.serve)

    def serve(self, peer):
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = peer.recv(65536)
                    if not more:
                        return
                    data += more
                head, data = data.split(b"\r\n\r\n", 1)
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
                length = int(fields.get(b"content-length", b"0"))
                while len(data) < length:
                    more = peer.recv(65536)
                    if not more:
                        return
                    data += more
                body, data = data[:length], data[length:]
                own = fields[b"x-secret"]
                if len(owner(head + body)) > 1 or body.replace(own, b""):
                    with self.lock:
                        self.problems.append("a request of two users: %r" % (head + body)[:300])
                with self.lock:
                    self.served += 1
                answer = own * int(fields[b"x-copies"])
                out = b"HTTP/1.1 200 OK\r\nx-echo: %s\r\nset-cookie: s=%s\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n" % (own, own)
                if answer:
                    out += b"%x\r\n%s\r\n" % (len(answer), answer)
                peer.sendall(out + b"0\r\nx-end: %s\r\n\r\n" % own)
        except (OSError, ValueError, KeyError):
            return
        finally:
            peer.close()


class Checks:
    def __init__(self):
        self.lock = threading.Lock()
        self.problems, self.whole, self.partial = [], 0, 0

    def add(self, problem=None, whole=False):
        with self.lock:
            if problem:
                self.problems.append(problem)
            elif whole:
                self.whole += 1
            else:
                self.partial += 1


def h1_user(user, port, checks, until, seed):
    random_ = random.Random(seed)
    number = seed * 100000
    while time.monotonic() < until:
        peer = socket.socket()
        if random_.random() < 0.5:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        peer.settimeout(5)
        try:
            peer.connect(("127.0.0.1", port))
            for _ in range(random_.randrange(1, 12)):
                number += 1
                own, copies = secret(user, number), random_.choice((0, 1, 3, 40, 700, 3000))
                body = own * random_.choice((0, 1, 5, 300))
                peer.sendall(b"POST /%s HTTP/1.1\r\nhost: h\r\nx-secret: %s\r\nx-copies: %d\r\nte: trailers\r\ncontent-length: %d\r\n\r\n%s" % (
                    own, own, copies, len(body), body))
                if random_.random() < 0.1:
                    break                                             # leaves with the answer on its way
                data = b""
                while not data.endswith(b"\r\n\r\n") or b"\r\n0\r\n" not in data:
                    if random_.random() < 0.05:
                        time.sleep(0.002)
                    more = peer.recv(random_.choice((100, 5000, 65536)))
                    if not more:
                        break
                    data += more
                    if owner(data) - {user}:
                        checks.add("%s received bytes of another: %r" % (user, data[:300]))
                        return
                if b"\r\n0\r\n" not in data:
                    checks.add("the answer ended early: %r" % data[-200:])
                    return
                check_h1(data, own, copies, checks)
        except OSError as error:
            checks.add("h1: %s" % error)
            return
        finally:
            peer.close()


def check_h1(data, own, copies, checks):
    head, rest = data.split(b"\r\n\r\n", 1)
    body = b""
    while True:
        size, rest = rest.split(b"\r\n", 1)
        size = int(size, 16)
        if size == 0:
            break
        body, rest = body + rest[:size], rest[size + 2:]
    if head.count(own) != 2 or body != own * copies:
        checks.add("another answer than expected for %r: %r" % (own, data[:400]))
    else:
        checks.add(whole=True)


def h2_user(user, port, checks, until, seed):
    random_ = random.Random(seed)
    number = seed * 100000
    while time.monotonic() < until:
        window = random_.choice((1, 50, 1000, 65535))
        client = h2.Client(port, open_window=False, initial_settings=((4, window),), timeout=5,
                           receive_buffer=2048 if random_.random() < 0.5 else None)
        open_streams, wanted = {}, {}
        try:
            for _ in range(random_.randrange(5, 60)):
                if client.eof:
                    break
                roll = random_.random()
                if roll < 0.5 and len(open_streams) < 20:
                    number += 1
                    own, copies = secret(user, number), random_.choice((0, 1, 3, 40, 700))
                    stream = client.new_stream()
                    body = own * random_.choice((0, 1, 20))
                    client.headers(stream, h2.get(path="/" + own.decode(), method="POST", more=(
                        ("x-secret", own.decode()), ("x-copies", str(copies)), ("te", "trailers"), ("content-length", str(len(body))))), end=not body)
                    if body:
                        client.frame(h2.DATA, h2.END_STREAM, stream, body)
                    open_streams[stream], wanted[stream] = own, copies
                elif roll < 0.6 and open_streams:
                    stream = random_.choice(list(open_streams))
                    client.frame(h2.RST_STREAM, 0, stream, struct.pack(">I", 8))
                    del open_streams[stream]
                elif roll < 0.9:
                    # Few: more than two a stream, before any answer came (a busy machine), are an attack.
                    for stream in random_.sample(list(open_streams), min(1, len(open_streams))):
                        client.frame(h2.WINDOW_UPDATE, 0, stream, struct.pack(">I", random_.choice((1, 30, 5000))))
                    client.pump(0.001)
                else:
                    client.pump(0.002)
            if random_.random() < 0.8:
                for stream in open_streams:
                    client.frame(h2.WINDOW_UPDATE, 0, stream, struct.pack(">I", 1 << 20))
                client.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 26))
                client.until(lambda: all(client.stream(s).over for s in open_streams), 40)   # small buffers on a busy machine
                for stream, own in open_streams.items():
                    if not client.stream(stream).ended:
                        checks.add("stream %d of %r did not end: reset %s, connection ended %s, GOAWAY %s, %d bytes of %d" % (
                            stream, own, client.stream(stream).reset, client.eof, client.goaway and (client.goaway.code, client.goaway.payload[8:]),
                            len(client.stream(stream).body), len(own) * wanted[stream]))
                        return
            for stream, seen in client.streams.items():
                text = repr(seen.headers).encode() + repr(seen.trailers).encode() + bytes(seen.body)
                if owner(text) - {user}:
                    checks.add("%s received bytes of another: %r" % (user, text[:300]))
                    return
                if stream not in open_streams or not seen.ended:
                    checks.add()
                    continue
                own = open_streams[stream]
                if (seen.get("x-echo"), seen.get("set-cookie"), seen.trailer("x-end")) != (own.decode(), "s=" + own.decode(), own.decode()) or \
                        seen.body != own * wanted[stream]:
                    checks.add("another answer than expected for %r: %r" % (own, text[:400]))
                else:
                    checks.add(whole=True)
        except OSError as error:
            checks.add("h2: %s" % error)
            return
        finally:
            client.close()


def story(users, backend, port, seconds, least):
    checks, until = Checks(), time.monotonic() + seconds
    threads = []
    for i in range(6):
        for name in (b"alice", b"bobby"):
            threads.append(threading.Thread(target=users, args=(name, port, checks, until, SEED % 997 + i * 2 + (name == b"bobby"))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not checks.problems, checks.problems[:3])
    check(not backend.problems, backend.problems[:3])
    check(checks.whole >= least, "only %d whole answers were checked" % checks.whole)
    print("      %d whole answers, %d parts" % (checks.whole, checks.partial))


def main():
    chosen = harness.options(__doc__, proxy_choice=True, seconds=(float, 4.0, "of each story"))
    harness.bound(120)
    tally, backend = harness.Tally("isolation"), EchoBackend()
    folder, port = harness.work_folder(chosen.keep), harness.free_port()
    proxy = harness.Proxy(chosen.proxy, chosen.binary, folder)
    manager = harness.hcm("in", harness.everything_to("echo"), http_protocol_options={"enable_trailers": True},
                          http2_protocol_options={"max_concurrent_streams": 100})
    echo = harness.cluster("echo", backend.port, circuit_breakers={"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]},
                           typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                               "@type": harness.HTTP_OPTIONS, "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}})
    proxy.start(harness.bootstrap([harness.listener("in", port, manager)], [echo], proxy.admin_port), listening=port)
    tally.run("HTTP/1: every byte belongs to who asked", story, h1_user, backend, port, chosen.seconds, 50)
    tally.run("HTTP/2: every byte belongs to who asked", story, h2_user, backend, port, chosen.seconds, 50)
    tally.run("the proxy still runs", lambda: check(proxy.alive(), proxy.said()[-800:]))
    harness.end_all()
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
