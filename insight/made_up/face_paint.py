"""What stays with a person, painted once on the head's chart: skin, brows, marks; hair comes from :mod:`hair`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import cv2
import numpy as np

from .canvas import CANVAS, CANVAS_ORIGIN, cloud, linear, new_canvas, over, spot, stroke, to_chart
from .hair import paint_beard, paint_scalp, strand_field, strand_noise
from .head import CENTRE_Y, Head, build_head, bump, chart_directions, ramp
from .people import Person, stream

SKIN_TONES = ((0.96, 0.84, 0.76), (0.89, 0.70, 0.57), (0.76, 0.55, 0.40), (0.55, 0.37, 0.26), (0.33, 0.21, 0.15))

Window = Tuple[slice, slice]


@dataclass
class Look:
    """A person ready to be drawn. Textures are (S, S[, 3]) float32 on the head's chart."""

    person: Person
    head: Head
    albedo: np.ndarray
    surface: np.ndarray  # (S, S, 2): gloss, and how open a place is to the sky
    flex: np.ndarray  # (S/4, S/4, 3): how far brows, jaw and cheeks take the skin along
    tone: np.ndarray  # (3,) the skin's mean colour
    strands: np.ndarray  # (256, 1024) strand noise, also for the hair that hangs behind
    windows: dict  # name -> Window


def build_look(person: Person, size: int) -> Look:
    """Model and paint a person at rest on a size x size chart."""
    rng = stream(person.seed, "texture", person.index)
    strands = strand_noise(rng)
    flow = strand_field(person, strands, size)
    curls = np.clip(cloud(rng, 52, size), -1.5, 1.5) * 0.7
    head = build_head(person, size, flow + 0.5 * curls * person.style.curls, curls)
    albedo, gloss = _skin(person, head, rng)
    middle = slice(int(0.55 * size), int(0.62 * size)), slice(int(0.4 * size), int(0.6 * size))
    tone = albedo[middle].mean((0, 1))
    _brows_and_marks(person, head, albedo, rng)
    paint_beard(person, head, albedo, gloss, rng)
    paint_scalp(person, head, albedo, gloss, flow, curls)
    surface = np.dstack([gloss, head.hollows]).astype(np.float32)
    return Look(person, head, albedo, surface, _flex(person, head), tone, strands, _windows(person, head))


def _flex(person: Person, head: Head) -> np.ndarray:
    """Where raised brows, a dropped jaw and a smile's cheeks move the skin, 0..1 each."""
    size = head.size // 4
    x, y, z = (cv2.resize(p, (size, size), interpolation=cv2.INTER_AREA) for p in head.points)
    ax, front = np.abs(x), ramp(0.0, 0.4, z)
    brow = bump(ax, y, 0.5, person.eyes.height - person.brows.height, 0.55, 0.20)
    chin = person.mouth.height + person.mouth.lower
    jaw = ramp(chin + 0.08, chin + 0.40, y)
    cheek = bump(ax, y, 0.62, 0.55, 0.30, 0.26)
    return (np.dstack([brow, jaw, cheek]) * front[..., None]).astype(np.float32)


def _windows(person: Person, head: Head) -> dict:
    """The texels around each eye and the mouth."""
    x, y, front = head.points[0], head.points[1], head.points[2] > 0.2
    e, m = person.eyes, person.mouth

    def box(cx: float, cy: float, hx: float, hy: float) -> Window:
        rows, columns = np.nonzero((np.abs(x - cx) < hx) & (np.abs(y - cy) < hy) & front)
        return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)

    return {
        "left eye": box(-e.spacing, e.height, 0.46, 0.34),
        "right eye": box(e.spacing, e.height, 0.46, 0.34),
        "mouth": box(0, m.height + 0.08, 0.72, 0.46),
    }


