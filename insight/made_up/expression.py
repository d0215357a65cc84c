"""Painting of the eyes and the mouth, the parts of a face that change with each picture, in windows of the chart."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from .canvas import linear, over
from .face_paint import Look, Window
from .head import bump, ramp
from .nuisance import Shot
from .people import Person


def paint_expression(look: Look, shot: Shot, catch: Tuple[float, float]) -> np.ndarray:
    """The albedo (S, S, 3) of one picture, with eyes and mouth in the shot's expression.

    ``catch`` is the position of the light's reflection in the eyes, in eyeball radii from the centre of the iris.
    """
    albedo = look.albedo.copy()
    for name, side in (("left eye", -1), ("right eye", 1)):
        _paint_eye(albedo, look, look.windows[name], side, shot, catch)
    _paint_mouth(albedo, look, look.windows["mouth"], shot)
    return albedo


def _paint_eye(albedo, look: Look, window: Window, side: int, shot: Shot, catch) -> None:
    e, skin = look.person.eyes, albedo[window]
    dx = (look.head.points[0][window] - side * e.spacing) * side
    dy = look.head.points[1][window] - e.height - side * look.person.shape.lift
    x = np.cos(e.tilt) * dx - np.sin(e.tilt) * dy
    y = np.sin(e.tilt) * dx + np.cos(e.tilt) * dy
    k = x / (e.width / 2)
    arch = np.maximum(1 - k * k, 0)
    low = 0.40 * e.opening * arch * (1 + 0.25 * k)
    top = (1 - shot.eye_open - 0.40) * e.opening * arch * (1 + e.peak * k)
    top = np.minimum(top, low)
    inside = ramp(-1.12, -0.98, -np.abs(k))
    _paint_lid(skin, e, k, y, top, low, inside)
    ball = ramp(-0.010, 0.012, y - top) * ramp(-0.010, 0.012, low - y) * (np.abs(k) < 1)
    over(skin, _eyeball(look.person, side, x, y, top, k, shot, catch), ball)
    lash = np.exp(-(((y - top + 0.2 * e.lashes) / e.lashes) ** 2)) * inside
    skin *= 1 - 0.90 * lash[..., None]
    skin *= 1 - 0.35 * (np.exp(-(((y - low) / 0.014) ** 2)) * inside)[..., None]


def _paint_lid(skin, e, k, y, top, low, inside) -> None:
    fold = top - e.crease * (0.55 + 0.45 * np.maximum(1 - 0.8 * k * k, 0))
    wide = ramp(-1.3, -0.95, -np.abs(k))
    line = np.exp(-(((y - fold) / 0.020) ** 2)) * wide
    lid = ramp(-0.03, 0.03, y - fold) * ramp(-0.03, 0.0, top - y) * wide
    below = np.exp(-(((y - low - 0.035) / 0.035) ** 2)) * inside
    skin *= (1 - (0.25 + 0.45 * e.shadow) * line - 0.30 * e.shadow * lid - 0.08 * below)[..., None]
    tear = bump(k, y, -1.0, 0.01, 0.10, 0.03)
    over(skin, linear((0.72, 0.42, 0.38)), 0.8 * tear)


def _eyeball(person: Person, side, x, y, top, k, shot: Shot, catch) -> np.ndarray:
    e = person.eyes
    gx, gy = side * 0.07 * shot.gaze, 0.025 * shot.gaze_y - 0.015
    r = np.hypot(x - gx, y - gy) / e.iris
    angle = np.arctan2(y - gy, x - gx)
    ball = np.empty((*x.shape, 3), np.float32)
    ball[:] = linear((0.80, 0.77, 0.74))
    ball *= (1 - 0.35 * np.clip(np.abs(k), 0, 1) ** 2)[..., None]
    rays = 1.0 + 0.25 * np.sin(angle * 13 + 3 * np.sin(angle * 5)) * ramp(0.3, 0.8, r)
    iris = linear(person.iris_colour) * (rays * (1.35 - 0.95 * ramp(0.70, 1.02, r)))[..., None]
    soft = 0.010 / e.iris
    over(ball, iris.astype(np.float32), ramp(-1 - soft, -1 + soft, -r))
    over(ball, np.float32(0.004), ramp(-0.43 - soft, -0.40 + soft, -r))
    ball *= (0.35 + 0.65 * ramp(-0.005, 0.085, y - top))[..., None]  # the lid's shadow
    spark = np.exp(-(((x - gx) / e.iris - side * catch[0]) ** 2 + ((y - gy) / e.iris - catch[1]) ** 2) / 0.055)
    ball += 1.6 * spark[..., None].astype(np.float32)
    return ball


def mouth_pose(person: Person, shot: Shot) -> Tuple[float, float, float]:
    """(half width, drop of the corners, gap between the lips) of the mouth in one picture."""
    m = person.mouth
    smile = shot.smile
    return m.width * (1 + 0.16 * smile), m.corner - 0.075 * smile, max(0.0, 0.24 * shot.mouth_open)


def _paint_mouth(albedo, look: Look, window: Window, shot: Shot) -> None:
    m, skin = look.person.mouth, albedo[window]
    x = look.head.points[0][window]
    y = look.head.points[1][window] - m.height
    half, corner, gap = mouth_pose(look.person, shot)
    k = x / half
    arch = np.maximum(1 - k * k, 0)
    thin = 1 - 0.30 * max(shot.smile, 0)
    line = corner * k * k
    bow = (1 - m.bow * np.exp(-((k / 0.16) ** 2))) * (1 + 0.35 * np.exp(-(((np.abs(k) - 0.28) / 0.2) ** 2)))
    top = line - 0.25 * gap * arch - m.upper * thin * arch**0.9 * bow
    inner_top, inner_low = line - 0.25 * gap * arch, line + 0.75 * gap * arch
    low = inner_low + m.lower * thin * arch**0.8
    soft = 0.016
    zone = ramp(-soft, soft, y - top) * ramp(-soft, soft, low - y) * (arch > 0)
    base = look.albedo[window].mean((0, 1))
    tint = base * np.array([0.88, 0.62, 0.60], np.float32)
    rose = base * np.array([0.95, 0.40, 0.42], np.float32) + np.array([0.06, 0.0, 0.01], np.float32)
    colour = tint + m.red * (m.pink * rose + (1 - m.pink) * base * np.array([0.60, 0.34, 0.30], np.float32) - tint)
    lower = ramp(-0.01, 0.01, y - (inner_top + inner_low) / 2)
    shine = np.exp(-(((y - inner_low - 0.45 * m.lower) / (0.3 * m.lower)) ** 2) - (k / 0.5) ** 2)
    lips = colour * (0.80 + 0.22 * lower + 0.30 * shine)[..., None]
    shadow = np.exp(-(((y - low - 0.05) / 0.045) ** 2)) * arch
    skin *= (1 - 0.28 * shadow)[..., None]
    over(skin, lips.astype(np.float32), zone)
    if gap > 0.01:
        inside = ramp(-0.012, 0.012, y - inner_top) * ramp(-0.012, 0.012, inner_low - y) * (arch > 0)
        over(skin, _inner_mouth(y, inner_top, k), inside)
    seam = np.exp(-(((y - inner_top) / 0.016) ** 2)) * ramp(-1.06, -0.96, -np.abs(k))
    skin *= (1 - 0.65 * seam)[..., None]


def _inner_mouth(y: np.ndarray, inner_top: np.ndarray, k: np.ndarray) -> np.ndarray:
    dark = np.empty((*y.shape, 3), np.float32)
    dark[:] = linear((0.22, 0.07, 0.07))
    teeth = ramp(-0.012, 0.012, inner_top + 0.10 - y) * ramp(-0.95, -0.7, -np.abs(k))
    gaps = 0.88 + 0.12 * np.abs(np.cos(k * 9.4)) ** 0.3
    lit = gaps * (1 - 0.75 * k * k) * (0.25 + 0.75 * ramp(-0.02, 0.09, y - inner_top))
    over(dark, (linear((0.84, 0.80, 0.73)) * lit[..., None]).astype(np.float32), 0.9 * teeth)
    over(dark, linear((0.62, 0.30, 0.30)), 0.7 * ramp(0.12, 0.22, y - inner_top))
    return dark
