#!/usr/bin/env python3
"""TLS as clients and upstreams see it: versions, ALPN, chains by server name, client certificates, resumption, bad key pairs.

With --envoy PATH the same stories run against the reference, too (those of configuration errors excepted)."""
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness as h                                                             # noqa: E402
from harness import Failure, check                                              # noqa: E402


def openssl(*arguments):
    subprocess.run(["openssl"] + list(arguments), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30)


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.pem, self.key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=" + name,
                "-keyout", self.key, "-out", self.pem, "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, sans, days="2", subject=None):
        at = lambda end: os.path.join(self.folder, name + end)
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + (subject or name),
                "-keyout", at(".key"), "-out", at(".csr"))
        with open(at(".ext"), "w") as out:
            out.write("subjectAltName=%s\n" % sans)
        openssl("x509", "-req", "-days", days, "-in", at(".csr"), "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial",
                "-extfile", at(".ext"), "-out", at(".pem"))
        return at(".pem"), at(".key")

    def revoke(self, pem):
        """A revocation list with this certificate."""
        base = os.path.join(self.folder, "crl")
        with open(base + ".cnf", "w") as out:
            out.write("[ca]\ndefault_ca=d\n[d]\ndatabase=%s.db\ndefault_md=sha256\ndefault_crl_days=2\n" % base)
        open(base + ".db", "w").close()
        for what in (["-revoke", pem], ["-gencrl", "-out", base + ".pem"]):
            openssl("ca", "-config", base + ".cnf", "-keyfile", self.key, "-cert", self.pem, *what)
        return base + ".pem"


def certificate(pair):
    return {"certificate_chain": {"filename": pair[0]}, "private_key": {"filename": pair[1]}}


def downstream(*pairs, alpn=("h2", "http/1.1"), validation=None, required=None, params=None, **more):
    common = {"tls_certificates": [certificate(pair) for pair in pairs]}
    if alpn:
        common["alpn_protocols"] = list(alpn)
    if validation:
        common["validation_context"] = validation
    if params:
        common["tls_params"] = params
    config = {"@type": h.DOWNSTREAM_TLS, "common_tls_context": common}
    if required is not None:
        config["require_client_certificate"] = required
    config.update(more)
    return {"name": "tls", "typed_config": config}


def upstream(validation=None, pair=None, alpn=None, **more):
    common = {}
    if validation:
        common["validation_context"] = validation
    if pair:
        common["tls_certificates"] = [certificate(pair)]
    if alpn:
        common["alpn_protocols"] = alpn
    config = {"@type": h.UPSTREAM_TLS, "common_tls_context": common}
    config.update(more)
    return {"name": "tls", "typed_config": config}


INSPECTOR = {"name": "tls_inspector", "typed_config": {"@type": h.TLS_INSPECTOR}}


def answering(text, stat):
    return h.hcm(stat, [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}]}])


def to_cluster(name, stat, logs=()):
    return h.hcm(stat, h.everything_to(name, timeout="20s"), logs)


class Client:
    """One TLS connection by Python's ssl (OpenSSL)."""

    def __init__(self, port, name="a.test", ca=None, alpn=None, least=None, most=None, pair=None, session=None, context=None,
                 ciphers=None):
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            if ca:
                context.load_verify_locations(ca)
            else:
                context.verify_mode = ssl.CERT_NONE
            if alpn:
                context.set_alpn_protocols(alpn)
            if least:
                context.minimum_version = least
            if most:
                context.maximum_version = most
            if pair:
                context.load_cert_chain(*pair)
            if ciphers:
                context.set_ciphers(ciphers)
        self.context = context
        raw = socket.create_connection(("127.0.0.1", port), 5)
        raw.settimeout(5)
        try:
            self.socket = context.wrap_socket(raw, server_hostname=name, session=session)
        except Exception:
            raw.close()
            raise

    def get(self, path="/", host="a.test"):
        self.socket.sendall(("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, host)).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            got = self.socket.recv(65536)
            check(got, "the connection ended within the head: %r" % data[:200])
            data += got
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head, re.I).group(1))
        while len(body) < length:
            got = self.socket.recv(65536)
            check(got, "the connection ended within the body")
            body += got
        return int(head.split()[1]), body.decode()

    def subject(self):
        text = ssl.DER_cert_to_PEM_cert(self.socket.getpeercert(True))
        out = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=text, capture_output=True, text=True, timeout=10)
        return out.stdout.strip().rpartition("CN")[2].strip(" =")

    def close(self):
        self.socket.close()


