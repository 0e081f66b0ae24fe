"""What is measured on one proxy: CPU per request, system calls per request, memory per idle connection."""
import re
import signal
import socket
import subprocess
import time

from . import load
from .processes import BenchError
from .proxies import find_system

DATA_CALLS = frozenset("""read readv pread64 preadv recvfrom recvmsg recvmmsg write writev pwrite64 pwritev sendto sendmsg
    sendmmsg sendfile splice""".split())
IDLE_CONNECTIONS = 5000


def cpu(proxy, scenario, seconds, core):
    """{"cpu_us": CPU microseconds of the proxy per request, "rps": requests per second}"""
    before = proxy.process.cpu_seconds()
    requests, took = load.run(scenario, proxy.ports, seconds, core)
    used = proxy.process.cpu_seconds() - before
    proxy.process.check_alive()
    return {"cpu_us": used / requests * 1e6, "rps": requests / took}


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


def system_calls(proxy, scenario, core):
    """{"calls": all, "data_calls": reads and writes, "top": the most frequent} per request, over a short run that is wholly inside."""
    with Tracer(proxy.process.pids) as tracer:
        requests, _ = load.run(scenario, proxy.ports, 1, core)
    if not tracer.calls:
        raise BenchError("the tracer counted nothing")
    top = sorted(tracer.calls.items(), key=lambda item: -item[1])[:6]
    return {
        "calls": sum(tracer.calls.values()) / requests,
        "data_calls": sum(count for name, count in tracer.calls.items() if name in DATA_CALLS) / requests,
        "top": {name: round(count / requests, 3) for name, count in top},
    }


def idle_memory(proxy, count=IDLE_CONNECTIONS):
    """Bytes (Pss) that one idle HTTP/1.1 connection costs: each has had one answer. The first 500 warm up and are not counted."""
    held = []
    try:
        held += open_connections(proxy, 500, 0)
        time.sleep(0.3)
        before = proxy.process.memory()
        held += open_connections(proxy, count, 500)
        time.sleep(0.3)
        return (proxy.process.memory() - before) / count
    finally:
        for each in held:
            each.close()


def open_connections(proxy, count, offset):
    request = b"GET / HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\n\r\n"
    opened = []
    for number in range(offset, offset + count):
        client = socket.socket()
        client.settimeout(10)
        client.bind((f"127.0.0.{2 + number % 4}", 0))
        client.connect(("127.0.0.1", proxy.ports["H1"]))
        client.sendall(request)
        answer = b""
        while not answer.endswith(b"x" * 16) or len(answer) < 1024:
            piece = client.recv(65536)
            if not piece:
                raise BenchError(f"{proxy.name} closed idle connection {number}: {answer[:200]!r}")
            answer += piece
        if not answer.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"{proxy.name}: {answer[:200]!r}")
        opened.append(client)
    return opened
