#!/usr/bin/env python3
"""What HTTP/1.1 costs in the real binary: allocations and system calls of an exchange, memory under big bodies, slow peers and
10,000 idle connections, and load by wrk and h2load.

Calls are counted by count_calls.c, compiled here and loaded into the proxy. A tool that is not installed skips its story.
"""
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import check, wait_for

GIB = 1 << 30
MIB = 1 << 20
GET = b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
PIECE = bytes(range(256)) * 4096                     # 1 MiB


class Backend:
    """A fast upstream: /bytes/N answers N bytes of a pattern, POST swallows its body, everything else answers "ok".

    `sent` and `taken` count body bytes; while `stalled` is set it does not read request bodies."""

    def __init__(self):
        self.sent = self.taken = self.wrong = 0
        self.go = threading.Event()
        self.go.set()
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listening.getsockname()[1]
        harness.each_connection(self.listening, self._serve)

    def _serve(self, s):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = s.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                length = re.search(rb"\r\ncontent-length: (\d+)", head)
                if length:
                    buffer = self._take(s, int(length[1]), buffer)
                size = re.match(rb"GET /bytes/(\d+)", head)
                if size:
                    self._give(s, int(size[1]))
                else:
                    s.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok")
        except OSError:
            pass
        finally:
            s.close()

    def _take(self, s, left, buffer):
        at = 0                                       # in the pattern
        room = bytearray(MIB)
        while left:
            self.go.wait()
            if buffer:
                piece, buffer = memoryview(buffer[:left]), buffer[left:]
            else:
                n = s.recv_into(room, min(left, MIB))
                if not n:
                    raise OSError("ended early")
                piece = memoryview(room)[:n]
            self.wrong += piece[0] != PIECE[at % MIB] or piece[-1] != PIECE[(at + len(piece) - 1) % MIB]
            at += len(piece)
            left -= len(piece)
            self.taken += len(piece)
        return buffer

    def _give(self, s, left):
        s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % left)
        while left:
            n = s.send(memoryview(PIECE)[:left] if left < MIB else PIECE)
            # A short send leaves the pattern within a piece: go on from there.
            while n < min(left, MIB):
                n += s.send(memoryview(PIECE)[n:min(left, MIB)])
            left -= n
            self.sent += n


class World:
    def __init__(self, chosen, folder, name, backend, concurrency=1, env=None, **fields):
        self.folder = folder
        self.port = harness.free_port()
        self.log = os.path.join(folder, name + ".log")
        self.proxy = harness.Proxy("outrider", chosen.outrider, folder, name=name, concurrency=concurrency)
        routes = harness.everything_to("up", timeout="0s")
        config = harness.bootstrap([harness.listener("l", self.port, harness.hcm("l", routes, **fields))],
                                   [harness.cluster("up", backend.port)], self.proxy.admin_port)
        kept = dict(os.environ)
        os.environ.update(env or {})
        try:
            self.proxy.start(config)
        finally:
            os.environ.clear()
            os.environ.update(kept)

    def connect(self, receive_buffer=None, source=None):
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            s.bind((source, 0))
        s.settimeout(30)
        s.connect(("127.0.0.1", self.port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def url(self, path):
        return "http://127.0.0.1:%d%s" % (self.port, path)

    # Memory at its highest since reset_peak().
    def reset_peak(self):
        with open("/proc/%d/clear_refs" % self.proxy.child.pid, "w") as f:
            f.write("5")

    def peak_kib(self):
        with open("/proc/%d/status" % self.proxy.child.pid) as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])


def exchange(s, request=GET % b"/ok"):
    s.sendall(request)
    data = b""
    while not data.endswith(b"\r\n\r\nok"):
        more = s.recv(65536)
        check(more, "closed after %r" % data)
        data += more
    return data


def head_of(s):
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        check(more, "closed within the head: %r" % data)
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


# ---- what an exchange costs -------------------------------------------------------------------------------------------

COLUMNS = ("allocations", "reads", "writes", "waits", "other")


