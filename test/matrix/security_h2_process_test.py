#!/usr/bin/env python3
"""Rows 157-223 of the matrix of attacks and faults: HTTP/2 from the client, as raw frames on a cleartext listener.

Each case asserts on frames to the client, requests at the upstream, the access-log line and counters; then a clean request on a new
connection is served and the gauges are at rest. What the reference proxy does with its own defaults is written beside (envoy=...).
"""
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import matrix_lanes
from matrix_lanes import Lanes, check, harness

harness.enter_venv("hpack")
import h1
import h2
from h2 import (ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR,
                FRAME_SIZE_ERROR, GOAWAY, HEADERS, INTERNAL_ERROR, NO_ERROR, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
                REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, block, frame, get, integer, literal, settings)

chosen = None
lanes = None
TABLE, SERIAL = [], []
U32 = struct.Struct(">I").pack


def outrider():
    return chosen.proxy == "outrider"


# ---- expectations -------------------------------------------------------------------------------------------------

class Stream:
    """S2: the stream is reset and the connection lives; or, for kept=False, the connection ends. Stream 1 unless said."""

    def __init__(self, details=None, codes=(PROTOCOL_ERROR,), kept=True, counters=None, statuses=(), logged=True, stream=1, flags="DPE"):
        self.details = (details,) if isinstance(details, str) else details
        self.codes, self.kept, self.counters, self.statuses = codes, kept, counters, statuses
        self.logged, self.stream, self.flags = logged, stream, flags

    def on_wire(self, client):
        if outrider() and self.kept:
            s = client.wait_stream(self.stream, 4)
            if s.status in self.statuses:
                return
            check(s.reset is not None, "stream %d was not reset: status %s, goaway %s, ended %s" % (
                self.stream, s.status, client.goaway and client.goaway.code, client.eof))
            check(s.reset in self.codes, "stream reset with code %d, expected %s" % (s.reset, self.codes))
            check(client.alive(), "the connection did not outlive the stream")
        else:
            client.until(lambda: client.eof or client.goaway or client.stream(self.stream).over, 4)
            s = client.stream(self.stream)
            check(client.eof or client.goaway or s.reset is not None or s.status in self.statuses, "neither the stream nor the connection ended: status %s" % s.status)

    def log(self, lane):
        if not self.logged:
            return
        line = lane.log.take(1)[0]
        code, flags, details = line.split("|")[:3]
        check(code == "0" or int(code) in self.statuses, "log has code %s" % code)
        if outrider():
            check(flags == self.flags or int(code) in self.statuses, "log has flags %s" % flags)
        check(self.details is None or details in self.details, "log has details %s, expected %s" % (details, self.details))

    def count(self):
        if self.counters is not None:
            return self.counters
        return {"http2.rx_messaging_error": (1, 99), "http2.tx_reset": (1, 99)} if outrider() else {"http2.rx_messaging_error": (1, 99)}


class Connection:
    """C2: GOAWAY with one of the codes, then FIN; the reference may end the connection without GOAWAY."""

    def __init__(self, *codes, counters=None, within=2.5):
        self.codes, self.counters, self.within = codes, counters or {}, within

    def on_wire(self, client):
        check(client.ended(self.within + 2), "the connection is still open")
        if outrider():
            check(client.goaway is not None or client.was_reset, "ended without GOAWAY")
            if client.goaway is not None:
                check(not self.codes or client.goaway.code in self.codes, "GOAWAY has code %d, expected %s" % (client.goaway.code, self.codes))

    def log(self, lane):
        pass

    def count(self):
        counters = {"http.{p}.downstream_cx_protocol_error": (1, 9)} if outrider() else {}
        counters.update(self.counters)
        return counters


class Served:
    def __init__(self, status=200, see=None, details=None, stream=1, kept=True, counters=None):
        self.status, self.see, self.details, self.stream, self.kept, self.counters = status, see, details, stream, kept, counters or {}

    def on_wire(self, client):
        s = client.wait_stream(self.stream, 6)
        check(s.status == self.status and s.ended, "status %s, reset %s, goaway %s; expected %s" % (
            s.status, s.reset, client.goaway and client.goaway.code, self.status))
        check(not self.kept or client.alive(), "the connection did not live on")

    def log(self, lane):
        line = lane.log.take(1)[0]
        code, flags, details = line.split("|")[:3]
        check(code == str(self.status), "log has code %s" % code)
        check(self.details is None or details == self.details, "log has details %s, expected %s" % (details, self.details))

    def count(self):
        return self.counters


class Either:
    """One of several honest outcomes."""

    def __init__(self, *wants, counters=None, details=None):
        self.wants, self.counters = wants, counters or {}
        self.details = details

    def on_wire(self, client):
        reasons = []
        for want in self.wants:
            try:
                want.on_wire(client)
                self.taken = want
                return
            except harness.Failure as error:
                reasons.append(str(error))
        raise harness.Failure(" / ".join(reasons))

    def log(self, lane):
        if self.details:
            line = harness.wait_for(lambda: [l for l in lane.log.fresh() if self.details.encode() in l], 3, "a log line with %s" % self.details)

    def count(self):
        return self.counters


