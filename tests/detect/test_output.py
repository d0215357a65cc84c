"""Parts, settings and the lock."""

import os

import pytest

from insight.detect.output import STATE, OutputFolder, Part, part_path, read_part, write_crops, write_part
from insight.errors import InsightError

PART = Part(
    "settings", "inputs", {"Ann/caf\udce9.jpg": "Ann/caf\udce9.png"}, {}, {"photos": 3}, "Ann/caf\udce9.jpg,0\nb,1\n"
)


def test_a_part_comes_back(tmp_path):
    for key in ("Ann", "J\udce9r", "x" * 255, "flat/" + "y/" * 2000):
        assert read_part(str(tmp_path), key) is None
        write_part(str(tmp_path), key, PART)
        assert read_part(str(tmp_path), key) == PART
    assert len({part_path("out", str(i)) for i in range(1000)}) == 1000
    assert len({os.path.dirname(part_path("out", str(i))) for i in range(5000)}) == 256


def test_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("insight.detect.output.PATIENCE", 0.1)
    first = OutputFolder(str(tmp_path / "out"))
    with pytest.raises(InsightError, match="another run is writing into it"):
        OutputFolder(str(tmp_path / "out"))
    first.close()
    assert not (tmp_path / "out").exists()  # nothing was written
    OutputFolder(str(tmp_path / "out")).close()


def test_lock_is_waited_for(tmp_path):
    """By workers of a killed run, which end soon."""
    first = OutputFolder(str(tmp_path))
    child = os.fork()
    if not child:
        import time

        time.sleep(0.3)
        os._exit(0)
    first.close()
    OutputFolder(str(tmp_path)).close()
    os.waitpid(child, 0)


def test_settings(tmp_path):
    folder = OutputFolder(str(tmp_path))
    folder.agree({"--model": "1f", "--multi": "all"}, False)
    folder.agree({"--model": "1f", "--multi": "all"}, False)
    with pytest.raises(InsightError, match="made with --multi all, not skip; give the same again"):
        folder.agree({"--model": "1f", "--multi": "skip"}, False)
    with pytest.raises(InsightError, match="made with another --model;"):
        folder.agree({"--model": "2e", "--multi": "all"}, False)
    folder.agree({"--multi": "skip"}, True)
    with pytest.raises(InsightError, match="made with no --model;"):
        folder.agree({"--model": "2e", "--multi": "skip"}, False)
    (tmp_path / STATE / "settings.json").write_text("{")
    with pytest.raises(InsightError, match="settings.json: is damaged"):
        folder.agree({}, False)
    folder.close()


def test_crops_are_atomic(tmp_path, monkeypatch):
    write_crops(str(tmp_path), {"a.jpg": b"old"})
    monkeypatch.setattr(os, "fsync", lambda descriptor: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_crops(str(tmp_path), {"a.jpg": b"new"})
    assert (tmp_path / "a.jpg").read_bytes() == b"old"
