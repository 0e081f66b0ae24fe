"""Outrider with its own control plane, two backends and live traffic, on this machine alone.

tools/demo                 installs what the build needs, builds the release, shows each step; exit 0 only if all were seen
tools/demo --keep          then stays until Ctrl-C, so that you can try more
tools/demo --outrider FILE   another program; no installation, no build

The configuration is in tools/demo_data/: a bootstrap and the resources that the control plane serves.
"""
import argparse
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
DATA = os.path.join(ROOT, "tools", "demo_data")
# The ports as they stand in the files of demo_data.
PORTS = {"admin": 9901, "http": 10000, "tcp": 10001, "https": 10443, "control plane": 18000, "first": 18081, "second": 18082}
BACKEND = r"""
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536
    def do_GET(self):
        body = f"{sys.argv[1]} backend answers {self.path}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-backend", sys.argv[1])
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
Server(("127.0.0.1", int(sys.argv[2])), Answer).serve_forever()
"""


class DemoError(Exception):
    """A step that was not seen; the text says what was."""


def choose_ports():
    """Those of the files where they are free, others where not."""
    held, chosen = [], {}
    try:
        for name, port in PORTS.items():
            for candidate in (port, 0):
                each = socket.socket()
                held.append(each)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    each.bind(("127.0.0.1", candidate))
                    each.listen(1)  # with SO_REUSEADDR only listening shows that another one listens there
                except OSError:
                    continue
                chosen[name] = each.getsockname()[1]
                break
    finally:
        for each in held:
            each.close()
    return chosen


