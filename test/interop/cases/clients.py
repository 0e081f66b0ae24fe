"""Who the client is and what a hop leaves of a head: forwarded fields, request ids, server, via, hosts, paths."""
import h1
import harness
from cases.engine import CLUSTERS, EXCHANGES, LISTENERS, add, chunked, exchange, exchange2, host, request, route, says, to

INTERNAL = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}, {"address_prefix": "127.0.0.0", "prefix_len": 8}]}


def forwarding(**more):
    return lambda side: dict({"hosts": harness.everything_to("a")}, **more)


def detecting(*extensions, **more):
    """With original_ip_detection_extensions: (type, fields) each."""
    made = [{"name": kind, "typed_config": dict({"@type": "type.googleapis.com/envoy.extensions.http.original_ip_detection." + kind}, **fields)}
            for kind, fields in extensions]
    return forwarding(original_ip_detection_extensions=made, internal_address_config=INTERNAL, **more)


XFF, HEADER = "xff.v3.XffConfig", "custom_header.v3.CustomHeaderConfig"


def answering(**more):
    """Says which path it got."""
    return lambda side: dict({"hosts": [host("all", route({"path": "/a/b"}, **says("a/b")), route({"path": "/a/c"}, **says("a/c")),
                                             route({"prefix": "/a//"}, **says("double")), route({"prefix": "/a%2F"}, **says("escaped")),
                                             route("/", "a"))]}, **more)


h1.BROKEN.update({     # these break no rule, but care for case
    "/cased": (b"HTTP/1.1 200 OK\r\nX-CaseD: 1\r\nContent-LENGTH: 2\r\nx-low: 1\r\nContent-Type: text/plain\r\n\r\nok", False),
    "/casedtrailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Ends\r\n\r\n2\r\nok\r\n0\r\nX-Ends: 1\r\nx-low-end: 2\r\n\r\n", False),
})
PRESERVE = "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
PROPER = {"http_protocol_options": {"header_key_format": {"proper_case_words": {}}, "enable_trailers": True}}


def kept(**more):
    return {"http_protocol_options": {"enable_trailers": True, "header_key_format": {"stateful_formatter": {
        "name": "preserve", "typed_config": dict({"@type": PRESERVE}, **more)}}}}


