#!/usr/bin/env python3
"""gRPC through the proxy with a client and a server that no one here wrote (the `grpcio` module), and the proxy's own replies.

With --envoy every local reply to a gRPC request is also asked of the reference, header for header.
"""
import os
import queue
import sys
import threading
import time
from concurrent import futures

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness
from harness import check

harness.enter_venv("grpc", "hpack")
import grpc
import h2
from h2 import get

ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Service(grpc.GenericRpcHandler):
    """/t.Test/*: messages are plain bytes."""

    def __init__(self):
        self.deadlines, self.metadata = [], []
        self.started, self.cancelled = threading.Event(), threading.Event()

    def service(self, call):
        name = call.method.rpartition("/")[2]
        kinds = {"Unary": grpc.unary_unary_rpc_method_handler, "Fail": grpc.unary_unary_rpc_method_handler,
                 "Slow": grpc.unary_unary_rpc_method_handler, "Deadline": grpc.unary_unary_rpc_method_handler,
                 "Down": grpc.unary_stream_rpc_method_handler, "Up": grpc.stream_unary_rpc_method_handler,
                 "Both": grpc.stream_stream_rpc_method_handler, "Early": grpc.stream_stream_rpc_method_handler,
                 "Half": grpc.unary_stream_rpc_method_handler}
        return kinds[name](getattr(self, name.lower())) if name in kinds else None

    def unary(self, request, context):
        self.metadata = list(context.invocation_metadata())
        context.send_initial_metadata((("x-initial", "first"), ("x-data-bin", b"\x00\xff")))
        context.set_trailing_metadata((("x-trailing", "last"),))
        return request

    def fail(self, request, context):
        context.set_trailing_metadata((("x-why", "told"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so: 100% \u00fc")

    def slow(self, request, context):
        self.started.set()
        if not context.add_callback(self.cancelled.set):   # over already
            self.cancelled.set()
        self.cancelled.wait(10)
        return request

    def deadline(self, request, context):
        self.deadlines.append(context.time_remaining())
        return request

    def down(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i

    def up(self, requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def both(self, requests, context):
        for r in requests:
            yield r

    def early(self, requests, context):
        yield next(requests)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    def half(self, request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "broken off")


class Scene:
    def __init__(self, kind, binary, folder, server_port, raw, like_envoy):
        self.proxy = harness.Proxy(kind, binary, folder, concurrency=1, like_envoy=like_envoy)
        self.port = harness.free_port()
        self.log = os.path.join(folder, kind + ".log")
        route = lambda prefix, **action: dict({"match": {"prefix": prefix}}, **action)
        hosts = [{"name": "all", "domains": ["*"], "routes": [
            route("/dead.", route={"cluster": "dead"}), route("/none.", route={"cluster": "none"}),
            route("/gone.", route={"cluster": "absent"}),
            route("/late.", route={"cluster": "raw", "timeout": "0.3s", "prefix_rewrite": "/hang/"}),
            route("/raw/", route={"cluster": "raw", "prefix_rewrite": "/"}),
            route("/limited.", route={"cluster": "raw", "prefix_rewrite": "/hang/", "max_stream_duration": {"grpc_timeout_header_max": "0s"}}),
            *[route("/direct%d" % status, direct_response={"status": status, "body": {"inline_string": "said %d" % status}})
              for status in (400, 401, 403, 404, 429, 500, 502, 503, 504)],
            route("/t.Test/", route={"cluster": "server", "timeout": "0s"})]}]
        clusters = [harness.cluster("server", server_port, **harness.http2_options()),
                    harness.cluster("raw", raw.port, **harness.http2_options()),
                    harness.cluster("dead", harness.free_port(), **harness.http2_options()),
                    harness.cluster("none", **harness.http2_options())]
        listeners = [harness.listener("grpc", self.port, harness.hcm("grpc", hosts, [harness.file_log(self.log)],
                                                                     routes={"validate_clusters": False}))]
        self.proxy.start(harness.bootstrap(listeners, clusters, self.proxy.admin_port))
        self.channel = grpc.insecure_channel("127.0.0.1:%d" % self.port, options=ANY_SIZE)


scene = reference = service = raw = None


def method(name, kind="unary_unary"):
    return getattr(scene.channel, kind)("/t.Test/" + name)


def unary_with_metadata():
    answer, call = method("Unary").with_call(b"hello", metadata=(("x-mine", "yes"), ("y-bin", b"\x01\x02")), timeout=5)
    check(answer == b"hello", "answer %r" % answer)
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    check(initial.get("x-initial") == "first" and initial.get("x-data-bin") == b"\x00\xff", "initial metadata %s" % initial)
    check(trailing.get("x-trailing") == "last", "trailing metadata %s" % trailing)
    seen = {m.key: m.value for m in service.metadata} if hasattr(service.metadata[0], "key") else dict(service.metadata)
    check(seen.get("x-mine") == "yes" and seen.get("y-bin") == b"\x01\x02", "the server got %s" % seen)
    check(method("Unary")(b"", timeout=5) == b"", "an empty message")


def many_calls_at_once():
    calls = [method("Unary").future(b"%d" % i, timeout=10) for i in range(300)]
    for i, call in enumerate(calls):
        check(call.result() == b"%d" % i, "call %d got %r" % (i, call.result()))


def errors_with_trailers_only():
    try:
        method("Fail")(b"", timeout=5)
        raise harness.Failure("no error")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.FAILED_PRECONDITION, "code %s" % error.code())
        check(error.details() == "not so: 100% \u00fc", "details %r" % error.details())
        check(dict(error.trailing_metadata()).get("x-why") == "told", "trailing metadata %s" % (error.trailing_metadata(),))
    try:
        method("Nothing")(b"", timeout=5)
        raise harness.Failure("no error")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.UNIMPLEMENTED, "code %s" % error.code())


def server_streaming():
    got = list(method("Down", "unary_stream")(b"1000", timeout=10))
    check(got == [b"%d" % i for i in range(1000)], "%d messages" % len(got))
    got, code = [], None
    try:
        for message in method("Half", "unary_stream")(b"", timeout=5):
            got.append(message)
    except grpc.RpcError as error:
        code = error.code()
    check(got == [b"one"] and code == grpc.StatusCode.DATA_LOSS, "%s then %s" % (got, code))


def client_streaming():
    answer = method("Up", "stream_unary")(iter([b"x" * 1000] * 1000), timeout=10)
    check(answer == b"1000000", "the server got %s bytes" % answer)
    check(method("Up", "stream_unary")(iter([]), timeout=5) == b"0", "an empty stream")


def both_directions_in_turn():
    """Each message is answered before the next is sent: nothing is held back on the way."""
    out = queue.Queue()
    call = method("Both", "stream_stream")(iter(out.get, None), timeout=20)
    for i in range(200):
        out.put(b"message %d" % i)
        check(next(call) == b"message %d" % i, "message %d" % i)
    out.put(None)
    check(list(call) == [] and call.code() == grpc.StatusCode.OK, "the end: %s" % call.code())


def a_server_that_ends_first():
    out = queue.Queue()
    call = method("Early", "stream_stream")(iter(out.get, None), timeout=5)
    out.put(b"one")
    check(next(call) == b"one", "no first message")
    code = None
    try:
        list(call)
    except grpc.RpcError as error:
        code = error.code()
    out.put(None)
    check(code == grpc.StatusCode.RESOURCE_EXHAUSTED, "code %s" % code)


def big_messages():
    before = scene.proxy.memory_kib()
    message = os.urandom(1 << 20) * 16
    check(method("Unary")(message, timeout=30) == message, "16 MiB did not come back")
    check(scene.proxy.memory_kib() - before < 20 * 1024, "memory grew by %d KiB" % (scene.proxy.memory_kib() - before))


def deadlines_pass():
    method("Deadline")(b"", timeout=7)
    check(5 < service.deadlines[-1] < 7.5, "the server has %s s left of 7" % service.deadlines[-1])
    service.started.clear()
    service.cancelled.clear()
    started = time.monotonic()
    try:
        method("Slow")(b"", timeout=1)
        raise harness.Failure("no error")
    except grpc.RpcError as error:
        check(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, "code %s" % error.code())
    check(time.monotonic() - started < 4, "took %.1f s" % (time.monotonic() - started))
    check(not service.started.is_set() or service.cancelled.wait(3), "the server's call goes on")


def cancelling_reaches_the_server():
    service.started.clear()
    service.cancelled.clear()
    call = method("Slow").future(b"", timeout=10)
    check(service.started.wait(5), "the call did not reach the server")
    call.cancel()
    check(service.cancelled.wait(3), "the server's call goes on")
    scene.proxy.expect_at_rest("^(http|cluster)\\..*rq_active$")


LOCAL = [("a dead upstream", "/dead.Service/M", 14), ("no endpoints", "/none.Service/M", 14), ("an absent cluster", "/gone.Service/M", 14),
         ("no route", "/nowhere", 12), ("a route's timeout", "/late.Service/M", None), ("an upstream's reset", "/raw/reset/2", 14),
         ("an upstream that refuses", "/raw/reset/7", 14)]
LOCAL += [("direct response %d" % s, "/direct%d" % s, {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}.get(s, 2))
          for s in (400, 401, 403, 404, 429, 500, 502, 503, 504)]


def ask(at, path, more=()):
    fields = get(path, "POST", more=[("content-type", "application/grpc"), ("te", "trailers")] + list(more))
    with h2.Client(at.port) as client:
        s = client.request(fields, b"\0\0\0\0\0", timeout=6)
        return s.status, sorted((n, v) for n, v in s.headers if n not in ("date", "x-envoy-upstream-service-time", "server")), s.body, s.trailers, s.reset or None


def local_replies_are_grpc():
    for title, path, status in LOCAL:
        got = ask(scene, path)
        headers = dict(got[1])
        check(got[0] == 200 and got[2] == b"" and got[4] is None, "%s: %s" % (title, got))
        check("grpc-status" in headers and headers.get("content-type") == "application/grpc", "%s: %s" % (title, headers))
        check(status is None or headers["grpc-status"] == str(status), "%s: grpc-status %s, expected %s" % (title, headers["grpc-status"], status))
        if reference is not None:
            other = ask(reference, path)
            check(got == other, "%s: %s / reference %s" % (title, got, other))


def the_route_may_cap_the_deadline():
    got = ask(scene, "/limited.Service/M", more=[("grpc-timeout", "300m")])
    headers = dict(got[1])
    check(got[0] == 200 and headers.get("grpc-status") == "4", "%s" % (got,))
    if reference is not None:
        other = ask(reference, "/limited.Service/M", more=[("grpc-timeout", "300m")])
        check(got == other, "%s / reference %s" % (got, other))
    for bad in ("0", "-1S", "99999999999H", "x", ""):          # not honoured, not misread
        got = ask(scene, "/raw/grpc", more=[("grpc-timeout", bad)] if bad else [])
        check(got[0] == 200 and dict(got[3]).get("grpc-status") == "0", "grpc-timeout %r: %s" % (bad, got))


STORIES = [
    ("unary calls with metadata both ways", unary_with_metadata),
    ("300 calls at once keep their answers", many_calls_at_once),
    ("errors pass as they are", errors_with_trailers_only),
    ("server streaming", server_streaming),
    ("client streaming", client_streaming),
    ("both directions in turn", both_directions_in_turn),
    ("a server that ends first", a_server_that_ends_first),
    ("16 MiB messages with flat memory", big_messages),
    ("deadlines pass", deadlines_pass),
    ("a cancelled call is cancelled at the server", cancelling_reaches_the_server),
    ("local replies carry grpc-status", local_replies_are_grpc),
    ("a route may cap the deadline", the_route_may_cap_the_deadline),
]


def main():
    global scene, reference, service, raw
    chosen = harness.options(__doc__, only=(str, None, "words of the stories to run"))
    harness.bound(90)
    folder = harness.work_folder(chosen.keep)
    tally = harness.Tally("grpc")
    service = Service()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), handlers=(service,), options=ANY_SIZE)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    raw = h2.Upstream("raw")
    scene = Scene("outrider", chosen.outrider, folder, port, raw, bool(chosen.envoy))
    if chosen.envoy:
        reference = Scene("envoy", chosen.envoy, folder, port, raw, False)
    for title, story in STORIES:
        if chosen.only is None or chosen.only in title:
            tally.run(title, story)
    if not scene.proxy.alive():
        tally.result("the proxy lives", "it ended with %s: %s" % (scene.proxy.child.returncode, scene.proxy.said()[-1500:]))
    scene.channel.close()
    server.stop(0)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
