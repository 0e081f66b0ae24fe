"""What the bench measures: each scenario, how it is loaded, and what it must reach."""
from dataclasses import dataclass

PEERS = ("envoy", "nginx", "haproxy")
LEAN = ("nginx", "haproxy")
ROUTES = 10000
LAST = f"{ROUTES - 1:05}"
KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Target:
    """ratio: to the best of `against` (proxies) by `key`; own: to Outrider's figure in the scenario `against`; most: `key` at most `figure`."""
    kind: str
    figure: float
    key: str = "cpu_us"
    against: tuple = LEAN
    unit: str = ""


def best_of(figure, against=LEAN, key="cpu_us"):
    return Target("ratio", figure, key, against)


THIRD_OF_ENVOY = Target("ratio", 0.3, "cpu_us", ("envoy",))
SMALL = (best_of(0.9), THIRD_OF_ENVOY)


@dataclass(frozen=True)
class Scenario:
    name: str
    label: str
    port: str
    tool: str          # wrk, h2load, or a kind of test/bench/load
    arguments: tuple = ()
    path: str = "/"
    size: int = KIB    # of the body that comes back
    targets: tuple = ()
    first: str = "cpu_us"  # the figure that ratios are made of
    group: str = "main"    # which instances: main, routes, shared (two workers, no core of their own)
    longer: int = 1        # times --seconds: where opening the connections would weigh in a short run
    check: str = "get"     # how answers are proven right before the measurement, see load.Checker

    @property
    def secure(self):
        return self.port in ("TLS", "MTLS")


def _bodies():
    for size, word, streams in ((10 * KIB, "10k", 32), (100 * KIB, "100k", 8), (MIB, "1m", 4)):
        whole = size == MIB
        spoken = {"10k": "10 KiB", "100k": "100 KiB", "1m": "1 MiB"}[word]
        clients = ("-c16",) if whole else ("-c64",)
        yield Scenario(f"h1-{word}", f"HTTP/1.1, {spoken} responses", "H1", "wrk", clients, f"/{word}", size,
                       (best_of(1.0, PEERS),) if whole else ())
        yield Scenario(f"h2c-{word}", f"h2c to HTTP/1.1, {spoken} responses", "H2C", "h2load", ("-c8", f"-m{streams}"), f"/{word}", size,
                       (best_of(1.0, PEERS),) if whole else ())
        yield Scenario(f"tls-h1-{word}", f"TLS HTTP/1.1, {spoken} responses", "TLS", "wrk", clients, f"/{word}", size,
                       (best_of(1.1, PEERS),) if whole else ())
    yield Scenario("tls-h2-1m", "TLS HTTP/2, 1 MiB responses", "TLS", "h2load", ("-c8", "-m4"), "/1m", MIB, (best_of(1.1, PEERS),))


def _uploads():
    yield Scenario("h1-upload", "HTTP/1.1, 1 MiB uploads", "H1", "wrk", ("-c16", "-s", "@DIR@/upload.lua"), "/upload", 2, check="upload")
    yield Scenario("h2c-upload", "h2c to HTTP/1.1, 1 MiB uploads", "H2C", "h2load", ("-c8", "-m4", "-d", "@DIR@/www/1m"), "/upload", 2, check="upload")
    yield Scenario("tls-h1-upload", "TLS HTTP/1.1, 1 MiB uploads", "TLS", "wrk", ("-c16", "-s", "@DIR@/upload.lua"), "/upload", 2, check="upload")


def _routes():
    yield Scenario("routes-one", "one route", "ONE", "wrk", ("-c64",), f"/exact/{LAST}/item", group="routes")
    for kind, label in (("exact", "exact paths"), ("prefix", "prefixes"), ("regex", "regular expressions")):
        yield Scenario(f"routes-{kind}", f"{ROUTES:,} {label}, the last one matched", kind.upper(), "wrk", ("-c64",), f"/{kind}/{LAST}/item",
                       targets=(Target("own", 1.1, "cpu_us", ("routes-one",)),), group="routes")


CLIENT = ("-cert", "@CERTS@/client.pem", "-key", "@CERTS@/client.key")
CLOSE = ("-H", "Connection: close")
GRPC = ("-d", "@DIR@/message.grpc", "-H", "content-type: application/grpc", "-H", "te: trailers")

