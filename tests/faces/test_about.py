"""``about`` of an .npz: model and options of its embeddings, and the commands that read it."""

import json

import cv2
import numpy as np
import pytest
from small_networks import S, filled, pixels

from insight import checkpoint
from insight.checkpoint import Checkpoint
from insight.cli import run_command
from insight.faces.embed import load
from insight.faces.parts import digest


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Two networks ``one,0`` and ``other,0`` for 16x16 images, and folders ``gallery`` and ``probes``."""
    folder = tmp_path_factory.mktemp("about")
    for seed, name in enumerate(("one", "other")):
        symbol = S.FullyConnected(pixels(S.Variable("data", shape=(0, 3, 16, 16))), num_hidden=4, name="fc1")
        checkpoint.save(f"{folder}/{name}", 0, Checkpoint(*filled(symbol, seed, size=16)))
    draw = np.random.default_rng(0)
    for part in ("gallery", "probes"):
        for person in "ab":
            (folder / part / person).mkdir(parents=True)
            for i in range(2):
                cv2.imwrite(str(folder / part / person / f"{i}.png"), draw.integers(0, 256, (16, 16, 3), np.uint8))
    for name, model, source, flip in (
        ("gallery", "one", "gallery", "none"),
        ("probes", "one", "probes", "none"),
        ("summed", "one", "probes", "sum"),
        ("others", "other", "probes", "none"),
    ):
        words = ["--model", f"{folder}/{model},0", "--input", f"{folder}/{source}", "--flip", flip]
        assert run_command("embed", [*words, "--output", f"{folder}/{name}.npz"]) == 0
    with np.load(folder / "probes.npz") as arrays:
        np.savez(folder / "silent.npz", **{name: arrays[name] for name in ("embeddings", "keys", "labels")})
    return folder


def test_the_file_records_model_flip_size_and_engine(work):
    with np.load(work / "summed.npz", allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["about", "embeddings", "keys", "labels"]
        about = json.loads(str(arrays["about"]))
    assert about.pop("engine").startswith("OpenVINO ")
    files = [work / "one-symbol.json", work / "one-0000.params"]
    assert about == {
        "model": ["one-symbol.json", "one-0000.params"],
        "model_sha256": digest(files),
        "flip": "sum",
        "image_size": [16, 16],
    }
    assert load(work / "summed.npz").about["flip"] == "sum"
    assert load(work / "silent.npz").about is None


def notes(work, capsys, gallery, probes, *more):
    words = ["--gallery", f"{work}/{gallery}", "--probes", f"{work}/{probes}", *more]
    assert run_command("identification", words) == 0
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]


def test_differences_are_noted(work, capsys):
    assert notes(work, capsys, "gallery.npz", "probes.npz") == []
    assert notes(work, capsys, "gallery.npz", "silent.npz") == []
    assert notes(work, capsys, "gallery.npz", "summed.npz") == [
        f"note: {work}/gallery.npz was embedded with --flip none, {work}/summed.npz with sum"
    ]
    assert notes(work, capsys, "gallery.npz", "others.npz") == [
        f"note: {work}/gallery.npz was embedded by one-symbol.json, one-0000.params, {work}/others.npz by "
        "other-symbol.json, other-0000.params: cosines are meaningful only if both are the same network"
    ]


def test_images_are_embedded_with_the_flip_of_the_other_file(work, tmp_path, capsys):
    model = ["--model", f"{work}/one,0"]
    figures = {}
    for name, gallery, more in (
        ("none", "gallery.npz", []),
        ("none again", "gallery.npz", ["--flip", "none"]),
        ("sum", "gallery.npz", ["--flip", "sum"]),
        ("files", "gallery.npz", None),
    ):
        probes = "probes" if more is not None else "probes.npz"
        words = (
            [*model, *more, "--json", f"{tmp_path}/f.json"] if more is not None else ["--json", f"{tmp_path}/f.json"]
        )
        output = notes(work, capsys, gallery, probes, *words)
        figures[name] = json.loads((tmp_path / "f.json").read_text())
        assert len(output) == (name == "sum")
    assert figures["none"] == figures["none again"] == figures["files"]
    assert notes(work, capsys, "summed.npz", "gallery", *model) == []
    assert notes(work, capsys, "silent.npz", "gallery", *model) == []
    assert len(notes(work, capsys, "gallery.npz", "probes", "--model", f"{work}/other,0")) == 1


def test_sums_are_not_compared_with_single_images(work, tmp_path, capsys):
    words = ["--model", f"{work}/one,0", "--input", f"{work}/probes", "--output", f"{tmp_path}/e.npz"]
    assert run_command("embed", [*words, "--compare", f"{work}/probes.npz"]) == 0
    assert run_command("embed", [*words, "--compare", f"{work}/silent.npz"]) == 0
    capsys.readouterr()
    assert run_command("embed", [*words, "--compare", f"{work}/summed.npz"]) == 2
    assert f"{work}/summed.npz: was embedded with --flip sum, {tmp_path}/e.npz with none; use one of them for both" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("about", ["no json", "[1]", '"text"', "{}", [1, 2]])
def test_an_invalid_about_is_ignored(work, tmp_path, capsys, about):
    with np.load(work / "probes.npz") as stored:
        arrays = {name: stored[name] for name in ("embeddings", "keys", "labels")}
    np.savez(tmp_path / "p.npz", **arrays, about=np.array(about))
    assert not load(tmp_path / "p.npz").about
    words = ["--gallery", f"{work}/gallery.npz", "--probes", f"{tmp_path}/p.npz"]
    assert run_command("identification", words) == 0
