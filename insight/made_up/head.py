"""The head as a surface: a displaced ellipsoid and its chart.

A point of the head is ``centre + radii * n * (1 + D(n))`` for a unit direction ``n``. The displacement ``D`` includes
the shape of the skull, the nose, the lips, the ears and the volume of the hair. Textures use Lambert's azimuthal
equal-area chart around the face, ``(u, v) = n_xy / sqrt(2 (1 + n_z))``, so the whole sphere except its far back fits in
one image and the lookup of a ray costs one square root. Coordinates and units: see :mod:`people`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .people import Person

REACH = (0.9, 0.8)  # the chart covers +-REACH in u and v: 128 degrees to the sides, 106 up and down
CENTRE_Y = 0.08  # the ellipsoid's centre, below the eye line
RADII = (1.10, 1.80, 1.38)


def ramp(low, high, x):
    """Hermite step: 0 below ``low``, 1 above ``high``, smooth in between."""
    t = np.clip((x - low) * (1.0 / (high - low)), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x, y, cx, cy, sx, sy):
    """Gaussian hill of height 1."""
    return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


@lru_cache(maxsize=4)
def chart_directions(size: int) -> np.ndarray:
    """Unit directions of a size x size chart's texels, (3, size, size) float32."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    u, v = np.meshgrid(axis * REACH[0], axis * REACH[1])
    square = np.minimum(u * u + v * v, 0.999)
    scale = 2.0 * np.sqrt(1.0 - square)
    return np.stack([u * scale, v * scale, 1.0 - 2.0 * square])


def texels(qx, qy, qz, size: int):
    """Distance from the centre, and texel (u, v) of a size x size chart, of points in the unit sphere's space."""
    r = np.sqrt(qx * qx + qy * qy + qz * qz)
    s = 1.0 / np.sqrt(np.maximum(2.0 * r * (r + qz), 1e-3))
    across, down = (np.float32(size / (2 * reach)) for reach in REACH)
    middle = np.float32(size / 2 - 0.5)
    return r, qx * s * across + middle, qy * s * down + middle


