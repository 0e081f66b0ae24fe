"""Processes of the bench: started on one core, watched through /proc, ended by their own id."""
import os
import resource
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """What stops the bench; the text is for its user."""


def raise_file_limit():
    """Children inherit it: thousands of idle connections need as many descriptors on both sides."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_ports(count):
    """Ports that were free a moment ago, all different. Taken one after the other while all are held."""
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def run_ahead(processes, on=True):
    """Puts all threads of these (Process) before everything that is scheduled by shares of time, or back among it. False where that is not allowed.

    The system still gives the others 5 % of each second, so it is for loads that leave a core idle most of the time."""
    for process in processes:
        for pid in process.pids:
            try:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setscheduler(int(thread), os.SCHED_FIFO if on else os.SCHED_OTHER, os.sched_param(2 if on else 0))
            except PermissionError:
                return False
            except (FileNotFoundError, ProcessLookupError):
                pass  # one that ends meanwhile
    return True


class Process:
    """One child with its output in a file. `pids` are those that count as the measured program."""

    def __init__(self, name, command, core, log, workers_only=False):
        self.name = name
        self.log = log
        self.workers_only = workers_only
        self.started = time.monotonic()
        with open(log, "ab") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}))

    @property
    def pids(self):
        """The child, or its children if the child itself only watches over them."""
        if not self.workers_only:
            return [self.child.pid]
        with open(f"/proc/{self.child.pid}/task/{self.child.pid}/children") as file:
            return [int(pid) for pid in file.read().split()] or [self.child.pid]

    def cpu_seconds(self):
        """Time on a core of all threads of the measured processes, in the scheduler's nanoseconds.

        A thread that ended takes its time with it; the proxies start theirs once and keep them."""
        total = 0
        for pid in self.pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                try:
                    with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                        total += int(file.read().split()[0])
                except (FileNotFoundError, ProcessLookupError):
                    pass
        return total / 1e9

    def memory(self, field="Pss", everything=False):
        """Bytes of the measured processes by a field of smaps_rollup (Pss, Rss); everything: also of one that only watches over them."""
        total = 0
        for pid in {*self.pids, self.child.pid} if everything else self.pids:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) * 1024 for line in file if line.startswith(field + ":"))
        return total

    def wait_port(self, port, seconds=20):
        """Until something accepts there; BenchError if the child ends first or time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise BenchError(f"{self.name}: nothing listens on port {port} after {seconds} s\n{self.last_words()}")

    def check_alive(self):
        if self.child.poll() is not None:
            raise BenchError(f"{self.name}: ended with {self.child.returncode}\n{self.last_words()}")

    def last_words(self):
        with open(self.log, "rb") as file:
            return "\n".join("    " + line for line in file.read().decode(errors="replace").splitlines()[-12:])

    def stop(self):
        """Asked first, then killed; the whole session of the child, so no worker of it stays."""
        for number, patience in ((signal.SIGINT if self.workers_only else signal.SIGTERM, 2), (signal.SIGKILL, 5)):
            if self.child.poll() is None:
                try:
                    os.killpg(self.child.pid, number)
                    self.child.wait(patience)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    pass