def request_at_upstream(lane):
    def saw(mark):
        requests, _ = lane.upstream.since(mark)
        return [r for r in requests if r.complete]
    return saw


def clean_request(lane, path):
    with h2.Client(lane.port) as client:
        return client.request(get(path)).status


def follow_up(lane):
    matrix_lanes.follow_up(lane, clean_request)


def play(name, action, want, envoy=None, variant="plain", requests=None, client_options=None, lane=None):
    """One case. `action(client)` sends; `requests` bounds the whole requests that the upstream may see (least, most)."""
    if lane is None:
        with lanes.use(variant) as lane:
            return play(name, action, want, envoy, variant, requests, client_options, lane)
    if not outrider() and envoy is not None:
        want = envoy
    try:
        lane.log.skip()
        mark, counters = lane.upstream.mark(), harness.Counters(lanes.proxy, lane.pattern())
        with h2.Client(lane.port, **(client_options or {})) as client:
            action(client)
            want.on_wire(client)
            want.log(lane)
            served = isinstance(want, Served)
            least, most = requests or ((1, 1) if served and want.status == 200 else (0, 0))
            whole = [r for r in lane.upstream.since(mark)[0] if r.complete]
            check(least <= len(whole) <= most or isinstance(want, Either) and requests is None, "upstream saw %d whole requests, expected %d to %d" % (len(whole), least, most))
            if served and want.see:
                want.see(whole[0], client.stream(want.stream))
            counters.expect({k.format(p=lane.name): v for k, v in want.count().items()})
        check(not lane.upstream.bad(), "upstream could not read plainly: %s" % lane.upstream.bad())
        follow_up(lane)
    except (harness.Failure, OSError) as error:
        matrix_lanes.outcome(lambda: follow_up(lane))
        raise harness.Failure("%s: %s" % (name, error))


class Case:
    def __init__(self, name, action, want, envoy=None, **more):
        self.arguments, self.more = (name, action, want, envoy), more

    def run(self):
        play(*self.arguments, **self.more)


def row(number, *cases, alone=False):
    def story():
        for case in cases:
            case.run()
    (SERIAL if alone else TABLE).append((number, story))


def story(number, alone=False):
    def register(function):
        (SERIAL if alone else TABLE).append((number, function))
        return function
    return register


RULE, FIELD = "http2.violation.of.messaging.rule", "http2.invalid.header.field"


def fields(name, list_, want, envoy=None, end=True, body=None, **more):
    """HEADERS on stream 1 with exactly these fields; then DATA if there is a body."""
    def action(client):
        client.headers(1, list_, end=end and body is None)
        if body is not None:
            client.frame(DATA, END_STREAM, 1, body)
    return Case(name, action, want, envoy, **more)


def without(pseudo):
    return [p for p in get() if p[0] != pseudo]


def with_(*more, **kind):
    return get(more=more, **kind)


def lacks(name):
    def see(request, stream):
        check(not request.all(name), "upstream got %s: %r" % (name, request.all(name)))
    return see


def has(name, value):
    def see(request, stream):
        check(request.all(name) == [value], "upstream got %s: %r, expected %r" % (name, request.all(name), value))
    return see


def method_is(method):
    def see(request, stream):
        check(request.method == method, "upstream got the method %r" % request.method)
    return see


# ---- messages -----------------------------------------------------------------------------------------------------

# matrix: 157
row(157, *[fields("no-" + p[1:], without(p), Stream(RULE)) for p in (":method", ":scheme", ":path")])
# matrix: 158
row(158, fields("no-authority", without(":authority"), Stream(RULE)))
# matrix: 159
row(159, fields("host-only", without(":authority") + [("host", "h")], Served(see=has("host", "h"))),
    fields("host-eq-auth", with_(("host", "h")), Served(see=has("host", "h"))))
# matrix: 160
row(160, fields("dup-path", get() + [(":path", "/ok")], Stream(FIELD)), fields("dup-auth", get() + [(":authority", "h")], Stream(FIELD)))
# matrix: 161
row(161, fields("pseudo-after", without(":path") + [("x", "y"), (":path", "/ok")], Stream(FIELD)),
    fields("pseudo-unk", [(":unknown", "x")] + get(), Stream(FIELD)), fields("pseudo-status", [(":status", "200")] + get(), Stream(FIELD)))
