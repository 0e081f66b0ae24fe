"""Answers that the proxy makes itself: local_reply_config and the formats of direct responses."""
import harness
from cases.engine import CLUSTERS, LISTENERS, add, exchange, exchange2, host, request, route, says, to


def status_is(code, op="EQ"):
    return {"status_code_filter": {"comparison": {"op": op, "value": {"default_value": code, "runtime_key": "none"}}}}


def both(*filters):
    return {"and_filter": {"filters": list(filters)}}


def either(*filters):
    return {"or_filter": {"filters": list(filters)}}


def text(value, **more):
    return dict({"text_format_source": {"inline_string": value}}, **more)


def own(status, body=None, body_format=None, **more):
    made = {"direct_response": {"status": status}}
    if body is not None:
        made["direct_response"]["body"] = {"inline_string": body}
    if body_format is not None:
        made["direct_response"]["body_format"] = body_format
    made.update(more)
    return made


EVERY = ("%LOCAL_REPLY_BODY%|%RESPONSE_CODE%|%RESP(:STATUS)%|%RESPONSE_FLAGS%|%RESPONSE_CODE_DETAILS%|%REQ(:METHOD)%|%REQ(:PATH)%|"
         "%PROTOCOL%|%RESP(x-mapped)%|%ROUTE_NAME%|%UPSTREAM_CLUSTER%|%REQ(x-what)%")


def routes():
    return [host("all", route("/direct", **says("direct body")), route("/empty", **own(204)), route("/two", **own(200, "fine")),
                 route("/teapot", **own(418, "tea")), route("/typed", **own(500, "typed", response_headers_to_add=[add("content-type", "text/own", "OVERWRITE_IF_EXISTS_OR_ADD")])),
                 route("/header", **own(403, "no")), route("/redirect", redirect={"path_redirect": "/there"}),
                 route("/missing", "missing"), route("/refused", "refused"), route("/nobody", "empty"),
                 route("/slow", to(timeout="0.2s", prefix_rewrite="/slow")), route("/status", to(prefix_rewrite="/status")),
                 route("/plain", to(prefix_rewrite="/")), domains=["h"])]


MAPPERS = [
    {"filter": status_is(418), "status_code": 299, "body": {"inline_string": "no tea: %RESPONSE_CODE%"}},
    {"filter": both(status_is(403), {"header_filter": {"header": {"name": "x-what", "string_match": {"exact": "a"}}}}), "status_code": 401,
     "headers_to_add": [add("x-mapped", "%REQ(x-what)% %RESPONSE_CODE%"), add("www-authenticate", "Basic")]},
    {"filter": status_is(403), "body_format_override": {"json_format": {"said": "%LOCAL_REPLY_BODY%", "code": "%RESPONSE_CODE%", "fixed": 7, "yes": True,
                                                                        "missing": "%REQ(x-none)%", "inner": {"list": ["a", True]}}}},
    {"filter": {"response_flag_filter": {"flags": ["NR"]}}, "status_code": 410, "body": {"inline_string": ""}},
    {"filter": {"response_flag_filter": {"flags": ["UF", "UH"]}}, "headers_to_add": [add("x-mapped", "%RESPONSE_FLAGS%"), add("retry-after", "7")],
     "body_format_override": text("<p>%LOCAL_REPLY_BODY%</p>", content_type="text/html; charset=UTF-8")},
    {"filter": either(status_is(504), status_is(400)), "status_code": 500, "body": {"inline_string": "late"}},
    {"filter": status_is(500, "GE"), "headers_to_add": [add("content-type", "text/mapped", "OVERWRITE_IF_EXISTS_OR_ADD")]},
]

LISTENERS.update({
    "mapped": lambda side: {"hosts": routes(), "local_reply_config": {"mappers": MAPPERS, "body_format": text(EVERY)}},
    "maponly": lambda side: {"hosts": routes(), "local_reply_config": {"mappers": MAPPERS}},
    "mapjson": lambda side: {"hosts": routes(), "local_reply_config": {"body_format": {"json_format": {
        "status": "%RESPONSE_CODE%", "text": "%LOCAL_REPLY_BODY%", "path": "%REQ(:PATH)%", "none": "%REQ(x-none)%"}}}},
    "maptyped": lambda side: {"hosts": routes(), "local_reply_config": {"body_format": text("[%LOCAL_REPLY_BODY%]", content_type="text/x-own")}},
    "mapempty": lambda side: {"hosts": routes(), "local_reply_config": {}},
    "formatted": lambda side: {"hosts": [host(
        "all", route("/text", name="r", **own(200, "b", text(EVERY))), route("/none", **own(201, None, text("none:%LOCAL_REPLY_BODY%"))),
        route("/json", **own(202, "b", {"json_format": {"b": "%LOCAL_REPLY_BODY%", "n": "%BYTES_RECEIVED%", "p": "%REQ(:path)%"}})),
        route("/typed", **own(500, "b", text("x", content_type="text/x-own"), response_headers_to_add=[add("x-own", "%RESPONSE_CODE%")])),
        route("/gone", **own(200, "b", text("%REQ(x-what)%"))))]},
    "formatmapped": lambda side: {"hosts": [host("all", route("/", **own(200, "b", text("inner %LOCAL_REPLY_BODY%", content_type="text/x-own"))))],
                                  "local_reply_config": {"body_format": text("outer %LOCAL_REPLY_BODY%")}},
    "slowhead": lambda side: {"hosts": routes(), "request_headers_timeout": "0.2s", "local_reply_config": {"mappers": [
        {"filter": status_is(408), "status_code": 418, "body": {"inline_string": "slow"}, "headers_to_add": [add("x-mapped", "%RESPONSE_CODE%")]}]}},
})

