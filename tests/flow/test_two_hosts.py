"""``HOSTS=a:1,b:1`` on one machine, whose other name horovodrun reaches by a program ``ssh`` that does as sshd does."""

import importlib.util
import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The command runs in a login's environment, in its home folder; of this process's environment nothing is there.
SSH = """#!/bin/bash
while [[ $1 == -* ]]; do
    case $1 in -o) shift 2 ;; *) shift ;; esac
done
host=$1
shift
while [[ $1 == -* ]]; do shift 2; done
echo "$host" >>{calls}
cd / && exec env -i HOME=/nonexistent PATH=/usr/bin:/bin SHELL=/bin/sh /bin/sh -c "$*"
"""


def test_a_trial_on_two_hosts(in_projects_environment, tmp_path):
    if importlib.util.find_spec("horovod") is None:
        pytest.skip("Horovod is not installed (the extra `distributed`), and the recipe would build it")
    programs, calls = tmp_path / "programs", tmp_path / "calls"
    programs.mkdir()
    (programs / "ssh").write_text(SSH.format(calls=shlex.quote(str(calls))))
    (programs / "ssh").chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if name not in ("RANKS", "CUDA_VISIBLE_DEVICES")}
    settings = {"HOSTS": "localhost:1,127.0.0.2:1", "HOROVODRUN": "--network-interfaces lo", "SMOKE_DIR": str(tmp_path)}
    done = subprocess.run(
        ["recipes/mobilefacenet/10_softmax.sh", "--smoke", "--frequent", "1"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        env={**clean, **settings, "GPUS": "", "MAX_STEPS": "2", "PATH": f"{programs}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " horovodrun -np 2 -H localhost:1,127.0.0.2:1 --network-interfaces lo insight train-softmax " in done.stdout
    assert set(calls.read_text().split()) == {"127.0.0.2"}
    model = tmp_path / "smoke/mobilefacenet/softmax/model"
    rows = [json.loads(line) for line in Path(f"{model}-log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == [1, 2]
    assert Path(f"{model}-finished.txt").read_text() == "1\n"