# matrix: 162
row(162, *[fields(n, get(p), Stream()) for n, p in (("path-empty", ""), ("path-noslash", "ok"), ("path-star-get", "*"), ("path-abs", "http://h/ok"))])
# matrix: 163
row(163, fields("path-space", get("/o k"), Stream(FIELD)), fields("path-crlf", get("/ok HTTP/1.1\r\nX: y"), Stream(FIELD)))
# matrix: 164
row(164, fields("path-frag", get("/ok#frag"), Served(400, details="path_normalization_failed")))
# matrix: 165
row(165, fields("path-hi", get("/\xff"), Stream(), Served()))
# matrix: 166
row(166, fields("method-space", get(method="GE T"), Stream(FIELD)), fields("method-crlf", get(method="GET\r\nX: y"), Stream(FIELD)))
# matrix: 167
row(167, fields("method-lower", get(method="get"), Served(see=method_is("get"))), fields("method-custom", get(method="CUSTOM"), Served(see=method_is("CUSTOM"))))
# matrix: 168
row(168, fields("scheme-bad", get(scheme="ht tp"), Stream()), fields("scheme-bad-digit", get(scheme="1http"), Stream()))
# matrix: 169
row(169, fields("scheme-https-plain", get(scheme="https"), Served(see=has("x-forwarded-proto", "http")), Served()),
    fields("scheme-ftp", get(scheme="ftp"), Stream(), Served()))
# matrix: 170
row(170, *[fields("auth-" + n, get(authority=a), Stream(FIELD)) for n, a in (("userinfo", "u@h"), ("space", "a b"), ("slash", "h/x"), ("empty", ""))])
# matrix: 171
row(171, fields("hdr-upper", with_(("X-Upper", "v")), Stream(FIELD)))
# matrix: 172
row(172, *[fields("hdr-name-%r" % n, with_((n, "v")), Stream()) for n in ("a b", "a:b", "a\r\nb", "a\0b", "a\xff", "")])
# matrix: 173
row(173, *[fields("hdr-val-%r" % v, with_(("x", v)), Stream()) for v in ("a\rb", "a\nb", "a\r\nb: c", "a\0b")])
# matrix: 174
row(174, *[fields("hdr-val-%r" % v, with_(("x", v)), Stream()) for v in ("a\x01b", "a\x7fb")])


def trimmed(request, stream):
    check(b"\r\nx: a\r\n" in request.head.lower(), "upstream got %r" % request.head)


# matrix: 175
row(175, *[fields("hdr-val-ws %r" % v, with_(("x", v)), Either(Stream(), Served(see=trimmed)), Served()) for v in (" a", "a ", "\ta")])
# matrix: 176
row(176, *[fields("cs-" + n, with_((n, v)), Stream(FIELD)) for n, v in (
    ("connection", "close"), ("keep-alive", "timeout=5"), ("proxy-connection", "close"), ("upgrade", "h2c"), ("transfer-encoding", "chunked"))])
# matrix: 177
row(177, fields("cs-http2-settings", with_(("http2-settings", "AAMAAABkAAQAAP__")), Served(see=lacks("http2-settings")), Served()))
# matrix: 178
row(178, fields("te-gzip", with_(("te", "gzip")), Stream()), fields("te-trailers", with_(("te", "trailers")), Served()))
POST = dict(method="POST")
# matrix: 179
row(179, fields("cl-long", with_(("content-length", "10"), **POST), Stream(counters={}), body=b"12345"),
    fields("cl-short", with_(("content-length", "2"), **POST), Stream(counters={}), body=b"12345"))
# matrix: 180
row(180, fields("cl-endstream", with_(("content-length", "5"), **POST), Stream(RULE)))
# matrix: 181
row(181, *[fields(n, with_(*[("content-length", v) for v in vs], **POST), Stream(), body=b"ab") for n, vs in (
    ("cl-dup", ("2", "2")), ("cl-dup-diff", ("2", "3")), ("cl-bad", ("+2",)))])


def trailers(*list_, end=True):
    def action(client):
        client.headers(1, get("/echo", "POST"), end=False)
        client.frame(DATA, 0, 1, b"abc")
        client.headers(1, list_, end=end)
    return action


# matrix: 182
row(182, Case("trailers", trailers(("x-t", "v")), Served()),
    Case("trailers-pseudo", trailers((":path", "/evil")), Stream(counters={})),
    Case("trailers-te", trailers(("transfer-encoding", "chunked")), Stream(counters={})),
    Case("trailers-no-es", trailers(("x-t", "v"), end=False), Either(Stream(counters={}), Connection())))
# matrix: 183
row(183, fields("connect-path", [(":method", "CONNECT"), (":scheme", "http"), (":authority", "h:80"), (":path", "/ok")], Stream()),
    fields("connect-ext", [(":method", "CONNECT"), (":scheme", "http"), (":authority", "h"), (":path", "/ok"), (":protocol", "websocket")], Stream(), end=False))

# ---- size of heads --------------------------------------------------------------------------------------------------

ANY = tuple(range(14))


def overflow(details, counters=None):
    """431, or a reset, with the named details; the reference resets with INTERNAL_ERROR."""
    return Stream(details, codes=ANY, statuses=(431,), counters={"http2.header_overflow": (1, 99)} if counters is None else counters)


# matrix: 184
row(184, fields("hdr-120", with_(*[("x-%d" % i, "v") for i in range(120)]), overflow("http2.too_many_headers")),
    fields("cookies-200", with_(*[("cookie", "c%d=1" % i) for i in range(200)]), overflow("http2.too_many_headers")))