def sample(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bilinear values of a texture (S, S[, C]) at texels (u, v)."""
    return cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@dataclass
class Head:
    """A person's surface, sampled on a chart of S x S texels."""

    radii: np.ndarray  # (3,) radii of the ellipsoid
    relief: np.ndarray  # (S/2, S/2), the displacement D
    points: np.ndarray  # (3, S, S)
    normals: np.ndarray  # (S, S, 3), unit, outwards
    hollows: np.ndarray  # (S, S) ambient occlusion, 1 in the open, lower in hollows
    hair: np.ndarray  # (S, S), 1 under hair
    landmarks: np.ndarray  # (5, 3) eyes, nose tip, mouth corners at rest, image-left first
    size: int  # S

    @property
    def bound(self) -> float:
        """The largest displacement."""
        return float(self.relief.max())


def hair_cover(person: Person, n: np.ndarray, radii: np.ndarray, ragged: np.ndarray) -> np.ndarray:
    """Coverage of the head with hair, 0..1, for chart directions ``n``; ``ragged`` frays the edge."""
    hair, style = person.hair, person.style
    y = n[1] * radii[1] + CENTRE_Y
    azimuth = np.arctan2(np.abs(n[0]), n[2])  # 0 in front, pi/2 at the ears
    side = np.sign(hair.part) * n[0]  # positive on the parting's side
    line = -hair.hairline + style.fringe - hair.recede * (style.fringe < 0.3) * bump(azimuth, 0.0, 0.62, 0.0, 0.28, 1.0)
    line = line - style.slant * (side - 0.15)
    line = line + (style.sides - line) * ramp(0.93, 1.22, azimuth)
    line = line + 0.6 * ramp(1.75, 2.1, azimuth)
    edge = 0.03 + 0.05 * (style.thick > 0.02)
    cover = 1.0 - ramp(-edge, edge, y - line + ragged * (1.0 - 0.97 * ramp(0.6, 1.0, azimuth)))
    if style.sides < 0.8:  # short hair leaves the ears free
        ear = bump(azimuth, y, 1.66, 0.12, 0.22, 0.36)
        cover = cover * (1.0 - ramp(0.25, 0.6, ear))
    return cover.astype(np.float32)


def _skull(person: Person, n: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Displacement of the large shapes of the skull, relative to the radius."""
    s = person.shape
    x, y = n[0] * radii[0], n[1] * radii[1] + CENTRE_Y
    ax, front = np.abs(x), ramp(-0.1, 0.4, n[2])
    relief = s.jaw * bump(ax, y, 0.80, 1.05, 0.40, 0.45)
    relief += s.cheek * bump(ax, y, 0.74, 0.42, 0.30, 0.28)
    relief -= s.hollow * bump(ax, y, 0.70, 0.92, 0.26, 0.30)
    relief -= 0.03 * bump(ax, y, 1.0, -0.45, 0.3, 0.4)
    relief += 0.06 * bump(ax, y, 0.75, -1.2, 0.45, 0.4)  # the top of a skull is rounder than an ellipsoid
    relief += front * s.chin * bump(x, y, 0, 1.58, s.chin_width, 0.34)
    relief += front * s.muzzle * bump(x, y, 0, 1.12, 0.50, 0.36)
    relief += front * s.forehead * bump(x, y, 0, -0.85, 0.75, 0.45)
    relief += front * s.ridge * bump(ax, y, 0.42, -0.30, 0.36, 0.12)
    relief -= 0.25 * ramp(0.5, 0.9, n[1]) * ramp(-0.35, 0.35, -n[2])  # the jaw's underside rises to the neck
    return relief


def _features(person: Person, x: np.ndarray, y: np.ndarray, front: np.ndarray, nose_y: float) -> np.ndarray:
    """Displacement of eyes, nose and lips, at frontal coordinates x, y of the skull."""
    e, o, m = person.eyes, person.nose, person.mouth
    ax = np.abs(x)
    relief = -e.depth * bump(ax, y, e.spacing - 0.03, e.height - 0.03, 0.29, 0.17)
    relief -= 0.025 * bump(ax, y, 0.25, e.height, 0.10, 0.13)
    relief += 0.030 * bump(ax, y, e.spacing, e.height, 0.20, 0.12)
    relief += e.bags * bump(ax, y, e.spacing, e.height + 0.22, 0.20, 0.05)
    nx = x - o.skew * ramp(0.0, nose_y, y)
    along = np.clip((y + 0.12) / (nose_y + 0.12), 0.0, 1.0)
    profile = o.bridge + (o.tip - o.bridge) * along**1.6 + o.hump * np.sin(np.pi * along)
    # the nose's lower edge, lowest in the middle
    under = nose_y + 0.015 + 0.065 * np.exp(-((nx / (0.45 * o.width)) ** 2))
    profile = profile * ramp(-0.42, -0.05, y) * (1.0 - ramp(-0.09, 0.13, y - under))
    ridge = o.ridge * (0.80 + 0.55 * along**2)
    relief += profile * np.exp(-(np.abs(nx / ridge) ** 1.8))
    relief += o.ball * bump(nx, y, 0, nose_y - 0.01, 0.12, 0.10)
    relief += 0.085 * bump(np.abs(nx), y, o.width * 0.68, nose_y + 0.005, o.width * 0.38, 0.085)
    relief += 0.030 * bump(x, y, 0, m.height - 0.5 * m.upper, m.width * 0.75, 0.06)
    relief += 0.038 * bump(x, y, 0, m.height + 0.55 * m.lower, m.width * 0.65, 0.065)
    relief -= 0.018 * bump(x, y, 0, m.height, m.width * 0.7, 0.022)
    relief -= 0.025 * bump(ax, y, m.width + 0.03, m.height, 0.07, 0.07)
    relief -= m.philtrum * bump(x, y, 0, m.height - m.upper - 0.1, 0.045, 0.09)
    relief -= 0.030 * bump(x, y, 0, m.height + m.lower + 0.13, 0.24, 0.06)
    relief -= person.shape.fold * _near_line(ax, y, (o.width + 0.02, nose_y), (m.width + 0.12, m.height + 0.03), 0.045)
    return relief * front


def _near_line(x, y, start, end, width):
    """Distance weight of a segment: 1 on it, with Gaussian falloff around it."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    t = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    return np.exp(-((x - start[0] - t * dx) ** 2 + (y - start[1] - t * dy) ** 2) / width**2)


def _ears(person: Person, n: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Displacement of the ears, which are bumps of the outline in a frontal view."""
    y, z = n[1] * radii[1] + CENTRE_Y, n[2] * radii[2]
    side = ramp(0.4, 0.7, np.abs(n[0]))
    shell = bump(z, y, -0.22, 0.12, 0.15, 0.27)
    bowl = bump(z, y, -0.02, 0.12, 0.07, 0.17)
    return side * (person.shape.ears * 1.1 * shell - 0.04 * bowl)


def build_head(person: Person, size: int, ragged: np.ndarray, curls: np.ndarray) -> Head:
    """Sample a person's surface on a size x size chart.

    ``ragged`` frays the edge of the hair and ``curls`` is the relief of the hair, both (size, size), about -1..1.
    """
    coarse = size // 2
    radii = np.array(RADII, np.float32)
    radii[0] *= person.shape.width
    radii[1] *= person.shape.length
    n = chart_directions(coarse)
    skull = _skull(person, n, radii)
    front = ramp(-0.1, 0.35, n[2])
    x = n[0] * radii[0] * (1 + skull)
    y = n[1] * radii[1] * (1 + skull) + CENTRE_Y
    tip = person.nose.tip + person.nose.ball
    nose_y = CENTRE_Y + (person.nose.length - CENTRE_Y) / (1 + 0.9 * tip)  # displacement also moves the tip down
    fine_n = chart_directions(size)
    hair = hair_cover(person, fine_n, radii, ragged * (0.05 + 0.12 * person.style.thick))
    hair_coarse = cv2.resize(hair, (coarse, coarse), interpolation=cv2.INTER_AREA)
    relief = skull + _features(person, x, y, front, nose_y) + _ears(person, n, radii) * (1 - hair_coarse)
    bare = cv2.GaussianBlur(hair_coarse, (0, 0), coarse / 80.0)
    lively = 1.0 + 0.22 * person.style.curls * cv2.resize(curls, (coarse, coarse))
    volume = person.style.thick * person.hair.thick * lively
    relief = (relief + hair_coarse * bare * volume).astype(np.float32)
    fine = cv2.resize(relief, (size, size), interpolation=cv2.INTER_CUBIC)
    points = fine_n * radii[:, None, None] * (1 + fine)
    points[1] += CENTRE_Y
    head = Head(radii, relief, points, _normals(points), _hollows(fine), hair, np.zeros((5, 3)), size)
    head.landmarks = _landmarks(person, head)
    return head


def _normals(points: np.ndarray) -> np.ndarray:
    """Outward unit normals (S, S, 3) of a chart of points (3, S, S)."""
    across, down = np.zeros_like(points), np.zeros_like(points)
    across[:, :, 1:-1] = points[:, :, 2:] - points[:, :, :-2]
    down[:, 1:-1] = points[:, 2:] - points[:, :-2]
    normal = np.stack(
        [
            across[1] * down[2] - across[2] * down[1],
            across[2] * down[0] - across[0] * down[2],
            across[0] * down[1] - across[1] * down[0],
        ],
        axis=-1,
    )
    return normal / np.maximum(np.sqrt((normal**2).sum(-1, keepdims=True)), 1e-9)


def _hollows(relief: np.ndarray) -> np.ndarray:
    """Approximate ambient occlusion (S, S): depth of each texel below its surroundings, at two scales."""
    size = relief.shape[0]
    near = cv2.GaussianBlur(relief, (0, 0), size / 64.0) - relief
    far = cv2.GaussianBlur(relief, (0, 0), size / 20.0) - relief
    return np.clip(1.0 - 7.0 * np.maximum(near, 0) - 4.0 * np.maximum(far, 0), 0.25, 1.0)


def place(head: Head, x: float, y: float) -> np.ndarray:
    """The point (3,) of the surface whose frontal coordinates are x, y."""
    target = np.array([x, y - CENTRE_Y])
    n, depth = target / head.radii[:2], 0.0
    for _ in range(8):
        toward = np.append(n, np.sqrt(max(1 - n @ n, 0.01))).astype(np.float32).reshape(3, 1, 1)
        _, u, v = texels(*toward, head.relief.shape[0])
        outwards = 1 + float(sample(head.relief, u, v)[0, 0])
        n = target / (head.radii[:2] * outwards)
        depth = np.sqrt(max(1 - n @ n, 0.0)) * head.radii[2] * outwards
    return np.array([x, y, depth])


def _landmarks(person: Person, head: Head) -> np.ndarray:
    e, o, m = person.eyes, person.nose, person.mouth
    lift = person.shape.lift
    return np.stack(
        [
            place(head, -e.spacing, e.height - lift),
            place(head, e.spacing, e.height + lift),
            place(head, o.skew, o.length),
            place(head, -m.width, m.height + m.corner),
            place(head, m.width, m.height + m.corner),
        ]
    )
