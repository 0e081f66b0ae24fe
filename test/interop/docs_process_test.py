#!/usr/bin/env python3
"""The documentation is true where a machine can tell: every YAML example is taken by the program, the commands of getting-started do what the
page says, links lead somewhere, flags, admin pages, reasons and filters that the pages name exist, and those that exist are named.

usage: docs_process_test.py --outrider PATH
"""
import http.server
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import urllib.request

import harness
from harness import check

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
DOCS = os.path.join(ROOT, "docs")
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)


def pages():
    found = [os.path.join(ROOT, "README.md"), os.path.join(ROOT, "CHANGELOG.md")]
    for folder, _, files in os.walk(DOCS):
        found += [os.path.join(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


def read(*parts):
    with open(os.path.join(ROOT, *parts)) as file:
        return file.read()


def blocks(path, kind):
    """[(words behind the language, text)]"""
    return [(words.strip(), text) for language, words, text in BLOCK.findall(read(path)) if language == kind]


class Backend:
    """Answers every GET with its name."""

    def __init__(self, name):
        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("content-length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Ports:
    """The pages' ports, each replaced by a free one (or a backend's) wherever a text names it."""

    def __init__(self, backends):
        self.by_page = {18081 + i: backend.port for i, backend in enumerate(backends)}

    def of(self, number):
        number = int(number)
        if number not in self.by_page:
            self.by_page[number] = harness.free_port()
        return self.by_page[number]

    def replaced(self, text):
        text = re.sub(r"(?<=port_value: )\d+", lambda found: str(self.of(found.group())), text)
        return re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda found: str(self.of(found.group())), text)


def validate(outrider, folder, text):
    path = os.path.join(folder, "example.yaml")
    with open(path, "w") as file:
        file.write(text)
    done = subprocess.run([outrider, "-c", path, "--mode", "validate", "--reject-unsupported"], cwd=folder, capture_output=True, text=True, timeout=30)
    check(done.returncode == 0, "exit %d: %s" % (done.returncode, done.stderr[-1500:]))


def answered(port, path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def static_story(outrider, folder):
    """The first half of getting-started: the file serves, and each curl line prints what stands behind its arrow."""
    page = os.path.join(DOCS, "getting-started.md")
    ports = Ports([Backend("first"), Backend("second")])
    text = next(text for words, text in blocks(page, "yaml") if words == "file=outrider.yaml")
    path = os.path.join(folder, "outrider.yaml")
    with open(path, "w") as file:
        file.write(ports.replaced(text))
    child = harness.spawn([outrider, "-c", path, "-l", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    harness.wait_for(lambda: answered(ports.of(9901), "/ready") == "LIVE\n", 20, "/ready of the example")
    lines = [line for _, text in blocks(page, "sh") for line in text.splitlines() if line.strip()]
    check(len(lines) >= 6, "getting-started has %d commands" % len(lines))
    for line in lines:
        command, _, wanted = line.partition("# ->")
        check(wanted.strip(), "no expected output behind: " + line)
        done = subprocess.run(shlex.split(ports.replaced(command)), capture_output=True, text=True, timeout=20)
        got = re.sub(r"(?<=127\.0\.0\.1:)\d+", lambda found: str({port: page for page, port in ports.by_page.items()}.get(int(found.group()), 0)), done.stdout)
        check(done.returncode == 0 and wanted.strip() in got, "%s\nprinted %r" % (line, got[-600:]))
    harness.end(child, 20)


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def played(outrider, folder, page):
    """A page whose example says `run`: it serves, and each curl line prints what stands behind its arrow."""
    ports = Ports([])
    text = next(text for words, text in blocks(page, "yaml") if words == "run")
    with open(os.path.join(folder, "run.yaml"), "w") as file:
        file.write(ports.replaced(text))
    child = harness.spawn([outrider, "-c", file.name, "-l", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    harness.wait_for(lambda: connects(ports.of(10000)), 20, "the listener of the example")
    lines = [line for _, text in blocks(page, "sh") for line in text.splitlines() if line.strip()]
    check(len(lines) >= 3, "%d commands" % len(lines))
    for line in lines:
        command, _, wanted = line.partition("# ->")
        done = subprocess.run(shlex.split(ports.replaced(command)), capture_output=True, text=True, timeout=20)
        check(done.returncode == 0 and wanted.strip() and wanted.strip() in done.stdout, "%s\nprinted %r" % (line, done.stdout[-600:]))
    harness.end(child, 20)


def dynamic_story(outrider, folder):
    """The second half: the control plane, a live change, and nonsense that changes nothing."""
    page = os.path.join(DOCS, "getting-started.md")
    ports = Ports([Backend("first"), Backend("second")])
    resources = os.path.join(folder, "resources")
    os.mkdir(resources)

    def put(name, text):
        with open(os.path.join(folder, "new"), "w") as file:
            file.write(text)
        os.rename(os.path.join(folder, "new"), os.path.join(resources, name))

    texts = {}
    for words, text in blocks(page, "yaml"):
        kind, _, name = words.partition("=")
        texts[name] = ports.replaced(text)
        if kind == "resources":
            put(name, texts[name])
    path, log = os.path.join(folder, "dynamic.yaml"), os.path.join(folder, "control-plane.log")
    with open(path, "w") as file:
        file.write(texts["dynamic.yaml"])
    with open(log, "w") as out:
        plane = harness.spawn([outrider, "control-plane", "--listen", "127.0.0.1:%d" % ports.of(18000), "--dir", resources], stdout=out, stderr=out)
    said = lambda: read(log)
    harness.wait_for(lambda: "control plane on" in said(), 20, "the control plane")
    child = harness.spawn([outrider, "-c", path, "-l", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    harness.wait_for(lambda: answered(ports.of(9901), "/ready") == "LIVE\n", 20, "/ready of the example")
    harness.wait_for(lambda: answered(ports.of(10000), "/") == "first", 10, "the first backend's answer")
    put("endpoints.yaml", texts["endpoints.yaml"].replace(str(ports.of(18081)), str(ports.of(18082))))
    harness.wait_for(lambda: answered(ports.of(10000), "/") == "second", 10, "the second backend's answer")
    check("NACK" not in said(), "a NACK: " + said()[-600:])
    put("endpoints.yaml", texts["endpoints.yaml"].replace(str(ports.of(18081)), "70000"))
    harness.wait_for(lambda: "NACK" in said() or "endpoints.yaml" in said(), 10, lambda: "word of the bad file; it said " + said()[-600:])
    check(answered(ports.of(10000), "/") == "second", "the good endpoints are gone after a bad file")
    harness.end(child, 20)
    harness.end(plane, 20)


def links():
    for page in pages():
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", read(page)):
            if not target.startswith(("http:", "https:")):
                check(os.path.exists(os.path.join(os.path.dirname(page), target)), "%s: no %s" % (os.path.relpath(page, ROOT), target))


def flags(outrider):
    """Each --flag that the operator's guide and getting-started name is one of --help's."""
    known = set(re.findall(r"--[a-z][\w-]+", subprocess.run([outrider, "--help"], capture_output=True, text=True, timeout=20).stdout))
    known |= {"--listen", "--dir"}     # of the control plane
    for name in ("operators-guide.md", "getting-started.md"):
        text = "".join(line for line in read(DOCS, name).splitlines(True) if "curl" not in line and "python3" not in line and "bazel" not in line)
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]+", text):
            check(flag in known, "%s names %s, which --help does not" % (name, flag))


def admin_pages(outrider, folder):
    """The guide's table of admin pages and /help name the same pages."""
    port = harness.free_port()
    text = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: %d } } }" % port
    child = harness.spawn([outrider, "--config-yaml", text, "-l", "error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    harness.wait_for(lambda: answered(port, "/ready"), 20, "the admin endpoint")
    there = set(re.findall(r"^  (/[\w/]*)", answered(port, "/help"), re.M)) - {"/"}
    harness.end(child, 20)
    section = read(DOCS, "operators-guide.md").partition("## Admin pages")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(/[\w/]+)", section))
    check(there, "/help names no page")
    check(named == there, "only in the guide: %s; only in /help: %s" % (sorted(named - there), sorted(there - named)))


def reasons():
    """docs/reasons.md has each reason id of the source, and no other."""
    found = set()
    for folder, _, files in os.walk(os.path.join(ROOT, "source")):
        for name in files:
            if not name.endswith(".cc") or name.endswith("_test.cc"):
                continue
            text = read(folder, name)
            found |= set(re.findall(r"reason = \"([a-z_]+)\"", text))
            found |= set(re.findall(r"tryTimedOut\(\"([a-z_]+)\"\)", text))
            found |= set(re.findall(r"return refuse\([^;]*ResponseFlag::\w+, \"([a-z_]+)\"\)", text))
            found |= set(re.findall(r"case ResetReason::\w+: return \"(upstream_[a-z_]+)\"", text)) | set(re.findall(r"default: return \"(upstream_[a-z_]+)\"", text))
    named = set(re.findall(r"^\| `([a-z_]+)`", read(DOCS, "reasons.md"), re.M))
    check(named == found, "only in the page: %s; only in the source: %s" % (sorted(named - found), sorted(found - named)))


def filters():
    """Each extension of the catalogue has a page that names its type."""
    types = re.findall(r"registry\.\w+\.add\(\"([\w.]+)\"", read("source", "server", "catalog.cc"))
    check(len(types) >= 4, "the catalogue was not understood")
    text = "".join(read(DOCS, "filters", name) for name in os.listdir(os.path.join(DOCS, "filters")))
    for name in types:
        check("`%s`" % name in text, "no page of docs/filters is about " + name)


def main():
    chosen = harness.options(__doc__)
    if not chosen.outrider:
        sys.exit("give --outrider PATH")
    harness.bound(150)
    outrider, folder = os.path.realpath(chosen.outrider), harness.work_folder(chosen.keep)
    subprocess.run([os.path.join(ROOT, "tools", "cert"), os.path.join(folder, "certs")], check=True, stdout=subprocess.DEVNULL, timeout=60)
    tally = harness.Tally("docs")
    for page in pages():
        for number, (words, text) in enumerate(blocks(page, "yaml"), 1):
            if not words.startswith("resources="):     # what a control plane serves is no bootstrap; dynamic_story plays it
                tally.run("%s: YAML example %d" % (os.path.relpath(page, ROOT), number), validate, outrider, folder, text)
        if any(words == "run" for words, _ in blocks(page, "yaml")):
            tally.run("%s: its example and its commands" % os.path.relpath(page, ROOT), played, outrider, folder, page)
    tally.run("getting-started: the file and its commands", static_story, outrider, folder)
    tally.run("getting-started: the control plane", dynamic_story, outrider, folder)
    tally.run("links lead somewhere", links)
    tally.run("flags exist", flags, outrider)
    tally.run("the guide's admin pages are those of /help", admin_pages, outrider, folder)
    tally.run("the page of reasons is complete", reasons)
    tally.run("each extension has its page", filters)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
