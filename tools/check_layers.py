#!/usr/bin/env python3
"""Holds source/ to the room table: includes point downhill, each library stays in its room, no file names a machine.

Usage: tools/check_layers.py [CHECKOUT]        exit 1 and one line per problem if there is any
"""
import os
import re
import sys

LEVELS = [
    {"base"},
    {"event", "stats", "http", "compress"},
    {"stream"},
    {"format", "match", "runtime"},
    {"config", "net"},
    {"tls", "overload"},
    {"upstream"},
    {"filter", "accesslog", "tracing", "statsink"},
    {"listener", "router", "filter/*/*"},
    {"xds", "admin"},
    {"server"},
]
LEVEL_OF = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# Include (a pattern) -> the folders under source/ that may use it. Tests may use any library.
PROTOBUF = r"google/protobuf/|google/rpc/|envoy/|udpa/|xds/|validate/|api/|.*\.pb\.h$"
LIBRARY_ROOMS = [
    (r"sys/epoll\.h$|sys/eventfd\.h$|sys/timerfd\.h$", ("event", "net")),
    (r"openssl/", ("tls",)),
    (r"nghttp2/", ("http/h2",)),
    (r"grpc/|grpcpp/|.*\.grpc\.pb\.h$", ("xds",)),
    (r"re2/", ("match",)),
    (r"ares(_dns|_version)?\.h$", ("upstream/dns",)),
    (r"yaml\.h$", ("config",)),
    (r"xxhash\.h$", ("base",)),
    (r"pcre2\.h$", ("statsink",)),
    (r"zlib\.h$|brotli/|zstd\.h$", ("compress",)),
    (r"jemalloc/", ("server",)),
    (PROTOBUF, ("config", "xds", "admin", "server/bootstrap")),
]
PROTOBUF_FILES = re.compile(r".*_(parse|wire)\.(cc|h)$")
BANNED = {
    r"absl/synchronization/": "std::mutex or the mailbox (abseil's locks are not instrumented here)",
    r"absl/strings/string_view\.h$|absl/types/(optional|variant)\.h$": "the std:: type",
    r"regex$": "match/ (RE2)",
    r"coroutine$|ranges$": "plain code (GCC 12 and clang 14 disagree)",
}
TEST_LIBRARIES = re.compile(r"gtest/|gmock/|benchmark/|test/")
SYSTEM = re.compile(r"[a-z_0-9]+$|(sys|linux|netinet|arpa|net|asm|sanitizer)/[a-z_0-9]+\.h$|absl/")
SYSTEM_HEADERS = set("""assert cpuid ctype dirent dlfcn elf errno execinfo fcntl fnmatch getopt glob grp ifaddrs immintrin inttypes
    langinfo limits link locale malloc math netdb poll pthread pwd sched setjmp signal spawn stdarg stdbool stddef stdint stdio
    stdlib string strings syslog termios time ucontext unistd utime wchar x86intrin""".split())

PACKAGE_HOSTS = re.compile("|".join(re.escape(host.replace(" ", "")) for host in (
    "pypi .org", "python hosted.org", "npm js.org", "crates .io", "proxy.go lang.org", "sum.go lang.org", "maven .org",
    "maven.apache .org", "rubygems .org", "deb.debian .org", "security.debian .org", "snapshot.debian .org")))
MACHINE_PATH = re.compile(r"(?<![\w./$}*-])/(work|tmp|root|home/\w+)/\w")
TEXT_FOLDERS = ("source", "docs", "api", "test", "tools", "ci", ".ci", "bazel", ".")
PATH_FOLDERS = ("source", "docs", "README.md", "CHANGELOG.md")


def room_of(path):
    """Folder relative to source/ -> the room that it belongs to: filter/<kind>/<name> is a room, all else is its first folder."""
    parts = path.split("/")[:-1]
    if parts and parts[0] == "filter" and len(parts) >= 3:
        return "/".join(parts[:3])
    return parts[0] if parts else ""


def level_of(room):
    return LEVEL_OF.get("filter/*/*" if room.startswith("filter/") else room)


def check_include(path, name):
    """path: relative to source/. Returns the problem as text, or None."""
    is_test = path.endswith(("_test.cc", "_benchmark.cc", "_bench.cc", "/harness.h")) or "/test_" in path
    room = room_of(path)
    if name.startswith("source/"):
        other = room_of(name[len("source/"):])
        if level_of(other) is None:
            return f'includes "{name}": no room of that name'
        if other != room and level_of(other) >= level_of(room):
            where = "its sibling" if level_of(other) == level_of(room) else "uphill"
            return f'includes "{name}": {other} (level {level_of(other)}) is {where} from {room} (level {level_of(room)})'
        return None
    for pattern, instead in BANNED.items():
        if re.match(pattern, name) and path != "base/absl_compat.h":  # the one file that converts
            return f"includes <{name}>: use {instead}"
    if TEST_LIBRARIES.match(name):
        return None if is_test else f"includes <{name}>: for tests only"
    for pattern, rooms in LIBRARY_ROOMS:
        if re.match(pattern, name):
            if is_test or path.startswith(tuple(r if r == "server/bootstrap" else r + "/" for r in rooms)):
                return None
            if pattern == PROTOBUF and PROTOBUF_FILES.match(path):
                return None
            return f"includes <{name}>: only in {', '.join(rooms)}"
    if SYSTEM.match(name) or (name.endswith(".h") and name[:-2] in SYSTEM_HEADERS):
        return None
    return f"includes <{name}>: no room is named for this library in tools/check_layers.py"


def files_under(root, folder):
    if folder == "." or os.path.isfile(os.path.join(root, folder)):
        names = os.listdir(root) if folder == "." else [folder]
        yield from (name for name in names if os.path.isfile(os.path.join(root, name)))
        return
    for where, folders, names in os.walk(os.path.join(root, folder)):
        folders[:] = sorted(f for f in folders if f not in ("node_modules", "__pycache__"))
        yield from (os.path.relpath(os.path.join(where, name), root) for name in sorted(names))


def read(root, path):
    with open(os.path.join(root, path), "rb") as file:
        data = file.read()
    return "" if b"\0" in data else data.decode("utf-8", "replace")


def problems_of(root):
    for path in files_under(root, "source"):
        if not path.endswith((".h", ".cc")):
            continue
        inner = path[len("source/"):]
        if level_of(room_of(inner)) is None:
            yield f"{path}: {room_of(inner) or 'source'} is no room of the table"
            continue
        for number, line in enumerate(read(root, path).splitlines(), 1):
            include = re.match(r'\s*#\s*include\s*["<]([^">]+)[">]', line)
            problem = include and check_include(inner, include.group(1))
            if problem:
                yield f"{path}:{number}: {problem}"
    for path in sorted({path for folder in TEXT_FOLDERS for path in files_under(root, folder)}):
        for number, line in enumerate(read(root, path).splitlines(), 1):
            if PACKAGE_HOSTS.search(line):
                yield f"{path}:{number}: names the host of a package registry"
            if path.startswith(PATH_FOLDERS) and MACHINE_PATH.search(line):
                yield f"{path}:{number}: holds a path of one machine"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    problems = list(problems_of(root))
    for problem in problems:
        print(problem)
    checked = sum(1 for path in files_under(root, "source") if path.endswith((".h", ".cc")))
    print(f"check_layers: {checked} source files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
