#!/usr/bin/env python3
"""Clients and upstreams that do anything at any time over HTTP/2: the proxy lives, is at rest afterwards and serves.

The choices come from a seeded generator (--seed), a number of seconds bounds the run (--seconds).
"""
import os
import random
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
from h2 import (DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get,
                settings)

U32 = struct.Struct(">I").pack
PATHS = (["/ok", "/hang", "/size/0", "/size/1000", "/size/70000", "/size/900000", "/goaway", "/refused", "/leave", "/echo", "/trailers",
          "/status/204", "/grpc", "/grpc/5", "/s103", "/rst", "/rstbody", "/chunked/5000", "/closing", "/early"] +
         ["/evil/%d" % i for i in range(9)] + ["/reset/%d" % i for i in range(15)] + ["/half/%d" % i for i in range(15)])


class Evil(h2._Conversation):
    """Breaks the protocol in the way that the path names."""

    def complete(self, number):
        path = self.seen[number].target or ""
        if not path.startswith("/evil/"):
            return super().complete(number)
        head = frame(HEADERS, END_HEADERS, number, block([(":status", "200"), ("content-length", "3")]))
        free = frame(HEADERS, END_HEADERS, number, block([(":status", "200")]))
        answers = [frame(GOAWAY, 0, 0, U32(number - 1) + U32(0)), frame(DATA, 0, number, b"before a head"),
                   free + frame(WINDOW_UPDATE, 0, 0, U32(0x7fffffff)), None, frame(GOAWAY, 0, 0, U32(number) + U32(2)),
                   frame(HEADERS, END_HEADERS, number, block([(":status", "200"), ("Bad", "x")])),
                   head + frame(DATA, END_STREAM, number, b"too long"), b"garbage" * 10,
                   free + frame(DATA, 0, number, b"d" * 100) * 20 + frame(HEADERS, END_HEADERS | END_STREAM, number, block([("t", "v")]))]
        kind = int(path[6:])
        if answers[kind] is not None:
            self.socket.sendall(answers[kind])
        if kind in (3, 4):
            raise ValueError("leaves")


class Upstream(h2.Upstream):
    conversation = Evil


def abuse(choose, ports, upstreams):
    """One connection of a client that keeps to nothing."""
    for upstream in upstreams:
        upstream.refusals = choose.randint(0, 3)
    with h2.Client(choose.choice(ports), timeout=2, open_window=choose.random() < 0.7,
                   initial_settings=choose.choice([(), (), ((4, 0),), ((4, 10),), ((4, 1 << 20),)])) as client:
        numbers = []
        for _ in range(choose.randint(1, 40)):
            what = choose.random()
            if what < 0.5:
                n = client.new_stream()
                numbers.append(n)
                method = choose.choice(["GET", "POST", "POST", "HEAD"])
                more = [("x", "y" * choose.randint(0, 300))]
                for chance, field in ((0.2, ("content-type", "application/grpc")), (0.1, ("expect", "100-continue")),
                                      (0.05, ("content-length", str(choose.randint(0, 20))))):
                    if choose.random() < chance:
                        more.append(field)
                client.headers(n, get(choose.choice(PATHS), method, more=more), end=method != "POST")
            elif what < 0.7 and numbers:
                client.frame(DATA, END_STREAM if choose.random() < 0.4 else 0, choose.choice(numbers), b"d" * choose.choice([0, 1, 100, 16000]))
            elif what < 0.8 and numbers:
                client.frame(RST_STREAM, 0, choose.choice(numbers), U32(choose.randint(0, 14)))
            elif what < 0.85 and numbers:
                client.headers(choose.choice(numbers), [("t", "v")])
            elif what < 0.9:
                client.pump(choose.random() * 0.02)
            elif what < 0.93:
                client.frame(WINDOW_UPDATE, 0, choose.choice([0] + numbers), U32(choose.choice([0, 1, 1000, 1 << 20])))
            elif what < 0.95:
                client.frame(PING, 0, 0, b"12345678")
            elif what < 0.96:
                client.frame(GOAWAY, 0, 0, U32(0) + U32(0))
            elif what < 0.97:
                client.frame(choose.randint(0, 15), choose.randint(0, 255), choose.randint(0, 9), choose.randbytes(choose.randint(0, 30)))
            elif what < 0.98:
                client.frame(SETTINGS, 0, 0, settings((4, choose.choice([0, 100, 65535]))))
            else:
                client.frame(PRIORITY, 0, choose.randint(1, 9), U32(choose.randint(0, 9)) + b"\x03")
        end = choose.random()
        if end < 0.4:
            client.until(lambda: all(client.stream(n).over for n in numbers), choose.random() * 1.5)
        elif end < 0.5:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif end < 0.7:
            client.socket.shutdown(socket.SHUT_WR)
            client.ended(0.2)


def main():
    chosen = harness.options(__doc__, seed=(int, 1, "of the choices"), seconds=(int, 8, "how long"))
    harness.bound(chosen.seconds + 60)
    folder = harness.work_folder(chosen.keep)
    proxy = harness.Proxy("outrider", chosen.outrider, folder)
    upstreams = [Upstream("a"), Upstream("b", initial_settings=((3, 3),)), h1.Upstream("c")]
    listeners, clusters, ports = [], [], []
    for i, upstream in enumerate(upstreams):
        clusters.append(harness.cluster("c%d" % i, upstream.port, circuit_breakers={"thresholds": [{"max_requests": 40, "max_pending_requests": 30}]},
                                        **(harness.http2_options() if i < 2 else {})))
        for name, route, more in (("once", {}, {"stream_idle_timeout": "0.7s"}),
                                  ("again", {"retry_policy": {"retry_on": "refused-stream,reset,5xx,connect-failure", "num_retries": 2}},
                                   {"common_http_protocol_options": {"max_stream_duration": "0.9s"}})):
            ports.append(harness.free_port())
            full = "%s%d" % (name, i)
            listeners.append(harness.listener(full, ports[-1], harness.hcm(
                full, harness.everything_to("c%d" % i, **route), [harness.file_log(os.path.join(folder, full + ".log"))],
                http_protocol_options={"enable_trailers": True}, **more)))
    proxy.start(harness.bootstrap(listeners, clusters, proxy.admin_port))
    over = time.monotonic() + chosen.seconds
    connections = [0] * 8

    def work(k):
        choose = random.Random(chosen.seed * 100 + k)
        while time.monotonic() < over and proxy.alive():
            try:
                abuse(choose, ports, upstreams)
            except (OSError, h2.hpack.HPACKError):
                pass
            connections[k] += 1
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    def lives():
        check(proxy.alive(), "ended with %s: %s" % (proxy.child.returncode, proxy.said()[-2000:]))
        check(sum(connections) > 50, "only %d connections" % sum(connections))

    def rests():
        proxy.expect_at_rest(r"^(http|cluster)\.", 8)

    def serves():
        for upstream in upstreams[:2]:
            upstream.refusals = 0
        for port in ports:
            with h2.Client(port) as client:
                check(client.request(timeout=5).status == 200, "port %d is not served" % port)
    tally = harness.Tally("h2 abuse")
    tally.run("the proxy lives", lives)
    if not tally.failed:
        tally.run("everything is at rest afterwards", rests)
        tally.run("every way through it is served afterwards", serves)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
