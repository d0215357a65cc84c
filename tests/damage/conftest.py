"""Damaged faces in all containers, with OpenCV's result for each."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import damaged_images as made
import pytest
from damaged_faces import EACH, PEOPLE, Faces, usable

from insight.formats.recordio import RecordWriter

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "import sys; from insight.cli import main; sys.exit(main())"


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Faces:
    """Every third file is damaged; OpenCV's own decoder gives the result."""
    root = tmp_path_factory.mktemp("faces")
    rng = random.Random(0)
    harms = (made.bit_flipped, made.cut_with_end, made.inserted, made.zeroed, made.marked)
    files = {}
    for number in range(PEOPLE * EACH):
        data = made.jpeg(number, QUALITY=90)
        if number % 3 == 2:
            data = harms[number // 3 % len(harms)](data, rng)
        files[f"{number // EACH}/{number % EACH}.jpg"] = data
    verdicts = made.opencv_says({name.replace("/", "-"): data for name, data in files.items()}, root)
    verdicts = {name.replace("-", "/"): verdict for name, verdict in verdicts.items()}
    damaged = {name: verdict.printed[0] for name, verdict in verdicts.items() if verdict.decodes and verdict.printed}
    refused = {name for name, verdict in verdicts.items() if not verdict.decodes}
    assert len(damaged) >= 8
    for name, data in files.items():
        (root / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "faces" / name).write_bytes(data)
    return Faces(root / "faces", files, damaged, refused)


@pytest.fixture(scope="session")
def record_set(faces, tmp_path_factory) -> Path:
    """All files that decode, the damaged among them, in a plain set: key 0, 1, 2, .. in the order of the names."""
    folder = tmp_path_factory.mktemp("set")
    with RecordWriter(str(folder / "train.rec")) as writer:
        for key, (name, data) in enumerate(usable(faces).items()):
            writer.write(key, data, float(name[0]), key)
    (folder / "property").write_text(f"{PEOPLE},112,112\n")
    return folder


@pytest.fixture
def insight(tmp_path):
    """Run a command in a separate process; (status, stdout, stderr), without lines of decoders."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"},
        )
        for line in (done.stdout + done.stderr).splitlines():
            assert not line.lstrip().startswith(made.DECODER_WORDS), line
        return done.returncode, done.stdout, done.stderr

    return run
