"""`insight ijb`: figures against a plain implementation, kept embeddings, and errors."""

import functools
import itertools
import json
import shutil
import tarfile

import cv2
import numpy as np
import pytest
from ijb_layout import write_ijb
from made_faces import face
from plain_ijb import plain_figures
from small_networks import S, filled

from insight import checkpoint, engines
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.errors import InsightError
from insight.faces import kept
from insight.faces.embed import load
from insight.faces.listed import PhotoSource


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """A small network for 112x112 faces."""
    pixels = (S.Variable("data", shape=(0, 3, 112, 112)) - 127.5) / 128
    pooled = S.Pooling(pixels, kernel=(28, 28), stride=(28, 28), pool_type="avg")
    small = Checkpoint(*filled(S.FullyConnected(pooled, num_hidden=6, name="fc1")))
    prefix = str(tmp_path_factory.mktemp("m") / "net/small")
    checkpoint.save(prefix, 1, small)
    return prefix


def people(count, images=5):
    """Faces of made-up people: a picture each, under the noise of the image."""
    for person in range(count):
        rng = np.random.default_rng(person)
        noise = [cv2.resize(rng.normal(0, 90, (6, 6, 3)), (112, 112)) for _ in range(images)]
        yield [np.clip(face(person) + one, 0, 255).astype(np.uint8) for one in noise]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """IJB-C and IJB-B in small, of different people."""
    folder = tmp_path_factory.mktemp("ijb")
    write_ijb(folder / "IJBC", list(people(12)), "IJBC")
    write_ijb(folder / "IJBB", list(people(9, 4)), "IJBB", seed=1)
    return folder


def ijb(root, target, *arguments, images=True):
    photos = ["--images", root / "loose_crop"] if images else []
    return run_command("ijb", [str(a) for a in ("--meta", root / "meta", "--target", target, *photos, *arguments)])


def figures(path):
    return {(f["part"], f["name"], f["at"]): f["value"] for f in json.loads(path.read_text())["figures"]}


def same(found, want):
    assert found.keys() == want.keys()
    assert [found[key] for key in want] == pytest.approx(list(want.values()), abs=1e-6)


@pytest.mark.parametrize("target", ["IJBC", "IJBB"])
def test_all_figures_equal_a_plain_implementation(prefix, sets, tmp_path, capsys, target):
    """With every setting of the switches; only the first run embeds."""
    engine = engines.load(f"{prefix},1", engine="mxnet")
    model = ["--model", f"{prefix},1", "--engine", "mxnet", "--embeddings", tmp_path / "e.npz"]
    various = set()
    for flip, score, norm in itertools.product([True, False], repeat=3):
        more = ["--flip", "sum" if flip else "none"]
        more += ["--no-detector-score"] * (not score) + ["--no-feature-norm"] * (not norm)
        run_model = model if flip and score and norm else model[-2:]
        assert (
            ijb(sets / target, target, *run_model, *more, "--json", tmp_path / "f.json", images=len(run_model) > 2) == 0
        )
        want = plain_figures(sets / target, target, engine, flip, score, norm)
        same(figures(tmp_path / "f.json"), want)
        various.add(tuple(want.values()))
    assert len(various) == 8  # each switch has an effect
    first = want["1:1", "TAR@FAR", 0.1], want["1:N, galleries joined", "rank", 1]
    assert all(0.1 < value < 1 for value in first)
    out = capsys.readouterr().out
    written = json.loads((tmp_path / "f.json").read_text())
    assert written["protocol"] == target[:3] + "-" + target[3:]
    assert written["settings"] == {"flip": False, "detector_score": False, "feature_norm": False}
    assert written["models"][0]["model"] == ["small-symbol.json", "small-0001.params"]
    last = out.splitlines()[-2:]
    value = want["1:N, both galleries", "TPIR@FPIR", 0.1]
    assert last[1] == f"  TPIR@FPIR 0.1: {value:.5f}"


