#!/usr/bin/env python3
"""What a steady exchange costs the real binary's workers over HTTP/2, TLS and TCP: allocations, and system calls that move data.

Between HTTP/2 ends none, two reads and two writes, as over HTTP/1.1 (h1_weight_process_test.py). Over TLS no more calls, and OpenSSL's
allocations: two for each record, one in and one out. A connection for each request adds three calls. Calls are counted by count_calls.c,
compiled here and loaded into the proxy.
"""
import os
import shutil
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import check

harness.enter_venv("hpack")
import h2
import h1_weight_process_test as weight

ROUNDS = 500


class InOneWrite(h2._Conversation):
    """Head and body leave together, as servers do."""

    def complete(self, number):
        fields = [(":status", "200"), ("content-type", "text/plain"), ("content-length", "2")]
        self.socket.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS, number, h2.block(fields)) +
                            h2.frame(h2.DATA, h2.END_STREAM, number, b"ok"))
        self.seen.pop(number)
        self.windows.pop(number, None)
        with self.upstream.lock:
            self.upstream.requests.clear()


class H2Backend(h2.Upstream):
    conversation = InOneWrite


def h1_exchange(s):
    weight.exchange(s)


class H2Exchange:
    """Requests one after another; windows are opened wide at the start, so that no exchange needs an update."""

    def __init__(self, s):
        self.socket, self.receiver, self.number = s, h2.Receiver(), 1
        s.sendall(h2.PREFACE + h2.frame(h2.SETTINGS))

    def __call__(self, s):
        number, self.number = self.number, self.number + 2
        s.sendall(h2.frame(h2.HEADERS, h2.END_HEADERS | h2.END_STREAM, number, h2.block(h2.get())))
        over = False
        while not over:
            data = s.recv(65536)
            check(data, "the connection ended")
            for f in self.receiver.feed(data):
                check(f.kind not in (h2.GOAWAY, h2.RST_STREAM), "instead of an answer: %s" % f)
                if f.kind == h2.HEADERS:
                    self.receiver.headers(f)
                if f.kind == h2.SETTINGS and not f.flags & h2.ACK:
                    s.sendall(h2.frame(h2.SETTINGS, h2.ACK))
                over |= f.kind == h2.DATA and f.stream == number and bool(f.flags & h2.END_STREAM)


def counted(chosen, folder, library, name, listeners, cluster):
    """A proxy of one worker whose calls are counted, and the file of its counts."""
    name = name.replace(" ", "-")
    proxy = harness.Proxy("outrider", chosen.outrider, folder, name=name, concurrency=1)
    table = os.path.join(folder, "counts-" + name)
    kept = dict(os.environ)
    os.environ.update({"LD_PRELOAD": library, "OUTRIDER_CALL_COUNTS": table})
    try:
        proxy.start(harness.bootstrap(listeners(), [cluster], proxy.admin_port))
    finally:
        os.environ.clear()
        os.environ.update(kept)
    return proxy, table


def calls_of(proxy, table, name, action):
    """The calls of ROUNDS actions after some that warm up."""
    for _ in range(300):
        action()
    before = weight.counts(table, proxy.child.pid)
    for _ in range(ROUNDS):
        action()
    after = weight.counts(table, proxy.child.pid)
    print("      %s: %s" % (name, ", ".join("%s %.3f" % (c, (after[c] - before[c]) / ROUNDS) for c in weight.COLUMNS)))
    return {c: after[c] - before[c] for c in weight.COLUMNS}


