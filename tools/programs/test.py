"""Installs what is missing, builds the release, runs every test; the last line is `N passed, N failed`.

tools/test                        everything: setup, release build, bazel test //..., then the process tests
tools/test --config asan|tsan     the bazel part only, in that configuration
tools/test --only NAME            process tests whose path holds NAME; no bazel tests
tools/test --no-setup --no-process --targets //source/base/...

A test case is a GoogleTest case (or a case of another test's own test.xml). Process tests are the executables that
test/process_tests.txt lists; each gets --outrider PATH and ends with its own line `N passed, N failed`.
Exit 0 only if no test failed and at least one ran.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
OUTRIDER = os.path.join(ROOT, "bazel-out", "k8-opt", "bin", "source", "server", "outrider")  # bazel-bin follows the last mode
RELEASE = ["//source/server:outrider", "//test/bench/micro"]  # the process tests find the second beside the first
CLOSING = re.compile(r"^(?:[\w-]+: )?(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$", re.M)


class Totals:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0
        self.bad = []     # names, for the summary
        self.cases = []   # {"test", "ok"} for tools/matrix

    def case(self, name, outcome):
        if outcome == "skipped":
            self.skipped += 1
            return
        self.cases.append({"test": name, "ok": outcome == "passed"})
        if outcome == "passed":
            self.passed += 1
        else:
            self.failed += 1
            self.bad.append(name)

    def add(self, name, passed, failed, skipped):
        self.passed, self.failed, self.skipped = self.passed + passed, self.failed + failed, self.skipped + skipped
        if failed:
            self.bad.append(f"{name} ({failed} cases)")


class Phases:
    """Prints what starts and how long it took; all of it again at the end."""

    def __init__(self):
        self.took = []

    def run(self, name, action):
        print(f"== {name}", flush=True)
        started = time.monotonic()
        try:
            return action()
        finally:
            self.took.append((name, time.monotonic() - started))
            print(f"== {name}: {self.took[-1][1]:.1f} s", flush=True)

    def summary(self):
        return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.took)


def cache_folder():
    base = os.environ.get("OUTRIDER_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "outrider")
    folder = os.path.join(base, "results")
    os.makedirs(folder, exist_ok=True)
    return folder


def bazel(words, jobs, **more):
    command = ["bazel", words[0], f"--jobs={jobs}", "--color=no", "--curses=no", "--show_progress_rate_limit=30", *words[1:]]
    return subprocess.run(command, cwd=ROOT, **more).returncode


def outcome_of(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    # GoogleTest: result="skipped" or status="notrun" (a disabled case)
    if case.find("skipped") is not None or case.get("result") == "skipped" or case.get("status") == "notrun":
        return "skipped"
    return "passed"


def read_test_xml(label, path, status, totals):
    """Counts the cases of one test.xml; a target that failed without saying which case did counts as one failed case."""
    before = totals.failed
    try:
        cases = list(xml.etree.ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, xml.etree.ElementTree.ParseError):
        cases = []
    for case in cases:
        name = ".".join(part for part in (case.get("classname"), case.get("name")) if part)
        # Bazel's own test.xml (for a test that writes none) has one case named after the target.
        totals.case(f"{label} {name}", outcome_of(case))
    if status != "PASSED" and totals.failed == before:
        totals.case(f"{label} ({status})", "failed")
    elif status == "PASSED" and not cases:
        totals.case(f"{label} (passed without a test.xml)", "failed")


def read_events(path, totals):
    """Bazel's build events name exactly the tests of this run, with where their test.xml is."""
    results, summaries, aborted = {}, {}, []
    with open(path) as file:
        for line in file:
            event = json.loads(line)
            name = event.get("id", {})
            if "testResult" in name and "testResult" in event:
                key = (name["testResult"]["label"], name["testResult"].get("shard", 1), name["testResult"].get("run", 1))
                results[key] = event["testResult"]  # a later attempt replaces an earlier one
            elif "testSummary" in name and "testSummary" in event:
                summaries[name["testSummary"]["label"]] = event["testSummary"]["overallStatus"]
            elif "targetCompleted" in name and not event.get("completed", {}).get("success", False):
                aborted.append(name["targetCompleted"]["label"])
    for (label, _, _), result in sorted(results.items()):
        files = {each["name"]: each.get("uri", "") for each in result.get("testActionOutput", [])}
        path = urllib.parse.unquote(urllib.parse.urlparse(files.get("test.xml", "")).path)
        read_test_xml(label, path, result.get("status", "NO_STATUS"), totals)
    seen = {label for label, _, _ in results}
    for label in sorted(set(aborted) | {label for label, status in summaries.items() if status == "NO_STATUS"}):
        if label not in seen:
            totals.case(f"{label} (not built)", "failed")