def refused(port, **arguments):
    """Why a handshake (or the first read after it, as TLS 1.3 has it) fails; None: it does not."""
    try:
        client = Client(port, **arguments)
    except (ssl.SSLError, OSError) as error:
        return str(error)
    try:
        client.get()
        return None
    except (ssl.SSLError, OSError, Failure) as error:
        return str(error)
    finally:
        client.close()


class World:
    def __init__(self, folder):
        self.folder = folder
        self.ca = Authority(folder, "ca")
        self.other = Authority(folder, "other")
        self.a = self.ca.issue("a", "DNS:a.test")
        self.b = self.ca.issue("b", "DNS:b.test")
        self.wild = self.ca.issue("wild", "DNS:*.wild.test")
        self.plain = self.ca.issue("fallback", "DNS:fallback.test")
        self.client = self.ca.issue("client", "URI:spiffe://mesh/client", subject="client")
        self.stranger = self.ca.issue("stranger", "URI:spiffe://mesh/stranger")
        self.revoked = self.ca.issue("revoked", "URI:spiffe://mesh/client")
        self.foreign = self.other.issue("foreign", "URI:spiffe://mesh/client")
        self.crl = self.ca.revoke(self.revoked[0])
        self.ports = {}

    def port(self, name):
        return self.ports.setdefault(name, h.free_port())

    def config(self, admin):
        named = lambda pair, text, *names: {
            "name": text, "filter_chain_match": {"server_names": list(names)}, "transport_socket": downstream(pair),
            "filters": [answering(text, text)]}
        listeners = [
            h.listener("plain", self.port("basic"), answering("basic", "basic"), transport_socket=downstream(self.a),
                       stat_prefix="basic"),
            {"name": "names", "address": h.address(self.port("names")), "listener_filters": [INSPECTOR], "stat_prefix": "names",
             "filter_chains": [named(self.a, "a", "a.test"), named(self.b, "b", "b.test"),
                               named(self.wild, "wild", "*.wild.test")]},
            {"name": "default", "address": h.address(self.port("default")), "listener_filters": [INSPECTOR], "stat_prefix": "default",
             "filter_chains": [named(self.a, "a2", "a.test")],
             "default_filter_chain": {"name": "rest", "transport_socket": downstream(self.plain), "filters": [answering("rest", "rest")]}},
            h.listener("mtls", self.port("mtls"), answering("mtls", "mtls"), stat_prefix="mtls", transport_socket=downstream(
                self.a, required=True, validation={
                    "trusted_ca": {"filename": self.ca.pem}, "crl": {"filename": self.crl},
                    "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": "spiffe://mesh/client"}}]})),
            h.listener("asks", self.port("asks"), answering("asks", "asks"), stat_prefix="asks", transport_socket=downstream(
                self.a, validation={"trusted_ca": {"filename": self.ca.pem}})),
            h.listener("params", self.port("params"), answering("params", "params"), stat_prefix="params",
                       transport_socket=downstream(self.a, params={
                           "tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_2",
                           "cipher_suites": ["ECDHE-ECDSA-AES256-GCM-SHA384"], "ecdh_curves": ["P-256"]})),
            h.listener("tcp", self.port("tcp"), {"name": "tcp", "typed_config": {
                "@type": h.TCP_PROXY, "stat_prefix": "tcp", "cluster": "echo"}}, transport_socket=downstream(self.a, alpn=()),
                stat_prefix="tcp"),
            h.listener("up", self.port("up"), h.hcm("up", [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/" + name}, "route": {"cluster": name}} for name in
                ("good", "wrong_ca", "wrong_name", "h2", "mutual", "auto")]}],
                [h.file_log(os.path.join(self.folder, "up.log"), "%RESPONSE_CODE%|%RESPONSE_FLAGS%|%UPSTREAM_TRANSPORT_FAILURE_REASON%\n")]),
                stat_prefix="up"),
            h.listener("inner", self.port("inner"), answering("inner", "inner"), transport_socket=downstream(self.a), stat_prefix="inner"),
            h.listener("inner_mtls", self.port("inner_mtls"), answering("inner mtls", "inner_mtls"), stat_prefix="inner_mtls",
                       transport_socket=downstream(self.a, required=True, validation={"trusted_ca": {"filename": self.ca.pem}})),
            h.listener("inner_names", self.port("inner_names"), stat_prefix="inner_names", listener_filters=[INSPECTOR],
                       transport_socket=downstream(self.wild), *[answering("auto", "auto")]),
        ]
        # A quick handshake limit on a listener of its own.
        slow = h.listener("slow", self.port("slow"), answering("slow", "slow"), transport_socket=downstream(self.a), stat_prefix="slow")
        slow["filter_chains"][0]["transport_socket_connect_timeout"] = "0.3s"
        listeners.append(slow)
        listeners[10]["filter_chains"][0]["filter_chain_match"] = {"server_names": ["up.wild.test"]}
        trusted = {"trusted_ca": {"filename": self.ca.pem}}
        san = lambda name: dict(trusted, match_typed_subject_alt_names=[{"san_type": "DNS", "matcher": {"exact": name}}])
        # The endpoint's own name is sent, and must be in its certificate.
        auto = h.cluster("auto", self.port("inner_names"), transport_socket=upstream(trusted, auto_host_sni=True,
                                                                                    auto_sni_san_validation=True))
        auto["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = "up.wild.test"
        clusters = [
            h.cluster("echo", self.port("echo")),
            h.cluster("good", self.port("inner"), transport_socket=upstream(san("a.test"), sni="a.test")),
            h.cluster("wrong_ca", self.port("inner"),
                      transport_socket=upstream({"trusted_ca": {"filename": self.other.pem}}, sni="a.test")),
            h.cluster("wrong_name", self.port("inner"), transport_socket=upstream(san("z.test"), sni="a.test")),
            dict(h.cluster("h2", self.port("inner"), transport_socket=upstream(trusted, alpn=["h2"], sni="a.test")), **h.http2_options()),
            h.cluster("mutual", self.port("inner_mtls"), transport_socket=upstream(trusted, self.client, sni="a.test")),
            auto,
        ]
        return h.bootstrap(listeners, clusters, admin)


class Echo:
    """Sends back what comes; ends its side when the peer ended."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.ends = []
        h.each_connection(self.listener, self.serve)

    def serve(self, connection):
        with connection:
            try:
                while True:
                    data = connection.recv(262144)
                    if not data:
                        self.ends.append("fin")
                        return
                    connection.sendall(data)
            except OSError:
                self.ends.append("reset")


def stories(tally, proxy, world):
    t12, t13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    port = world.port
    run = lambda title, story: tally.run("%s: %s" % (proxy.kind, title), story)
    stat = lambda name: proxy.stats("^" + re.escape(name) + "$").get(name, 0)

    def versions():
        for version, text in ((t12, "TLSv1.2"), (t13, "TLSv1.3")):
            client = Client(port("basic"), ca=world.ca.pem, least=version, most=version)
            check(client.socket.version() == text, client.socket.version())
            check(client.get() == (200, "basic"), "the answer")
            client.close()
        for name in ("ssl.versions.TLSv1.2", "ssl.versions.TLSv1.3"):
            h.wait_for(lambda: stat("listener.basic." + name) >= 1, 3, name)
    run("TLS 1.2 and 1.3 are spoken and counted", versions)

    def alpn():
        for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), (["x"], None), (None, None)):
            client = Client(port("basic"), alpn=offered)
            check(client.socket.selected_alpn_protocol() == chosen, "%s gave %s" % (offered, client.socket.selected_alpn_protocol()))
            client.close()
    run("ALPN chooses by the server's order, and an unknown name is no error", alpn)

    def curl():
        for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
            out = subprocess.run(["curl", "-sS", flag, "--cacert", world.ca.pem, "--resolve", "a.test:%d:127.0.0.1" % port("basic"),
                                  "-w", " %{http_version}", "https://a.test:%d/" % port("basic")], capture_output=True, text=True, timeout=20)
            check(out.stdout == "basic " + version, out.stdout + out.stderr)
    run("curl speaks HTTP/2 and HTTP/1.1 over TLS", curl)

    def names():
        for name, text, subject in (("a.test", "a", "a"), ("b.test", "b", "b"), ("B.TEST", "b", "b"), ("x.wild.test", "wild", "wild"),
                                    ("x.y.wild.test", "wild", "wild")):
            client = Client(port("names"), name=name)
            check(client.subject() == subject and client.get() == (200, text), "%s reached %s" % (name, client.subject()))
            client.close()
    run("the server name chooses the chain, exactly or by its suffix", names)

    def no_match():
        before = stat("listener.names.no_filter_chain_match")
        for name in ("c.test", "wild.test", None):
            check(refused(port("names"), name=name), "%s was served" % name)
        h.wait_for(lambda: stat("listener.names.no_filter_chain_match") == before + 3, 3, "three connections without a chain")
    run("a name that no chain has is closed and counted", no_match)

    def default():
        for name, text in (("a.test", "a2"), ("c.test", "rest"), (None, "rest")):
            client = Client(port("default"), name=name)
            check(client.get() == (200, text), "%s" % name)
            client.close()
    run("the default chain takes what no other does", default)

    def mutual():
        counters = h.Counters(proxy, "listener.mtls.ssl")
        client = Client(port("mtls"), pair=world.client)
        check(client.get() == (200, "mtls"), "a good certificate")
        client.close()
        counters.expect({"listener.mtls.ssl.handshake": 1})
        for pair, name in ((None, "fail_verify_no_cert"), (world.stranger, "fail_verify_san"), (world.foreign, "fail_verify_error"),
                           (world.revoked, "fail_verify_error")):
            counters = h.Counters(proxy, "listener.mtls.ssl")
            check(refused(port("mtls"), pair=pair), "%s was let in" % (pair,))
            counters.expect({"listener.mtls.ssl." + name: 1, "listener.mtls.ssl.handshake": 0})
    run("a client needs a certificate of the right authority, with the right name, not revoked", mutual)

    def asks():
        counters = h.Counters(proxy, "listener.asks.ssl")
        check(refused(port("asks")) is None, "a client without a certificate")
        counters.expect({"listener.asks.ssl.no_certificate": 1, "listener.asks.ssl.handshake": 1})
        check(refused(port("asks"), pair=world.client) is None, "a client with one")
        check(refused(port("asks"), pair=world.foreign), "one of a stranger was accepted")
        counters.expect({"listener.asks.ssl.no_certificate": 1, "listener.asks.ssl.handshake": 2, "listener.asks.ssl.fail_verify_error": 1})
    run("a certificate that is not required is verified when it is there", asks)

    def params():
        check(refused(port("params"), least=t13), "TLS 1.3 was spoken")
        check(refused(port("params"), most=t12, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"), "a cipher that is not configured")
        client = Client(port("params"))
        check(client.socket.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384", client.socket.cipher())
        client.close()
        for curve, works in (("P-256", True), ("P-384", False)):
            out = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port("params"), "-curves", curve],
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
            check(("Cipher is ECDHE" in out.stdout) == works, "%s: %s" % (curve, out.stdout[-300:] + out.stderr[-300:]))
    run("versions, cipher suites and curves are as configured", params)

    def resume():
        for version in (t12, t13):
            first = Client(port("basic"), most=version, least=version)
            first.get()
            session, context = first.socket.session, first.context
            first.close()
            counters = h.Counters(proxy, "listener.basic.ssl")
            for _ in range(8):                                              # whichever worker it reaches
                again = Client(port("basic"), session=session, context=context)
                check(again.socket.session_reused, "%s was not resumed" % version)
                again.get()
                session = again.socket.session
                again.close()
            counters.expect({"listener.basic.ssl.session_reused": 8})
    run("sessions resume on every worker", resume)

    def tcp():
        client = Client(port("tcp"))
        client.socket.settimeout(60)
        size, block = 64 << 20, os.urandom(1 << 16)
        got = [0]

        def read():
            while got[0] < size:
                data = client.socket.recv(1 << 18)
                if not data:
                    return
                got[0] += len(data)
        before = proxy.memory_kib()
        # One direction stands still at first: what waits in the proxy must stay bounded.
        client.socket.setblocking(False)
        sent = 0
        quiet = time.monotonic()
        while time.monotonic() - quiet < 0.7 and sent < size:
            try:
                sent += client.socket.send(block)
                quiet = time.monotonic()
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                select.select([], [client.socket], [], 0.7)
        check(sent < size, "everything was taken though nobody reads")
        grown = proxy.memory_kib() - before
        check(grown < 20 * 1024, "%d KiB more while the peer stands still" % grown)
        # The same connection goes on, both ways, from one thread.
        pending = b""
        deadline = time.monotonic() + 50
        while got[0] < size:
            check(time.monotonic() < deadline, "stuck at %d sent, %d received" % (sent, got[0]))
            readable, writable, _ = select.select([client.socket], [client.socket] if sent < size else [], [], 5)
            progressed = False
            try:
                while True:
                    data = client.socket.recv(1 << 18)
                    check(data, "the connection ended")
                    got[0] += len(data)
                    progressed = True
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            if sent < size:
                try:
                    sent += client.socket.send(block[:min(len(block), size - sent)])
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass
        client.close()
    run("64 MiB both ways over TLS and tcp_proxy, with the reader standing still at first", tcp)

    def half():
        # close_notify from the client; the echo's answer and its end come back.
        client = Client(port("tcp"))
        client.socket.sendall(b"last words")
        data = b""
        while data != b"last words":
            more = client.socket.recv(100)
            check(more, "the end came early")
            data += more
        plain = client.socket.unwrap()
        check(plain.recv(10) == b"", "the end")
        plain.close()
    run("close_notify is passed on as an end and answered by one", half)

    def handshake_timeout():
        before = stat("listener.slow.downstream_cx_transport_socket_connect_timeout")
        with socket.create_connection(("127.0.0.1", port("slow")), 5) as raw:
            raw.settimeout(5)
            raw.sendall(b"\x16\x03\x01")
            began = time.monotonic()
            try:
                check(raw.recv(1) == b"", "an answer")
            except ConnectionResetError:
                pass
            check(0.2 < time.monotonic() - began < 3, "it took %.1f s" % (time.monotonic() - began))
        h.wait_for(lambda: stat("listener.slow.downstream_cx_transport_socket_connect_timeout") == before + 1, 3, "the count")
    run("a handshake that takes too long is ended and counted", handshake_timeout)

    def nonsense():
        counters = h.Counters(proxy, "listener.basic.ssl")
        with socket.create_connection(("127.0.0.1", port("basic")), 5) as raw:
            raw.settimeout(5)
            raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            try:
                while True:
                    got = raw.recv(1000)
                    if not got:
                        break
                    data += got
            except ConnectionResetError:
                pass
            check(b"HTTP/1.1 2" not in data, "plain text was served")
        counters.expect({"listener.basic.ssl.connection_error": 1, "listener.basic.ssl.handshake": 0})
    run("plain text on a TLS port is an error of the connection", nonsense)

    # ---- upstream ----
    def ask(path, host="up.wild.test"):
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", port("up"), timeout=10)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def upstreams():
        for path, text in (("/good", "inner"), ("/h2", "inner"), ("/mutual", "inner mtls"), ("/auto", "auto")):
            got = ask(path)
            check(got == (200, text), "%s: %s" % (path, got))
        check(stat("cluster.good.ssl.handshake") >= 1, "cluster.good.ssl.handshake")
        check(stat("cluster.h2.upstream_cx_http2_total") >= 1, "cluster.h2 speaks HTTP/2")
    run("upstream TLS: verified, by name, with ALPN h2, with a client certificate, with SNI from the endpoint's name", upstreams)

    def distrust():
        log = h.LogFile(os.path.join(world.folder, "up.log"))
        for path, count, word in (("/wrong_ca", "ssl.fail_verify_error", "CERTIFICATE_VERIFY_FAILED"),
                                  ("/wrong_name", "ssl.fail_verify_san", "CERTIFICATE_VERIFY_FAILED")):
            counters = h.Counters(proxy, "cluster" + path.replace("/", "."))
            status, body = ask(path)
            check(status == 503 and body == "upstream connect error or disconnect/reset before headers. reset reason: "
                  "remote connection failure", "%s %s" % (status, body))
            line = next(l for l in iter(lambda: log.take(1)[0], None) if l.startswith("503"))     # after those of the stories before
            check(line.startswith("503|UF|TLS_error:|") and word in line, line)
            counters.expect({"cluster.%s.%s" % (path[1:], count): 1})
    run("an upstream that cannot be trusted is 503 UF with the reason", distrust)

    def rest():
        proxy.expect_at_rest(r"^listener\.(basic|names|default|mtls|asks|params|tcp|up|slow)\.")
    run("nothing is left over", rest)


def broken(tally, outrider, world):
    """Configurations that must be refused with one line that names the field and the file."""
    folder = world.folder
    encrypted = os.path.join(folder, "encrypted.key")
    openssl("ec", "-in", world.a[1], "-aes128", "-passout", "pass:secret", "-out", encrypted)
    garbage = os.path.join(folder, "garbage.pem")
    with open(garbage, "w") as out:
        out.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    password = os.path.join(folder, "password")
    with open(password, "w") as out:
        out.write("secret")
    field = r"filter_chains\[0\]\.transport_socket\.typed_config\.common_tls_context\.tls_certificates\[0\]\."

    def refusal(pair, words, extra=None):
        def story():
            socket_ = downstream(pair)
            if extra:
                socket_["typed_config"]["common_tls_context"]["tls_certificates"][0].update(extra)
            config = h.bootstrap([h.listener("l", h.free_port(), answering("x", "x"), transport_socket=socket_)], [], h.free_port())
            path = os.path.join(folder, "broken.yaml")
            import json
            with open(path, "w") as out:
                json.dump(config, out)
            done = subprocess.run([outrider, "-c", path, "--mode", "validate", "-l", "error"], capture_output=True, text=True, timeout=20)
            text = done.stdout + done.stderr
            if words is None:
                check(done.returncode == 0, text)
                return
            lines = [line for line in text.splitlines() if "tls_certificates" in line]
            check(done.returncode == 1 and len(lines) == 1, "exit %d: %s" % (done.returncode, text))
            check(re.search(field, lines[0]), lines[0])
            for word in words:
                check(word in lines[0], "no %r in: %s" % (word, lines[0]))
            check("PRIVATE KEY" not in text, "a private key is shown")
        return story
    tally.run("a key of another certificate is refused, by field and file", refusal((world.a[0], world.b[1]), [world.b[1]]))
    tally.run("a missing key file is refused", refusal((world.a[0], "/nonexistent.key"), ["/nonexistent.key", "No such file"]))
    tally.run("an encrypted key without a password is refused", refusal((world.a[0], encrypted), [encrypted]))
    tally.run("an encrypted key with its password is taken", refusal((world.a[0], encrypted), None, {"password": {"filename": password}}))
    tally.run("a certificate file without a certificate is refused", refusal((garbage, world.a[1]), [garbage]))


def main():
    chosen = h.options("TLS both sides, seen from outside")
    h.bound(150)
    folder = h.work_folder(chosen.keep)
    tally = h.Tally("tls")
    world = World(folder)
    Echo(world.port("echo"))
    for kind, binary in (("outrider", chosen.outrider), ("envoy", chosen.envoy)):
        if not binary:
            continue
        extra = [] if kind == "outrider" else ["--use-dynamic-base-id"]
        proxy = h.Proxy(kind, binary, folder, concurrency=2, arguments=extra, like_envoy=bool(chosen.envoy))
        proxy.start(world.config(proxy.admin_port))
        stories(tally, proxy, world)
        check(proxy.alive(), "%s died: %s" % (kind, proxy.said()[-2000:]))
        proxy.stop()
    if chosen.outrider:
        broken(tally, chosen.outrider, world)
    return tally.close()


if __name__ == "__main__":
    sys.exit(h.guarded(main))
