"""Lanes and expectations shared by the matrix scripts.

A lane is one listener of the proxy under test with its own stat prefix, cluster, byte-logging upstream and access log. A case
owns its lane while it runs, so bytes seen upstream, log lines and counter deltas are exact although cases run side by side.
"""
import itertools
import os
import queue
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import h1
import harness
from harness import Failure, check


class Lane:
    def __init__(self, name, variant, port, upstream, log):
        self.name, self.variant, self.port, self.upstream = name, variant, port, upstream
        self.log = harness.LogFile(log)
        self.proxy = None

    def pattern(self):
        return r"^(http\.%s\.|cluster\.%s\.|http1\.|http2\.)" % (self.name, self.name)


class Lanes:
    """Builds one bootstrap with `count` lanes of each variant and starts the proxy on it.

    variants: {name: (count, function(lane_name, port, upstream_port, log_path) -> {"listeners", "clusters"}[, upstream class])}"""

    def __init__(self, chosen, folder, variants, concurrency=2, arguments=(), upstream=h1.Upstream):
        self.proxy = harness.Proxy(chosen.proxy, chosen.binary, folder, concurrency=concurrency, arguments=arguments)
        self.pools, self.all = {}, []
        listeners, clusters = [], []
        for variant, (count, make, *kind) in variants.items():
            pool = self.pools[variant] = queue.Queue()
            for i in range(count):
                name = "%s%d" % (variant, i)
                log = os.path.join(folder, name + ".log")
                lane = Lane(name, variant, harness.free_port(), (kind[0] if kind else upstream)(name), log)
                lane.proxy = self.proxy
                made = make(name, lane.port, lane.upstream.port, log)
                listeners += made["listeners"]
                clusters += made["clusters"]
                self.all.append(lane)
                pool.put(lane)
        self.proxy.start(harness.bootstrap(listeners, clusters, self.proxy.admin_port))

    def use(self, variant):
        return _Borrowed(self.pools[variant])


class _Borrowed:
    def __init__(self, pool):
        self.pool = pool

    def __enter__(self):
        self.lane = self.pool.get()
        return self.lane

    def __exit__(self, *_):
        self.pool.put(self.lane)


class Want:
    """What a client, the upstream, the access log and the counters show after one exchange."""

    def __init__(self, status, details=None, flags=None, fin=None, requests=None, see=None, counters=None, responses=1,
                 log=True, log_code=None, refused=False, response_headers=None):
        self.status, self.flags, self.fin, self.see = status, flags, fin, see
        self.details = (details,) if isinstance(details, str) else details
        self.requests, self.counters, self.responses = requests, dict(counters or {}), responses
        self.log, self.log_code, self.refused = log, log_code if log_code is not None else status, refused
        self.response_headers = response_headers


