#!/usr/bin/env python3
"""Rows 001-103 of the matrix of attacks and faults: HTTP/1 framing, request line and host, header fields.

Each row sends raw bytes and asserts on four sides: bytes to the client, bytes to the upstream, the access-log line, counters; then
a clean request on a new connection is served and the gauges are at rest. What the reference proxy does with its own defaults is
written beside Outrider's row (envoy=...), so that the same script proves itself against it.
"""
import json
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import matrix_lanes
from matrix_lanes import Want, Lanes, check, follow_up, h1, harness, refuse, run_on, serve, x400

GH = b"GET /ok HTTP/1.1\r\nHost: h\r\n"
PH = b"POST /ok HTTP/1.1\r\nHost: h\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
END = b"\r\n"

chosen = None      # command line
lanes = None       # Lanes
TABLE = []         # (number, function), in order; SERIAL run alone afterwards, since they weigh memory or CPU
SERIAL = []


def outrider():
    return chosen.proxy == "outrider"


class Case:
    def __init__(self, name, send, want, envoy=None, variant="plain", **more):
        self.name, self.send, self.want, self.envoy, self.variant, self.more = name, send, want, envoy, variant, more

    def run(self):
        want = self.envoy if self.envoy is not None and not outrider() else self.want
        with lanes.use(self.variant) as lane:
            try:
                run_on(lane, self.send, want, **self.more)
            except (harness.Failure, OSError) as error:
                matrix_lanes.outcome(lambda: follow_up(lane))        # leaves nothing of this case to the next one
                raise harness.Failure("%s: %s" % (self.name, error))


def row(number, *cases):
    def story():
        for case in cases:
            case.run()
    TABLE.append((number, story))


def story(number, alone=False):
    """For rows that are not one exchange."""
    def register(function):
        (SERIAL if alone else TABLE).append((number, function))
        return function
    return register


# ---- what the upstream must have seen -----------------------------------------------------------------------------

def lacks(*names):
    def see(requests, raw, answers):
        for name in names:
            check(not requests[0].all(name), "upstream got %s: %r" % (name, requests[0].all(name)))
    return see


def has(name, value, target=None):
    def see(requests, raw, answers):
        check(requests[0].all(name) == ([value] if value is not None else []),
              "upstream got %s: %r, expected %r" % (name, requests[0].all(name), value))
        check(target is None or requests[0].target == target, "upstream got the target %r" % requests[0].target)
    return see


def target(expected):
    def see(requests, raw, answers):
        check(requests[0].target == expected, "upstream got the target %r, expected %r" % (requests[0].target, expected))
    return see


def both(*sees):
    def see(*arguments):
        for one in sees:
            one(*arguments)
    return see


def body(expected, trailers=None):
    def see(requests, raw, answers):
        check(requests[0].body == expected, "upstream got the body %r" % requests[0].body[:80])
        check(trailers is None or requests[0].trailers == trailers, "upstream got the trailers %r" % requests[0].trailers)
    return see


def chunk_of_3_without_extension(requests, raw, answers):
    check(requests[0].raw_body.startswith(b"3\r\nabc\r\n") or requests[0].body == b"abc" and b";" not in requests[0].raw_body,
          "upstream got %r" % requests[0].raw_body)


def one_chunked(requests, raw, answers):
    check(requests[0].all("transfer-encoding") == ["chunked"] and b"\r\ntransfer-encoding: chunked\r\n" in requests[0].head,
          "upstream got %r" % requests[0].head)


def head_arrived(client, upstream, mark):
    """A step between two sends: the upstream holds the request's head."""
    harness.wait_for(lambda: upstream.since(mark)[0], 5, "the head to reach the upstream")


TWICE = "http1.content_length_and_chunked_not_allowed"
CODEC = "http1.codec_error"
BAD_CHARACTER = "http1.invalid_characters"
BAD_TE = "http1.invalid_transfer_encoding"
TOO_LARGE = "http1.headers_too_large"
NOT_PATH = "path_normalization_failed"
LOW = "low_version"
AUTHORITY = "http.invalid_authority"


def te(extra, want, **more):
    return Case(repr(extra[:60]), PH + extra, want, **more)


def low(**more):
    return refuse(426, LOW, **more)


def on_route(status, details, flags="-", **more):
    """Refused by the connection manager, not by the codec: an ordinary answer without a flag, on a connection that may live on."""
    return Want(status, details, flags=flags, requests=0, counters={"http.{p}.downstream_rq_4xx": 1}, **more)


# ---- A. message framing -------------------------------------------------------------------------------------------

