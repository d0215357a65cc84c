"""AdaFace: its ends, its statistics."""

import numpy as np
import pytest
from margin_cases import margin_and_targets

from insight._mxnet import mx
from insight.margins import margins
from insight.margins.targets import Targets

COSINES = np.linspace(-0.87, 0.99, 40)  # theta + 0.4 below pi, where ArcFace has no fallback


@pytest.mark.parametrize("length, other", [(0.01, "arcface"), (10.0, "cosface")])
def test_ends_are_arcface_and_cosface(length, other):
    """z = -1 and z = 0."""
    margin, targets = margin_and_targets("adaface", {"margin_h": 1.0}, COSINES, length)
    bent = margin.target_logit(targets)
    theirs = margins.get(other)(margin_m=0.4).target_logit(targets)
    np.testing.assert_allclose(bent.new_B.asnumpy(), theirs.new_B.asnumpy(), atol=1e-6)
    np.testing.assert_allclose(bent.slope_B.asnumpy(), theirs.slope_B.asnumpy(), rtol=2e-5)
    assert bent.length_slope_B is None


def test_long_embeddings_have_the_least_margin_near_the_centre_and_the_most_far_from_it():
    margin, targets = margin_and_targets("adaface", {"margin_h": 1.0}, COSINES, 50.0)
    theta = np.arccos(COSINES)
    kept = theta > 0.45
    new = margin.target_logit(targets).new_B.asnumpy()
    np.testing.assert_allclose(new[kept], np.cos(theta - 0.4)[kept] - 0.8, atol=1e-6)


def seen(margin, lengths, step, state=None):
    state = state or {name: mx.nd.array(array) for name, array in margin.initial_state().items()}
    length = mx.nd.array(lengths)
    return margin.update(Targets(mx.nd, mx.nd.zeros(len(lengths)), lambda: length, step, state=state))


def values(state):
    return [state["mean"].asscalar(), state["std"].asscalar()]


def test_statistics_start_from_the_first_batch_and_move_by_a_share():
    margin = margins.get("adaface")(t_alpha=0.25)
    first, second = [9.0, 12.0, 15.0], [300.0, 0.0]  # the second is clipped to 100 and 0.001
    state = seen(margin, first, 0)
    assert values(state) == pytest.approx([12, 3])
    state = seen(margin, second, 1, state)
    std = np.std([100, 0.001], ddof=1)
    assert values(state) == pytest.approx([0.75 * 12 + 0.25 * 50.0005, 0.75 * 3 + 0.25 * std])


def test_statistics_start_from_the_paper_s_on_demand():
    margin = margins.get("adaface")(ada_init="paper")
    assert values(seen(margin, [9.0, 12.0, 15.0], 0)) == pytest.approx([0.99 * 20 + 0.12, 0.99 * 100 + 0.03])


def test_one_image_has_no_deviation():
    margin = margins.get("adaface")()
    assert values(seen(margin, [9.0], 0)) == pytest.approx([9, 100])


def test_figures_are_the_statistics():
    margin, targets = margin_and_targets("adaface", {}, COSINES)
    assert {name: figure.asnumpy().tolist() for name, figure in margin.figures(targets).items()} == {
        "length_mean": [10.0],
        "length_std": [2.0],
    }
