#!/usr/bin/env python3
"""Ten thousand clusters over ADS from go-control-plane: time to be ready, memory, the longest turn of a loop, the CPU of one change.

One changed endpoint costs the whole process at most 3 ms of CPU; /ready answers within 50 ms while the push is taken. No turn of a
worker takes more than 1 ms of CPU time by the push, none of main's more than 10; with room here (20 and 2), for caches are shared with
whatever else runs. A cluster with its endpoint takes at most 8 KiB. The budgets of CPU are those of the release build; --budget gives others.
"""
import os
import re
import sys
import threading
import time

import harness
import xds
from harness import check, wait_for


class Turns:
    """What /stats says of the turns of the loops: the bootstrap has enable_dispatcher_stats."""

    def __init__(self, proxy):
        status, _, body = proxy.admin("GET", "/stats?filter=^outrider.loop&histogram_buckets=detailed", timeout=30)
        check(status == 200, "/stats answers %d" % status)
        self.text, self.most = body.decode(), {}
        for loop, line in re.findall(r"outrider\.loop\.(\w+)\.turn_cpu_us:\n\s*totals=([^\n]*)", self.text):
            self.most[loop] = max(float(low) + float(width) for low, width in re.findall(r"([\d.e+]+),([\d.e+]+):", line)) / 1e3

    def longest(self, *loops):
        """In ms of the loop's own CPU time, so that a busy machine does not lengthen it."""
        check(all(loop in self.most for loop in loops), "no turns of %s: %s" % (loops, self.text))
        return max(self.most[loop] for loop in loops)


class Prober:
    """Asks /ready all the time and keeps the longest answer, a connection each."""

    def __init__(self, proxy):
        self.proxy, self.longest, self.count, self.stop = proxy, 0.0, 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop:
            began = time.monotonic()
            try:
                self.proxy.admin("GET", "/ready", timeout=30)
                self.longest = max(self.longest, time.monotonic() - began)
                self.count += 1
            except OSError:
                pass
            time.sleep(0.005)

    def end(self):
        self.stop = True
        self.thread.join(30)
        return self.longest * 1e3


def cpu_ms(proxy):
    """Of the whole process, from the scheduler's own count: finer than clock ticks."""
    total = 0
    for task in os.listdir("/proc/%d/task" % proxy.child.pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (proxy.child.pid, task)) as f:
                total += int(f.read().split()[0])
        except (OSError, IndexError):
            pass
    return total / 1e6


