"""Starts a proxy (Outrider or Envoy) on a generated bootstrap and watches it from outside.

Standard library only. The raw HTTP/1 peers are in h1.py, the raw HTTP/2 peers in h2.py.

Rules that every process test follows: listen on 127.0.0.0/8 only; wait on a condition with a deadline, never for a fixed
time; end only the processes that this module started, by their id; the whole script is bounded by an alarm.
"""
import argparse
import atexit
import glob
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
HTTP_OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
DOWNSTREAM_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
UPSTREAM_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
TLS_INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"


class Failure(Exception):
    """An expectation that did not hold; its text is what the operator reads."""


def short(text, limit=400):
    """One printable line of bounded length."""
    text = " ".join(str(text).split())
    return text if len(text) <= limit else text[:limit // 2] + " ... " + text[-limit // 2:]


def check(condition, why):
    if not condition:
        raise Failure(why)


# ---- time -------------------------------------------------------------------------------------------------------

def wait_for(condition, seconds, what, pause=0.01):
    """Returns the first true value of condition(), or fails after `seconds` naming what was awaited."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure("waited %.1f s for %s" % (seconds, what() if callable(what) else what))
        time.sleep(pause)


def bound(seconds):
    """The whole script ends after this long, whatever happens."""
    def over(_signal, _frame):
        sys.stdout.flush()
        sys.stderr.write("the script ran longer than its bound of %d s\n" % seconds)
        end_all()
        os._exit(124)
    signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)


# ---- processes and ports ----------------------------------------------------------------------------------------

_children = []
_ports_given = set()
_ports_lock = threading.Lock()


def free_port(address="127.0.0.1"):
    """A port outside the kernel's ephemeral range (so that no outgoing connection takes it meanwhile), free now."""
    with _ports_lock:
        for _ in range(2000):
            port = random.randint(11000, 31000)
            if port in _ports_given:
                continue
            with socket.socket() as probe:
                try:
                    probe.bind((address, port))
                except OSError:
                    continue
            _ports_given.add(port)
            return port
    raise Failure("no free port")


def each_connection(listening, serve):
    """From now on serve(socket) runs for each connection, on a thread of its own, until `listening` is closed."""
    def accept():
        while True:
            try:
                s, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(s,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


def black_hole(port=0, host="127.0.0.1"):
    """A listening socket with a full queue that accepts no more: connecting to it takes for ever. The first of the sockets that must
    be kept open listens."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(0)
    kept = [listening]
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listening.getsockname())
        kept.append(filler)
    return kept


def spawn(command, **options):
    child = subprocess.Popen(command, **options)
    _children.append(child)
    return child


def end(child, seconds=5):
    """SIGTERM, then SIGKILL; by id, and only if it still runs."""
    if child.poll() is not None:
        return child.returncode
    child.send_signal(signal.SIGTERM)
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def end_all():
    for child in _children:
        if child.poll() is None:
            child.kill()
            child.wait()


atexit.register(end_all)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # so that atexit ends the children


def venv_folder():
    return os.environ.get("OUTRIDER_VENV") or os.path.expanduser("~/.cache/outrider/venv")


def installed_envoy():
    """The program that tools/setup put there, or None. What its package has in bin/ is a script that starts it."""
    found = glob.glob(os.path.join(venv_folder(), "lib", "python3*", "site-packages", "envoy", "_bin", "envoy"))
    return found[0] if found else None


def enter_venv(*modules):
    """Re-executes the script in the tools' virtual environment unless these modules are there already."""
    import importlib.util
    if all(importlib.util.find_spec(name) for name in modules):
        return
    home = venv_folder()
    python = os.path.join(home, "bin", "python3")
    if os.environ.get("OUTRIDER_IN_VENV") or not os.path.exists(python):
        sys.exit("needs the Python modules %s: run tools/setup (looked in %s)" % (", ".join(modules), home))
    os.environ["OUTRIDER_IN_VENV"] = "1"
    os.execv(python, [python] + sys.argv)


# ---- bootstrap pieces (dictionaries; JSON is YAML, so the file is both) ------------------------------------------

def address(port, host="127.0.0.1"):
    return {"socket_address": {"address": host, "port_value": port}}


def cluster(name, *ports, **more):
    """A STATIC round-robin cluster on loopback; a port may be (port, weight)."""
    endpoints = []
    for port in ports:
        weight = None
        if isinstance(port, tuple):
            port, weight = port
        item = {"endpoint": {"address": address(port)}}
        if weight is not None:
            item["load_balancing_weight"] = weight
        endpoints.append(item)
    made = {"name": name, "type": "STATIC", "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}}
    made.update(more)
    return made


def http2_options(**explicit):
    return {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": HTTP_OPTIONS, "explicit_http_config": {"http2_protocol_options": explicit}}}}


LOG_FORMAT = ("%RESPONSE_CODE%|%RESPONSE_FLAGS%|%RESPONSE_CODE_DETAILS%|%REQ(:METHOD)%|"
              "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%|%PROTOCOL%\n")


def file_log(path, text=LOG_FORMAT, json_format=None):
    config = {"@type": FILE_LOG, "path": path}
    if json_format is not None:
        config["log_format"] = {"json_format": json_format}
    elif text is not None:
        config["log_format"] = {"text_format_source": {"inline_string": text}}
    return {"name": "log", "typed_config": config}


def hcm(stat_prefix, virtual_hosts, logs=(), filters=(), routes=None, **more):
    """`routes`: further fields of the route configuration."""
    config = {"@type": HCM, "stat_prefix": stat_prefix,
              "route_config": dict({"name": stat_prefix, "virtual_hosts": virtual_hosts}, **(routes or {})),
              "http_filters": list(filters) + [{"name": "router", "typed_config": {"@type": ROUTER}}]}
    if logs:
        config["access_log"] = list(logs)
    config.update(more)
    return {"name": "hcm", "typed_config": config}


def everything_to(name, **route):
    action = {"cluster": name}
    action.update(route)
    return [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": action}]}]


def listener(name, port, *filters, transport_socket=None, listener_filters=(), **more):
    chain = {"filters": list(filters)}
    if transport_socket:
        chain["transport_socket"] = transport_socket
    made = {"name": name, "address": address(port), "filter_chains": [chain]}
    if listener_filters:
        made["listener_filters"] = list(listener_filters)
    made.update(more)
    return made


def bootstrap(listeners, clusters, admin_port, **more):
    made = {"node": {"id": "process-test", "cluster": "tests"},
            "admin": {"address": address(admin_port)},
            "static_resources": {"listeners": listeners, "clusters": clusters}}
    made.update(more)
    return made


# ---- the proxy --------------------------------------------------------------------------------------------------

class Proxy:
    """One running proxy. `kind` is "outrider" or "envoy"; both take the same bootstrap and the same flags."""

    def __init__(self, kind, binary, folder, name=None, concurrency=2, arguments=(), like_envoy=False, log_level="error", flush_ms=20):
        self.kind, self.binary, self.folder = kind, binary, folder
        self.name = name or kind
        self.concurrency = concurrency
        self.arguments = list(arguments)
        if kind == "outrider" and like_envoy:
            self.arguments.append("--defaults=envoy")
        self.log_level, self.flush_ms = log_level, flush_ms
        self.child = None
        self.admin_port = free_port()

    def command(self, config):
        return [self.binary, "-c", config, "--concurrency", str(self.concurrency), "--disable-hot-restart",
                "-l", self.log_level, "--file-flush-interval-msec", str(self.flush_ms)] + self.arguments

    def start(self, config, seconds=30, listening=None):
        """`config` is a dictionary; returns when /ready says LIVE, or, given `listening`, when that port accepts."""
        path = os.path.join(self.folder, self.name + ".yaml")
        with open(path, "w") as out:
            json.dump(config, out, indent=1)
        self.output = os.path.join(self.folder, self.name + ".out")
        with open(self.output, "ab") as out:
            self.child = spawn(self.command(path), stdout=out, stderr=out, stdin=subprocess.DEVNULL)

        def live():
            if self.child.poll() is not None:
                raise Failure("%s ended with %s at start: %s" % (self.kind, self.child.returncode, self.said()[-1500:]))
            try:
                if listening is not None:
                    socket.create_connection(("127.0.0.1", listening), 1).close()
                    return True
                status, _, body = self.admin("GET", "/ready", timeout=1)
                return status == 200 and body.strip() == b"LIVE"
            except OSError:
                return False
        wait_for(live, seconds, lambda: "%s to be LIVE: %s" % (self.kind, self.said()[-1500:]))
        return self

    def said(self):
        try:
            with open(self.output, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def stop(self, seconds=20):
        return end(self.child, seconds)

    def alive(self):
        return self.child is not None and self.child.poll() is None

    def admin(self, method, path, timeout=10, body=None):
        """(status, headers as a list of pairs, body)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=timeout)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error))
        finally:
            connection.close()

    def stats(self, pattern="."):
        """Integer counters and gauges whose name matches the RE2 pattern, as a dictionary."""
        from urllib.parse import quote
        status, _, body = self.admin("GET", "/stats?filter=" + quote(pattern, safe=""))
        check(status == 200, "/stats answered %d" % status)
        found = {}
        for line in body.decode("utf-8", "replace").splitlines():
            name, _, value = line.rpartition(": ")
            if name and re.fullmatch(r"\d+", value):
                found[name] = int(value)
        return found

    def memory_kib(self):
        """Resident set in KiB."""
        with open("/proc/%d/status" % self.child.pid) as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.child.pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self):
        return len(os.listdir("/proc/%d/fd" % self.child.pid))

    def expect_at_rest(self, pattern, seconds=5):
        """Every gauge of work in progress that matches is 0 again: nothing leaks from what was just done."""
        busy = re.compile(r"(rq_active|rq_pending_active|downstream_cx_active|tx_bytes_buffered|streams_active)$")
        left = {}

        def rest():
            left.clear()
            left.update({k: v for k, v in self.stats(pattern).items() if busy.search(k) and v})
            return not left
        wait_for(rest, seconds, lambda: "gauges at rest: %s" % left, pause=0.03)


class Counters:
    """Deltas of counters since construction."""

    def __init__(self, proxy, pattern):
        self.proxy, self.pattern = proxy, pattern
        self.before = proxy.stats(pattern)

    def now(self):
        after = self.proxy.stats(self.pattern)
        return {name: value - self.before.get(name, 0) for name, value in after.items()}

    def expect(self, wanted, seconds=2.5):
        """wanted: {name: delta}, or {name: (least, most)}; polled, since counters are merged a moment later."""
        wrong = {}

        def met():
            moved = self.now()
            wrong.clear()
            for name, delta in wanted.items():
                least, most = delta if isinstance(delta, tuple) else (delta, delta)
                if not least <= moved.get(name, 0) <= most:
                    wrong[name] = moved.get(name, 0)
            return not wrong
        wait_for(met, seconds, lambda: "counters: " + ", ".join(
            "%s moved by %d, expected %s" % (name, got, wanted[name]) for name, got in wrong.items()), pause=0.03)


class LogFile:
    """Reads an access log as it grows. take(n) waits for n further whole lines."""

    def __init__(self, path):
        self.path, self.offset = path, 0

    def fresh(self):
        """The whole lines that are new since the last take."""
        try:
            with open(self.path, "rb") as f:
                f.seek(self.offset)
                data = f.read()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        return data[:whole].splitlines(keepends=True)

    def take(self, count, seconds=5):
        lines = []

        def enough():
            lines[:] = self.fresh()
            return len(lines) >= count
        wait_for(enough, seconds, lambda: "%d access-log lines, got %d" % (count, len(lines)))
        taken = lines[:count]
        self.offset += sum(len(line) for line in taken)
        return [line.decode("utf-8", "backslashreplace").rstrip("\n") for line in taken]

    def skip(self):
        self.offset += sum(len(line) for line in self.fresh())


# ---- the script -------------------------------------------------------------------------------------------------

class Tally:
    """Counts and prints results; `close()` prints the closing line and gives the exit code."""

    def __init__(self, name):
        self.name = name
        self.passed = self.failed = 0
        self.lock = threading.Lock()
        self.failures = []

    def result(self, title, why=None):
        with self.lock:
            if why is None:
                self.passed += 1
                print("ok    %s" % title)
            else:
                self.failed += 1
                self.failures.append(title)
                print("FAIL  %s: %s" % (title, short(why, 1200)))
            sys.stdout.flush()

    def skip(self, title, why):
        with self.lock:
            print("skip  %s: %s" % (title, why))
            sys.stdout.flush()

    def run(self, title, story, *arguments):
        """Runs one story; an exception of any kind is its failure."""
        try:
            story(*arguments)
        except Failure as error:
            self.result(title, str(error))
        except Exception as error:                                  # a broken peer must not end the other stories
            if os.environ.get("OUTRIDER_TRACE"):
                import traceback
                traceback.print_exc()
            self.result(title, "%s: %s" % (type(error).__name__, error))
        else:
            self.result(title)

    def close(self):
        print("%d passed, %d failed" % (self.passed, self.failed))
        sys.stdout.flush()
        return 1 if self.failed else 0


class MatrixRows:
    """Results by row of the matrix of attacks and faults; tools/matrix reads the file named by OUTRIDER_MATRIX_OUT."""

    def __init__(self, test):
        self.test, self.passed, self.failed = test, 0, 0
        self.lock = threading.Lock()
        self.path = os.environ.get("OUTRIDER_MATRIX_OUT")

    def result(self, number, why=None):
        with self.lock:
            print("row %03d %s" % (number, "ok" if why is None else "FAIL " + short(why)))
            sys.stdout.flush()
            if why is None:
                self.passed += 1
            else:
                self.failed += 1
            if self.path:
                with open(self.path, "a") as out:
                    out.write(json.dumps({"row": number, "test": self.test, "ok": why is None}) + "\n")

    def missing(self, number, why):
        """A row that cannot be run here: neither passed nor failed, and no line in the file, so it counts as missing."""
        with self.lock:
            print("row %03d missing: %s" % (number, why))

    def close(self):
        print("%d passed, %d failed" % (self.passed, self.failed))
        sys.stdout.flush()
        return 1 if self.failed else 0


def options(description, proxy_choice=False, **more):
    """The options that every process test takes. proxy_choice: one proxy under test, of either kind."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--outrider", metavar="PATH", help="the binary under test")
    parser.add_argument("--envoy", metavar="PATH", help="the reference; without it comparisons are skipped")
    parser.add_argument("--keep", action="store_true", help="leave the work folder behind and say where it is")
    if proxy_choice:
        parser.add_argument("--proxy", choices=("outrider", "envoy"), default="outrider")
        parser.add_argument("--binary", metavar="PATH", help="binary of the kind that --proxy names")
        parser.add_argument("--only", help="comma-separated rows or words to run")
    for name, (kind, default, text) in more.items():
        flag = "--" + name.replace("_", "-")
        if kind is bool:
            parser.add_argument(flag, action="store_true", help=text)
        else:
            parser.add_argument(flag, type=kind, default=default, help=text)
    chosen = parser.parse_args()
    if proxy_choice:
        chosen.binary = chosen.binary or (chosen.outrider if chosen.proxy == "outrider" else chosen.envoy)
        if not chosen.binary:
            parser.error("give --outrider PATH, or --proxy envoy --binary PATH")
        if not os.access(chosen.binary, os.X_OK):
            parser.error("not an executable: %s" % chosen.binary)
    return chosen


def guarded(main):
    """Runs main(); a proxy or peer that cannot start is a failure with one line, not a stack."""
    try:
        return main()
    except Failure as error:
        print("FAIL  %s" % short(error, 2500))
        print("0 passed, 1 failed")
        return 1


def work_folder(keep=False):
    folder = tempfile.mkdtemp(prefix="outrider-test-")
    if keep:
        print("work folder: %s" % folder)
    else:
        atexit.register(shutil.rmtree, folder, True)
    return folder


def more_open_files():
    import resource
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def make_certificates(folder, openssl="openssl"):
    """A certificate authority, a server certificate for localhost and 127.0.0.1, and a client certificate.

    Returns {name: path} with ca, server, server_key, server2, server2_key, client, client_key."""
    def run(*arguments):
        subprocess.run([openssl] + list(arguments), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30)
    at = lambda name: os.path.join(folder, name)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=Test CA", "-keyout", at("ca.key"), "-out", at("ca.pem"),
        "-addext", "basicConstraints=critical,CA:TRUE")
    made = {"ca": at("ca.pem")}
    for name, subject in (("server", "localhost"), ("server2", "localhost"), ("client", "client")):
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + subject,
            "-keyout", at(name + ".key"), "-out", at(name + ".csr"))
        with open(at(name + ".ext"), "w") as out:
            out.write("subjectAltName=DNS:localhost,DNS:h,IP:127.0.0.1\n" if name != "client"
                      else "subjectAltName=URI:spiffe://test/client\n")
        run("x509", "-req", "-days", "2", "-in", at(name + ".csr"), "-CA", at("ca.pem"), "-CAkey", at("ca.key"),
            "-CAcreateserial", "-extfile", at(name + ".ext"), "-out", at(name + ".pem"))
        made[name], made[name + "_key"] = at(name + ".pem"), at(name + ".key")
    return made


def downstream_tls(certificates, mutual=False, alpn=("h2", "http/1.1"), server="server"):
    common = {"alpn_protocols": list(alpn), "tls_certificates": [{
        "certificate_chain": {"filename": certificates[server]},
        "private_key": {"filename": certificates[server + "_key"]}}]}
    if mutual:
        common["validation_context"] = {"trusted_ca": {"filename": certificates["ca"]}}
    config = {"@type": DOWNSTREAM_TLS, "common_tls_context": common}
    if mutual:
        config["require_client_certificate"] = True
    return {"name": "tls", "typed_config": config}