_ALL = [
    Scenario("h1", "HTTP/1.1 to HTTP/1.1, 64 connections", "H1", "wrk", ("-c64",), targets=SMALL),
    Scenario("h2c-h1", "h2c to HTTP/1.1, 8 x 32 streams", "H2C", "h2load", ("-c8", "-m32"), targets=SMALL),
    Scenario("h2c-h2c", "h2c to h2c, 8 x 32 streams", "H2UP", "h2load", ("-c8", "-m32"), targets=SMALL),
    Scenario("tls-h1", "TLS HTTP/1.1, 64 connections", "TLS", "wrk", ("-c64",), targets=SMALL, longer=2),
    Scenario("tls-h2", "TLS HTTP/2, 8 x 32 streams", "TLS", "h2load", ("-c8", "-m32"), targets=SMALL, longer=2),
    Scenario("mtls", "mutual TLS on both sides, HTTP/1.1, 64 connections", "MTLS", "tls", ("-connections", "64", *CLIENT), check="mtls"),
    Scenario("tcp", "TCP, small messages, 64 connections", "TCP", "wrk", ("-c64",), targets=(best_of(0.9),)),
    Scenario("tcp-1m", "TCP, 1 MiB messages, 16 connections", "TCP", "wrk", ("-c16",), "/1m", MIB, targets=(best_of(0.7, PEERS),)),
    *_bodies(),
    *_uploads(),
    Scenario("grpc-unary", "gRPC unary, 128 bytes each way, 8 x 32 calls", "GRPC", "h2load", ("-c8", "-m32", *GRPC), "/bench.Echo/Unary", check="grpc"),
    Scenario("grpc-stream", "gRPC streams, a message of 128 bytes each way, 8 x 32 streams", "GRPC", "grpc",
             ("-connections", "8", "-streams", "32", "-size", "128"), check="run"),
    Scenario("h1-new", "a new connection each request", "H1", "wrk", ("-c64", *CLOSE), targets=(best_of(1.0),)),
    Scenario("tls-new", "a new TLS connection each request", "TLS", "wrk", ("-c64", *CLOSE), targets=(best_of(1.05),)),
    Scenario("tls-resumed", "a new TLS connection each request, sessions resumed", "TLS", "tls", ("-connections", "64", "-fresh", "-resume"),
             targets=(best_of(1.05),), check="run"),
    Scenario("mtls-new", "a new mutual TLS connection each request", "MTLS", "tls", ("-connections", "64", "-fresh", *CLIENT), check="mtls"),
    Scenario("mtls-resumed", "a new mutual TLS connection each request, resumed", "MTLS", "tls", ("-connections", "64", "-fresh", "-resume", *CLIENT),
             targets=(Target("own", 0.5, "cpu_us", ("mtls-new",)),), check="mtls-run"),
    Scenario("h1-one", "HTTP/1.1, one connection (latency)", "H1", "wrk", ("-c1",), first="p50_us"),
    Scenario("rate", "10,000 HTTP/1.1 requests a second, open loop", "H1", "rate", ("-rate", "10000", "-connections", "64"), first="p99_us",
             longer=5, targets=(best_of(1.0, PEERS, "p99_us"),)),
    Scenario("log", "HTTP/1.1, each request in an access log", "LOG", "wrk", ("-c64",), check="log"),
    *_routes(),
    Scenario("shared", "HTTP/1.1, two workers, both cores shared by all", "H1", "wrk", ("-c64",), first="rps", group="shared",
             targets=(best_of(1.0, PEERS, "rps"),)),
]
TIMED = {scenario.name: scenario for scenario in _ALL}

# Measured on instances of their own, once.
IDLE = {
    "idle-h1": ("H1", "h1", "KiB of an idle HTTP/1.1 connection", 1.0),
    "idle-h2": ("H2C", "h2", "KiB of an idle h2c connection", 30.0),
    "idle-tls": ("TLS", "tls", "KiB of an idle TLS connection", 20.0),
}
START = {"start": ("start_ms", "ms from start to listening", 40.0), "rest": ("rest_mib", "MiB at rest", 15.0)}

SECTIONS = [
    ("Small requests (1 KiB)", ["h1", "h2c-h1", "h2c-h2c", "tls-h1", "tls-h2", "mtls", "tcp"]),
    ("Bodies", ["h1-10k", "h2c-10k", "tls-h1-10k", "h1-100k", "h2c-100k", "tls-h1-100k", "h1-1m", "h2c-1m", "tls-h1-1m", "tls-h2-1m", "tcp-1m",
                "h1-upload", "h2c-upload", "tls-h1-upload"]),
    ("gRPC", ["grpc-unary", "grpc-stream"]),
    ("A connection for each request", ["h1-new", "tls-new", "tls-resumed", "mtls-new", "mtls-resumed"]),
    ("Latency", ["h1-one", "rate"]),
    ("With features on", ["log", "routes-one", "routes-exact", "routes-prefix", "routes-regex"]),
    ("Both cores shared by all", ["shared"]),
]
QUICK = ["h1", "h2c-h1", "h2c-h2c", "tls-h1", "tls-h2", "tcp", "h1-new", "h1-1m", "tcp-1m"]


def names():
    return [*TIMED, *IDLE, "start"]