def test_one_protocol_needs_only_its_lists(prefix, sets, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "IJBC"
    shutil.copytree(sets / "IJBC", root)
    for name in ("1N_gallery_G1.csv", "1N_gallery_G2.csv", "1N_probe_mixed.csv"):
        (root / f"meta/ijbc_{name}").unlink()
    model = ["--model", f"{prefix},1", "--engine", "mxnet"]
    assert ijb(root, "IJBC", *model) == 2
    assert capsys.readouterr().err.endswith("no such file; give --protocol 1:1 if the set has no such list\n")
    assert ijb(root, "IJBC", *model, "--protocol", "1:1", "--json", "one.json") == 0
    assert "IJBC-net-small-1.npz: 60 images; " in capsys.readouterr().out  # the name if none is given
    assert {part for part, *_ in figures(tmp_path / "one.json")} == {"1:1"}
    shutil.copy(sets / "IJBC/meta/ijbc_1N_probe_mixed.csv", root / "meta")
    for name in ("G1", "G2"):
        shutil.copy(sets / f"IJBC/meta/ijbc_1N_gallery_{name}.csv", root / "meta")
    (root / "meta/ijbc_template_pair_label.txt").unlink()
    assert ijb(root, "IJBC", *model, "--protocol", "1:N", "--json", "many.json") == 0
    assert "embedded earlier by" in capsys.readouterr().out
    assert "1:1" not in {part for part, *_ in figures(tmp_path / "many.json")}


def test_a_killed_run_resumes(prefix, sets, tmp_path, monkeypatch, capsys):
    """Embeddings of a run that was stopped in the middle and resumed have the same bytes."""
    model = ["--model", f"{prefix},1", "--engine", "mxnet"]
    assert ijb(sets / "IJBB", "IJBB", *model, "--embeddings", tmp_path / "whole.npz") == 0
    decode = PhotoSource.pixels

    def failing(self, i, size):
        if i >= 20:
            raise InsightError("stopped")
        return decode(self, i, size)

    monkeypatch.setattr(PhotoSource, "pixels", failing)
    monkeypatch.setattr(kept, "embed_to", functools.partial(kept.embed_to, part_seconds=0.0))
    assert ijb(sets / "IJBB", "IJBB", *model, "--embeddings", tmp_path / "e.npz") == 2
    assert not (tmp_path / "e.npz").exists()
    monkeypatch.setattr(PhotoSource, "pixels", decode)
    capsys.readouterr()
    assert ijb(sets / "IJBB", "IJBB", *model, "--embeddings", tmp_path / "e.npz") == 0
    assert "resuming after 16 of 36 images" in capsys.readouterr().err
    assert (tmp_path / "e.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert load(tmp_path / "e.npz", mirrored=True).mirrored.shape == (36, 6)


class TestErrors:
    """One line, status 2, nothing written."""

    @pytest.fixture
    def broken(self, sets, tmp_path):
        """A copy of the set to damage."""
        shutil.copytree(sets / "IJBC", tmp_path / "IJBC")
        return tmp_path / "IJBC"

    def line(self, root, capsys, *arguments, images=True):
        before = sorted(root.parent.rglob("*"))
        images &= bool(arguments)
        arguments = arguments or ("--embeddings", root.parent / "e.npz")
        assert ijb(root, "IJBC", *arguments, images=images) == 2
        assert sorted(root.parent.rglob("*")) == before
        (line,) = capsys.readouterr().err.splitlines()
        return line

    @pytest.mark.parametrize(
        ("name", "old", "new", "message"),
        [
            ("name_5pts_score", "1.png ", "", "name_5pts_score.txt:1: want lines of 12 columns: image, x and y"),
            ("name_5pts_score", "3.png", "3.png 7", "name_5pts_score.txt:3: want lines of 12 columns"),
            ("face_tid_mid", "3.png 8 3", "3.png 8", "face_tid_mid.txt:3: want lines 'image template medium', whole"),
            ("face_tid_mid", "60.png 118 48\n", "", "face_tid_mid.txt: 59 images, but 60 in"),
            ("face_tid_mid", "2.png", "77.png", "face_tid_mid.txt:2: image 77.png, but 2.png is in that place of"),
            ("face_tid_mid", "1.png 3 ", "1.png 4 ", "pair_label.txt: template 3 has no image in"),
            ("template_pair_label", "3 7 1", "3 7", "pair_label.txt:1: want lines 'template template same', whole"),
            ("template_pair_label", "3 7 1", "3 9 1", "pair_label.txt: template 9 has no image in"),
            ("1N_probe_mixed", "7,500", "x,500", "probe_mixed.csv:2: want lines 'template,subject'"),
            ("1N_probe_mixed", "7,500", "7,501", "probe_mixed.csv: template 7 has the subjects 500 and 501; want one"),
            ("1N_probe_mixed", "8,500", "9,500", "probe_mixed.csv: template 9 has no image in"),
            ("1N_gallery_G1", "13,501", "13,500", "gallery_G1.csv: subject 500 has 2 templates; want one each"),
            ("1N_gallery_G2", "63,506", "63,500", "gallery_G2.csv: subject 500 has 2 templates; want one each"),
        ],
    )
    def test_of_lists(self, broken, capsys, name, old, new, message):
        path = next(file for file in (broken / "meta").iterdir() if file.stem == f"ijbc_{name}")
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        assert message in self.line(broken, capsys)

    @pytest.mark.parametrize("name", ["face_tid_mid", "name_5pts_score", "template_pair_label"])
    def test_missing_and_empty_lists(self, broken, capsys, name):
        path = broken / f"meta/ijbc_{name}.txt"
        path.write_text("\n")
        assert f"{path}: empty; want lines" in self.line(broken, capsys)
        path.unlink()
        assert f"{path}: no such file; " in self.line(broken, capsys)

    def test_points_that_coincide(self, broken, capsys):
        path = broken / "meta/ijbc_name_5pts_score.txt"
        lines = path.read_text().splitlines()
        lines[4] = "5.png" + " 50 60" * 5 + " 0.9"
        path.write_text("\n".join(lines))
        assert f"{path}:5: the points coincide" in self.line(broken, capsys)

    def test_images(self, broken, capsys, prefix):
        model = ("--model", f"{prefix},1", "--embeddings", broken.parent / "e.npz")
        (broken / "loose_crop/9.png").rename(broken / "loose_crop/nine.png")
        line = self.line(broken, capsys, *model)
        assert line.endswith(
            "9.png: no such file; want all images of the list; give the folder in which its paths begin"
        )
        (broken / "loose_crop/9.png").write_bytes(b"GIF87 is not decoded here")
        assert "9.png: " in self.line(broken, capsys, *model)
        (broken / "loose_crop").rename(broken / "crop")
        assert f"{broken}/loose_crop: no such folder" in self.line(broken, capsys, *model)

    def test_options(self, broken, capsys, prefix):
        assert "--images: missing; --model needs it" in self.line(broken, capsys, "--model", "m,0", images=False)
        assert "--model: missing; --images needs it" in self.line(broken, capsys, "--embeddings", broken / "gone.npz")
        assert "--model: missing; give it with --images" in self.line(broken, capsys, "--flip", "none", images=False)
        gone = self.line(broken, capsys, "--embeddings", broken / "gone.npz", images=False)
        assert "gone.npz: no such file; give --model and --images to write it" in gone
        (broken / "meta").rename(broken / "lists")
        assert f"--meta {broken}/meta: no such folder; want the one with ijbc_face_tid_mid.txt" in self.line(
            broken, capsys
        )

    def test_embeddings_of_something_else(self, broken, capsys, prefix, sets):
        output = broken.parent / "e.npz"
        model = ("--model", f"{prefix},1", "--engine", "mxnet", "--embeddings", output)
        assert ijb(broken, "IJBC", *model, "--flip", "none") == 0
        line = self.line(broken, capsys, *model)
        assert f"{output}: has no embeddings of mirror images; give --flip none, or another name" in line
        assert ijb(sets / "IJBB", "IJBB", "--embeddings", output, "--flip", "none", images=False) == 2
        assert "embeddings of 60 images, which are not the 36 of the lists" in capsys.readouterr().err
        other = checkpoint.load(prefix, 1)
        other.arg_params["fc1_bias"][:] = 1
        checkpoint.save(f"{broken.parent}/other", 1, other)
        line = self.line(broken, capsys, "--model", f"{broken.parent}/other,1", *model[2:], "--flip", "none")
        assert f"{output}: has embeddings of another model; give --embeddings with another name" in line
        with np.load(output) as stored:
            arrays = dict(stored)
        arrays["embeddings"][3] = np.nan
        np.savez(output, **arrays)
        line = self.line(broken, capsys, "--embeddings", output, "--flip", "none", images=False)
        assert f"{output}: embedding 3 (from 0) is zero or not finite" in line


def test_real_faces(model_y1, real_data, tmp_path):
    """LFW's people with five or more images, and InsightFace's network."""
    faces = {}
    with tarfile.open(real_data / "data/lfw_dev.tar") as archive:
        for member in archive:
            person = faces.setdefault(member.name.split("/")[1], [])
            if member.isfile() and len(person) < 5:
                data = archive.extractfile(member).read()
                person.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    root = write_ijb(tmp_path / "IJBC", [person for person in faces.values() if len(person) == 5][:24])
    spec = "{},{}".format(*model_y1)
    arguments = ["--model", spec, "--engine", "mxnet", "--embeddings", tmp_path / "e.npz"]
    assert ijb(root, "IJBC", *arguments, "--json", tmp_path / "f.json") == 0
    want = plain_figures(root, "IJBC", engines.load(spec, engine="mxnet"))
    same(figures(tmp_path / "f.json"), want)
    assert want["1:1", "TAR@FAR", 1e-3] > 0.9  # faces are aligned as the network expects