def long_head(pieces):
    """A head in as many CONTINUATION frames as it takes."""
    def action(client):
        data = block(get()) + b"".join(pieces)
        parts = [data[i:i + 16384] for i in range(0, len(data), 16384)]
        out = b""
        for i, part in enumerate(parts):
            last = END_HEADERS if i == len(parts) - 1 else 0
            out += frame(HEADERS, END_STREAM | last, 1, part) if i == 0 else frame(CONTINUATION, last, 1, part)
        client.send(out)
    return action


TOO_LONG = "http2.header_list_size_too_large"
# matrix: 185
row(185, Case("hdr-many-70k", long_head([literal("x-%d" % i, "v" * 7000) for i in range(10)]), overflow(TOO_LONG, {})),
    Case("cookies-300k", long_head([literal("cookie", "c" * 4000) for i in range(75)]),
         Either(overflow((TOO_LONG, "http2.too_many_headers"), {}), Connection(ENHANCE_YOUR_CALM))))
# matrix: 186
row(186, Case("hdr-70k", long_head([literal("x", "v" * 70000)]), Either(Connection(COMPRESSION_ERROR), overflow(TOO_LONG, {}))))


# matrix: 187
@story(187, alone=True)
def a_header_bomb_stays_small():
    for name, field in (("hpack-bomb-58MB", "x"), ("hpack-cookie-bomb-8MB", "cookie")):
        before = lanes.proxy.memory_kib()
        count = 14500 if field == "x" else 2000
        bomb = long_head([literal(field, "v" * 4000, indexed=True)] + [b"\xbe"] * count)
        play(name, bomb, Either(Stream(codes=ANY, statuses=(431,), counters={}), Connection()))
        grown = lanes.proxy.memory_kib() - before
        check(grown < (512 if outrider() else 8192), "%s: resident memory grew by %d KiB" % (name, grown))


def raw_head(data):
    return lambda client: client.frame(HEADERS, END_HEADERS | END_STREAM, 1, data)


BAD_BLOCK = Connection(COMPRESSION_ERROR)
# matrix: 188
row(188, Case("hpack-bad-index", raw_head(block(get()) + integer(200, 7, 0x80)), BAD_BLOCK),
    Case("hpack-index-0", raw_head(block(get()) + b"\x80"), BAD_BLOCK),
    Case("hpack-int-overflow", raw_head(block(get()) + b"\xff" + b"\xff" * 12 + b"\x01"), BAD_BLOCK),
    Case("hpack-table-size", raw_head(integer(1 << 24, 5, 0x20) + block(get())), BAD_BLOCK),
    Case("hpack-truncated", raw_head(block(get()) + b"\x00\x05ab"), BAD_BLOCK),
    Case("hpack-huffman-eos", raw_head(block(get()) + b"\x00\x01a\x84\xff\xff\xff\xff"), BAD_BLOCK))


def continuations(count, piece, first=block(get()), end=False):
    def action(client):
        out = frame(HEADERS, END_STREAM, 1, first)
        for i in range(count):
            out += frame(CONTINUATION, END_HEADERS if end and i == count - 1 else 0, 1, piece(i))
        client.send(out)
    return action


# matrix: 189
row(189, Case("cont-flood-200-nz", continuations(200, lambda i: literal("x-%d" % i, "v"), end=True), Connection(ENHANCE_YOUR_CALM),
              Stream("http2.too_many_headers", counters={})))


# matrix: 190
@story(190, alone=True)
def two_thousand_continuations_are_cheap():
    before = lanes.proxy.cpu_seconds()
    play("cont-flood-small-2000", continuations(2000, lambda i: literal("x", "v")), Connection(ENHANCE_YOUR_CALM))
    spent = lanes.proxy.cpu_seconds() - before
    check(spent <= 0.06, "%.0f ms of CPU" % (1000 * spent))       # the clock has ticks of 10 ms; includes the clean request


# matrix: 191
@story(191, alone=True)
def an_endless_header_block_dies_at_once():
    with lanes.use("plain") as lane:
        with h2.Client(lane.port) as client:
            client.frame(HEADERS, END_STREAM, 1, block(get()))
            piece = b"".join(frame(CONTINUATION, 0, 1, literal("x-%d" % i, "v")) for i in range(1000))
            started = time.monotonic()
            while client.send(piece) and time.monotonic() - started < 5:
                client.pump(0.001)
                if client.eof:
                    break
            lived = time.monotonic() - started
        check(lived < 1.5, "the flood was taken for %.1f s" % lived)
        follow_up(lane)


EMPTY = {"http2.inbound_empty_frames_flood": (1, 99)}
# matrix: 192
row(192, Case("cont-empty-10", continuations(10, lambda i: b""), Connection(counters=EMPTY)),
    Case("headers-empty-2", lambda c: c.send(frame(HEADERS, END_STREAM, 1) + frame(CONTINUATION, 0, 1) + frame(CONTINUATION, 0, 1)), Connection(counters=EMPTY)))
