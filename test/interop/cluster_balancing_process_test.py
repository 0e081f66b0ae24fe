#!/usr/bin/env python3
"""How requests are spread over the hosts of a cluster: policies, weights, priorities, panic, localities. Runs against Outrider, or with
--proxy envoy against the reference."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
import h1
from bench import ClusterBench, Script, placed
from harness import check, wait_for


def balancing(script):
    a, b, c = (h1.Upstream(n) for n in "abc")
    ports = [u.port for u in (a, b, c)]
    bad = {"health_status": "UNHEALTHY"}

    def host(upstream, **more):
        return dict({"port": upstream.port}, **more)
    bench = ClusterBench(script, "balancing", [
        harness.cluster("rr", *ports),
        harness.cluster("weights", (a.port, 1), (b.port, 3)),
        harness.cluster("lr", a.port, b.port, lb_policy="LEAST_REQUEST"),
        harness.cluster("lrall", a.port, b.port, c.port, lb_policy="LEAST_REQUEST", least_request_lb_config={"choice_count": 10}),
        harness.cluster("lrw", (a.port, 1), (b.port, 3), lb_policy="LEAST_REQUEST"),
        harness.cluster("random", *ports, lb_policy="RANDOM"),
        placed("failover", [(0, [host(a, **bad)]), (1, [host(b)])]),
        placed("spill", [(0, [host(a), host(c, **bad)]), (1, [host(b)])]),
        placed("panic", [(0, [host(a, **bad), host(b, **bad)])]),
        placed("nopanic", [(0, [host(a, **bad)])], common_lb_config={"healthy_panic_threshold": {"value": 0}}),
        placed("degraded", [(0, [host(a, health_status="DEGRADED"), host(b)])]),
        placed("draining", [(0, [host(a, health_status="DRAINING"), host(b), host(c)])]),
        placed("zones", [(0, [host(a)], 1), (0, [host(b)], 3)], common_lb_config={"locality_weighted_lb_config": {}}),
        placed("none", []),
    ], concurrency=2)

    def round_robin():
        # Fresh connections land on either worker: the turn is the process's, not the worker's.
        found = bench.who("/rr/", 90)
        spread = 0 if script.outrider else 3
        check(set(found) == set("abc") and all(abs(n - 30) <= spread for n in found.values()), "spread %s" % found)

    def weights():
        found = bench.who("/weights/", 80)
        check(abs(found.get("a", 0) - 20) <= 2 and abs(found.get("b", 0) - 60) <= 2, "spread %s" % found)

    def least_request():
        # Three requests hang on one host; with all hosts sampled the others get everything.
        def busy():
            return [sum(1 for x in u.connections if x.open and x.requests and x.requests[-1].target == "/hang") for u in (a, b, c)]
        held = []
        try:
            for count in (1, 2, 3):
                held.append(bench.send("/lrall/hang"))
                wait_for(lambda: sum(busy()) == count, 5, "%d requests to hang" % count)
            check(busy() == [1, 1, 1], "three requests at once were spread as %s" % busy())
        finally:
            for each in held:
                each.close(rst=True)

    def least_request_even():
        found = bench.who("/lr/", 120)
        check(min(found.get("a", 0), found.get("b", 0)) >= 35, "spread %s" % found)

    def least_request_weights():
        found = bench.who("/lrw/", 200)
        check(found.get("b", 0) > 1.6 * found.get("a", 0) > 0, "spread %s" % found)

    def random():
        found = bench.who("/random/", 150)
        check(set(found) == set("abc") and min(found.values()) >= 25, "spread %s" % found)

    def failover():
        check(bench.who("/failover/", 20) == {"b": 20}, "an unhealthy first priority got traffic")

    def spill():
        # 50 % healthy × 1.4 = 70 % stays on the first priority.
        found = bench.who("/spill/", 200)
        check("c" not in found and 115 <= found.get("a", 0) <= 165, "spread %s" % found)

    def panic():
        found = bench.who("/panic/", 20)
        check(found == {"a": 10, "b": 10} or (not script.outrider and set(found) == set("ab")), "spread %s" % found)

    def no_panic():
        answer = bench.get("/nopanic/")
        check((answer.status, answer.body) == (503, b"no healthy upstream"), "%s %r" % (answer.status, answer.body))
        line = bench.last_line("/nopanic/")
        check(line[2:4] == ["UH", "no_healthy_upstream"], "logged %s" % line)

    def degraded():
        check(bench.who("/degraded/", 20)["b"] >= 10, "degraded hosts were preferred")

    def draining():
        found = bench.who("/draining/", 20)
        check("a" not in found, "a draining host got traffic: %s" % found)

    def zones():
        found = bench.who("/zones/", 120)
        check(20 <= found.get("a", 0) <= 40, "spread %s" % found)

    def nobody():
        answer = bench.get("/none/")
        check((answer.status, answer.body) == (503, b"no healthy upstream"), "%s %r" % (answer.status, answer.body))

    script.stories(
        ("round robin takes turns over all workers", round_robin), ("round robin honours weights", weights),
        ("least request avoids busy hosts", least_request), ("least request is even among idle hosts", least_request_even),
        ("least request honours weights", least_request_weights), ("random reaches every host", random),
        ("the next priority takes over when the first is down", failover),
        ("a half healthy priority keeps 70 percent", spill), ("panic uses unhealthy hosts", panic),
        ("a panic threshold of 0 answers 503 UH", no_panic), ("degraded hosts serve last", degraded),
        ("draining hosts get no new requests", draining), ("localities get traffic by weight", zones),
        ("a cluster without hosts answers 503", nobody))
    bench.stop()


def main():
    return Script("balancing", __doc__).run(balancing=balancing)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
