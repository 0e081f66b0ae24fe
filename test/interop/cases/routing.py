"""Finer points of routing: matchers of every kind, levels of header edits, answers that the proxy makes by itself, where requests go."""
import h1
import harness
from cases.engine import CLUSTERS, LISTENERS, add, exchange, exchange2, host, many, request, route, says, to


def headers_of(*tests):
    return {"prefix": "/", "headers": list(tests)}


def one(name, **kind):
    return dict({"name": name}, **kind)


MATCHERS = {
    "exact": one("x-v", string_match={"exact": "Val"}), "nocase": one("x-v", string_match={"exact": "val", "ignore_case": True}),
    "prefix": one("x-v", string_match={"prefix": "va", "ignore_case": True}), "suffix": one("x-v", string_match={"suffix": "al"}),
    "contains": one("x-v", string_match={"contains": "a"}), "regex": one("x-v", string_match={"safe_regex": {"regex": "V[a-z]+"}}),
    "oldexact": one("x-v", exact_match="Val"), "oldprefix": one("x-v", prefix_match="Va"), "oldsuffix": one("x-v", suffix_match="al"),
    "oldcontains": one("x-v", contains_match="a"), "oldregex": one("x-v", safe_regex_match={"regex": "V.l"}),
    "range": one("x-v", range_match={"start": -5, "end": 5}), "present": one("x-v", present_match=True), "absent": one("x-v", present_match=False),
    "notpresent": one("x-v", present_match=True, invert_match=True), "notabsent": one("x-v", present_match=False, invert_match=True),
    "not": one("x-v", string_match={"exact": "Val"}, invert_match=True), "notrange": one("x-v", range_match={"start": -5, "end": 5}, invert_match=True),
    "missing": one("x-v", string_match={"exact": ""}, treat_missing_header_as_empty=True),
    "notmissing": one("x-v", string_match={"exact": "Val"}, treat_missing_header_as_empty=True, invert_match=True),
    "path": one(":path", string_match={"prefix": "/path?"}), "authority": one(":authority", string_match={"suffix": ".authority"}),
    "host": one("host", string_match={"exact": "host.host"}), "method": one(":method", string_match={"exact": "DELETE"}), "scheme": one(":scheme", string_match={"exact": "http"}),
}
QUERIES = {
    "exact": {"name": "q", "string_match": {"exact": "v"}}, "nocase": {"name": "q", "string_match": {"exact": "V", "ignore_case": True}},
    "prefix": {"name": "q", "string_match": {"prefix": "v"}}, "regex": {"name": "q", "string_match": {"safe_regex": {"regex": "v+"}}},
    "present": {"name": "q", "present_match": True}, "absent": {"name": "q", "present_match": False}, "bare": {"name": "q"},
}


def level_hosts():
    levels = lambda name: {"request_headers_to_add": [add("x-level", name), add("x-over", name, "OVERWRITE_IF_EXISTS_OR_ADD"), add("x-first", name, "ADD_IF_ABSENT")],
                           "response_headers_to_add": [add("x-rlevel", name), add("x-rover", name, "OVERWRITE_IF_EXISTS_OR_ADD")]}
    return [host("levels", dict(route("/plain", "a"), **levels("route")), dict(route("/direct", **says("d")), **levels("route")),
                 dict(route("/redirect", redirect={"path_redirect": "/x"}), **levels("route")), dict(route("/error", "refused"), **levels("route")),
                 dict(route("/none", "missing"), **levels("route")), dict(route("/empty", "empty"), **levels("route")),
                 dict(route("/weighted", {"weighted_clusters": {"clusters": [dict({"name": "b", "weight": 1}, **levels("weight"))]}}), **levels("route")),
                 route("/remove", to(), request_headers_to_remove=["x-level", "x-own"], response_headers_to_remove=["x-rlevel", "x-served-by", "content-length"]),
                 **levels("host"))]


def levels_table(**more):
    edits = {"request_headers_to_add": [add("x-level", "table"), add("x-over", "table", "OVERWRITE_IF_EXISTS_OR_ADD")],
             "response_headers_to_add": [add("x-rlevel", "table"), add("x-rover", "table", "OVERWRITE_IF_EXISTS_OR_ADD")], "response_headers_to_remove": ["x-drop"]}
    return dict(edits, **more)


