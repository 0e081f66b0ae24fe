#!/usr/bin/env python3
"""The bench's own arithmetic, what it reads of its tools, its load generator, and one short run of it."""
import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
from benchlib import chart, config_scale, figures, load, proxies, report, scenarios  # noqa: E402
from benchlib.processes import BenchError  # noqa: E402


class Skipped(Exception):
    pass


def check(condition, why):
    if not condition:
        raise AssertionError(why)


def equal(got, wanted):
    check(got == wanted, f"{got!r} instead of {wanted!r}")


def close(got, wanted):
    check(abs(got - wanted) < 1e-9, f"{got!r} instead of {wanted!r}")


def refuses(action, *words):
    try:
        action(*words)
    except BenchError:
        return
    raise AssertionError(f"{words} was taken")


def rounds(*values, key="cpu_us", **more):
    return [{"round": number, key: value, **more} for number, value in enumerate(values)]


# ---- arithmetic -------------------------------------------------------------------------------------------------

def median_and_spread():
    close(figures.median([9, 1, 2]), 2)
    close(figures.median([1, 2, 3, 10]), 2.5)
    close(figures.spread([8, 10, 13]), 25)
    equal(figures.spread([8]), None)


def percentile_is_the_nearest_rank():
    values = list(range(1, 101))
    equal([figures.percentile(values, part) for part in (0, 0.5, 0.99, 0.999, 1)], [1, 50, 99, 100, 100])
    equal(figures.percentile([7], 0.99), 7)
    equal(figures.percentile([], 0.99), None)


def ratio_is_of_pairs_so_a_slow_round_cancels():
    ours, theirs = figures.by_round(rounds(8, 80, 8), "cpu_us"), figures.by_round(rounds(10, 100, 10), "cpu_us")
    middle, range_of = figures.paired(ours, theirs)
    close(middle, 0.8)
    close(range_of, 0)


def ratio_uses_only_rounds_that_both_have():
    ours = figures.by_round([{"round": 0, "cpu_us": 5}, {"round": 2, "cpu_us": 9}], "cpu_us")
    close(figures.paired(ours, figures.by_round(rounds(1, 1, 3), "cpu_us"))[0], 4)
    equal(figures.paired(ours, {1: 3}), None)


def best_peer_is_the_one_with_the_best_median():
    peers = {"nginx": rounds(10, 1, 10), "haproxy": rounds(9, 9, 9), "envoy": rounds(30, 30, 30)}
    equal(figures.best(peers, "cpu_us"), "haproxy")
    equal(figures.best({"nginx": rounds(1, 2, 3, key="rps"), "haproxy": rounds(4, 4, 4, key="rps")}, "rps", more_is_better=True), "haproxy")
    equal(figures.best({"nginx": []}, "cpu_us"), None)


def ratio_of_rates_is_below_one_when_ours_is_higher():
    found = figures.ratio_to_best(rounds(200, 200, key="rps"), {"nginx": rounds(100, 100, key="rps")}, "rps", more_is_better=True)
    close(found[0], 0.5)
    equal(found[2], "nginx")


def target_holds_up_to_three_percent_above():
    check(figures.holds(0.9 * 1.0299, 0.9), "2.99 % above")
    check(not figures.holds(0.9 * 1.0301, 0.9), "3.01 % above")
    check(not figures.holds(15.1, 15, 1), "an absolute figure has no tolerance")


# ---- verdicts and reports ---------------------------------------------------------------------------------------

def document(samples, once=None):
    return report.Document({"versions": {"outrider": "1", "envoy": "2", "nginx": "3"}, "samples": samples, "once": once or {}, "failures": [],
                            "kernel": "k", "rounds": 2, "seconds": 1, "foreign_cpu_percent": 0})


