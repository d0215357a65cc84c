"""Embeddings that a command keeps: made once, reused for the same model, images and options only."""

import os

import numpy as np
import pytest
from made_faces import encode, face

from insight.errors import InsightError
from insight.faces.embed import load
from insight.faces.kept import embed_once, kept_name
from insight.faces.listed import ListedSource

NAMES = ["a/1.png", "a/2.png", "b/1.png"]


class Pixels:
    """A network: the mean of each row of the image's left half."""

    image_size, batch_size = (8, 6), 2
    calls = 0

    def __call__(self, images):
        self.calls += 1
        return images[:, :, :, :3].mean((1, 3)).astype(np.float32) + 1

    def describe(self):
        return "pixels"


@pytest.fixture
def work(tmp_path):
    for number, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(face(number, 8, 6), ".png"))
    (tmp_path / "model").write_bytes(b"weights")
    return tmp_path


def once(work, network, flip="both", names=NAMES, path="e.npz"):
    return embed_once(work / path, network, ListedSource(work, names), flip, [work / "model"], "--embeddings")


def test_embedded_once(work):
    network = Pixels()
    assert once(work, network)
    calls, data = network.calls, (work / "e.npz").read_bytes()
    assert not once(work, network)
    assert not once(work, network, "none")  # those of the images themselves are there, too
    assert (network.calls, (work / "e.npz").read_bytes()) == (calls, data)
    kept = load(work / "e.npz", mirrored=True)
    assert kept.keys.tolist() == NAMES and kept.about["model"] == ["model"]
    assert (kept.embeddings != kept.mirrored).any()
    assert load(work / "e.npz").mirrored is None
    once(work, network, "none", path="n.npz")
    assert load(work / "n.npz", mirrored=True).mirrored is None


@pytest.mark.parametrize(
    ("change", "other"),
    [
        (lambda work: (work / "model").write_bytes(b"others"), "another model"),
        (lambda work: (work / "a/2.png").write_bytes(b"x" + (work / "a/2.png").read_bytes()), "other images"),
        (lambda work: os.utime(work / "a/2.png", (5, 5)), "other images, or images that have changed"),
        (lambda work: setattr(Pixels, "describe", lambda self: "new"), "engine pixels, not new"),
        (lambda work: setattr(Pixels, "batch_size", 3), None),
    ],
)
def test_of_something_else(work, monkeypatch, change, other):
    for name in ("describe", "batch_size"):
        monkeypatch.setattr(Pixels, name, getattr(Pixels, name))
    once(work, Pixels())
    data = (work / "e.npz").read_bytes()
    change(work)
    if other is None:
        assert not once(work, Pixels())
    else:
        with pytest.raises(InsightError, match=f"e.npz: has embeddings of {other}.*; give --embeddings with another"):
            once(work, Pixels())
    assert (work / "e.npz").read_bytes() == data
    with pytest.raises(InsightError, match="has embeddings of"):
        once(work, Pixels(), names=NAMES[::-1])


def test_mirrored_of_another_shape(work):
    arrays = {"keys": np.array(NAMES), "labels": np.zeros(3, int), "embeddings": np.ones((3, 4), "f")}
    np.savez(work / "e.npz", mirrored=np.ones((2, 4), "f"), **arrays)
    with pytest.raises(InsightError, match=r"e\.npz: mirrored is \(2, 4\), want \(3, 4\)"):
        load(work / "e.npz", mirrored=True)
    load(work / "e.npz")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("models/y1/model,0", "IJBC-y1-model-0"),
        ("./model,12", "IJBC-model-12"),
        ("/home/x/a b/é.onnx", "IJBC-a-b-é.onnx"),
        ("../y1.onnx", "IJBC-y1.onnx"),
    ],
)
def test_names(spec, name):
    assert kept_name("IJBC", spec) == name
