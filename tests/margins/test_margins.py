"""Every margin by itself: its curve over all angles, options, names, random numbers."""

import math

import numpy as np
import pytest
from margin_cases import CASES, STATE, chosen, drawn_margins, margin_and_targets, new_cosine

from insight._mxnet import mx
from insight.errors import InsightError
from insight.margins import margins
from insight.margins.targets import Targets


def names(value):
    return value if isinstance(value, str) else ""


@pytest.mark.parametrize("name, options", CASES, ids=names)
def test_curve_over_all_angles(name, options):
    theta = np.deg2rad(np.arange(1, 180) + 0.25)
    margin, targets = margin_and_targets(name, options, np.cos(theta))
    bent = margin.target_logit(targets)
    new, slope = bent.new_B.asnumpy(), bent.slope_B.asnumpy()
    at_start = {"beta": margin.beta_at(0)} if name == "sphereface" else {}
    options = {**options, **at_start}
    drawn = drawn_margins(name, options, np.cos(theta))
    want = [new_cosine(name, options, t, drawn=m) for t, m in zip(theta, drawn)]
    np.testing.assert_allclose(new, want, atol=5e-6)
    step = 1e-6
    for t, m, got in zip(theta, drawn, slope):
        above, below = (new_cosine(name, options, t + move, drawn=m) for move in (step, -step))
        change = (above - below) / (math.cos(t + step) - math.cos(t - step))
        assert got == pytest.approx(change, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("name, options", CASES, ids=names)
def test_finite_at_and_beyond_the_ends(name, options):
    ends = [1.0, -1.0, 1.0 + 1e-6, -1.0 - 1e-6]
    for length in (1e-5, 9.0, 1e5):
        margin, targets = margin_and_targets(name, options, ends, length)
        parts = [*margin.target_logit(targets), *(margin.own_loss(targets) or ())]
        assert all(np.isfinite(part.asnumpy()).all() for part in parts if part is not None)


MODERN = [case for case in CASES if case[0] in ("adaface", "magface", "curricularface", "li_arcface")]
MODERN += [case for case in CASES if case[0].startswith("elasticface")]


def exact_slope(name, options, cosine, length, drawn):
    """d new / d cos in double precision, with the sine that it is divided by kept above 0.001."""
    o, theta = chosen(name, options), math.acos(cosine)
    sine = max(math.sin(theta), 1e-3)
    if name.startswith("elasticface_cos"):
        return 1.0
    if name == "li_arcface":
        return 2 / math.pi / sine
    m, bent = drawn if drawn is not None else o.margin_m, True
    if name == "adaface":
        m = -m * min(max(o.margin_h * (length - STATE["mean"]) / (STATE["std"] + 1e-3), -1), 1)
        inside = abs(cosine) <= 0.999 and 1e-3 < theta + m < math.pi - 1e-3
        return math.sin(theta + m) / sine if inside else 0.0
    if name == "magface":
        share = (min(max(length, o.l_a), o.u_a) - o.l_a) / (o.u_a - o.l_a)
        m, bent = o.l_margin + share * (o.u_margin - o.l_margin), cosine > 0
    if name == "curricularface":
        bent = theta + m < math.pi
    return math.sin(theta + m) / sine if bent else 1.0


@pytest.mark.parametrize("name, options", MODERN, ids=names)
def test_against_double_precision_where_angles_end(name, options):
    cosines = np.float32([0, 1 - 1e-7, 1e-7 - 1, 1, -1, 0.9999, -0.9999, 0.5, -0.5])
    for length in (2.0, 6.0, 9.0, 14.0, 30.0):
        margin, targets = margin_and_targets(name, options, cosines, length)
        bent = margin.target_logit(targets)
        for i, drawn in enumerate(drawn_margins(name, options, cosines)):
            cosine = float(cosines[i])
            want = new_cosine(name, options, math.acos(cosine), length, drawn=drawn)
            assert bent.new_B[i].asscalar() == pytest.approx(want, abs=1e-4)
            slope = exact_slope(name, options, cosine, length, drawn)
            assert bent.slope_B[i].asscalar() == pytest.approx(slope, rel=1e-4, abs=1e-4)


STRAIGHT = [name for name in margins if any(o.name == "straight_through" for o in margins.get(name).OPTIONS)]


@pytest.mark.parametrize("name", STRAIGHT)
def test_straight_through_changes_the_slope_alone(name):
    cosines = np.linspace(-1, 1, 21)
    margin, targets = margin_and_targets(name, {}, cosines)
    plain = margin.target_logit(targets)
    straight, targets = margin_and_targets(name, {"straight_through": True}, cosines)
    bent = straight.target_logit(targets)
    np.testing.assert_array_equal(bent.new_B.asnumpy(), plain.new_B.asnumpy())
    np.testing.assert_array_equal(bent.slope_B.asnumpy(), 1)
    assert np.abs(plain.slope_B.asnumpy() - 1).max() > 0.3
    assert straight.describe().endswith(" straight_through") and "straight" not in margin.describe()
    assert {"arcface", "combined", "adaface", "elasticface_arc", "curricularface", "li_arcface"} <= set(STRAIGHT)


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
        ("adaface", {"margin_h": 0.0}, "--margin-h 0: .*cosface"),
        ("adaface", {"t_alpha": 0.0}, "--t-alpha 0: a share"),
        ("adaface", {"ada_init": "zero"}, "--ada-init zero: .* takes batch, paper"),
        ("magface", {"u_margin": 1.6}, "--u-margin 1.6: .*0 <= m < pi/2"),
        ("magface", {"l_a": -1.0}, "--l-a -1: must be above 0"),
        ("magface", {"straight_through": True}, "--straight-through: does nothing"),
        ("elasticface_cos", {"margin_std": -0.1}, "--margin-std -0.1: must be 0 or more"),
        ("curricularface", {"margin_m": 1.6}, "--margin-m 1.6: .*0 <= m < pi/2"),
        ("li_arcface", {"margin_m": 3.2}, "--margin-m 3.2: .*0 <= m < pi"),
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
    newer = {"adaface", "magface", "curricularface", "li_arcface"}
    newer |= {"elasticface_arc", "elasticface_arc_plus", "elasticface_cos", "elasticface_cos_plus"}
    assert newer | set(numbers.values()) == set(margins.names())
    others = {"liarcface": "li_arcface", "AirFace": "li_arcface", "curricular": "curricularface"}
    others.update({"ElasticArcFace": "elasticface_arc", "ElasticCosFacePlus": "elasticface_cos_plus"})
    assert {other: margins.get(other).name for other in others} == others
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
    np.testing.assert_array_equal(targets(2, 6).rows(1, 4).normal().asnumpy(), whole[3:6])
    others = [targets(0, 8, step=4).normal(), targets(0, 8, seed=6).normal(), targets(0, 8).normal(stream=1)]
    assert all(np.abs(other.asnumpy() - whole).min() > 0 for other in others)
    many = targets(0, 20000)
    assert abs(many.normal().asnumpy().mean()) < 0.03 and abs(many.normal().asnumpy().std() - 1) < 0.03
    assert abs(many.uniform().asnumpy().mean() - 0.5) < 0.01 and 0 <= many.uniform().asnumpy().min()


def test_rows_of_targets_are_of_the_same_batch():
    cosines, lengths = mx.nd.arange(6) / 10, mx.nd.arange(6) + 1
    targets = Targets(mx.nd, cosines[2:6], lambda: lengths[2:6], first=2, everyone=lambda: cosines)
    rows = targets.rows(1, 3)
    np.testing.assert_array_equal(rows.cos_B.asnumpy(), cosines[3:5].asnumpy())
    np.testing.assert_array_equal(rows.length_B.asnumpy(), [4, 5])
    np.testing.assert_array_equal(rows.own(rows.whole.cos_B).asnumpy(), cosines[3:5].asnumpy())
    alone = Targets(mx.nd, cosines).rows(4, 6)
    np.testing.assert_array_equal(alone.whole.cos_B.asnumpy(), cosines.asnumpy())
    np.testing.assert_array_equal(alone.own(alone.whole.cos_B).asnumpy(), cosines[4:].asnumpy())
