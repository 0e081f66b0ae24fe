"""Raw HTTP/2 peers: a client that sends any frame in any order, and an upstream that records the frames it saw.

Framing and header encoding are written here, so that nothing is corrected on the way: header fields go out as literals without
indexing, bytes as given. Decoding uses the `hpack` module (not part of the standard library: call harness.enter_venv first).
"""
import socket
import ssl
import struct
import threading
import time

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
NAMES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION")
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 1, 1, 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM,
 CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED) = range(14)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    return struct.pack(">I", len(payload) if length is None else length)[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def integer(value, bits, first=0):
    """An HPACK integer with a prefix of `bits` bits."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def literal(name, value, indexed=False):
    """One header field; indexed=True puts it into the dynamic table."""
    name, value = _bytes(name), _bytes(value)
    return (b"\x40" if indexed else b"\x00") + integer(len(name), 7) + name + integer(len(value), 7) + value


def block(fields):
    return b"".join(literal(n, v) for n, v in fields)


def get(path="/ok", method="GET", authority="h", scheme="http", more=()):
    return [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)] + list(more)


def settings(*pairs):
    return b"".join(struct.pack(">HI", k, v) for k, v in pairs)


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    @property
    def code(self):
        """The error code of RST_STREAM or GOAWAY."""
        at = 4 if self.kind == GOAWAY else 0
        return struct.unpack(">I", self.payload[at:at + 4])[0]

    def __repr__(self):
        return "%s(flags=%d stream=%d %d bytes)" % (NAMES[self.kind] if self.kind < 10 else self.kind, self.flags, self.stream, len(self.payload))


class Stream:
    """What came back on one stream."""

    def __init__(self):
        self.status, self.headers, self.body, self.trailers = None, [], b"", []
        self.ended = False
        self.reset = None           # error code of RST_STREAM
        self.interim = []

    @property
    def over(self):
        return self.ended or self.reset is not None

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    def get(self, name, default=None):
        found = self.all(name)
        return found[0] if found else default

    def trailer(self, name):
        found = [v for n, v in self.trailers if n == name]
        return found[0] if found else None


class Receiver:
    """Turns bytes into frames and streams; shared by both ends."""

    def __init__(self):
        self.buffer = bytearray()
        self.decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self.block, self.block_stream, self.block_end = b"", 0, False
        self.frames = []

    def feed(self, data):
        """The frames that became complete."""
        self.buffer += data
        out = []
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7fffffff
            out.append(Frame(kind, flags, stream, bytes(self.buffer[9:9 + length])))
            del self.buffer[:9 + length]
        self.frames += out
        return out

    def headers(self, f):
        """The decoded fields once the block that this HEADERS or CONTINUATION frame belongs to is whole, else None."""
        payload = f.payload
        if f.kind == HEADERS:
            if f.flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            if f.flags & PRIORITY_FLAG:
                payload = payload[5:]
            self.block, self.block_stream, self.block_end = payload, f.stream, bool(f.flags & END_STREAM)
        else:
            self.block += payload
        if not f.flags & END_HEADERS:
            return None
        fields = self.decoder.decode(self.block, raw=True)
        return [(n.decode("latin-1"), v.decode("latin-1")) for n, v in fields]


class Client:
    """A connection to the proxy. Nothing is sent but what the caller says (start=True: preface and SETTINGS, acknowledged)."""

    def __init__(self, port, host="127.0.0.1", start=True, timeout=8, initial_settings=(), tls=None, server_name=None,
                 receive_buffer=None, open_window=True, source=None):
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
        self.timeout, self.open_window = timeout, open_window
        self.receiver = Receiver()
        self.streams, self.eof, self.was_reset = {}, False, False
        self.goaway, self.pings, self.settings_seen, self.settings_acked = None, [], [], 0
        self.next_stream = 1
        if start:
            self.send(PREFACE + frame(SETTINGS, payload=settings(*initial_settings)))

    # sending
    def send(self, data):
        try:
            self.socket.settimeout(self.timeout)
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            return False

    def frame(self, kind, flags=0, stream=0, payload=b"", length=None):
        return self.send(frame(kind, flags, stream, payload, length))

    def headers(self, stream, fields, end=True, more_flags=0):
        return self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0) | more_flags, stream, block(fields))

    def new_stream(self):
        self.next_stream += 2
        return self.next_stream - 2

    def request(self, fields=None, body=None, trailers=None, timeout=None):
        """Sends one request on a new stream and waits until its stream or the connection is over. It leaves in one write: between two, a
        proxy that fails at once may answer before it has seen a short body, and what it counts of it would be chance."""
        number = self.new_stream()
        out = frame(HEADERS, END_HEADERS | (END_STREAM if body is None and trailers is None else 0), number, block(fields or get()))
        if body is not None:
            for at in range(0, max(1, len(body)), 16384):
                last = at + 16384 >= len(body) and trailers is None
                out += frame(DATA, END_STREAM if last else 0, number, body[at:at + 16384])
        if trailers is not None:
            out += frame(HEADERS, END_HEADERS | END_STREAM, number, block(trailers))
        self.send(out)
        return self.wait_stream(number, timeout)

    # receiving
    def stream(self, number):
        return self.streams.setdefault(number, Stream())

    def pump(self, seconds):
        """Takes what arrives within the time (at least one read); False when nothing came."""
        if self.eof:
            return False
        self.socket.settimeout(max(0.001, seconds))
        try:
            data = self.socket.recv(65536)
        except (socket.timeout, ssl.SSLWantReadError):
            return False
        except (ConnectionResetError, OSError):
            self.was_reset = self.eof = True
            return False
        if not data:
            self.eof = True
            return False
        for f in self.receiver.feed(data):
            self._take(f)
        return True

    def _take(self, f):
        if f.kind in (HEADERS, CONTINUATION):
            fields = self.receiver.headers(f)
            if fields is None:
                return
            s = self.stream(self.receiver.block_stream)
            if s.status is None:
                status = int(dict(fields).get(":status", 0))
                if 100 <= status < 200:
                    s.interim.append(status)
                    return
                s.status, s.headers = status, [p for p in fields if p[0] != ":status"]
            else:
                s.trailers = fields
            s.ended = s.ended or self.receiver.block_end
        elif f.kind == DATA:
            s = self.stream(f.stream)
            payload = f.payload
            if f.flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            s.body += payload
            s.ended = s.ended or bool(f.flags & END_STREAM)
            if self.open_window and f.payload:
                self.frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(f.payload)))
                if not s.ended:
                    self.frame(WINDOW_UPDATE, 0, f.stream, struct.pack(">I", len(f.payload)))
        elif f.kind == RST_STREAM:
            s = self.stream(f.stream)
            if s.reset is None:
                s.reset = f.code
        elif f.kind == SETTINGS:
            if f.flags & ACK:
                self.settings_acked += 1
            else:
                for at in range(0, len(f.payload), 6):
                    self.settings_seen.append(struct.unpack(">HI", f.payload[at:at + 6]))
                self.frame(SETTINGS, ACK)
        elif f.kind == PING:
            if f.flags & ACK:
                self.pings.append(f.payload)
            else:
                self.frame(PING, ACK, 0, f.payload)
        elif f.kind == GOAWAY:
            self.goaway = f

    def until(self, condition, seconds=None):
        """True when the condition holds, False when the time is over or the connection ended without it."""
        deadline = time.monotonic() + (seconds or self.timeout)
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or self.eof:
                return condition()
            self.pump(left)
        return True

    def wait_stream(self, number, timeout=None):
        s = self.stream(number)
        self.until(lambda: s.over, timeout)
        return s

    def ended(self, seconds):
        return self.until(lambda: self.eof, seconds)

    def alive(self, timeout=3):
        """A PING is answered."""
        before = len(self.pings)
        if not self.frame(PING, 0, 0, b"alive???"):
            return False
        return self.until(lambda: len(self.pings) > before, timeout) and not self.eof

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---- upstream ---------------------------------------------------------------------------------------------------

class Seen:
    """One request as it arrived."""

    def __init__(self, fields):
        self.fields = fields
        self.headers = [(n, v) for n, v in fields if not n.startswith(":")]
        pseudo = dict((n, v) for n, v in fields if n.startswith(":"))
        self.method, self.target = pseudo.get(":method"), pseudo.get(":path")
        self.authority, self.scheme = pseudo.get(":authority"), pseudo.get(":scheme")
        self.body, self.trailers, self.complete, self.reset = b"", [], False, None

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    def get(self, name, default=None):
        found = self.all(name)
        return found[0] if found else default


class Upstream:
    """A prior-knowledge HTTP/2 server on 127.0.0.1. Paths: /ok /echo /size/N /trailers /status/N /s103 /hang
    /reset/CODE, /half/CODE (a reset after the head and a piece of body) /goaway (says GOAWAY, then answers)
    /refused (as often as `refusals` says the stream is refused, then answered) /leave (as often as `refusals` says GOAWAY below it)
    /grpc (a gRPC answer with status 0) /grpc/N (trailers-only with status N). Other paths answer 200 "ok"."""

    conversation = None         # a class of one connection, where the usual one is not enough

    def __init__(self, name="up2", port=0, host="127.0.0.1", initial_settings=()):
        self.name, self.initial_settings = name, initial_settings
        self.lock = threading.Lock()
        self.requests, self.connections, self.closed = [], 0, 0
        self.refusals, self.deaf, self.pings, self.goaways = 0, False, 0, 0   # deaf: PINGs are not answered
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

    def mark(self):
        with self.lock:
            return len(self.requests)

    def since(self, mark):
        with self.lock:
            return self.requests[mark:]

    def _accept(self):
        while not self.closing:
            try:
                s, _ = self.listening.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        try:
            (self.conversation or _Conversation)(self, s).run()
        except (OSError, ValueError, hpack.HPACKError):
            pass
        finally:
            s.close()
            with self.lock:
                self.closed += 1


class _Conversation:
    def __init__(self, upstream, s):
        self.upstream, self.socket = upstream, s
        self.receiver = Receiver()
        self.window, self.initial, self.windows = 65535, 65535, {}
        self.seen, self.waiting = {}, []        # waiting: [stream, body left, trailers]

    def run(self):
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        while len(data) < len(PREFACE):
            more = self.socket.recv(65536)
            if not more:
                return
            data += more
        if not data.startswith(PREFACE):
            raise ValueError("preface")
        self.socket.sendall(frame(SETTINGS, payload=settings(*self.upstream.initial_settings)))
        data = data[len(PREFACE):]
        while True:
            for f in self.receiver.feed(data):
                self.take(f)
            data = self.socket.recv(65536)
            if not data:
                return

    def take(self, f):
        out = b""
        if f.kind in (HEADERS, CONTINUATION):
            fields = self.receiver.headers(f)
            if fields is None:
                return
            number = self.receiver.block_stream
            if number in self.seen:
                self.seen[number].trailers = fields
            else:
                seen = self.seen[number] = Seen(fields)
                self.windows.setdefault(number, self.initial)
                with self.upstream.lock:
                    self.upstream.requests.append(seen)
            if self.receiver.block_end:
                self.complete(number)
        elif f.kind == DATA:
            seen = self.seen[f.stream]
            payload = f.payload[1:len(f.payload) - f.payload[0]] if f.flags & PADDED else f.payload
            if len(seen.body) < 1 << 20:
                seen.body += payload
            if f.payload:
                out += frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(f.payload)))
                if not f.flags & END_STREAM:
                    out += frame(WINDOW_UPDATE, 0, f.stream, struct.pack(">I", len(f.payload)))
            if f.flags & END_STREAM:
                self.complete(f.stream)
        elif f.kind == SETTINGS and not f.flags & ACK:
            for at in range(0, len(f.payload), 6):
                key, value = struct.unpack(">HI", f.payload[at:at + 6])
                if key == 4:
                    for number in self.windows:
                        self.windows[number] += value - self.initial
                    self.initial = value
            out += frame(SETTINGS, ACK)
        elif f.kind == PING and not f.flags & ACK:
            with self.upstream.lock:
                self.upstream.pings += 1
            if not self.upstream.deaf:
                out += frame(PING, ACK, 0, f.payload)
        elif f.kind == GOAWAY:
            with self.upstream.lock:
                self.upstream.goaways += 1
        elif f.kind == WINDOW_UPDATE:
            step = struct.unpack(">I", f.payload)[0] & 0x7fffffff
            if f.stream:
                self.windows[f.stream] = self.windows.get(f.stream, self.initial) + step
            else:
                self.window += step
            self.push()
        elif f.kind == RST_STREAM and f.stream in self.seen:
            self.seen[f.stream].reset = f.code
            self.waiting = [w for w in self.waiting if w[0] != f.stream]
        if out:
            self.socket.sendall(out)

    def complete(self, number):
        seen = self.seen[number]
        seen.complete = True
        path = (seen.target or "").partition("?")[0]
        fields = [(":status", "200"), ("x-served-by", self.upstream.name)]
        body, trailers = b"ok", None
        if path.startswith("/hang"):
            return
        if path.startswith("/reset/"):
            self.socket.sendall(frame(RST_STREAM, 0, number, struct.pack(">I", int(path[7:]))))
            return
        if path in ("/refused", "/leave"):
            with self.upstream.lock:
                refuse, self.upstream.refusals = self.upstream.refusals > 0, max(0, self.upstream.refusals - 1)
            if refuse and path == "/refused":
                self.socket.sendall(frame(RST_STREAM, 0, number, struct.pack(">I", REFUSED_STREAM)))
                return
            if refuse:
                self.socket.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", max(number - 2, 0), 0)))
                return
        if path == "/s103":
            self.socket.sendall(frame(HEADERS, END_HEADERS, number, block([(":status", "103"), ("link", "</style.css>")])))
        if path.startswith("/half/"):
            self.socket.sendall(frame(HEADERS, END_HEADERS, number, block(fields + [("content-length", "100")])) +
                                frame(DATA, 0, number, b"half") + frame(RST_STREAM, 0, number, struct.pack(">I", int(path[6:]))))
            return
        if path == "/goaway":
            self.socket.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", number, 0)))
        if path == "/echo":
            body = seen.body
        elif path.startswith("/size/"):
            body = b"s" * int(path[6:])
        elif path.startswith("/status/"):
            fields[0] = (":status", path[8:11])
        elif path == "/trailers":
            trailers = [("x-trailer", "end")]
        elif path == "/grpc":
            fields.append(("content-type", "application/grpc"))
            body, trailers = b"\0\0\0\0\2ok", [("grpc-status", "0")]
        elif path.startswith("/grpc/"):
            fields += [("content-type", "application/grpc"), ("grpc-status", path[6:]), ("grpc-message", "said")]
            self.socket.sendall(frame(HEADERS, END_HEADERS | END_STREAM, number, block(fields)))
            return
        if seen.method == "HEAD" or path == "/status/204" or path == "/status/304":
            self.socket.sendall(frame(HEADERS, END_HEADERS | END_STREAM, number, block(fields)))
            return
        if trailers is None:
            fields.append(("content-length", str(len(body))))
        self.socket.sendall(frame(HEADERS, END_HEADERS, number, block(fields)))
        self.waiting.append([number, memoryview(body), trailers])
        self.push()

    def push(self):
        """Sends what the windows allow."""
        out, left = bytearray(), []
        for item in self.waiting:
            number, body, trailers = item
            done = False
            while not done:
                room = min(16384, self.window, self.windows.get(number, 0))
                piece = body[:max(0, room)]
                if body and not piece:
                    break
                body = item[1] = body[len(piece):]
                self.window -= len(piece)
                self.windows[number] = self.windows.get(number, 0) - len(piece)
                done = not body
                out += frame(DATA, END_STREAM if done and trailers is None else 0, number, bytes(piece))
            if done and trailers is not None:
                out += frame(HEADERS, END_HEADERS | END_STREAM, number, block(trailers))
            if not done:
                left.append([number, body, trailers])
        self.waiting = left
        if out:
            self.socket.sendall(out)
