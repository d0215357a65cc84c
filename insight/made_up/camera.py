"""The camera: projection of points to pixels, and conversion of light to display values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import cv2
import numpy as np

from ..faces.alignment import similarity, template
from .nuisance import Shot

CROP = 112
INTEROCULAR = 35.24  # pixels between the eyes of the template


@dataclass
class Camera:
    """Similarity transform from the camera's plane (head units, complex x + iy) to pixels: ``turn * z + shift``."""

    turn: complex
    shift: complex

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project (N, 2) or (N, 3) camera-space points to (N, 2) pixels (centres of pixels are whole numbers)."""
        z = self.turn * (points[:, 0] + 1j * points[:, 1]) + self.shift
        return np.stack([z.real, z.imag], axis=1)

    def plane(self, height: int, width: int, left: int = 0, top: int = 0) -> Tuple[np.ndarray, np.ndarray]:
        """Camera-plane coordinates x, y, each (H, W) float32, of a block of pixels."""
        inverse = 1 / self.turn
        columns = np.arange(left, left + width, dtype=np.float32)[None] - np.float32(self.shift.real)
        rows = np.arange(top, top + height, dtype=np.float32)[:, None] - np.float32(self.shift.imag)
        re, im = np.float32(inverse.real), np.float32(inverse.imag)
        return columns * re - rows * im, columns * im + rows * re

    def magnify(self, factor: float) -> Camera:
        """The same view on a grid that is ``factor`` times finer."""
        return Camera(self.turn * factor, (self.shift + (0.5 + 0.5j)) * factor - (0.5 + 0.5j))


def aligned_camera(landmarks: np.ndarray, shot: Shot) -> Camera:
    """Camera that aligns five points (5, 3) of camera space with the template, then jitters the crop."""
    fit = similarity(landmarks[:, :2], template((CROP, CROP)))
    camera = Camera(complex(fit[0, 0], fit[1, 0]), complex(fit[0, 2], fit[1, 2]))
    middle = complex(CROP / 2 - 0.5, CROP / 2 - 0.5)
    jitter = shot.crop_scale * np.exp(1j * np.deg2rad(shot.crop_turn))
    shift = complex(shot.crop_shift, shot.crop_shift_y)
    return Camera(camera.turn * jitter, (camera.shift - middle) * jitter + middle + shift)


def dot(field: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(H, W, 3) times (3,) without BLAS, whose threads compete with the workers and affect the order of sums."""
    return cv2.transform(field, vector[None])


METERING = 0.65  # share of a face's brightness that the camera compensates; 0 none, 1 all


def metered_gain(scene: np.ndarray) -> float:
    """Gain of the camera's automatic exposure for a block of linear light, the face: brings it near mid grey."""
    return float((0.25 / max(float(scene[..., 1].mean()), 0.004)) ** METERING)


def develop(scene: np.ndarray, shot: Shot, metered: float) -> np.ndarray:
    """Convert linear light (H, W, 3) to display values 0..255 float32: exposure, white balance and tone of a shot."""
    gain = metered * 2.0**shot.exposure * np.exp(np.array([0.35 * shot.warmth, shot.tint, -0.35 * shot.warmth]))
    shown = np.sqrt(np.clip(scene * gain.astype(np.float32), 0, None))
    shown = shown / (1 + 0.12 * shown * shown)  # highlights roll off instead of clipping hard
    if shot.gamma != 1.0:
        shown = cv2.pow(shown, shot.gamma)
    shown = (shown - 0.45) * np.float32(shot.contrast) + 0.45
    grey = dot(shown, np.array([0.299, 0.587, 0.114], np.float32))
    shown = grey[..., None] + np.float32(shot.saturation) * (shown - grey[..., None])
    return np.clip(shown * 255, 0, 255)


def degrade(shown: np.ndarray, shot: Shot, scale: float = 1.0) -> np.ndarray:
    """Apply blur, reduced resolution, noise and an earlier JPEG compression: float32 (H, W, 3) RGB 0..255 to uint8.

    ``scale`` is the face size in the picture relative to the aligned crop; the blur is given in pixels of the crop.
    """
    height, width = shown.shape[:2]
    if shot.blur * scale > 0.2:
        shown = cv2.GaussianBlur(shown, (0, 0), shot.blur * scale)
    if shot.resolution < 1:
        small = max(8, round(width * shot.resolution)), max(8, round(height * shot.resolution))
        shown = cv2.resize(shown, small, interpolation=cv2.INTER_AREA)
        shown = cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR)
    noisy = shown + np.float32(shot.noise) * shot.rng.standard_normal(shown.shape, dtype=np.float32)
    pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if shot.jpeg < 95:
        coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(shot.jpeg)])[1]
        pixels = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(pixels)
