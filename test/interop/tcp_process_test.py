#!/usr/bin/env python3
"""tcp_proxy as its peers see it: bytes and ends both ways, back-pressure, timeouts, failures, the access log, many idle connections.

With --envoy PATH the same stories run against the reference, too (its deviations are named in the story)."""
import os
import select
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness as h                                                             # noqa: E402
from harness import check                                                       # noqa: E402

LOG = "%RESPONSE_FLAGS%|%BYTES_RECEIVED%|%BYTES_SENT%|%UPSTREAM_CLUSTER%|%UPSTREAM_HOST%|%CONNECTION_TERMINATION_DETAILS%\n"


class Holder(threading.Thread):
    """Accepts and holds connections without a thread for each; ends those whose peer ended."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        poll, held = select.epoll(), {}
        poll.register(self.listener, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.listener.fileno():
                    connection = self.listener.accept()[0]
                    held[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                else:
                    held.pop(fd).close()


class Backend(threading.Thread):
    """Accepts; each connection is served by `serve(socket)` on a thread of its own."""

    def __init__(self, serve, host="127.0.0.1"):
        super().__init__(daemon=True)
        self.listener = socket.create_server((host, 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.serve = serve
        self.accepted = 0
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection.settimeout(60)
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection):
        with connection:
            try:
                self.serve(connection)
            except OSError:
                pass


def read_all(connection):
    data = b""
    while True:
        got = connection.recv(1 << 18)
        if not got:
            return data
        data += got


def cut(connection):
    """An RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def end_of(connection, seconds=5):
    """"fin", "reset", or "open" after that long; the bytes before it."""
    connection.settimeout(seconds)
    data = b""
    try:
        while True:
            got = connection.recv(65536)
            if not got:
                return "fin", data
            data += got
    except ConnectionResetError:
        return "reset", data
    except TimeoutError:
        return "open", data


class World:
    def __init__(self, folder):
        self.folder = folder
        self.seen = []
        self.go = threading.Event()

        def echo(connection):
            while True:
                data = connection.recv(1 << 18)
                if not data:
                    return
                connection.sendall(data)

        def whole(connection):                          # answers after the client's end only
            data = read_all(connection)
            connection.sendall(b"got %d" % len(data))

        def first_end(connection):                      # says its word, ends, and keeps on reading
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            self.seen.append(("after", read_all(connection)))

        def resets(connection):
            connection.sendall(b"half of")
            connection.recv(1)
            cut(connection)

        def records(connection):
            try:
                data = read_all(connection)
                self.seen.append(("fin", data))
            except ConnectionResetError:
                self.seen.append(("reset", b""))

        def sink_and_source(connection):                # 1 GiB both ways, once the test says so
            self.go.wait(60)
            total = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big")

            def send():
                block = b"y" * (1 << 18)
                left = total
                while left > 0:
                    left -= connection.send(block[:min(left, len(block))])
                connection.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            room = bytearray(1 << 20)
            count = 0
            while True:
                got = connection.recv_into(room)
                if not got:
                    break
                count += got
            sender.join(60)
            self.seen.append(("sunk", count))

        self.backends = {name: Backend(serve) for name, serve in
                         (("echo", echo), ("whole", whole), ("first_end", first_end), ("resets", resets), ("records", records),
                          ("bulk", sink_and_source), ("heavy", lambda c: (c.sendall(b"heavy"), c.recv(1))),
                          ("light", lambda c: (c.sendall(b"light"), c.recv(1))), ("silent", lambda c: read_all(c)))}
        self.holder = Holder()
        self.ports = {}

    def port(self, name):
        return self.ports.setdefault(name, h.free_port())

    def config(self, admin, kind):
        self.ports = {}
        log = os.path.join(self.folder, kind + "-tcp.log")

        def proxy(name, cluster=None, **more):
            config = {"@type": h.TCP_PROXY, "stat_prefix": name, "access_log": [h.file_log(log, LOG.replace("%RESP", name + "|%RESP", 1))]}
            if cluster:
                config["cluster"] = cluster
            config.update(more)
            return h.listener(name, self.port(name), {"name": "tcp", "typed_config": config}, stat_prefix=name)
        listeners = [proxy(name, name) for name in ("echo", "whole", "first_end", "resets", "records", "bulk", "silent")]
        listeners += [
            proxy("weighted", weighted_clusters={"clusters": [{"name": "heavy", "weight": 3}, {"name": "light", "weight": 1}]}),
            proxy("idle", "silent", idle_timeout="0.4s"),
            proxy("longest", "silent", max_downstream_connection_duration="0.5s"),
            proxy("crowd", "crowd"), proxy("refused", "refused"), proxy("retried", "half", max_connect_attempts=8), proxy("nowhere", "nowhere"),
            proxy("empty", "empty"), proxy("limited", "limited"), proxy("blackhole", "blackhole"),
        ]
        self.closed, self.full = h.free_port(), h.black_hole()
        clusters = [h.cluster(name, backend.port) for name, backend in self.backends.items()]
        clusters += [
            h.cluster("crowd", self.holder.port, circuit_breakers={"thresholds": [{"max_connections": 20000}]}),
            h.cluster("refused", self.closed), h.cluster("half", self.closed, self.backends["echo"].port), h.cluster("empty"),
            h.cluster("limited", self.backends["silent"].port,
                      circuit_breakers={"thresholds": [{"max_connections": 1}]}),
            h.cluster("blackhole", self.full[0].getsockname()[1], connect_timeout="0.3s"),
        ]
        self.log = h.LogFile(log)
        return h.bootstrap(listeners, clusters, admin)

    def connect(self, name):
        made = socket.create_connection(("127.0.0.1", self.port(name)), 5)
        made.settimeout(10)
        return made


