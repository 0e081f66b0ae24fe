"""Tables, verdicts and Markdown of the bench, all from one document (what --json writes)."""
import os

from . import figures
from .scenarios import IDLE, SECTIONS, START, TIMED

LABELS = {"outrider": "Outrider", "envoy": "Envoy", "nginx": "nginx", "haproxy": "HAProxy"}
UNITS = {"cpu_us": "CPU µs per request", "rps": "requests per second", "p50_us": "p50 µs", "p99_us": "p99 µs", "p999_us": "p99.9 µs"}


def table(title, rows, columns, cell):
    """rows: [(key, label)]; cell(key, column) -> text or None."""
    lines = [["", *columns]] + [[label, *(cell(key, column) or "-" for column in columns)] for key, label in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
    text = [title]
    for line in lines:
        text.append("  " + line[0].ljust(widths[0]) + "".join("  " + word.rjust(width) for word, width in zip(line[1:], widths[1:])))
    return "\n".join(text)


def markdown_table(head, rows, columns, cell):
    lines = ["| " + " | ".join([head, *(LABELS.get(column, column) for column in columns)]) + " |", "|---" * (len(columns) + 1) + "|"]
    for key, label in rows:
        lines.append("| " + " | ".join([label, *(cell(key, column) or "–" for column in columns)]) + " |")
    return "\n".join(lines)


def number(value):
    if value >= 10000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


FLOOR_SHOWS = 0.5  # from this part of a proxy's p99 on, the generator and the backend are what is seen


class Document:
    """samples: {scenario: {proxy: [{"round", "cpu_us", "rps", ...}]}}; once: {"idle-h1" | "start" | "rest": {proxy: figure}}; floor: [{"round", "p99_us", ...}]"""

    def __init__(self, document):
        self.samples, self.once, self.calls = document["samples"], document["once"], document.get("calls", {})
        self.failures, self.proxies = document.get("failures", []), list(document["versions"])
        self.floor = document.get("floor", [])
        self.document = document

    def figure(self, scenario, proxy, key):
        """(median, spread in percent or None) or None"""
        values = list(figures.by_round(self.samples.get(scenario, {}).get(proxy, []), key).values())
        return (figures.median(values), figures.spread(values)) if values else None

    def text(self, scenario, proxy, key, blank=""):
        found = self.figure(scenario, proxy, key)
        return found and number(found[0]) + (f" ±{found[1]:.0f}{blank}%" if found[1] is not None else "")

    def ratio(self, scenario, key, against):
        """(ratio, spread, peer), below 1 when Outrider is better; None if it cannot be told."""
        row = self.samples.get(scenario, {})
        peers = {name: row[name] for name in against if name in row}
        return figures.ratio_to_best(row.get("outrider", []), peers, key, more_is_better=key == "rps")

    def ratio_text(self, scenario):
        key = TIMED[scenario].first
        found = self.ratio(scenario, key, [name for name in self.proxies if name != "outrider"])
        return found and f"{found[0]:.2f}" + (f" ±{found[1]:.0f}%" if found[1] is not None else "") + f" x {found[2]}"

    def judge(self, scenario, target):
        """(what was found, what was wanted, True | False | None when it was not measured)"""
        if target.kind == "own":
            row, base = self.samples.get(scenario, {}).get("outrider", []), self.samples.get(target.against[0], {}).get("outrider", [])
            found = figures.paired(figures.by_round(row, target.key), figures.by_round(base, target.key))
            name = target.against[0]
        else:
            found = self.ratio(scenario, target.key, target.against)
            name = found[2] if found else " or ".join(target.against)
        wanted = f"{target.figure:g} x {name}"
        if not found:
            return "not measured", wanted, None
        return f"{found[0]:.2f}" + (f" ±{found[1]:.0f}%" if found[1] is not None else ""), wanted, figures.holds(found[0], target.figure)

    def verdicts(self):
        """[(scenario, key, found, wanted, holds)] of all targets whose scenario ran."""
        out = []
        for name, scenario in TIMED.items():
            if name in self.samples:
                out += [(name, target.key, *self.judge(name, target)) for target in scenario.targets]
        for name, (_, _, label, most) in IDLE.items():
            out += self.absolute(name, label, most)
        for name, (_, label, most) in START.items():
            out += self.absolute(name, label, most)
        return out

    def absolute(self, name, label, most):
        if name not in self.once:
            return []
        found = self.once[name].get("outrider")
        return [(name, label, "not measured" if found is None else number(found), f"{most:g}", None if found is None else figures.holds(found, most, 1))]

    def verdict_words(self, scenario):
        words = []
        for target in TIMED[scenario].targets:
            found, wanted, holds = self.judge(scenario, target)
            words.append(f"{'?' if holds is None else 'ok' if holds else 'MISSED'} ({found}, at most {wanted})")
        return ", ".join(words)

    def floor_words(self):
        """What the fixed rate shows without a proxy, and of which proxies the figure is thus mostly not theirs; None if it was not measured."""
        if not self.floor:
            return None
        middle = {key: figures.median(list(figures.by_round(self.floor, key).values())) for key in ("p50_us", "p99_us", "p999_us", "late_p99_us")}
        words = (f"Without a proxy, straight to the backend: p50 {number(middle['p50_us'])}, p99 {number(middle['p99_us'])}, p99.9 "
                 f"{number(middle['p999_us'])} µs; the generator itself was late by {number(middle['late_p99_us'])} µs at p99 there")
        late = [(name, self.figure("rate", name, "late_p99_us")) for name in self.proxies]
        words += "".join(f", {number(found[0])} with {LABELS[name]}" for name, found in late if found) + "."
        if not all(sample["ahead"] for sample in self.floor):
            words += " Proxies, backend and generator were not allowed to run before all else (SCHED_FIFO), so part of these latencies is the machine's."
        p99 = [(LABELS[name], self.figure("rate", name, "p99_us")) for name in self.proxies]
        hidden = [label for label, found in p99 if found and middle["p99_us"] >= FLOOR_SHOWS * found[0]]
        if hidden:
            words += f" That floor is more than half of the p99 of {', '.join(hidden)}: what differs between them there is hardly the proxies'."
        return words

    def order(self):
        return [name for _, names in SECTIONS for name in names if name in self.samples]

    def print(self):
        ratio, verdict = "outrider / best", "target"
        rows = [(name, f"{name}: {TIMED[name].label}") for name in self.order()]
        blocks = []
        for key in ("cpu_us", "rps", "p99_us"):
            columns = [*self.proxies] + ([ratio, verdict] if key == "cpu_us" else [])
            blocks.append(table(f"{UNITS[key]} (median of the rounds, ± half of their range)", rows, columns, lambda name, column, key=key:
                                self.ratio_text(name) if column == ratio else self.verdict_words(name) if column == verdict else self.text(name, column, key)))
        if "rate" in self.samples:
            blocks.append(table("Latency at 10,000 requests a second, from when each was due", [(key, UNITS[key]) for key in ("p50_us", "p99_us", "p999_us")],
                                self.proxies, lambda key, proxy: self.text("rate", proxy, key)) + (f"\n  {self.floor_words()}" if self.floor else ""))
        once = [(name, f"{label} (at most {most:g})") for name, label, most in self.once_rows()]
        if once:
            blocks.append(table("Memory and start", once, self.proxies, lambda name, proxy: self.once_text(name, proxy)))
        if self.calls:
            blocks.append(table("System calls per request (of them reads and writes)", [(name, name) for name in self.calls], self.proxies,
                                lambda name, proxy: f"{self.calls[name][proxy]['calls']:.2f} ({self.calls[name][proxy]['data_calls']:.2f})"
                                if proxy in self.calls[name] else None))
        verdicts = self.verdicts()
        if verdicts:
            missed = [f"  {name} {key}: {found}, at most {wanted}" for name, key, found, wanted, holds in verdicts if holds is False]
            unknown = sum(holds is None for *_, holds in verdicts)
            blocks.append(f"Targets: {sum(holds is True for *_, holds in verdicts)} hold, {len(missed)} are missed, {unknown} could not be judged"
                          + "".join("\n" + line for line in missed))
        if self.failures:
            blocks.append("Left out, because an answer was wrong or missing:\n" + "\n".join(f"  {line}" for line in self.failures))
        print("\n\n".join(blocks))

    def once_rows(self):
        rows = [(name, label, most) for name, (_, _, label, most) in IDLE.items()] + [(name, label, most) for name, (_, label, most) in START.items()]
        return [row for row in rows if row[0] in self.once]

    def once_text(self, name, proxy):
        return number(self.once[name][proxy]) if proxy in self.once[name] else None

    def markdown(self):
        """The tables of docs/performance.md."""
        out = ["; ".join(LABELS[name] + ": " + version for name, version in self.document["versions"].items()) +
               f". Linux {self.document['kernel']}; {self.document['rounds']} rounds of {self.document['seconds']} s, other processes used "
               f"{self.document['foreign_cpu_percent']:.0f} % of a core meanwhile."]
        for title, names in SECTIONS:
            rows = [(name, TIMED[name].label) for name in names if name in self.samples]
            if not rows:
                continue
            first = {TIMED[name].first for name, _ in rows}
            out.append(f"### {title}")
            for key in ("cpu_us", "rps", "p50_us", "p99_us", "p999_us"):
                shown = rows if key not in ("p50_us", "p999_us") else [row for row in rows if TIMED[row[0]].first.startswith("p")]
                if not any(self.figure(name, proxy, key) for name, _ in shown for proxy in self.proxies):
                    continue
                judged = key == "cpu_us" or key in first
                columns = self.proxies + (["ratio", "target"] if judged else [])
                out.append(markdown_table(UNITS[key], shown, columns, lambda name, column, key=key: self.markdown_cell(name, column, key)))
            if "rate" in names and self.floor:
                out.append(self.floor_words())
        once = [(name, label) for name, label, _ in self.once_rows()]
        if once:
            out.append("### Memory and start")
            most = {name: limit for name, _, limit in self.once_rows()}
            out.append(markdown_table("", once, [*self.proxies, "target"], lambda name, column: self.absolute_cell(name, most[name])
                                      if column == "target" else self.once_text(name, column)))
        if self.failures:
            out.append("Left out, because an answer was wrong or missing: " + "; ".join(self.failures) + ".")
        return "\n\n".join(out) + "\n"

    def markdown_cell(self, name, column, key):
        if column == "ratio":
            found = self.ratio(name, key, [proxy for proxy in self.proxies if proxy != "outrider"])
            return found and f"{found[0]:.2f}" + (f" ±{found[1]:.0f} %" if found[1] is not None else "") + f" × {LABELS[found[2]]}"
        if column == "target":
            words = []
            for target in TIMED[name].targets:
                if target.key == key:
                    found, wanted, holds = self.judge(name, target)
                    words.append(("not measured" if holds is None else "holds" if holds else f"**missed ({found})**") + f": {wanted.replace(' x ', ' × ')}")
            return "; ".join(words)
        return self.text(name, column, key, " ")

    def absolute_cell(self, name, most):
        found = self.once[name].get("outrider")
        return None if found is None else f"{'holds' if figures.holds(found, most, 1) else '**missed**'}: {most:g}"


def put_markdown(path, text, mark):
    """Replaces what stands between `<!-- MARK: begin` and `<!-- MARK: end -->` of the file; a file without both gets the text alone."""
    old = ""
    if os.path.exists(path):
        with open(path) as file:
            old = file.read()
    begin = old.find(f"<!-- {mark}: begin")
    begin = old.find("-->", begin) + 3 if begin >= 0 else -1
    end = old.find(f"<!-- {mark}: end -->")
    if 0 <= begin <= end:
        text = old[:begin] + "\n" + text + old[end:]
    with open(path, "w") as file:
        file.write(text)
