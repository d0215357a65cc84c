"""Rendering of a person: the lit head and the layers around it, drawn from back to front.

All values are linear light; :mod:`camera` converts them to display values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import cv2
import numpy as np

from .camera import CROP, Camera, aligned_camera, degrade, develop, dot, metered_gain
from .canvas import linear, over
from .expression import mouth_pose, paint_expression
from .face_paint import Look
from .head import REACH, Head, chart_directions, ramp, sample, texels
from .nuisance import Shot
from .rays import cast, rotation
from .scenery import backdrop

OVERSAMPLE = 1.25  # per side; the crop is rendered at 140 x 140
SHADOW_CHART = 96  # texels; enough for soft shadows


def posed_landmarks(look: Look, shot: Shot) -> np.ndarray:
    """Five points (5, 3) in camera space with the shot's pose and expression."""
    marks = look.head.landmarks.copy()
    half, corner, _ = mouth_pose(look.person, shot)
    marks[3:, 0] = (-half, half)
    marks[3:, 1] = look.person.mouth.height + corner
    return marks @ rotation(shot.yaw, shot.pitch, shot.roll).T


@dataclass
class Light:
    """The shot's light in camera space: directions (3,), colours (3,) linear."""

    key: np.ndarray
    key_colour: np.ndarray
    ambient_colour: np.ndarray


def shot_light(shot: Shot) -> Light:
    """Key light and ambient light of a shot."""
    azimuth, elevation = np.deg2rad([shot.light_azimuth, shot.light_elevation])
    key = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    warm = np.exp(np.array([0.5, 0.0, -0.5]) * shot.warmth)
    return Light(*(np.float32(v) for v in (key, shot.key * warm, shot.ambient / warm**0.3)))


def cast_shadows(head: Head, towards: np.ndarray) -> np.ndarray:
    """Share of the key light, with direction (3,) in head space, that reaches each texel of the chart, (C, C) in 0..1.

    Marches from the surface towards the light and measures how deep the path runs below the relief.
    """
    relief = cv2.resize(head.relief, (SHADOW_CHART, SHADOW_CHART), interpolation=cv2.INTER_AREA)
    start = chart_directions(SHADOW_CHART) * (1 + relief)
    step = (towards / head.radii).astype(np.float32)
    deepest = np.zeros_like(relief)
    for length in (0.07, 0.13, 0.21, 0.32, 0.48):
        r, u, v = texels(*(start[i] + length * step[i] for i in range(3)), SHADOW_CHART)
        np.maximum(deepest, sample(relief, u, v) + 1 - r, out=deepest)
    return cv2.GaussianBlur(1 - ramp(0.0, 0.05, deepest), (0, 0), 1.0)


WRAP = np.array(
    [0.30, 0.20, 0.14], np.float32
)  # red light scatters furthest below skin, which gives shadows soft, warm edges


def shade(normal, albedo, gloss, open_sky, lit, light: Light, to_head: np.ndarray) -> np.ndarray:
    """Linear colour (H, W, 3). ``normal`` is in head space, ``to_head`` (3, 3) converts camera vectors to it."""
    key = (to_head @ light.key).astype(np.float32)
    up = (to_head @ np.array([0, -1.0, 0.3])).astype(np.float32)
    half = to_head @ (light.key + np.array([0, 0, 1.0]))
    half = (half / np.linalg.norm(half)).astype(np.float32)
    facing = dot(normal, key)
    diffuse = np.clip((facing[..., None] + WRAP) / (1 + WRAP), 0, None) * lit[..., None]
    sky = (0.72 + 0.28 * dot(normal, up)) * open_sky
    light_in = diffuse * light.key_colour + sky[..., None] * light.ambient_colour
    mirror = np.clip(dot(normal, half), 0, 1)
    for _ in range(4):  # to the 16th power
        mirror = mirror * mirror
    mirror = mirror * gloss * lit * (facing > 0)
    return albedo * light_in + (0.45 * mirror)[..., None] * light.key_colour


