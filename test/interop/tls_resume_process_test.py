#!/usr/bin/env python3
"""A TLS session is resumed only where a full handshake would be accepted in the same way; and what an idle TLS connection holds."""
import json
import os
import re
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness as h                                                             # noqa: E402
from harness import check                                                       # noqa: E402
from tls_process_test import Authority, Client, answering, certificate, downstream, openssl  # noqa: E402

T12, T13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
IDLE_CONNECTIONS, IDLE_BYTES = 1000, 20 * 1024
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def issue_until(authority, name, sans, seconds):
    """A certificate that is over so soon; `openssl x509` counts in days only."""
    at = lambda end: os.path.join(authority.folder, name + end)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout", at(".key"), "-out", at(".csr"))
    base = os.path.join(authority.folder, "brief-" + name)
    with open(base + ".cnf", "w") as out:
        out.write("[ca]\ndefault_ca=d\n[d]\ndatabase=%s.db\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\nrand_serial=yes\nx509_extensions=e\n"
                  "[p]\ncommonName=supplied\n[e]\nsubjectAltName=%s\n" % (base, authority.folder, sans))
    open(base + ".db", "w").close()
    over = int(time.time()) + seconds
    openssl("ca", "-batch", "-config", base + ".cnf", "-keyfile", authority.key, "-cert", authority.pem, "-in", at(".csr"), "-out", at(".pem"),
            "-notext", "-enddate", time.strftime("%y%m%d%H%M%SZ", time.gmtime(over)))
    return (at(".pem"), at(".key")), over


def validation(authority, *uris, **more):
    out = {"trusted_ca": {"filename": authority.pem}, **more}
    if uris:
        out["match_typed_subject_alt_names"] = [{"san_type": "URI", "matcher": {"exact": uri}} for uri in uris]
    return out


class World:
    def __init__(self, folder):
        self.folder = folder
        self.ca, self.other = Authority(folder, "ca"), Authority(folder, "other")
        self.a, self.b = self.ca.issue("a", "DNS:a.test"), self.ca.issue("b", "DNS:b.test")
        self.client = self.ca.issue("client", "URI:spiffe://mesh/client")
        self.crl = self.ca.revoke(self.client[0])
        self.trust = os.path.join(folder, "trust.json")
        self.ports = {}
        self.say_trust(self.ca)

    def port(self, name):
        return self.ports.setdefault(name, h.free_port())

    def say_trust(self, authority, **more):
        """The secret that the listener `rotating` verifies clients with; by a rename, as SDS wants it."""
        with open(self.trust + ".next", "w") as out:
            json.dump({"resources": [{"@type": SECRET, "name": "trust", "validation_context": validation(authority, **more)}]}, out)
        os.replace(self.trust + ".next", self.trust)

    def config(self, admin):
        one = lambda name, *pairs, **more: h.listener(
            name, self.port(name), answering(name, name), transport_socket=downstream(*pairs, alpn=("http/1.1",), **more), stat_prefix=name)
        rotating = {"name": "tls", "typed_config": {"@type": h.DOWNSTREAM_TLS, "require_client_certificate": True, "common_tls_context": {
            "tls_certificates": [certificate(self.a)],
            "validation_context_sds_secret_config": {"name": "trust", "sds_config": {
                "path_config_source": {"path": self.trust}, "resource_api_version": "V3"}}}}}
        return h.bootstrap([
            one("plain", self.a), one("names", self.a, self.b),
            one("mutual", self.a, validation=validation(self.ca), required=True),
            one("others", self.a, validation=validation(self.other), required=True),
            one("named", self.a, validation=validation(self.ca, "spiffe://mesh/someone-else"), required=True),
            one("revoking", self.a, validation=validation(self.ca, crl={"filename": self.crl}), required=True),
            one("without", self.a, disable_stateful_session_resumption=True),
            h.listener("rotating", self.port("rotating"), answering("rotating", "rotating"), transport_socket=rotating, stat_prefix="rotating"),
        ], [], admin)


