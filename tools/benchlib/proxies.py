"""The proxies of the comparison: where each program is, its files, its command, its ports."""
import getpass
import glob
import os
import shutil
import subprocess

from .processes import BenchError, Process, free_ports

PORT_NAMES = ("H1", "H2C", "H2UP", "TLS", "TCP", "ADMIN")
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
    lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
    return lines[0].strip().removeprefix(program).strip() if lines else "?"


class Proxy:
    """One running proxy. `ports` maps PORT_NAMES to numbers; a name it cannot serve is in `lacks`."""

    def __init__(self, name, program, folder, values, core):
        self.name, self.program = name, program
        self.ports = dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES))))
        self.lacks = {"H2UP"} if name == "nginx" else set()
        values = {**values, **self.ports, "SAME_HEADERS": SAME_HEADERS.get(name, "") if values["SAME_HEADERS"] else ""}
        log = os.path.join(folder, f"{name}.out")
        self.process = Process(name, self.command(folder, values), core, log, workers_only=name == "nginx")
        for port in ("H1", "H2C", "TLS", "TCP"):
            self.process.wait_port(self.ports[port])

    def command(self, folder, values):
        if self.name == "nginx":
            module = "/usr/lib/nginx/modules/ngx_stream_module.so"
            values = {**values, "USER": getpass.getuser(), "STREAM_MODULE": f"load_module {module};" if os.path.exists(module) else ""}
            config = render("nginx.conf", os.path.join(folder, "nginx.conf"), values)
            return [self.program, "-e", os.path.join(folder, "nginx.log"), "-p", folder, "-c", config]
        if self.name == "haproxy":
            return [self.program, "-db", "-f", render("haproxy.cfg", os.path.join(folder, "haproxy.cfg"), values)]
        config = render("envoy.yaml", os.path.join(folder, f"{self.name}.yaml"), values)
        return envoy_command(self.name, self.program, config)

    def stop(self):
        self.process.stop()


def envoy_command(name, program, config):
    """Envoy and Outrider take the same words; Outrider is told to use Envoy's defaults, so that both do the same work."""
    command = [program, "-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return command + ["--defaults=envoy"] if name == "outrider" else command


def start_backends(folder, values, core):
    """nginx for HTTP/1.1 and TCP, nghttpd for cleartext HTTP/2 (it costs the least, so the proxy is what is busy)."""
    nginx, nghttpd = FINDERS["nginx"](), find_system("nghttpd")
    if not nginx or not nghttpd:
        raise BenchError("the backends are nginx and nghttpd: run tools/setup peers")
    config = render("backend_nginx.conf", os.path.join(folder, "backend.conf"), values)
    started = []
    try:
        started.append(Process("backend", [nginx, "-e", os.path.join(folder, "backend.log"), "-p", folder, "-c", config], core,
                               os.path.join(folder, "backend.out")))
        started.append(Process("backend_h2", [nghttpd, "--no-tls", "-n1", "-m1000", "-a", "127.0.0.1", "-d", os.path.join(folder, "www"),
                                              values["BACKEND_H2"]], core, os.path.join(folder, "backend_h2.out")))
        for process, port in zip(started, ("BACKEND_H1", "BACKEND_H2")):
            process.wait_port(values[port])
    except BenchError:
        for process in started:
            process.stop()
        raise
    return started