# matrix: 193
row(193, Case("cont-interleave", lambda c: c.send(frame(HEADERS, END_STREAM, 1, block(get())) + frame(PING, 0, 0, b"12345678")), Connection(PROTOCOL_ERROR)))
# matrix: 194
row(194, Case("cont-alone", lambda c: c.frame(CONTINUATION, END_HEADERS, 1, block(get())), Connection(PROTOCOL_ERROR)))


# ---- floods ---------------------------------------------------------------------------------------------------------

def data_frames(count, flags, payload):
    def action(client):
        client.headers(1, get("/echo", "POST"), end=False)
        client.send(frame(DATA, flags, 1, payload) * count)
        client.frame(DATA, END_STREAM, 1, b"end")
    return action


# matrix: 195
row(195, Case("data-empty-10", data_frames(10, 0, b""), Connection(counters=EMPTY)),
    Case("data-empty-pad-10", data_frames(10, PADDED, b"\x05\0\0\0\0\0"), Connection(counters=EMPTY)))


def two_thousand_bytes(request, stream):
    check(stream.body == b"d" * 2000 + b"end", "%d bytes came back" % len(stream.body))


# matrix: 196
row(196, Case("data-1byte-2000", data_frames(2000, 0, b"d"), Served(see=two_thousand_bytes)))


def unread(count, data):
    """Sends without reading, in writes of up to 64 KiB."""
    def action(client):
        left = data * count
        while left and client.send(left[:65536]):
            left = left[65536:]
    return action


CONTROL = {"http2.outbound_control_flood": (0, 99)}
# matrix: 197
row(197, *[Case("ping-%d" % n, unread(n, frame(PING, 0, 0, b"12345678")), Connection(counters=CONTROL)) for n in (1200, 12000)])
# matrix: 198
row(198, *[Case("settings-%d" % n, unread(n, frame(SETTINGS)), Connection(counters=CONTROL)) for n in (1200, 12000)])
# matrix: 199
row(199, *[Case("settings-%dentries" % n, lambda c, n=n: c.frame(SETTINGS, 0, 0, settings(*[(0x99, i) for i in range(n)])),
                Connection(ENHANCE_YOUR_CALM)) for n in (33, 2000)])
# matrix: 200
row(200, Case("prio-300", lambda c: (c.headers(1, get("/hang", "POST"), end=False), c.send(frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 300)),
              Connection(counters={"http2.inbound_priority_frames_flood": (1, 9)})))
# matrix: 201
row(201, Case("wu-50-idle", lambda c: c.send(frame(WINDOW_UPDATE, 0, 0, U32(1)) * 50),
              Connection(counters={"http2.inbound_window_update_frames_flood": (1, 9)})))


def on_open_stream(data, path="/hang"):
    return lambda client: (client.headers(1, get(path, "POST"), end=False), client.send(data))


# matrix: 202
row(202, Case("wu-zero-conn", lambda c: c.frame(WINDOW_UPDATE, 0, 0, U32(0)), Connection(PROTOCOL_ERROR)),
    Case("wu-zero-stream", on_open_stream(frame(WINDOW_UPDATE, 0, 1, U32(0))), Either(Stream(counters={}, logged=False), Connection(PROTOCOL_ERROR))))
# matrix: 203
row(203, Case("wu-ovf-conn", lambda c: c.frame(WINDOW_UPDATE, 0, 0, U32(0x7fffffff)), Connection(FLOW_CONTROL_ERROR)),
    Case("wu-ovf-stream", on_open_stream(frame(WINDOW_UPDATE, 0, 1, U32(0x7fffffff))), Stream(codes=(FLOW_CONTROL_ERROR,), counters={}, logged=False)))


def rapid_reset(count, path="/hang"):
    def action(client):
        head = block(get(path))
        out = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * i, head) + frame(RST_STREAM, 0, 1 + 2 * i, U32(CANCEL)) for i in range(count))
        client.send(out)
    return action


class Alive:
    """The connection answers a PING and serves a request."""

    def on_wire(self, client):
        check(client.alive(), "the connection ended; goaway %s" % (client.goaway and client.goaway.code))

    def log(self, lane):
        pass

    def count(self):
        return {}


# matrix: 204
row(204, Case("rapid-reset-90", rapid_reset(90), Alive(), requests=(0, 90), variant="flood"),   # the budget: 100, then 20 a second
    *[Case("rapid-reset-%d" % n, rapid_reset(n), Connection(ENHANCE_YOUR_CALM, counters={
        "http.{p}.downstream_rq_too_many_premature_resets": 1}), requests=(0, 5), variant="flood") for n in (600, 1200)])


