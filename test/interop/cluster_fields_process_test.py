#!/usr/bin/env python3
"""Every field of a cluster is acted on, reported as without effect, or refused by its path; tables in cluster_fields.py."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

import cluster_fields
from bench import Script, parallel
from harness import check


def fields(script):
    if not script.outrider:
        return
    folder = script.folder("fields")

    def validate(number, more):
        made = harness.cluster("c", 8080)
        made.update(more)
        path = os.path.join(folder, "%d.json" % number)
        with open(path, "w") as out:
            json.dump({"static_resources": {"clusters": [made]}}, out)
        done = subprocess.run([script.options.binary, "--mode", "validate", "-c", path, "-l", "warning"], timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def named(path, text):
        """The field's own path stands in the text; * is the key of an extension."""
        parts = ["static_resources.clusters[0]." + p if i == 0 else p for i, p in enumerate(path.split(".*."))]
        return re.search(r"\S+".join(re.escape(p) for p in parts), text) is not None

    def table(title, rows, verdict):
        def story():
            wrong = []
            results = []
            for start in range(0, len(rows), 4):
                part = list(rows.items())[start:start + 4]
                results += zip([p for p, _ in part], parallel([lambda n=start + i, m=m: validate(n, m) for i, (_, m) in enumerate(part)]))
            for path, result in results:
                code, said = result
                got = "refused" if code else "reported" if "is set but has no effect" in said else "acted on"
                if got != verdict or (got != "acted on" and not named(path, said)):
                    wrong.append("%s is %s: %s" % (path, got, said.strip()[-160:]))
            check(not wrong, "; ".join(wrong))
        script.tally.run(title % len(rows), story)
    table("%d fields of a cluster are acted on", cluster_fields.ACTED_ON, "acted on")
    table("%d fields of a cluster are reported as without effect", cluster_fields.REPORTED, "reported")
    table("%d fields of a cluster are refused by name", cluster_fields.REFUSED, "refused")


def main():
    return Script("fields of clusters", __doc__).run(fields=fields)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
