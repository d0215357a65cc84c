"""Verification of a whole set with fake networks whose embeddings are known."""

import os
import pickle

import cv2
import numpy as np
import pytest

from insight.errors import InsightError
from insight.formats import evalbin
from insight.verify import verification


def png(value: int, other: int = 0) -> bytes:
    """A 4x4 image, grey ``value`` in its left half and ``other`` in its right."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, :2], pixels[:, 2:] = value, other
    return cv2.imencode(".png", pixels)[1].tobytes()


def halves(images):
    """A network whose embedding is the mean of each half, times 2."""
    images = images.astype(np.float32)
    return np.stack([images[..., :2].mean((1, 2, 3)), images[..., 2:].mean((1, 2, 3))], 1) * 2


@pytest.fixture
def bin_path(tmp_path):
    path = tmp_path / "val.bin"
    images = [png(10, 10), png(20, 20), png(10, 10), png(30, 0)]
    evalbin.write_bin(path, images, np.array([True, False]))
    return path


def test_shared_images_are_embedded_once_and_flips_are_summed(bin_path):
    seen = []

    def embed(images):
        seen.append(len(images))
        return halves(images)

    eval_set = verification.load_set(bin_path)
    assert len(eval_set.source) == 3
    assert (eval_set.path, eval_set.source.short_name(2)) == (str(bin_path), "image 3")
    result = verification.verify(embed, eval_set, (4, 4), batch_size=2)
    assert seen == [2, 2, 1, 1]  # image and mirror image of two batches
    # raw lengths: (20, 20), (40, 40), (20, 20), (60, 0); mirrored the same lengths; images count once per use
    lengths = [np.hypot(20, 20), np.hypot(40, 40), np.hypot(20, 20), 60]
    assert result.xnorm == pytest.approx(np.mean(lengths), rel=1e-6)
    # sums with the mirror image are all parallel to (1, 1): every distance is 0; each of the two folds
    # learns its threshold from the one pair of the other kind, and is wrong
    assert result.folds.accuracy == 0.0
    assert result.pairs == 2


def test_targets_are_named_with_or_without_suffix(bin_path):
    sets, missing, unusable = verification.find_sets(bin_path.parent, ["val.bin", "other", "other.bin"])
    assert ([each.name for each in sets], missing, unusable) == (["val"], ["other", "other.bin"], [])
    assert len(verification.find_sets(bin_path.parent, ["val"])[0]) == 1


@pytest.mark.parametrize("issame, message", [([True, True], "all 2 pairs are same"), ([True], "4 images for 1 pairs")])
def test_sets_that_cannot_be_scored(tmp_path, issame, message):
    path = tmp_path / "bad.bin"
    evalbin.write_bin(path, [png(i) for i in range(4)], np.array([True, False]))
    good = evalbin.read_bin(path)
    path.write_bytes(pickle.dumps((list(map(bytes, good.images)), issame), protocol=2))
    with pytest.raises(InsightError, match=message):
        verification.load_set(path)


def test_undecodable_image_is_named(tmp_path):
    path = tmp_path / "val.bin"
    evalbin.write_bin(path, [png(1), b"junk", png(2), png(3)], np.array([True, False]))
    with pytest.raises(InsightError, match=r"val\.bin: image 1: not a readable image"):
        verification.verify(halves, verification.load_set(path), (4, 4))


def test_a_broken_network_is_an_error(bin_path):
    def broken(images):
        return np.where(images[:, :1, 0, 0] == 30, np.nan, halves(images))

    with pytest.raises(
        InsightError, match=r"val\.bin: image 3: its embedding contains NaN or infinity, as do 0 others of 3"
    ):
        verification.verify(broken, verification.load_set(bin_path), (4, 4))


@pytest.fixture
def faces(tmp_path):
    """Two people, and rows that pair their images."""
    for name, image in (("ann/1.png", png(9, 8)), ("ann/2.png", png(9, 7)), ("bob/1.png", png(1, 9))):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return tmp_path / "faces"


ROWS = [("ann/1.png", "ann/2.png", True), ("ann/2.png", "bob/1.png", False), ("./ann/1.png", "bob/1.png", False)]


def test_a_list_of_pairs_over_a_folder(faces):
    pairs = verification.pair_set(ROWS, faces, "lists/some.csv")
    assert pairs.name == "some"
    assert list(pairs.source.keys) == ["ann/1.png", "ann/2.png", "bob/1.png"]
    assert (pairs.path, pairs.source.short_name(2)) == ("lists/some.csv", "bob/1.png")
    assert pairs.pairs.tolist() == [[0, 1], [1, 2], [0, 2]]
    result = verification.verify(halves, pairs, (4, 4), folds=3)
    assert (result.pairs, result.images) == (3, 3)
    assert result.identities.tolist() == [[0, 0], [0, 1], [0, 1]]


def test_folders_that_contradict_the_pairs_are_not_identities(faces):
    rows = [("ann/1.png", "ann/2.png", False), ("ann/1.png", "bob/1.png", True)]
    assert verification.verify(halves, verification.pair_set(rows, faces, "x"), (4, 4)).identities is None


def test_a_bin_has_no_identities(bin_path):
    assert verification.verify(halves, verification.load_set(bin_path), (4, 4)).identities is None


def test_missing_images_of_a_list_are_an_error_before_any_embedding(faces):
    os.unlink(faces / "ann/2.png")
    with pytest.raises(
        InsightError, match=r"some\.csv: 1 of 3 images are missing, the first is .*faces/ann/2\.png; give"
    ):
        verification.pair_set(ROWS, faces, "some.csv")
    with pytest.raises(InsightError, match=r"some\.csv: all 1 pairs are same"):
        verification.pair_set(ROWS[:1], faces, "some.csv")


def test_an_odd_number_of_images_is_an_error(tmp_path):
    path = tmp_path / "odd.bin"
    path.write_bytes(pickle.dumps(([png(1), png(2), png(3)], [True]), protocol=2))
    with pytest.raises(InsightError, match=r"odd\.bin: 3 images for 1 pairs"):
        verification.load_set(path)
