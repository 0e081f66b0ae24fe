#!/usr/bin/env python3
"""Instructions of single operations of the data path, counted by callgrind and held beside test/bench/instructions.json.

An operation that takes more than 3 % above its figure fails. One that takes more than 3 % less passes, and the test asks for the new
figure to be written: `test/bench/instructions_process_test.py --update` does so. What the program does before and beside its operations
does not count (//test/bench/micro). The figures are those of the release build with AVX2 kernels: valgrind shows a program the same
processor on every machine that has AVX2, and on others the figures would be those of other code, so the test is skipped there.
"""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FIGURES = os.path.join(HERE, "instructions.json")
SLACK = 0.03
LEAST = 2            # instructions, for operations of a few


def micro_beside(outrider):
    """The program of the same build: bazel-out/k8-opt/bin/{source/server/outrider,test/bench/micro/micro}."""
    return os.path.join(os.path.dirname(os.path.abspath(outrider)), "..", "..", "test", "bench", "micro", "micro")


def why_not():
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    with open("/proc/cpuinfo") as file:
        if not re.search(r"^flags\s*:.*\bavx2\b", file.read(), re.M):
            return "this processor has no AVX2"
    return None


def count(micro, seconds=85):
    """Name of each operation and its instructions, in the program's order."""
    with tempfile.TemporaryDirectory() as folder:
        # glibc and OpenSSL choose their code by the processor. Of what valgrind passes through from the real one, nothing may matter:
        # string copies by one instruction, RDRAND and RDSEED.
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS,-FSRM,-Prefer_ERMS",
                       "OPENSSL_ia32cap": "~0x4000000000000000:~0x40000"}
        done = subprocess.run(["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" + os.path.join(folder, "out"),
                               "--toggle-collect=outriderMeasured", "--dump-after=outriderMeasured", micro, "--count"],
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=seconds)
        if done.returncode:
            raise RuntimeError("micro under valgrind: exit %d: %s" % (done.returncode, done.stderr[-2000:]))
        counted = {}
        for number, line in enumerate(done.stdout.splitlines(), 1):
            name, times = line.split()
            with open(os.path.join(folder, "out.%d" % number)) as file:
                total = int(re.search(r"^totals: (\d+)", file.read(), re.M).group(1))
            counted[name] = round(total / int(times), 1)
        if len(glob.glob(os.path.join(folder, "out.*"))) != len(counted) or not all(counted.values()):
            raise RuntimeError("callgrind saw other operations than the program ran: %s" % counted)
        return counted


def verdict(now, figure):
    """"worse", "better" or "same"."""
    slack = max(figure * SLACK, LEAST)
    return "worse" if now > figure + slack else "better" if now < figure - slack else "same"


def check_itself():
    """The comparison can fail."""
    assert verdict(104, 100) == "worse" and verdict(103, 100) == "same" and verdict(96, 100) == "better"
    assert verdict(5, 4) == "same" and verdict(7, 4) == "worse"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outrider", default=os.path.join(HERE, "..", "..", "bazel-out", "k8-opt", "bin", "source", "server", "outrider"))
    parser.add_argument("--micro", help="the program of //test/bench/micro, if not of the same build as --outrider")
    parser.add_argument("--update", action="store_true", help="write the figures as they are now")
    chosen = parser.parse_args()
    signal.alarm(120)
    check_itself()
    why = why_not()
    if why:
        print("SKIP  instructions of operations: %s" % why)
        print("0 passed, 0 failed, 1 skipped")
        return 0
    micro = chosen.micro or micro_beside(chosen.outrider)
    if not os.access(micro, os.X_OK):
        print("FAIL  there is no %s: bazel build -c opt //test/bench/micro" % os.path.normpath(micro))
        print("0 passed, 1 failed")
        return 1
    now = count(micro)
    if chosen.update:
        with open(FIGURES, "w") as file:
            json.dump(now, file, indent=1)
            file.write("\n")
        print("wrote %d figures" % len(now))
        return 0
    with open(FIGURES) as file:
        figures = json.load(file)
    failed = better = 0
    for name in [*now, *(name for name in figures if name not in now)]:
        if name not in figures or name not in now:
            said, bad = "is not in instructions.json: --update" if name in now else "is in instructions.json, and no operation any more", True
        else:
            found = verdict(now[name], figures[name])
            said = "%10.1f instructions, figure %10.1f (%+.1f %%)" % (now[name], figures[name], (now[name] / figures[name] - 1) * 100)
            bad = found == "worse"
            better += found == "better"
        failed += bad
        print("%s  %-20s %s" % ("FAIL" if bad else "PASS", name, said))
    if better:
        print("%d operations have become cheaper: write their figures with --update, so that it stays so" % better)
    print("%d passed, %d failed" % (len({*now, *figures}) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