# matrix: 001
row(1, te(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", x400(TWICE)))
# matrix: 002
row(2, te(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST", x400(TWICE)),
    te(b"Transfer-Encoding: chunked\r\nContent-Length: 40\r\n\r\n0\r\n\r\n", x400(TWICE)))
# matrix: 003
row(3, te(b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", x400(CODEC)))
# matrix: 004
row(4, te(b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", x400(CODEC)))
# matrix: 005
row(5, te(b"Content-Length: 2, 2\r\n\r\nab", x400(CODEC)))
# matrix: 006
row(6, te(b"Content-Length: +2\r\n\r\nab", x400(CODEC)))
# matrix: 007
row(7, te(b"Content-Length: -1\r\n\r\nab", x400(CODEC)))
# matrix: 008
row(8, te(b"Content-Length: 0x2\r\n\r\nab", x400(CODEC)))
# matrix: 009
row(9, te(b"Content-Length:\r\n\r\n", x400(CODEC)), te(b"Content-Length: \r\n\r\n", x400(CODEC)))
# matrix: 010
row(10, te(b"Content-Length: 1 2\r\n\r\nab", x400(CODEC)))
# matrix: 011
row(11, te(b"Content-Length: 18446744073709551618\r\n\r\nab", x400(CODEC)))
# matrix: 012
row(12, te(b"Content-Length : 2\r\n\r\nab", x400(CODEC)))
# matrix: 013
row(13, te(b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", x400(CODEC)))
# matrix: 014
row(14, te(b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nab", x400(TWICE)))
# matrix: 015
row(15, te(b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", refuse(501, BAD_TE)))
# matrix: 016
row(16, te(b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", refuse(501, BAD_TE)))
# matrix: 017
row(17, te(b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", refuse(501, BAD_TE)))
# matrix: 018
row(18, te(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refuse(501, BAD_TE)))
# matrix: 019
row(19, te(b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", refuse(501, BAD_TE)),
    te(b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', refuse(501, BAD_TE)))
# matrix: 020
row(20, te(b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", x400(BAD_CHARACTER)))
# matrix: 021
row(21, te(b"tRANSFER-eNCODING: cHuNkEd\r\n\r\n0\r\n\r\n", serve(see=one_chunked)))
# matrix: 022
row(22, Case("by default", b"POST /ok HTTP/1.0\r\nHost: h\r\n" + CHUNKED + b"0\r\n\r\n", low()),
    Case("accept_http_10", b"POST /ok HTTP/1.0\r\nHost: h\r\n" + CHUNKED + b"0\r\n\r\n", x400(None), envoy=serve(),
         variant="http10"))
# matrix: 023
row(23, te(b"Content-Length: 0\r\nTransfer_Encoding: chunked\r\n\r\n",
           x400("http1.unexpected_underscore", counters={"http1.requests_rejected_with_underscores_in_headers": (1, 9)}),
           envoy=serve(see=has("transfer_encoding", "chunked"))))
# matrix: 024
row(24, te(CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n", serve(see=chunk_of_3_without_extension)))


# matrix: 025
@story(25, alone=True)
def chunk_extensions_are_bounded():
    before = lanes.proxy.memory_kib()
    one = CHUNKED + b"3;a=" + b"e" * 65536 + b"\r\nabc\r\n0\r\n\r\n"
    many = CHUNKED + b"".join(b"1;a=" + b"e" * 1000 + b"\r\nx\r\n" for _ in range(40)) + b"0\r\n\r\n"
    want = x400("http1.chunk_extension_too_large")
    te(one, want, envoy=serve(see=body(b"abc"))).run()
    te(many, want, envoy=serve()).run()
    with lanes.use("plain") as lane, h1.Client(lane.port) as client:      # 16 MiB in all
        client.send(PH + CHUNKED)
        piece = b"".join(b"1;a=" + b"e" * 4000 + b"\r\nx\r\n" for _ in range(64))
        for _ in range(64):
            if not client.send(piece):
                break
        if outrider():
            answer = client.response()
            check(answer is None and client.reset or answer is not None and answer.status == 400, "16 MiB of extensions were taken")
        else:
            client.send(b"0\r\n\r\n")
            check(client.response().status == 200, "16 MiB of extensions: not served")
        lane.log.take(1)
    grown = lanes.proxy.memory_kib() - before
    check(grown < (2048 if outrider() else 16384), "resident memory grew by %d KiB" % grown)


def bad_chunks(extra, want, **more):
    return Case(repr(extra[:40]), [PH + CHUNKED, head_arrived, extra], want, **more)


# matrix: 026
row(26, te(CHUNKED + b"3;\nxx\r\nabc\r\n0\r\n\r\n", x400(CODEC)), bad_chunks(b"3;\nxx\r\nabc\r\n0\r\n\r\n", x400(CODEC)))
# matrix: 027
row(27, te(CHUNKED + b"3\nabc\r\n0\r\n\r\n", x400(CODEC)), bad_chunks(b"3\nabc\r\n0\r\n\r\n", x400(CODEC)))
# matrix: 028
row(28, te(CHUNKED + b"3\r\nabc\n0\r\n\r\n", x400(CODEC), envoy=serve(see=body(b"abc"))))
# matrix: 029
row(29, te(CHUNKED + b"3\r\nabc\r\n0\n\n", x400(CODEC)))
# matrix: 030
row(30, te(CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", x400(CODEC)))
# matrix: 031
row(31, te(CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", x400(CODEC)), te(CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", x400(CODEC)))
# matrix: 032
row(32, te(CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n", x400(CODEC)), te(CHUNKED + b"0_3\r\nabc\r\n0\r\n\r\n", x400(CODEC)))
# matrix: 033
row(33, te(CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", x400(CODEC), envoy=serve(see=body(b"abc"))))
# matrix: 034
row(34, te(CHUNKED + b"10000000000000003\r\nabc\r\n0\r\n\r\n", x400(CODEC)))
# matrix: 035
row(35, te(CHUNKED + b"0" * 4096 + b"3\r\nabc\r\n0\r\n\r\n", x400(CODEC), envoy=serve(see=body(b"abc"))))
# matrix: 036
row(36, te(CHUNKED + b"3\r\nabcde0\r\n\r\n", x400(CODEC)),
    bad_chunks(b"3\r\nabcde0\r\n\r\n", x400(CODEC, counters={"cluster.{p}.upstream_cx_destroy_local": (1, 2)})))
# matrix: 037
row(37, te(CHUNKED + b"3\r\nabc\r\n0\r\nX-T: v\r\n\r\n", serve(see=body(b"abc", trailers=[]))),
    Case("kept with enable_trailers", PH + CHUNKED + b"3\r\nabc\r\n0\r\nX-T: v\r\n\r\n",
         serve(see=body(b"abc", trailers=[("x-t", "v")])), variant="trailers"))
# matrix: 038
row(38, *[Case(name.decode(), PH + CHUNKED + b"0\r\n" + name + b": " + value + b"\r\n\r\n", x400("http1.invalid_trailer"),
               envoy=serve(), variant="trailers")
          for name, value in ((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked"), (b"Host", b"evil"), (b"Authorization", b"x"))])
# matrix: 039
row(39, te(CHUNKED + b"0\r\nX T: v\x00\r\n\r\n", x400(None)),
    Case("with enable_trailers", PH + CHUNKED + b"0\r\nXT: v\x00\r\n\r\n", x400(BAD_CHARACTER), variant="trailers"))
# matrix: 040
row(40, Case("two in one write", (GH + END) * 2, serve(requests=2, responses=2)))


# matrix: 041
@story(41, alone=True)
def a_pipelining_flood_is_held_back():
    with lanes.use("plain") as lane:
        upstream_mark = lane.upstream.mark()
        before = lanes.proxy.memory_kib()
        client = h1.Client(lane.port, receive_buffer=2048)
        client.socket.setblocking(False)
        flood, sent = (GH + END) * 20000, 0
        def pushed():
            nonlocal sent
            try:
                sent += client.socket.send(flood[sent:sent + 65536])
                return sent >= len(flood)
            except BlockingIOError:
                return True
        harness.wait_for(pushed, 10, "the flood to be taken or stopped", pause=0)
        active = lanes.proxy.stats(r"^http\.%s\.downstream_rq_active" % lane.name)
        check(sum(active.values()) <= 64, "%s requests in flight" % active)
        grown = lanes.proxy.memory_kib() - before
        check(grown < (2048 if outrider() else 16384), "resident memory grew by %d KiB" % grown)
        client.close(rst=True)
        lanes.proxy.expect_at_rest(r"^http\.%s\.|^cluster\.%s\." % (lane.name, lane.name), 10)
        lane.log.skip()
        follow_up(lane)


# matrix: 042
row(42, Case("HEAD with a body, then GET", b"HEAD /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab" + GH + END,
             serve(requests=2, responses=2, see=body(b"ab")), method="HEAD"))


# matrix: 043
@story(43)
def an_early_answer_leaves_no_bytes_behind():
    with lanes.use("plain") as lane:
        mark = lane.upstream.mark()
        rest = b"x" * 20 + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
        with h1.Client(lane.port) as client:
            client.send(b"POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n12345" % (5 + len(rest)))
            answer = client.response()
            check(answer is not None and answer.status == 200 and answer.body == b"early", "the early answer is missing")
            client.send(rest)
            if "close" not in answer.get("connection", ""):
                client.send(GH + END)
            client.ended(1.5)
            requests, _ = lane.upstream.since(mark)
            check(all(r.target in ("/early", "/ok") for r in requests), "upstream saw %s" % [r.target for r in requests])
        harness.wait_for(lambda: not lane.upstream.open_halves(), 2, "the half-used upstream connection to be closed")
        follow_up(lane)


# matrix: 044
row(44, Case("half-close after the request", [GH + END, lambda client, *_: client.half_close()], serve(),
             envoy=Want(None, requests=None, log=False)))


# matrix: 045
@story(45)
def mutated_messages_are_framed_alike_by_everyone():
    import random
    random.seed(45)
    names = [b"Transfer-Encoding", b"Content-Length", b"transfer-encoding", b"Transfer_Encoding", b"Content_Length",
             b" Transfer-Encoding", b"Transfer-Encoding ", b"Transfer-Encoding\t", b"X\r\nTransfer-Encoding", b"Content-Length\x0b"]
    values = [b"chunked", b"Chunked", b"chunked ", b"\tchunked", b"chunked, identity", b"identity", b"chunked;q=1", b"chu\rnked",
              b"\x00chunked", b"5", b"05", b"5 ", b"+5", b"0x5", b"5,5", b"5\t", b"3", b"", b"4294967301", b"chunked\x0b", b"'5'"]
    bodies = [b"0\r\n\r\nX", b"5\r\nhello\r\n0\r\n\r\n", b"5;e\r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n00\r\n\r\n", b"hello",
              b"5\nhello\n0\n\n", b"5\r\nhello0\r\n\r\n", b"1_0\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nHost: e\r\n\r\n"]
    ends = [b"\r\n"] * 6 + [b"\n", b"\r", b"\n\r\n"]
    for i in range(400):
        message = b"POST /ok HTTP/1.1" + random.choice(ends[:7]) + b"Host: h\r\n"
        for _ in range(random.choice((1, 1, 2))):
            message += random.choice(names) + b":" + random.choice((b" ", b"", b"  ")) + random.choice(values) + random.choice(ends)
        message += b"\r\n" + random.choice(bodies)
        with lanes.use("fuzz") as lane:
            mark = lane.upstream.mark()
            with h1.Client(lane.port) as client:
                client.send(message + b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
                answered = 0
                client.half_close() if outrider() else None
                try:
                    while True:
                        answer = client.response(timeout=0.15)
                        if answer is None:
                            break
                        answered += answer.complete and answer.status == 200
                        if answer.status != 200:
                            break
                except TimeoutError:
                    pass
                requests, raw = lane.upstream.since(mark)
            check(not lane.upstream.bad(), "%r made the proxy send %s" % (message, lane.upstream.bad()))
            whole = [r for r in requests if r.complete]
            check(len(whole) <= 2 and all(r.target in ("/ok", "/next") for r in requests),
                  "%r became %d requests %s" % (message, len(whole), [r.target for r in requests]))
            check(answered <= len(whole), "%r: %d answers for %d requests" % (message, answered, len(whole)))
            for bytes_seen in raw:
                for readings in (bytes_seen.count(b" HTTP/1.1\r\n"), bytes_seen.count(b"HTTP/1.1")):
                    check(readings <= 2, "%r: the upstream could read more requests in %r" % (message, bytes_seen))
                check(b"\x00" not in bytes_seen and b"\x0b" not in bytes_seen, "%r: control bytes passed: %r" % (message, bytes_seen))


# ---- B. request line, URI, host -----------------------------------------------------------------------------------

def line(name, request, want, envoy=None, **more):
    return Case(name, request, want, envoy, **more)


# matrix: 046
row(46, line("bare LF everywhere", b"GET /ok HTTP/1.1\nHost: h\n\n", x400("http1.bare_lf"), serve()))
# matrix: 047
row(47, line("one bare LF", GH + b"X: y\n\r\n", x400("http1.bare_lf"), serve()))
# matrix: 048
row(48, line("CR in a value", GH + b"X: a\rb\r\n\r\n", x400(BAD_CHARACTER), serve(see=has("x", "ab"))))
# matrix: 049
row(49, line("CR as line end", b"GET /ok HTTP/1.1\rHost: h\r\r", x400(None), Want(None, log=False), patience=2))
# matrix: 050
row(50, line("one empty line", b"\r\n" + GH + END, serve()), line("two", b"\r\n\r\n" + GH + END, x400(CODEC), serve()))
# matrix: 051
row(51, line("two spaces", b"GET  /ok HTTP/1.1\r\nHost: h\r\n\r\n", x400(CODEC), serve(see=target("/ok"))),
    line("tabs", b"GET\t/ok\tHTTP/1.1\r\nHost: h\r\n\r\n", x400(CODEC), serve()),
    line("space after the version", b"GET /ok HTTP/1.1 \r\nHost: h\r\n\r\n", x400(CODEC), serve()))
# matrix: 052
row(52, line("leading space", b" " + GH + END, x400(CODEC)))
# matrix: 053
row(53, line("HTTP/0.9", b"GET /ok\r\n\r\n", low()))
# matrix: 054
row(54, line("by default", b"GET /ok HTTP/1.0\r\nHost: h\r\n\r\n", low()),
    line("accepted", b"GET /ok HTTP/1.0\r\nHost: h\r\n\r\n", serve(fin=True), variant="http10"),
    line("kept alive", b"GET /ok HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", serve(fin=False), variant="http10"))
# matrix: 055
row(55, line("by default", b"GET /ok HTTP/1.0\r\n\r\n", low()),
    line("default host", b"GET /ok HTTP/1.0\r\n\r\n", serve(see=has("host", "default.test")), variant="http10"))
# matrix: 056
row(56, *[line(v, b"GET /ok HTTP/%s\r\nHost: h\r\n\r\n" % v.encode(), low()) for v in ("1.2", "2.0", "9.9")])
# matrix: 057
row(57, line("HTTP/1.11", b"GET /ok HTTP/1.11\r\nHost: h\r\n\r\n", x400(CODEC)),
    line("http/1.1", b"GET /ok http/1.1\r\nHost: h\r\n\r\n", x400(CODEC)))
# matrix: 058
row(58, *[line(m, m.encode() + b" /ok HTTP/1.1\r\nHost: h\r\n\r\n", x400(CODEC)) for m in ("get", "FOO", "G:T")])
# matrix: 059
row(59, line("long method", b"A" * 66000 + b" /ok HTTP/1.1\r\nHost: h\r\n\r\n", refuse(431, TOO_LARGE)))
# matrix: 060
row(60, line("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
             on_route(404, "absolute_path_rejected", fin=None)))
# matrix: 061
row(61, line("GET *", b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", x400("http1.invalid_url")),
    line("GET ok", b"GET ok HTTP/1.1\r\nHost: h\r\n\r\n", x400(CODEC)))
# matrix: 062
row(62, line("absolute form", b"GET http://h.test/ok HTTP/1.1\r\nHost: h.test\r\n\r\n", serve(see=has("host", "h.test", "/ok"))))
# matrix: 063
row(63, line("other host", b"GET http://other.test/ok HTTP/1.1\r\nHost: h.test\r\n\r\n", serve(see=has("host", "other.test", "/ok"))),
    line("is routed as other.test", b"GET http://other.test/ok HTTP/1.1\r\nHost: h.test\r\n\r\n", on_route(404, "route_not_found", flags="NR"),
         variant="hosts"))
# matrix: 064
row(64, line("plain listener", b"GET https://h/ok HTTP/1.1\r\nHost: h\r\n\r\n", serve()),
    line("edge listener", b"GET https://h/ok HTTP/1.1\r\nHost: h\r\n\r\n",
         Want(403, "http1.https_url_on_plaintext_connection", requests=0), variant="edge"))
# matrix: 065
row(65, line("in the URI", b"GET http://u:p@h/ok HTTP/1.1\r\nHost: h\r\n\r\n", x400(AUTHORITY), serve()),
    line("in Host", b"GET /ok HTTP/1.1\r\nHost: u@h\r\n\r\n", x400(AUTHORITY), serve()))
# matrix: 066
row(66, line("ftp", b"GET ftp://h/ok HTTP/1.1\r\nHost: h\r\n\r\n", x400("http1.invalid_scheme")))
# matrix: 067
row(67, line("no path", b"GET http://h.test HTTP/1.1\r\nHost: h.test\r\n\r\n", serve(see=target("/"))),
    line("only a query", b"GET http://h.test?x HTTP/1.1\r\nHost: h.test\r\n\r\n", on_route(404, "absolute_path_rejected")))
# matrix: 068
row(68, line("fragment", b"GET /ok#frag HTTP/1.1\r\nHost: h\r\n\r\n",
             on_route(400, NOT_PATH)))
# matrix: 069
row(69, *[line(repr(b), b"GET /o" + b + b"k HTTP/1.1\r\nHost: h\r\n\r\n", x400(BAD_CHARACTER),
               x400(CODEC) if b == b"\xff" else None) for b in (b"\x00", b"\x01", b"\x7f", b"\xff")])
# matrix: 070
row(70, line("space", b"GET /o k HTTP/1.1\r\nHost: h\r\n\r\n", x400(CODEC)))
# matrix: 071
row(71, line("%zz", b"GET /ok/%zz HTTP/1.1\r\nHost: h\r\n\r\n", on_route(400, NOT_PATH), serve()),
    line("%00", b"GET /ok/%00 HTTP/1.1\r\nHost: h\r\n\r\n", on_route(400, NOT_PATH), serve()))
# matrix: 072
row(72, line("70 KB", b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", refuse(431, TOO_LARGE)),
    line("50 KB", b"GET /" + b"a" * 50000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", serve()))
# matrix: 073
row(73, line("no Host", b"GET /ok HTTP/1.1\r\n\r\n", Want(400, "missing_host_header", flags="-", requests=0, fin=True)))
# matrix: 074
row(74, line("different", GH + b"Host: evil\r\n\r\n", x400("http1.duplicate_host"), serve(see=has("host", "h,evil"))),
    line("same", GH + b"Host: h\r\n\r\n", x400("http1.duplicate_host"), serve()))
# matrix: 075
row(75, line("empty", b"GET /ok HTTP/1.1\r\nHost: \r\n\r\n", x400(AUTHORITY), serve()))
# matrix: 076
row(76, *[line(repr(h), b"GET /ok HTTP/1.1\r\nHost: " + h + b"\r\n\r\n", x400(AUTHORITY),
               serve() if h == b"a,b" else None) for h in (b"a b", b"a,b", b"a/b", b"a\xffb")])
# matrix: 077
row(77, *[line(repr(h), b"GET /ok HTTP/1.1\r\nHost: " + h + b"\r\n\r\n", x400(AUTHORITY), serve()) for h in (b"h:abc", b"h:99999")])
# matrix: 078
row(78, *[line(repr(h), b"GET /ok HTTP/1.1\r\nHost: " + h + b"\r\n\r\n", serve(see=has("host", seen)), variant=v)
          for h, seen, v in ((b"[::1]:80", "[::1]:80", "plain"), (b"h.", "h.", "plain"), (b"H.TEST", "H.TEST", "hosts"),
                             (b"h.test:8080", "h.test", "hosts"), (b"h.test.", "h.test", "hosts"))])


# ---- C. header fields, hop-by-hop, identity -----------------------------------------------------------------------

def header(extra, want, envoy=None, **more):
    return Case(repr(extra[:60]), GH + extra + END, want, envoy, **more)


# matrix: 079
row(79, header(b"X-A : b\r\n", x400(CODEC)))
# matrix: 080
row(80, line("first line starts with a space", b"GET /ok HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n", x400(None)))
# matrix: 081
row(81, header(b"X-A: b\r\n c\r\n", x400("http1.obs_fold"), serve(see=has("x-a", "b c"))),
    header(b"X-A: b\r\n\tc\r\n", x400("http1.obs_fold"), serve()))
# matrix: 082
row(82, header(b"X-A: a\x00b\r\n", x400(BAD_CHARACTER)))
# matrix: 083
row(83, header(b"X-A: a\x01b\r\n", x400(BAD_CHARACTER)), header(b"X-A: a\x7fb\r\n", x400(BAD_CHARACTER)))
# matrix: 084
row(84, header(b"X-A: a\xffb\r\n", serve(see=has("x-a", "a\xffb"))),
    header(b"X-A: a\xffb\x80\r\n", serve(see=has("x-a", "a\xffb\x80")), variant="viah2"))
# matrix: 085
row(85, *[header(extra, x400((CODEC, BAD_CHARACTER))) for extra in
          (b"X\x00A: b\r\n", b"X[]: b\r\n", b"X\xff: b\r\n", b": b\r\n", b"nocolon\r\n")])
# matrix: 086
row(86, header(b"X_A: b\r\n", serve(see=has("x_a", "b"))),
    header(b"X_A: b\r\n", x400("http1.unexpected_underscore", counters={"http1.requests_rejected_with_underscores_in_headers": (1, 9)}),
           variant="reject"),
    header(b"X_A: b\r\n", serve(see=lacks("x_a"), counters={"http1.dropped_headers_with_underscores": (1, 9)}), variant="drop"))
# matrix: 087
row(87, header(b"".join(b"x-%d: v\r\n" % i for i in range(94)), serve()),
    header(b"".join(b"x-%d: v\r\n" % i for i in range(120)), refuse(431, "http1.too_many_headers")))
# matrix: 088
row(88, header(b"".join(b"x-%d: " % i + b"v" * 990 + b"\r\n" for i in range(59)), serve()),
    header(b"".join(b"x-%d: " % i + b"v" * 1040 + b"\r\n" for i in range(60)), refuse(431, TOO_LARGE)),
    header(b"".join(b"x-%d: " % i + b"v" * 4000 + b"\r\n" for i in range(50)), refuse(431, TOO_LARGE)))


# matrix: 089
@story(89, alone=True)
def a_header_block_without_end_is_cut():
    with lanes.use("plain") as lane:
        before, counters = lanes.proxy.memory_kib(), harness.Counters(lanes.proxy, lane.pattern())
        with h1.Client(lane.port) as client:
            client.send(GH)
            piece = b"".join(b"x-%d: " % i + b"v" * 4000 + b"\r\n" for i in range(250))
            taken = 0
            while taken < 1000 and client.send(piece):
                taken += 1
            check(taken < 64, "the proxy went on reading: %d MB" % taken)
            try:
                answer = client.response(timeout=2)
            except TimeoutError:
                answer = None
            check(client.reset or answer is not None and answer.status == 431, "no 431: %r" % (answer and answer.raw[:60]))
            check(client.ended(2.5), "still open")
        counters.expect({"http.%s.downstream_rq_4xx" % lane.name: 1, "http.%s.downstream_cx_protocol_error" % lane.name: 1})
        grown = lanes.proxy.memory_kib() - before
        check(grown < (1024 if outrider() else 8192), "resident memory grew by %d KiB" % grown)
        check(TOO_LARGE in lane.log.take(1)[0], "log details")
        follow_up(lane)


# matrix: 090
row(90, header(b"Connection: X-Foo, close\r\nX-Foo: 1\r\n", serve(fin=True, see=lacks("x-foo", "connection"))))
REJECTED = "http1.connection_header_rejected"
# matrix: 091
row(91, header(b"Connection: X-Forwarded-For\r\nX-Forwarded-For: 1.2.3.4\r\n", x400(REJECTED)),
    header(b"Connection: Authorization\r\nAuthorization: b\r\n", x400(REJECTED), serve(see=lacks("authorization"))))
# matrix: 092
row(92, *[te(b"Connection: " + n + b"\r\nContent-Length: 2\r\n\r\nab", x400(REJECTED), envoy=w) for n, w in
          ((b"Content-Length", serve(see=body(b"ab"))), (b"Host", Want(400, "missing_host_header", flags="-", requests=0)), (b"Transfer-Encoding", serve()))])


# matrix: 093
@story(93, alone=True)
def ten_thousand_connection_tokens_are_cheap():
    before = lanes.proxy.cpu_seconds()
    header(b"Connection: " + b",".join(b"a%d" % (i % 99) for i in range(10000)) + b"\r\n", x400(REJECTED)).run()
    spent = lanes.proxy.cpu_seconds() - before
    check(spent <= 0.05, "%.0f ms of CPU" % (spent * 1000))


# matrix: 094
row(94, header(b"TE: gzip, trailers\r\n", serve(see=has("te", "trailers"))))
# matrix: 095
row(95, header(b"Proxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", serve(see=lacks("proxy-connection", "keep-alive"))))

FORGED = (b"X-Envoy-Internal: true\r\nX-Envoy-Retry-On: 5xx\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1\r\nX-Envoy-Original-Path: /forged\r\n"
          b"X-Forwarded-Client-Cert: Hash=1\r\nX-Envoy-External-Address: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n"
          b"X-Request-Id: 11111111-1111-4111-8111-111111111111\r\n")


def own_addresses():
    """127.0.0.1 and the address of the interface that leads out, if there is one (no packet is sent)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            return {"127.0.0.1", s.getsockname()[0]}
        except OSError:
            return {"127.0.0.1"}


OWN_ADDRESSES = own_addresses()


def edge_sees(requests, raw, answers):
    r = requests[0]
    appended = r.get("x-forwarded-for", "").rpartition(",")      # a loopback peer may be named by the machine's own address
    check(appended[0] == "1.2.3.4" and appended[2] in OWN_ADDRESSES, "x-forwarded-for: %r" % r.all("x-forwarded-for"))
    check(r.get("x-forwarded-proto") == "http", "x-forwarded-proto: %r" % r.all("x-forwarded-proto"))
    if outrider():
        check(r.get("x-envoy-external-address") in OWN_ADDRESSES, "x-envoy-external-address: %r" % r.all("x-envoy-external-address"))
        lacks("x-envoy-internal", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms", "x-envoy-original-path",
              "x-forwarded-client-cert")(requests, raw, answers)
        check(r.get("x-request-id") != "11111111-1111-4111-8111-111111111111", "the forged x-request-id was kept")
    else:
        lacks("x-forwarded-client-cert")(requests, raw, answers)


# matrix: 096
row(96, header(b"X-Forwarded-For: 1.2.3.4\r\n" + FORGED, serve(see=edge_sees), variant="edge"))


def one_hop_sees(requests, raw, answers):
    r = requests[0]
    check(r.get("x-envoy-external-address") in ("10.0.0.2", None) and r.get("x-forwarded-for").rpartition(",")[0].endswith("10.0.0.2"),
          "x-forwarded-for %r, external %r" % (r.all("x-forwarded-for"), r.all("x-envoy-external-address")))
    check(r.get("x-forwarded-proto") == "https", "x-forwarded-proto %r" % r.all("x-forwarded-proto"))
    check(not outrider() or r.get("x-envoy-external-address") == "10.0.0.2", "external %r" % r.all("x-envoy-external-address"))


# matrix: 097
row(97, header(b"X-Forwarded-For: 10.0.0.1, 1.2.3.4, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n", serve(see=one_hop_sees), variant="onehop"))
# matrix: 098
row(98, *[header(b"X-Forwarded-For: " + value + b"\r\n", serve(), variant=v) for v in ("edge", "plain", "onehop") for value in
          (b"garbage", b"fe80::1%eth0", b",".join([b"1.2.3.4"] * 1000), b"", b",,,", b"1.2.3.4:99999", b"[::1", b"256.1.1.1")])


def sidecar_sees(requests, raw, answers):
    r = requests[0]
    check(r.get("x-envoy-external-address") == "9.9.9.9", "x-envoy-external-address %r" % r.all("x-envoy-external-address"))
    lacks("x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms")(requests, raw, answers)


# matrix: 099
row(99, header(b"X-Forwarded-For: 10.0.0.1, 8.8.8.8\r\n" + FORGED, serve(see=sidecar_sees)))
# matrix: 100
row(100, header(b"X-Envoy-Retry-On: 5xx\r\n", serve(see=lacks("x-envoy-internal", "x-envoy-retry-on")),
                envoy=serve(), variant="edge"),
    header(b"X-Envoy-Retry-On: 5xx\r\nX-Forwarded-For: 10.0.0.1\r\n", serve(see=lacks("x-envoy-internal", "x-envoy-retry-on")),
           envoy=serve()),
    header(b"X-Envoy-Retry-On: 5xx\r\n", serve(see=has("x-envoy-internal", "true")), variant="internal"))
# matrix: 101
row(101, header(b"X-Envoy-Attempt-Count: 7\r\nX-Envoy-Decorator-Operation: forged\r\n",
                serve(see=lacks("x-envoy-attempt-count", "x-envoy-decorator-operation")), envoy=serve(), variant="edge"))
# matrix: 102
row(102, header(b"X-Forwarded-Client-Cert: Hash=1\r\n", serve(see=lacks("x-forwarded-client-cert"))),
    header(b"X-Forwarded-Client-Cert: Hash=1\r\n", serve(see=lacks("x-forwarded-client-cert")), variant="xfcc"))


def client_hello(server_name):
    """A TLS 1.2 ClientHello with any bytes as server name."""
    def vector(size, data):
        return len(data).to_bytes(size, "big") + data
    name = vector(2, b"\x00" + vector(2, server_name))
    extensions = b"\x00\x00" + vector(2, name) + b"\x00\x0a\x00\x04\x00\x02\x00\x17" + b"\x00\x0d\x00\x04\x00\x02\x04\x01"
    hello = b"\x03\x03" + b"r" * 32 + b"\x00" + vector(2, b"\xc0\x2f\x00\x9c") + vector(1, b"\x00") + vector(2, extensions)
    handshake = b"\x01" + vector(3, hello)
    return b"\x16\x03\x01" + vector(2, handshake)


# matrix: 103
@story(103)
def nothing_injects_into_the_log():
    with lanes.use("json") as lane:
        for request, key, text in ((b'GET /a%0a{"x":1} HTTP/1.1\r\nHost: h\r\n\r\n', "path", None),
                                   (b'GET /q?"},{"a":"b HTTP/1.1\r\nHost: h\r\n\r\n', "path", None),
                                   (GH + b"X-Log: a\xff\xfe\"}{\r\n\r\n", "header", None)):
            lane.log.skip()
            with h1.Client(lane.port) as client:
                client.send(request)
                check(client.response() is not None, "no answer to %r" % request)
            lines = lane.log.take(1)
            entry = json.loads(lines[0])
            check(key in entry and not lane.log.fresh(), "log: %r" % lines)
    with lanes.use("plain") as lane:
        lane.log.skip()
        with h1.Client(lane.port) as client:
            client.send(GH + b"X-Log: \x1b[31m\r\n\r\n")
            check(client.response().status == 400, "an escape byte in a value was accepted")
        lane.log.take(1)
    with lanes.use("sni") as lane:
        for name in (b"a\nb.test", b"a\"b", b"a\x1b[31m.test"):
            lane.log.skip()
            with h1.Client(lane.port) as client:
                mark = lane.upstream.mark()
                client.send(client_hello(name))
                harness.wait_for(lambda: lane.upstream.since(mark)[1], 5, "the hello to pass")
            line_ = lane.log.take(1)[0]
            check(line_.startswith("sni ") and "\x1b" not in line_, "log: %r" % line_)
            check("invalid:" in line_ and "_" in line_, "log: %r" % line_)


# ---- the proxy under test -----------------------------------------------------------------------------------------

def variant(log_text=harness.LOG_FORMAT, json_format=None, hosts=None, cluster_more=None, **fields):
    def make(name, port, upstream_port, log):
        logs = [harness.file_log(log, log_text, json_format)]
        virtual_hosts = harness.everything_to(name)
        if hosts:
            virtual_hosts = [{"name": "v", "domains": hosts, "routes": virtual_hosts[0]["routes"]}]
        return {"listeners": [harness.listener(name, port, harness.hcm(name, virtual_hosts, logs, **fields))],
                "clusters": [harness.cluster(name, upstream_port, **(cluster_more or {}))]}
    return make


def through_http2(name, port, upstream_port, log):
    """Two hops: this listener forwards as HTTP/2 to a second listener, which forwards as HTTP/1 to the upstream."""
    inner = harness.free_port()
    first = harness.hcm(name, harness.everything_to(name + "_h2"), [harness.file_log(log)])
    second = harness.hcm(name + "_in", harness.everything_to(name), codec_type="HTTP2")
    return {"listeners": [harness.listener(name, port, first), harness.listener(name + "_in", inner, second)],
            "clusters": [harness.cluster(name + "_h2", inner, **harness.http2_options()), harness.cluster(name, upstream_port)]}


def sni_listener(name, port, upstream_port, log):
    proxy = {"name": "tcp", "typed_config": {"@type": harness.TCP_PROXY, "stat_prefix": name, "cluster": name,
             "access_log": [harness.file_log(log, "sni %REQUESTED_SERVER_NAME% end\n")]}}
    return {"listeners": [harness.listener(name, port, proxy, listener_filters=[
                {"name": "tls_inspector", "typed_config": {"@type": harness.TLS_INSPECTOR}}])],
            "clusters": [harness.cluster(name, upstream_port)]}


UPSTREAM_TRAILERS = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": harness.HTTP_OPTIONS, "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}}}


def variants():
    loopback = {"address_prefix": "127.0.0.0", "prefix_len": 8}
    return {
        "plain": (6, variant()),
        "fuzz": (1, variant()),
        "http10": (2, variant(http_protocol_options={"accept_http_10": True, "default_host_for_http_10": "default.test"})),
        "trailers": (2, variant(http_protocol_options={"enable_trailers": True}, cluster_more=UPSTREAM_TRAILERS)),
        "edge": (2, variant(use_remote_address=True)),
        "internal": (1, variant(use_remote_address=True, internal_address_config={"cidr_ranges": [loopback]})),
        "onehop": (1, variant(use_remote_address=True, xff_num_trusted_hops=1)),
        "hosts": (1, variant(hosts=["h.test", "h"], strip_any_host_port=True, strip_trailing_host_dot=True)),
        "reject": (1, variant(common_http_protocol_options={"headers_with_underscores_action": "REJECT_REQUEST"})),
        "drop": (1, variant(common_http_protocol_options={"headers_with_underscores_action": "DROP_HEADER"})),
        "xfcc": (1, variant(forward_client_cert_details="APPEND_FORWARD")),
        "json": (1, variant(json_format={"code": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%", "header": "%REQ(X-LOG)%"})),
        "viah2": (1, through_http2),
        "sni": (1, sni_listener),
    }


def main():
    global chosen, lanes
    chosen = harness.options(__doc__, proxy_choice=True, workers=(int, 8, "rows that run side by side"))
    harness.bound(150)
    folder = harness.work_folder(chosen.keep)
    rows = harness.MatrixRows("test/matrix/security_h1_process_test.py")
    only = {int(n) for n in chosen.only.split(",")} if chosen.only else None
    wanted = lambda table: [(n, s) for n, s in table if only is None or n in only]
    lanes = Lanes(chosen, folder, variants())
    matrix_lanes.run_rows(rows, wanted(TABLE), chosen.workers)
    matrix_lanes.run_rows(rows, wanted(SERIAL), 1)
    if not lanes.proxy.alive():
        print("the proxy ended: %s" % lanes.proxy.said()[-2000:])
        rows.failed += 1
    return rows.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
