"""Retries, timeouts and limits of time: what is tried again, how often, and what the client and the log are told."""
import time

import h1
import harness
from cases.engine import CLUSTERS, EXCHANGES, LISTENERS, answer_line, comparable, exchange, exchange2, host, log_lines, request, route, says, to
from cases.clients import INTERNAL

h1.BROKEN.update({
    "/stall": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", False),
    "/marked": (b"HTTP/1.1 200 OK\r\nX-Retry: yes\r\nContent-Length: 2\r\n\r\nok", False),
    "/limited": (b"HTTP/1.1 503 Busy\r\nX-Envoy-Ratelimited: true\r\nContent-Length: 0\r\n\r\n", False),
    "/overloaded": (b"HTTP/1.1 503 Busy\r\nX-Envoy-Overloaded: true\r\nContent-Length: 0\r\n\r\n", False),
    "/soon": (b"HTTP/1.1 503 Busy\r\nX-Reset: 1\r\nContent-Length: 0\r\n\r\n", False),
    "/later": (b"HTTP/1.1 503 Busy\r\nX-Reset: 1000\r\nContent-Length: 0\r\n\r\n", False),
    "/never": (b"HTTP/1.1 503 Busy\r\nX-Reset: soon\r\nContent-Length: 0\r\n\r\n", False),
    "/past": (b"HTTP/1.1 503 Busy\r\nX-Reset-At: 1000\r\nContent-Length: 0\r\n\r\n", False),
    "/second": (b"HTTP/1.1 503 Busy\r\nX-Reset-At: 1000\r\nX-Reset: 1\r\nContent-Length: 0\r\n\r\n", False),
    "/hints": (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", False),
})
FAST = {"base_interval": "0.001s", "max_interval": "0.002s"}


def policy(on, retries=1, **more):
    return dict({"retry_on": on, "num_retries": retries, "retry_back_off": FAST}, **more)


POLICIES = {
    "5xx": policy("5xx"), "5xx3": policy("5xx", 3), "5xx0": policy("5xx", 0), "gateway": policy("gateway-error"), "reset": policy("reset"),
    "before": policy("reset-before-request"), "connect": policy("connect-failure"), "refused": policy("refused-stream"),
    "4xx": policy("retriable-4xx"), "codes": policy("retriable-status-codes", 2, retriable_status_codes=[404, 418]),
    "headers": policy("retriable-headers", retriable_headers=[{"name": "x-retry", "string_match": {"exact": "yes"}}]),
    "onlyif": policy("5xx", retriable_request_headers=[{"name": "x-may", "present_match": True}]),
    "limited": policy("envoy-ratelimited"), "many": policy("5xx,gateway-error,connect-failure,reset", 2),
    "try": policy("5xx", 1, per_try_timeout="0.1s"), "tryonce": policy("5xx", 0, per_try_timeout="0.1s"),
    "tryreset": policy("reset", 1, per_try_timeout="0.1s"), "trygateway": policy("gateway-error", 1, per_try_timeout="0.1s"),
    "unknown": policy("5xx,no-such-thing"), "grpc": policy("unavailable,cancelled", 2), "early": policy("retriable-status-codes", 2, retriable_status_codes=[200]),
    "told": policy("5xx", 1, rate_limited_retry_back_off={"reset_headers": [{"name": "X-Reset-At", "format": "UNIX_TIMESTAMP"}, {"name": "x-reset"}],
                                                          "max_interval": "100s"}),
    "tryidle": policy("5xx", 1, per_try_idle_timeout="0.15s"), "tryidleonce": policy("5xx", 0, per_try_idle_timeout="0.15s"),
    "default": {"retry_on": "5xx", "retry_back_off": FAST},
}


def retry_hosts(side):
    routes = [route("/%s/" % name, to(prefix_rewrite="/", timeout="3s", retry_policy=p)) for name, p in POLICIES.items()]
    routes += [route("/%s2/" % name, to("two", prefix_rewrite="/", timeout="3s", retry_policy=POLICIES[name]))
               for name in ("5xx", "refused", "reset", "connect", "grpc")]
    routes += [route("/%sdown/" % name, to("refused", prefix_rewrite="/", timeout="3s", retry_policy=POLICIES[name]))
               for name in ("5xx", "connect", "gateway", "reset", "before", "refused")]
    routes += [route("/%s/" % name, to(name, prefix_rewrite="/", timeout="3s", retry_policy=POLICIES["5xx3"])) for name in ("nobudget", "budget")]
    routes += [route("/%s/" % name, to(name, prefix_rewrite="/", timeout="3s", retry_policy=POLICIES[name])) for name in ("canaries", "old", "levels")]
    routes += [route("/alllevels/", to("nolevels", prefix_rewrite="/", timeout="3s", retry_policy=POLICIES["alllevels"])),
               route("/twice/", to("levels", prefix_rewrite="/", timeout="3s", retry_policy=POLICIES["twice"])),
               route("/twicetwice/", to("levels", prefix_rewrite="/", timeout="3s", retry_policy=POLICIES["twicetwice"]))]
    routes += [route("/short/", to(prefix_rewrite="/", timeout="0.25s", retry_policy=policy("5xx", 5, per_try_timeout="0.1s"))),
               route("/longtry/", to(prefix_rewrite="/", timeout="0.2s", retry_policy=policy("5xx", 1, per_try_timeout="5s"))),
               route("/plain/", to(prefix_rewrite="/", timeout="3s")), route("/noroute/", to(prefix_rewrite="/", timeout="0.2s")),
               route("/never/", to(prefix_rewrite="/", timeout="0s")), route("/empty/", to("empty", retry_policy=POLICIES["5xx3"])), route("/none/", "missing")]
    return [host("retry", *routes, domains=["h"]),
            host("counting", *routes, domains=["count"], include_request_attempt_count=True, include_attempt_count_in_response=True),
            host("timeouts", *routes, domains=["timeouts"], include_is_timeout_retry_header=True),
            host("byhost", route("/own/", to(prefix_rewrite="/", retry_policy=policy("gateway-error", 1))), route("/", to()),
                 domains=["byhost"], retry_policy=policy("5xx", 2))]


def time_hosts(side):
    return [host("times", route("/t/", to(prefix_rewrite="/", timeout="0.2s")), route("/idle/", to(prefix_rewrite="/", timeout="0s", idle_timeout="0.2s")),
                 route("/noidle/", to(prefix_rewrite="/", timeout="0.4s", idle_timeout="0s")),
                 route("/most/", to(prefix_rewrite="/", timeout="0s", max_stream_duration={"max_stream_duration": "0.2s"})),
                 route("/any/", to(prefix_rewrite="/", timeout="0.4s", max_stream_duration={"max_stream_duration": "0s"})),
                 route("/grpc/", to(prefix_rewrite="/", timeout="0s", max_stream_duration={"grpc_timeout_header_max": "0.3s"})),
                 route("/grpcany/", to(prefix_rewrite="/", timeout="0s", max_grpc_timeout="0s")), route("/grpcmost/", to(prefix_rewrite="/", timeout="5s", max_grpc_timeout="0.3s")),
                 route("/grpcless/", to(prefix_rewrite="/", timeout="5s", max_grpc_timeout="2s", grpc_timeout_offset="0.1s")),
                 route("/", to(timeout="0s")))]


def predicate(name, kind, **fields):
    return {"name": name, "typed_config": dict({"@type": "type.googleapis.com/envoy.extensions.retry." + kind}, **fields)}


CANARIES = predicate("canaries", "host.omit_canary_hosts.v3.OmitCanaryHostsPredicate")
OLD = predicate("old", "host.omit_host_metadata.v3.OmitHostMetadataConfig", metadata_match={"filter_metadata": {"envoy.lb": {"version": "old"}}})
PRIORITIES = predicate("previous", "priority.previous_priorities.v3.PreviousPrioritiesConfig", update_frequency=1)
TWICE = predicate("previous", "priority.previous_priorities.v3.PreviousPrioritiesConfig", update_frequency=2)
POLICIES.update({
    "canaries": policy("connect-failure", 1, retry_host_predicate=[CANARIES], host_selection_retry_max_attempts=20),
    "old": policy("connect-failure", 1, retry_host_predicate=[OLD], host_selection_retry_max_attempts=20),
    "levels": policy("connect-failure", 1, retry_priority=PRIORITIES), "alllevels": policy("connect-failure", 3, retry_priority=PRIORITIES),
    "twice": policy("connect-failure", 1, retry_priority=TWICE), "twicetwice": policy("connect-failure", 2, retry_priority=TWICE),
})


def labelled(side, name, **labels):
    """Two hosts with these labels that refuse, and one without that answers."""
    made = harness.cluster(name, side.ports["refused"], side.ports["refused"] + 0, side.a.port)
    hosts = made["load_assignment"]["endpoints"][0]["lb_endpoints"]
    hosts[1]["endpoint"]["address"]["socket_address"]["address"] = "127.0.0.9"
    for each in hosts[:2]:
        each["metadata"] = {"filter_metadata": {"envoy.lb": labels}}
    return made


def levelled(side, name, *levels):
    made = harness.cluster(name)
    made["load_assignment"]["endpoints"] = [{"priority": i, "locality": {"zone": "z%d" % i}, "lb_endpoints": [{"endpoint": {"address": harness.address(port)}}]}
                                            for i, port in enumerate(levels)]
    return made


CLUSTERS.extend([
    lambda side: labelled(side, "canaries", canary=True), lambda side: labelled(side, "old", version="old"),
    lambda side: levelled(side, "levels", side.ports["refused"], side.a.port), lambda side: levelled(side, "nolevels", side.ports["refused"]),
    lambda side: harness.cluster("nobudget", side.a.port, circuit_breakers={"thresholds": [{"retry_budget": {"budget_percent": {"value": 0}, "min_retry_concurrency": 0}}]}),
    lambda side: harness.cluster("budget", side.a.port, circuit_breakers={"thresholds": [{"max_retries": 0, "retry_budget": {}}]}),
])
LISTENERS.update({
    "retry": lambda side: {"hosts": retry_hosts(side), "internal_address_config": INTERNAL},
    "retry2": lambda side: {"hosts": retry_hosts(side), "internal_address_config": INTERNAL, "codec_type": "HTTP2"},
    "times": lambda side: {"hosts": time_hosts(side), "internal_address_config": INTERNAL},
    "times2": lambda side: {"hosts": time_hosts(side), "codec_type": "HTTP2"},
    "idle": lambda side: {"hosts": time_hosts(side), "stream_idle_timeout": "0.2s"},
    "overall": lambda side: {"hosts": time_hosts(side), "request_timeout": "0.2s"},
    "duration": lambda side: {"hosts": time_hosts(side), "common_http_protocol_options": {"max_stream_duration": "0.25s"}},
    "heads": lambda side: {"hosts": time_hosts(side), "request_headers_timeout": "0.2s"},
})
INSIDE = "x-forwarded-for: 10.0.0.1"


def slow_body(name, size, path="/early/early", pause=0.03):
    """The upstream answers, and is tried again, while the body still comes: every try gets the body from its start, and the last answer,
    early as it is, ends the exchange."""
    body = bytes(i * 7 % 251 for i in range(size))

    def play(side):
        mark = side.a.mark()
        side.logs["retry"].skip()
        with h1.Client(side.ports["retry"], timeout=6) as client:
            client.send(request(path, method="POST", headers="content-length: %d" % size))
            for at in range(0, size, -(-size // 8)):
                client.send(body[at:at - (-size // 8)])
                time.sleep(pause)
            answer = client.response()
            lines = ["answer: %d %r" % (answer.status, answer.body)]
        tries = side.a.since(mark)[0]
        lines.append("%d tries, each from the start of the body: %s" % (len(tries), all(body.startswith(bytes(t.body)) for t in tries)))
        return lines + side.a.bad()
    EXCHANGES.append(("retry", name, play, ()))


def fill():
    def retry(path, headers="", name=None, **more):
        exchange("retry", name or path + (" " + headers if headers else ""), request(path, headers=INSIDE + (" & " + headers if headers else ""), **more), listener="retry")
    for name in ("5xx", "5xx3", "5xx0", "gateway", "reset", "before", "connect", "many", "unknown", "default", "plain"):
        for path in ("/flaky1", "/flaky3", "/status/500", "/status/502", "/rst", "/close", "/garbage"):
            retry("/" + name + path)
    for path in ("/4xx/status/409", "/4xx/status/404", "/codes/status/404", "/codes/status/418", "/codes/status/500", "/headers/marked", "/headers/ok", "/headers/status/500",
                 "/onlyif/flaky1", "/limited/limited", "/5xx/limited", "/5xx/overloaded", "/5xx/stall?x", "/try/ok", "/try/hang", "/tryonce/hang", "/tryreset/hang", "/trygateway/hang",
                 "/short/hang", "/longtry/hang", "/5xx2/reset/2", "/5xx2/reset/7", "/refused2/reset/7", "/refused2/reset/2", "/reset2/reset/2", "/connect2/reset/7",
                 "/5xx2/goaway", "/5xxdown/", "/connectdown/", "/gatewaydown/", "/resetdown/", "/beforedown/", "/refuseddown/", "/empty/x", "/5xx/hints", "/plain/hints"):
        if path == "/5xx/stall?x":
            continue
        retry(path)
    retry("/onlyif/flaky1", "x-may: 1")
    for headers in ("x-envoy-retry-on: 5xx", "x-envoy-retry-on: 5xx & x-envoy-max-retries: 3", "x-envoy-retry-on: gateway-error", "x-envoy-max-retries: 3", "x-envoy-retry-on: nonsense",
                    "x-envoy-retry-on: 5xx & x-envoy-max-retries: 0", "x-envoy-retry-on: 5xx & x-envoy-max-retries: x", "x-envoy-retry-grpc-on: unavailable"):
        for path in ("/plain/flaky1", "/plain/flaky3", "/gateway/flaky3", "/5xx0/flaky1"):
            retry(path, headers)
    retry("/plain/status/404", "x-envoy-retry-on: retriable-status-codes & x-envoy-retriable-status-codes: 404,418 & x-envoy-max-retries: 2")
    retry("/plain/status/500", "x-envoy-retry-on: retriable-status-codes & x-envoy-retriable-status-codes: 404")
    retry("/codes/status/500", "x-envoy-retriable-status-codes: 500")
    retry("/plain/marked", "x-envoy-retry-on: retriable-headers & x-envoy-retriable-header-names: x-other, X-Retry")
    retry("/plain/hang", "x-envoy-upstream-rq-timeout-ms: 150")
    retry("/plain/hang", "x-envoy-upstream-rq-timeout-ms: 150 & x-envoy-upstream-rq-timeout-alt-response: 1")
    retry("/5xx/hang", "x-envoy-upstream-rq-per-try-timeout-ms: 100")
    retry("/plain/hang", "x-envoy-upstream-rq-per-try-timeout-ms: 100")
    retry("/noroute/ok", "x-envoy-upstream-rq-timeout-ms: 0")
    retry("/plain/ok", "x-envoy-expected-rq-timeout-ms: 5")
    for body in (0, 5, 70000, 900000):
        retry("/5xx3/flaky2", method="POST", body=b"b" * body, name="body of %d" % body)
        retry("/reset/rst", method="POST", body=b"b" * body, name="reset with a body of %d" % body)
    for path in ("/told/soon", "/told/later", "/told/never", "/told/past", "/told/second", "/told/flaky1", "/tryidle/hang", "/tryidleonce/hang", "/tryidle/stall", "/tryidle/ok",
                 "/nobudget/flaky1", "/budget/flaky1", "/budget/flaky3"):
        retry(path)
    for path in ("/levels/ok", "/alllevels/ok", "/twice/ok", "/twicetwice/ok"):
        retry(path)
    for path in ("/canaries/", "/old/"):
        for i in range(6):
            exchange("retry", "%s%d" % (path, i), request(path + str(i), headers=INSIDE), listener="retry", brief=True)
    for path in ("/try/hang", "/5xx3/flaky2", "/many/rst", "/plain/ok", "/tryidle/hang"):
        retry(path, host="timeouts", name="timeout header: " + path)
    for path in ("/grpcany/ok", "/grpcmost/ok", "/grpcless/ok"):
        for headers in ("content-type: application/grpc", "content-type: application/grpc & grpc-timeout: 200m", "content-type: application/grpc+proto & grpc-timeout: 90S",
                        "content-type: application/grpc & grpc-timeout: x", "grpc-timeout: 200m", "content-type: application/grpc & grpc-timeout: 50m"):
            exchange("times", path + " " + headers, request(path, headers=headers), listener="times")
    for path in ("/grpcany/hang", "/grpcless/hang"):
        exchange("times", path + " grpc 200m", request(path, headers="content-type: application/grpc & grpc-timeout: 200m"), listener="times")
    exchange("times", "/grpcmost/hang", request("/grpcmost/hang", headers="content-type: application/grpc"), listener="times")
    for size in (800, 200000, 900000):
        slow_body("a body of %d that still comes" % size, size)
    exchange("retry", "chunked body", b"POST /5xx/flaky1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", listener="retry")
    exchange("retry", "HEAD", request("/5xx/flaky1", method="HEAD"), method="HEAD", listener="retry")
    for path in ("/5xx3/flaky2", "/5xx/flaky3", "/5xxdown/", "/5xx/rst", "/plain/ok", "/plain/status/500", "/try/hang", "/empty/x", "/none/x"):
        exchange("retry", "counted " + path, request(path, host="count"), listener="retry")
        exchange("retry", "counted with a header " + path, request(path, host="count", headers="x-envoy-attempt-count: 5"), listener="retry")
    for path in ("/flaky2", "/own/flaky1", "/own/status/500", "/flaky3"):
        exchange("retry", "of the virtual host " + path, request(path, host="byhost"), listener="retry")
    grpc = [("content-type", "application/grpc"), ("te", "trailers")]
    for path in ("/grpc2/grpc", "/grpc2/grpc/14", "/grpc2/grpc/1", "/grpc2/grpc/5", "/5xx2/reset/2", "/5xxdown/x", "/try/hang", "/empty/x"):
        exchange2("retry", "gRPC " + path, path, "POST", more=grpc, body=b"\0\0\0\0\0", listener="retry2", differs=("early answer",) if path == "/empty/x" else ())
    exchange2("retry", "h2 " + "/5xx3/flaky2", "/5xx3/flaky2", "POST", body=b"b" * 5000, listener="retry2")
    exchange2("retry", "h2 with trailers", "/5xx3/flaky2", "POST", body=b"b" * 5000, trailers=[("x-t", "1")], listener="retry2")

    for path in ("/t/ok", "/t/hang", "/t/stall", "/idle/hang", "/idle/stall", "/noidle/hang", "/most/hang", "/most/stall", "/most/ok", "/any/ok", "/grpc/ok"):
        exchange("times", path, request(path), listener="times")
        exchange2("times", "h2 " + path, path, listener="times2", differs=("code of an idle stream",) if path == "/idle/stall" else ())
    for listener, paths in (("idle", ("/hang", "/stall", "/ok", "/noidle/hang")), ("duration", ("/hang", "/stall", "/ok", "/any/ok", "/most/hang"))):
        for path in paths:
            exchange("times", "%s %s" % (listener, path), request(path), listener=listener)
            exchange("times", "%s HEAD %s" % (listener, path), request(path, method="HEAD"), listener=listener, method="HEAD")
    half = b"POST /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345"
    for listener in ("idle", "overall", "duration"):
        exchange("times", "%s: half a body" % listener, half, listener=listener)
    exchange("times", "half a head", b"GET /ok HTTP/1.1\r\nHost:", listener="heads")
    for path in ("/grpc/hang", "/most/hang"):
        for value in ("100m", "10S", "0m", "bad"):
            if path == "/most/hang" or value == "100m" or (value == "10S" and path == "/grpc/hang"):
                exchange2("times", "gRPC %s %s" % (path, value), path, "POST", more=[("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", value)],
                          body=b"\0\0\0\0\0", listener="times2")
