"""What the cases of the comparison with Envoy are written in: routes as short calls, exchanges that give comparable lines.

A case plays the same traffic against two sides, each a proxy with upstreams, ports and logs of its own. Compared: status, headers
(names and values, any order; volatile values masked), body, trailers, the fate of the connection, what the upstreams saw, and an
access-log line with flags, details, bytes, hosts and attempts.
"""
import os
import re

import h1
import h2
import harness

# ---- routes as short calls ----------------------------------------------------------------------------------------


def route(match, action=None, **more):
    """A route; `match` is a prefix or a dictionary, `action` a cluster name or a dictionary."""
    made = {"match": {"prefix": match} if isinstance(match, str) else match}
    if isinstance(action, str):
        made["route"] = {"cluster": action}
    elif action is not None:
        made["route"] = action
    made.update(more)
    return made


def to(target="a", **more):
    return dict({"cluster": target}, **more)


def says(text, status=200):
    return {"direct_response": {"status": status, "body": {"inline_string": text}}}


def header_match(name, **more):
    return dict({"name": name}, **more)


def string(name, **kind):
    return {"name": name, "string_match": kind}


def add(key, value, action=None, **more):
    made = {"header": {"key": key, "value": value}}
    if action:
        made["append_action"] = action
    made.update(more)
    return made


def host(name, *routes, domains=("*",), **more):
    return dict({"name": name, "domains": list(domains), "routes": list(routes)}, **more)


# ---- the sides ----------------------------------------------------------------------------------------------------

LISTENERS = {}      # name -> function(side) -> {"hosts": virtual hosts, fields of the connection manager}
CLUSTERS = []       # functions(side) -> cluster

LOG = ("%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%"
       " end=%CONNECTION_TERMINATION_DETAILS% in=%BYTES_RECEIVED% out=%BYTES_SENT% host=%REQ(:AUTHORITY)% up=%UPSTREAM_HOST%"
       " cluster=%UPSTREAM_CLUSTER% upproto=%UPSTREAM_PROTOCOL% route=%ROUTE_NAME% attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT%"
       " remote=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% direct=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
       " xff=%REQ(X-FORWARDED-FOR)% id=%REQ(X-REQUEST-ID)% fail=%UPSTREAM_TRANSPORT_FAILURE_REASON%\n")


class Side:
    """One proxy with its own upstreams, ports and logs."""

    def __init__(self, kind, binary, folder, number):
        self.kind = kind
        self.folder = os.path.join(folder, "%s%s" % (kind, number))
        os.mkdir(self.folder)
        self.proxy = harness.Proxy(kind, binary, self.folder, concurrency=1, like_envoy=True)
        self.a, self.b, self.two = h1.Upstream("a"), h1.Upstream("b"), h2.Upstream("two")
        self.ports = {n: harness.free_port() for n in list(LISTENERS) + ["refused"]}
        self.logs = {n: harness.LogFile(os.path.join(self.folder, n + ".log")) for n in LISTENERS}
        trailing = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": harness.HTTP_OPTIONS, "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}}}
        clusters = [harness.cluster("a", self.a.port), harness.cluster("b", self.b.port), harness.cluster("empty"),
                    harness.cluster("refused", self.ports["refused"]), harness.cluster("half", self.ports["refused"], self.a.port),
                    harness.cluster("two", self.two.port, **harness.http2_options()), harness.cluster("trail", self.a.port, **trailing)]
        clusters += [make(self) for make in CLUSTERS]
        listeners = []
        for name, make in LISTENERS.items():
            fields = make(self)
            hosts = fields.pop("hosts", None)
            config = harness.hcm(name, hosts or [], [harness.file_log(self.logs[name].path, LOG)],
                                 routes=dict({"validate_clusters": False}, **fields.pop("table", {})), **fields)
            if hosts is None:
                del config["typed_config"]["route_config"]
            listeners.append(harness.listener(name, self.ports[name], config))
        self.proxy.start(harness.bootstrap(listeners, clusters, self.proxy.admin_port), listening=self.ports[list(LISTENERS)[-1]])

    def reset(self):
        self.a.flaky = {"/flaky1": 1, "/flaky1b": 1, "/flaky2": 2, "/flaky3": 3}

    def marks(self):
        return self.a.mark(), self.b.mark(), self.two.mark()

    def seen(self, marks):
        """What the upstreams saw since, as comparable text lines."""
        lines = []
        for upstream, mark in zip((self.a, self.b), marks):
            for r in upstream.since(mark)[0]:
                lines.append("%s <- %s %s %s | %s | body %d %r | trailers %s" % (
                    upstream.name.decode(), r.method, r.target, r.version, comparable(r.headers, self), len(r.body), r.body[:60],
                    comparable(r.trailers, self)))
            for why in upstream.bad():
                lines.append("bad: " + why)
        for r in self.two.since(marks[2]):
            lines.append("two <- %s | %s | body %d | trailers %s | reset %s" % (
                sorted(p for p in r.fields if p[0][0] == ":"), comparable(r.headers, self), len(r.body), comparable(r.trailers, self), r.reset))
        return lines

    def mask(self, text):
        for name, port in self.ports.items():
            text = text.replace(":%d" % port, ":<%s>" % name)
        for name, upstream in (("a", self.a), ("b", self.b), ("two", self.two)):
            text = text.replace(":%d" % upstream.port, ":<%s>" % name)
        return text


