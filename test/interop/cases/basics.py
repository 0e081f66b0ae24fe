"""Hosts, paths, headers, rewrites, redirects, header edits, errors, limits, keep-alive, trailers, weights, retries, HTTP/1 with HTTP/2."""
import harness
from cases.engine import LISTENERS, add, chunked, exchange, exchange2, header_match, many, request, route, says, string, to


def host_vhosts():
    return [{"name": n, "domains": d, "routes": [route("/", **says(n))]} for n, d in (
        ("exact", ["exact.test"]), ("port", ["exact.test:8080"]), ("suffix", ["*.suffix.test"]), ("longer", ["*.long.suffix.test"]),
        ("dash", ["*-dash.test"]), ("prefix", ["prefix.*"]), ("longprefix", ["prefix.more.*"]), ("six", ["[::1]", "[::1]:81"]),
        ("several", ["one.test", "two.test"]), ("any", ["*"]))]


def main_vhosts():
    routes = [
        # paths
        route({"path": "/p/exact"}, **says("exact")),
        route({"path": "/p/Case", "case_sensitive": False}, **says("case")),
        route({"path_separated_prefix": "/p/sep"}, **says("separated")),
        route({"safe_regex": {"regex": "/p/re/[a-z]+/[0-9]{2}"}}, **says("regex")),
        route({"prefix": "/p/pre"}, **says("prefix")),
        route({"prefix": "/p/PRE2", "case_sensitive": False}, **says("prefix2")),
        route({"prefix": "/p/q", "query_parameters": [{"name": "k", "string_match": {"exact": "v"}}]}, **says("query value")),
        route({"prefix": "/p/q", "query_parameters": [{"name": "here", "present_match": True}]}, **says("query present")),
        route({"prefix": "/p"}, **says("fallback")),
        # headers
        route({"prefix": "/h", "headers": [string("x-e", exact="one")]}, **says("exact")),
        route({"prefix": "/h", "headers": [string("x-i", exact="ONE", ignore_case=True)]}, **says("ignore case")),
        route({"prefix": "/h", "headers": [string("x-p", prefix="pre")]}, **says("prefix")),
        route({"prefix": "/h", "headers": [string("x-s", suffix="suf")]}, **says("suffix")),
        route({"prefix": "/h", "headers": [string("x-c", contains="mid")]}, **says("contains")),
        route({"prefix": "/h", "headers": [string("x-r", safe_regex={"regex": "a+b"})]}, **says("regex")),
        route({"prefix": "/h", "headers": [header_match("x-n", range_match={"start": 10, "end": 20})]}, **says("range")),
        route({"prefix": "/h", "headers": [header_match("x-here", present_match=True)]}, **says("present")),
        route({"prefix": "/h", "headers": [header_match("x-gone", present_match=True, invert_match=True), string("x-inv", exact="no", )]}, **says("inverted")),
        route({"prefix": "/h", "headers": [dict(string("x-m", exact="v"), treat_missing_header_as_empty=True, invert_match=True), string(":method", exact="PUT")]}, **says("method")),
        route({"prefix": "/h"}, **says("fallback")),
        # rewrites
        route("/w/prefix", to(prefix_rewrite="/new")),
        route("/w/root/", to(prefix_rewrite="/")),
        route("/w/regex", to(regex_rewrite={"pattern": {"regex": "^/w/regex/([a-z]+)"}, "substitution": "/r/\\1/end"})),
        route("/w/hostlit", to(host_rewrite_literal="rewritten.test")),
        route("/w/hosthdr", to(host_rewrite_header="x-host")),
        route("/w/hostpath", to(host_rewrite_path_regex={"pattern": {"regex": "^/w/hostpath/([a-z]+).*"}, "substitution": "\\1.test"})),
        route("/w/both", to(prefix_rewrite="/b", host_rewrite_literal="both.test", append_x_forwarded_host=True)),
        route({"path": "/w/exact"}, to(prefix_rewrite="/exact-rewritten")),
        route({"path_separated_prefix": "/w/sep"}, to(prefix_rewrite="/s")),
        # redirects
        route("/r/host", redirect={"host_redirect": "elsewhere.test"}),
        route("/r/https", redirect={"https_redirect": True}),
        route("/r/scheme", redirect={"scheme_redirect": "ftp"}),
        route("/r/port", redirect={"port_redirect": 8443}),
        route("/r/path", redirect={"path_redirect": "/fixed"}),
        route("/r/qpath", redirect={"path_redirect": "/fixed?q=1"}),
        route("/r/prefix", redirect={"prefix_rewrite": "/moved"}),
        route("/r/regex", redirect={"regex_rewrite": {"pattern": {"regex": "^/r/regex/(.*)$"}, "substitution": "/x/\\1"}}),
        route("/r/strip", redirect={"path_redirect": "/fixed", "strip_query": True}),
        route("/r/302", redirect={"host_redirect": "e.test", "response_code": "FOUND"}),
        route("/r/303", redirect={"host_redirect": "e.test", "response_code": "SEE_OTHER"}),
        route("/r/307", redirect={"host_redirect": "e.test", "response_code": "TEMPORARY_REDIRECT"}),
        route("/r/308", redirect={"host_redirect": "e.test", "response_code": "PERMANENT_REDIRECT"}),
        # header edits
        route("/e/add", to(), request_headers_to_add=[add("x-new", "1"), add("x-have", "2")], response_headers_to_add=[add("x-resp", "1"), add("x-twice", "3")]),
        route("/e/over", to(), request_headers_to_add=[add("x-have", "2", "OVERWRITE_IF_EXISTS_OR_ADD")],
              response_headers_to_add=[add("x-twice", "3", "OVERWRITE_IF_EXISTS_OR_ADD")]),
        route("/e/absent", to(), request_headers_to_add=[add("x-have", "2", "ADD_IF_ABSENT"), add("x-new", "n", "ADD_IF_ABSENT")],
              response_headers_to_add=[add("x-twice", "3", "ADD_IF_ABSENT")]),
        route("/e/exists", to(), request_headers_to_add=[add("x-have", "2", "OVERWRITE_IF_EXISTS"), add("x-new", "n", "OVERWRITE_IF_EXISTS")],
              response_headers_to_add=[add("x-drop", "3", "OVERWRITE_IF_EXISTS")]),
        route("/e/remove", to(), request_headers_to_remove=["x-have", "user-agent"], response_headers_to_remove=["x-drop", "set-cookie"]),
        route("/e/server", to(), response_headers_to_add=[add("server", "mine", "OVERWRITE_IF_EXISTS_OR_ADD")]),
        route("/e/format", to(), request_headers_to_add=[add("x-f", "%REQ(x-have)%|%PROTOCOL%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|100%%")],
              response_headers_to_add=[add("x-f", "%RESPONSE_CODE%|%REQ(x-none?x-have)%|%UPSTREAM_CLUSTER%|%RESPONSE_FLAGS%")]),
        route("/e/empty", to(), request_headers_to_add=[add("x-empty", ""), add("x-keep", "", keep_empty_value=True)]),
        route("/e/direct", **dict(says("direct"), response_headers_to_add=[add("x-resp", "1"), add("content-type", "text/html", "OVERWRITE_IF_EXISTS_OR_ADD")])),
        # direct answers and errors
        route("/d/ok", **says("hello")), route("/d/empty", direct_response={"status": 204}), route("/d/500", **says("bad", 500)),
        route("/d/nocluster", "missing"), route("/d/header", {"cluster_header": "x-cluster"}),
        route("/d/nocluster404", to("missing", cluster_not_found_response_code="NOT_FOUND")),
        route("/d/empty-cluster", "empty"), route("/d/refused", "refused"),
        route("/d/slow", to(timeout="0.2s", prefix_rewrite="/hang")),
        *[route("/d" + p, to(prefix_rewrite=p)) for p in ("/rst", "/close", "/garbage", "/earlyclose", "/dupcl", "/status/404", "/status/503", "/s100", "/s103", "/noeof")],
        # weights
        route("/x/all", {"weighted_clusters": {"clusters": [{"name": "a", "weight": 0}, {"name": "b", "weight": 100}]}}),
        route("/x/edit", {"weighted_clusters": {"clusters": [{"name": "b", "weight": 1, "request_headers_to_add": [add("x-w", "b")],
              "response_headers_to_add": [add("x-wr", "b")], "request_headers_to_remove": ["x-have"], "host_rewrite_literal": "w.test"}]}}),
        route("/x/missing", {"weighted_clusters": {"clusters": [{"name": "missing", "weight": 1}]}}),
        route("/x/header", {"weighted_clusters": {"clusters": [{"name": "a", "weight": 100}, {"name": "b", "weight": 0}], "header_name": "x-random"}}),
        # retries
        route("/t/5xx", to(retry_policy={"retry_on": "5xx", "num_retries": 2}, prefix_rewrite="/flaky2")),
        route("/t/5xxfew", to(retry_policy={"retry_on": "5xx", "num_retries": 1}, prefix_rewrite="/flaky3")),
        route("/t/gateway", to(retry_policy={"retry_on": "gateway-error"}, prefix_rewrite="/flaky1")),
        route("/t/reset", to(retry_policy={"retry_on": "reset", "num_retries": 1}, prefix_rewrite="/rst")),
        route("/t/connect", to("half", retry_policy={"retry_on": "connect-failure", "num_retries": 3}, prefix_rewrite="/ok")),
        route("/t/status", to(retry_policy={"retry_on": "retriable-status-codes", "retriable_status_codes": [404], "num_retries": 2}, prefix_rewrite="/status/404")),
        route("/t/none", to(retry_policy={"retry_on": "gateway-error"}, prefix_rewrite="/status/500")),
        route("/t/pertry", to(timeout="2s", retry_policy={"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.1s"}, prefix_rewrite="/hang")),
        route("/t/refused", to("refused", retry_policy={"retry_on": "5xx", "num_retries": 2})),
        route("/t/attempts", to(retry_policy={"retry_on": "5xx", "num_retries": 2}, prefix_rewrite="/flaky1b")),
        route("/t/503", to(retry_policy={"retry_on": "reset,connect-failure,refused-stream"}, prefix_rewrite="/status/503")),
        # everything else
        route("/up2", to("two", prefix_rewrite="")), route("/upt", to("trail", prefix_rewrite="")),
        route("/", "a"),
    ]
    return [{"name": "main", "domains": ["h"], "routes": routes,
             "request_headers_to_add": [add("x-vhost", "main")], "response_headers_to_remove": ["x-secret"]},
            {"name": "norouter", "domains": ["empty.test"], "routes": [route({"path": "/only"}, "a")]},
            {"name": "tls", "domains": ["tls.test"], "require_tls": "ALL", "routes": [route("/", "a")]},
            {"name": "attempt", "domains": ["attempt.test"], "include_request_attempt_count": True, "include_attempt_count_in_response": True,
             "routes": [route("/", to(retry_policy={"retry_on": "5xx", "num_retries": 2}))]}]