def counts(path, pid):
    """{column: calls} of the worker threads."""
    total = dict.fromkeys(COLUMNS, 0)
    with open(path, "rb") as f:
        data = f.read()
    for at in range(0, len(data), 128):
        row = struct.unpack_from("16Q", data, at)
        if not row[0]:
            continue
        try:
            with open("/proc/%d/task/%d/comm" % (pid, row[0])) as f:
                name = f.read()
        except OSError:
            continue
        if name.startswith("wrk:"):
            for column, value in zip(COLUMNS, row[1:]):
                total[column] += value
    return total


def the_cost_of_an_exchange(chosen, folder):
    """A steady exchange takes no memory and four calls that move data: two reads, two writes."""
    here = os.path.dirname(os.path.abspath(__file__))
    library = os.path.join(folder, "count_calls.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, os.path.join(here, "count_calls.c"), "-ldl"], check=True, timeout=60)
    backend = Backend()
    rich = b"GET /ok?a=1 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: test/1\r\nAccept: */*\r\nCookie: a=b; c=d\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    post = b"POST /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\n" + PIECE[:300]
    logged = {"access_log": [harness.file_log(os.path.join(folder, "cost.log"), None)]}
    for name, request, fields in (("a plain one", GET % b"/ok", {}), ("with fields and x-forwarded-for", rich, {"use_remote_address": True}),
                                  ("with a body", post, {}), ("with an access log", GET % b"/ok", logged)):
        table = os.path.join(folder, "counts-" + name.replace(" ", "-"))
        w = World(chosen, folder, "cost-" + name.replace(" ", "-"), backend, env={"LD_PRELOAD": library, "OUTRIDER_CALL_COUNTS": table}, **fields)
        with w.connect() as s:
            for _ in range(300):
                exchange(s, request)
            rounds, batches = 700, []
            # Several, and the best counts: the first sample in a new decade of a histogram takes memory once, and that is a matter of time.
            for _ in range(4):
                before = counts(table, w.proxy.child.pid)
                for _ in range(rounds):
                    exchange(s, request)
                after = counts(table, w.proxy.child.pid)
                batches.append({c: after[c] - before[c] for c in COLUMNS})
        spent = min(batches, key=lambda each: (each["allocations"], each["reads"] + each["writes"]))
        print("      %s: %s" % (name, ", ".join("%s %.3f" % (c, spent[c] / rounds) for c in COLUMNS)))
        check(spent["reads"] >= 2 * rounds and spent["writes"] >= 2 * rounds, "%s: the counting does not work: %s" % (name, spent))
        # The log's buffers go to another thread now and then; nothing else may take memory.
        most = rounds // 50 if "access_log" in fields else 0
        check(spent["allocations"] <= most, "%s: %d allocations in %d exchanges" % (name, spent["allocations"], rounds))
        check(spent["reads"] + spent["writes"] <= 4 * rounds + rounds // 100, "%s: data calls: %s" % (name, spent))
        check(spent["other"] == 0, "%s: other calls: %s" % (name, spent))
        w.proxy.stop()


# ---- bodies -----------------------------------------------------------------------------------------------------------

def a_gibibyte_down(w, backend):
    with w.connect() as s:
        exchange(s)
        w.reset_peak()
        before = w.proxy.memory_kib()
        s.sendall(GET % b"/bytes/%d" % GIB)
        _, rest = head_of(s)
        got, room = len(rest), bytearray(MIB)
        check(rest == PIECE[:got], "wrong bytes at the start")
        while got < GIB:
            n = s.recv_into(room)
            check(n, "closed after %d bytes" % got)
            check(room[0] == PIECE[got % MIB] and room[n - 1] == PIECE[(got + n - 1) % MIB], "wrong bytes at %d" % got)
            got += n
        exchange(s)
        grown = w.peak_kib() - before
        print("      memory grew by %d KiB" % grown)
        check(grown < 20 * 1024, "memory grew by %d KiB" % grown)


def a_gibibyte_up(w, backend):
    with w.connect() as s:
        exchange(s)
        w.reset_peak()
        before, taken = w.proxy.memory_kib(), backend.taken
        s.sendall(b"POST /sink HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % GIB)
        for _ in range(GIB // MIB):
            s.sendall(PIECE)
        _, rest = head_of(s)
        check(rest == b"ok" and backend.taken - taken == GIB and not backend.wrong, "upstream took %d bytes, %d wrong" %
              (backend.taken - taken, backend.wrong))
        exchange(s)
        grown = w.peak_kib() - before
        print("      memory grew by %d KiB" % grown)
        check(grown < 20 * 1024, "memory grew by %d KiB" % grown)


def still(value, what):
    """Waits until value() no longer moves."""
    last = [None, time.monotonic()]

    def at_rest():
        now = value()
        if now != last[0]:
            last[:] = now, time.monotonic()
        return time.monotonic() - last[1] > 0.3
    wait_for(at_rest, 15, what, pause=0.02)
    return last[0]


def a_client_that_stops_reading(w, backend):
    size = 200 * MIB
    with w.connect(receive_buffer=65536) as s:
        w.reset_peak()
        before, sent = w.proxy.memory_kib(), backend.sent
        s.sendall(GET % b"/bytes/%d" % size)
        moved = still(lambda: backend.sent, "the upstream to be held back") - sent
        grown = w.peak_kib() - before
        check(moved < 120 * MIB, "the upstream sent %d MiB to a client that reads nothing" % (moved // MIB))
        check(grown < 4096, "memory grew by %d KiB" % grown)
        with w.connect() as other:                   # nobody else waits
            exchange(other)
        _, rest = head_of(s)
        got = len(rest)
        while got < size:
            data = s.recv(MIB)
            check(data, "closed after %d bytes" % got)
            check(data[0] == PIECE[got % MIB] and data[-1] == PIECE[(got + len(data) - 1) % MIB], "wrong bytes at %d" % got)
            got += len(data)
        exchange(s)


def an_upstream_that_stops_reading(w, backend):
    size = 200 * MIB                                 # the kernel's buffers alone may hold 80
    with w.connect() as s:
        w.reset_peak()
        before, taken = w.proxy.memory_kib(), backend.taken
        backend.go.clear()
        pushed = [0]

        def push():
            s.sendall(b"POST /sink HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // 65536):
                at = pushed[0] % MIB
                s.sendall(PIECE[at:at + 65536])
                pushed[0] += 65536
        pusher = threading.Thread(target=push, daemon=True)
        pusher.start()
        moved = still(lambda: pushed[0], "the client to be held back")
        grown = w.peak_kib() - before
        backend.go.set()
        check(moved < 120 * MIB, "the client sent %d MiB to an upstream that reads nothing" % (moved // MIB))
        check(grown < 4096, "memory grew by %d KiB" % grown)
        pusher.join(20)
        _, rest = head_of(s)
        check(rest == b"ok" and backend.taken - taken == size and not backend.wrong, "upstream took %d bytes" % (backend.taken - taken))
        exchange(s)


def clients_that_vanish_at_any_byte(w, backend):
    """Whatever a client leaves half done, nothing of it stays behind, in the proxy or in its pools."""
    rng = random.Random(7)
    chunk = b"%x\r\n%s\r\n" % (5000, PIECE[:5000])
    whole = [GET % b"/ok", GET % b"/bytes/300000", b"POST /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + PIECE[:20000],
             b"POST /ok HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 5 + b"0\r\n\r\n", (GET % b"/ok") * 30]

    def some(count):
        for _ in range(count):
            with w.connect() as s:
                message = rng.choice(whole)
                s.sendall(message[:rng.randint(1, len(message))])
                if rng.random() < 0.5:
                    s.settimeout(0.02)
                    try:
                        s.recv(rng.choice((1, 1000, 100000)))
                    except OSError:
                        pass
                if rng.random() < 0.5:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    some(300)
    w.proxy.expect_at_rest(r"^http\.l\.|^cluster\.up\.", 10)
    before, files = w.proxy.memory_kib(), w.proxy.open_files()
    some(900)
    w.proxy.expect_at_rest(r"^http\.l\.|^cluster\.up\.", 10)
    grown = w.proxy.memory_kib() - before
    print("      memory grew by %d KiB" % grown)
    check(grown < 3072, "memory grew by %d KiB" % grown)
    check(w.proxy.open_files() <= files + 40, "open files grew from %d to %d" % (files, w.proxy.open_files()))
    with w.connect() as s:
        exchange(s)


# ---- connections --------------------------------------------------------------------------------------------------------

def it_is_small_at_rest(chosen, folder):
    proxy = World(chosen, folder, "rest", Backend()).proxy
    kib = proxy.memory_kib()
    print("      %.1f MiB" % (kib / 1024))
    check(kib < 15 * 1024, "%.1f MiB after the start" % (kib / 1024))
    proxy.stop()


def ten_thousand_idle_connections(w, backend):
    limit = harness.more_open_files()
    count = min(10000, limit * 6 // 10)          # the proxy takes three quarters of its files for clients
    with w.connect() as s:
        exchange(s)
    before, held = w.proxy.memory_kib(), []
    for i in range(count):
        s = w.connect(source="127.0.0.%d" % (2 + i % 8))
        exchange(s)
        held.append(s)
    grown = w.proxy.memory_kib() - before
    per = grown / count
    print("      %d connections, %.2f KiB each" % (count, per))
    check(per < 1.1,  "%.2f KiB a connection" % per)      # 0.97 where it was measured
    active = w.proxy.stats(r"^http\.l\.downstream_cx_active$")
    check(sum(active.values()) >= count, "active: %s" % active)
    for s in held[::97]:
        exchange(s)                                  # all still serve
    for s in held:
        s.close()
    w.proxy.expect_at_rest(r"^http\.l\.", 10)


def load(command, has, lacks=()):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    text = done.stdout.decode("utf-8", "replace")
    check(done.returncode == 0 and has in text, "ended with %d: %s" % (done.returncode, text[-600:]))
    for unwanted in lacks:
        check(unwanted not in text, text[-600:])
    return text


def wrk_loads_it(w, backend):
    text = load(["wrk", "-t1", "-c32", "-d2s", w.url("/ok")], "requests in", ["Non-2xx", "Socket errors"])
    print("      " + re.search(r"\d+ requests in [^,]*", text)[0])


def h2load_loads_it(w, backend):
    load(["h2load", "--h1", "-n", "10000", "-c", "16", w.url("/ok")], "10000 succeeded, 0 failed, 0 errored, 0 timeout")


def main():
    chosen = harness.options(__doc__, only=(str, None, "run the stories whose title holds this"))
    harness.bound(150)
    harness.more_open_files()
    folder = harness.work_folder(chosen.keep)
    tally = harness.Tally("h1 weight")
    backend = Backend()
    w = World(chosen, folder, "weight", backend)
    stories = [
        ("an exchange takes no memory and four data calls", lambda *_: the_cost_of_an_exchange(chosen, folder), "cc"),
        ("a fresh process is small", lambda *_: it_is_small_at_rest(chosen, folder), None),
        ("1 GiB down", a_gibibyte_down, None),
        ("1 GiB up", a_gibibyte_up, None),
        ("a client that stops reading", a_client_that_stops_reading, None),
        ("an upstream that stops reading", an_upstream_that_stops_reading, None),
        ("clients that vanish at any byte", clients_that_vanish_at_any_byte, None),
        ("10,000 idle connections", ten_thousand_idle_connections, None),
        ("wrk", wrk_loads_it, "wrk"),
        ("h2load", h2load_loads_it, "h2load"),
    ]
    for title, story, needs in stories:
        if chosen.only and chosen.only not in title:
            continue
        if needs and not shutil.which(needs):
            tally.skip(title, "%s is not installed" % needs)
            continue
        began = time.monotonic()
        tally.run(title, story, w, backend)
        print("      %.1f s" % (time.monotonic() - began))
        if not w.proxy.alive():
            tally.result("the proxy is alive after it", w.proxy.said()[-1500:])
            break
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