def refuse(status, details, flags="DPE", protocol_error=True, **more):
    """X400 and its kin: an answer that says `connection: close`, FIN, nothing whole upstream, a log line, counters."""
    counters = {"http.{p}.downstream_rq_%dxx" % (status // 100): 1, "http.{p}.downstream_cx_destroy_local": 1}
    if protocol_error:
        counters["http.{p}.downstream_cx_protocol_error"] = 1
        counters["http.{p}.downstream_rq_rx_reset"] = 1
    counters.update(more.pop("counters", {}))
    return Want(status, details, flags, fin=True, requests=0, refused=True, counters=counters, **more)


def x400(details, **more):
    return refuse(400, details, **more)


def serve(status=200, requests=1, flags="-", **more):
    return Want(status, flags=flags, requests=requests, **more)


def run_on(lane, send, want, method="GET", clean_follow_up=True, client_options=None, patience=6):
    """Plays one exchange on a lane that the caller owns and compares everything that can be seen."""
    upstream = lane.upstream
    upstream_mark = upstream.mark()
    lane.log.skip()
    counters = harness.Counters(lane.proxy, lane.pattern())
    with h1.Client(lane.port, **(client_options or {})) as client:
        for piece in send if isinstance(send, (list, tuple)) else [send]:
            if callable(piece):
                piece(client, upstream, upstream_mark)
            else:
                client.send(piece)
        answers = []
        for i in range(want.responses):
            try:
                answer = client.response(method=method if i == 0 else "GET", timeout=patience)
            except TimeoutError:
                if want.status is not None:
                    raise
                answer = None
            if want.status is None:
                check(answer is None, "expected no answer, got %r" % (answer and answer.raw[:80]))
                break
            check(answer is not None, "no answer; the connection was closed")
            answers.append(answer)
            check(answer.status == want.status, "client got %s, expected %s" % (answer.status, want.status))
            check(answer.complete, "the answer is cut short: %r" % answer.raw[-80:])
        if want.refused:
            check("close" in answers[0].get("connection", "").lower(), "no connection: close")
            check(answers[0].get("content-type", "").startswith("text/plain"), "content-type %r" % answers[0].get("content-type"))
        if want.fin is True:
            check(client.ended(2.5), "the connection is still open 2.5 s after the answer")
            check(not client.buffer, "bytes after the answer: %r" % client.buffer[:80])
        elif want.fin is False:
            check(not client.ended(0.05), "the connection was closed")
            client.send(b"GET /ok HTTP/1.1\r\nHost: h\r\n\r\n")
            again = client.response()
            check(again is not None and again.status == 200, "the kept connection does not serve a second request")
    _after(lane, want, answers, upstream_mark, counters, method)
    if clean_follow_up:
        follow_up(lane)


def _after(lane, want, answers, mark, counters, method):
    requests, raw = lane.upstream.since(mark)
    whole = [r for r in requests if r.complete]
    if want.requests is not None:
        extra = 1 if want.fin is False else 0
        if want.requests or extra:
            harness.wait_for(lambda: len([r for r in lane.upstream.since(mark)[0] if r.complete]) >= want.requests, 2,
                             lambda: "%d whole requests upstream" % want.requests)
            requests, raw = lane.upstream.since(mark)
            whole = [r for r in requests if r.complete]
        check(want.requests <= len(whole) <= want.requests + extra,
              "upstream saw %d whole requests, expected %d: %r" % (len(whole), want.requests, raw[:2]))
    check(not lane.upstream.bad(), "upstream could not read plainly: %s" % lane.upstream.bad())
    if want.refused and requests:
        harness.wait_for(lambda: not lane.upstream.open_halves(), 2,
                         "the upstream connection that saw half a message to be closed")
    if want.log:
        line = lane.log.take(max(1, want.responses) + (1 if want.fin is False else 0))[0]
        code, flags, details = line.split("|")[:3]
        check(code == str(want.log_code), "log has code %s, expected %s" % (code, want.log_code))
        check(want.flags is None or flags == want.flags, "log has flags %s, expected %s" % (flags, want.flags))
        check(want.details is None or details in want.details, "log has details %s, expected %s" % (details, want.details))
    if want.response_headers:
        for name, value in want.response_headers.items():
            check(answers[0].get(name) == value, "answer has %s: %r, expected %r" % (name, answers[0].get(name), value))
    wanted = {name.format(p=lane.name): delta for name, delta in want.counters.items()}
    counters.expect(wanted)
    if want.see:
        want.see(whole if not want.refused else requests, raw, answers)


_serial = itertools.count()


def http1_request(lane, path):
    """The status of a clean GET on a new connection, or None."""
    with h1.Client(lane.port) as client:
        client.send(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
        answer = client.response()
        return answer and answer.status


def follow_up(lane, request=http1_request):
    """A clean request on a new connection is served, no connection that saw half a message carries it, and all is at rest.

    Its path is unique, so reading the log up to it leaves no line of an earlier case behind."""
    pattern = r"^http\.%s\.|^cluster\.%s\." % (lane.name, lane.name)
    lane.proxy.expect_at_rest(pattern)
    path = "/ok?follow-up-%d" % next(_serial)
    status = request(lane, path)
    check(status == 200, "the clean request after it got %s" % status)
    check(not lane.upstream.bad(), "upstream could not read plainly: %s" % lane.upstream.bad())
    harness.wait_for(lambda: any(path.encode() in line for line in lane.log.fresh()), 5, "the log line of the clean request")
    lane.log.skip()
    lane.proxy.expect_at_rest(pattern)


def run_rows(rows, table, workers=8):
    """rows: MatrixRows; table: list of (number, function). Runs them on `workers` threads; each row is its function's outcome."""
    work = queue.Queue()
    for item in table:
        work.put(item)

    def worker():
        while True:
            try:
                number, story = work.get_nowait()
            except queue.Empty:
                return
            rows.result(number, outcome(story))
    threads = [threading.Thread(target=worker) for _ in range(workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def outcome(story):
    """None if the story holds, else why not."""
    try:
        story()
    except Failure as error:
        return str(error)
    except Exception as error:                       # a broken peer must not end the other rows
        if os.environ.get("OUTRIDER_TRACE"):
            import traceback
            traceback.print_exc()
        return "%s: %s" % (type(error).__name__, error)
    return None
