#!/usr/bin/env bash
# Checks everything: shell scripts, lint, formatting, tests. Makes .venv first, from nothing.
#
#   tests/run.sh [pytest's arguments]
#   tests/run.sh tests/formats -k idx
#
# INSIGHT_TEST_DATA names a folder with LFW and a reference model; without it the tests that need them are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. recipes/environment.sh
make_environment deploy,test
# pnnx without PyTorch, which the part of it that is tested does not use
python -m pip install -qq --disable-pip-version-check --no-input --no-deps "pnnx>=20261020"

shopt -s globstar nullglob
shellcheck -x .ci/run ./**/*.sh
ruff check --quiet .
ruff format --check --quiet .
exec python -m pytest "$@"
