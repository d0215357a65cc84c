"""Timing two checkouts: made-up ones whose step of the head is a pause."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/as_fast.py"
HEAD = """
    import time

    def made_up(args):
        assert args.classes == 10000
        return None, None, None

    def our_step(weight):
        return lambda embedding, label: time.sleep({seconds}), weight
"""


@pytest.fixture
def checkout(tmp_path):
    def make(name: str, seconds: float) -> str:
        folder = tmp_path / name
        for path, text in (
            ("insight/__init__.py", ""),
            ("insight/_mxnet.py", "def keep_freed_memory(): pass"),
            ("benchmarks/head.py", dedent(HEAD).format(seconds=seconds)),
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return str(folder)

    return make


def run(*words):
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_twice_as_slow_and_twice_as_fast(checkout):
    slow, fast = checkout("slow", 0.04), checkout("fast", 0.02)
    words = ("--only", "head-10000", "--rounds", "1", "--bound", "20")
    status, text = run(fast, slow, *words)
    assert status == 1
    assert 1.5 < float(re.search(r"head-10000 +([\d.]+) ", text)[1]) < 2.5
    assert run(slow, fast, *words)[0] == 0


def test_failures_name_the_checkout(checkout, tmp_path):
    broken = checkout("broken", 0)
    (Path(broken) / "benchmarks/head.py").write_text("raise SystemExit('no step')")
    status, text = run(broken, broken, "--only", "head-10000")
    assert status == 1
    assert f"error: {broken}: --measure head-10000" in text and "no step" in text
    status, text = run(broken, broken, "--only", "hat")
    assert status == 2 and "--only hat: must be some of y1,r50," in text
