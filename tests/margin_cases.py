"""Every margin with options, and its formula in plain Python: what the tests of margins and classification share."""

import math
from types import SimpleNamespace

import numpy as np

from insight._mxnet import mx
from insight.margins import margins
from insight.margins.targets import Targets
from insight.options import declared

DEFAULTS = {option.name: option.default for option in declared((name, margins.get(name).OPTIONS) for name in margins)}
CASES = [
    ("softmax", {}),
    ("sphereface", {"beta": 0.0, "beta_min": 0.0}),
    ("sphereface", {"margin": 3, "beta": 5.0}),
    ("cosface", {"margin_s": 8.0, "margin_m": 0.35}),
    ("arcface", {"margin_s": 8.0, "margin_m": 0.4}),
    ("arcface", {"margin_s": 8.0, "margin_m": 1.2}),  # most of the targets take the fallback
    ("arcface", {"margin_s": 8.0, "margin_m": 0.5, "easy_margin": 1}),
    ("combined", {"margin_s": 8.0, "margin_m": 0.3, "margin_b": 0.2}),
    ("combined", {"margin_s": 8.0, "margin_a": 0.9, "margin_m": 0.4, "margin_b": 0.15}),
    ("combined", {"margin_s": 8.0, "margin_a": 1.35, "margin_m": 0.0}),
    ("combined", {"margin_s": 8.0, "margin_m": 0.0, "margin_b": 0.35}),
    ("arcface_intra", {"margin_s": 8.0, "margin_m": 0.5, "margin_b": 3.0}),
    ("arcface_inter", {"margin_s": 8.0, "margin_m": 0.5, "margin_b": 30.0}),
    ("adaface", {"margin_s": 8.0}),
    ("adaface", {"margin_s": 8.0, "margin_m": 0.6, "margin_h": 2.0, "t_alpha": 0.5}),  # some at the ends
    ("magface", {"margin_s": 8.0}),
    ("magface", {"margin_s": 8.0, "l_a": 1.0, "u_a": 14.0, "l_margin": 0.2, "u_margin": 1.1, "lambda_g": 30.0}),
    ("elasticface_arc", {"margin_s": 8.0}),
    ("elasticface_arc_plus", {"margin_s": 8.0, "margin_std": 0.3}),
    ("elasticface_cos", {"margin_s": 8.0}),
    ("elasticface_cos_plus", {"margin_s": 8.0, "margin_std": 0.3}),
    ("curricularface", {"margin_s": 8.0}),
    ("curricularface", {"margin_s": 8.0, "margin_m": 1.2, "t_alpha": 1.0}),
    ("li_arcface", {"margin_s": 8.0}),
]
OWN_DEFAULTS = {  # of options whose default depends on the margin
    **{name: {"margin_m": 0.4} for name in ("adaface", "li_arcface")},
    **{name: {"margin_m": 0.35} for name in ("elasticface_cos", "elasticface_cos_plus")},
}
DEVIATIONS = {  # of ElasticFace's margins
    "elasticface_arc": 0.05,
    "elasticface_arc_plus": 0.0175,
    "elasticface_cos": 0.05,
    "elasticface_cos_plus": 0.02,
}
SIZE = 128  # of the embedding, which MagFace's defaults depend on
LENGTH = 9.0
STATE = {"mean": 10.0, "std": 2.0, "t": 0.3}


def margin_and_targets(name, options, cosines, length=LENGTH, state=STATE, **more):
    """The margin, and targets with these cosines, all of one length."""
    margin = margins.get(name)(**options)
    margin.fit(SIZE)
    held = {key: mx.nd.array([state[key]]) for key in margin.initial_state()}
    cos_B = mx.nd.array(np.asarray(cosines))
    return margin, Targets(mx.nd, cos_B, lambda: mx.nd.full(cos_B.shape, length), state=held, **more)