def verdicts_tell_held_missed_and_not_measured_apart():
    found = document({"h1": {"outrider": rounds(9, 9), "envoy": rounds(40, 40), "nginx": rounds(10, 10)},
                      "tcp": {"outrider": rounds(10, 10), "nginx": rounds(10, 10)},
                      "tls-h1": {"outrider": rounds(9, 9)},
                      "routes-one": {"outrider": rounds(10, 10)}, "routes-exact": {"outrider": rounds(12, 12)}}, {"idle-h1": {"outrider": 0.9}}).verdicts()
    by = {(name, wanted): holds for name, _, _, wanted, holds in found}
    equal(by["h1", "0.9 x nginx"], True)
    equal(by["h1", "0.3 x envoy"], True)
    equal(by["tcp", "0.9 x nginx"], False)
    equal(by["tls-h1", "0.9 x nginx or haproxy"], None)
    equal(by["routes-exact", "1.1 x routes-one"], False)
    equal(by["idle-h1", "1"], True)


def the_floor_of_the_fixed_rate_is_told_and_whom_it_hides():
    shown = document({"rate": {"outrider": rounds(300, 310, key="p99_us", late_p99_us=20), "envoy": rounds(2000, 2100, key="p99_us", late_p99_us=30)}})
    equal(shown.floor_words(), None)
    told = {"p50_us": 60, "p99_us": 200, "p999_us": 400, "late_p99_us": 15}
    shown.floor = [{"round": 0, **told, "ahead": True}, {"round": 1, **told, "ahead": True}]
    words = shown.floor_words()
    check("p99 200, p99.9 400 µs" in words and "20.0 with Outrider, 30.0 with Envoy" in words, words)
    check("more than half of the p99 of Outrider:" in words and "SCHED_FIFO" not in words, words)
    check(words in shown.markdown(), "the page lacks it")
    shown.floor[1]["ahead"] = False
    check("SCHED_FIFO" in shown.floor_words(), "it is not said that the rest of the machine was in the way")


def every_scenario_is_in_one_section():
    listed = [name for _, names in scenarios.SECTIONS for name in names]
    equal(sorted(listed), sorted(scenarios.TIMED))


def markdown_goes_between_its_marks():
    shown = document({"h1": {"outrider": rounds(9, 9), "nginx": rounds(10, 10)}})
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "page.md")
        with open(path, "w") as file:
            file.write("before\n<!-- bench: begin. Made by a tool. -->\nstale\n<!-- bench: end -->\nafter\n")
        report.put_markdown(path, shown.markdown(), "bench")
        with open(path) as file:
            text = file.read()
    check(text.startswith("before\n<!-- bench: begin. Made by a tool. -->\n") and text.endswith("<!-- bench: end -->\nafter\n"), text)
    check("stale" not in text and "| HTTP/1.1 to HTTP/1.1, 64 connections | 9.0 ±0 %" in text, text)


def chart_is_an_svg_with_a_bar_for_each_figure():
    drawn = chart.draw(document({"h1": {"outrider": rounds(9, 9), "nginx": rounds(10, 10)}}), {"h1": "H1 <&> H1"})
    bars = [each for each in xml.etree.ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}rect") if each.get("height") == "11" and each.get("x") == "270"]
    equal([each.get("width") for each in bars if each.get("y") != "38"], ["450.0", "500.0"])
    equal(chart.draw(document({}), {}), None)


def longest_turn_is_of_the_buckets_that_grew():
    before = config_scale.parse_histogram("outrider.loop.worker_0.turn_cpu_us:\n  totals=10,1:5, 900,10:1\n  intervals=10,1:5\n")
    after = config_scale.parse_histogram("outrider.loop.worker_0.turn_cpu_us:\n  totals=10,1:7, 120,10:1, 900,10:1\n")
    equal(before, {11.0: 5, 910.0: 1})
    equal(config_scale.highest_added(before, after), 130.0)
    equal(config_scale.highest_added(after, after), None)