# matrix: 205
@story(205, alone=True)
def a_reset_storm_of_many_connections_leaves_others_served():
    with lanes.use("plain") as lane, lanes.use("plain") as other:
        over = threading.Event()

        def storm():
            try:
                with h2.Client(lane.port) as client:
                    rapid_reset(600)(client)
                    client.ended(3)
            except OSError:
                pass
        threads = [threading.Thread(target=storm) for _ in range(100)]
        for t in threads:
            t.start()
        slow = []
        with h2.Client(other.port) as client:
            while any(t.is_alive() for t in threads) and len(slow) < 200:
                started = time.monotonic()
                check(client.request(timeout=5).status == 200, "a quiet client was not served")
                slow.append(time.monotonic() - started)
        for t in threads:
            t.join()
        check(sorted(slow)[int(len(slow) * 0.9)] < 1.0, "p90 of a quiet client %.2f s" % sorted(slow)[int(len(slow) * 0.9)])
        follow_up(lane)
        follow_up(other)


def made_resets(kind, count=600):
    def action(client):
        head, out = block(get("/hang", "POST")), b""
        for i in range(count):
            n = 1 + 2 * i
            if kind == "data":
                out += frame(HEADERS, END_HEADERS | END_STREAM, n, head) + frame(DATA, 0, n, b"late")
            elif kind == "prio":
                out += frame(HEADERS, END_HEADERS, n, head) + frame(PRIORITY, 0, n, U32(n) + b"\x10") + frame(RST_STREAM, 0, n, U32(CANCEL))
            else:
                out += frame(HEADERS, END_HEADERS, n, head) + frame(WINDOW_UPDATE, 0, n, U32(0 if kind == "zero" else 0x7fffffff))
        client.send(out)
    return action


# matrix: 206
row(206, *[Case("madeyoureset-" + kind, made_resets(kind), Connection(ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED, FLOW_CONTROL_ERROR, NO_ERROR),
                requests=(0, 250), variant="flood") for kind in ("zero", "overflow", "data", "prio")])


def open_streams(count, path="/hang"):
    def action(client):
        head = block(get(path))
        client.send(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * i, head) for i in range(count)))
    return action


class Refused:
    def __init__(self, least, most):
        self.least, self.most = least, most

    def on_wire(self, client):
        refused = lambda: sum(1 for s in client.streams.values() if s.reset == REFUSED_STREAM)
        client.until(lambda: refused() >= self.least or client.eof, 4)
        check(self.least <= refused() <= self.most, "%d streams refused, expected %d to %d" % (refused(), self.least, self.most))

    def log(self, lane):
        pass

    def count(self):
        return {"http2.stream_refused_errors": (self.least, 9999)} if outrider() and self.least else {}


# matrix: 207
row(207, Case("streams-101", open_streams(101), Refused(1, 1), Refused(0, 0), requests=(0, 101), variant="flood"),
    Case("streams-1100", open_streams(1100), Either(Connection(ENHANCE_YOUR_CALM), Refused(1000, 1000)), Refused(76, 76), requests=(0, 1024), variant="burst"))


# ---- states and sizes -----------------------------------------------------------------------------------------------

CLOSED = Connection(STREAM_CLOSED, PROTOCOL_ERROR)


def after_end(data):
    return lambda client: (client.headers(1, get("/hang")), client.send(data))


def decreasing(client):
    client.headers(5, get())
    client.wait_stream(5)
    client.headers(3, get())


# matrix: 208
row(208, Case("data-idle", lambda c: c.frame(DATA, END_STREAM, 5, b"x"), CLOSED),
    Case("data-after-es", after_end(frame(DATA, 0, 1, b"x")), Either(CLOSED, Stream(codes=(STREAM_CLOSED,), logged=False, counters={})), requests=(0, 1)),
    Case("hdrs-after-es", after_end(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(get()))), Either(CLOSED, Stream(codes=(STREAM_CLOSED,), logged=False, counters={})), requests=(0, 1)),
    Case("even-id", lambda c: c.headers(2, get()), Connection(PROTOCOL_ERROR)),
    Case("sid-0", lambda c: c.headers(0, get()), Connection(PROTOCOL_ERROR)),
    Case("sid-decr", decreasing, Connection(PROTOCOL_ERROR, STREAM_CLOSED), Alive(), requests=(1, 2)))
# matrix: 209
row(209, Case("push-promise", lambda c: c.send(frame(HEADERS, END_HEADERS, 1, block(get("/hang", "POST"))) + frame(PUSH_PROMISE, END_HEADERS, 1, U32(2) + block(get()))), Connection(PROTOCOL_ERROR)))
# matrix: 210
row(210, Case("frame-too-big", on_open_stream(frame(DATA, 0, 1, b"d" * 16385)), Connection(FRAME_SIZE_ERROR)),
    Case("hdr-frame-too-big", lambda c: c.frame(HEADERS, END_HEADERS | END_STREAM, 1, block(get(more=[("x", "v" * 16400)]))), Connection(FRAME_SIZE_ERROR)))
