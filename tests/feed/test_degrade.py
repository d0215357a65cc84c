"""AdaFace's losses of quality: what is drawn, how often, and what it does to pixels."""

import cv2
import numpy as np
import pytest

from insight.errors import InsightError
from insight.feed import degrade, draws
from insight.feed.augment import Augmentation, Change, write_planes
from insight.feed.degrade import Degradation, degraded

SIZE = (112, 96)
MANY = np.arange(20000)


@pytest.fixture(scope="module")
def face():
    """(112, 96, 3) uint8 BGR."""
    small = np.random.default_rng(0).integers(0, 256, (14, 12, 3), np.uint8)
    return cv2.resize(small, (96, 112), interpolation=cv2.INTER_LINEAR)


@pytest.fixture(scope="module")
def drawn():
    return [one or Degradation() for one in degrade.draw(0.2, 3, 1, MANY, SIZE)]


def test_each_happens_as_often_as_said_and_alone(drawn):
    happens = np.array([[part is not None for part in one] for one in drawn])
    np.testing.assert_allclose(happens.mean(axis=0), 0.2, atol=0.01)
    assert np.abs(np.corrcoef(happens.T) - np.eye(3)).max() < 0.03
    assert degrade.draw(0.2, 3, 1, MANY[:500], SIZE).count(None) == (~happens[:500].any(axis=1)).sum()
    assert all(one and all(one) for one in degrade.draw(1.0, 3, 1, MANY[:50], SIZE))


def test_boxes(drawn):
    top, bottom, left, right = np.array([one.box for one in drawn if one.box]).T
    assert top.min() >= 0 and left.min() >= 0 and bottom.max() == 112 and right.max() == 96
    height, width = bottom - top, right - left
    share = height * width / (112 * 96)
    assert 0.195 < share.min() < 0.22 and share.max() > 0.9
    free = (height < 112) & (width < 96)  # where no side was cut
    ratio = (width / height)[free]
    assert 0.73 < ratio.min() < 0.78 and 1.28 < ratio.max() < 1.37
    assert abs(np.log(ratio[share[free] < 0.5]).mean()) < 0.02  # uniform in its logarithm
    assert abs((top / np.maximum(112 - height, 1))[height < 90].mean() - 0.5) < 0.02


def test_small_sides_and_light(drawn):
    height, width, down, up = np.array([one.small for one in drawn if one.small]).T
    assert (height.min(), height.max()) == (22, 111) and (width.min(), width.max()) == (19, 95)
    np.testing.assert_allclose(height / 112, width / 96, atol=1 / 96 + 1e-9)
    for kernels in (down, up):
        assert np.unique(kernels, return_counts=True)[1].min() > 0.18 * len(kernels)
        assert set(kernels) == set(degrade.INTERPOLATIONS)
    light = np.array([one.light for one in drawn if one.light])
    np.testing.assert_allclose([light.min(axis=0), light.max(axis=0)], [[0.5] * 3, [1.5] * 3], atol=0.01)


def test_a_function_of_seed_epoch_and_index():
    all_of_them = degrade.draw(0.5, 3, 1, MANY[:40], SIZE)
    assert degrade.draw(0.5, 3, 1, np.array([17, 5]), SIZE) == [all_of_them[17], all_of_them[5]]
    for other in ((4, 1), (3, 2)):
        assert degrade.draw(0.5, *other, MANY[:40], SIZE) != all_of_them


def test_other_draws_stay(face):
    """The same mirrors, jitters and squares with and without, and numbers of its own."""
    kinds = {"mirror": True, "color": 2, "cutoff": 30}
    without, with_it = (Augmentation(**kinds, degrade=p).draw(3, 1, MANY[:200], SIZE) for p in (0.0, 0.2))
    assert [change._replace(degradation=None) for change in with_it] == without
    assert any(change.degradation for change in with_it)
    own, others = (draws.uniforms(3, 1, MANY[:200], 13, p) for p in (draws.DEGRADATION, draws.AUGMENTATION))
    assert not np.isin(own, others).any()


def test_a_crop_stays_in_place_on_black(face):
    want = np.zeros_like(face)
    want[10:60, 20:90] = face[10:60, 20:90]
    np.testing.assert_array_equal(degraded(face, Degradation(box=(10, 60, 20, 90))), want)


def test_few_pixels(face):
    nearest = degraded(face, Degradation(small=(28, 24, cv2.INTER_AREA, cv2.INTER_NEAREST)))
    blocks = face.reshape(28, 4, 24, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(nearest, blocks.repeat(4, axis=0).repeat(4, axis=1), atol=0.51)
    smooth = degraded(face, Degradation(small=(28, 24, cv2.INTER_AREA, cv2.INTER_CUBIC)))
    assert smooth.shape == face.shape and (smooth != nearest).any()


def test_light_is_clipped_and_in_order(face):
    """After the crop and the small image, and before everything else but the mirror."""
    found = degraded(face, Degradation(light=(1.5, 1.0, 1.0)))
    np.testing.assert_allclose(found, np.minimum(face * 1.5, 255), atol=0.51)
    box, small, light = (5, 100, 3, 80), (40, 34, cv2.INTER_LINEAR, cv2.INTER_CUBIC), (0.7, 1.3, 0.6)
    want = face
    for one in (Degradation(box=box), Degradation(small=small), Degradation(light=light)):
        want = degraded(want, one)
    np.testing.assert_array_equal(degraded(face, Degradation(box, small, light)), want)
    out, plain = np.empty((3, *SIZE), np.float32), face.copy()
    write_planes(plain, Change(mirrored=True, box=(0, 9, 0, 9), degradation=Degradation(box=box)), out)
    left_out = degraded(face[:, ::-1], Degradation(box=box))[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    left_out[:, :9, :9] = 128
    np.testing.assert_array_equal(out, left_out)
    np.testing.assert_array_equal(plain, face)


def test_a_probability_is_wanted():
    with pytest.raises(InsightError, match="--degrade 1.5: must be 0"):
        Augmentation(degrade=1.5)
