"""Every margin by itself: its curve over all angles, options, names, random numbers."""

import math

import numpy as np
import pytest
from margin_cases import CASES, new_cosine

from insight._mxnet import mx
from insight.errors import InsightError
from insight.margins import margins
from insight.margins.targets import Targets


def names(value):
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize("name, options", CASES, ids=names)
def test_curve_over_all_angles(name, options):
    margin = margins.get(name)(**options)
    theta = np.deg2rad(np.arange(1, 180) + 0.25)
    bent = margin.target_logit(Targets(mx.nd, mx.nd.array(np.cos(theta))))
    new, slope = bent.new_B.asnumpy(), bent.slope_B.asnumpy()
    at_start = {"beta": margin.beta_at(0)} if name == "sphereface" else {}
    options = {**options, **at_start}
    np.testing.assert_allclose(new, [new_cosine(name, options, t) for t in theta], atol=5e-6)
    step = 1e-6
    for t, got in zip(theta, slope):
        change = new_cosine(name, options, t + step) - new_cosine(name, options, t - step)
        assert got == pytest.approx(change / (math.cos(t + step) - math.cos(t - step)), rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("name, options", CASES, ids=names)
def test_finite_at_and_beyond_the_ends(name, options):
    margin = margins.get(name)(**options)
    for cosine in (1.0, -1.0, 1.0 + 1e-6, -1.0 - 1e-6):
        bent = margin.target_logit(Targets(mx.nd, mx.nd.array([cosine])))
        assert np.isfinite(bent.new_B.asscalar()) and np.isfinite(bent.slope_B.asscalar())


@pytest.mark.parametrize("step, beta", [(0, 1000.0), (10, 1000.0), (11, 1000 / 1.12), (110, 1000 / 13), (10**6, 5.0)])
def test_sphereface_anneals_as_a_function_of_the_step(step, beta):
    margin = margins.get("asoftmax")(beta_freeze=10)
    assert margin.beta_at(step) == pytest.approx(beta)
    cosine = -0.5  # theta = 2 pi / 3, 4 theta in the third turn: k = 2
    psi = math.cos(4 * math.acos(cosine)) * (-1) ** 2 - 2 * 2
    bent = margin.target_logit(Targets(mx.nd, mx.nd.array([cosine]), step=step))
    assert bent.new_B.asscalar() == pytest.approx((psi + beta * cosine) / (1 + beta), rel=1e-5)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("arcface", {"margin_m": -0.1}, "--margin-m -0.1: .*0 <= m < pi/2"),
        ("arcface", {"margin_m": math.pi / 2}, "--margin-m .*0 <= m < pi/2"),
        ("arcface", {"margin_b": 0.2}, "--margin-b 0.2: does nothing with --loss-type arcface, which uses --margin-s"),
        ("arcface", {"easy_margin": 2}, "--easy-margin 2: .* takes 0, 1"),
        ("softmax", {"margin_s": 30.0}, "--margin-s 30: does nothing .*no such options"),
        ("cosface", {"margin_m": 0.0}, "--margin-m 0: "),
        ("cosface", {"easy_margin": 1}, "--easy-margin 1: does nothing"),
        ("combined", {"margin_a": 0.0}, "--margin-a 0: "),
        ("combined", {"margin_m": -0.3}, "--margin-m -0.3: "),
        ("combined", {"margin_b": -0.2}, "--margin-b -0.2: "),
        ("6", {}, "--margin-b 0: "),
        ("7", {"margin_b": -1.0}, "--margin-b -1: "),
        ("7", {"margin_b": 1.0, "margin_a": 2.0}, "--margin-a 2: does nothing"),
        ("sphereface", {"margin": 0}, "--margin 0: "),
        ("sphereface", {"gamma": -1.0}, "--gamma -1: "),
        ("sphereface", {"beta": 1.0}, "--beta-min 5: .*--beta 1"),
        ("arcface", {"margin_s": 0.0}, "--margin-s 0: "),
    ],
)
def test_options_that_are_refused(name, options, words):
    with pytest.raises(InsightError, match=words):
        margins.get(name)(**options)


def test_names_and_descriptions():
    numbers = {"0": "softmax", "1": "sphereface", "2": "cosface", "4": "arcface", "5": "combined"}
    numbers.update({"6": "arcface_intra", "7": "arcface_inter"})
    assert {number: margins.get(number).name for number in numbers} == numbers
    assert all(margins.get(name).name == name for name in margins)
    assert sorted(numbers.values()) == margins.names()
    assert all(margins.get(name)(**margins.get(name).example).describe().startswith(name) for name in margins)
    assert margins.get("arcface")().describe() == "arcface s=64 m=0.5"
    assert margins.get("arcface")(easy_margin=1).describe() == "arcface s=64 m=0.5 easy_margin"
    assert margins.get("softmax")().describe() == "softmax"


def test_random_numbers_are_functions_of_seed_step_and_sample():
    def targets(first, count, step=3, seed=5):
        return Targets(mx.nd, mx.nd.zeros(count), step=step, seed=seed, first=first)

    whole = targets(0, 8).normal().asnumpy()
    shares = [targets(0, 3).normal().asnumpy(), targets(3, 5).normal().asnumpy()]
    np.testing.assert_array_equal(np.concatenate(shares), whole)  # as of one device, so of two
    np.testing.assert_array_equal(targets(0, 8).normal().asnumpy(), whole)
    others = [targets(0, 8, step=4).normal(), targets(0, 8, seed=6).normal(), targets(0, 8).normal(stream=1)]
    assert all(np.abs(other.asnumpy() - whole).min() > 0 for other in others)
    many = targets(0, 20000)
    assert abs(many.normal().asnumpy().mean()) < 0.03 and abs(many.normal().asnumpy().std() - 1) < 0.03
    assert abs(many.uniform().asnumpy().mean() - 0.5) < 0.01 and 0 <= many.uniform().asnumpy().min()
