"""Hair on the head and in the face: strands, colour, cover."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import CANVAS, CANVAS_ORIGIN, CANVAS_SIZE, linear, over
from .head import Head, bump, chart_directions, ramp
from .people import Person


def strand_noise(rng: np.random.Generator) -> np.ndarray:
    """(256, 1024): rows run along the hair, columns across; cyclic across, about -1..1."""
    fine = cv2.resize(rng.standard_normal((10, 1024), dtype=np.float32), (1024, 256), interpolation=cv2.INTER_CUBIC)
    broad = cv2.resize(rng.standard_normal((5, 128), dtype=np.float32), (1024, 256), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.55 * fine + 0.5 * broad, -2, 2)


def strand_field(person: Person, strands: np.ndarray, size: int) -> np.ndarray:
    """Strand noise on the chart: strands radiate from the parting over the head."""
    n = chart_directions(size)
    root = np.array([0.45 * person.hair.part, -0.92, -0.10], np.float32)
    across = np.arctan2(n[0] - root[0], n[2] - root[2] + 0.35 * (n[1] - root[1]))
    down = np.sqrt((n[0] - root[0]) ** 2 + (n[1] - root[1]) ** 2 + (n[2] - root[2]) ** 2)
    wave = person.hair.wave * (0.3 + person.style.curls)
    across = across + 0.10 * wave * np.sin(9.0 * down + 3.0 * across)
    map_x = np.mod(across * (1024 / (2 * np.pi)), 1023).astype(np.float32)
    return cv2.remap(strands, map_x, (down * 110).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def paint_scalp(
    person: Person, head: Head, albedo: np.ndarray, gloss: np.ndarray, flow: np.ndarray, curls: np.ndarray
) -> None:
    """Lay the head's hair over albedo and gloss, in place; ``flow`` is the strand field."""
    hair, style = person.hair, person.style
    shade = 1.0 + hair.strands * flow + 0.25 * style.curls * curls
    shade += hair.streaks * np.maximum(cv2.GaussianBlur(flow, (0, 0), head.size / 60.0), 0)
    colour = linear(person.hair_colour) * np.clip(shade, 0.25, 2.2)[..., None]
    opacity = head.hair * (0.55 if style.name == "shaved" else 0.97)
    if style.thick > 0.03:  # a soft shadow of the hair on the skin
        shadow = cv2.GaussianBlur(head.hair, (0, 0), head.size / 45.0)
        albedo *= 1.0 - 0.45 * (shadow * (1 - head.hair))[..., None]
    over(albedo, colour.astype(np.float32), opacity)
    gloss += head.hair * (0.25 + 0.25 * flow - gloss)


def paint_beard(person: Person, head: Head, albedo: np.ndarray, gloss: np.ndarray, rng: np.random.Generator) -> None:
    """Lay beard, moustache and stubble over albedo and gloss, in place."""
    m, marks = person.mouth, person.marks
    if not (marks.beard or marks.moustache or marks.stubble):
        return
    x, y = head.points[0], head.points[1]
    ax = np.abs(x)
    rough = _beard_noise(rng, head)
    lip = np.maximum(0, 1 - (ax / (m.width * 1.02)) ** 2)
    lips = ramp(0, 0.05, y - (m.height - m.upper * lip - 0.03)) * ramp(0, 0.05, m.height + m.lower * lip + 0.03 - y)
    lips = lips * (lip > 0)
    cheek = 1.42 - 0.95 * ramp(0.25, 1.05, ax) + 0.05 * rough
    jaw = ramp(-0.10, 0.10, y - cheek) * (1 - lips)
    under_nose = person.nose.length + 0.16
    centre = (under_nose + m.height - m.upper) / 2
    tall = 0.5 * (m.height - m.upper - under_nose) + 0.07
    upper = bump(ax, y, 0.0, centre + 0.25 * ax**2, m.width * 1.2, tall) * (1 - lips)
    upper = ramp(0.22, 0.52, upper + 0.05 * rough)
    zone = np.maximum(jaw * (1 - ramp(0.05, 0.15, under_nose - y)), upper)
    mask = np.maximum.reduce([jaw * marks.beard, upper * marks.moustache, zone * marks.stubble * 0.45])
    alpha = np.clip(mask * (0.80 + 0.35 * rough), 0, 0.95) * (head.points[2] > -0.1)
    colour = linear(person.brow_colour) * np.clip(1 + 0.35 * rough, 0.4, 2)[..., None]
    over(albedo, colour.astype(np.float32), alpha.astype(np.float32))
    gloss *= 1 - 0.8 * alpha


def _beard_noise(rng: np.random.Generator, head: Head) -> np.ndarray:
    """Short, mostly upright strands in frontal coordinates, about -1..1."""
    noise = rng.standard_normal((CANVAS_SIZE[1] // 2, CANVAS_SIZE[0]), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=1.0, sigmaY=2.2) * 3.4
    map_x = (head.points[0] + CANVAS_ORIGIN[0]) * CANVAS
    map_y = (head.points[1] + CANVAS_ORIGIN[1]) * (CANVAS / 2)
    return cv2.remap(noise, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
