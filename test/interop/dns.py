"""A scripted DNS server on 127.0.0.1 (UDP and TCP on one port): the outside of DNS clusters. Standard library only."""
import socket
import struct
import threading

A, CNAME, AAAA = 1, 5, 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


def _name(text):
    return b"".join(bytes((len(label),)) + label.encode() for label in text.split(".") if label) + b"\0"


class Server:
    """`zone` maps a name to a dictionary: a, aaaa (lists of addresses), ttl (seconds), rcode, silent (no answer at all), raw
    (these bytes after the id instead of an answer), cname (target, its ttl). A name that is not there is NXDOMAIN."""

    def __init__(self):
        self.zone = {}
        self.lock = threading.Lock()
        self.asked = []                        # (name, type, transport) in order
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        threading.Thread(target=self._serve_udp, daemon=True).start()
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    def set(self, name, **answer):
        with self.lock:
            self.zone[name] = answer

    def count(self, name, kind=None):
        with self.lock:
            return sum(1 for n, t, _ in self.asked if n == name and kind in (None, t))

    def transports(self, name):
        with self.lock:
            return {how for n, _, how in self.asked if n == name}

    def _serve_udp(self):
        while True:
            try:
                query, peer = self.udp.recvfrom(4096)
                answer = self._answer(query, "udp")
                if answer:
                    self.udp.sendto(answer, peer)
            except OSError:
                return

    def _serve_tcp(self):
        while True:
            try:
                s, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(s,), daemon=True).start()

    def _converse(self, s):
        stream = s.makefile("rb")
        try:
            while True:
                size = stream.read(2)
                if len(size) < 2:
                    return
                answer = self._answer(stream.read(struct.unpack(">H", size)[0]), "tcp")
                if answer:
                    s.sendall(struct.pack(">H", len(answer)) + answer)
        except OSError:
            pass
        finally:
            s.close()

    def _answer(self, query, transport):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12:at + 5]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        name = ".".join(labels).lower()
        with self.lock:
            self.asked.append((name, kind, transport))
            entry = self.zone.get(name)
        if entry is None:
            entry = {"rcode": NXDOMAIN}
        if entry.get("silent"):
            return None
        if "raw" in entry:
            return query[:2] + entry["raw"]
        rcode = entry.get("rcode", NOERROR)
        records, owner = [], b"\xc0\x0c"
        if "cname" in entry:
            target, ttl = entry["cname"]
            owner = _name(target)
            records.append(b"\xc0\x0c" + struct.pack(">HHIH", CNAME, 1, ttl, len(owner)) + owner)
        ttl = entry.get("ttl", 60)
        for kind_of, family, field in ((A, socket.AF_INET, "a"), (AAAA, socket.AF_INET6, "aaaa")):
            for each in entry.get(field, ()) if kind == kind_of else ():
                data = socket.inet_pton(family, each)
                records.append(owner + struct.pack(">HHIH", kind_of, 1, ttl, len(data)) + data)
        if rcode != NOERROR:
            records = []
        truncated = 0x0200 if transport == "udp" and sum(map(len, records)) > 480 else 0
        if truncated:
            records = []
        flags = 0x8180 | truncated | rcode
        return query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)
