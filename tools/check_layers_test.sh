#!/usr/bin/env bash
# Runs the check over the whole checkout, which is more than a test's declared inputs: the script's real place shows where that is.
set -euo pipefail
script=$(readlink -f "$TEST_SRCDIR/$TEST_WORKSPACE/tools/check_layers.py")
checkout=$(dirname "$(dirname "$script")")
[ -f "$checkout/WORKSPACE" ] || { echo "no checkout at $checkout" >&2; exit 1; }
python3 "$script" "$checkout"
