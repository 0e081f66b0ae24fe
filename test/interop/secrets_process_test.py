#!/usr/bin/env python3
"""Secrets by SDS: rotated under load from files, from what the files name, and over ADS; bad ones refused; missing ones; never shown.

The last story looks for private key material in everything that the proxy says."""
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness as h                                                             # noqa: E402
from harness import Failure, check                                              # noqa: E402

SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"


def openssl(*arguments):
    subprocess.run(["openssl"] + list(arguments), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30)


def read(path):
    with open(path) as f:
        return f.read()


def replace(path, text):
    with open(path + ".next", "w") as out:
        out.write(text)
    os.replace(path + ".next", path)


class Pairs:
    """Self-signed pairs, one after the other; the subject is the number."""

    def __init__(self, folder):
        self.folder, self.made = folder, []

    def next(self):
        n = len(self.made)
        pem, key = os.path.join(self.folder, "p%d.pem" % n), os.path.join(self.folder, "p%d.key" % n)
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=n%04dx" % n,
                "-keyout", key, "-out", pem, "-addext", "subjectAltName=DNS:a.test")
        self.made.append((read(pem), read(key)))
        return n

    def inline(self, n, key_of=None, name="server"):
        return {"@type": SECRET, "name": name, "tls_certificate": {
            "certificate_chain": {"inline_string": self.made[n][0]},
            "private_key": {"inline_string": self.made[n if key_of is None else key_of][1]}}}


def by_sds(source, name="server", timeout=None):
    sds = {"name": name, "sds_config": dict(source, resource_api_version="V3")}
    if timeout:
        sds["sds_config"]["initial_fetch_timeout"] = timeout
    return {"name": "tls", "typed_config": {"@type": h.DOWNSTREAM_TLS, "common_tls_context": {
        "alpn_protocols": ["http/1.1"], "tls_certificate_sds_secret_configs": [sds]}}}


def answering(text="ok!", stat="s"):
    return h.hcm(stat, [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}]}])


def connect(port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", port), 5)
    raw.settimeout(5)
    try:
        return context.wrap_socket(raw, server_hostname="a.test")
    except Exception:
        raw.close()
        raise


def number(connection):
    """Which of the pairs the peer showed."""
    return int(re.search(rb"n(\d{4})x", connection.getpeercert(True)).group(1))


def ask(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    data = b""
    while not data.endswith(b"!"):
        got = connection.recv(65536)
        check(got, "ended within an answer: %r" % data)
        data += got


def served(port):
    connection = connect(port)
    try:
        return number(connection)
    finally:
        connection.close()


class Load:
    """Fresh connections and one that is kept; nothing may fail."""

    def __init__(self, port):
        self.port, self.over, self.failures, self.fresh, self.kept = port, False, [], 0, 0
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.work_fresh, self.work_fresh, self.work_kept)]
        for thread in self.threads:
            thread.start()

    def work_fresh(self):
        while not self.over:
            try:
                connection = connect(self.port)
                ask(connection)
                connection.close()
                self.fresh += 1
            except (OSError, Failure) as error:
                self.failures.append("fresh: %s" % error)

    def work_kept(self):
        try:
            connection = connect(self.port)
            while not self.over:
                ask(connection)
                self.kept += 1
                time.sleep(0.002)
            connection.close()
        except (OSError, Failure) as error:
            self.failures.append("kept: %s" % error)

    def end(self):
        self.over = True
        for thread in self.threads:
            thread.join(10)
        check(not self.failures, "%d failed: %s" % (len(self.failures), self.failures[:3]))
        check(self.fresh > 20 and self.kept > 20, "only %d fresh connections and %d requests on the kept one" % (self.fresh, self.kept))


def sds_file(path, *secrets):
    replace(path, json.dumps({"resources": list(secrets)}))


def start(outrider, folder, name, config, **more):
    return h.Proxy("outrider", outrider, folder, name=name, concurrency=2, **more).start(config)


def listener(port, socket_, name="l"):
    return h.listener(name, port, answering(), transport_socket=socket_, stat_prefix=name)