META = {"filter_metadata": {"own": {"text": "a b", "number": 7, "half": 1.5, "yes": True, "none": None, "list": ["x", {"y": 1}], "deep": {"k": {"j": "v"}}}}}
PATHS = ["own:text", "own:number", "own:half", "own:yes", "own:none", "own:list", "own:deep", "own:deep:k:j", "own:deep:k:j:i", "own:missing", "missing", "missing:x"]


def labelled(side):
    made = harness.cluster("labelled", side.a.port, metadata=META)
    made["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["metadata"] = META
    return made


CLUSTERS.append(labelled)
LISTENERS["metadata"] = lambda side: {"hosts": [host("all", *[
    route({"path": "/text/%s/%d" % (kind, i)}, **own(200, None, text("[%%METADATA(%s:%s)%%] %%METADATA(%s:%s):3%%" % (kind, path, kind, path)), metadata=META))
    for kind in ("ROUTE", "CLUSTER", "UPSTREAM_HOST") for i, path in enumerate(PATHS)], *[
    route({"path": "/json/%d" % i}, **own(200, None, {"json_format": {"one": "%%METADATA(ROUTE:%s)%%" % path, "more": "is %%METADATA(ROUTE:%s)%%" % path,
                                                                      "cut": "%%METADATA(ROUTE:%s):2%%" % path}}, metadata=META))
    for i, path in enumerate(PATHS)], route(
        "/", to("labelled", prefix_rewrite="/"), metadata=META, request_headers_to_add=[
            add("x-route-%d" % i, "%%METADATA(ROUTE:%s)%%" % path) for i, path in enumerate(PATHS)], response_headers_to_add=[
            add("x-%s-%d" % (kind.lower(), i), "%%METADATA(%s:%s)%%" % (kind, path)) for kind in ("CLUSTER", "UPSTREAM_HOST") for i, path in enumerate(PATHS)] + [
            add("x-short", "%CLUSTER_METADATA(own:text)% %UPSTREAM_METADATA(own:number)%")]))]}

GRPC = "content-type: application/grpc & te: trailers"


def fill():
    paths = ("/direct", "/empty", "/two", "/teapot", "/typed", "/header", "/redirect", "/missing", "/refused", "/nobody", "/slow",
             "/status/503", "/plain", "/unknown")
    for listener in ("mapped", "maponly", "mapjson", "maptyped", "mapempty"):
        for path in paths:
            differs = ("length of nothing",) if path == "/empty" else ()
            exchange("replies", listener + " " + path, request(path), listener=listener, differs=differs)
    for listener in ("mapped", "maptyped"):
        exchange("replies", listener + " with a header", request("/header", headers="x-what: a"), listener=listener)
        exchange("replies", listener + " HEAD", request("/header", method="HEAD"), listener=listener, method="HEAD")
        exchange("replies", listener + " malformed", b"GET / HTTP/1.1\r\nHost: h\r\nbad header: 1\r\n\r\n", listener=listener, brief=True,
                 differs=("flag of the malformed",))
        exchange("replies", listener + " no host", b"GET / HTTP/1.1\r\n\r\n", listener=listener, brief=True)
        for path in ("/header", "/missing", "/refused", "/slow", "/unknown"):
            exchange("replies", listener + " gRPC " + path, request(path, headers=GRPC), listener=listener)
            exchange2("replies", listener + " HTTP/2 " + path, path, listener=listener)
            exchange2("replies", listener + " HTTP/2 gRPC " + path, path, more=((b"content-type", b"application/grpc"),), listener=listener)
    for path in ("/text", "/none", "/json", "/typed", "/gone"):
        exchange("replies", "formatted " + path, request(path), listener="formatted")
        exchange("replies", "formatted " + path + " with a header", request(path, headers="x-what: a"), listener="formatted")
    exchange("replies", "formatted HEAD", request("/text", method="HEAD"), listener="formatted", method="HEAD")
    exchange("replies", "formatted and mapped", request("/x"), listener="formatmapped")
    exchange("metadata", "in headers", request("/ok"), listener="metadata")
    for i in range(len(PATHS)):
        if PATHS[i] != "own:half":     # Envoy makes it a text
            exchange("metadata", "JSON " + PATHS[i], request("/json/%d" % i), listener="metadata")
        for kind in ("ROUTE", "CLUSTER", "UPSTREAM_HOST"):
            exchange("metadata", "%s %s" % (kind, PATHS[i]), request("/text/%s/%d" % (kind, i)), listener="metadata")
    exchange("replies", "slow head", b"GET / HTTP/1.1\r\nHost: h\r\n", listener="slowhead")