def run_bazel_tests(arguments, totals):
    events = os.path.join(cache_folder(), "events.json")
    if os.path.exists(events):
        os.unlink(events)
    words = ["test", "--test_output=errors", "--keep_going", f"--local_test_jobs={arguments.jobs}", f"--build_event_json_file={events}"]
    words += [f"--config={arguments.config}"] if arguments.config else []
    words += ["-c", arguments.mode] if arguments.mode else []
    code = bazel(words + ["--"] + arguments.targets.split(), arguments.jobs)
    if os.path.exists(events):
        read_events(events, totals)
    if code not in (0, 3, 4) and not totals.failed:  # 3: tests failed, 4: no test found; all else is a broken build
        totals.case(f"bazel test (exit {code})", "failed")


def run_process_test(path, totals, environment, seconds):
    name = os.path.relpath(path, ROOT)
    print(f"-- {name}", flush=True)
    child = subprocess.Popen([path, "--outrider", OUTRIDER], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child.pid, signal.SIGKILL))
    signal.alarm(seconds)
    started, text = time.monotonic(), []
    for line in child.stdout:
        text.append(line)
        print(line, end="", flush=True)
    child.wait()
    signal.alarm(0)
    try:
        os.killpg(child.pid, signal.SIGKILL)  # what a test left behind must not reach the next one
    except ProcessLookupError:
        pass
    found = CLOSING.findall("".join(text))
    passed, failed, skipped = (int(count or 0) for count in found[-1]) if found else (0, 0, 0)
    totals.add(name, passed, failed, skipped)
    took = time.monotonic() - started
    if not found or (child.returncode != 0 and not failed) or passed + failed + skipped == 0:
        why = f"killed after {seconds} s" if took >= seconds else f"exit {child.returncode}, {'no ' if not found else ''}closing line"
        totals.case(f"{name} ({why})", "failed")
    print(f"-- {name}: {took:.1f} s", flush=True)


def listed_process_tests():
    with open(os.path.join(ROOT, "test", "process_tests.txt")) as file:
        lines = [line.split("#")[0].strip() for line in file]
    return [os.path.join(ROOT, line) for line in lines if line]


def run_process_tests(arguments, totals):
    found = listed_process_tests()
    tests = [path for path in found if not arguments.only or arguments.only in os.path.relpath(path, ROOT)]
    matrix = os.path.join(cache_folder(), "matrix.jsonl")
    if not arguments.only and os.path.exists(matrix):
        os.unlink(matrix)
    environment = {**os.environ, "OUTRIDER_MATRIX_OUT": matrix}
    for path in tests:
        if os.access(path, os.X_OK):
            run_process_test(path, totals, environment, arguments.test_seconds)
        else:
            totals.case(f"{os.path.relpath(path, ROOT)} (not executable)", "failed")
    if arguments.only and not tests:
        print(f"no process test's path holds '{arguments.only}'")


def use_tools_path():
    """The PATH of tools/env.sh: what tools/setup put into the venv is found by the tests too."""
    script = '. tools/env.sh && printf "%s\\n%s\\n%s" "$PATH" "$HOME" "$OUTRIDER_CACHE"'
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    os.environ["PATH"], os.environ["HOME"], os.environ["OUTRIDER_CACHE"] = done.stdout.split("\n")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tools/test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=["asan", "tsan", "clang"], help="bazel configuration; leaves out release and process tests")
    parser.add_argument("--mode", choices=["opt", "dbg", "fastbuild"], help="compilation mode of the bazel tests")
    parser.add_argument("--targets", default="//...", help="bazel targets, by blanks (//...)")
    parser.add_argument("--only", help="only process tests whose path holds this")
    parser.add_argument("--no-setup", action="store_true")
    parser.add_argument("--no-process", action="store_true")
    parser.add_argument("--no-bazel", action="store_true", help="no bazel tests; the release is built all the same")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--test-seconds", type=int, default=900, help="limit of one process test (900)")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    with_process = not arguments.no_process and not arguments.config and bool(listed_process_tests())
    totals, phases = Totals(), Phases()
    use_tools_path()
    if not arguments.no_setup:
        groups = ["build", "peers"] + (["dev"] if arguments.config == "clang" else [])
        if phases.run("setup", lambda: subprocess.run([os.path.join(ROOT, "tools", "setup"), *groups]).returncode):
            totals.case("tools/setup", "failed")
            return finish(totals, phases)
    built = True
    if with_process:
        built = phases.run("release build", lambda: bazel(["build", "-c", "opt", *RELEASE], arguments.jobs)) == 0
        if not built:
            totals.case("release build", "failed")
    if not arguments.no_bazel and not arguments.only:
        phases.run("bazel tests", lambda: run_bazel_tests(arguments, totals))
    if with_process and built:
        phases.run("process tests", lambda: run_process_tests(arguments, totals))
    if not arguments.only:
        with open(os.path.join(cache_folder(), "cases.jsonl"), "w") as file:
            file.writelines(json.dumps(case) + "\n" for case in totals.cases)
    return finish(totals, phases)


def finish(totals, phases):
    sys.stderr.flush()
    print(f"\nTime: {phases.summary()}")
    for name in totals.bad:
        print(f"FAILED: {name}")
    if totals.passed + totals.failed == 0:
        print("No test ran.")
    print(f"{totals.passed} passed, {totals.failed} failed" + (f", {totals.skipped} skipped" if totals.skipped else ""), flush=True)
    return 0 if totals.failed == 0 and totals.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