LISTENERS.update({
    "main": lambda side: {"hosts": main_vhosts()},
    "hosts": lambda side: {"hosts": host_vhosts()},
    "http10": lambda side: {"hosts": main_vhosts(), "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "h"}},
    "trailers": lambda side: {"hosts": main_vhosts(), "http_protocol_options": {"enable_trailers": True}},
    "h2": lambda side: {"hosts": main_vhosts(), "codec_type": "HTTP2"},
    "limits": lambda side: {"hosts": harness.everything_to("a"), "max_request_headers_kb": 8, "common_http_protocol_options": {
        "max_headers_count": 20, "max_requests_per_connection": 3}},
    "edge": lambda side: {"hosts": harness.everything_to("a"), "use_remote_address": True, "via": "test-via", "server_name": "named",
                          "proxy_100_continue": False, "strip_any_host_port": True, "generate_request_id": True},
})

HAVE = b"X-Have: 1\r\nUser-Agent: test\r\n"


def fill():
    for host in ("exact.test", "EXACT.test", "exact.test:8080", "exact.test:81", "a.suffix.test", "suffix.test", "a.b.suffix.test", "x.long.suffix.test",
                 "a-dash.test", "prefix.com", "prefix.more.com", "[::1]", "[::1]:81", "two.test", "other.test"):
        exchange("host match", host, request("/", host=host), listener="hosts")
    for path in ("/p/exact", "/p/exact/", "/p/exact?q", "/p/CASE", "/p/sep", "/p/sep/x", "/p/separate", "/p/re/ab/12", "/p/re/ab/123", "/p/prefix", "/p/pre2x",
                 "/p/q?k=v", "/p/q?k=w", "/p/q?a=1&here", "/p/q?k=v&k=w", "/p/%65xact", "/p/a/../exact", "//p/exact", "/P/exact", "/p/exact;x", "/p/re/ab/12?x=1"):
        exchange("path match", path, request(path))
    for text in ("X-E: one", "X-E: two", "x-e: one\r\nX-E: one", "X-I: oNe", "X-P: prefixed", "X-S: a suf", "X-S: suff", "X-C: amidst", "X-R: aaab", "X-R: aaabc", "X-N: 10",
                 "X-N: 20", "X-N: +15", "X-N: 1x", "X-Here:", "X-Here: v", "X-Inv: no", "X-Gone: y\r\nX-Inv: no", "X-Other: v"):
        exchange("header match", text.replace("\r\n", " & "), request("/h", headers=text.encode() + b"\r\n"))
    exchange("header match", "PUT", request("/h", method="PUT", body=b""))
    for path in ("/w/prefix/a?b=c", "/w/prefix", "/w/prefixed", "/w/root/a", "/w/regex/abc/tail?q=1", "/w/regex/123", "/w/hostlit", "/w/hosthdr", "/w/hostpath/abc",
                 "/w/both/x", "/w/exact?z", "/w/sep/deep", "/w/sep"):
        exchange("rewrites", path, request(path, headers=b"X-Host: fromheader.test\r\n"))
    exchange("rewrites", "host header missing", request("/w/hosthdr"))
    for path in ("/r/host/a?b", "/r/https", "/r/scheme/x", "/r/port", "/r/path?keep=1", "/r/qpath?other=1", "/r/prefix/rest?q=1", "/r/regex/a/b?c", "/r/strip?gone=1",
                 "/r/302", "/r/303", "/r/307", "/r/308"):
        exchange("redirects", path, request(path))
    exchange("redirects", "host with port to https", request("/r/https", host="h"))
    exchange("redirects", "require_tls", request("/x?y", host="tls.test"))
    exchange("redirects", "POST", request("/r/host", method="POST", body=b"abc"), differs=("early answer",))
    for path in ("/e/add", "/e/over", "/e/absent", "/e/exists", "/e/remove", "/e/server", "/e/format", "/e/empty", "/e/direct"):
        exchange("header edits", path, request(path, headers=HAVE))
        exchange("header edits", path + " twice", request(path, headers=HAVE + b"x-have: 1b\r\n"))
    exchange("header edits", "response headers of an upstream", request("/headers"))
    exchange("header edits", "hop-by-hop", request(headers=b"Connection: X-Foo, keep-alive\r\nX-Foo: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: x\r\nUpgrade-Insecure-Requests: 1\r\n"))
    exchange("header edits", "forwarded for", request(headers=b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n"))
    exchange("header edits", "edge forwarded for", request(host="h:80", headers=b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\nVia: 1.0 x\r\n"), listener="edge", differs=("loopback",))
    exchange("header edits", "edge response", request("/headers"), listener="edge", differs=("loopback",))
    exchange("header edits", "envoy headers", request(headers=b"X-Envoy-Upstream-Rq-Timeout-Ms: 5000\r\nX-Envoy-Max-Retries: 2\r\nX-Envoy-Internal: true\r\nX-Envoy-Attempt-Count: 7\r\n"))
    exchange("header edits", "attempt count", request(host="attempt.test"))
    for path in ("/d/ok", "/d/empty", "/d/500", "/d/nocluster", "/d/nocluster404", "/d/header", "/d/empty-cluster", "/d/refused", "/d/slow", "/d/rst", "/d/close", "/d/garbage",
                 "/d/earlyclose", "/d/dupcl", "/d/status/404", "/d/status/503", "/d/s100", "/d/s103", "/d/noeof"):
        exchange("errors", path, request(path))
    exchange("errors", "cluster by header", request("/d/header", headers=b"x-cluster: b\r\n"))
    exchange("errors", "no route", request("/none", host="empty.test"))
    exchange("errors", "no host", request("/ok", host="unknown.test"))
    exchange("errors", "HEAD of an error", request("/d/nocluster", method="HEAD"), method="HEAD")
    exchange("errors", "HEAD of a direct answer", request("/d/ok", method="HEAD"), method="HEAD")
    exchange("errors", "POST to a direct answer", request("/d/ok", method="POST", body=b"x" * 100), differs=("early answer",))
    exchange("errors", "missing host", request(host=None))
    exchange("errors", "bad message", b"GET /ok HTTP/1.1\r\nHost: h\r\nbad line\r\n\r\n")
    exchange("errors", "timeout header", request("/hang", headers=b"x-envoy-upstream-rq-timeout-ms: 200\r\nx-forwarded-for: 10.0.0.1\r\n"), listener="inside")
    for name, headers in (("18 headers", many(18)), ("19 headers", many(19)), ("21 headers", many(21)), ("200 headers", many(200)), ("7 KiB", many(7, 1000)), ("9 KiB", many(9, 1000)), ("one of 9000", many(1, 9000))):
        exchange("limits", name, request(headers=headers), listener="limits")
    exchange("limits", "long path", request("/" + "p" * 9000), listener="limits")
    exchange("limits", "requests per connection", *[request()] * 3, answers=3, listener="limits")
    exchange("limits", "one more than may be", *[request()] * 4, answers=4, listener="limits")
    exchange("limits", "60 KiB by default", request(headers=many(61, 1000)))
    exchange("limits", "100 headers by default", request(headers=many(101)))
    for name, headers in (("keep", b""), ("close", b"Connection: close\r\n"), ("Close in a list", b"Connection: x, Close\r\nX: 1\r\n"), ("keep-alive", b"Connection: keep-alive\r\n"), ("upgrade not enabled", b"Connection: upgrade\r\nUpgrade: websocket\r\n")):
        refused = name.startswith("upgrade")
        exchange("keep-alive", name, request(headers=headers), differs=("refused upgrade",) if refused else ())
        if not refused:                                        # HTTP/1.0 has no upgrades (RFC 9110 7.8): the field is not heard
            exchange("keep-alive", name + " 1.0", request(headers=headers, version=b"1.0"), listener="http10")
    exchange("keep-alive", "1.0 refused", request(version=b"1.0"))
    exchange("keep-alive", "1.0 without host", request(host=None, version=b"1.0"), listener="http10")
    exchange("keep-alive", "two requests", request() + request("/d/ok"), answers=2)
    exchange("keep-alive", "after an error", request("/d/nocluster") + request(), answers=2)
    exchange("keep-alive", "upstream closes", request("/closing") + request(), answers=2)
    exchange("keep-alive", "early answer", b"POST /d/ok HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345", differs=("early answer",))
    exchange("keep-alive", "chunked 1.0", request("/chunked/5000", version=b"1.0"), listener="http10")
    exchange("keep-alive", "204", request("/status/204") + request(), answers=2)
    exchange("keep-alive", "304", request("/status/304") + request(), answers=2)
    exchange("keep-alive", "expect", request(method="POST", headers=b"Expect: 100-continue\r\n", body=b"abc"))
    for name, listener in (("off", "main"), ("on", "trailers")):
        exchange("trailers", "request, " + name, chunked("/upt/echo", b"", b"X-T: 1\r\n"), listener=listener)
        exchange("trailers", "several, " + name, chunked("/upt/echo", b"Trailer: a, b\r\n", b"A: 1\r\nB: 2\r\nA: 3\r\n"), listener=listener)
        exchange("trailers", "response, " + name, request("/upt/trailers"), listener=listener)
        exchange("trailers", "response with TE, " + name, request("/upt/trailers", headers=b"TE: trailers\r\n"), listener=listener)
        exchange("trailers", "from an http2 upstream, " + name, request("/up2/trailers"), listener=listener)
        exchange("trailers", "to an http2 upstream, " + name, chunked("/up2/echo", b"", b"X-T: 1\r\n"), listener=listener)
        exchange("trailers", "empty trailer section, " + name, chunked("/echo", b"", b""), listener=listener)
    for path in ("/x/all", "/x/edit", "/x/missing", "/x/header"):
        exchange("weighted clusters", path, request(path, headers=HAVE))
        exchange("weighted clusters", path + " twice", request(path, headers=HAVE) * 2, answers=2)
        exchange("weighted clusters", path + " POST", request(path, method="POST", headers=HAVE, body=b"abc"),
                 differs=("early answer",) if path == "/x/missing" else ())
    for path in ("/t/5xx", "/t/5xxfew", "/t/gateway", "/t/reset", "/t/connect", "/t/status", "/t/none", "/t/pertry", "/t/refused", "/t/attempts", "/t/503"):
        exchange("retries", path, request(path), differs=("rotation",) if path == "/t/connect" else ())
    exchange("retries", "with a body", request("/t/5xx", method="POST", body=b"b" * 5000))
    exchange("retries", "attempt count in the response", request("/flaky1", host="attempt.test"))
    exchange("retries", "by header from inside", request("/flaky1", headers=b"x-envoy-retry-on: 5xx\r\nx-forwarded-for: 10.0.0.1\r\n"))
    for prefix in ("", "/up2"):
        pair = "h2 to %s" % ("h2" if prefix else "h1")
        exchange2("h1/h2 pairs", pair + " GET", prefix + "/ok")
        exchange2("h1/h2 pairs", pair + " HEAD", prefix + "/ok", "HEAD")
        exchange2("h1/h2 pairs", pair + " echo", prefix + "/echo", "POST", body=b"b" * 70000)
        exchange2("h1/h2 pairs", pair + " trailers both ways", prefix + "/trailers", "POST", body=b"abc", trailers=[("x-t", "1")])
        exchange2("h1/h2 pairs", pair + " 404", prefix + "/status/404")
        exchange2("h1/h2 pairs", pair + " 204", prefix + "/status/204")
        exchange2("h1/h2 pairs", pair + " large", prefix + "/size/200000")
        exchange2("h1/h2 pairs", pair + " te and cookies", prefix + "/ok", more=[("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2"), ("x-twice", "1"), ("x-twice", "2")])
        exchange2("h1/h2 pairs", pair + " no answer", "/d/slow" if not prefix else prefix + "/reset/2")
        pair = "h1 to %s" % ("h2" if prefix else "h1")
        exchange("h1/h2 pairs", pair + " GET", request(prefix + "/ok"))
        exchange("h1/h2 pairs", pair + " HEAD", request(prefix + "/ok", method="HEAD"), method="HEAD")
        exchange("h1/h2 pairs", pair + " echo", request(prefix + "/echo", method="POST", body=b"b" * 70000))
        exchange("h1/h2 pairs", pair + " chunked", chunked(prefix + "/echo"))
        exchange("h1/h2 pairs", pair + " large", request(prefix + "/size/200000"))
        exchange("h1/h2 pairs", pair + " cookies", request(prefix + "/ok", headers=b"Cookie: a=1\r\nCookie: b=2\r\n"))
    exchange("h1/h2 pairs", "h1 to h2 reset", request("/up2/reset/2"))
    exchange("h1/h2 pairs", "h1 to h2 refused", request("/up2/reset/7"))
    exchange2("h1/h2 pairs", "h2 direct answer", "/d/ok")
    exchange2("h1/h2 pairs", "h2 redirect", "/r/host")
    exchange2("h1/h2 pairs", "h2 no route", "/x", authority="empty.test")
    exchange2("h1/h2 pairs", "h2 upstream garbage", "/d/garbage")
    grpc = [("content-type", "application/grpc"), ("te", "trailers")]
    for path in ("/d/ok", "/d/500", "/d/nocluster", "/d/empty-cluster", "/d/refused", "/d/slow", "/d/rst", "/d/garbage", "/d/status/503", "/r/host", "/up2/grpc", "/up2/grpc/5", "/up2/reset/2", "/up2/ok"):
        exchange2("gRPC local replies", path, path, "POST", more=grpc, body=b"\0\0\0\0\0", differs=("early answer",))
    exchange2("gRPC local replies", "no route", "/none", "POST", more=grpc, body=b"\0\0\0\0\0", authority="empty.test", differs=("early answer",))
    exchange2("gRPC local replies", "grpc with a suffix", "/d/nocluster", "POST", more=[("content-type", "application/grpc+proto")], body=b"\0\0\0\0\0", differs=("early answer",))
    exchange2("gRPC local replies", "not quite grpc", "/d/nocluster", "POST", more=[("content-type", "application/grpc-web")], body=b"\0\0\0\0\0", differs=("early answer",))
    exchange("gRPC local replies", "over HTTP/1", request("/d/nocluster", method="POST", headers=b"Content-Type: application/grpc\r\n", body=b"\0\0\0\0\0"), differs=("early answer",))
