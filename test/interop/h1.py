"""Raw HTTP/1 peers: a client that sends exactly the bytes it is given, and an upstream that records exactly the bytes it saw.

The upstream's own parser is deliberately strict and simple: whatever is not plainly framed is kept as `bad`, so a proxy that
forwards anything that could be read in two ways is caught.
"""
import select
import socket
import struct
import threading
import time


# ---- client -----------------------------------------------------------------------------------------------------

class Response:
    def __init__(self):
        self.status, self.version, self.reason = 0, "", ""
        self.headers = []            # (lower-case name, value) in order, as text (latin-1)
        self.body, self.trailers = b"", []
        self.interim = []            # statuses of 1xx answers before this one
        self.complete = False
        self.raw = b""

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    def get(self, name, default=None):
        found = self.all(name)
        return found[0] if found else default


def _lines(block):
    pairs = []
    for line in block.split(b"\r\n"):
        if line:
            name, _, value = line.partition(b":")
            pairs.append((name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")))
    return pairs


class Client:
    """One TCP (or TLS) connection to the proxy."""

    def __init__(self, port, host="127.0.0.1", timeout=10, receive_buffer=None, source=None, tls=None, server_name=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=server_name)
        self.timeout = timeout
        self.buffer = b""
        self.eof = self.reset = False

    def send(self, data):
        """False if the proxy had closed already."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def _more(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no byte from the proxy in time; have %r" % self.buffer[:120])
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            raise TimeoutError("no byte from the proxy in time; have %r" % self.buffer[:120])
        except ConnectionResetError:
            self.reset = self.eof = True
            return False
        if not data:
            self.eof = True
            return False
        self.buffer += data
        return True

    def _until(self, mark, deadline):
        """The offset just after `mark`, or -1 at the end of the stream."""
        start = 0
        while True:
            at = self.buffer.find(mark, max(0, start - len(mark)))
            if at >= 0:
                return at + len(mark)
            start = len(self.buffer)
            if not self._more(deadline):
                return -1

    def _take(self, count, deadline):
        while len(self.buffer) < count:
            if not self._more(deadline):
                taken, self.buffer = self.buffer, b""
                return taken, False
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken, True

    def response(self, method="GET", timeout=None):
        """The next final response; None if the stream ends before its first byte."""
        deadline = time.monotonic() + (timeout or self.timeout)
        answer = Response()
        while True:
            end = self._until(b"\r\n\r\n", deadline)
            if end < 0:
                if not self.buffer:
                    return None
                answer.raw, self.buffer = self.buffer, b""
                return answer
            head, self.buffer = self.buffer[:end], self.buffer[end:]
            answer.raw += head
            first, _, rest = head.partition(b"\r\n")
            parts = first.split(b" ", 2)
            answer.version = parts[0].decode("latin-1")
            answer.status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
            answer.reason = parts[2].decode("latin-1") if len(parts) > 2 else ""
            answer.headers = _lines(rest)
            if 100 <= answer.status < 200 and answer.status != 101:
                answer.interim.append(answer.status)
                continue
            break
        if method == "HEAD" or answer.status in (101, 204, 304) or (method == "CONNECT" and answer.status == 200):
            answer.complete = True
        elif "chunked" in answer.get("transfer-encoding", ""):
            answer.complete = self._chunks(answer, deadline)
        elif answer.get("content-length") is not None:
            body, answer.complete = self._take(int(answer.get("content-length")), deadline)
            answer.body += body
            answer.raw += body
        else:
            while self._more(deadline):
                pass
            answer.body, self.buffer, answer.complete = self.buffer, b"", not self.reset
            answer.raw += answer.body
        return answer

    def _chunks(self, answer, deadline):
        while True:
            end = self._until(b"\r\n", deadline)
            if end < 0:
                return False
            line, self.buffer = self.buffer[:end], self.buffer[end:]
            answer.raw += line
            try:
                size = int(line.split(b";")[0].strip(), 16)
            except ValueError:
                return False
            if size == 0:
                break
            data, whole = self._take(size + 2, deadline)
            answer.raw += data
            answer.body += data[:size]
            if not whole:
                return False
        while True:
            end = self._until(b"\r\n", deadline)
            if end < 0:
                return False
            line, self.buffer = self.buffer[:end], self.buffer[end:]
            answer.raw += line
            if line == b"\r\n":
                return True
            answer.trailers += _lines(line)

    def ended(self, timeout):
        """True when the proxy closes (FIN or RST) within the time; surplus bytes stay in the buffer."""
        deadline = time.monotonic() + timeout
        try:
            while not self.eof:
                self._more(deadline)
        except TimeoutError:
            return False
        return True

    def half_close(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self, rst=False):
        if rst:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- upstream ---------------------------------------------------------------------------------------------------

class Seen:
    """One request as it arrived at the upstream."""

    def __init__(self, method, target, version, headers, head):
        self.method, self.target, self.version = method, target, version
        self.headers, self.head = headers, head
        self.body, self.trailers, self.raw_body = b"", [], b""
        self.complete = False

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    def get(self, name, default=None):
        found = self.all(name)
        return found[0] if found else default

    def names(self):
        return [n for n, _ in self.headers]


class SeenConnection:
    def __init__(self, number):
        self.number = number
        self.raw = bytearray()       # every byte, in order
        self.requests = []           # Seen, in order
        self.bad = None              # why the bytes could not be read plainly
        self.open = True
        self.lock = threading.Lock()


def _answer(status, body=b"", headers=(), reason=b"OK"):
    out = b"HTTP/1.1 %d %s\r\n" % (status, reason)
    for name, value in headers:
        out += name + b": " + value + b"\r\n"
    return out + b"content-length: %d\r\n\r\n" % len(body) + body


# Answers that break the rules, by path: each is sent as it stands; the second value says whether the upstream then closes.
BROKEN = {
    "/dupcl": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", False),
    "/clte": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", False),
    "/badte": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: nonsense\r\n\r\nab", False),
    "/bareLF": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", False),
    "/nulhdr": (b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\nok", False),
    "/extra": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX-Poison: 1\r\nContent-Length: 6\r\n\r\npoison", False),
    "/bighdr": (b"HTTP/1.1 200 OK\r\nX-Big: " + b"b" * 70000 + b"\r\nContent-Length: 2\r\n\r\nok", False),
    "/manyhdr": (b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: v\r\n" % i for i in range(150)) + b"Content-Length: 2\r\n\r\nok", False),
    "/badstatus": (b"HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok", False),
    "/garbage": (b"\x00\x01\x02garbage\r\n\r\n", False),
    "/s204body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", False),
    "/obsfold": (b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok", False),
    "/earlyclose": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", True),
    "/chunktrunc": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe", True),
    "/noeof": (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", True),
    "/close": (b"", True),
    "/parthdr": (b"HTTP/1.1 200 OK\r\nX-Half: ", True),
}


class Upstream:
    """A threaded HTTP/1.1 server on 127.0.0.1. `connections` holds everything that arrived, byte for byte.

    /ok /echo (body back) /empty /status/N /size/N /chunked/N /trailers /s100 /s103 /switch (101, then echo) /hang /early
    /closing (Connection: close) /headers (some response headers) /rst /rstbody and the paths of BROKEN.
    Other paths answer 200 "ok" too, so that routing tests may use any path. `name` is sent as x-served-by."""

    def __init__(self, name="up", host="127.0.0.1", port=0, tls=None):
        self.name, self.tls = name.encode(), tls
        self.lock = threading.Lock()
        self.connections = []
        self.live = set()
        self.flaky = {}              # path -> answers 503 this many times first
        self.listening = socket.create_server((host, port), backlog=1024)
        self.port = self.listening.getsockname()[1]
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.closing = True
        try:
            self.listening.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listening.close()
        with self.lock:
            for s in list(self.live):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    # what was seen
    def mark(self):
        """A position to pass to since()."""
        with self.lock:
            return [(c, len(c.raw), len(c.requests)) for c in self.connections]

    def since(self, mark):
        """(requests, raw bytes by connection) that came after the mark."""
        before = {id(c): (raw, count) for c, raw, count in mark}
        requests, raw = [], []
        with self.lock:
            for c in self.connections:
                had_raw, had = before.get(id(c), (0, 0))
                requests += c.requests[had:]
                if len(c.raw) > had_raw:
                    raw.append(bytes(c.raw[had_raw:]))
        return requests, raw

    def bad(self):
        with self.lock:
            return ["connection %d: %s" % (c.number, c.bad) for c in self.connections if c.bad]

    def open_halves(self):
        """Connections that are still open with an incomplete request on them."""
        with self.lock:
            return [c for c in self.connections if c.open and c.requests and not c.requests[-1].complete]

    # the server
    def _accept(self):
        while not self.closing:
            try:
                s, _ = self.listening.accept()
            except OSError:
                return
            with self.lock:
                c = SeenConnection(len(self.connections))
                self.connections.append(c)
                self.live.add(s)
            threading.Thread(target=self._serve, args=(s, c), daemon=True).start()

    def _serve(self, s, c):
        try:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
            self._converse(s, c)
        except (OSError, ValueError):
            pass
        finally:
            c.open = False
            with self.lock:
                self.live.discard(s)
            try:
                s.close()
            except OSError:
                pass

    def _read(self, s, c, buffer):
        data = s.recv(65536)
        if not data:
            return buffer, False
        with self.lock:
            c.raw += data
        return buffer + data, True

    def _converse(self, s, c):
        buffer, alive = b"", True
        while True:
            while b"\r\n\r\n" not in buffer:
                buffer, alive = self._read(s, c, buffer)
                if not alive:
                    if buffer:
                        c.bad = c.bad or "ended inside a head: %r" % buffer[:80]
                    return
            end = buffer.index(b"\r\n\r\n") + 4
            seen, why = self._head(buffer[:end])
            if why:
                c.bad = "%s: %r" % (why, buffer[:120])
                return
            buffer = buffer[end:]
            with self.lock:
                c.requests.append(seen)
            if seen.target.startswith("/early"):
                s.sendall(_answer(200, b"early", [(b"x-served-by", self.name)]))
            if seen.get("expect", "").lower() == "100-continue":
                s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            buffer, why = self._body(s, c, seen, buffer)
            if why:
                if why != "ended":
                    c.bad = why
                return
            seen.complete = True
            if not seen.target.startswith("/early") and not self._reply(s, c, seen, buffer):
                return

    @staticmethod
    def _head(head):
        if head.count(b"\n") != head.count(b"\r\n") or b"\r" in head.replace(b"\r\n", b"") or b"\x00" in head:
            return None, "bare CR, LF or NUL in the head"
        lines = head[:-4].split(b"\r\n")
        parts = lines[0].split(b" ")
        if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            return None, "request line"
        headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip() or b" " in name or b"\t" in name:
                return None, "header line"
            headers.append((name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1")))
        seen = Seen(parts[0].decode("latin-1"), parts[1].decode("latin-1"), parts[2].decode(), headers, head)
        lengths, codings = seen.all("content-length"), seen.all("transfer-encoding")
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
            return None, "framing can be read in two ways"
        if lengths and not lengths[0].isdigit():
            return None, "content-length"
        if codings and codings[0].lower() != "chunked":
            return None, "transfer-encoding"
        return seen, None

    def _body(self, s, c, seen, buffer):
        def need(count):
            nonlocal buffer
            while len(buffer) < count:
                buffer, alive = self._read(s, c, buffer)
                if not alive:
                    return False
            return True

        def line():
            nonlocal buffer
            while b"\r\n" not in buffer:
                if len(buffer) > 70000:
                    return None
                buffer, alive = self._read(s, c, buffer)
                if not alive:
                    return None
            taken, _, buffer = buffer.partition(b"\r\n")
            return taken

        length = seen.get("content-length")
        if length is not None:
            left = int(length)
            while left:
                if not buffer and not need(1):
                    return buffer, "ended"
                piece, buffer = buffer[:left], buffer[left:]
                left -= len(piece)
                if len(seen.body) < 1 << 20:
                    seen.body += piece
            return buffer, None
        if seen.get("transfer-encoding") is None:
            return buffer, None
        while True:
            head = line()
            if head is None:
                return buffer, "ended"
            seen.raw_body += head + b"\r\n"
            if not head or any(ch not in b"0123456789abcdefABCDEF" for ch in head) or len(head) > 16:
                return buffer, "chunk head %r" % head[:60]
            size = int(head, 16)
            if size == 0:
                break
            if not need(size + 2):
                return buffer, "ended"
            data, mark, buffer = buffer[:size], buffer[size:size + 2], buffer[size + 2:]
            if mark != b"\r\n":
                return buffer, "chunk end %r" % mark
            if len(seen.body) < 1 << 20:
                seen.body += data
                seen.raw_body += data + mark
        while True:
            field = line()
            if field is None:
                return buffer, "ended"
            seen.raw_body += field + b"\r\n"
            if not field:
                return buffer, None
            seen.trailers += _lines(field)

    def _reply(self, s, c, seen, buffer):
        """Sends the scripted answer; False when the connection is over."""
        path = seen.target.partition("?")[0]
        head = seen.method == "HEAD"
        name = [(b"x-served-by", self.name)]
        with self.lock:
            left = self.flaky.get(path, 0)
            if left:
                self.flaky[path] = left - 1
        if left:
            s.sendall(_answer(503, b"flaky", name, b"Service Unavailable"))
            return True
        if path in BROKEN:
            data, then_close = BROKEN[path]
            s.sendall(data)
            return not then_close
        if path in ("/rst", "/rstbody"):
            if path == "/rstbody":
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if path == "/hang":
            while not self.closing:                    # no answer; ends with the connection
                data = s.recv(65536)
                if not data:
                    return False
                with self.lock:
                    c.raw += data
        if path == "/s100":
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if path == "/s103":
            s.sendall(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")
        if path == "/switch":
            kind = seen.get("upgrade", "websocket").encode()
            s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: " + kind + b"\r\n\r\n" + buffer)
            while True:
                data = s.recv(65536)
                if not data:
                    return False
                with self.lock:
                    c.raw += data
                s.sendall(data)
        body, status, headers, reason = b"ok", 200, list(name), b"OK"
        if path == "/echo":
            body = seen.body
        elif path == "/empty":
            body = b""
        elif path.startswith("/status/"):
            status, body, reason = int(path[8:11]), b"status", b"Said"
            if status in (204, 304):
                s.sendall(b"HTTP/1.1 %d Said\r\nx-served-by: %s\r\n\r\n" % (status, self.name))
                return True
        elif path.startswith("/size/"):
            body = b"s" * int(path[6:])
        elif path.startswith(("/chunked/", "/trailers")):
            body = b"c" * int(path[9:]) if path.startswith("/chunked/") else b"with trailers"
            out = b"HTTP/1.1 200 OK\r\nx-served-by: %s\r\ntransfer-encoding: chunked\r\n\r\n" % self.name
            if not head:
                for at in range(0, len(body), 1000):
                    piece = body[at:at + 1000]
                    out += b"%x\r\n%s\r\n" % (len(piece), piece)
                out += b"0\r\n" + (b"x-trailer: end\r\n" if path == "/trailers" else b"") + b"\r\n"
            s.sendall(out)
            return True
        elif path == "/headers":
            headers += [(b"X-Mixed-Case", b"Kept"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"server", b"upstream"),
                        (b"x-envoy-fake", b"1"), (b"keep-alive", b"timeout=5"), (b"x-drop", b"1"), (b"x-twice", b"1"), (b"x-twice", b"2")]
        elif path == "/closing":
            headers.append((b"connection", b"close"))
        out = _answer(status, body, headers, reason)
        s.sendall(out[:out.index(b"\r\n\r\n") + 4] if head else out)
        return path != "/closing"


def readable(s, seconds):
    return bool(select.select([s], [], [], seconds)[0])
