"""Load: one run of wrk, h2load or test/bench/load against one port, and what it says of itself; and the check before it."""
import json
import os
import re
import subprocess
import time

from . import figures
from .processes import BenchError
from .proxies import find_system

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}
H2LOAD_LOG = "h2load.log"


class Load:
    """Where the programs and files of the load are: `values` are those of the templates, `program` is test/bench/load or None."""

    def __init__(self, folder, values, core, program):
        self.folder, self.values, self.core, self.program = folder, values, core, program
        self.ahead = False  # whether the load runs before all that is scheduled by shares of time; what it loads is put before it then

    def place(self):
        """In the child."""
        os.sched_setaffinity(0, {self.core})
        if self.ahead:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))

    def available(self, scenario):
        return scenario.tool in ("wrk", "h2load") or self.program is not None

    def words(self, scenario):
        words = list(scenario.arguments)
        for name in ("DIR", "CERTS"):
            words = [word.replace(f"@{name}@", str(self.values[name])) for word in words]
        return words

    def run(self, scenario, ports, seconds, begin=lambda: None):
        """One run: {"requests", "seconds", "p50_us", "p99_us", ...}; BenchError if any request failed. `rate` adds "late_p99_us", how late
        the generator itself was, and "ahead".

        Calls begin() when the measured part begins: at once, but for test/bench/load tls once its connections are open."""
        port, seconds = ports[scenario.port], seconds * scenario.longer
        shared = scenario.group == "shared"
        log = os.path.join(self.folder, H2LOAD_LOG)
        url = f"{'https' if scenario.secure else 'http'}://127.0.0.1:{port}{scenario.path}"
        if scenario.tool == "wrk":
            command = ["wrk", "-t2" if shared else "-t1", f"-d{seconds}s", "--timeout", "20s", "--latency", *self.words(scenario), url]
        elif scenario.tool == "h2load":
            command = ["h2load", "-t1", f"-D{seconds}", f"--log-file={log}", *self.words(scenario), url]
            if os.path.exists(log):
                os.unlink(log)
        else:
            command = [self.program, scenario.tool, "-port", port, "-seconds", seconds, *self.words(scenario)]
            if scenario.tool == "tls":
                command += ["-ca", os.path.join(self.values["CERTS"], "ca.pem")]
            if scenario.tool in ("tls", "rate"):
                command += ["-path", scenario.path, "-size", scenario.size]
        command[0] = find_system(command[0]) or command[0]
        try:
            child = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                     preexec_fn=None if shared else self.place)
        except FileNotFoundError as error:
            raise BenchError(f"{scenario.tool} is missing: run tools/setup peers") from error
        try:
            first = child.stdout.readline() if scenario.tool == "tls" else ""
            begin()
            text = first + child.communicate(timeout=seconds + 60)[0]
        except subprocess.TimeoutExpired as error:
            child.kill()
            child.communicate()
            raise BenchError(f"{scenario.tool} {url} did not end") from error
        if scenario.tool == "wrk":
            return read_wrk(text)
        if scenario.tool == "h2load":
            return {**read_h2load(text), **read_h2load_log(log)}
        told = read_own(text, seconds, "-resume" in scenario.arguments)
        return {**told, "ahead": self.ahead} if scenario.tool == "rate" else told


def read_wrk(text):
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    if not found or not int(found.group(1)):
        raise BenchError("wrk got no answer:\n" + text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if bad or (errors and any(int(count) for count in errors.groups())):
        raise BenchError("wrk saw failures:\n" + text)
    result = {"requests": int(found.group(1)), "seconds": float(found.group(2)) * UNITS[found.group(3)]}
    for part, value, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.M):
        result[f"p{part}_us"] = float(value) * UNITS[unit] * 1e6
    return result


def read_h2load(text):
    found = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    took = re.search(r"finished in ([\d.]+)(us|ms|s|m)", text)
    if not found or not took or not int(found.group(2)):
        raise BenchError("h2load got no answer:\n" + text[-300:])
    if int(found.group(3)) or int(found.group(4)) or int(found.group(5)):
        raise BenchError("h2load saw failures: " + found.group(0))
    return {"requests": int(found.group(2)), "seconds": float(took.group(1)) * UNITS[took.group(2)]}


def read_h2load_log(path):
    """Each line: when it began, status, microseconds."""
    try:
        with open(path) as file:
            took = [int(line.rsplit("\t", 1)[1]) for line in file if line.count("\t") == 2]
    except (OSError, ValueError):
        return {}
    return {"p50_us": figures.percentile(took, 0.5), "p99_us": figures.percentile(took, 0.99)} if took else {}


