"""Ray casting from the camera to the head, to find the texel of the chart that each pixel shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .head import CENTRE_Y, Head, sample, texels


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation (3, 3) from head to camera, from angles in degrees: first pitch, then yaw, then roll."""
    y, p, r = np.deg2rad([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return tilt @ turn @ nod


@dataclass
class Hits:
    """Intersections of the pixels' rays with the head, each (H, W): maps for cv2.remap, in texels of the chart, and
    coverage.
    """

    map_x: np.ndarray
    map_y: np.ndarray
    cover: np.ndarray


STRIDE = 0.8  # share of a Newton step for a smooth sphere, so that steep relief does not let rays pass the nose
COARSE_STEPS, FINE_STEPS = 9, 8
MARGIN = 0.05  # distance of the start of a ray from the intersections of its coarse neighbours


def cast(head: Head, turn: np.ndarray, x: np.ndarray, y: np.ndarray, pixel: float) -> Hits:
    """Trace one ray per pixel to the surface of the head.

    Parameters
    ----------
    turn : (3, 3)
        Head to camera.
    x, y : (H, W) float32
        Positions of the pixels in the camera's plane, head units.
    pixel : float
        Size of a pixel in head units: the width of the soft edge.
    """
    back = (turn.T / head.radii[:, None]).astype(np.float32)  # camera to the unit sphere's space
    shift = np.array([0, CENTRE_Y / head.radii[1], 0], np.float32)
    along = -back[:, 2] / np.linalg.norm(back[:, 2])
    origin = np.stack([back[i, 0] * x + back[i, 1] * y - shift[i] for i in range(3)])
    along_it = along[0] * origin[0] + along[1] * origin[1] + along[2] * origin[2]
    origin -= along_it * along[:, None, None]  # now the point of each ray that is nearest to the centre
    away = origin[0] ** 2 + origin[1] ** 2 + origin[2] ** 2
    sparse = np.ascontiguousarray(origin[:, ::2, ::2])
    start = -np.sqrt(np.maximum((1.0 + head.bound) ** 2 - away[::2, ::2], 0.0))
    reached = _march(head, sparse, along, start, COARSE_STEPS)[0]
    start = cv2.erode(reached, np.ones((3, 3), np.uint8)) - np.float32(MARGIN)
    start = cv2.resize(start, (x.shape[1], x.shape[0]), interpolation=cv2.INTER_LINEAR)
    _, u, v, least = _march(head, origin, along, start, FINE_STEPS)
    cover = np.clip(1.1 - least / pixel, 0.0, 1.0)
    cover[away < 0.6] = 1.0  # such a ray always hits, but may not have converged behind the nose
    ratio = np.float32(head.size / head.relief.shape[0])
    return Hits((u + 0.5) * ratio - 0.5, (v + 0.5) * ratio - 0.5, cover)


def _march(head: Head, origin: np.ndarray, along: np.ndarray, t: np.ndarray, steps: int):
    """Newton steps along rays ``origin + t * along``, bracketed by the last point outside and the first inside.

    Returns the final t, its texel (u, v) of the relief, and the smallest distance along the way.
    """
    least, low, high = np.full_like(t, 9.0), t, np.full_like(t, 0.35)
    for _ in range(steps):
        r, u, v = texels(*(origin[i] + t * along[i] for i in range(3)), head.relief.shape[0])
        gap = r - 1.0 - sample(head.relief, u, v)
        np.minimum(least, gap, out=least)
        outside = gap > 0
        low, high = np.where(outside, t, low), np.where(outside, high, t)
        newton = t + STRIDE * gap / np.maximum(
            -t / r, 0.3
        )  # -t/r is the decrease of the gap along the ray, on a sphere
        t = np.where(outside, np.minimum(newton, 0.4 * t + 0.6 * high), np.maximum(newton, 0.5 * (low + t)))
    return t, u, v, least