def memory_of_a_cluster_is_that_above_a_hundred():
    results = {"100x10": {"delta": {"outrider": {"memory_mib": 20}}}, "10000x10": {"delta": {"outrider": {"memory_mib": 20 + 9900 * 8 / 1024}}}}
    config_scale.complete(results)
    close(results["10000x10"]["delta"]["outrider"]["each_kib"], 8)


# ---- what the tools say -----------------------------------------------------------------------------------------

WRK = """  Latency Distribution
     50%  612.00us
     75%    1.00ms
     99%    3.36ms
  20355 requests in 1.05s, 24.86MB read
"""


def wrk_is_read_and_failures_are_refused():
    found = load.read_wrk(WRK)
    equal(found["requests"], 20355)
    for key, wanted in {"seconds": 1.05, "p50_us": 612, "p99_us": 3360}.items():
        close(found[key], wanted)
    refuses(load.read_wrk, WRK + "  Non-2xx or 3xx responses: 1\n")
    refuses(load.read_wrk, WRK + "  Socket errors: connect 0, read 1, write 0, timeout 0\n")
    refuses(load.read_wrk, "")


def h2load_is_read_and_failures_are_refused():
    text = "finished in 1.00s, 1 req/s\nrequests: 90 total, 90 started, 90 done, %d succeeded, %d failed, 0 errored, 0 timeout\n"
    equal(load.read_h2load(text % (90, 0)), {"requests": 90, "seconds": 1.0})
    refuses(load.read_h2load, text % (89, 1))
    with tempfile.NamedTemporaryFile("w") as file:
        file.writelines(f"17\t200\t{number}\n" for number in range(1, 201))
        file.flush()
        equal(load.read_h2load_log(file.name), {"p50_us": 100, "p99_us": 198})


def own_load_is_read_and_failures_are_refused():
    told = {"failed": 0, "requests": 10, "why": "", "p50_us": 1, "p99_us": 2, "p999_us": 3, "handshakes": 10, "resumed": 6, "clients": 4}
    equal(load.read_own(json.dumps({"event": "ready"}) + "\n" + json.dumps(told), 2, True)["seconds"], 2)
    refuses(load.read_own, json.dumps({**told, "failed": 1}), 2, False)
    refuses(load.read_own, json.dumps({**told, "resumed": 5}), 2, True)
    refuses(load.read_own, "panic", 2, False)


# ---- the load generator -----------------------------------------------------------------------------------------

class Stalling:
    """An HTTP/1.1 server that answers at once, but takes nothing up for `pause` seconds, once, half a second after it began."""

    def __init__(self, pause):
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port, self.pause, self.gate = self.listening.getsockname()[1], pause, threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def stall(self):
        time.sleep(0.5)
        with self.gate:
            time.sleep(self.pause)

    def accept(self):
        threading.Thread(target=self.stall, daemon=True).start()
        while True:
            client, _ = self.listening.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        while client.recv(65536):
            with self.gate:
                pass
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


def a_stall_is_charged_to_all_requests_that_were_due(program):
    """Of 400 requests in two seconds, a stall of 400 ms hits 80, though only four connections wait: a closed loop would see four."""
    server = Stalling(0.4)
    done = subprocess.run([program, "rate", "-port", str(server.port), "-rate", "200", "-connections", "4", "-seconds", "2", "-size", "2"],
                          capture_output=True, text=True, timeout=60)
    told = json.loads(done.stdout)
    equal((told["failed"], told["why"]), (0, ""))
    check(390 <= told["requests"] <= 401, f"{told['requests']} requests of 400")
    check(told["queued"] >= 40, f"{told['queued']} waited for a connection")
    check(told["p99_us"] >= 300e3, f"p99 is {told['p99_us']} µs")
    check(told["late_p99_us"] < 200e3, f"the server's stall is taken for the generator's own: {told['late_p99_us']} µs")