def from_file(outrider, folder, pairs):
    path, port = os.path.join(folder, "sds-file.json"), h.free_port()
    sds_file(path, pairs.inline(pairs.next()))
    config = h.bootstrap([listener(port, by_sds({"path_config_source": {"path": path}}))], [], h.free_port())
    proxy = h.Proxy("outrider", outrider, folder, name="file", log_level="warning")
    config["admin"]["address"] = h.address(proxy.admin_port)
    proxy.start(config)
    load = Load(port)
    for _ in range(12):
        n = pairs.next()
        sds_file(path, pairs.inline(n))
        h.wait_for(lambda: served(port) == n, 5, "certificate %d" % n)
    # A pair that does not fit changes nothing, and is counted and said.
    before = proxy.stats("update_rejected$")
    sds_file(path, pairs.inline(n, key_of=0))
    h.wait_for(lambda: "rejected" in proxy.said(), 5, lambda: "the refusal: " + proxy.said())
    check(served(port) == n, "the bad pair replaced the good one")
    said = proxy.said()
    check("private_key" in said and "server" in said, said)
    check(any(value > before.get(name, 0) for name, value in proxy.stats("update_rejected$").items()), "no update_rejected moved")
    n = pairs.next()
    sds_file(path, pairs.inline(n))
    h.wait_for(lambda: served(port) == n, 5, "the pair after the bad one")
    load.end()
    found = proxy.stats("ssl_context_update_by_sds$")
    check(list(found.values()) == [14], "%s" % found)
    check(proxy.stop() == 0, "the exit code")


def named_files(outrider, folder, pairs):
    """The secret names files: replaced one by one, and as a directory is swapped by Kubernetes."""
    port, swapped = h.free_port(), h.free_port()
    cert, key = os.path.join(folder, "live.pem"), os.path.join(folder, "live.key")
    mount = os.path.join(folder, "mount")
    os.mkdir(mount)

    def publish(n):
        fresh = os.path.join(mount, "..%d" % n)
        os.mkdir(fresh)
        replace(os.path.join(fresh, "tls.crt"), pairs.made[n][0])
        replace(os.path.join(fresh, "tls.key"), pairs.made[n][1])
        link = os.path.join(mount, "..data_tmp")
        os.symlink("..%d" % n, link)
        os.replace(link, os.path.join(mount, "..data"))
    n = pairs.next()
    replace(cert, pairs.made[n][0])
    replace(key, pairs.made[n][1])
    publish(n)
    for name in ("tls.crt", "tls.key"):
        os.symlink("..data/" + name, os.path.join(mount, name))
    one, two = os.path.join(folder, "sds-named.json"), os.path.join(folder, "sds-mount.json")
    sds_file(one, {"@type": SECRET, "name": "server", "tls_certificate": {"certificate_chain": {"filename": cert}, "private_key": {"filename": key}}})
    sds_file(two, {"@type": SECRET, "name": "mounted", "tls_certificate": {
        "certificate_chain": {"filename": os.path.join(mount, "tls.crt")}, "private_key": {"filename": os.path.join(mount, "tls.key")},
        "watched_directory": {"path": mount}}})
    proxy = h.Proxy("outrider", outrider, folder, name="named", log_level="warning")
    proxy.start(h.bootstrap([listener(port, by_sds({"path_config_source": {"path": one}})),
                             listener(swapped, by_sds({"path_config_source": {"path": two}}, "mounted"), "m")], [], proxy.admin_port))
    loads = [Load(port), Load(swapped)]
    for _ in range(4):
        n = pairs.next()
        replace(cert, pairs.made[n][0])                                         # for a moment the two do not fit
        replace(key, pairs.made[n][1])
        publish(n)
        for where in (port, swapped):
            h.wait_for(lambda: served(where) == n, 5, lambda: "certificate %d on %s: %s" % (n, where, proxy.said()))
    for load in loads:
        load.end()
    check("is not supported" not in proxy.said(), proxy.said())
    check(proxy.stop() == 0, "the exit code")


class Plane:
    """`outrider control-plane` over a folder."""

    def __init__(self, outrider, folder, name):
        self.folder = os.path.join(folder, name)
        os.mkdir(self.folder)
        self.port = h.free_port()
        self.output = os.path.join(folder, name + ".out")
        self.outrider = outrider

    def serve(self, file, *resources):
        replace(os.path.join(self.folder, file), json.dumps({"resources": list(resources)}))

    def start(self):
        with open(self.output, "ab") as out:
            self.child = h.spawn([self.outrider, "control-plane", "--listen", "127.0.0.1:%d" % self.port, "--dir", self.folder],
                                 stdout=out, stderr=out)

        def accepts():
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False
        h.wait_for(accepts, 10, lambda: "the control plane: " + self.said())

    def said(self):
        return read(self.output)


def by_ads(plane, admin, delta=False, **more):
    made = h.bootstrap([], [h.cluster("plane", plane.port, **h.http2_options())], admin)
    made["dynamic_resources"] = {
        "ads_config": {"api_type": "DELTA_GRPC" if delta else "GRPC", "transport_api_version": "V3",
                       "grpc_services": [{"envoy_grpc": {"cluster_name": "plane"}}]},
        "lds_config": {"ads": {}, "resource_api_version": "V3"}}
    made.update(more)
    return made


