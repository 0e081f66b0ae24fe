"""The proxies of the comparison: where each program is, its files, its command, its ports."""
import getpass
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

from . import scenarios
from .processes import BenchError, Process, free_ports

# By group of scenarios: the ports of an instance.
PORT_NAMES = {"main": ("H1", "H2C", "H2UP", "TLS", "TCP", "GRPC", "LOG", "MTLS", "ADMIN"), "routes": ("ONE", "EXACT", "PREFIX", "REGEX", "ADMIN")}
PORT_NAMES["shared"] = PORT_NAMES["main"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
# What nginx and HAProxy add with --same-headers; Envoy and Outrider always add both.
SAME_HEADERS = {
    "nginx": "      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      proxy_set_header X-Request-Id $request_id;\n",
    "haproxy": "  option forwardfor\n  unique-id-format %{+X}o\\ %ci%cp%Ts%rt\n  unique-id-header X-Request-Id\n",
}
DATA = os.path.join(ROOT, "test", "bench")


def find_envoy():
    """The program itself: the `envoy` that the Python package puts in PATH is a script that starts it."""
    cache = os.environ.get("OUTRIDER_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "outrider")
    found = glob.glob(os.path.join(cache, "venv", "lib", "python3*", "site-packages", "envoy", "_bin", "envoy"))
    return found[0] if found else shutil.which("envoy")


def find_outrider():
    """The release build."""
    path = os.path.join(ROOT, "bazel-out", "k8-opt", "bin", "source", "server", "outrider")
    return path if os.access(path, os.X_OK) else None


def find_system(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


FINDERS = {
    "outrider": find_outrider,
    "envoy": find_envoy,
    "nginx": lambda: find_system("nginx"),
    "haproxy": lambda: find_system("haproxy"),
}


def render(template, target, values):
    """Copies a file of test/bench with @NAME@ replaced; a name without a value is a mistake in this program."""
    with open(os.path.join(DATA, template)) as file:
        text = file.read()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    with open(target, "w") as file:
        file.write(text)
    return target


def version_of(name, program):
    flag = {"nginx": "-v", "haproxy": "-v"}.get(name, "--version")
    try:
        done = subprocess.run([program, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "?"
    found = re.search(r"/(\d+\.\d+\.\d+)/\w+/(\w+)/(\w+)$", lines[0])  # Envoy's form: commit/version/tree/build/crypto
    return f"{found.group(1)} {found.group(2)} {found.group(3)}" if found else re.sub(r"^[A-Za-z]+ version:? (nginx/)?", "", lines[0]).split(" - ")[0]


class Proxy:
    """One running instance. `ports` maps the names of its group to numbers; a name it cannot serve is in `lacks`."""

    count = 0

    def __init__(self, name, program, folder, values, core, group="main", wait=True):
        self.name, self.program, self.group = name, program, group
        self.workers = 2 if group == "shared" else 1
        self.ports = dict(zip(PORT_NAMES[group], free_ports(len(PORT_NAMES[group]))))
        self.lacks = {"H2UP"} if name == "nginx" else set()
        Proxy.count += 1
        mark = f"{name}_{Proxy.count}"
        log = os.path.join(folder, f"{mark}.out")
        # HAProxy writes its access log to standard output, the others to a file of its own.
        self.access_log = log if name == "haproxy" else os.path.join(folder, f"{mark}.access.log")
        values = {**values, **self.ports, "WORKERS": self.workers, "LOG_FILE": self.access_log,
                  "SAME_HEADERS": SAME_HEADERS.get(name, "") if values["SAME_HEADERS"] else ""}
        command = self.command(folder, values, mark)
        self.process = Process(name, command, core, log, workers_only=name == "nginx")
        if wait:
            self.wait()

    def wait(self):
        for name in self.ports:
            if name != "ADMIN" and name not in self.lacks:
                self.process.wait_port(self.ports[name], 60)

    def command(self, folder, values, mark):
        large = "_routes" if self.group == "routes" else ""
        if self.name == "nginx":
            module = "/usr/lib/nginx/modules/ngx_stream_module.so"
            values = {**values, "USER": getpass.getuser(), "STREAM_MODULE": f"load_module {module};" if os.path.exists(module) else ""}
            if large:
                values.update(nginx_tables())
            config = render(f"nginx{large}.conf", os.path.join(folder, f"{mark}.conf"), values)
            return [self.program, "-e", os.path.join(folder, "nginx.log"), "-p", folder, "-c", config]
        if self.name == "haproxy":
            if large:
                write_haproxy_maps(folder)
            return [self.program, "-db", "-f", render(f"haproxy{large}.cfg", os.path.join(folder, f"{mark}.cfg"), values)]
        config = os.path.join(folder, f"{mark}.yaml")
        if large:
            with open(config, "w") as file:
                file.write(envoy_tables(values))
        else:
            render("envoy.yaml", config, values)
        return envoy_command(self.name, self.program, config, self.workers)

    def stop(self):
        self.process.stop()


ROUTER = '{ name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }'


def envoy_tables(values):
    """The bootstrap of the group "routes": four listeners with 1, and three times scenarios.ROUTES routes. Only the last leads to the backend."""
    last = scenarios.ROUTES - 1
    matches = {"ONE": ['{ prefix: "/" }'],
               "EXACT": [f'{{ path: "/exact/{n:05}/item" }}' for n in range(last + 1)],
               "PREFIX": [f'{{ prefix: "/prefix/{n:05}/" }}' for n in range(last + 1)],
               "REGEX": [f'{{ safe_regex: {{ regex: "/regex/{n:05}/[a-z]+" }} }}' for n in range(last + 1)]}
    text = [f"admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {values['ADMIN']} }} }} }}\nstatic_resources:\n  listeners:\n"]
    for name, table in matches.items():
        text.append(f"""  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {values[name]} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          use_remote_address: true
          http_filters: [ {ROUTER} ]
          route_config:
            name: {name}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
""")
        text += [f"              - {{ match: {match}, route: {{ cluster: {'h1' if n == len(table) - 1 else 'closed'}, timeout: 0s }} }}\n"
                 for n, match in enumerate(table)]
    text.append("  clusters:\n")
    for name, port in (("h1", values["BACKEND_H1"]), ("closed", 9)):
        text.append(f"""  - name: {name}
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: {name}
      endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }} ] }} ]
""")
    return "".join(text)


def nginx_tables():
    last = scenarios.ROUTES - 1
    forms = {"EXACT": "= /exact/{:05}/item", "PREFIX": "^~ /prefix/{:05}/", "REGEX": "~ ^/regex/{:05}/[a-z]+$"}
    return {f"{name}_ROUTES": "".join(f"    location {form.format(n)} {{ {'proxy_pass http://backend' if n == last else 'return 503'}; }}\n"
                                      for n in range(last + 1)) for name, form in forms.items()}


def write_haproxy_maps(folder):
    last = scenarios.ROUTES - 1
    for name, form in {"exact": "/exact/{:05}/item", "prefix": "/prefix/{:05}/", "regex": "^/regex/{:05}/[a-z]+$"}.items():
        with open(os.path.join(folder, f"{name}.map"), "w") as file:
            file.writelines(f"{form.format(n)} {'h1' if n == last else 'closed'}\n" for n in range(last + 1))


def envoy_command(name, program, config, workers=1):
    """Envoy and Outrider take the same words; Outrider is told to use Envoy's defaults, so that both do the same work."""
    command = [program, "-c", config, "--concurrency", str(workers), "--disable-hot-restart", "--log-level", "error"]
    return command + ["--defaults=envoy"] if name == "outrider" else command


def start_backends(folder, values, core, load):
    """nginx for HTTP/1.1 and TCP, nghttpd for cleartext HTTP/2, test/bench/load for gRPC; `load` is that program or None.

    Each costs less than a proxy does, so the proxy is what is busy. Adds BACKEND_GRPC to the values."""
    nginx, nghttpd = FINDERS["nginx"](), find_system("nghttpd")
    if not nginx or not nghttpd:
        raise BenchError("the backends are nginx and nghttpd: run tools/setup peers")
    started = []
    try:
        values["BACKEND_GRPC"] = 9
        if load:
            log = os.path.join(folder, "backend_grpc.out")
            started.append(Process("backend_grpc", [load, "grpc-backend"], core, log))
            values["BACKEND_GRPC"] = first_line(started[-1], log)["port"]
        config = render("backend_nginx.conf", os.path.join(folder, "backend.conf"), values)
        started.append(Process("backend", [nginx, "-e", os.path.join(folder, "backend.log"), "-p", folder, "-c", config], core,
                               os.path.join(folder, "backend.out")))
        started[-1].wait_port(values["BACKEND_H1"])
        started.append(Process("backend_h2", [nghttpd, "--no-tls", "-n1", "-m1000", "-a", "127.0.0.1", "-d", os.path.join(folder, "www"),
                                              values["BACKEND_H2"]], core, os.path.join(folder, "backend_h2.out")))
        started[-1].wait_port(values["BACKEND_H2"])
    except BenchError:
        for process in started:
            process.stop()
        raise
    return started


def first_line(process, log, seconds=20):
    """The first JSON object that a process writes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        process.check_alive()
        with open(log) as file:
            line = file.readline()
        if line.endswith("\n"):
            return json.loads(line)
        time.sleep(0.01)
    raise BenchError(f"{process.name} says nothing\n{process.last_words()}")


def build_load(folder):
    """test/bench/load as a program in `folder`; None without Go, and then the scenarios that need it are left out."""
    go = shutil.which("go")
    if not go:
        print("Go is not here: the scenarios that test/bench/load drives are left out (tools/setup peers)", file=sys.stderr)
        return None
    program = os.path.join(folder, "load")
    done = subprocess.run([go, "build", "-o", program, "."], cwd=os.path.join(DATA, "load"), capture_output=True, text=True, timeout=300,
                          env={**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"})
    if done.returncode:
        raise BenchError("test/bench/load does not build:\n" + done.stderr)
    return program