def stories(tally, proxy, world, huge):
    run = lambda title, story: tally.run("%s: %s" % (proxy.kind, title), story)
    outrider = proxy.kind == "outrider"

    def logged():
        return world.log.take(1)[0].split("|")

    def echo():
        with world.connect("echo") as client:
            client.sendall(b"ping")
            check(client.recv(10) == b"ping", "the echo")
            client.shutdown(socket.SHUT_WR)
            check(end_of(client) == ("fin", b""), "the end")
        name, flags, received, sent, cluster, host, details = logged()
        check((name, flags, received, sent, cluster) == ("echo", "-", "4", "4", "echo"), "%s" % [name, flags, received, sent, cluster])
        check(host == "127.0.0.1:%d" % world.backends["echo"].port, host)
    run("bytes go through, both ends are passed on, one line is logged", echo)

    def halves():
        with world.connect("whole") as client:
            client.sendall(b"x" * 100000)
            client.shutdown(socket.SHUT_WR)
            check(end_of(client) == ("fin", b"got 100000"), "the answer after our end")
        logged()
        del world.seen[:]
        with world.connect("first_end") as client:
            check(client.recv(100) == b"hello", "its word")
            check(client.recv(100) == b"", "its end")
            client.sendall(b"more from the client")
            client.shutdown(socket.SHUT_WR)
            h.wait_for(lambda: world.seen, 5, "what we said after its end")
            check(world.seen == [("after", b"more from the client")], "%s" % world.seen)
        logged()
    run("either side may end first and still hear the other", halves)

    def resets():
        with world.connect("resets") as client:
            check(client.recv(100) == b"half of", "the first half")
            client.sendall(b"!")
            how, _ = end_of(client)
            check(how == "reset" or not outrider, "the client took half an answer for the whole: %s" % how)
        flags = logged()[1]
        check(flags in ("UR", "-") if not outrider else flags == "UR", flags)
        del world.seen[:]
        client = world.connect("records")
        moved = h.Counters(proxy, r"^tcp\.records\.")
        client.sendall(b"half")
        moved.expect({"tcp.records.downstream_cx_rx_bytes_total": 4}, 5)
        cut(client)
        h.wait_for(lambda: world.seen, 5, "the upstream's end")
        check(world.seen[0][0] == "reset" or not outrider, "the upstream saw %s" % world.seen)
        logged()
    run("a reset on one side is one on the other", resets)

    def weighted():
        counts = {b"heavy": 0, b"light": 0}
        for _ in range(120):
            with world.connect("weighted") as client:
                counts[client.recv(10)] += 1
        check(65 <= counts[b"heavy"] <= 110, "%s" % counts)
        world.log.take(120)
    run("weighted clusters share by weight", weighted)

    def idle():
        counters = h.Counters(proxy, r"^tcp\.idle\.")
        with world.connect("idle") as client:
            for _ in range(6):                          # each byte counts as life: together longer than the timeout
                check(not select.select([client], [], [], 0.1)[0], "ended although bytes came")
                last = time.monotonic()
                client.sendall(b"x")
            how, _ = end_of(client, 10)
            check(how in ("fin", "reset"), how)
            check(time.monotonic() - last > 0.35, "ended %.2f s after the last byte" % (time.monotonic() - last))
        counters.expect({"tcp.idle.idle_timeout": 1})
        logged()
        began = time.monotonic()
        with world.connect("longest") as client:
            while time.monotonic() - began < 0.3 and not select.select([client], [], [], 0.02)[0]:
                client.sendall(b"x")
            check(end_of(client, 10)[0] != "open", "the longest duration does not end it")
            check(0.4 < time.monotonic() - began, "max duration after %.2f s" % (time.monotonic() - began))
        check(logged()[1] in ("DT", "-"), "the flag of the longest connection")
    run("idle_timeout and max_downstream_connection_duration end a connection", idle)

    def refused(name):
        try:
            with world.connect(name) as client:
                return end_of(client)
        except ConnectionResetError:                    # before connect() had looked
            return "reset", b""

    def failures():
        for name, flag, counters in (
                ("refused", "UF,URX", {"cluster.refused.upstream_cx_connect_fail": 1,
                                       "cluster.refused.upstream_cx_connect_attempts_exceeded": 1}),
                ("nowhere", "NC", {"tcp.nowhere.downstream_cx_no_route": 1}),
                ("empty", "UH", {"cluster.empty.upstream_cx_none_healthy": 1}),
                ("blackhole", "UF,URX", {"cluster.blackhole.upstream_cx_connect_timeout": 1})):
            moved = h.Counters(proxy, r"^(cluster|tcp)\.%s\." % name)
            how, data = refused(name)
            check(how in ("fin", "reset") and data == b"", "%s: %s" % (name, how))
            flags = logged()[1]
            check(flags == flag, "%s: flags %s, expected %s" % (name, flags, flag))
            moved.expect(counters)
    run("an upstream that is not there: the connection ends, counted and flagged", failures)

    def attempts():
        for _ in range(6):
            with world.connect("retried") as client:
                client.sendall(b"ping")
                check(client.recv(10) == b"ping", "the echo after a refused attempt")
        world.log.take(6)
    run("max_connect_attempts tries the next host", attempts)

    def limited():
        first = world.connect("limited")
        first.sendall(b"x")
        h.wait_for(lambda: proxy.stats("^cluster.limited.upstream_cx_active$").get("cluster.limited.upstream_cx_active") == 1, 5, "the first")
        how, _ = refused("limited")
        check(how in ("fin", "reset"), how)
        check(logged()[1] == "UO", "the flag of an overflow")
        first.close()
        logged()
    run("max_connections of the cluster is kept", limited)

    def bulk():
        size = huge << 20
        world.go.clear()
        del world.seen[:]
        client = world.connect("bulk")
        before = proxy.memory_kib()
        client.sendall(size.to_bytes(8, "big"))
        # Nobody reads at first: what we send stops being taken.
        client.setblocking(False)
        block = b"x" * (1 << 18)
        sent = 0
        while sent < size and select.select([], [client], [], 0.4)[1]:
            sent += client.send(block)
        check(sent < min(size, 64 << 20), "%d MiB were taken though nobody reads" % (sent >> 20))
        peak = proxy.memory_kib()
        world.go.set()
        client.settimeout(60)
        received = [0]

        def read():
            room = bytearray(1 << 20)
            while True:
                got = client.recv_into(room)
                if not got:
                    return
                received[0] += got
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        began = time.monotonic()
        while sent < size:
            sent += client.send(block[:min(len(block), size - sent)])
            if sent % (16 << 20) < len(block):
                peak = max(peak, proxy.memory_kib())
        client.shutdown(socket.SHUT_WR)
        reader.join(60)
        check(received[0] == size, "received %d of %d" % (received[0], size))
        h.wait_for(lambda: world.seen == [("sunk", size)], 20, lambda: "the upstream to have it all: %s" % world.seen)
        client.close()
        print("      %d MiB each way in %.1f s, at most %d KiB more memory" % (huge, time.monotonic() - began, peak - before))
        check(peak - before < 20 * 1024, "%d KiB more" % (peak - before))
        line = logged()
        check(line[2:4] == [str(size + 8), str(size)], "%s" % line)
    run("%d MiB both ways in bounded memory" % huge, bulk)

    def crowd():
        limit = h.more_open_files()
        count = min(10000, (limit - 500) // 2)          # both ends are held here
        before, files = proxy.memory_kib(), proxy.open_files()
        clients = []
        try:
            for i in range(count):
                client = socket.socket()
                client.bind(("127.0.0.%d" % (2 + i // 4000), 0))
                client.connect(("127.0.0.1", world.port("crowd")))
                clients.append(client)
            h.wait_for(lambda: proxy.stats("^cluster.crowd.upstream_cx_active$").get("cluster.crowd.upstream_cx_active", 0) == count, 30,
                       "%d connections upstream" % count, pause=0.2)
            each = (proxy.memory_kib() - before) * 1024 / count
            print("      %d idle connections (2 sockets each): %d bytes a connection, %d descriptors" %
                  (count, each, proxy.open_files() - files))
            check(each < 16 * 1024 or not outrider, "%d bytes each" % each)
        finally:
            for client in clients:
                client.close()
        h.wait_for(lambda: proxy.stats("^cluster.crowd.upstream_cx_active$").get("cluster.crowd.upstream_cx_active", 0) == 0, 30, "rest", pause=0.1)
        world.log.take(count, 20)
    run("10,000 idle connections", crowd)

    def rest():
        proxy.expect_at_rest(r"^(tcp\..*|listener\.(echo|bulk|silent|idle|limited|crowd)\.)")
    run("nothing is left over", rest)


def main():
    chosen = h.options("tcp_proxy, seen from outside", mebibytes=(int, 128, "how much the bulk story moves each way"))
    h.bound(280)
    h.more_open_files()
    folder = h.work_folder(chosen.keep)
    tally = h.Tally("tcp")
    for kind, binary in (("outrider", chosen.outrider), ("envoy", chosen.envoy)):
        if not binary:
            continue
        world = World(folder)
        extra = [] if kind == "outrider" else ["--use-dynamic-base-id"]
        proxy = h.Proxy(kind, binary, folder, concurrency=2, arguments=extra, like_envoy=bool(chosen.envoy))
        config = world.config(proxy.admin_port, kind)
        proxy.start(config)
        stories(tally, proxy, world, chosen.mebibytes)
        check(proxy.alive(), "%s died: %s" % (kind, proxy.said()[-2000:]))
        proxy.stop()
    return tally.close()


if __name__ == "__main__":
    sys.exit(h.guarded(main))
