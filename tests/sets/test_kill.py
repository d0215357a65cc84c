"""SIGKILL at random moments of face2rec. INSIGHT_KILLS sets the number; 3 without it."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from interrupts import default_sigint
from made_faces import encode, face

from insight.errors import InsightError
from insight.formats.faceset import FaceSet
from insight.sets.pack import pack

KILLS = int(os.environ.get("INSIGHT_KILLS", "3"))
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "import sys; from insight.cli import main; sys.exit(main())", "face2rec"]
FILES = ("train.rec", "train.idx", "property")


def start(tmp_path, *options):
    command = [*COMMAND, "all.lst", "--output", "set", *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, preexec_fn=default_sigint, **quiet
    )


@pytest.fixture
def listed(tmp_path):
    """A list of 1500 lines: files that are copied, and some that are converted."""
    for i in range(30):
        (tmp_path / f"{i}.jpg").write_bytes(encode(face(i, *((112, 112) if i % 10 else (200, 200)))))
    (tmp_path / "all.lst").write_text("".join(f"1\t{i % 30}.jpg\t{i // 10}\n" for i in range(1500)))
    return tmp_path


@pytest.mark.parametrize("over", [False, True], ids=["fresh", "over an old set"])
def test_a_killed_run_leaves_a_complete_set_or_none(listed, over):
    folder = listed / "set"
    pack(str(listed / "all.lst"), str(listed / "reference"))
    reference = {name: (listed / "reference" / name).read_bytes() for name in FILES}
    begin = time.monotonic()
    assert start(listed, "--overwrite").wait() == 0
    whole = time.monotonic() - begin
    rng = random.Random(0)
    killed = 0
    while killed < KILLS:
        for path in folder.iterdir():
            path.unlink()
        if over:
            pack(str(listed / "all.lst"), str(folder))
        process = start(listed, *(["--overwrite"] if over else []))
        time.sleep(rng.uniform(0.3, 1.1) * whole)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.returncode == 0:  # it was faster than the first
            whole *= 0.9
        killed += process.returncode == -signal.SIGKILL
        existing = {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}
        if "property" in existing:
            assert existing == reference
            assert len(FaceSet.open(str(folder))) == 1500
        else:
            with pytest.raises(InsightError):
                FaceSet.open(str(folder))
        assert start(listed, *(["--overwrite"] if existing.get("property") else [])).wait() == 0
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == reference


def test_interrupted_by_the_user(listed):
    process = start(listed)
    folder = listed / "set"
    for _ in range(1000):
        with suppress(FileNotFoundError):  # does not exist yet, or was renamed meanwhile
            if any(p.stat().st_size for p in folder.iterdir()):
                break
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    status = process.wait()
    assert status in (0, 130)
    assert folder.exists() == (status == 0)
    if status == 0:
        assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
