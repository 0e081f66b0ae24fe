#!/usr/bin/env python3
"""The same bootstrap and the same traffic given to Envoy and to Outrider (--defaults=envoy): what differs is printed.

The cases are in cases/, what is compared of each is said in cases/engine.py; the differences that are meant are in
docs/differences.md.
"""
import os
import re
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
from cases import basics, clients, destinations, engine, mirrors, replies, retries, routing, scopes, upgrades

GROUPS = (basics, clients, replies, routing, retries, mirrors, upgrades, scopes, destinations)


def start(kind, binary, folder, number):
    """A side on ports that are free; another process may take one between the choice and the bind."""
    for again in range(4):
        try:
            return engine.Side(kind, binary, folder, "%d_%d" % (number, again))
        except harness.Failure as error:
            if "in use" not in str(error) or again == 3:
                raise


def difference(results):
    """Both sides' lines that the other has not, counted."""
    left = list(results[1])
    gone = []
    for line in results[0]:
        if line in left:
            left.remove(line)
        else:
            gone.append(line)
    return gone, left


# Counters that follow from the traffic alone; those of connections depend on which one was free.
COUNTERS = re.compile(
    r"cluster\.(?P<cluster>[a-z]+)\.((upstream_rq_(total|completed|\dxx|\d\d\d|timeout|per_try_timeout|per_try_idle_timeout|retry|retry_success|retry_backoff_exponential|retry_backoff_ratelimited|retry_overflow|"
    r"retry_limit_exceeded|rx_reset|tx_reset|pending_overflow|maintenance_mode)|retry\.upstream_rq_\w+|upstream_cx_none_healthy|"
    r"retry_or_shadow_abandoned)|internal\.upstream_rq_\w+|external\.upstream_rq_\w+)"
    r"|http\.(?P<listener>[a-z0-9]+)\.(downstream_rq_(total|completed|\dxx|tx_reset|too_large|non_relative_path|idle_timeout|timeout|header_timeout|"
    r"max_duration_reached|failed_path_normalization|ws_on_non_ws_route|http1_total|http2_total)|downstream_cx_upgrades_total|no_route|no_cluster|"
    r"rq_(total|redirect|direct_response|reset_after_downstream_response_started|retry_skipped_request_not_complete))")


def compare_counters(tally, pairs):
    """After all exchanges: what both sides counted, summed over the pairs."""
    counted = [{}, {}]
    for pair in pairs:
        for total, side in zip(counted, pair):
            for name, value in side.proxy.stats(r"^(cluster|http)\.").items():
                total[name] = total.get(name, 0) + value
    groups = {}
    for name in sorted(set(counted[0]) | set(counted[1])):
        match = COUNTERS.fullmatch(name)
        if match is not None and match["listener"] != "admin" and match["cluster"] not in ("half", "uncompared"):   # half: which of its hosts is first is random
            group = "cluster " + match["cluster"] if match["cluster"] else "listener " + match["listener"]
            groups.setdefault(group, []).append((name, counted[0].get(name, 0), counted[1].get(name, 0)))
    for group, rows in sorted(groups.items()):
        wrong = ["%s: envoy %d, outrider %d" % row for row in rows if row[1] != row[2]]
        for line in wrong:
            print("   counter  %s" % line)
        tally.result("counters of %s (%d)" % (group, len(rows)), "%d differ" % len(wrong) if wrong else None)


def play_both(pair, play, differs):
    """Plays one exchange against both sides at once; the lines that only one of them has."""
    results = [None, None]

    def one(i):
        try:
            results[i] = engine.normalized(play(pair[i]), differs)
        except Exception as error:                               # a difference, also when both sides fail alike
            results[i] = ["%s: %s: %s" % (pair[i].kind, type(error).__name__, error)]
    other = threading.Thread(target=one, args=(1,))
    other.start()
    one(0)
    other.join()
    return difference(results)


class Second:
    """Second plays of exchanges that differed: on a busy machine a deadline may pass on one side alone. They are told, and few."""
    MOST = 8

    def __init__(self):
        self.lock, self.names = threading.Lock(), []

    def allowed(self, name):
        with self.lock:
            self.names.append(name)
            return len(self.names) <= self.MOST


def compare(tally, second, pair, group, name, play, differs):
    title = "%s: %s" % (group, name)
    gone, new = play_both(pair, play, differs)
    if (gone or new) and second.allowed(title):
        gone, new = play_both(pair, play, differs)
    if not gone and not new:
        tally.result(title)
        return
    why = "".join("\n   envoy    %s" % l[:900] for l in gone) + "".join("\n   outrider %s" % l[:900] for l in new)
    print("differs: %s%s" % (title, why))
    tally.result(title, "%d lines differ" % max(len(gone), len(new)))


def main():
    chosen = harness.options(__doc__, only=(str, None, "run exchanges whose group or name holds this text"),
                             pairs=(int, 6, "pairs of proxies that share the exchanges"))
    harness.bound(240)
    tally = harness.Tally("envoy_compare")
    for cases in GROUPS:
        cases.fill()
    todo = [e for e in engine.EXCHANGES if not chosen.only or chosen.only in e[0] + ": " + e[1]]
    envoy = chosen.envoy or harness.installed_envoy()
    if not envoy or not chosen.outrider:
        tally.skip("%d comparisons" % len(todo), "no envoy; tools/setup installs it" if chosen.outrider else "no outrider")
        return tally.close()
    folder = harness.work_folder(chosen.keep)
    pairs = [[start(kind, binary, folder, i) for kind, binary in (("envoy", envoy), ("outrider", chosen.outrider))]
             for i in range(min(chosen.pairs, len(todo)))]
    turn, second = threading.Lock(), Second()

    def work(pair):
        while all(side.proxy.alive() for side in pair):
            with turn:
                if not todo:
                    return
                exchange = todo.pop(0)
            compare(tally, second, pair, *exchange)
    threads = [threading.Thread(target=work, args=(pair,)) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for side in sum(pairs, []):
        if not side.proxy.alive():
            tally.result("%s lives" % side.kind, side.proxy.said()[-1000:])
            return tally.close()
    for name in second.names:
        print("played twice: %s" % name)
    if not chosen.only and second.names:
        tally.skip("counters", "exchanges were played twice")
    elif not chosen.only:
        compare_counters(tally, pairs)
    print("%d exchanges with a difference that is meant (docs/differences.md)" % sum(engine.meant(e[3]) for e in engine.EXCHANGES))
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