# ---- comparable lines ---------------------------------------------------------------------------------------------

VOLATILE = {"date": "<date>", "x-envoy-upstream-service-time": "<ms>"}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def comparable(headers, side):
    out = []
    for name, value in headers:
        if name in VOLATILE:
            value = VOLATILE[name]
        elif name == "x-forwarded-port":
            value = "<port>"
        elif name == "x-envoy-expected-rq-timeout-ms" and value.isdigit():       # a retry has a few milliseconds less left
            value = "<%d s>" % -(-int(value) // 1000) if int(value) > 1000 else "<%d00 ms>" % -(-int(value) // 100)
        out.append("%s: %s" % (name, side.mask(UUID.sub("<id>", value))))
    return sorted(out)


def masked_log(line, side):
    return side.mask(UUID.sub("<id>", line))


# Differences that are meant: each is a row of docs/differences.md. A case names the ones that it meets; what they touch is then
# taken out of both sides' lines, and all the rest is compared still.
def _without(*patterns):
    compiled = [(re.compile(p), r) for p, r in patterns]

    def change(line):
        for pattern, new in compiled:
            line = pattern.sub(new, line)
        return line
    return change


DIFFERENCES = {
    # A stream that was idle for too long is cancelled, not broken.
    "code of an idle stream": _without((r"reset [28]\b", "reset <code>")),
    # An answer before the request's end: a short rest is read away and the connection lives on.
    "early answer": _without((r"'connection: close', ", ""), (r"^connection: .*", "connection: <any>"), (r" in=\d+", " in=<any>"),
                             (r" reset (None|0) ", " reset <any> ")),
    # What was refused for its path is logged as it was sent.
    "rejected path": _without((r"^log: GET \S+ ", "log: GET <path> ")),
    # Several fields of one name stay several fields.
    "several fields": _without((r"'accept: a,b'", "'accept: a', 'accept: b'")),
    # The cluster of a route whose upgrade was refused.
    "refused upgrade": _without((r" cluster=\S+", " cluster=<any>")),
    # A client that ends its half of a tunnel still gets what the other end has to say; Envoy ends both.
    "half-closed tunnel": _without((r" (DC|-) (via_upstream|downstream_remote_disconnect) ", " <end> ")),
    # An answer without content has no length of one (RFC 9110 8.6).
    "length of nothing": _without((r"'content-length: \d+', ", "")),
    # A local reply to what is no HTTP knows of its flag.
    "flag of the malformed": _without((r"\|(-|DPE)\|http1", "|<flag>|http1"), (r"'content-length: 5\d'", "'content-length: <n>'"), (r"body 5\d ", "body <n> ")),
    # A direct response of the kinds that have a location: the route's own takes the place of the request's.
    "one location": _without((r"'location: http://h/location,http://e.test/there'", "'location: http://e.test/there'")),
    # Fields that belong to a connection do not pass it: an upgrade says `connection: upgrade` and no more.
    "connection field": _without((r"'connection: (Upgrade|keep-alive, Upgrade|close, upgrade)'", "'connection: upgrade'")),
    # An answer other than 101 to an upgrade goes to the client as it is.
    "no upgrade": _without((r"(, )?'(connection|upgrade|content-length): [^']*'", ""), (r"\[, ", "["), (r" out=\d+", ""), (r"body (\d )?b'[^']*'", "body"),
                           (r"^connection: .*", "connection: <any>"), (r"(- )?(websocket_handshake_unsuccessful|<end>)", "<end>")),
    # A refused tunnel ends at once.
    "refused tunnel": _without((r"reset (None|0|10)", "reset <any>"), (r",(DC|DR) ", " "), (r" (-|DC) direct_response", " - direct_response")),
    # A client on the proxy's own machine: Envoy writes the machine's outer address in its place.
    "loopback": _without((r"(x-forwarded-for: |xff=)((?:[^',]+, ?)*)(\d+\.\d+\.\d+\.\d+)(?=[' ])", r"\1\2<self>")),
}


# What is not the same twice on one side either.
CHANCE = {
    "rotation": _without((r" attempts=\d", "")),     # which of two hosts is first
}


def meant(differences):
    return bool(set(differences) - set(CHANCE))


def normalized(lines, differences):
    for name in differences:
        if name in CHANCE:
            lines = [CHANCE[name](line) for line in lines]
            continue
        lines = [DIFFERENCES[name](line) for line in lines]
    return sorted(lines)


# ---- the exchanges ------------------------------------------------------------------------------------------------

EXCHANGES = []      # (group, name, function(side) -> comparable lines, names of differences)


def request(path="/ok", method="GET", host="h", headers=b"", body=None, version=b"1.1"):
    head = b"%s %s HTTP/%s\r\n" % (method.encode(), path.encode("latin-1"), version)
    if host is not None:
        head += b"Host: " + host.encode() + b"\r\n"
    if body is not None:
        head += b"Content-Length: %d\r\n" % len(body)
    if isinstance(headers, str):
        headers = "".join(h + "\r\n" for h in headers.split(" & ") if h).encode()
    return head + headers + b"\r\n" + (body or b"")


def chunked(path, headers=b"", trailers=b"", body=b"abc"):
    return b"POST %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%s\r\n%x\r\n%s\r\n0\r\n%s\r\n" % (
        path.encode(), headers, len(body), body, trailers)


def many(count, size=1):
    return b"".join(b"x-%d: " % i + b"v" * size + b"\r\n" for i in range(count))


def answer_line(answer, side):
    return "answer: %s %d %s | %s | body %d %r | complete %s | trailers %s | interim %s" % (
        answer.version, answer.status, answer.reason, comparable(answer.headers, side), len(answer.body), answer.body[:200],
        answer.complete, comparable(answer.trailers, side), answer.interim)


def log_lines(side, listener, count=1):
    logged = side.logs[listener].take(count, 3)
    logged += [l.decode("latin-1").rstrip() for l in side.logs[listener].fresh()]
    return ["log: " + masked_log(l, side) for l in logged]


def exchange(group, name, *sends, listener="main", answers=1, method="GET", brief=False, differs=(), then=None,
             sends_for=None):
    """`brief`: only the answer is looked at; `then(client, answer, lines)` goes on with the connection behind the last answer; `sends_for(side)`: bytes that depend on the side."""
    def play(side):
        side.reset()
        marks = side.marks()
        side.logs[listener].skip()
        lines = []
        with h1.Client(side.ports[listener], timeout=6) as client:
            for data in sends_for(side) if sends_for else sends:
                client.send(data)
            answer = None
            for _ in range(answers):
                answer = client.response(method=method)
                if answer is None:
                    lines.append("answer: none, connection ended")
                    break
                lines.append(answer_line(answer, side))
            if then is not None:
                then(client, answer, lines)
            if not brief:
                ended = answer is not None and "close" in answer.get("connection", "")
                lines.append("connection: %s" % ("ended" if ended or client.ended(0.08) else "open"))
        lines += side.seen(marks)
        if not brief:
            lines += log_lines(side, listener, max(1, sum(line.startswith("answer: H") for line in lines)))
        return lines
    EXCHANGES.append((group, name, play, differs))


def exchange2(group, name, path="/ok", method="GET", more=(), body=None, trailers=None, authority="h", listener="h2", differs=()):
    """Over HTTP/2."""
    def play(side):
        side.reset()
        marks = side.marks()
        side.logs[listener].skip()
        with h2.Client(side.ports[listener], timeout=6) as client:
            if body is not None and len(body) > 65535:
                client.until(lambda: client.settings_seen)             # for the windows that it opens
            s = client.request(h2.get(path, method, authority, more=more), body, trailers)
            lines = ["answer: %s | %s | body %d %r | ended %s reset %s | trailers %s | interim %s" % (
                s.status, comparable(s.headers, side), len(s.body), s.body[:200], s.ended, s.reset, comparable(s.trailers, side), s.interim)]
            lines.append("connection: %s" % ("lives" if client.alive(1) else "ended"))
        lines += side.seen(marks)
        lines += log_lines(side, listener)
        return lines
    EXCHANGES.append((group, name, play, differs))