def answer_hosts():
    return [host("answers", *[route("/s%d" % status, **says("body", status)) for status in (200, 201, 204, 205, 304, 400, 404, 418, 429, 500, 503, 598)],
                 route("/nobody", direct_response={"status": 200}), route("/nobody404", direct_response={"status": 404}),
                 route("/bytes", direct_response={"status": 200, "body": {"inline_bytes": "AAECAw=="}}),
                 dict(route("/typed", **says("{}")), response_headers_to_add=[add("content-type", "application/json", "OVERWRITE_IF_EXISTS_OR_ADD")]),
                 dict(route("/appendtype", **says("{}")), response_headers_to_add=[add("content-type", "application/json")]),
                 dict(route("/location", **says("go", 302)), response_headers_to_add=[add("location", "http://e.test/there")]),
                 dict(route("/format", **says("f", 203)), response_headers_to_add=[add("x-f", "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %REQ(:PATH)% %ROUTE_NAME% %PROTOCOL%")], name="named"),
                 dict(route("/length", **says("12345")), response_headers_to_add=[add("content-length", "2", "OVERWRITE_IF_EXISTS_OR_ADD")]),
                 route("/header/", {"cluster_header": "x-to"}), route("/header404/", {"cluster_header": "x-to", "cluster_not_found_response_code": "NOT_FOUND"}),
                 route("/500/", to("missing", cluster_not_found_response_code="INTERNAL_SERVER_ERROR")),
                 route("/wheader/", {"weighted_clusters": {"clusters": [{"cluster_header": "x-to", "weight": 1}]}}),
                 route("/auto/", to("named", auto_host_rewrite=True)), route("/autoxfh/", to("named", auto_host_rewrite=True, append_x_forwarded_host=True)),
                 route({"prefix": "/frac0", "runtime_fraction": {"default_value": {"numerator": 0}}}, **says("never")), route("/frac0", **says("else")),
                 route({"prefix": "/frac", "runtime_fraction": {"default_value": {"numerator": 100}}}, **says("always")),
                 route({"prefix": "/tls", "tls_context": {"presented": True}}, **says("tls")), route("/tls", **says("plain")),
                 route({"prefix": "/grpc", "grpc": {}}, **says("grpc")), route("/grpc", **says("not grpc")), domains=["h"]),
            host("redirects", *[route("/" + name + "/", redirect=r) for name, r in REDIRECTS.items()], domains=["*"])]


REDIRECTS = {
    "https": {"https_redirect": True}, "scheme": {"scheme_redirect": "HTTPS"}, "same": {"scheme_redirect": "http", "path_redirect": "/n"},
    "port": {"port_redirect": 81}, "httpsport": {"https_redirect": True, "port_redirect": 443}, "host": {"host_redirect": "e.test"},
    "hostport": {"host_redirect": "e.test", "port_redirect": 8443}, "hostwith": {"host_redirect": "e.test:1", "https_redirect": True},
    "path": {"path_redirect": "/n"}, "pathq": {"path_redirect": "/n?a=b"}, "strip": {"path_redirect": "/n", "strip_query": True},
    "stripq": {"path_redirect": "/n?a=b", "strip_query": True}, "hoststrip": {"host_redirect": "e.test", "strip_query": True},
    "prefix": {"prefix_rewrite": "/new/"}, "prefixstrip": {"prefix_rewrite": "/new/", "strip_query": True}, "prefixnone": {"prefix_rewrite": "new"},
    "regex": {"regex_rewrite": {"pattern": {"regex": "/([a-z]+)/(.*)"}, "substitution": "/\\2/\\1"}},
    "regexstrip": {"regex_rewrite": {"pattern": {"regex": "[aeiou]"}, "substitution": "_"}, "strip_query": True},
    "all": {"https_redirect": True, "host_redirect": "e.test", "port_redirect": 1, "path_redirect": "/n", "response_code": "PERMANENT_REDIRECT"},
}

LISTENERS.update({
    "matchers": lambda side: {"hosts": [host(n, route(headers_of(m), **says("yes")), route("/", **says("no")), domains=[n + ".h"]) for n, m in MATCHERS.items()] +
                              [host("host" + n, route(headers_of(m), **says("yes")), route("/", **says("no")), domains=["x." + n if n == "authority" else "host." + n])
                               for n, m in MATCHERS.items() if n in ("authority", "host")] +
                              [host("q" + n, route({"prefix": "/", "query_parameters": [m]}, **says("yes")), route("/", **says("no")), domains=[n + ".q"]) for n, m in QUERIES.items()]},
    "levels": lambda side: {"hosts": level_hosts(), "table": levels_table()},
    "specific": lambda side: {"hosts": level_hosts(), "table": levels_table(most_specific_header_mutations_wins=True)},
    "answers": lambda side: {"hosts": answer_hosts()},
    "answers2": lambda side: {"hosts": answer_hosts(), "codec_type": "HTTP2"},
    "noports": lambda side: {"hosts": [host(n, route("/", **says(n)), domains=[d]) for n, d in (("exact", "a.test"), ("suffix", "*.b.test"), ("prefix", "c.*"), ("port", "d.test:80"), ("six", "[::1]"))],
                             "table": {"ignore_port_in_host_matching": True}},
    "byheader": lambda side: {"hosts": [host("a", route("/", **says("a")), domains=["a.test"]), host("any", route("/", **says("any")))], "table": {"vhost_header": "x-host"}},
})
CLUSTERS.append(lambda side: dict(harness.cluster("named", side.b.port), load_assignment={"cluster_name": "named", "endpoints": [{"lb_endpoints": [
    {"endpoint": {"address": harness.address(side.b.port), "hostname": "endpoint.test"}}]}]}))


