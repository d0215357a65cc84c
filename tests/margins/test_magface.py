"""MagFace along the length: slopes, bounds, defaults."""

import math

import numpy as np
import pytest
from margin_cases import margin_and_targets, new_cosine, second_loss

from insight._mxnet import mx
from insight.errors import InsightError
from insight.margins import margins
from insight.margins.targets import Targets

LENGTHS = np.array([0.5, 3.0, 5.2, 8.0, 11.3, 17.0, 24.0, 26.0, 200.0])
COSINES = np.float32([0, 1 - 1e-7, 1e-7 - 1, 1, -1, 0.3, 0.8, -0.4])


@pytest.mark.parametrize("length", LENGTHS)
def test_slopes_in_the_length(length):
    margin, targets = margin_and_targets("magface", {}, COSINES, length)
    bent, own = margin.target_logit(targets), margin.own_loss(targets)
    assert not own.slope_B.asnumpy().any()
    move = 1e-6
    for i, theta in enumerate(np.arccos(COSINES.astype(float))):
        logits = [new_cosine("magface", {}, theta, length + by) for by in (move, -move)]
        losses = [second_loss("magface", {}, theta, length + by) for by in (move, -move)]
        for got, (above, below) in ((bent.length_slope_B, logits), (own.length_slope_B, losses)):
            assert got[i].asscalar() == pytest.approx((above - below) / (2 * move), rel=1e-4, abs=1e-4)
        assert own.loss_B[i].asscalar() == pytest.approx(second_loss("magface", {}, theta, length), rel=1e-5)
    within = 5.1 < length < 24.8
    assert bool(own.length_slope_B.asnumpy().any()) == bool(bent.length_slope_B.asnumpy().any()) == within


def fitted(size, **options):
    margin = margins.get("magface")(**options)
    margin.fit(size)
    return vars(margin.options)


def test_defaults_follow_the_lengths_of_the_networks():
    """sqrt(E) lies at a third of the range; lambda is above its bound, which grows with sqrt(E)."""
    small, large = fitted(128), fitted(512)
    assert (small["l_a"], small["u_a"]) == pytest.approx((0.45 * math.sqrt(128), 2.2 * math.sqrt(128)))
    for name in ("l_a", "u_a", "lambda_g"):
        assert large[name] == pytest.approx(2 * small[name])
    assert small["lambda_g"] == pytest.approx(36.7, abs=0.1)
    assert margins.get("magface")().describe().startswith("magface s=64 l_a=0 ")
    margin = margins.get("magface")()
    margin.fit(128)
    assert margin.describe() == "magface s=64 l_a=5.09117 u_a=24.8902 l_margin=0.45 u_margin=0.8 lambda_g=36.7268"


def test_the_paper_s_values():
    """22.59 is the least lambda for them; the original's default of 20 is below."""
    paper = {"l_a": 10.0, "u_a": 110.0}
    assert fitted(512, **paper, lambda_g=35.0)["lambda_g"] == 35
    assert fitted(512, **paper)["lambda_g"] == pytest.approx(1.2 * 22.59, abs=0.01)
    with pytest.raises(InsightError, match=r"--lambda-g 20: below 22.59, the least"):
        fitted(512, **paper, lambda_g=20.0)
    with pytest.raises(InsightError, match=r"--l-a 30: must be below --u-a 24.89"):
        fitted(128, l_a=30.0)
    with pytest.raises(InsightError, match=r"--u-margin 0.2: must not be below --l-margin 0.45"):
        fitted(128, u_margin=0.2)


def test_loss_falls_with_length_within_the_bounds_for_easy_images():
    """For an image at its centre the best length is the largest, for one far from it the smallest."""
    margin = margins.get("magface")()
    margin.fit(128)
    length = mx.nd.array([6.0, 12.0, 24.0])
    targets = Targets(mx.nd, mx.nd.ones(3), lambda: length)
    assert (np.diff(margin.own_loss(targets).loss_B.asnumpy()) < 0).all()
    figures = margin.figures(targets)
    np.testing.assert_array_equal(figures["length"].asnumpy(), [6, 12, 24])
    assert (np.diff(figures["margin"].asnumpy()) > 0).all()
