"""Requests that a second cluster gets as well: what the copy looks like, and that the request itself does not notice."""
import time

import h1
import h2
from cases.engine import EXCHANGES, LISTENERS, add, answer_line, chunked, exchange, host, log_lines, request, route, to


def mirror(cluster="b", **more):
    return dict({"cluster": cluster}, **more)


FRACTIONS = {"all": {"default_value": {"numerator": 100}}, "never": {"default_value": {"numerator": 0}}}


def mirror_hosts(side):
    own = [route("/plain/", to(prefix_rewrite="/", request_mirror_policies=[mirror()])),
           route("/kept/", to(prefix_rewrite="/", request_mirror_policies=[mirror(disable_shadow_host_suffix_append=True)])),
           route("/all/", to(prefix_rewrite="/", request_mirror_policies=[mirror(runtime_fraction=FRACTIONS["all"])])),
           route("/never/", to(prefix_rewrite="/", request_mirror_policies=[mirror(runtime_fraction=FRACTIONS["never"])])),
           route("/header/", to(prefix_rewrite="/", request_mirror_policies=[{"cluster_header": "x-mirror"}])),
           route("/both/", to(prefix_rewrite="/", request_mirror_policies=[mirror(), mirror("two")])),
           route("/two/", to("two", prefix_rewrite="/", request_mirror_policies=[mirror()])),
           route("/totwo/", to(prefix_rewrite="/", request_mirror_policies=[mirror("two")])),
           route("/nobody/", to(prefix_rewrite="/", request_mirror_policies=[mirror("empty")])),
           route("/missing/", to(prefix_rewrite="/", request_mirror_policies=[mirror("missing")])),
           route("/down/", to(prefix_rewrite="/", request_mirror_policies=[mirror("refused")])),
           route("/retried/", to(prefix_rewrite="/", timeout="3s", request_mirror_policies=[mirror()],
                                 retry_policy={"retry_on": "5xx", "num_retries": 3, "retry_back_off": {"base_interval": "0.001s"}})),
           route("/edited/", to(prefix_rewrite="/", host_rewrite_literal="e.test:81", request_mirror_policies=[mirror()]),
                 request_headers_to_add=[add("x-added", "%REQ(:PATH)%")], request_headers_to_remove=["x-gone"])]
    return [host("own", *own, domains=["h", "h:81", "[[]::1]:8"]),
            host("inherits", route("/in/", to(prefix_rewrite="/")), route("/other/", to(prefix_rewrite="/", request_mirror_policies=[mirror("two")])),
                 domains=["inherits"], request_mirror_policies=[mirror()]),
            host("table", route("/", to()), domains=["table"])]


LISTENERS.update({
    "mirrored": lambda side: {"hosts": mirror_hosts(side), "table": {"request_mirror_policies": [mirror()]}},
})


def mirrored(name, *sends, b=1, two=0, method="GET"):
    """An exchange after which the copies are waited for: as many as given, and no more."""
    def play(side):
        side.reset()
        marks = side.marks()
        side.logs["mirrored"].skip()

        def copies():
            return sum(1 for r in side.b.since(marks[1])[0] if r.complete), sum(1 for r in side.two.since(marks[2]) if r.complete)
        with h1.Client(side.ports["mirrored"], timeout=6) as client:
            for data in sends:
                client.send(data)
            answer = client.response(method=method)
            lines = [answer_line(answer, side) if answer else "answer: none"]
            until = time.monotonic() + 3
            while copies() != (b, two) and time.monotonic() < until:
                time.sleep(0.005)
        return lines + side.seen(marks) + log_lines(side, "mirrored")
    EXCHANGES.append(("mirrors", name, play, ("loopback",)))


def fill():
    mirrored("GET", request("/plain/x?q=1", headers="x-own: 1"))
    mirrored("HEAD", request("/plain/x", method="HEAD"), method="HEAD")
    mirrored("POST", request("/plain/echo", method="POST", body=b"body"))
    mirrored("body in pieces", b"POST /plain/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc", b"def")
    mirrored("chunked with trailers", chunked("/plain/echo", b"", b"x-t: 1\r\n"))
    mirrored("large body", request("/plain/echo", method="POST", body=b"x" * 300000))
    mirrored("host with a port", request("/plain/x", host="h:81"))
    mirrored("the host stays", request("/kept/x"))
    mirrored("the host stays, with a port", request("/kept/x", host="h:81"))
    mirrored("every one", request("/all/x"))
    mirrored("no one", request("/never/x"), b=0)
    mirrored("cluster by header", request("/header/x", headers="x-mirror: b"))
    mirrored("cluster by header: none", request("/header/x"), b=0)
    mirrored("cluster by header: unknown", request("/header/x", headers="x-mirror: what"), b=0)
    mirrored("two copies", request("/both/echo", method="POST", body=b"body"), two=1)
    mirrored("from an HTTP/2 cluster", request("/two/x"), two=1)
    mirrored("to an HTTP/2 cluster", request("/totwo/echo", method="POST", body=b"body"), b=0, two=1)
    mirrored("to a cluster without hosts", request("/nobody/x"), b=0)
    mirrored("to a cluster that is not there", request("/missing/x"), b=0)
    mirrored("to a host that refuses", request("/down/x"), b=0)
    mirrored("a retry is not copied", request("/retried/flaky2"))
    mirrored("the copy fails", request("/plain/status/500"))
    mirrored("the copy is reset", request("/plain/rst"))
    mirrored("edited", request("/edited/x", headers="x-gone: 1"))
    mirrored("of the virtual host", request("/in/x", host="inherits"))
    mirrored("the route's own instead of the virtual host's", request("/other/x", host="inherits"), b=0, two=1)
    mirrored("of the table", request("/x", host="table"))
    mirrored("with an id and forwarded-for", request("/plain/x", headers="x-request-id: 4f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f & x-forwarded-for: 1.2.3.4"))