# matrix: 211
row(211, Case("pad-ovf", on_open_stream(frame(DATA, PADDED, 1, b"\x09abc")), Connection(PROTOCOL_ERROR)),
    Case("pad-ovf-headers", lambda c: c.frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\xff" + block(get())), Connection(PROTOCOL_ERROR)))
# matrix: 212
row(212, Case("settings-len-5", lambda c: c.frame(SETTINGS, 0, 0, b"12345"), Connection(FRAME_SIZE_ERROR)),
    Case("settings-window", lambda c: c.frame(SETTINGS, 0, 0, settings((4, 1 << 31))), Connection(FLOW_CONTROL_ERROR)),
    Case("settings-frame-size", lambda c: c.frame(SETTINGS, 0, 0, settings((5, 1))), Connection(PROTOCOL_ERROR)),
    Case("settings-push", lambda c: c.frame(SETTINGS, 0, 0, settings((2, 2))), Connection(PROTOCOL_ERROR)),
    Case("settings-ack-payload", lambda c: c.frame(SETTINGS, ACK, 0, settings((3, 1))), Connection(FRAME_SIZE_ERROR)),
    Case("settings-on-stream", lambda c: c.frame(SETTINGS, 0, 1, settings((3, 1))), Connection(PROTOCOL_ERROR)))
# matrix: 213
row(213, Case("ping-len", lambda c: c.frame(PING, 0, 0, b"1234567"), Connection(FRAME_SIZE_ERROR)),
    Case("ping-sid", lambda c: c.frame(PING, 0, 1, b"12345678"), Connection(PROTOCOL_ERROR)))
# matrix: 214
row(214, Case("unknown-frame-500", lambda c: (c.send(frame(0x42, 0x55, 0, b"?") * 500), c.headers(1, get())), Served()))
# matrix: 215
row(215, Case("unknown-frame-100000", lambda c: (unread(100000, frame(0x42, 0, 0, b""))(c), c.headers(1, get())),
              Connection(ENHANCE_YOUR_CALM), Served()))
# matrix: 216
row(216, Case("goaway-then-req", lambda c: (c.frame(GOAWAY, 0, 0, U32(0) + U32(0)), c.headers(1, get())), Served(kept=False)))
NO_START = {"start": False}
# matrix: 217
row(217, Case("bad-preface", lambda c: c.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + frame(SETTINGS)), Connection(PROTOCOL_ERROR), variant="strict", client_options=NO_START),
    Case("no-settings-first", lambda c: c.send(PREFACE + frame(PING, 0, 0, b"12345678")), Connection(PROTOCOL_ERROR), variant="strict", client_options=NO_START))


# ---- time -----------------------------------------------------------------------------------------------------------

class Ends:
    def on_wire(self, client):
        check(client.ended(6), "still open after 6 s")

    def log(self, lane):
        pass

    def count(self):
        return {}


# matrix: 218
row(218, Case("partial-preface", lambda c: c.send(b"PRI * HTTP/2.0\r\n"), Ends(), variant="timers", client_options=NO_START))


class HeaderTimeout:
    def on_wire(self, client):
        s = client.wait_stream(1, 6)
        check(s.status == 408 or not outrider() and (client.eof or s.over), "status %s, reset %s, ended %s" % (s.status, s.reset, client.eof))
        check(client.ended(6) or client.goaway, "neither GOAWAY nor FIN when idle")

    def log(self, lane):
        line = lane.log.take(1)[0]
        check(not outrider() or "request_header_timeout" in line, "log %r" % line)

    def count(self):
        return {}


# matrix: 219
row(219, Case("half a head", lambda c: (c.until(lambda: c.settings_seen and c.settings_acked),   # no frame may come between
                                        c.frame(HEADERS, END_STREAM, 1, block(get()))), HeaderTimeout(), variant="timers"))


class FlushTimeout:
    def on_wire(self, client):
        for number in (1, 3):
            s = client.wait_stream(number, 8)
            check(s.reset in ((CANCEL,) if outrider() else (CANCEL, INTERNAL_ERROR)), "stream %d: status %s, reset %s" % (number, s.status, s.reset))

    def log(self, lane):
        pass

    def count(self):
        return {"http2.tx_flush_timeout": (1, 9)}


# matrix: 220
row(220, Case("window 0 for ever", lambda c: (c.headers(1, get("/size/1000")), c.headers(3, get("/size/8000000"))), FlushTimeout(),
              variant="timers", client_options={"initial_settings": ((4, 0),)}, requests=(2, 2)))


# matrix: 221
@story(221, alone=True)
def many_stalled_answers_are_bounded():
    with lanes.use("plain") as lane:
        before = lanes.proxy.memory_kib()
        with h2.Client(lane.port, initial_settings=((4, 0),)) as client:
            open_streams(100, "/size/1000000")(client)
            done = lambda: sum(1 for s in client.streams.values() if s.status == 200 or s.over) >= 100 or client.eof
            check(client.until(done, 15), "only %d of 100 heads came" % sum(1 for s in client.streams.values() if s.status))
            harness.wait_for(steady, 8, "the buffers to settle", pause=0.1)
            grown = lanes.proxy.memory_kib() - before
            check(not outrider() or grown < 24 * 1024, "100 stalled answers hold %d KiB" % grown)
        lane.log.skip()
        follow_up(lane)


_readings = []


def steady():
    """The last three readings of the proxy's memory are alike."""
    _readings.append(lanes.proxy.memory_kib())
    return len(_readings) >= 3 and max(_readings[-3:]) - min(_readings[-3:]) <= 64


# matrix: 222
@story(222)
def a_closing_client_does_not_hurt_the_upstream_connection():
    with lanes.use("h2up") as lane:
        counters = harness.Counters(lanes.proxy, "^http2.|^cluster.%s." % lane.name)
        mark = lane.upstream.mark()
        with h2.Client(lane.port) as client:
            open_streams(80)(client)
            harness.wait_for(lambda: len(lane.upstream.since(mark)[0]) == 80, 8, "80 requests upstream")
            client.alive()
        harness.wait_for(lambda: sum(1 for r in lane.upstream.since(mark)[0] if r.reset is not None) == 80, 5, "80 resets upstream")
        moved = counters.now()
        check(moved.get("http2.outbound_control_flood", 0) == 0 and moved.get("cluster.%s.http2.outbound_control_flood" % lane.name, 0) == 0, "control flood counted")
        lane.log.skip()
        follow_up(lane)
        check(lane.upstream.closed == 0, "the upstream connection was lost")


def h2spec_binary():
    """Given by --h2spec, OUTRIDER_H2SPEC or PATH, else built from the pinned Go module of the interop tests."""
    for path in (chosen.h2spec, os.environ.get("OUTRIDER_H2SPEC"), shutil.which("h2spec")):
        if path and os.access(path, os.X_OK):
            return path
    go = shutil.which("go")
    module = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop", "gcp")
    if go is None or not os.path.exists(os.path.join(module, "go.mod")):
        return None
    path = os.path.join(harness.work_folder(), "h2spec")
    built = subprocess.run([go, "build", "-o", path, "github.com/summerwind/h2spec/cmd/h2spec"], cwd=module, capture_output=True, timeout=120)
    return path if built.returncode == 0 else None


def h2spec(rows):
    binary = h2spec_binary()
    if binary is None:
        rows.missing(223, "no h2spec")
        return

    def story():
        with lanes.use("strict") as lane:
            ran = subprocess.run([binary, "-h", "127.0.0.1", "-p", str(lane.port), "-P", "/ok", "-S", "-o", "4"],
                                 capture_output=True, timeout=200)
            text = ran.stdout.decode("utf-8", "replace")
            last = [l for l in text.splitlines() if "tests," in l][-1:]
            failures = [l.strip() for l in text.splitlines() if "×" in l]
            print("h2spec: %s" % (last[0] if last else text[-300:]))
            for f in failures[:40]:
                print("h2spec: %s" % f)
            if outrider():
                check(last and " 0 failed" in last[0], "%s" % (last or text[-200:]))
            else:
                check(last and " passed" in last[0], "h2spec did not run: %s" % text[-200:])
            matrix_lanes.follow_up(lane, clean_request)
    rows.result(223, matrix_lanes.outcome(story))      # matrix: 223


# ---- the proxy under test -------------------------------------------------------------------------------------------

class Http2Upstream(h2.Upstream):
    def since(self, mark):
        return super().since(mark), []

    def bad(self):
        return []

    def open_halves(self):
        return []


def variant(cluster_more=None, **fields_):
    def make(name, port, upstream_port, log):
        return {"listeners": [harness.listener(name, port, harness.hcm(name, harness.everything_to(name), [harness.file_log(log)], **fields_))],
                "clusters": [harness.cluster(name, upstream_port, circuit_breakers={"thresholds": [
                    {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]}, **(cluster_more or {}))]}
    return make


def variants():
    return {
        "plain": (7, variant()),
        "flood": (2, variant()),        # what these leave in flight must not be taken for another row's requests
        "burst": (1, variant()),
        "strict": (2, variant(codec_type="HTTP2")),
        "timers": (3, variant(request_headers_timeout="1s", stream_idle_timeout="1s", common_http_protocol_options={"idle_timeout": "1.5s"})),
        "h2up": (1, variant(cluster_more=harness.http2_options()), Http2Upstream),
    }


def main():
    global chosen, lanes
    chosen = harness.options(__doc__, proxy_choice=True, workers=(int, 8, "rows that run side by side"), h2spec=(str, None, "the h2spec binary"))
    harness.bound(300)
    harness.more_open_files()
    folder = harness.work_folder(chosen.keep)
    rows = harness.MatrixRows("test/matrix/security_h2_process_test.py")
    only = {int(n) for n in chosen.only.split(",")} if chosen.only else None
    wanted = lambda table: [(n, s) for n, s in table if only is None or n in only]
    lanes = Lanes(chosen, folder, variants())
    matrix_lanes.run_rows(rows, wanted(TABLE), chosen.workers)
    matrix_lanes.run_rows(rows, wanted(SERIAL), 1)
    if only is None or 223 in only:
        h2spec(rows)
    if not lanes.proxy.alive():
        print("the proxy ended: %s" % lanes.proxy.said()[-2000:])
        rows.failed += 1
    return rows.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