def _skin(person: Person, head: Head, rng: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
    """Albedo (S, S, 3) and gloss (S, S) of bare skin."""
    skin, size = person.skin, head.size
    x, y = head.points[0], head.points[1]
    ax = np.abs(x)
    at = skin.melanin * (len(SKIN_TONES) - 1)
    below = min(int(at), len(SKIN_TONES) - 2)
    tone = np.array(SKIN_TONES[below]) + (at - below) * (np.array(SKIN_TONES[below + 1]) - np.array(SKIN_TONES[below]))
    tone = linear(tone * (1 + 0.05 * skin.warmth * np.array([0.0, 0.4, -1.0])))
    pores = cv2.resize(rng.standard_normal((512, 512), dtype=np.float32), (size, size), interpolation=cv2.INTER_AREA)
    pores *= 512.0 / size
    shade = 1.0 + skin.blotch * (cloud(rng, 22, size) + 0.8 * cloud(rng, 60, size)) + skin.pores * pores
    albedo = tone * shade[..., None].astype(np.float32)
    red = bump(ax, y, 0.62, 0.62, 0.32, 0.28) + 0.9 * bump(x, y, 0, person.nose.length, 0.25, 0.2)
    red += 0.7 * ramp(1.0, 1.2, ax) + 0.3 * bump(x, y, 0, 1.6, 0.3, 0.2)
    albedo *= 1.0 - skin.blush * red[..., None] * np.array([0.10, 0.55, 0.50], np.float32)
    under = bump(ax, y, person.eyes.spacing - 0.05, person.eyes.height + 0.19, 0.24, 0.10)
    albedo *= 1.0 - skin.circles * under[..., None] * np.array([0.45, 0.55, 0.40], np.float32)
    socket = bump(ax, y, person.eyes.spacing, person.eyes.height - 0.1, 0.30, 0.17)
    albedo *= 1.0 - 0.30 * person.eyes.shadow * socket[..., None]
    nose = person.nose
    wing = bump(np.abs(x - nose.skew), y, nose.width * 0.46, nose.length + 0.075, nose.width * 0.24, 0.036)
    crease = bump(np.abs(x - nose.skew), y, nose.width * 1.0, nose.length + 0.02, 0.04, 0.08)
    dark = np.minimum(0.85 * nose.nostrils * wing + 0.22 * crease, 0.9)
    albedo *= 1.0 - dark[..., None] * np.array([0.85, 1.0, 1.0], np.float32)
    n = chart_directions(size)
    ear_z, ear_y = n[2] * head.radii[2], n[1] * head.radii[1] + CENTRE_Y
    ear = 0.55 * bump(ear_z, ear_y, 0.10, 0.16, 0.035, 0.22) + 0.45 * bump(ear_z, ear_y, -0.05, 0.14, 0.07, 0.14)
    albedo *= 1.0 - (ear * (np.abs(n[0]) > 0.6))[..., None] * np.array([0.8, 1.0, 1.0], np.float32)
    gloss = skin.shine * (0.55 + 0.6 * bump(x, y, 0, 0.2, 0.22, 0.55) + 0.5 * bump(x, y, 0, -0.7, 0.6, 0.35))
    return albedo.astype(np.float32), gloss.astype(np.float32)


def _brows_and_marks(person: Person, head: Head, albedo: np.ndarray, rng: np.random.Generator) -> None:
    brows, marks = new_canvas(), new_canvas()
    for side in (-1, 1):
        _fill_brow(brows, person, side)
    brows = cv2.GaussianBlur(brows, (0, 0), 3.0)
    for side in (-1, 1):
        _draw_brow_hairs(brows, person, side, rng)
    over(albedo, linear(person.brow_colour), np.minimum(to_chart(brows, head) * person.brows.density * 1.15, 0.96))
    for x, y, radius in person.marks.moles:
        spot(marks, x, y, radius, 210)
    if person.marks.freckles:
        for x, y, radius, dark in rng.uniform((-0.85, 0.05, 0.006, 40), (0.85, 0.85, 0.016, 150), (150, 4)):
            spot(marks, x, y, radius, int(dark * person.marks.freckles))
    albedo *= 1.0 - 0.75 * to_chart(marks, head)[..., None] * np.array([0.75, 1.0, 1.0], np.float32)
    if person.marks.scar:
        x, y, angle, length = person.marks.scar
        along = np.linspace(-1, 1, 7)
        arc = np.exp(1j * angle) * (along + 0.15j * along**2) * length / 2
        scar = new_canvas()
        stroke(scar, np.stack([arc.real + x, arc.imag + y], 1), 230, 4)
        healed = np.minimum(albedo * np.float32(1.3) + linear((0.30, 0.16, 0.16)), 0.9)
        over(albedo, healed, 0.75 * to_chart(scar, head, 1.5))


def _fill_brow(canvas: np.ndarray, person: Person, side: int) -> None:
    spine, half = _brow_shape(person, np.linspace(0, 1, 24), side)
    edge = np.stack([np.zeros_like(half), 0.8 * half], 1)
    outline = np.concatenate([spine - edge, (spine + edge)[::-1]])
    at = np.round((outline + np.array(CANVAS_ORIGIN)) * CANVAS * 16).astype(np.int32)
    cv2.fillPoly(canvas, [at], 130, cv2.LINE_AA, shift=4)


def _draw_brow_hairs(canvas: np.ndarray, person: Person, side: int, rng: np.random.Generator) -> None:
    b = person.brows
    s = np.sort(rng.uniform(0, 1, 150))
    spine, half = _brow_shape(person, s, side)
    root = spine + np.stack([np.zeros_like(s), half * rng.uniform(-0.7, 1.0, len(s))], 1)
    lean = np.deg2rad(75 - 70 * s + rng.normal(0, 9, len(s)))  # hairs stand at the inner end and lie at the outer
    length = (0.06 + 0.07 * rng.random(len(s))) * (0.7 + 2.5 * b.thickness)
    for r, a, l in zip(root, lean, length):
        tip = r + l * np.array([side * np.cos(a), -np.sin(a) * (0.75 if a > 0 else 1.0)])
        stroke(canvas, np.stack([r, tip]), int(rng.integers(150, 256)))


def _brow_shape(person: Person, s: np.ndarray, side: int):
    """Spine (N, 2) and half thickness (N,) at s in 0..1 from the inner to the outer end."""
    b = person.brows
    x = b.inner + b.length * s
    bend = np.where(s < b.apex, 1 - ((s - b.apex) / b.apex) ** 2, 1 - ((s - b.apex) / (1.15 - b.apex)) ** 2)
    y = person.eyes.height - b.height + b.arch * (0.5 - bend) - np.tan(b.tilt) * (x - b.inner - b.length / 2)
    half = b.thickness / 2 * np.minimum(ramp(-0.15, 0.2, s), 1 - b.taper * ramp(0.4, 1.05, s))
    return np.stack([side * x, y + side * person.shape.lift], 1), half