def dynamic_listener(port, socket_, name="l"):
    return dict({"@type": LISTENER}, **listener(port, socket_, name))


def over_ads(outrider, folder, pairs, delta):
    name = "ads-%s" % ("delta" if delta else "sotw")
    plane, port = Plane(outrider, folder, name), h.free_port()
    plane.serve("listener.json", dynamic_listener(port, by_sds({"ads": {}})))
    plane.serve("secret.json", pairs.inline(pairs.next()))
    plane.start()
    proxy = h.Proxy("outrider", outrider, folder, name=name + "-proxy", log_level="warning")
    proxy.start(by_ads(plane, proxy.admin_port, delta))
    load = Load(port)
    for _ in range(8):
        n = pairs.next()
        plane.serve("secret.json", pairs.inline(n))
        h.wait_for(lambda: served(port) == n, 5, lambda: "certificate %d: %s %s" % (n, plane.said()[-600:], proxy.said()))
    plane.serve("secret.json", pairs.inline(n, key_of=0))
    h.wait_for(lambda: "NACK" in plane.said(), 5, lambda: "the NACK: " + plane.said())
    nack = [line for line in plane.said().splitlines() if "NACK" in line][-1]
    check("server" in nack and "private_key" in nack, nack)
    check("PRIVATE KEY" not in nack, "the NACK shows the key")
    check(served(port) == n, "the bad pair replaced the good one")
    n = pairs.next()
    plane.serve("secret.json", pairs.inline(n))
    h.wait_for(lambda: served(port) == n, 5, "the pair after the bad one")
    load.end()
    # A listener that is gone takes its subscription with it.
    plane.serve("listener.json")
    h.wait_for(lambda: proxy.stats("^listener_manager.")["listener_manager.total_listeners_active"] == 0, 5, "the listener to go")
    check(proxy.stop() == 0, "the exit code")
    h.end(plane.child)


def missing(outrider, folder, pairs):
    plane, port = Plane(outrider, folder, "missing"), h.free_port()
    plane.serve("listener.json", dynamic_listener(port, by_sds({"ads": {}}, timeout="1s")))
    plane.start()
    proxy = h.Proxy("outrider", outrider, folder, name="missing-proxy", log_level="warning")
    began = time.monotonic()
    proxy.start(by_ads(plane, proxy.admin_port))
    check(time.monotonic() - began > 0.9, "LIVE before the secret came or its time was over")
    # As in Envoy: it listens then, and resets each connection.
    for _ in range(2):
        try:
            served(port)
        except (ssl.SSLError, OSError):
            continue
        raise Failure("a handshake succeeded without a certificate")
    h.wait_for(lambda: sum(proxy.stats("downstream_context_secrets_not_ready$").values()) >= 2, 5, "the count")
    n = pairs.next()
    plane.serve("secret.json", pairs.inline(n))

    def good():
        try:
            return served(port) == n
        except (ssl.SSLError, OSError):
            return False
    h.wait_for(good, 5, lambda: "the secret that came late: " + plane.said())
    check(proxy.stop() == 0, "the exit code")
    h.end(plane.child)


