#!/usr/bin/env python3
"""Listeners: addresses, chain selection, updates by file that refuse nobody, draining, limits, descriptors running out.

With --envoy PATH the selections are compared with the reference's in a table."""
import http.client
import json
import os
import re
import socket
import ssl
import stat as file_stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness as h                                                             # noqa: E402
from harness import Failure, check                                              # noqa: E402

LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
INSPECTOR = {"name": "tls_inspector", "typed_config": {"@type": h.TLS_INSPECTOR}}


def saying(text, stat="said", **more):
    return h.hcm(stat, [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}]}], **more)


def listener(name, port, text, **more):
    return h.listener(name, port, saying(text), stat_prefix=name, **more)


def get(where, source=None, name=None, alpn=None, seconds=5, keep=False):
    """The body of one answer; `where`: a port, (host, port) or a path. None: closed without an answer."""
    family = socket.AF_UNIX if isinstance(where, str) else socket.AF_INET
    if isinstance(where, int):
        where = ("127.0.0.1", where)
    if isinstance(where, tuple) and ":" in where[0]:
        family = socket.AF_INET6
    raw = socket.socket(family)
    raw.settimeout(seconds)
    try:
        if source:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            raw.bind(source)
        raw.connect(where)
        if name is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if alpn:
                context.set_alpn_protocols(alpn)
            raw = context.wrap_socket(raw, server_hostname=name or None)
        return ask(raw)
    except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
        return None
    finally:
        if not keep:
            raw.close()