def draw_person(canvas: np.ndarray, look: Look, shot: Shot, camera: Camera) -> None:
    """Draw a person over linear light (H, W, 3) float32, in place, with an upright body and a turned head."""
    turn = rotation(shot.yaw, shot.pitch, shot.roll)
    light = shot_light(shot)
    base = turn @ np.array([0.0, 1.25, -0.45])  # the neck's root
    extent = float(look.head.radii.max()) * (1 + look.head.bound) + 0.1
    layers = [
        (_draw_neck, (base[0] - 1.5, base[1] - 0.45, base[0] + 1.5, base[1] + 2.4)),
        (_draw_shirt, (base[0] - 4.0, base[1] + 0.75, base[0] + 4.0, 99.0)),
        (_draw_head, (-extent, -extent, extent, extent)),
    ]
    if look.person.style.long or look.person.style.curls > 0.5:
        layers.insert(0, (_draw_hanging_hair, (-2.4, -2.6, 2.4, 4.0)))
    for draw, (x1, y1, x2, y2) in layers:
        corners = camera.project(np.array([[x1, y1], [x1, y2], [x2, y1], [x2, y2]]))
        left, top = np.clip(np.floor(corners.min(0)), 0, canvas.shape[1::-1]).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(0)), 0, canvas.shape[1::-1]).astype(int)
        if right > left and bottom > top:
            x, y = camera.plane(bottom - top, right - left, left, top)
            draw(canvas[top:bottom, left:right], look, shot, light, turn, x, y, 1 / abs(camera.turn))


def _draw_head(canvas, look: Look, shot: Shot, light: Light, turn, x, y, pixel) -> None:
    head = look.head
    hits = cast(head, turn, x, y, pixel)
    map_x, map_y = hits.map_x, _flex(look, shot, hits.map_x, hits.map_y)
    towards = turn.T @ light.key
    view = turn.T @ np.array([0, 0, 1.0])
    catch = np.clip((towards - view)[:2] * 0.9, -0.75, 0.75)
    albedo = sample(paint_expression(look, shot, (catch[0], catch[1])), map_x, map_y)
    normal = sample(head.normals, map_x, map_y)
    surface = sample(look.surface, map_x, map_y)  # gloss, hollows
    ratio = np.float32(SHADOW_CHART / head.size)
    lit = sample(cast_shadows(head, towards), (hits.map_x + 0.5) * ratio - 0.5, (hits.map_y + 0.5) * ratio - 0.5)
    colour = shade(normal, albedo, surface[..., 0], surface[..., 1], lit, light, turn.T)
    canvas += hits.cover[..., None] * (colour - canvas)


def _flex(look: Look, shot: Shot, map_x, map_y) -> np.ndarray:
    """Rows of the chart, shifted by the expression: brows up, chin down, cheeks up."""
    brow, jaw, cheek = cv2.split(sample(look.flex, map_x * 0.25, map_y * 0.25))
    per_unit = look.head.size / (2 * REACH[1]) / (2 * look.head.radii[1])
    gap = mouth_pose(look.person, shot)[2]
    return map_y + np.float32(per_unit) * (
        np.float32(0.10 * shot.brow_raise) * brow - np.float32(0.75 * gap) * jaw + np.float32(0.06 * shot.smile) * cheek
    )


def _shoulder_line(ax: np.ndarray) -> np.ndarray:
    """Distance from the root of the neck down to the shoulders, at a distance ``ax`` from the middle."""
    return 0.82 + 0.33 * np.maximum(ax - 0.45, 0) + 2.5 * np.maximum(ax - 2.6, 0) ** 2


def _from_neck(turn, x, y):
    base = np.float32(turn @ np.array([0.0, 1.25, -0.45]))
    return x - base[0], y - base[1]


def _draw_neck(canvas, look: Look, shot: Shot, light: Light, turn, x, y, pixel) -> None:
    """Draw the neck and the skin above a shirt's collar."""
    shape, key = look.person.shape, light.key
    bx, by = _from_neck(turn, x, y)
    facing = np.clip((key[0] * 0.5 * np.tanh(bx) + 0.8 * key[2] - 0.35 * key[1] + 0.2) / 1.2, 0, None)
    bright = facing[..., None] * light.key_colour + 0.5 * light.ambient_colour
    over(canvas, look.tone * bright, ramp(-pixel, pixel, by - _shoulder_line(np.abs(bx))))
    half = 0.64 * shape.width * (1 + 0.6 * shape.jaw) + 0.9 * np.maximum(by - 0.75, 0) ** 2
    across = bx / half
    cover = ramp(-1 - pixel, -1 + pixel, -np.abs(across)) * ramp(-0.4, -0.2, by) * (1 - ramp(0.85, 1.35, by))
    depth = np.sqrt(np.clip(1 - across * across, 0.02, 1))
    facing = np.clip((key[0] * across + key[2] * depth + 0.2) / 1.2, 0, None)
    facing = facing * (0.35 + 0.65 * ramp(0.2, 1.0, by))  # the chin's shadow
    sky = 0.55 * (0.4 + 0.6 * ramp(0.0, 0.9, by))
    over(canvas, look.tone * (facing[..., None] * light.key_colour + sky[..., None] * light.ambient_colour), cover)


