#!/usr/bin/env python3
"""The same bootstrap and the same traffic given to Envoy and to Outrider (--defaults=envoy): what differs is printed.

The cases are in cases/, what is compared of each is said in cases/engine.py; the differences that are meant are in
docs/differences.md.
"""
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack")
from cases import basics, clients, engine

GROUPS = (basics, clients)


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


def main():
    chosen = harness.options(__doc__, only=(str, None, "run exchanges whose group or name holds this text"))
    harness.bound(300)
    tally = harness.Tally("envoy_compare")
    for cases in GROUPS:
        cases.fill()
    if not chosen.envoy or not chosen.outrider or not os.access(chosen.envoy, os.X_OK):
        tally.skip("%d comparisons" % len(engine.EXCHANGES), "no envoy" if chosen.outrider else "no outrider")
        return tally.close()
    folder = harness.work_folder(chosen.keep)
    sides = [engine.Side("envoy", chosen.envoy, folder), engine.Side("outrider", chosen.outrider, folder)]
    meant = 0
    for group, name, play, differs in engine.EXCHANGES:
        if chosen.only and chosen.only not in group + ": " + name:
            continue
        meant += bool(set(differs) - {"rotation"})

        def story():
            results = [None, None]

            def one(i):
                try:
                    results[i] = engine.normalized(play(sides[i]), differs)
                except Exception as error:                       # shown as a difference, whichever side it is
                    results[i] = ["%s: %s" % (type(error).__name__, error)]
            other = threading.Thread(target=one, args=(1,))
            other.start()
            one(0)
            other.join()
            gone, new = difference(results)
            if gone or new:
                print("differs: %s: %s%s" % (group, name, "".join("\n   envoy    %s" % l[:900] for l in gone) +
                                             "".join("\n   outrider %s" % l[:900] for l in new)))
                raise harness.Failure("%d lines differ" % max(len(gone), len(new)))
        tally.run("%s: %s" % (group, name), story)
        for side in sides:
            if not side.proxy.alive():
                tally.result("%s lives" % side.kind, side.proxy.said()[-1000:])
                return tally.close()
    print("%d exchanges with a difference that is meant (docs/differences.md)" % meant)
    return tally.close()


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
