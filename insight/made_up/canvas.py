"""Helpers of the painting functions: colours in linear light, noise, and a frontal canvas for single strokes.

Albedo is linear light, computed as the square of sRGB, which is close to its curve and cheap in both directions.
"""

from __future__ import annotations

import cv2
import numpy as np

from .head import Head

CANVAS = 150.0  # pixels per unit of the frontal canvas on which single hairs and marks are drawn
CANVAS_ORIGIN = (1.4, 1.3)  # units left of and above the point between the eyes
CANVAS_SIZE = (420, 510)


def linear(colour) -> np.ndarray:
    """Convert sRGB 0..1 to linear light, float32."""
    return np.square(np.asarray(colour, np.float32))


def cloud(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Smooth noise (size, size), with unit variance at its knots: cells x cells normal numbers, interpolated."""
    knots = rng.standard_normal((cells, cells), dtype=np.float32)
    return cv2.resize(knots, (size, size), interpolation=cv2.INTER_CUBIC)


def over(albedo: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> None:
    """Blend a colour (3,) or (H, W, 3) over albedo, in place."""
    albedo += alpha[..., None] * (colour - albedo)


def new_canvas() -> np.ndarray:
    """An empty frontal canvas, uint8."""
    return np.zeros((CANVAS_SIZE[1], CANVAS_SIZE[0]), np.uint8)


def to_chart(canvas: np.ndarray, head: Head, softness: float = 0.8) -> np.ndarray:
    """Map a frontal uint8 canvas to a chart texture 0..1; it is 0 on the back of the head."""
    soft = cv2.GaussianBlur(canvas, (0, 0), softness)
    map_x = (head.points[0] + CANVAS_ORIGIN[0]) * CANVAS - 0.5
    map_y = (head.points[1] + CANVAS_ORIGIN[1]) * CANVAS - 0.5
    mapped = cv2.remap(soft, map_x, map_y, cv2.INTER_LINEAR)
    return mapped * np.float32(1 / 255.0) * (head.points[2] > 0.1)


def stroke(canvas: np.ndarray, points: np.ndarray, value: int, thickness: int = 1) -> None:
    """Draw an anti-aliased polyline through (N, 2) points in head units."""
    vertices = (points + np.array(CANVAS_ORIGIN)) * CANVAS * 16
    cv2.polylines(canvas, [np.round(vertices).astype(np.int32)], False, value, thickness, cv2.LINE_AA, shift=4)


def spot(canvas: np.ndarray, x: float, y: float, radius: float, value: int) -> None:
    """Draw an anti-aliased disc, in head units."""
    centre = tuple(int(c) for c in (np.array([x, y]) + CANVAS_ORIGIN) * CANVAS * 16)
    cv2.circle(canvas, centre, int(radius * CANVAS * 16), value, -1, cv2.LINE_AA, shift=4)