def context_of(version, pair=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if pair:
        context.load_cert_chain(*pair)
    return context


def visit(port, context, session=None, name="a.test"):
    """(what the connection came to, the session that it left): "resumed", "full", or "refused"."""
    try:
        client = Client(port, name=name, context=context, session=session)
    except (ssl.SSLError, OSError):
        return "refused", None
    try:
        client.get()
        return "resumed" if client.socket.session_reused else "full", client.socket.session
    except (ssl.SSLError, OSError, h.Failure):
        return "refused", None
    finally:
        client.close()


def expect(port, context, session, wanted, what, name="a.test"):
    got, fresh = visit(port, context, session, name)
    check(got == wanted, "%s: %s instead of %s" % (what, got, wanted))
    return fresh


def stories(tally, proxy, world):
    port = world.port

    def each_version(story):
        def both():
            for version in (T12, T13):
                story(version)
        return both

    def counted(version):
        context = context_of(version, world.client)
        counters = h.Counters(proxy, "listener.mutual.ssl")
        session = expect(port("mutual"), context, None, "full", "the first")
        for _ in range(6):                                                  # whichever worker it reaches
            session = expect(port("mutual"), context, session, "resumed", version.name)
        counters.expect({"listener.mutual.ssl.session_reused": 6, "listener.mutual.ssl.handshake": 7, "listener.mutual.ssl.no_certificate": 0})
    tally.run("a client with a certificate resumes, and is counted", each_version(counted))

    def elsewhere(version):
        context = context_of(version, world.client)
        session = expect(port("mutual"), context, None, "full", "the first")
        for name, wanted in (("others", "refused"), ("named", "refused"), ("revoking", "refused"), ("plain", "full"), ("rotating", "full")):
            counters = h.Counters(proxy, "listener.%s.ssl" % name)
            expect(port(name), context, session, wanted, "%s, %s" % (version.name, name))
            counters.expect({"listener.%s.ssl.session_reused" % name: 0, "listener.%s.ssl.handshake" % name: 0 if wanted == "refused" else 1})
        anonymous = context_of(version)
        session = expect(port("plain"), anonymous, None, "full", "the first")
        expect(port("mutual"), anonymous, session, "refused", "%s, no certificate" % version.name)
    tally.run("a session of one listener opens no other one", each_version(elsewhere))

    def names(version):
        context = context_of(version)
        session = expect(port("names"), context, None, "full", "the first")
        expect(port("names"), context, session, "full", "%s, another name" % version.name, name="b.test")
        expect(port("names"), context, session, "resumed", "%s, the same name" % version.name)
    tally.run("a session is good for the server name it was made with", each_version(names))

    def off():
        for version in (T12, T13):
            context = context_of(version)
            _, session = visit(port("without"), context)
            expect(port("without"), context, session, "full", version.name)
    tally.run("a listener that keeps no sessions resumes none", off)

    def rotated(version):
        context = context_of(version, world.client)
        session = expect(port("rotating"), context, None, "full", "the first")
        session = expect(port("rotating"), context, session, "resumed", "the second")
        for what, say, wanted in (("another authority", lambda: world.say_trust(world.other), "refused"),
                                  ("a revocation", lambda: world.say_trust(world.ca, crl={"filename": world.crl}), "refused"),
                                  ("one name more", lambda: world.say_trust(world.ca, max_verify_depth=3), "full")):
            updates = h.Counters(proxy, "listener.rotating.server_ssl_socket_factory")
            say()
            updates.expect({"listener.rotating.server_ssl_socket_factory.ssl_context_update_by_sds": 1}, seconds=5)
            expect(port("rotating"), context, session, wanted, "%s, %s" % (version.name, what))
        updates = h.Counters(proxy, "listener.rotating.server_ssl_socket_factory")
        world.say_trust(world.ca)
        updates.expect({"listener.rotating.server_ssl_socket_factory.ssl_context_update_by_sds": 1}, seconds=5)
    tally.run("after a rotation of what clients are verified with, nothing from before is resumed", each_version(rotated))

    def expired():
        pairs = [issue_until(world.ca, "brief-%s" % version.name, "URI:spiffe://mesh/client", 4) for version in (T12, T13)]
        held = []
        for version, (pair, _) in zip((T12, T13), pairs):
            context = context_of(version, pair)
            session = expect(port("mutual"), context, None, "full", "the first")
            held.append((version, context, expect(port("mutual"), context, session, "resumed", "while it is good")))
        h.wait_for(lambda: time.time() > pairs[1][1] + 1, 10, "the certificates to be over", pause=0.1)
        for version, context, session in held:
            counters = h.Counters(proxy, "listener.mutual.ssl")
            expect(port("mutual"), context, session, "refused", "%s, expired" % version.name)
            counters.expect({"listener.mutual.ssl.session_reused": 0, "listener.mutual.ssl.fail_verify_error": 1})
            context.load_cert_chain(*world.client)                          # renewed: the old session is no hindrance
            expect(port("mutual"), context, session, "full", "%s, renewed" % version.name)
    tally.run("a session ends with the client's certificate, and a renewed one gets in", expired)

    def program():
        path = os.path.join(world.folder, "session.pem")
        command = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % port("mutual"), "-servername", "a.test", "-cert", world.client[0],
                   "-key", world.client[1], "-ign_eof"]
        ask = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        run = lambda *more: subprocess.run(command + list(more), input=ask, capture_output=True, text=True, timeout=10).stdout
        check("New, TLSv1.3" in run("-sess_out", path), "no first session")
        check("Reused, TLSv1.3" in run("-sess_in", path), "not resumed")
    tally.run("the openssl program resumes, too", program)

    def idle():
        def private():
            with open("/proc/%d/smaps_rollup" % proxy.child.pid) as file:
                return 1024 * sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", file.read(), re.M))
        context, held = context_of(T13), []

        def open_some(count):
            for _ in range(count):
                client = Client(port("plain"), context=context)
                client.get()
                held.append(client)
        open_some(200)
        before = private()
        open_some(IDLE_CONNECTIONS)
        each = (private() - before) / IDLE_CONNECTIONS
        for client in held:
            client.close()
        check(each <= IDLE_BYTES, "an idle TLS connection holds %d bytes, the budget is %d" % (each, IDLE_BYTES))
    tally.run("an idle TLS connection holds at most %d KiB" % (IDLE_BYTES // 1024), idle)


def main():
    chosen = h.options("Resumption of TLS sessions, and who gets none")
    h.bound(120)
    h.more_open_files()
    folder = h.work_folder(chosen.keep)
    tally = h.Tally("tls resumption")
    world = World(folder)
    proxy = h.Proxy("outrider", chosen.outrider, folder, concurrency=2)
    proxy.start(world.config(proxy.admin_port))
    stories(tally, proxy, world)
    check(proxy.alive(), "it died: %s" % proxy.said()[-2000:])
    proxy.stop()
    return tally.close()


if __name__ == "__main__":
    sys.exit(h.guarded(main))