def grpc_messages_come_back(program):
    backend = subprocess.Popen([program, "grpc-backend"], stdout=subprocess.PIPE, text=True)
    try:
        port = json.loads(backend.stdout.readline())["port"]
        done = subprocess.run([program, "grpc", "-port", str(port), "-connections", "2", "-streams", "3", "-seconds", "0.3"], capture_output=True, text=True, timeout=60)
        told = json.loads(done.stdout)
        equal((told["failed"], told["why"]), (0, ""))
        check(told["requests"] > 6, "hardly a message came back")
    finally:
        backend.kill()
        backend.wait()


def go_tests_of_the_load_pass(_program):
    done = subprocess.run([shutil.which("go"), "test", "./..."], cwd=os.path.join(proxies.DATA, "load"), capture_output=True, text=True, timeout=300)
    check(done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:])


def the_bench_runs_and_judges(outrider):
    """Outrider alone, a second each: no scenario is left out, and the targets that need peers are not judged."""
    for name in ("nginx", "nghttpd", "wrk", "h2load"):
        if not proxies.find_system(name):
            raise Skipped(f"{name} is not here")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "figures.json")
        done = subprocess.run([os.path.join(ROOT, "tools", "bench"), "--outrider", outrider, "--only", "outrider", "--rounds", "1", "--gate", "--json", path,
                               "--scenarios", "h1,h2c-h2c,h2c-upload,grpc-unary,mtls-resumed,rate,routes-regex"], capture_output=True, text=True, timeout=200)
        check(done.returncode == 2, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        with open(path) as file:
            told = json.load(file)
    equal(told["failures"], [])
    equal(sorted(told["samples"]), ["grpc-unary", "h1", "h2c-h2c", "h2c-upload", "mtls-resumed", "rate", "routes-regex"])
    check(len(told["floor"]) == 1 and told["floor"][0]["p99_us"] > told["floor"][0]["p50_us"] > 0, told["floor"])
    check(all(samples["outrider"][0]["cpu_us"] > 0 for samples in told["samples"].values()), told["samples"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outrider", default=proxies.find_outrider())
    arguments = parser.parse_args()
    if os.path.isdir("/usr/local/go/bin"):
        os.environ["PATH"] += ":/usr/local/go/bin"
    plain = [median_and_spread, percentile_is_the_nearest_rank, ratio_is_of_pairs_so_a_slow_round_cancels, ratio_uses_only_rounds_that_both_have,
             best_peer_is_the_one_with_the_best_median, ratio_of_rates_is_below_one_when_ours_is_higher, target_holds_up_to_three_percent_above,
             verdicts_tell_held_missed_and_not_measured_apart, the_floor_of_the_fixed_rate_is_told_and_whom_it_hides,
             every_scenario_is_in_one_section, markdown_goes_between_its_marks,
             chart_is_an_svg_with_a_bar_for_each_figure, longest_turn_is_of_the_buckets_that_grew, memory_of_a_cluster_is_that_above_a_hundred,
             wrk_is_read_and_failures_are_refused, h2load_is_read_and_failures_are_refused, own_load_is_read_and_failures_are_refused]
    cases = [(case, ()) for case in plain]
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        program = proxies.build_load(folder) if shutil.which("go") else None
        cases += [(case, (program,)) for case in (a_stall_is_charged_to_all_requests_that_were_due, grpc_messages_come_back, go_tests_of_the_load_pass)]
        cases.append((the_bench_runs_and_judges, (arguments.outrider,)))
        for case, words in cases:
            name = case.__name__.replace("_", " ")
            try:
                if words and not words[0] or (case is the_bench_runs_and_judges and not program):
                    raise Skipped("Go or the proxy is not here")
                case(*words)
                passed += 1
                print(f"ok   {name}")
            except Skipped as why:
                skipped += 1
                print(f"skip {name}: {why}")
            except Exception as why:  # noqa: BLE001
                failed += 1
                print(f"FAIL {name}: {type(why).__name__}: {why}")
            sys.stdout.flush()
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
