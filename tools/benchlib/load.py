"""Load: one run of wrk or h2load against one port, and what it says of itself."""
import os
import re
import subprocess

from .processes import BenchError
from .proxies import find_system

SCENARIOS = {
    # name: (port, tool, arguments, path, what it is)
    "h1": ("H1", "wrk", ["-c64"], "/", "HTTP/1.1 to HTTP/1.1, 64 connections"),
    "h2c-h1": ("H2C", "h2load", ["-c8", "-m32"], "/", "h2c to HTTP/1.1, 8 x 32 streams"),
    "h2c-h2c": ("H2UP", "h2load", ["-c8", "-m32"], "/", "h2c to h2c, 8 x 32 streams"),
    "tls-h1": ("TLS", "wrk", ["-c64"], "/", "TLS HTTP/1.1 to HTTP/1.1, 64 connections"),
    "tls-h2": ("TLS", "h2load", ["-c8", "-m32"], "/", "TLS HTTP/2 to HTTP/1.1, 8 x 32 streams"),
    "tcp": ("TCP", "wrk", ["-c64"], "/", "TCP proxy, small messages, 64 connections"),
    "h1-new": ("H1", "wrk", ["-c64", "-H", "Connection: close"], "/", "a new HTTP/1.1 connection each request"),
    "h1-1m": ("H1", "wrk", ["-c16"], "/1m", "HTTP/1.1, 1 MiB responses, 16 connections"),
    "tcp-1m": ("TCP", "wrk", ["-c16"], "/1m", "TCP proxy, 1 MiB messages, 16 connections"),
    # Not in the default list:
    "tls-h1-1m": ("TLS", "wrk", ["-c16"], "/1m", "TLS HTTP/1.1, 1 MiB responses, 16 connections"),
    "h2c-1m": ("H2C", "h2load", ["-c8", "-m4"], "/1m", "h2c to HTTP/1.1, 1 MiB responses, 8 x 4 streams"),
    "tls-new": ("TLS", "wrk", ["-c64", "-H", "Connection: close"], "/", "a new TLS connection each request"),
}
DEFAULT_SCENARIOS = ["h1", "h2c-h1", "h2c-h2c", "tls-h1", "tls-h2", "tcp", "h1-new", "h1-1m", "tcp-1m"]


def check_answers(ports, port_name, body):
    """BenchError unless the proxy answers on that port with the backend's bytes, in every protocol that the port is loaded with.

    wrk and h2load look at the status alone; this looks at the bodies, once before the measurement."""
    tls = port_name == "TLS"
    versions = {"H1": ["--http1.1"], "TCP": ["--http1.1"], "H2C": ["--http2-prior-knowledge"], "H2UP": ["--http2-prior-knowledge"],
                "TLS": ["--http1.1", "--http2"]}[port_name]
    for version in versions:
        for path, size in (("/", 1 << 10), ("/1m", 1 << 20)):
            url = f"{'https' if tls else 'http'}://127.0.0.1:{ports[port_name]}{path}"
            command = ["curl", "-sS", "-k", "--max-time", "20", "-o", "-", "-w", "\n%{http_version} %{http_code}", version, url]
            done = subprocess.run(command, capture_output=True, timeout=30)
            got, _, state = done.stdout.rpartition(b"\n")
            wanted = b"1.1 200" if version == "--http1.1" else b"2 200"
            if done.returncode or state != wanted or got != body * size:
                raise BenchError(f"{' '.join(command)}: {state.decode()!r}, {len(got)} bytes instead of {size} {done.stderr.decode().strip()}")


def run(scenario, ports, seconds, core):
    """One run. Returns (requests answered well, seconds it took); BenchError if any request failed."""
    port, tool, arguments, path, _ = SCENARIOS[scenario]
    program = find_system(tool)
    if not program:
        raise BenchError(f"{tool} is missing: run tools/setup peers")
    url = f"{'https' if port == 'TLS' else 'http'}://127.0.0.1:{ports[port]}{path}"
    timing = [f"-d{seconds}s", "--timeout", "20s"] if tool == "wrk" else [f"-D{seconds}"]
    try:
        done = subprocess.run([program, "-t1", *timing, *arguments, url], capture_output=True, text=True, timeout=seconds + 60,
                              preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{tool} {url} did not end") from error
    return (read_wrk if tool == "wrk" else read_h2load)(done.stdout + done.stderr)


def read_wrk(text):
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    if not found or not int(found.group(1)):
        raise BenchError("wrk got no answer:\n" + text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    if bad or (errors and any(int(count) for count in errors.groups())):
        raise BenchError("wrk saw failures:\n" + text)
    unit = {"ms": 0.001, "s": 1, "m": 60}[found.group(3)]
    return int(found.group(1)), float(found.group(2)) * unit


def read_h2load(text):
    found = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    took = re.search(r"finished in ([\d.]+)(us|ms|s|m)", text)
    if not found or not took or not int(found.group(2)):
        raise BenchError("h2load got no answer:\n" + text)
    if int(found.group(3)) or int(found.group(4)) or int(found.group(5)):
        raise BenchError("h2load saw failures:\n" + text)
    return int(found.group(2)), float(took.group(1)) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[took.group(2)]