def ask(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    data = b""
    while True:
        got = connection.recv(65536)
        if not got:
            return None
        data += got
        head, found, body = data.partition(b"\r\n\r\n")
        if found:
            length = re.search(rb"content-length: (\d+)", head, re.I)
            if len(body) >= (int(length.group(1)) if length else 0):
                return body.decode()


def lds_file(path, listeners, version):
    """Replaces the file as control planes do: written beside, moved into place."""
    content = {"version_info": str(version), "resources": [dict({"@type": LISTENER}, **one) for one in listeners]}
    with open(path + ".next", "w") as out:
        json.dump(content, out)
    os.replace(path + ".next", path)


def dynamic(path, clusters=(), static=(), admin=None, **more):
    return h.bootstrap(list(static), list(clusters), admin, dynamic_resources={
        "lds_config": {"path_config_source": {"path": path}}}, **more)


class Story:
    """Starts a proxy for one story and ends it."""

    def __init__(self, kind, binary, folder, config, name, concurrency=2, arguments=(), **more):
        extra = list(arguments) + ([] if kind == "outrider" else ["--use-dynamic-base-id"])
        self.proxy = h.Proxy(kind, binary, folder, name=name, concurrency=concurrency, arguments=extra, **more)
        self.config = config

    def __enter__(self):
        return self.proxy.start(self.config(self.proxy.admin_port) if callable(self.config) else self.config)

    def __exit__(self, kind, error, _):
        alive = self.proxy.alive()
        code = self.proxy.stop()
        if kind is None:
            check(alive and code in (0, -15, 143), "the proxy ended with %s: %s" % (code, self.proxy.said()[-1500:]))


# ---- addresses ----

def addresses(outrider, folder):
    v4, v6, more, path = h.free_port(), h.free_port(), h.free_port(), os.path.join(folder, "s.sock")
    shared = h.free_port()

    def config(admin):
        six = listener("six", v6, "six")
        six["address"] = h.address(v6, "::1")
        unix = listener("unix", 0, "unix")
        unix["address"] = {"pipe": {"path": path, "mode": 0o600}}
        many = listener("many", v4, "many", additional_addresses=[{"address": h.address(more, "127.0.0.2")}])
        alone = listener("alone", shared, "alone", enable_reuse_port=False)
        return h.bootstrap([six, unix, many, alone], [], admin)
    with Story("outrider", outrider, folder, config, "addresses") as proxy:
        for where, text in ((("::1", v6), "six"), (path, "unix"), (v4, "many"), (("127.0.0.2", more), "many"), (shared, "alone")):
            check(get(where) == text, "%s" % (where,))
        check(file_stat.S_IMODE(os.stat(path).st_mode) == 0o600, "the socket's mode")
        with open("/proc/net/tcp") as table:
            listening = sum(1 for line in table if line.split()[1].endswith(":%04X" % v4) and line.split()[3] == "0A")
        check(listening == 2, "%d sockets for 2 workers" % listening)
        status, _, body = proxy.admin("GET", "/listeners")
        check(status == 200 and b"many::127.0.0.1:%d" % v4 in body and path.encode() in body, body)
    check(not os.path.exists(path), "the socket file is left behind")


def in_use(outrider, folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = h.bootstrap([listener("taken", port, "x")], [], h.free_port())
        file = os.path.join(folder, "taken.yaml")
        with open(file, "w") as out:
            json.dump(config, out)
        done = subprocess.run([outrider, "-c", file, "-l", "error"], capture_output=True, text=True, timeout=20)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        check(done.returncode == 1 and len(lines) == 1, "exit %d: %s" % (done.returncode, lines))
        check("taken" in lines[0] and "127.0.0.1:%d" % port in lines[0] and "in use" in lines[0], lines[0])
        # The same by LDS: refused with the reason, everything else serves, and it is taken up when it comes again.
        path = os.path.join(folder, "lds-taken-lds.json")
        good = h.free_port()
        lds_file(path, [listener("good", good, "good"), listener("taken", port, "taken")], 1)
        with Story("outrider", outrider, folder, lambda admin: dynamic(path, admin=admin), "taken-lds", log_level="warning") as proxy:
            check(get(good) == "good", "the other listener")
            h.wait_for(lambda: "in use" in proxy.said(), 5, "the reason in the log")
            check("taken" in proxy.said() and "127.0.0.1:%d" % port in proxy.said(), proxy.said())
            found = proxy.stats("^listener_manager.")
            check(found["listener_manager.listener_create_failure"] >= 1, "%s" % found)
            h.wait_for(lambda: proxy.stats("^listener_manager.lds.update_rejected$")["listener_manager.lds.update_rejected"] >= 1, 5, "the count")


# ---- selection ----

def selection_config(certificates, port, other):
    chain = lambda text, match, tls=False: dict(
        {"name": text, "filter_chain_match": match, "filters": [saying(text)]},
        **({"transport_socket": h.downstream_tls(certificates, alpn=("http/1.1",))} if tls else {}))
    chains = [
        chain("port", {"destination_port": other}),
        chain("dest /32", {"prefix_ranges": [{"address_prefix": "127.0.0.3", "prefix_len": 32}]}),
        chain("dest /24", {"prefix_ranges": [{"address_prefix": "127.0.4.0", "prefix_len": 24}]}),
        chain("dest /24 tls", {"prefix_ranges": [{"address_prefix": "127.0.4.0", "prefix_len": 24}], "transport_protocol": "tls"}, True),
        chain("name", {"server_names": ["a.test"], "transport_protocol": "tls"}, True),
        chain("name alpn", {"server_names": ["a.test"], "transport_protocol": "tls", "application_protocols": ["http/1.1"]}, True),
        chain("wild", {"server_names": ["*.test"]}, True),
        chain("longer wild", {"server_names": ["*.b.test"]}, True),
        chain("tls", {"transport_protocol": "tls"}, True),
        chain("raw", {"transport_protocol": "raw_buffer"}),
        chain("raw source", {"transport_protocol": "raw_buffer", "source_prefix_ranges": [{"address_prefix": "127.0.0.9", "prefix_len": 32}]}),
        chain("raw source port", {"transport_protocol": "raw_buffer", "source_prefix_ranges": [{"address_prefix": "127.0.0.9", "prefix_len": 32}],
                                  "source_ports": [port + 1]}),
        chain("raw local", {"transport_protocol": "raw_buffer", "source_type": "SAME_IP_OR_LOOPBACK",
                            "direct_source_prefix_ranges": [{"address_prefix": "127.0.0.8", "prefix_len": 32}]}),
        chain("external", {"prefix_ranges": [{"address_prefix": "127.0.5.1", "prefix_len": 32}], "source_type": "EXTERNAL"}),
    ]
    return {"name": "select", "stat_prefix": "select", "address": h.address(port, "0.0.0.0"),
            "additional_addresses": [{"address": h.address(other, "0.0.0.0")}],
            "listener_filters": [INSPECTOR], "filter_chains": chains}


def selection(outrider, envoy, folder, certificates, tally):
    port = h.free_port()
    while True:                                                                 # the port after it belongs to the client
        try:
            with socket.create_server(("127.0.0.9", port + 1)):
                break
        except OSError:
            port = h.free_port()
    other = h.free_port()
    cases = [
        ("plain", dict(where=("127.0.0.1", port)), "raw"),
        ("by destination port", dict(where=("127.0.0.1", other)), "port"),
        ("by destination address", dict(where=("127.0.0.3", port)), "dest /32"),
        ("by destination network", dict(where=("127.0.4.9", port)), "dest /24"),
        ("destination network, TLS", dict(where=("127.0.4.9", port), name="a.test"), "dest /24 tls"),
        ("port before address", dict(where=("127.0.0.3", other)), "port"),
        ("exact name", dict(where=("127.0.0.1", port), name="a.test"), "name"),
        ("exact name with ALPN", dict(where=("127.0.0.1", port), name="a.test", alpn=["http/1.1"]), "name alpn"),
        ("exact name with another ALPN", dict(where=("127.0.0.1", port), name="a.test", alpn=["x"]), "name"),
        ("wildcard", dict(where=("127.0.0.1", port), name="z.test"), "wild"),
        ("longer wildcard first", dict(where=("127.0.0.1", port), name="z.b.test"), "longer wild"),
        ("wildcard is not its own base", dict(where=("127.0.0.1", port), name="test"), "tls"),
        ("TLS without a name", dict(where=("127.0.0.1", port), name=""), "tls"),
        ("source address", dict(where=("127.0.0.1", port), source=("127.0.0.9", 0)), "raw source"),
        ("source port", dict(where=("127.0.0.1", port), source=("127.0.0.9", port + 1)), "raw source port"),
        ("direct source, the same address", dict(where=("127.0.0.8", port), source=("127.0.0.8", 0)), "raw local"),
        ("direct source, no loopback", dict(where=("127.0.0.1", port), source=("127.0.0.8", 0)), None),
        ("external only, from loopback", dict(where=("127.0.5.1", port)), None),
    ]
    answers = {}
    for kind, binary in (("outrider", outrider), ("envoy", envoy)):
        if not binary:
            continue
        with Story(kind, binary, folder, lambda admin: h.bootstrap([selection_config(certificates, port, other)], [], admin),
                   "select-" + kind) as proxy:
            got = answers[kind] = []
            for _, how, _ in cases:
                how = dict(how)
                got.append(get(how.pop("where"), **how))
            misses = proxy.stats("^listener.select.no_filter_chain_match$").get("listener.select.no_filter_chain_match")
            check(misses == sum(1 for each in got if each is None), "no_filter_chain_match is %s" % misses)
    if envoy and outrider:
        for (title, _, _), ours, theirs in zip(cases, answers["outrider"], answers["envoy"]):
            print("      %-32s %-16s %s" % (title, ours, theirs if ours != theirs else "="))
    for kind, got in answers.items():
        for (title, _, wanted), answer in zip(cases, got):
            tally.result("%s: chain %s" % (kind, title), None if answer == wanted else "reached %r, not %r" % (answer, wanted))


# ---- updates ----

class Load:
    """Clients in threads: a fresh connection each time, and one that is kept; every failure is remembered."""

    def __init__(self, port, threads=4):
        self.port, self.failures, self.count, self.over = port, [], 0, False
        self.threads = [threading.Thread(target=self.work, args=(i % 2 == 0,), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def work(self, fresh):
        kept = None
        while not self.over:
            try:
                if fresh:
                    check(get(self.port) is not None, "closed without an answer")
                else:
                    if kept is None:
                        kept = socket.create_connection(("127.0.0.1", self.port), 5)
                    kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    data = b""
                    while b"\r\n\r\n" not in data or not data.endswith(b"!"):
                        got = kept.recv(65536)
                        if not got and not data:
                            break                       # idle too long, as any HTTP/1.1 server may think
                        check(got, "the kept connection ended within its answer: %r" % data)
                        data += got
                    if not data or b"connection: close" in data:
                        kept.close()
                        kept = None
                self.count += 1
            except (OSError, Failure) as error:
                # A request on an idle connection may cross its end; everything else is a failure.
                if fresh or kept is None or not isinstance(error, (ConnectionResetError, BrokenPipeError)):
                    self.failures.append("%s: %s" % ("fresh" if fresh else "kept", error))
                if kept is not None:
                    kept.close()
                kept = None

    def end(self):
        self.over = True
        for thread in self.threads:
            thread.join(10)
        return self.count, self.failures


def flips(outrider, folder):
    port, second = h.free_port(), h.free_port()
    path = os.path.join(folder, "lds-flips.json")

    def version(i):
        one = listener("main", port, "v%d!" % i)
        one["filter_chains"][0]["name"] = "chain"
        if i % 5 == 1:                                                          # a further address comes and goes
            one["additional_addresses"] = [{"address": h.address(second)}]
        if i % 7 == 3:                                                          # options of the socket change
            one["tcp_backlog_size"] = 1000 + i
        if i % 3 == 2:
            one["listener_filters"] = [INSPECTOR]
        return one
    lds_file(path, [version(0)], 0)
    with Story("outrider", outrider, folder, lambda admin: dynamic(path, admin=admin), "flips", log_level="warning") as proxy:
        load = Load(port)
        for i in range(1, 51):
            lds_file(path, [version(i)], i)
            h.wait_for(lambda: get(port) == "v%d!" % i, 10, lambda: "version %d: %s" % (i, proxy.said()[-1500:]))
            before = load.count
            h.wait_for(lambda: load.count >= before + 12, 10, "requests under version %d" % i)
        count, failures = load.end()
        check(not failures, "%d of %d failed: %s" % (len(failures), count, failures[:3]))
        check(count > 500, "only %d requests" % count)
        found = proxy.stats("^listener_manager.")
        check(found["listener_manager.listener_modified"] == 50, "%s" % found)
        print("      %d requests during 50 updates" % count)


def renamed(outrider, folder):
    """An address moves to a listener of another name, also a UNIX socket's."""
    port, path, socket_path = h.free_port(), os.path.join(folder, "lds-renamed.json"), os.path.join(folder, "r.sock")

    def both(i):
        unix = listener("unix%d" % i, 0, "unix %d!" % i)
        unix["address"] = {"pipe": {"path": socket_path}}
        return [listener("tcp%d" % i, port, "tcp %d!" % i), unix]
    lds_file(path, both(0), 0)
    with Story("outrider", outrider, folder, lambda admin: dynamic(path, admin=admin), "renamed", log_level="warning") as proxy:
        load = Load(port, 2)
        for i in range(1, 6):
            lds_file(path, both(i), i)
            h.wait_for(lambda: get(port) == "tcp %d!" % i, 5, lambda: "tcp %d: %s" % (i, proxy.said()))
            h.wait_for(lambda: get(socket_path) == "unix %d!" % i, 5, lambda: "unix %d: %s" % (i, proxy.said()))
        load.over = True
        count, failures = load.end()
        check(not failures, "%d of %d failed: %s" % (len(failures), count, failures[:3]))


class Kept:
    """A connection that stays open between requests."""

    def __init__(self, port, name=None):
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        if name:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
        self.socket.settimeout(5)

    def ask(self):
        return ask(self.socket)

    def ended(self, seconds=5):
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def chains_drain(outrider, folder, certificates):
    port, path = h.free_port(), os.path.join(folder, "lds-drain.json")
    silent = socket.create_server(("127.0.0.1", 0))
    h_cluster = h.cluster("silent", silent.getsockname()[1])

    def version(names, text, mutual=False):
        chain = lambda name: {"name": name, "filter_chain_match": {"server_names": [name + ".test"]},
                              "transport_socket": h.downstream_tls(certificates, mutual=mutual and name == "asked", alpn=()),
                              "filters": [saying(name + text)] if name != "tcp" else [
                                  {"name": "t", "typed_config": {"@type": h.TCP_PROXY, "stat_prefix": "t", "cluster": "silent"}}]}
        return {"name": "l", "stat_prefix": "l", "address": h.address(port), "listener_filters": [INSPECTOR],
                "filter_chains": [chain(name) for name in names]}
    lds_file(path, [version(["same", "changed", "gone", "asked", "tcp"], "1")], 1)
    with Story("outrider", outrider, folder, lambda admin: dynamic(path, [h_cluster], admin=admin), "drain",
               arguments=["--drain-time-s", "2"]) as proxy:
        kept = {name: Kept(port, name + ".test") for name in ("same", "changed", "gone", "asked", "tcp")}
        for name in ("same", "changed", "gone", "asked"):
            check(kept[name].ask() == name + "1", name)
        peer, _ = silent.accept()
        began = time.monotonic()
        lds_file(path, [version(["same", "changed", "asked"], "2", mutual=True)], 2)
        check(kept["gone"].ended(), "the connection of a chain that is gone is still open")
        check(kept["asked"].ended(), "a connection without a certificate outlived the demand for one")
        check(proxy.stats("total_filter_chains_draining$")["listener_manager.total_filter_chains_draining"] == 3, "the gauge")
        for name in ("same", "changed"):
            check(kept[name].ask() == name + "2", "%s does not follow the new version on its connection" % name)
        # Bytes of TCP have no polite end: they have the drain time.
        check(not kept["tcp"].ended(0.5), "the TCP connection was cut at once")
        check(kept["tcp"].ended(6), "the TCP connection outlived the drain time")
        check(1.5 < time.monotonic() - began < 6, "cut after %.1f s" % (time.monotonic() - began))
        h.wait_for(lambda: proxy.stats("total_filter_chains_draining$")["listener_manager.total_filter_chains_draining"] == 0, 5, "the gauge at rest")
        for name in ("same", "changed"):
            check(kept[name].ask() == name + "2", "%s was cut" % name)
        peer.close()
    silent.close()


def removal(outrider, folder):
    port, path = h.free_port(), os.path.join(folder, "lds-removal.json")
    lds_file(path, [listener("l", port, "x")], 1)
    with Story("outrider", outrider, folder, lambda admin: dynamic(path, admin=admin), "removal", arguments=["--drain-time-s", "3"]) as proxy:
        kept = Kept(port)
        check(kept.ask() == "x", "before")
        half = socket.create_connection(("127.0.0.1", port), 5)                # in the middle of its request
        half.sendall(b"GET / HTTP/1.1\r\nHo")
        h.wait_for(lambda: proxy.stats("^listener.l.downstream_cx_active$").get("listener.l.downstream_cx_active") == 2, 5, "both connections")
        lds_file(path, [], 2)
        check(kept.ended(), "the idle connection stays")

        def refused():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return False
            except ConnectionRefusedError:
                return True
        h.wait_for(refused, 5, "new connections to be refused")
        half.sendall(b"st: a\r\n\r\n")
        half.settimeout(5)
        answer = half.recv(65536)
        check(b"200 OK" in answer and b"connection: close" in answer.lower(), "%r" % answer)
        found = proxy.stats("^listener_manager.")
        check(found["listener_manager.listener_removed"] == 1 and found["listener_manager.total_listeners_active"] == 0, "%s" % found)
        h.wait_for(lambda: proxy.stats("^listener_manager.")["listener_manager.total_listeners_draining"] == 0, 5, "drained")


# ---- limits ----

def first_bytes(outrider, folder):
    ports = [h.free_port(), h.free_port()]

    def config(admin):
        made = []
        for port, goes_on in zip(ports, (False, True)):
            made.append(listener("l%d" % goes_on, port, "in time", listener_filters=[INSPECTOR], listener_filters_timeout="0.3s",
                                 continue_on_listener_filters_timeout=goes_on))
        return h.bootstrap(made, [], admin)
    with Story("outrider", outrider, folder, config, "first-bytes") as proxy:
        with socket.create_connection(("127.0.0.1", ports[0]), 5) as client:
            client.settimeout(5)
            check(client.recv(1) == b"", "a silent client was not closed")
        with socket.create_connection(("127.0.0.1", ports[1]), 5) as client:
            client.settimeout(5)
            h.wait_for(lambda: proxy.stats("^listener.l1.downstream_pre_cx_timeout$").get("listener.l1.downstream_pre_cx_timeout") == 1, 5, "the timeout")
            check(ask(client) == "in time", "the connection went on without what the filters wanted to know")
        check(proxy.stats("^listener.l0.")["listener.l0.downstream_pre_cx_timeout"] == 1, "the count")
        # A first byte that says nothing yet, then the rest.
        with socket.create_connection(("127.0.0.1", ports[0]), 5) as client:
            client.settimeout(5)
            client.sendall(b"G")
            client.sendall(b"ET / HTTP/1.1\r\nHost: a\r\n\r\n")
            check(b"200 OK" in client.recv(65536), "plain bytes in pieces")
        proxy.expect_at_rest("^listener.l")


def with_few_descriptors(outrider, folder):
    """The program with 100 descriptors; it may raise its own limit only to the hard one."""
    wrapper, supp = os.path.join(folder, "few.py"), os.path.join(folder, "few.supp")
    with open(supp, "w") as out:
        out.write("vptr:*\n")
    with open(wrapper, "w") as out:
        # A sanitizer's check of an object's type opens a pipe; where there is no descriptor left it takes every object for a bad one.
        out.write("#!/usr/bin/env python3\nimport os, resource, sys\nresource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
                  "os.environ['UBSAN_OPTIONS'] = 'suppressions=%s'\n"
                  "os.execv(%r, [%r] + sys.argv[1:])\n" % (supp, outrider, outrider))
    os.chmod(wrapper, 0o755)
    return wrapper


def most_connections(outrider, folder):
    port = h.free_port()
    with Story("outrider", with_few_descriptors(outrider, folder), folder,
               lambda admin: h.bootstrap([listener("l", port, "x")], [], admin), "most", concurrency=2) as proxy:
        kept = [Kept(port) for _ in range(90)]
        count = lambda name: proxy.stats("^listener.l.%s$" % name).get("listener.l." + name, 0)
        h.wait_for(lambda: count("downstream_global_cx_overflow") >= 15, 5, "connections beyond the limit to be counted")
        check(count("downstream_cx_active") <= 75, "%d connections" % count("downstream_cx_active"))
        check(sum(1 for each in kept if each.ended(0.02)) >= 15, "connections beyond the limit stay open")
        check(kept[0].ask() == "x", "the first connection")
        for each in kept:
            each.socket.close()
        h.wait_for(lambda: count("downstream_cx_active") == 0, 5, "rest")
        check(get(port) == "x", "a connection after the crowd")


def descriptors(outrider, folder):
    port = h.free_port()

    def config(admin):
        return h.bootstrap([listener("l", port, "x")], [], admin)
    with Story("outrider", with_few_descriptors(outrider, folder), folder, config, "few", concurrency=1, log_level="warning", like_envoy=True) as proxy:
        admin = http.client.HTTPConnection("127.0.0.1", proxy.admin_port, timeout=5)      # from before: it needs no new descriptor

        def failures():
            admin.request("GET", "/stats?filter=downstream_cx_emfile")
            return int(re.search(rb"listener[.]l[.]downstream_cx_emfile: (\d+)", admin.getresponse().read()).group(1))
        check(failures() == 0, "the count at rest")
        kept = [Kept(port) for _ in range(150)]
        h.wait_for(lambda: "accepting pauses" in proxy.said(), 5, lambda: "the pause in the log: " + proxy.said())
        h.wait_for(lambda: failures() >= 4, 10, "further attempts to accept")
        check(proxy.said().count("accepting pauses") == 1, proxy.said())
        for each in kept[:100]:
            each.socket.close()
        check(kept[-1].ask() == "x", "a connection that waited in the queue is not served")
        admin.close()
        check(get(port) == "x", "accepting did not recover")
        for each in kept:
            each.socket.close()


def refusals(outrider, folder):
    for change, word in (({"udp_listener_config": {}}, "udp_listener_config"),
                         ({"filter_chains": []}, "filter_chains"),
                         ({"filter_chains": [{"filter_chain_match": {"prefix_ranges": [{"address_prefix": "1.2.3", "prefix_len": 8}]},
                                              "filters": [saying("x")]}]}, "prefix_ranges[0]"),
                         ({"filter_chains": [{"filters": [saying("x")]}, {"filters": [saying("y")]}]}, "filter_chains[1]")):
        made = listener("l", h.free_port(), "x")
        made.update(change)
        file = os.path.join(folder, "refused.yaml")
        with open(file, "w") as out:
            json.dump(h.bootstrap([made], [], h.free_port()), out)
        done = subprocess.run([outrider, "-c", file, "--mode", "validate", "-l", "error"], capture_output=True, text=True, timeout=20)
        check(done.returncode == 1 and word in done.stdout + done.stderr, "%s: exit %d: %s" % (word, done.returncode, done.stdout + done.stderr))


def main():
    chosen = h.options("listeners, seen from outside")
    h.bound(150)
    h.more_open_files()
    folder = h.work_folder(chosen.keep)
    tally = h.Tally("listener")
    certificates = h.make_certificates(folder)
    outrider = chosen.outrider
    tally.run("IPv4, IPv6, UNIX socket with its mode, further addresses, a socket per worker", addresses, outrider, folder)
    tally.run("an address in use: one line and exit 1 at start, a refusal with the reason by LDS", in_use, outrider, folder)
    tally.run("every chain is reached by what it matches", selection, outrider, chosen.envoy, folder, certificates, tally)
    tally.run("50 updates under load: no request fails, no connection is refused", flips, outrider, folder)
    tally.run("an address moves to a listener of another name without a gap", renamed, outrider, folder)
    tally.run("chains that are gone drain and are cut in time, changed ones keep their connections", chains_drain, outrider, folder, certificates)
    tally.run("a removed listener refuses, finishes what is under way, and is gone", removal, outrider, folder)
    tally.run("listener_filters_timeout closes, or goes on", first_bytes, outrider, folder)
    tally.run("three quarters of the descriptors are for clients; more are turned away and counted", most_connections, outrider, folder)
    tally.run("without descriptors accepting pauses, says so once, and recovers", descriptors, outrider, folder)
    tally.run("what is not supported, or cannot be, is refused by name", refusals, outrider, folder)
    return tally.close()


if __name__ == "__main__":
    sys.exit(h.guarded(main))