def _draw_shirt(canvas, look: Look, shot: Shot, light: Light, turn, x, y, pixel) -> None:
    rng = np.random.default_rng(shot.clothes)
    bx, by = _from_neck(turn, x, y)
    ax, key = np.abs(bx), light.key
    depth, pointed = rng.uniform(0.1, 1.0), rng.random() < 0.4
    dip = np.clip(1 - ax / 0.85, 0, 1) if pointed else np.sqrt(np.clip(1 - (ax / 0.85) ** 2, 0, 1))
    collar = _shoulder_line(ax) - 0.05 + (0.12 + depth * dip) * (1 - ramp(0.75, 1.0, ax))
    cloth = linear(np.clip(rng.uniform(0.05, 0.9) + rng.normal(0, 0.18, 3), 0.02, 0.95))
    waves, weaves = rng.uniform(1, 5, 2), rng.uniform(8, 22)
    weave = 1 + 0.10 * np.sin(bx * waves[0] + 2 * np.sin(by * waves[1]))
    if rng.random() < 0.35:
        weave = weave * (1 - 0.5 * (np.sin((by if rng.random() < 0.5 else bx) * weaves) > 0.3))
    facing = np.clip(0.35 + 0.30 * key[0] * np.tanh(bx) + 0.4 * key[2] - 0.25 * key[1], 0.05, 1.2)
    bright = facing[..., None] * light.key_colour + 0.7 * light.ambient_colour
    shade_in = weave * (0.75 + 0.25 * ramp(-0.1, 0.5, by - collar))
    over(canvas, cloth * shade_in.astype(np.float32)[..., None] * bright, ramp(-pixel, pixel, by - collar))


def _draw_hanging_hair(canvas, look: Look, shot: Shot, light: Light, turn, x, y, pixel) -> None:
    """Draw hair behind the neck, from the crown down to the length of the style."""
    hair, style, key = look.person.hair, look.person.style, light.key
    centre = np.float32(turn @ np.array([0.0, 0.0, -0.45]))
    hx, hy = x - centre[0], y - centre[1]
    half = float(look.head.radii[0]) * (1.0 + style.thick * hair.thick) + 0.06
    down = np.clip((hy - 0.1) / max(style.long, 0.8), 0, 1.2)
    sway = 0.10 * hair.wave * (0.3 + style.curls) * np.sin(4.5 * hy + 2.0 * np.sign(hx))
    column = np.mod((hx + sway) * 45 + 128 + 12 * down, 255)
    coarse = np.ascontiguousarray(look.strands[::4, ::4])
    strand = cv2.remap(coarse, column, 40 + 12 * hy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    edge = half * (1 + 0.14 * down) + sway + 0.05 * strand - 0.25 * ramp(0.85, 1.1, down)
    side = ramp(-pixel * 2, pixel * 2, edge - np.abs(hx)) * ramp(0.0, 0.12, 0.1 + style.long + 0.15 * strand - hy)
    cap = (hx / half) ** 2 + (np.minimum(hy, 0) / float(look.head.radii[1])) ** 2
    cover = np.where(hy > 0, side, ramp(0.0, 0.06, 1.04 + 0.05 * strand - cap))
    facing = np.clip(0.25 + 0.35 * key[0] * np.clip(hx, -1, 1) + 0.35 * key[2], 0.04, 1)
    facing = facing * (0.45 + 0.55 * ramp(0.75, 1.15, np.abs(hx) / half))  # dark behind the neck
    tone = linear(look.person.hair_colour) * np.clip(1 + 1.2 * hair.strands * strand, 0.3, 2)[..., None]
    over(canvas, tone * (facing[..., None] * light.key_colour + 0.6 * light.ambient_colour), cover)


def render_aligned(look: Look, shot: Shot) -> Tuple[np.ndarray, np.ndarray]:
    """Render one aligned crop: pixels (112, 112, 3) uint8 RGB, and its five points (5, 2) in pixels."""
    landmarks = posed_landmarks(look, shot)
    camera = aligned_camera(landmarks, shot)
    side = round(CROP * OVERSAMPLE)
    scene = backdrop(shot.rng, side, side)
    draw_person(scene, look, shot, camera.magnify(OVERSAMPLE))
    scene = cv2.resize(scene, (CROP, CROP), interpolation=cv2.INTER_AREA)
    metered = metered_gain(scene[40:100, 30:82])
    return degrade(develop(scene, shot, metered), shot), camera.project(landmarks)
