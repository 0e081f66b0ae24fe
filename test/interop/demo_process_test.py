#!/usr/bin/env python3
"""tools/demo does what it says, beside a taken port, and leaves nothing behind.

usage: demo_process_test.py --outrider PATH
"""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import harness
from harness import check

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
DEMO = os.path.join(ROOT, "tools", "demo")
# What a reader of the demo's output must find, in this order.
SEEN = [r"two backends listen", r"over ADS and is live", r"[1-9]\d* ACKs and no NACK", r"HTTP/1\.1 .*first backend answers", r"HTTP/2 .*first backend answers",
        r"direct response .*hello from the proxy", r"TLS .*certificate verified", r"TCP ", r"second backend answers after \d+ ms.* 0 failed", r"admin counts [1-9]\d*",
        r"Admin page: http://127\.0\.0\.1:\d+/", r"Demo: all \d+ steps seen\."]


def start(outrider, folder, *words):
    return harness.spawn([DEMO, "--outrider", outrider, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         env={**os.environ, "TMPDIR": folder}, start_new_session=True)


def admin_port(text):
    found = re.search(r"Admin page: http://127\.0\.0\.1:(\d+)/", text)
    check(found, "no admin page is named in:\n" + text)
    return int(found.group(1))


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /ready HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\r\n")
            return client.recv(65536).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def nothing_left(port, folder):
    check(not answers(port), "the admin port %d still answers after the end" % port)
    check(not os.listdir(folder), "left behind: %s" % os.listdir(folder))


def whole(outrider):
    with tempfile.TemporaryDirectory() as folder:
        child = start(outrider, folder)
        text = child.communicate(timeout=100)[0]
        check(child.returncode == 0, "exit %s:\n%s" % (child.returncode, text[-1500:]))
        at = 0
        for wanted in SEEN:
            found = re.compile(wanted).search(text, at)
            check(found, "'%s' is not said (in its place) in:\n%s" % (wanted, text))
            at = found.end()
        nothing_left(admin_port(text), folder)


def kept(outrider):
    """--keep stays and answers; Ctrl-C ends all of it. One of the demo's ports is taken, so it uses another."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 9901))
            taken.listen(1)
        except OSError:
            pass   # then another program holds it, which is as good
        child = start(outrider, folder, "--keep")
        text = ""
        for line in child.stdout:
            text += line
            if "Running until Ctrl-C" in line:
                break
        check("Running until Ctrl-C" in text, "it does not stay:\n" + text[-1500:])
        port = admin_port(text)
        check(port != 9901, "it uses a port that was taken")
        check(answers(port), "the admin page does not answer while the demo stays")
        os.killpg(child.pid, signal.SIGINT)
        child.communicate(timeout=40)
        check(child.returncode == 0, "exit %s after Ctrl-C" % child.returncode)
        nothing_left(port, folder)


def not_hidden(_outrider):
    """A program that does not work makes the demo fail and say so."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        child = start("/bin/false", folder)
        text = child.communicate(timeout=60)[0]
        check(child.returncode == 1, "exit %s with a proxy that does not run" % child.returncode)
        check("steps seen" not in text and "control plane" in text, "it does not say what ended:\n" + text)
        check(time.monotonic() - started < 30, "it waits although the program ended")
        check(not os.listdir(folder), "left behind: %s" % os.listdir(folder))


def main():
    chosen = harness.options(__doc__)
    if not chosen.outrider:
        sys.exit("give --outrider PATH")
    harness.bound(240)
    tally = harness.Tally("demo")
    outrider = os.path.realpath(chosen.outrider)
    tally.run("every step is seen and nothing stays", whole, outrider)
    tally.run("--keep stays until Ctrl-C, beside a port that is taken", kept, outrider)
    tally.run("a program that does not run is an error", not_hidden, outrider)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
