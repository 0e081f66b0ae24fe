"""Medians, tables and gates of the bench."""
import statistics

from . import load

# (scenario, factor, the proxies whose best figure is the measure)
GATES = [("h1", 1.2, ("nginx", "haproxy")), ("h2c-h2c", 1.5, ("haproxy",))]


def medians(samples):
    """[{cpu_us, rps}, ...] -> one dict with the median of each and, of several, the spread of the CPU figure in percent."""
    middle = {key: statistics.median(sample[key] for sample in samples) for key in ("cpu_us", "rps")}
    costs = [sample["cpu_us"] for sample in samples]
    if len(costs) > 1 and middle["cpu_us"]:
        middle["spread_percent"] = 100 * (max(costs) - min(costs)) / middle["cpu_us"]
    return middle


def table(title, rows, columns, cell):
    """rows: [(key, label)]; cell(key, column) -> text or None."""
    lines = [["", *columns]] + [[label, *(cell(key, column) or "-" for column in columns)] for key, label in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    text = [title]
    for line in lines:
        text.append("  " + line[0].ljust(widths[0]) + "".join("  " + word.rjust(width) for word, width in zip(line[1:], widths[1:])))
    return "\n".join(text)


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def best_peer(row):
    """(name, CPU figure) of the cheapest proxy other than Outrider in {proxy: {cpu_us}}; None if none was measured."""
    peers = [(values["cpu_us"], name) for name, values in row.items() if name != "outrider" and "cpu_us" in values]
    return (min(peers)[1], min(peers)[0]) if peers else None


def ratio(row):
    best = best_peer(row)
    if not best or "outrider" not in row:
        return None
    return f"{row['outrider']['cpu_us'] / best[1]:.2f} x {best[0]}"


def print_tables(results, proxies):
    """results: {scenario: {proxy: {cpu_us, rps, spread_percent, calls?, data_calls?}}} and "idle": {proxy: bytes}"""
    scenarios = [(name, f"{name}: {load.SCENARIOS[name][4]}") for name in load.SCENARIOS if name in results]
    get = lambda scenario, proxy: results.get(scenario, {}).get(proxy, {})
    show = lambda key, form: lambda scenario, proxy: form(get(scenario, proxy)) if key in get(scenario, proxy) else None
    figure = show("cpu_us", lambda r: number(r["cpu_us"]) + (f" ±{r['spread_percent'] / 2:.0f}%" if "spread_percent" in r else ""))
    print(table("CPU microseconds of the proxy per request (median of the rounds; ± half of their spread)", scenarios,
                [*proxies, "outrider / best peer"],
                lambda scenario, column: ratio(results[scenario]) if column == "outrider / best peer" else figure(scenario, column)))
    if any("calls" in r for row in results.values() if isinstance(row, dict) for r in row.values() if isinstance(r, dict)):
        print(table("\nSystem calls per request (of them reads and writes)", scenarios, proxies,
                    show("calls", lambda r: f"{r['calls']:.2f} ({r['data_calls']:.2f})")))
    print(table("\nRequests per second (both cores busy: compare, do not quote)", scenarios, proxies, show("rps", lambda r: f"{r['rps']:.0f}")))
    if results.get("idle"):
        print(table("\nMemory of an idle HTTP/1.1 connection, KiB (Pss)", [("idle", "after one request")], proxies,
                    lambda _, proxy: f"{results['idle'][proxy] / 1024:.2f}" if proxy in results["idle"] else None))


def judge(results):
    """Prints each gate. 0: all hold; 1: one does not; 2: a figure for one is missing."""
    failed = missing = False
    print()
    for scenario, factor, measures in GATES:
        row = results.get(scenario, {})
        best = min((row[name]["cpu_us"] for name in measures if name in row), default=None)
        if "outrider" not in row or best is None:
            print(f"gate {scenario}: not measured (needs outrider and {' or '.join(measures)})")
            missing = True
            continue
        ours = row["outrider"]["cpu_us"]
        holds = ours <= factor * best
        print(f"gate {scenario}: {'holds' if holds else 'MISSED'}: {ours:.1f} µs, {ours / best:.2f} x {best:.1f} µs of the best of "
              f"{', '.join(measures)}; at most {factor} x")
        failed = failed or not holds
    return 1 if failed else 2 if missing else 0
