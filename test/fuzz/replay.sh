#!/bin/sh
# usage: replay.sh FUZZ-TARGET FILE...: the fuzz target over its corpus, as a test.
exec "$@"