def scale(chosen, folder, delta):
    name = "delta" if delta else "sotw"
    plane = xds.Gcp("-linear", "-quiet")
    plane.command(clusters=chosen.clusters, port=9)
    proxy = harness.Proxy("outrider", chosen.outrider, folder, name=name)
    config = xds.bootstrap(proxy, plane.port, delta, lds=False, enable_dispatcher_stats=True)
    began = time.monotonic()
    path = os.path.join(folder, name + ".json")
    with open(path, "w") as out:
        import json
        json.dump(config, out)
    proxy.output = path + ".out"
    proxy.child = harness.spawn(proxy.command(path), stdout=open(proxy.output, "ab"), stderr=open(proxy.output, "ab"))
    wait_for(lambda: xds_ready(proxy) is not None, 20, "the admin endpoint: " + proxy.said()[-500:])
    empty = proxy.memory_kib()
    prober = Prober(proxy)
    wait_for(lambda: xds_ready(proxy), 100, lambda: "LIVE: %s %s" % (proxy.said()[-500:], plane.events[-3:]), pause=0.02)
    ready = time.monotonic() - began
    longest = prober.end()
    cpu = cpu_ms(proxy)
    turns = Turns(proxy)
    active = proxy.stats("cluster_manager.active_clusters")["cluster_manager.active_clusters"]
    check(active == chosen.clusters + 1, "%d clusters are active" % active)
    rss = proxy.memory_kib()
    print("      %s: %d clusters: ready after %.2f s, CPU %.2f s, RSS %.1f MiB (%.2f KiB a cluster), longest /ready %.1f ms"
          % (name, chosen.clusters, ready, cpu / 1e3, rss / 1024, (rss - empty) / chosen.clusters, longest))
    time.sleep(1)      # what the start left behind is done, so that it is not counted as a change's cost

    def change(i, port):
        mark = plane.mark()
        plane.command(endpoint=i, port=port)
        plane.expect(lambda e: e["event"] == "request" and e["type"] == xds.TYPES["EDS"] and not e["error"], mark)
    change(1, 10)
    idle_before, at = cpu_ms(proxy), time.monotonic()
    time.sleep(1)
    idle = (cpu_ms(proxy) - idle_before) / (time.monotonic() - at)   # ms of CPU in a second without any change
    before, at = cpu_ms(proxy), time.monotonic()
    for i in range(chosen.changes):
        change(i * 37 % chosen.clusters, 20 + i)
    cost = (cpu_ms(proxy) - before) / chosen.changes
    print("      %s: one changed endpoint costs %.3f ms of CPU (idle: %.1f ms a second; %.1f ms of time each)"
          % (name, cost, idle, (time.monotonic() - at) * 1e3 / chosen.changes))
    grown = proxy.memory_kib() - rss
    print("      %s: RSS after %d changes: %+d KiB" % (name, chosen.changes, grown))
    print("      %s: longest turns while the push was taken, ms of CPU: %s" % (name, turns.most))
    plane.command(clusters=100, port=9)
    wait_for(lambda: proxy.stats("cluster_manager.active_clusters")["cluster_manager.active_clusters"] == 101, 60, "the removals")
    most = empty + (rss - empty) * 0.6              # what lies between small objects that stay is not given back
    wait_for(lambda: proxy.memory_kib() <= most, 30, lambda: "RSS of at most %.1f MiB: %.1f MiB" % (most / 1024, proxy.memory_kib() / 1024), pause=0.2)
    print("      %s: RSS with 100 clusters left %.1f MiB, %.1f MiB when it had none" % (name, proxy.memory_kib() / 1024, empty / 1024))
    proxy.child.kill()
    proxy.child.wait()
    plane.stop()
    workers = [loop for loop in turns.most if loop.startswith("worker")]
    check(turns.longest("main") <= 20, "a turn of main took %.1f ms of CPU" % turns.longest("main"))
    check(workers and turns.longest(*workers) <= 2, "a turn of a worker took %.2f ms of CPU" % turns.longest(*workers))
    each = (rss - empty) / chosen.clusters
    check(each <= 8, "a cluster takes %.2f KiB, the limit is 8" % each)
    check(cost <= chosen.budget, "a change costs %.3f ms, the budget is %.1f ms" % (cost, chosen.budget))
    slack = chosen.slack or 4 * max(1.0, os.getloadavg()[0] / os.cpu_count())
    check(longest < 50 * slack, "/ready took %.1f ms, the limit here is %.1f ms" % (longest, 50 * slack))


def xds_ready(proxy):
    """None: no answer; False: not LIVE."""
    try:
        return proxy.admin("GET", "/ready", timeout=30)[0] == 200
    except OSError:
        return None


def main():
    chosen = harness.options(__doc__, clusters=(int, 10000, "how many"), changes=(int, 200, "endpoint changes that are measured"),
                             budget=(float, 3.0, "ms of CPU for a change"), slack=(float, 0.0, "factor on limits of time; 0: by the machine's load"),
                             gcp=(str, "", "the built Go program"))
    harness.bound(600)
    folder = harness.work_folder(chosen.keep)
    tally = harness.Tally("scale")
    xds.Gcp.binary = chosen.gcp or None
    why = None if chosen.gcp else xds.Gcp.build(folder)
    if why:
        tally.skip("ten thousand clusters from go-control-plane", why)
        return tally.close()
    tally.run("delta", scale, chosen, folder, True)
    tally.run("state of the world", scale, chosen, folder, False)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