class Demo:
    def __init__(self, outrider, folder):
        self.outrider, self.folder = outrider, folder
        self.ports = choose_ports()
        self.children, self.steps = [], 0

    # -- processes --

    def start(self, name, command):
        """The child's output goes to NAME.log in the folder; it is ended by its id when the demo ends."""
        with open(self.log(name), "wb") as log:
            child = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                     start_new_session=True)
        self.children.append((name, child))

    def log(self, name):
        return os.path.join(self.folder, name.replace(" ", "-") + ".log")

    def log_text(self, name):
        with open(self.log(name), errors="replace") as file:
            return file.read()

    def stop(self):
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            for _, child in reversed(self.children):
                if child.poll() is None:
                    child.send_signal(number)
            deadline = time.monotonic() + patience
            for _, child in self.children:
                try:
                    child.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    pass

    def wait(self, what, condition, seconds=15):
        deadline = time.monotonic() + seconds
        while True:
            result = condition()
            if result:
                return result
            for name, child in self.children:
                if child.poll() is not None:
                    raise DemoError(f"{name} ended with {child.returncode}:\n{self.log_text(name)[-2000:]}")
            if time.monotonic() > deadline:
                raise DemoError(f"not seen within {seconds} s: {what}")
            time.sleep(0.02)

    def accepts(self, name):
        try:
            socket.create_connection(("127.0.0.1", self.ports[name]), timeout=1).close()
            return True
        except OSError:
            return False

    # -- files --

    def write(self, source, target, more=()):
        """A copy of a file of demo_data with the ports and certificate paths of this run; it appears in one step."""
        with open(os.path.join(DATA, source)) as file:
            text = file.read()
        replaced = {**{PORTS[name]: port for name, port in self.ports.items()}, **dict(more)}
        text = re.sub(r"(?<=port_value: )\d+", lambda found: str(replaced.get(int(found.group()), found.group())), text)
        text = text.replace("filename: certs/", f"filename: {self.folder}/certs/")
        target = os.path.join(self.folder, target)
        with open(target + ".new", "w") as file:
            file.write(text)
        os.rename(target + ".new", target)

    # -- what is shown --

    def say(self, text):
        self.steps += 1
        print(f"  {self.steps}. {text}", flush=True)

    def curl(self, *words):
        """(body, "HTTP_VERSION STATUS") of one request by curl."""
        command = ["curl", "-sS", "--max-time", "10", "-w", "\n%{http_version} %{http_code}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode:
            raise DemoError(f"{' '.join(command)}: {done.stderr.strip()}")
        body, _, state = done.stdout.rpartition("\n")
        return body, state

    def expect(self, what, got, wanted):
        if got != wanted:
            raise DemoError(f"{what}: got {got!r}, wanted {wanted!r}")

    def admin(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):  # not there yet, or not ready: 503
            return None, ""

    def start_all(self):
        subprocess.run([os.path.join(ROOT, "tools", "cert"), os.path.join(self.folder, "certs")], check=True)
        os.mkdir(os.path.join(self.folder, "resources"))
        self.write("bootstrap.yaml", "bootstrap.yaml")
        for name in sorted(os.listdir(os.path.join(DATA, "resources"))):
            self.write(f"resources/{name}", f"resources/{name}")
        for name in ("first", "second"):
            self.start(f"{name} backend", [sys.executable, "-c", BACKEND, name, str(self.ports[name])])
            self.wait(f"the {name} backend listens", lambda: self.accepts(name))
        self.say("two backends listen")
        self.start("control plane", [self.outrider, "control-plane", "--listen", f"127.0.0.1:{self.ports['control plane']}",
                                     "--dir", os.path.join(self.folder, "resources")])
        self.wait("the control plane listens", lambda: self.accepts("control plane"))
        self.start("outrider", [self.outrider, "-c", os.path.join(self.folder, "bootstrap.yaml"), "--concurrency", "2", "--log-level", "warning"])
        self.wait("/ready says LIVE", lambda: self.admin("/ready") == (200, "LIVE\n"))
        self.wait("all listeners are up", lambda: all(self.accepts(name) for name in ("http", "https", "tcp")))
        self.say("Outrider got listeners, routes, clusters, endpoints and the certificate over ADS and is live")
        log = self.wait("the control plane reports an ACK", lambda: re.search(r"\bACK\b", self.log_text("control plane")) and self.log_text("control plane"))
        if re.search(r"\bNACK\b", log):
            raise DemoError("the control plane reports a NACK:\n" + log[-2000:])
        acks = sum(1 for line in log.splitlines() if re.search(r"\bACK\b", line))
        self.say(f"the control plane reports {acks} ACKs and no NACK")

    def show_protocols(self):
        http_url = f"http://127.0.0.1:{self.ports['http']}"
        wanted = "first backend answers /a\n"
        self.expect("HTTP/1.1", self.curl("--http1.1", http_url + "/a"), (wanted, "1.1 200"))
        self.say(f"HTTP/1.1        curl {http_url}/a -> {wanted.strip()}")
        self.expect("HTTP/2", self.curl("--http2-prior-knowledge", http_url + "/a"), (wanted, "2 200"))
        self.say(f"HTTP/2          curl --http2-prior-knowledge {http_url}/a -> {wanted.strip()}")
        self.expect("direct response", self.curl(http_url + "/hello"), ("hello from the proxy itself\n", "1.1 200"))
        self.say(f"direct response curl {http_url}/hello -> hello from the proxy itself")
        tls = ["--cacert", os.path.join(self.folder, "certs", "ca.pem"), "--resolve", f"outrider.test:{self.ports['https']}:127.0.0.1"]
        tls_url = f"https://outrider.test:{self.ports['https']}/a"
        self.expect("TLS with ALPN h2", self.curl("--http2", *tls, tls_url), (wanted, "2 200"))
        self.expect("TLS with ALPN http/1.1", self.curl("--http1.1", *tls, tls_url), (wanted, "1.1 200"))
        self.say("TLS             certificate verified, ALPN chose h2 and then http/1.1")
        self.expect("TCP", self.over_tcp(), "first")
        self.say(f"TCP             bytes to 127.0.0.1:{self.ports['tcp']} and back")

    def over_tcp(self):
        """One exchange through the TCP listener; the name of the backend that answered."""
        with socket.create_connection(("127.0.0.1", self.ports["tcp"]), timeout=5) as client:
            client.sendall(b"GET /tcp HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n")
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        found = re.search(rb"x-backend: (\w+)", answer)
        if not found or not answer.endswith(b"answers /tcp\n"):
            raise DemoError(f"TCP: {answer!r}")
        return found.group(1).decode()

    def show_move(self):
        traffic = Traffic(self)
        traffic.start()
        try:
            self.wait("200 answers of the first backend", lambda: traffic.trouble() or traffic.count("first") >= 200)
            if traffic.count("second"):
                raise DemoError("the second backend answered before the change")
            changed = time.monotonic()
            self.write("resources/endpoints.yaml", "resources/endpoints.yaml", {PORTS["first"]: self.ports["second"]}.items())
            self.wait("an answer of the second backend", lambda: traffic.trouble() or traffic.count("second"))
            moved = time.monotonic() - changed
            self.wait("each client gets 100 answers in a row from the second backend", lambda: traffic.trouble() or traffic.settled(100))
        finally:
            traffic.stop()
        if traffic.trouble():
            raise DemoError("a request failed: " + traffic.trouble())
        self.say(f"endpoints.yaml rewritten under traffic: the second backend answers after {1000 * moved:.0f} ms; "
                 f"{traffic.count('first')} + {traffic.count('second')} requests, 0 failed")

    def show_admin(self):
        status, text = self.admin("/clusters")
        if status != 200 or f"127.0.0.1:{self.ports['second']}" not in text:
            raise DemoError(f"/clusters does not name the second backend: {status} {text[:500]!r}")
        _, stats = self.admin("/stats?filter=http.http.downstream_rq_2xx")
        found = re.search(r"^http\.http\.downstream_rq_2xx: (\d+)$", stats, re.M)
        if not found or int(found.group(1)) < 100:
            raise DemoError(f"/stats does not count the requests: {stats!r}")
        self.say(f"admin counts {found.group(1)} good requests on the listener `http`")
        print(f"\nAdmin page: http://127.0.0.1:{self.ports['admin']}/   (try /clusters, /stats?usedonly, /config_dump)")


class Traffic:
    """Four clients at once: HTTP/1.1 on one connection, HTTP/1.1 on a fresh one each time, TCP, and curl over TLS with HTTP/2."""

    def __init__(self, demo):
        self.demo, self.stopped, self.lock = demo, threading.Event(), threading.Lock()
        self.counts, self.rows, self.failure = {"first": 0, "second": 0}, {}, None
        self.kept = None
        self.threads = [threading.Thread(target=self.run, args=(name, one), daemon=True) for name, one in (
            ("kept", self.on_kept_connection), ("fresh", self.on_fresh_connection), ("tcp", demo.over_tcp), ("tls", self.over_tls))]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(15)

    def run(self, name, one):
        while not self.stopped.is_set():
            try:
                who = one()
                with self.lock:
                    self.counts[who] += 1
                    self.rows[name] = self.rows.get(name, 0) + 1 if who == "second" else 0
            except Exception as error:  # whatever it is, the demo must not end well
                with self.lock:
                    self.failure = self.failure or f"{name}: {type(error).__name__} {error}"
                return
            self.stopped.wait(0.002)

    def get(self, connection):
        connection.request("GET", "/b")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or not body.endswith(b"answers /b\n"):
            raise DemoError(f"{answer.status} {body!r}")
        return answer.headers["x-backend"]

    def on_kept_connection(self):
        if self.kept is None:
            self.kept = http.client.HTTPConnection("127.0.0.1", self.demo.ports["http"], timeout=5)
        return self.get(self.kept)

    def on_fresh_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.demo.ports["http"], timeout=5)
        try:
            return self.get(connection)
        finally:
            connection.close()

    def over_tls(self):
        body, state = self.demo.curl(
            "--http2", "--cacert", os.path.join(self.demo.folder, "certs", "ca.pem"), "--resolve",
            f"outrider.test:{self.demo.ports['https']}:127.0.0.1", f"https://outrider.test:{self.demo.ports['https']}/c")
        if state != "2 200" or not body.endswith("answers /c\n"):
            raise DemoError(f"{state} {body!r}")
        return body.split()[0]

    def count(self, who):
        with self.lock:
            return self.counts[who]

    def settled(self, wanted):
        """Whether every client had that many answers in a row from the second backend (curl, a process each time: a tenth)."""
        with self.lock:
            return all(self.rows.get(name, 0) >= (wanted // 10 if name == "tls" else wanted) for name in ("kept", "fresh", "tcp", "tls"))

    def trouble(self):
        with self.lock:
            return self.failure


def prepare(arguments):
    """The program: the one that was named, or the release build, made now."""
    if arguments.outrider:
        return os.path.realpath(arguments.outrider)
    subprocess.run([os.path.join(ROOT, "tools", "setup"), "build"], check=True)
    environment = dict(os.environ)
    environment.setdefault("HOME", os.path.expanduser("~"))
    command = ["bazel", "build", "-c", "opt", "--show_progress_rate_limit=10", "//source/server:outrider"]
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    return os.path.join(ROOT, "bazel-out", "k8-opt", "bin", "source", "server", "outrider")


def main():
    parser = argparse.ArgumentParser(prog="tools/demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="stay until Ctrl-C after the last step")
    parser.add_argument("--outrider", metavar="FILE", help="use this program")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell that starts this in the background has it ignored
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    started = time.monotonic()
    try:
        outrider = prepare(arguments)
    except subprocess.CalledProcessError as error:
        print(f"tools/demo: {' '.join(error.cmd)} failed", file=sys.stderr)
        return 1
    folder = tempfile.mkdtemp(prefix="outrider-demo-")
    demo = Demo(outrider, folder)
    print(f"\nThe demo ({time.monotonic() - started:.0f} s so far):", flush=True)
    try:
        demo.start_all()
        demo.show_protocols()
        demo.show_move()
        demo.show_admin()
        print(f"Demo: all {demo.steps} steps seen.", flush=True)
        if arguments.keep:
            print(f"Files and logs: {folder}   (edit resources/*.yaml there)\nRunning until Ctrl-C.", flush=True)
            signal.pause()
        return 0
    except DemoError as error:
        print(f"tools/demo: {error}", file=sys.stderr)
        print(demo.log_text("outrider")[-2000:] if os.path.exists(demo.log("outrider")) else "", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if arguments.keep else 130
    finally:
        demo.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
