"""Each augmentation against a slow reference, and how often it happens."""

import hashlib
import io
import itertools

import cv2
import numpy as np
import pytest
from PIL import Image

from insight.errors import InsightError
from insight.feed.augment import Augmentation, Change, write_planes

GREY = np.array([0.299, 0.587, 0.114])
ALL = Augmentation(mirror=True, color=2, cutoff=5)
NONE = Augmentation(mirror=False)
SIZE = (12, 8)


@pytest.fixture(scope="module")
def face():
    """(112, 96, 3) uint8 RGB with every brightness and smooth parts, as a JPEG likes it."""
    small = np.random.default_rng(0).integers(0, 256, (14, 12, 3), np.uint8)
    return cv2.resize(small, (96, 112), interpolation=cv2.INTER_LINEAR)


def written(rgb, change, dtype="float32"):
    """What ``write_planes`` makes, as (H, W, 3) RGB."""
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    before = bgr.copy()
    out = np.full((3, *rgb.shape[:2]), 7, dtype)
    write_planes(bgr, change, out)
    np.testing.assert_array_equal(bgr, before)
    return out.transpose(1, 2, 0)


def jittered(rgb, factors, order):
    """MXNet's three augmenters, one after the other, in float64."""
    x = rgb.astype(np.float64)
    for step in order:
        a = factors[step]
        grey = {0: 0.0, 1: np.sum(x * GREY) / (x.size / 3), 2: np.sum(x * GREY, axis=2, keepdims=True)}[step]
        x = x * a + (1 - a) * grey
    return x


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_nothing_and_mirror(face, dtype):
    np.testing.assert_array_equal(written(face, Change(), dtype), face)
    np.testing.assert_array_equal(written(face, Change(mirrored=True), dtype), face[:, ::-1])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_jitter_in_whatever_order(face, order):
    factors = (1.11, 0.9, 1.08)  # of brightness, contrast, saturation: all different, and some values leave 0..255
    want = jittered(face, factors, order)
    assert want.max() > 256
    np.testing.assert_allclose(written(face, Change(jitter=factors)), want, atol=1e-3)
    assert np.abs(written(face, Change(jitter=factors), "uint8") - want.clip(0, 255)).max() < 1


def test_recompression(face):
    for quality in (2, 20):
        buffer = io.BytesIO()
        Image.fromarray(face).save(buffer, "JPEG", quality=quality)
        want = np.asarray(Image.open(buffer), np.float32)
        got = written(face, Change(quality=quality))
        assert np.abs(got - want).max() <= 3  # libraries round differently
        assert np.abs(got - face).mean() > 2


def test_box_and_everything_at_once(face):
    change = Change(mirrored=True, quality=15, jitter=(0.9, 1.1, 0.95), box=(3, 9, 90, 96))
    buffer = io.BytesIO()
    Image.fromarray(face[:, ::-1]).save(buffer, "JPEG", quality=15)
    want = jittered(np.asarray(Image.open(buffer)), change.jitter, (2, 0, 1))
    want[3:9, 90:96] = 128
    got = written(face, change)
    np.testing.assert_allclose(got, want, atol=4)
    assert (got[3:9, 90:96] == 128).all()
    assert (got[2, 90:96] != 128).all()


def test_draws_belong_to_the_image():
    indices = np.array([3, 999, 17_000_000, 0])
    want = ALL.draw(1, 2, indices, SIZE)
    assert ALL.draw(1, 2, indices[::-1], SIZE) == want[::-1]
    assert ALL.draw(1, 2, indices[1:2], SIZE) == want[1:2]
    for other in (ALL.draw(2, 2, indices, SIZE), ALL.draw(1, 3, indices, SIZE)):
        assert all(a.jitter != b.jitter for a, b in zip(other, want))


def test_augmentations_do_not_disturb_one_another():
    everything = ALL.draw(0, 0, np.arange(50), SIZE)
    assert [c.mirrored for c in Augmentation().draw(0, 0, np.arange(50), SIZE)] == [c.mirrored for c in everything]
    assert [c.jitter for c in Augmentation(color=1).draw(0, 0, np.arange(50), SIZE)] == [c.jitter for c in everything]
    assert [c.box for c in Augmentation(cutoff=5).draw(0, 0, np.arange(50), SIZE)] == [c.box for c in everything]
    assert set(NONE.draw(0, 0, np.arange(50), SIZE)) == {Change()}


def test_how_often():
    changes = ALL.draw(0, 0, np.arange(20000), SIZE)
    for share in ("mirrored", "quality", "box"):
        assert abs(np.mean([bool(getattr(c, share)) for c in changes]) - 0.5) < 0.018  # five standard deviations
    both = np.mean([bool(c.mirrored and c.quality and c.box) for c in changes])
    assert abs(both - 0.125) < 0.012
    _, counts = np.unique([c.quality for c in changes if c.quality], return_counts=True)
    assert len(counts) == 19
    assert abs(counts - counts.mean()).max() < 5 * counts.mean() ** 0.5
    factors = np.array([c.jitter for c in changes])
    np.testing.assert_allclose([factors.min(axis=0), factors.max(axis=0)], [[0.875] * 3, [1.125] * 3], atol=1e-3)
    np.testing.assert_allclose(factors.mean(axis=0), 1, atol=3e-3)


@pytest.mark.parametrize("side", [1, 4, 5, 40])
def test_boxes(side):
    """Centres are everywhere, and what leaves the image is cut off."""
    height, width = SIZE
    boxes = {c.box for c in Augmentation(cutoff=side).draw(0, 0, np.arange(5000), SIZE)} - {None}

    def along(length):
        starts = (centre - side // 2 for centre in range(length))
        return {(max(start, 0), min(start + side, length)) for start in starts}

    assert boxes == {(*rows, *columns) for rows in along(height) for columns in along(width)}


def test_draws_are_frozen():
    """As in test_draws: which number decides what is part of what a seed means."""
    changes = ALL.draw(7, 3, np.arange(300), SIZE)
    text = repr([(*c[:2], *(f"{factor:.9f}" for factor in c.jitter), c.box) for c in changes])
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "396429bcde84715d0f3ae57cf8179a17a2fcf41747f4a54b253dd4f37f08fe58"
    )


@pytest.mark.parametrize("options, message", [({"color": 3}, "--color 3"), ({"cutoff": -1}, "--cutoff -1")])
def test_refused(options, message):
    with pytest.raises(InsightError, match=message):
        Augmentation(**options)
