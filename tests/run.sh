#!/usr/bin/env bash
# Checks everything: shell scripts, lint, formatting, tests. Makes .venv first, from nothing.
#
#   tests/run.sh                          all tests, a worker a core
#   tests/run.sh tests/formats -k idx     pytest's arguments: in one process, as --pdb and -x want it
#
# INSIGHT_TEST_DATA names a folder with LFW and a reference model; without it the tests that need them are skipped.
# INSIGHT_TEST_RANKS=yes builds Horovod (once; takes minutes) and runs the tests of several processes too; where it cannot
# be built, this is said, and they are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. recipes/environment.sh
if [ -n "${INSIGHT_TEST_RANKS:-}" ]; then
    make_environment deploy,detect,plots,test,distributed || echo "nothing of several processes is tested" >&2
fi
make_environment deploy,detect,ncnn,plots,test # all that recipes ask for: tests run them, and nothing is installed meanwhile

shopt -s globstar nullglob
shellcheck -x .ci/run ./**/*.sh
ruff check --quiet .
ruff format --check --quiet .
(($# == 0)) || exec python -m pytest "$@"

# Most tests keep one core busy. So each core gets a worker, four at most and 3 GB for each, and the threads are shared
# out: MXNet's threads wait for each other, and lose far more than they gain where two processes want the same cores.
cores=$(python -c 'from insight.machine.cores import physical_cores; print(physical_cores())')
workers=$(awk -v cores="$cores" '/^MemAvailable:/ { room = int($2 / 3000000) } END {
    n = cores < 4 ? cores : 4; n = n < room ? n : room; print n < 1 ? 1 : n }' /proc/meminfo 2>/dev/null || echo 1)
((workers > 1)) || exec python -m pytest
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores / workers))}
# A file's tests stay together: they share what they made.
exec python -m pytest -n "$workers" --dist loadfile