def never_shown(outrider, folder, pairs):
    """Keys inline in a static listener, in an LDS listener, in secrets of the bootstrap and of ADS; a client's key in a cluster; ticket keys."""
    n = [pairs.next() for _ in range(5)]
    plane, ports = Plane(outrider, folder, "shown"), [h.free_port() for _ in range(4)]
    ticket = os.urandom(80)
    import base64
    inline = lambda i: {"name": "tls", "typed_config": {"@type": h.DOWNSTREAM_TLS, "session_ticket_keys": {
        "keys": [{"inline_bytes": base64.b64encode(ticket).decode()}]}, "common_tls_context": {
            "tls_certificates": [pairs.inline(i)["tls_certificate"]]}}}
    static_secret = {k: v for k, v in pairs.inline(n[0], name="static").items() if k != "@type"}
    plane.serve("listener.json", dynamic_listener(ports[1], inline(n[1]), "inline"), dynamic_listener(ports[2], by_sds({"ads": {}}), "sds"))
    plane.serve("secret.json", pairs.inline(n[2]))
    plane.start()
    proxy = h.Proxy("outrider", outrider, folder, name="shown-proxy", log_level="trace")
    config = by_ads(plane, proxy.admin_port)
    config["static_resources"]["secrets"] = [static_secret]
    static_socket = by_sds({}, "static")
    del static_socket["typed_config"]["common_tls_context"]["tls_certificate_sds_secret_configs"][0]["sds_config"]
    config["static_resources"]["listeners"] = [listener(ports[0], static_socket, "static"), listener(ports[3], inline(n[3]), "static-inline")]
    upstream = h.cluster("tls", ports[0], transport_socket={"name": "tls", "typed_config": {
        "@type": h.UPSTREAM_TLS, "common_tls_context": {"tls_certificates": [pairs.inline(n[4])["tls_certificate"]]}}})
    config["static_resources"]["clusters"].append(upstream)
    proxy.start(config)
    for port, pair in zip(ports, (n[0], n[1], n[2], n[3])):
        check(served(port) == pair, "port %d" % port)
    # Bad secrets make errors that quote their fields.
    plane.serve("secret.json", pairs.inline(n[2], key_of=n[0]))
    h.wait_for(lambda: "NACK" in plane.said(), 5, "the NACK")
    said = {}
    for path in ("/config_dump?include_eds", "/config_dump?resource=static_resources", "/certs", "/listeners?format=json", "/clusters",
                 "/server_info", "/stats", "/stats/prometheus", "/init_dump", "/memory"):
        status, _, body = proxy.admin("GET", path)
        said[path] = body.decode("utf-8", "replace")
        if path.startswith("/config_dump?include") or path == "/certs":
            check(status == 200, "%s answered %d" % (path, status))
    check("[redacted]" in said["/config_dump?include_eds"], "the dump has no redacted field")
    proxy.stop()
    said["log"] = proxy.said()
    said["control plane"] = plane.said()
    # Errors at start, with and without validation.
    for i, broken in enumerate((pairs.inline(n[0], key_of=n[1]), dict(pairs.inline(n[0]), name=""), pairs.inline(n[0], name="x" * 3))):
        broken = {k: v for k, v in broken.items() if k != "@type"}
        if i == 2:
            broken["tls_certificate"]["private_key"]["inline_string"] += "trailing"
            broken["tls_certificate"]["no_such_field"] = 1
        bad = h.bootstrap([], [], h.free_port())
        bad["static_resources"]["secrets"] = [broken]
        file = os.path.join(folder, "bad-secret.yaml")
        with open(file, "w") as out:
            json.dump(bad, out)
        done = subprocess.run([outrider, "-c", file, "-l", "trace", "--mode", "validate"], capture_output=True, text=True, timeout=20)
        check(i == 1 or done.returncode == 1, "broken secret %d is accepted" % i)
        said["error %d" % i] = done.stdout + done.stderr
    h.end(plane.child)
    needles = [base64.b64encode(ticket).decode()[:40], base64.b64encode(ticket[16:]).decode()[:40], ticket[:12].hex()]
    for pair in n:
        lines = pairs.made[pair][1].splitlines()
        # The key's text ends with its public half; where that begins at the same place of a group of three bytes as in the certificate,
        # the certificate, which is shown, has the same letters.
        public = pairs.made[pair][0].replace("\n", "")
        needles += [line[:40] for line in lines if "-----" not in line and len(line) >= 40 and line[:40] not in public]
        needles.append(base64.b64decode("".join(line for line in lines if "-----" not in line))[36:60].hex())
    given = json.dumps(config).replace("\\n", "")
    check(needles[0] in given and sum(needle in given for needle in needles) > 6, "the needles are not those of the keys")
    for where, text in said.items():
        check("PRIVATE KEY" not in text, "%s shows a private key's frame" % where)
        flat = text.replace("\\n", "").replace("\n", "")
        for needle in needles:
            check(needle not in flat, "%s shows key material" % where)


def main():
    chosen = h.options("secrets, seen from outside")
    h.bound(120)
    folder = h.work_folder(chosen.keep)
    tally = h.Tally("secrets")
    pairs = Pairs(folder)
    outrider = chosen.outrider
    tally.run("certificates from a file of secrets rotate under load; a bad pair is refused", from_file, outrider, folder, pairs)
    tally.run("files that secrets name are followed, also as a swapped directory", named_files, outrider, folder, pairs)
    tally.run("certificates over ADS rotate under load; a bad pair is NACKed (state of the world)", over_ads, outrider, folder, pairs, False)
    tally.run("the same with delta", over_ads, outrider, folder, pairs, True)
    tally.run("without its secret a listener waits, then resets, then recovers", missing, outrider, folder, pairs)
    tally.run("private keys are never shown", never_shown, outrider, folder, pairs)
    return tally.close()


if __name__ == "__main__":
    sys.exit(h.guarded(main))
