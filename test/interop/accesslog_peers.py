"""What the access log tests share: routes of every fate, a request, a peer that sends back, patterns of what is logged."""
import socket

import h1
import harness
from harness import check

PREFIX = "type.googleapis.com/envoy.extensions.access_loggers."
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def request(port, path="/ok", method="GET", headers=(), body=b"", **more):
    with h1.Client(port, **more) as client:
        head = "%s %s HTTP/1.1\r\nhost: log.test\r\n" % (method, path)
        for name, value in headers:
            head += "%s: %s\r\n" % (name, value)
        if body:
            head += "content-length: %d\r\n" % len(body)
        client.send(head.encode() + b"\r\n" + body)
        answer = client.response(method)
        check(answer is not None, "no answer")
        return answer


def ask_many(port, count, start=0, keep=None):
    with h1.Client(port) as client:
        for i in range(start, start + count):
            client.send(b"GET /ok/%d HTTP/1.1\r\nhost: h\r\n\r\n" % i)
            answer = client.response(timeout=5)
            check(answer is not None and answer.status == 200, "request %d" % i)
            if keep is not None:
                keep.append(i)


def routes():
    hosts = harness.everything_to("up")
    hosts[0]["routes"] = [
        {"match": {"prefix": "/direct"}, "name": "direct", "direct_response": {"status": 403, "body": {"inline_string": "no"}}},
        {"match": {"prefix": "/refused"}, "route": {"cluster": "refused"}},
        {"match": {"prefix": "/rewritten"}, "route": {"cluster": "up", "prefix_rewrite": "/ok"}},
        {"match": {"prefix": "/slow"}, "route": {"cluster": "up", "prefix_rewrite": "/hang", "timeout": "0.15s"}},
        {"match": {"prefix": "/"}, "name": "the-route", "route": {"cluster": "up"}}]
    return hosts


class Echo:
    """Sends back what comes, then ends with its client."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        harness.each_connection(self.listening, self._one)

    @staticmethod
    def _one(s):
        try:
            while True:
                data = s.recv(65536)
                if not data:
                    break
                s.sendall(data)
        except OSError:
            pass
        s.close()


def echoed(port, data=b"hello"):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(data)
        got = b""
        while len(got) < len(data):
            got += s.recv(100)