def read_own(text, seconds, resume):
    try:
        told = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise BenchError("test/bench/load: " + text[-500:]) from error
    if told["failed"] or not told["requests"]:
        raise BenchError(f"{told['failed']} requests failed: {told['why']}")
    if resume and told["resumed"] < told["handshakes"] - told["clients"]:
        raise BenchError(f"only {told['resumed']} of {told['handshakes']} sessions were resumed")
    result = {"requests": told["requests"], "seconds": told.get("seconds", seconds)}
    result.update({key: told[key] for key in ("p50_us", "p99_us", "p999_us", "late_p99_us") if key in told})
    return result


class Checker:
    """Proves that a proxy gives the right answers in a scenario, with curl, which looks at bodies; the load looks at status and length."""

    def __init__(self, load):
        self.load, self.proven = load, set()

    def check(self, scenario, proxy):
        """BenchError unless the answers are right."""
        what = (id(proxy), scenario.check, scenario.port, scenario.path, scenario.tool)
        if what not in self.proven:
            getattr(self, "check_" + scenario.check.replace("-", "_"))(scenario, proxy)
            self.proven.add(what)

    def url(self, scenario, proxy, path=None):
        return f"{'https://localhost' if scenario.secure else 'http://127.0.0.1'}:{proxy.ports[scenario.port]}{path or scenario.path}"

    def curl(self, scenario, *words):
        version = "--http1.1" if scenario.tool != "h2load" else "--http2" if scenario.secure else "--http2-prior-knowledge"
        command = ["curl", "-sS", "-4", "--cacert", os.path.join(self.load.values["CERTS"], "ca.pem"), "--max-time", "20", version, *words]
        done = subprocess.run(command, capture_output=True, timeout=30)
        return done, " ".join(command)

    def fetch(self, scenario, proxy, *words, path=None):
        done, command = self.curl(scenario, "-w", "\n%{http_version} %{http_code}", *words, self.url(scenario, proxy, path))
        got, _, state = done.stdout.rpartition(b"\n")
        version, _, status = state.decode().partition(" ")
        if done.returncode or status not in ("200", "201", "204") or version != ("2" if scenario.tool == "h2load" else "1.1"):
            raise BenchError(f"{command}: {state.decode()!r} {done.stderr.decode().strip()}")
        return got

    def expect_body(self, scenario, proxy, *words):
        got = self.fetch(scenario, proxy, *words)
        if got != b"x" * scenario.size:
            raise BenchError(f"{self.url(scenario, proxy)}: {len(got)} bytes instead of {scenario.size}, or other ones")

    def check_get(self, scenario, proxy):
        self.expect_body(scenario, proxy)

    def check_run(self, scenario, proxy):
        """The load itself compares what comes back."""
        self.load.run(scenario, proxy.ports, 1)

    def check_mtls(self, scenario, proxy):
        certs = self.load.values["CERTS"]
        self.expect_body(scenario, proxy, "--cert", os.path.join(certs, "client.pem"), "--key", os.path.join(certs, "client.key"))
        done, _ = self.curl(scenario, "-f", self.url(scenario, proxy))
        if done.returncode == 0:
            raise BenchError("a client without a certificate was answered")

    def check_mtls_run(self, scenario, proxy):
        self.check_mtls(scenario, proxy)
        self.check_run(scenario, proxy)

    def check_upload(self, scenario, proxy):
        name = f"{proxy.name}_{scenario.name}"
        sent = os.path.join(self.load.folder, "www", "1m")
        kept = os.path.join(self.load.folder, "www", "put", name)
        self.fetch(scenario, proxy, "-T", sent, "-H", "Expect:", path="/put/" + name)
        with open(sent, "rb") as one, open(kept, "rb") as other:
            if one.read() != other.read():
                raise BenchError("what the backend kept of an upload is not what was sent")
        if self.fetch(scenario, proxy, "--data-binary", "@" + sent, "-H", "Expect:") != b"ok":
            raise BenchError("an upload was not answered with the backend's words")

    def check_grpc(self, scenario, proxy):
        sent = os.path.join(self.load.folder, "message.grpc")
        heads = os.path.join(self.load.folder, "heads")
        got = self.fetch(scenario, proxy, "-D", heads, "--data-binary", "@" + sent, "-H", "content-type: application/grpc", "-H", "te: trailers")
        with open(sent, "rb") as one, open(heads) as other:
            if one.read() != got or "grpc-status: 0" not in other.read().lower():
                raise BenchError("a gRPC call was not echoed with grpc-status 0")

    def check_log(self, scenario, proxy):
        """Envoy writes at 64 KiB or after 10 s, so enough requests are made that lines must appear."""
        self.check_get(scenario, proxy)
        self.load.run(scenario, proxy.ports, 1)
        deadline = time.monotonic() + 12
        while not (os.path.exists(proxy.access_log) and os.path.getsize(proxy.access_log) > 65536):
            if time.monotonic() > deadline:
                raise BenchError("no lines in the access log")
            time.sleep(0.1)
