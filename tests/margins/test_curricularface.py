"""CurricularFace: t, and which other classes count as hard."""

import math

import numpy as np
import pytest
from margin_cases import STATE, margin_and_targets, other_cosines

from insight._mxnet import mx
from insight.margins import margins
from insight.margins.targets import Targets


@pytest.mark.parametrize("name", ["curricularface", "li_arcface"])
def test_others_against_double_precision(name):
    """Values and slopes over all cosines, for targets at all angles, past pi - m too."""
    theta = np.array([0.0, 0.3, 1.0, 1.5, 2.2, 2.7, 3.0, math.pi])
    row = np.linspace(-1, 1, 201).astype(np.float32)
    margin, targets = margin_and_targets(name, {}, np.cos(theta))
    new_B = margin.target_logit(targets).new_B
    new, slope = margin.others(mx.nd.array(np.tile(row, (len(theta), 1))), targets, new_B)
    cosines = row.astype(float)
    for i, t in enumerate(np.arccos(np.cos(theta).astype(np.float32).astype(float))):
        np.testing.assert_allclose(new[i].asnumpy(), other_cosines(name, {}, cosines, t), atol=2e-6)
        hard = cosines > math.cos(t + 0.5)
        want = np.where(hard, STATE["t"] + 2 * cosines, 1)
        if name == "li_arcface":
            want = 2 / math.pi / np.maximum(np.sqrt(1 - cosines**2), 1e-3)
        np.testing.assert_allclose(slope[i].asnumpy(), want, rtol=2e-5, atol=2e-6)


def test_straight_through_of_li_arcface_holds_for_the_others_too():
    margin, targets = margin_and_targets("li_arcface", {"straight_through": True}, [0.3])
    _, slope = margin.others(mx.nd.array([[0.9, -0.2]]), targets, None)
    np.testing.assert_array_equal(slope.asnumpy(), 1)


def test_t_is_a_running_mean_from_0_on():
    margin = margins.get("curricularface")(t_alpha=0.1)
    state = {name: mx.nd.array(array) for name, array in margin.initial_state().items()}
    for cosines in ([0.2, 0.4], [0.6, 0.6]):
        state = margin.update(Targets(mx.nd, mx.nd.array(cosines), state=state))
    assert state["t"].asscalar() == pytest.approx(0.9 * 0.03 + 0.06)
    assert margin.figures(Targets(mx.nd, mx.nd.zeros(2), state=state))["t"].asscalar() == state["t"].asscalar()
