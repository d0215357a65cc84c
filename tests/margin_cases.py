"""Every margin with options, and its formula in plain Python: what the tests of margins and classification share."""

import math
from types import SimpleNamespace

from insight.margins import margins
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
]


def new_cosine(name: str, options: dict, theta: float) -> float:
    """The papers' target cosine as a function of the angle."""
    o = SimpleNamespace(**{**DEFAULTS, **options})
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
    if name == "arcface":
        return math.cos(theta + o.margin_m) if theta + o.margin_m < math.pi else cos - o.margin_m * math.sin(o.margin_m)
    if name == "combined":
        return math.cos(o.margin_a * theta + o.margin_m) - o.margin_b
    return math.cos(theta + o.margin_m)