def a_connection(chosen, folder, library):
    """A connection for each request, on a listener of two addresses: accept, watch, two reads, two writes, close."""
    backend, ports = weight.Backend(), (harness.free_port(), harness.free_port())
    more = {"additional_addresses": [{"address": harness.address(ports[1])}]}
    proxy, table = counted(chosen, folder, library, "new connections", lambda: [
        harness.listener("l", ports[0], harness.hcm("l", harness.everything_to("up", timeout="0s")), **more)],
                           harness.cluster("up", backend.port))

    def once(port=ports[1]):
        with weight.socket.create_connection(("127.0.0.1", port), 30) as s:
            s.sendall(b"GET /ok HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            data = b""
            while more := s.recv(65536):
                data += more
            check(data.endswith(b"\r\n\r\nok"), "the answer was %r" % data)
    spent = calls_of(proxy, table, "a connection a request", once)
    proxy.stop()
    slack = ROUNDS // 20
    check(spent["reads"] >= 2 * ROUNDS and spent["writes"] >= 2 * ROUNDS, "the counting does not work: %s" % spent)
    check(spent["reads"] + spent["writes"] <= 4 * ROUNDS + slack, "data calls: %s" % spent)
    check(spent["other"] <= 3 * ROUNDS + slack, "accept4, epoll_ctl and close are enough: %s" % spent)


def a_message(chosen, folder, library):
    """A message there and one back through the TCP proxy: two reads, two writes, no memory, nothing else."""
    backend, port = weight.Backend(), harness.free_port()
    relay = {"name": "tcp", "typed_config": {"@type": harness.TCP_PROXY, "stat_prefix": "t", "cluster": "up"}}
    proxy, table = counted(chosen, folder, library, "messages", lambda: [harness.listener("l", port, relay)],
                           harness.cluster("up", backend.port))
    with weight.socket.create_connection(("127.0.0.1", port), 30) as s:
        s.setsockopt(weight.socket.IPPROTO_TCP, weight.socket.TCP_NODELAY, 1)
        spent = calls_of(proxy, table, "a message through the TCP proxy", lambda: weight.exchange(s))
    proxy.stop()
    check(spent["reads"] >= 2 * ROUNDS and spent["writes"] >= 2 * ROUNDS, "the counting does not work: %s" % spent)
    check(spent["allocations"] <= ROUNDS // 50, "allocations: %s" % spent)
    check(spent["reads"] + spent["writes"] <= 4 * ROUNDS + ROUNDS // 50, "data calls: %s" % spent)
    check(spent["other"] == 0, "other calls: %s" % spent)


def cost(chosen, folder, library, name, up, tls, most):
    """`up`: HTTP/2 on both sides, else HTTP/1.1. `tls`: certificates, or None for plain."""
    backend = H2Backend() if up else weight.Backend()
    port = harness.free_port()
    socket = harness.downstream_tls(tls, alpn=("h2",) if up else ("http/1.1",)) if tls else None
    proxy, table = counted(chosen, folder, library, name, lambda: [
        harness.listener("l", port, harness.hcm("l", harness.everything_to("up", timeout="0s")), transport_socket=socket)],
                           harness.cluster("up", backend.port, **(harness.http2_options() if up else {})))
    plain = weight.socket.create_connection(("127.0.0.1", port), 30)
    plain.setsockopt(weight.socket.IPPROTO_TCP, weight.socket.TCP_NODELAY, 1)
    s = plain
    if tls:
        context = ssl.create_default_context(cafile=tls["ca"])
        context.set_alpn_protocols(["h2" if up else "http/1.1"])
        s = context.wrap_socket(plain, server_hostname="localhost")
    exchange = H2Exchange(s) if up else h1_exchange
    for _ in range(300):
        exchange(s)
    batches = []
    for _ in range(3):       # the best of them: the first sample in a new decade of a histogram takes memory once
        before = weight.counts(table, proxy.child.pid)
        for _ in range(ROUNDS):
            exchange(s)
        after = weight.counts(table, proxy.child.pid)
        batches.append({c: after[c] - before[c] for c in weight.COLUMNS})
    spent = min(batches, key=lambda each: (each["allocations"], each["reads"] + each["writes"]))
    print("      %s: %s" % (name, ", ".join("%s %.3f" % (c, spent[c] / ROUNDS) for c in weight.COLUMNS)))
    s.close()
    proxy.stop()
    check(spent["reads"] >= 2 * ROUNDS and spent["writes"] >= 2 * ROUNDS, "the counting does not work: %s" % spent)
    check(spent["allocations"] <= most * ROUNDS + ROUNDS // 50, "%d allocations in %d exchanges, %d each are allowed" % (
        spent["allocations"], ROUNDS, most))
    check(spent["reads"] + spent["writes"] <= 4 * ROUNDS + ROUNDS // 50, "data calls: %s" % spent)
    check(spent["other"] == 0, "other calls: %s" % spent)


def main():
    chosen = harness.options(__doc__)
    harness.bound(55)
    folder = harness.work_folder(chosen.keep)
    tally = harness.Tally("exchange cost")
    if not shutil.which("cc"):
        tally.skip("the cost of exchanges", "cc is not installed")
        return tally.close()
    library = os.path.join(folder, "count_calls.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "count_calls.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True, timeout=60)
    tls = harness.make_certificates(folder)
    for name, up, certificates, most in (("HTTP/2 to HTTP/2", True, None, 0), ("TLS with HTTP/1.1", False, tls, 4), ("TLS with HTTP/2", True, tls, 4)):
        tally.run(name, cost, chosen, folder, library, name.replace("/", ""), up, certificates, most)
    tally.run("a connection for each request", a_connection, chosen, folder, library)
    tally.run("messages through the TCP proxy", a_message, chosen, folder, library)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
