"""Upgrades and CONNECT: who lets them in, what both ends see, and how bytes and ends pass through."""
import time

import h1
import h2
import harness
from cases.engine import CLUSTERS, EXCHANGES, LISTENERS, comparable, exchange, host, log_lines, request, route, says, to

h1.BROKEN.update({"/refuses": (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", False),
                  "/required": (b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n", False)})


def hosts(side):
    return [host("few", route("/only", "a"), domains=["few"]),
            host("all", route("/ok", "uncompared"), route("/off/", to(prefix_rewrite="/", upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}])),
                 route("/on/", to(prefix_rewrite="/", upgrade_configs=[{"upgrade_type": "websocket"}])),
                 route("/chat/", to(prefix_rewrite="/", upgrade_configs=[{"upgrade_type": "chat"}])),
                 route("/t/", to(prefix_rewrite="/", timeout="0.2s")), route("/retry/", to(prefix_rewrite="/", retry_policy={"retry_on": "5xx"})),
                 route("/direct", **says("hello")), route("/redirect", redirect={"host_redirect": "e.test"}), route("/down", "refused"), route("/two/", to("two", prefix_rewrite="/")),
                 route({"prefix": "/m", "headers": [{"name": "upgrade", "string_match": {"exact": "websocket"}}]}, to(prefix_rewrite="/switch")),
                 route("/", "a"))]


CLUSTERS.append(lambda side: harness.cluster("uncompared", side.a.port))   # its counters are among what differs
LISTENERS.update({
    "ws": lambda side: {"hosts": hosts(side), "upgrade_configs": [{"upgrade_type": "websocket"}]},
    "wsoff": lambda side: {"hosts": hosts(side), "upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}]},
    "nows": lambda side: {"hosts": hosts(side)},
    "ws2": lambda side: {"hosts": hosts(side), "codec_type": "HTTP2", "upgrade_configs": [{"upgrade_type": "websocket"}],
                         "http2_protocol_options": {"allow_connect": True}},
    "wsno2": lambda side: {"hosts": hosts(side), "codec_type": "HTTP2", "upgrade_configs": [{"upgrade_type": "websocket"}]},
    "connect": lambda side: {"upgrade_configs": [{"upgrade_type": "CONNECT"}], "hosts": [host(
        "all", route({"connect_matcher": {}}, "a"), route("/", "b"))]},
})
WS = "Connection: Upgrade & Upgrade: websocket & Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== & Sec-WebSocket-Version: 13"


TUNNEL = ("refused upgrade", "half-closed tunnel", "connection field")


def talk(client, answer, lines):
    if answer is None or answer.status != 101:
        return
    got = client.buffer
    for piece in (b"ping", b"x" * 100000):
        client.send(piece)
        want, got = len(piece), b""
        deadline = time.monotonic() + 5
        while len(client.buffer) < want and client._more(deadline):
            pass
        got, client.buffer = client.buffer[:want], client.buffer[want:]
        lines.append("echo of %d: %s" % (want, got == piece))
    client.half_close()
    lines.append("ends after the client's end: %s" % client.ended(2))


def extended(name, path, protocol="websocket", listener="ws2", differs=()):
    """RFC 8441 over HTTP/2."""
    def play(side):
        side.reset()
        marks = side.marks()
        side.logs[listener].skip()
        with h2.Client(side.ports[listener], timeout=6) as client:
            client.until(lambda: client.settings_seen)
            number = client.new_stream()
            fields = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":authority", "h"), (":path", path)]
            client.headers(number, fields + [("sec-websocket-version", "13")], end=False)
            s = client.stream(number)
            client.until(lambda: s.status is not None or s.over, 4)
            lines = ["answer: %s | %s" % (s.status, comparable(s.headers, side))]
            if s.status == 200 and not s.over:
                client.frame(h2.DATA, 0, number, b"ping")
                client.until(lambda: len(s.body) >= 4 or s.over, 4)
                client.frame(h2.DATA, 0, number, b"bye")
                client.until(lambda: len(s.body) >= 7 or s.over, 4)
                client.frame(h2.RST_STREAM, 0, number, b"\0\0\0\x08")
            lines.append("body %r ended %s reset %s" % (s.body[:50], s.ended, s.reset))
            lines.append("connection: %s" % ("lives" if client.alive(1) else "ended"))
        return lines + side.seen(marks) + log_lines(side, listener)
    EXCHANGES.append(("upgrade", name, play, differs))


def fill():
    for listener in ("ws", "wsoff", "nows"):
        for path in ("/switch", "/off/switch", "/on/switch"):
            exchange("upgrade", "%s %s" % (listener, path), request(path, headers=WS), listener=listener, then=talk, differs=TUNNEL)
    for path in ("/ok", "/refuses", "/required", "/status/404", "/rst", "/close", "/down", "/direct", "/redirect", "/m", "/t/hang", "/retry/status/503", "/chat/switch"):
        exchange("upgrade", path, request(path, headers=WS), listener="ws", then=talk,
                 differs=TUNNEL + {"/direct": ("early answer",), "/redirect": ("early answer",), "/ok": ("no upgrade",), "/required": ("no upgrade",)}.get(path, ()))
    for headers in ("Connection: upgrade & Upgrade: WebSocket", "Connection: upgrade & Upgrade: chat", "Connection: keep-alive, Upgrade & Upgrade: websocket",
                    "Upgrade: websocket", "Connection: upgrade", "Connection: close, upgrade & Upgrade: websocket"):
        exchange("upgrade", headers, request("/ok" if headers in ("Upgrade: websocket", "Connection: upgrade") else "/switch", headers=headers), listener="ws", then=talk, differs=TUNNEL)
    exchange("upgrade", "no route", request("/switch", host="few", headers=WS), listener="ws", differs=TUNNEL)
    exchange("upgrade", "CONNECT without route", b"CONNECT few HTTP/1.1\r\nHost: few\r\n\r\n", listener="ws", method="CONNECT", differs=TUNNEL)
    exchange("upgrade", "another type on its route", request("/chat/switch", headers="Connection: upgrade & Upgrade: chat"), listener="ws", then=talk, differs=TUNNEL)
    exchange("upgrade", "POST", request("/switch", method="POST", headers=WS), listener="ws", then=talk, differs=TUNNEL)
    exchange("upgrade", "bytes with the request", request("/switch", headers=WS) + b"early", listener="ws", differs=TUNNEL)
    exchange("upgrade", "CONNECT", b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", listener="ws", method="CONNECT", differs=("refused upgrade",))
    exchange("upgrade", "CONNECT forwarded", b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", listener="connect", method="CONNECT", differs=("half-closed tunnel", "length of nothing"))
    exchange("upgrade", "a GET beside CONNECT", request("/ok"), listener="connect")
    for path in ("/switch", "/off/switch", "/on/switch", "/ok", "/refuses", "/direct", "/down", "/rst", "/m", "/status/404"):
        extended("extended CONNECT %s" % path, path, differs=TUNNEL + ("refused tunnel",) + (("no upgrade",) if path == "/ok" else ()))
    extended("extended CONNECT of another type", "/switch", "chat", differs=TUNNEL + ("refused tunnel",))
