"""What is measured on one proxy: CPU per request, system calls per request, memory per idle connection, start."""
import json
import re
import signal
import socket
import subprocess
import time

from .processes import BenchError
from .proxies import Proxy, find_system

DATA_CALLS = frozenset("""read readv pread64 preadv recvfrom recvmsg recvmmsg write writev pwrite64 pwritev sendto sendmsg
    sendmmsg sendfile splice""".split())
IDLE_CONNECTIONS = 10000
WARM_CONNECTIONS = 500


def one(proxy, scenario, seconds, load):
    """{"cpu_us": CPU microseconds of the proxy per request, "rps", "p50_us", "p99_us", ...} of one run"""
    before = []
    told = load.run(scenario, proxy.ports, seconds, lambda: before.append(proxy.process.cpu_seconds()))
    used = proxy.process.cpu_seconds() - before[0]
    proxy.process.check_alive()
    if scenario.check == "log":
        with open(proxy.access_log, "r+b") as file:  # all append to it
            file.truncate(0)
    latencies = {key: value for key, value in told.items() if key.endswith("_us") or key == "ahead"}
    return {"cpu_us": used / told["requests"] * 1e6, "rps": told["requests"] / told["seconds"], **latencies}


def floor(scenario, port, seconds, load):
    """The latencies of the same load without a proxy, {"p50_us", "p99_us", ...}: less than this no proxy can show."""
    told = load.run(scenario, {scenario.port: port}, seconds)
    return {key: value for key, value in told.items() if key.endswith("_us") or key == "ahead"}


class Tracer:
    """Counts the system calls of processes between start and stop, by perf trace where it works, else by strace."""

    def __init__(self, pids):
        perf, strace = find_system("perf"), find_system("strace")
        joined = ",".join(map(str, pids))
        if perf and perf_works(perf):
            self.command = [perf, "trace", "-m", "4096", "-s", "-p", joined]
            self.parse = parse_perf
        elif strace:
            self.command = [strace, "-c", "-f", "-U", "calls,name", "-p", joined]
            self.parse = parse_strace
        else:
            raise BenchError("neither perf nor strace is there: run tools/setup peers")

    def __enter__(self):
        self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(0.7)  # attached before the load starts; neither tool says when it is
        if self.child.poll() is not None:
            raise BenchError("cannot trace: " + self.child.stdout.read())
        return self

    def __exit__(self, *_):
        time.sleep(0.1)
        self.child.send_signal(signal.SIGINT)
        try:
            text, _ = self.child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            text, _ = self.child.communicate()
        self.calls = self.parse(text)


def perf_works(perf, _known=[]):
    if not _known:
        done = subprocess.run([perf, "trace", "-s", "true"], capture_output=True, text=True)
        _known.append(done.returncode == 0 and "exit_group" in done.stdout + done.stderr or "read" in done.stdout + done.stderr)
    return _known[0]


def parse_perf(text):
    """Lines such as `   read      3      0     0.042 ...` below a head for each thread."""
    if re.search(r"LOST \d+ events", text):
        raise BenchError("perf lost events")
    calls = {}
    for name, count in re.findall(r"^\s+([a-z_0-9]+)\s+(\d+)\s+\d+\s+[\d.]+\s", text, re.M):
        calls[name] = calls.get(name, 0) + int(count)
    return calls


def parse_strace(text):
    return {name: int(count) for count, name in re.findall(r"^\s*(\d+)\s+([a-z_0-9]+)\s*$", text, re.M) if name != "total"}


def system_calls(proxy, scenario, load):
    """{"calls": all, "data_calls": reads and writes, "top": the most frequent} per request, over a short run that is wholly inside."""
    with Tracer(proxy.process.pids) as tracer:
        requests = load.run(scenario, proxy.ports, 1)["requests"]
    if not tracer.calls:
        raise BenchError("the tracer counted nothing")
    top = sorted(tracer.calls.items(), key=lambda item: -item[1])[:6]
    return {
        "calls": sum(tracer.calls.values()) / requests,
        "data_calls": sum(count for name, count in tracer.calls.items() if name in DATA_CALLS) / requests,
        "top": {name: round(count / requests, 3) for name, count in top},
    }


class Holder:
    """test/bench/load idle: connections that stay open."""

    def __init__(self, program, port, protocol):
        self.child = subprocess.Popen([program, "idle", "-port", str(port), "-protocol", protocol], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            raise BenchError("test/bench/load idle ended")
        told = json.loads(answer)
        if told.get("why"):
            raise BenchError(told["why"])
        return told

    def end(self):
        self.child.stdin.close()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def idle_memory(proxy, port, protocol, program, count=IDLE_CONNECTIONS):
    """KiB (Pss) that one idle connection costs: each has had one answer. The first ones warm up and are not counted."""
    holder = Holder(program, proxy.ports[port], protocol)
    try:
        holder.ask(f"open {WARM_CONNECTIONS}")
        time.sleep(0.3)
        before = proxy.process.memory()
        holder.ask(f"open {count}")
        time.sleep(0.5)
        used = proxy.process.memory() - before
        closed = holder.ask("check")["closed"]
        if closed:
            raise BenchError(f"{closed} of {count} idle connections were closed")
        return used / count / 1024
    finally:
        holder.end()


def start(name, program, folder, values, core):
    """{"start_ms": until the HTTP/1.1 port accepts, "rest_mib": memory (Pss, all processes) a second later, without a request}"""
    began = time.monotonic()
    proxy = Proxy(name, program, folder, values, core, wait=False)
    began = proxy.process.started or began
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", proxy.ports["H1"]), timeout=1).close()
                break
            except OSError:
                proxy.process.check_alive()
                if time.monotonic() > began + 20:
                    raise BenchError(f"{name} does not listen")
                time.sleep(0.0005)
        took = time.monotonic() - began
        time.sleep(1)
        return {"start_ms": took * 1e3, "rest_mib": proxy.process.memory(everything=True) / (1 << 20)}
    finally:
        proxy.stop()