def fill():
    values = ("", "x-v: Val", "x-v: val", "x-v:", "x-v: 3", "x-v: -5", "x-v: 5", "x-v: Val & x-v: other", "x-v: other & x-v: Val")
    for name in MATCHERS:
        if name in ("path", "authority", "host", "method", "scheme"):
            continue
        for headers in values:
            exchange("matchers", "%s on %s" % (name, headers or "nothing"), request("/", host=name + ".h", headers=headers), listener="matchers", brief=True)
    for path, target in (("/path?x", "path.h"), ("/path", "path.h"), ("/", "x.authority"), ("/", "authority.h"), ("/", "host.host"), ("/", "scheme.h")):
        exchange("matchers", "%s %s" % (target, path), request(path, host=target), listener="matchers", brief=True)
    for method in ("DELETE", "GET"):
        exchange("matchers", "method " + method, request("/", host="method.h", method=method), listener="matchers", brief=True)
    for name in QUERIES:
        for path in ("/", "/?q=v", "/?q=V", "/?q", "/?q=", "/?qq=v", "/?a=1&q=v", "/?q=x&q=v", "/?q=v&q=x", "/?q=%76", "/?&q=v", "/?q=v#f", "/?q=v+v"):
            if "#" in path:
                continue
            exchange("query", "%s on %s" % (name, path), request(path, host=name + ".q"), listener="matchers", brief=True)
    for listener in ("levels", "specific"):
        for path in ("/plain", "/direct", "/redirect", "/error", "/none", "/empty", "/weighted", "/remove", "/nowhere"):
            exchange("levels", "%s %s" % (listener, path), request(path, headers="x-own: 1 & x-level: own & x-over: own"), listener=listener)
    for path in ["/s%d" % s for s in (200, 201, 204, 205, 304, 400, 404, 418, 429, 500, 503, 598)] + ["/nobody", "/nobody404", "/bytes", "/typed", "/appendtype", "/location", "/format", "/length",
                 "/500/", "/frac0", "/frac", "/tls", "/grpc"]:
        differs = {"/s204": ("length of nothing",), "/location": ("one location",)}.get(path, ())
        exchange("answers", path, request(path), listener="answers", differs=differs)
        exchange("answers", "HEAD " + path, request(path, method="HEAD"), listener="answers", method="HEAD", differs=differs)
        exchange2("answers", "h2 " + path, path, listener="answers2", differs=differs)
    exchange("answers", "gRPC match", request("/grpc", headers="content-type: application/grpc+json"), listener="answers")
    for prefix in ("/header/", "/header404/", "/wheader/"):
        for headers in ("", "x-to: a", "x-to: missing", "x-to:", "x-to: a & x-to: b", "x-to: empty"):
            exchange("answers", "%s %s" % (prefix, headers), request(prefix, headers=headers), listener="answers")
    for path in ("/auto/", "/autoxfh/"):
        exchange("answers", path, request(path), listener="answers")
        exchange("answers", path + " forwarded", request(path, headers="x-forwarded-host: before"), listener="answers")
    for name in REDIRECTS:
        for target in ("r.test", "r.test:80", "r.test:443", "r.test:8080", "[::1]:80"):
            if target == "r.test" or name in ("https", "scheme", "same", "port", "httpsport", "path"):
                exchange("redirect", "%s at %s" % (name, target), request("/%s/rest?q=1" % name, host=target), listener="answers")
        exchange("redirect", "%s behind TLS" % name, request("/%s/rest" % name, host="r.test:443", headers="x-forwarded-proto: https"), listener="answers")
    for name in ("a.test", "a.test:99", "x.b.test:1", "c.x:5", "d.test", "d.test:80", "[::1]:99", "[::1]", "e.test:80"):
        exchange("host match", "without ports " + name, request("/", host=name), listener="noports")
    for headers in ("", "x-host: a.test", "x-host: A.test", "x-host: b.test", "x-host: a.test & x-host: b.test"):
        exchange("host match", "by header " + headers, request("/", headers=headers), listener="byheader")
    exchange("limits", "no body limit", request("/echo", method="POST", body=b"b" * 1000000))
    exchange("limits", "chunked 1 MB", b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1f400\r\n" + b"c" * 128000 + b"\r\n") * 8 + b"0\r\n\r\n")
