"""Backgrounds in linear light: blurred ones for crops, and scenes for photographs."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import linear
from .head import ramp


def backdrop(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """An out-of-focus background, linear light (H, W, 3) float32: gradients, patches, lights."""
    small = min(1.0, 160.0 / width)  # it has no sharp details
    h, w = round(height * small), round(width * small)
    cells = int(rng.integers(2, 7))
    base = rng.uniform(0.1, 0.85) + rng.normal(0, 0.12, 3)
    spread = rng.uniform(0.03, 0.22)
    coarse = base + spread * (rng.standard_normal((cells, cells, 1)) + 0.5 * rng.standard_normal((cells, cells, 3)))
    scene = cv2.resize(coarse.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(0, 7))):
        colour = tuple(float(c) for c in np.clip(rng.uniform(0.05, 0.9) + rng.normal(0, 0.12, 3), 0, 1))
        centre, extent = rng.uniform(0, 1, 2) * (w, h), rng.uniform(0.03, 0.35, 2) * w
        if rng.random() < 0.6:
            corners = [tuple(int(c) for c in corner) for corner in (centre - extent, centre + extent)]
            cv2.rectangle(scene, *corners, colour, -1)
        else:
            cv2.circle(scene, tuple(int(c) for c in centre), int(extent[0]), colour, -1, cv2.LINE_AA)
    scene = cv2.GaussianBlur(scene, (0, 0), w * rng.uniform(0.004, 0.04))
    return np.square(np.clip(cv2.resize(scene, (width, height), interpolation=cv2.INTER_CUBIC), 0.01, 1))


def scenery(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Background of a photograph, linear light (H, W, 3) float32: blurred shapes, a room, a street or a park."""
    kind = rng.integers(4)
    if kind == 0:
        scene = backdrop(rng, height, width)
    else:
        scene = (_room, _street, _park)[kind - 1](rng, height, width)
    grain = cv2.resize(rng.standard_normal((height // 2, width // 2), dtype=np.float32), (width, height))
    scene *= (1 + 0.06 * grain)[..., None]
    return np.clip(cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.6, 4.0)), 0.002, 1.2)


def _tint(rng: np.random.Generator, low: float, high: float, spread: float = 0.08) -> np.ndarray:
    return linear(np.clip(rng.uniform(low, high) + rng.normal(0, spread, 3), 0.03, 0.97))


def _box(scene, x1, y1, x2, y2, colour) -> None:
    cv2.rectangle(scene, (int(x1), int(y1)), (int(x2), int(y2)), tuple(float(c) for c in colour), -1)


def _room(rng, height: int, width: int) -> np.ndarray:
    scene = np.empty((height, width, 3), np.float32)
    scene[:] = _tint(rng, 0.35, 0.85)
    scene *= np.linspace(rng.uniform(0.6, 1), rng.uniform(0.6, 1), width, dtype=np.float32)[:, None]
    floor = int(height * rng.uniform(0.7, 0.9))
    scene[floor:] = _tint(rng, 0.15, 0.5)
    for _ in range(int(rng.integers(1, 5))):  # pictures, windows, doors
        x, y, w, h = rng.uniform((0, 0, 0.08, 0.12), (0.9, 0.5, 0.3, 0.5)) * (width, height, width, height)
        _box(scene, x - 6, y - 6, x + w + 6, y + h + 6, _tint(rng, 0.1, 0.9))
        _box(scene, x, y, x + w, y + h, _tint(rng, 0.2, 0.95))
        scene[int(y) : int(y + h), int(x) : int(x + w)] *= rng.uniform(0.6, 1.0)
    for _ in range(int(rng.integers(0, 4))):  # shelves with books
        y, x, w = rng.uniform(0.1, 0.8) * height, rng.uniform(0, 0.8) * width, rng.uniform(0.1, 0.4) * width
        at = x
        while at < x + w:
            thick, tall = rng.uniform(4, 16), rng.uniform(25, 55)
            _box(scene, at, y - tall, at + thick - 1, y, _tint(rng, 0.1, 0.8, 0.15))
            at += thick
        _box(scene, x, y, x + w, y + 6, _tint(rng, 0.15, 0.5))
    return scene


def _street(rng, height: int, width: int) -> np.ndarray:
    scene = np.empty((height, width, 3), np.float32)
    scene[:] = _tint(rng, 0.6, 0.95, 0.05)
    at = -rng.uniform(0, 80)
    while at < width:
        wide, top = rng.uniform(90, 240), rng.uniform(0.0, 0.5) * height
        wall, glass = _tint(rng, 0.25, 0.75), _tint(rng, 0.05, 0.5)
        _box(scene, at, top, at + wide, height, wall)
        step, storey = rng.uniform(22, 50), rng.uniform(34, 70)
        for y in np.arange(top + 14, height, storey):
            for x in np.arange(at + 10, at + wide - step * 0.6, step):
                _box(scene, x, y, x + step * 0.55, y + storey * 0.6, glass * rng.uniform(0.6, 1.6))
        at += wide
    _box(scene, 0, height * rng.uniform(0.8, 0.95), width, height, _tint(rng, 0.25, 0.5, 0.02))
    return scene


def _park(rng, height: int, width: int) -> np.ndarray:
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    sky, leaf, grass = _tint(rng, 0.6, 0.9, 0.05), linear((0.20, 0.36, 0.14)), linear((0.35, 0.48, 0.20))
    leaf, grass = leaf * np.float32(rng.uniform(0.5, 1.6)), grass * np.float32(rng.uniform(0.6, 1.4))
    noise = np.zeros((height, width), np.float32)
    for octave, cells in enumerate((3, 8, 24, 60)):
        knots = rng.standard_normal((cells * 3, cells * 4), dtype=np.float32)
        noise += cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC) / (1 + octave)
    trees = ramp(-0.25, 0.35, noise * 0.5 + (rows - rng.uniform(0.1, 0.4)) * 3)[..., None]
    scene = sky * (1 - trees) + trees * leaf * np.clip(1 + 0.5 * noise, 0.15, 2.5)[..., None]
    ground = ramp(-0.02, 0.02, rows - rng.uniform(0.65, 0.85) + 0.01 * noise)[..., None]
    return (scene + ground * (grass * np.clip(1 + 0.25 * noise, 0.3, 2)[..., None] - scene)).astype(np.float32)