def chosen(name: str, options: dict, size: int = SIZE) -> SimpleNamespace:
    """All options with their values."""
    values = {**DEFAULTS, "margin_m": 0.5, **OWN_DEFAULTS.get(name, {}), **options}
    values["margin_std"] = options.get("margin_std", DEVIATIONS.get(name))
    if name == "magface":
        values["l_a"] = values["l_a"] or 0.45 * math.sqrt(size)
        values["u_a"] = values["u_a"] or 2.2 * math.sqrt(size)
        o = SimpleNamespace(**values)
        rise = (o.u_margin - o.l_margin) / (o.u_a - o.l_a)
        least = o.margin_s * rise * o.u_a**2 * o.l_a**2 / (o.u_a**2 - o.l_a**2)
        values["lambda_g"] = o.lambda_g or 1.2 * least
    return SimpleNamespace(**values)


def drawn_margins(name: str, options: dict, cosines, seed: int = 0, step: int = 0):
    """ElasticFace's margins of a batch, as numbers; None for other margins."""
    if not name.startswith("elasticface"):
        return [None] * len(cosines)
    o = chosen(name, options)
    numbers = o.margin_m + o.margin_std * np.random.default_rng([seed, step, 0, 0xD3]).standard_normal(len(cosines))
    if name.endswith("plus"):
        numbers[np.argsort(cosines, kind="stable")] = np.sort(numbers)[::-1]
    return numbers


def new_cosine(
    name: str, options: dict, theta: float, length: float = LENGTH, state: dict = STATE, drawn=None, size: int = SIZE
) -> float:
    """The papers' target cosine as a function of the angle."""
    o = chosen(name, options, size)
    cos = math.cos(theta)
    if name == "softmax":
        return cos
    if name == "sphereface":
        k = min(int(o.margin * theta / math.pi), o.margin - 1)
        return ((-1) ** k * math.cos(o.margin * theta) - 2 * k + o.beta * cos) / (1 + o.beta)
    if name == "cosface":
        return cos - o.margin_m
    if name == "arcface" and o.easy_margin:
        return math.cos(theta + o.margin_m) if cos > 0 else cos
    if name in ("arcface", "curricularface"):
        return math.cos(theta + o.margin_m) if theta + o.margin_m < math.pi else cos - o.margin_m * math.sin(o.margin_m)
    if name == "combined":
        return math.cos(o.margin_a * theta + o.margin_m) - o.margin_b
    if name == "adaface":
        z = min(max(o.margin_h * (length - state["mean"]) / (state["std"] + 1e-3), -1), 1)
        theta = math.acos(min(max(cos, -0.999), 0.999))
        return math.cos(min(max(theta - o.margin_m * z, 1e-3), math.pi - 1e-3)) - o.margin_m * (1 + z)
    if name == "magface":
        share = (min(max(length, o.l_a), o.u_a) - o.l_a) / (o.u_a - o.l_a)
        return math.cos(theta + o.l_margin + share * (o.u_margin - o.l_margin)) if theta < math.pi / 2 else cos
    if name.startswith("elasticface"):
        drawn = o.margin_m if drawn is None else drawn
        return math.cos(theta + drawn) if "arc" in name else cos - drawn
    if name == "li_arcface":
        return (math.pi - 2 * (theta + o.margin_m)) / math.pi
    return math.cos(theta + o.margin_m)


def other_cosines(name: str, options: dict, cosines, theta: float, state: dict = STATE):
    """What a sample's cosines to the other classes become, its own angle being theta."""
    if name == "curricularface":
        hard = cosines > math.cos(theta + chosen(name, options).margin_m)
        return np.where(hard, cosines * (state["t"] + cosines), cosines)
    if name == "li_arcface":
        return (math.pi - 2 * np.arccos(cosines)) / math.pi
    return cosines


def second_loss(name: str, options: dict, theta: float, length: float, size: int = SIZE) -> float:
    """The loss of a target beside the cross entropy."""
    o = chosen(name, options, size)
    if name == "arcface_intra":
        return o.margin_b * theta / math.pi
    if name == "magface":
        a = min(max(length, o.l_a), o.u_a)
        return o.lambda_g * (a / o.u_a**2 + 1 / a)
    return 0.0