def cased(name, **options):
    return lambda side: harness.cluster(name, side.a.port, typed_extension_protocol_options={
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": harness.HTTP_OPTIONS, "explicit_http_config": options}})


CLUSTERS.extend([cased("proper", **PROPER), cased("kept", **kept())])


def cased_routes(side):
    return [host("all", route("/proper/", to("proper", prefix_rewrite="/")), route("/kept/", to("kept", prefix_rewrite="/")),
                 route("/says", **says("own")), route("/", to("a", prefix_rewrite="/"), request_headers_to_add=[add("x-added-one", "1")],
                                                      response_headers_to_add=[add("x-added$two", "2")]))]


LISTENERS.update({
    "caseproper": lambda side: dict({"hosts": cased_routes(side)}, **PROPER),
    "casekept": lambda side: dict({"hosts": cased_routes(side)}, **kept()),
    "casekeptproper": lambda side: dict({"hosts": cased_routes(side)}, **kept(formatter_type_on_envoy_headers="PROPER_CASE")),
    "caseplain": lambda side: {"hosts": cased_routes(side)},
    "detxff": detecting((XFF, {"xff_num_trusted_hops": 1})),
    "detxffappend": detecting((XFF, {"skip_xff_append": False})),
    "detcidr": detecting((XFF, {"xff_trusted_cidrs": {"cidrs": [{"address_prefix": "127.0.0.0", "prefix_len": 8}, {"address_prefix": "10.0.0.0", "prefix_len": 8}]}})),
    "detcidrappend": detecting((XFF, {"xff_trusted_cidrs": {"cidrs": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}, "skip_xff_append": False})),
    "detstranger": detecting((XFF, {"xff_trusted_cidrs": {"cidrs": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}})),
    "dethead": detecting((HEADER, {"header_name": "x-client", "allow_extension_to_set_address_as_trusted": True})),
    "detheadext": detecting((HEADER, {"header_name": "X-Client"})),
    "detreject": detecting((HEADER, {"header_name": "x-client", "reject_with_status": {"code": 401}})),
    "detrejectodd": detecting((HEADER, {"header_name": "x-client", "reject_with_status": {"code": 200}})),
    "detboth": detecting((HEADER, {"header_name": "x-client"}), (XFF, {})),
    "schemehttps": lambda side: {"hosts": harness.everything_to("two"), "scheme_header_transformation": {"scheme_to_overwrite": "https"}},
    "schemehttp": lambda side: {"hosts": harness.everything_to("two"), "scheme_header_transformation": {"scheme_to_overwrite": "http"}},
    "hop1": forwarding(use_remote_address=True, xff_num_trusted_hops=1),
    "hop2": forwarding(use_remote_address=True, xff_num_trusted_hops=2, skip_xff_append=True),
    "behind1": forwarding(xff_num_trusted_hops=1, internal_address_config=INTERNAL),
    "inside": forwarding(internal_address_config=INTERNAL),
    "edgeinside": forwarding(use_remote_address=True, internal_address_config=INTERNAL),
    "noappend": forwarding(use_remote_address=True, skip_xff_append=True),
    "keepid": forwarding(use_remote_address=True, preserve_external_request_id=True, always_set_request_id_in_response=True),
    "noid": forwarding(generate_request_id=False),
    "absent": forwarding(server_header_transformation="APPEND_IF_ABSENT", server_name="mine"),
    "pass": forwarding(server_header_transformation="PASS_THROUGH"),
    "port": forwarding(append_x_forwarded_port=True, strip_matching_host_port=True),
    "dot": forwarding(strip_trailing_host_dot=True),
    "quiet": lambda side: {"hosts": harness.everything_to("a", timeout="3s"), "http_filters": [
        {"name": "router", "typed_config": {"@type": harness.ROUTER, "suppress_envoy_headers": True}}]},
    "expected": lambda side: {"hosts": harness.everything_to("a"), "internal_address_config": INTERNAL, "http_filters": [
        {"name": "router", "typed_config": {"@type": harness.ROUTER, "respect_expected_rq_timeout": True}}]},
    "normal": answering(normalize_path=True),
    "merge": answering(normalize_path=True, merge_slashes=True),
    "escreject": answering(normalize_path=True, path_with_escaped_slashes_action="REJECT_REQUEST"),
    "escredirect": answering(normalize_path=True, path_with_escaped_slashes_action="UNESCAPE_AND_REDIRECT"),
    "escforward": answering(normalize_path=True, path_with_escaped_slashes_action="UNESCAPE_AND_FORWARD"),
    "internalonly": lambda side: {"hosts": harness.everything_to("a"), "internal_address_config": INTERNAL, "table": {
        "internal_only_headers": ["x-secret", "x-more"]}},
    "continues": forwarding(proxy_100_continue=True),
})

ENVOYS = ("x-envoy-internal: true & x-envoy-external-address: 9.9.9.9 & x-envoy-retry-on: 5xx & x-envoy-max-retries: 3 & x-envoy-decorator-operation: op"
          " & x-envoy-downstream-service-cluster: c & x-envoy-original-path: /x & x-envoy-original-host: o & x-envoy-ip-tags: t"
          " & x-envoy-upstream-alt-stat-name: s & x-envoy-force-trace: 1 & x-envoy-expected-rq-timeout-ms: 77 & x-envoy-attempt-count: 9"
          " & x-envoy-upstream-rq-timeout-ms: 5000 & x-envoy-upstream-rq-per-try-timeout-ms: 4000 & x-envoy-unknown: 1")


def names(block):
    """The names of a head or of trailers as they are on the wire, and none of what follows."""
    lines = block.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return sorted(line.partition(b":")[0].decode("latin-1") for line in lines)


def spelled(name, listener, *sends, answers=1):
    """Header names as they are on the wire, both ways."""
    def play(side):
        side.reset()
        mark = side.a.mark()
        lines = []
        with h1.Client(side.ports[listener], timeout=6) as client:
            for data in sends:
                client.send(data)
            answer = client.response()
            lines.append("answer: %d %s %s" % (answer.status, names(answer.raw), answer.raw.rpartition(b"\r\n0\r\n")[2] if b"hunked" in answer.raw else ""))
        for raw in side.a.since(mark)[1]:
            lines.append("a <- %s %s" % (names(raw), raw.rpartition(b"\r\n0\r\n")[2] if b"chunked" in raw else ""))
        return lines
    EXCHANGES.append(("header case", listener + ": " + name, play, ()))


def fill_case():
    odd = "X-Own-Name: 1 & aCCept: b & x_under$two: 3 & x-low: 4 & X-own-name: 5 & Content-Type: text/own & TE: trailers & x-UP8per: 1"
    for listener in ("caseproper", "casekept", "casekeptproper", "caseplain"):
        for prefix in ("/", "/proper/", "/kept/"):
            spelled(prefix + " GET", listener, request(prefix + "ok", headers=odd))
            spelled(prefix + " POST", listener, request(prefix + "echo", method="POST", headers=odd, body=b"abc"))
            spelled(prefix + " chunked", listener, chunked(prefix + "echo", b"X-A: 1\r\n", b"X-Trailer: 1\r\n"))
            spelled(prefix + " answer's case", listener, request(prefix + "cased"))
            spelled(prefix + " answer's trailers", listener, request(prefix + "casedtrailers"))
        spelled("own answer", listener, request("/says", headers=odd))
        spelled("malformed", listener, b"GET / HTTP/1.1\r\nHost: h\r\nbad header: 1\r\n\r\n")


def fill():
    fill_case()
    lists = {
        "none": "", "one": "x-forwarded-for: 1.2.3.4", "internal one": "x-forwarded-for: 10.1.2.3",
        "two": "x-forwarded-for: 1.2.3.4, 5.6.7.8", "two fields": "x-forwarded-for: 1.2.3.4 & x-forwarded-for: 10.6.7.8",
        "three": "x-forwarded-for: 1.2.3.4,5.6.7.8,10.0.0.9", "IPv6": "x-forwarded-for: 2001:db8::1", "no address": "x-forwarded-for: me",
        "with port": "x-forwarded-for: 1.2.3.4:80", "empty": "x-forwarded-for:",
    }
    detected = dict(lists, **{"header": "x-client: 9.8.7.6", "header inside": "x-client: 10.8.7.6", "header IPv6": "x-client: 2001:db8::7",
                              "header is no address": "x-client: me", "header with port": "x-client: 9.8.7.6:80", "two headers": "x-client: 9.8.7.6 & x-client: 9.8.7.7",
                              "header and list": "x-client: 9.8.7.6 & x-forwarded-for: 1.2.3.4", "inside list": "x-forwarded-for: 1.2.3.4, 10.0.0.1, 10.0.0.2",
                              "broken list": "x-forwarded-for: 1.2.3.4, what, 10.0.0.2", "all inside": "x-forwarded-for: 10.0.0.1, 10.0.0.2", "me alone": "x-forwarded-for: 127.0.0.1"})
    for listener in ("detxff", "detxffappend", "detcidr", "detcidrappend", "detstranger", "dethead", "detheadext", "detreject", "detrejectodd", "detboth"):
        for name, headers in detected.items():
            exchange("address detection", "%s: %s" % (listener, name), request("/ok", headers=headers + (" & " if headers else "") + "x-envoy-max-retries: 3"),
                     listener=listener, differs=("loopback",) if listener in ("detxffappend", "detcidrappend", "detstranger") else ())
    for listener in ("schemehttps", "schemehttp"):
        for name, headers in (("plain", ""), ("told https", "x-forwarded-proto: https"), ("told nonsense", "x-forwarded-proto: gopher")):
            exchange("scheme", "%s: %s" % (listener, name), request("/ok", headers=headers), listener=listener)
        exchange("scheme", listener + ": absolute", request("http://h/ok"), listener=listener)
        exchange2("scheme", listener + ": HTTP/2", listener=listener)
    for listener in ("hop1", "hop2", "behind1", "inside", "edgeinside", "noappend"):
        loop = ("loopback",) if listener in ("hop1", "edgeinside") else ()
        for name, headers in lists.items():
            exchange("client address", "%s: %s" % (listener, name), request(headers=headers), listener=listener, differs=loop)
        exchange("client address", "%s: proto" % listener, request(headers="x-forwarded-proto: https & x-forwarded-for: 1.2.3.4"), listener=listener, differs=loop)
        exchange("client address", "%s: odd proto" % listener, request(headers="x-forwarded-proto: ftp"), listener=listener, differs=loop)
    for listener, headers in (("inside", ""), ("inside", "x-forwarded-for: 10.0.0.1"), ("inside", "x-forwarded-for: 1.1.1.1"), ("edge", ""),
                              ("edgeinside", ""), ("edgeinside", "x-forwarded-for: 10.0.0.1")):
        exchange("envoy's own headers", "%s %s" % (listener, headers or "plain"), request(headers=ENVOYS + (" & " + headers if headers else "")), listener=listener,
                 differs=("loopback",) if listener.startswith("edge") else ())
    for listener in ("keepid", "noid", "edge", "inside", "main"):
        for name, headers in (("none", ""), ("own", "x-request-id: 12345678-1234-4234-8234-123456789012"), ("odd", "x-request-id: mine"),
                              ("two", "x-request-id: a & x-request-id: b")):
            exchange("request id", "%s: %s" % (listener, name), request(headers=headers), listener=listener,
                     differs=("loopback",) if listener in ("keepid", "edge") else ())
        exchange("request id", "%s: of an error" % listener, request("/rst", headers="x-request-id: mine"), listener=listener,
                 differs=("loopback",) if listener in ("keepid", "edge") else ())
    for listener in ("absent", "pass", "main"):
        exchange("server", listener + ": upstream's", request("/headers"), listener=listener)
        exchange("server", listener + ": none", request("/ok"), listener=listener)
        exchange("server", listener + ": error", request("/rst"), listener=listener)
    for name in ("h", "h:80", "h:<port>", "h.", "h.:80", "[::1]:80", "H.Test"):
        for listener in ("port", "dot", "main"):
            exchange("host", "%s: %s" % (listener, name), *[], listener=listener, sends_for=lambda side, n=name, l=listener: [
                request("/ok", host=n.replace("<port>", str(side.ports[l])))])
    for target in (b"GET http://other.test/ok HTTP/1.1\r\nHost: h\r\n\r\n", b"GET http://other.test HTTP/1.1\r\nHost: h\r\n\r\n",
                   b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", b"GET ok HTTP/1.1\r\nHost: h\r\n\r\n"):
        exchange("host", "target " + target.split(b" ")[1].decode(), target, listener="dot")
    for listener in ("normal", "merge", "escreject", "escredirect", "escforward"):
        for path in ("/a/b", "/a/./b", "/a/x/../b", "/a//b", "/a/../../b", "/a%2Fb", "/a%2fc?q=%2F", "/a%5Cb", "/a/%62", "/a\\b", "/a/b?x=/../y", "//a/b", "/a/b/", "/%61/b", "/..", "/a/b/.."):
            exchange("path", "%s: %s" % (listener, path), request(path), listener=listener,
                     differs=("rejected path",) if listener == "escreject" and path.lower()[2:5] in ("%2f", "%5c") else ())
    for headers in ("", "x-forwarded-for: 10.0.0.1", "x-forwarded-for: 1.1.1.1"):
        exchange("hop", "internal only headers, " + (headers or "plain"), request(headers="x-secret: 1 & x-more: 2 & x-kept: 3" + (" & " + headers if headers else "")),
                 listener="internalonly")
    exchange("hop", "suppressed", request(headers=ENVOYS), listener="quiet")
    exchange("hop", "suppressed error", request("/rst"), listener="quiet")
    exchange("hop", "suppressed overload", request("/status/503"), listener="quiet")
    for headers in ("te: trailers", "te: trailers, deflate", "te: gzip", "connection: te & te: trailers", "connection: close, x-a & x-a: 1 & x-b: 2", "proxy-connection: keep-alive",
                    "keep-alive: timeout=5", "connection: keep-alive", "expect: 100-continue", "trailer: x-t", "via: 1.1 before", "accept-encoding: gzip", "content-type: application/json",
                    "x-b3-traceid: 1", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "user-agent:", "cookie: a=1 & cookie: b=2", "x-dup: 1 & x-dup: 2",
                    "X-CASE: Kept", "accept: a & accept: b", "authorization: x", "x-forwarded-host: f", "x-forwarded-port: 1", "forwarded: for=1.2.3.4", "upgrade-insecure-requests: 1"):
        exchange("hop", headers, request(headers=headers), differs=("several fields",) if headers.startswith("accept: a") else ())
    for path in ("/s100", "/s103"):
        exchange("informational", path, request(path), listener="continues")
    exchange("informational", "expect", request(method="POST", headers="expect: 100-continue", body=b"abc"), listener="continues")
    exchange("informational", "expect answered here", request(method="POST", headers="expect: 100-continue", body=b"abc"), listener="inside")
