"""Identity folders of made-up faces, small and odd ones among them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from made_faces import encode, face

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "import sys; from insight.cli import main; sys.exit(main())"


@pytest.fixture
def people(tmp_path):
    """Build ``faces/<name>/<i>.jpg`` from counts: ``people({'ann': 3, 'bob': 2})``; returns the folder."""

    def build(counts: dict, folder: str = "faces") -> Path:
        number = 0
        for name, count in counts.items():
            (tmp_path / folder / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / folder / name / f"{i}.jpg").write_bytes(encode(face(number)))
                number += 1
        return tmp_path / folder

    return build


@pytest.fixture
def insight(tmp_path):
    """Run a command in a process of its own, in ``tmp_path``; returns (status, stdout, stderr)."""

    def run(*arguments, **options):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            **options,
        )
        return done.returncode, done.stdout, done.stderr

    return run
