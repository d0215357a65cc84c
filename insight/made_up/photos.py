"""Raw photographs: a scene with one to three people, and the positions of their faces.

The subject has the largest face, nearest to the middle; bystanders are smaller, in the background, and not among the
identities of the data set. Coordinates are pixels of the photograph; the centre of the top left pixel is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import List, Tuple

import numpy as np

from .camera import INTEROCULAR, Camera, degrade, develop, metered_gain
from .face_paint import Look, build_look
from .face_render import draw_person, posed_landmarks
from .nuisance import Nuisance, Shot, draw_shot
from .people import draw_identity, stream
from .rays import rotation
from .scenery import scenery

SIZES = ((640, 480), (720, 540), (800, 600), (960, 720), (600, 720), (540, 720))  # width, height
BYSTANDERS = (0.50, 0.32, 0.18)  # probabilities of none, one, two
STRANGERS = 1_000_000  # first index of bystanders, above all identities of a set
CHART, BYSTANDER_CHART = 512, 320  # texels


@dataclass
class DrawnFace:
    """Ground truth of one face of a photograph.

    Attributes
    ----------
    identity : int
        Number of the person; from ``STRANGERS`` on for bystanders.
    subject : bool
        Whether the photograph is of this person.
    box : np.ndarray
        (4,) x1, y1, x2, y2, from the hairline to the chin and from cheek to cheek.
    points : np.ndarray
        (5, 2) x, y: eyes, nose tip, mouth corners, image-left first.
    """

    identity: int
    subject: bool
    box: np.ndarray
    points: np.ndarray


@lru_cache(maxsize=3)  # the subject of a folder and up to two bystanders per photograph
def _look(seed: int, identity: int, chart: int) -> Look:
    return build_look(draw_identity(seed, identity), chart)


def face_box(look: Look, shot: Shot, camera: Camera) -> np.ndarray:
    """Box (4,) of the visible face: the projected front of the head between hairline and chin."""
    points, n = look.head.points[:, ::8, ::8], look.head.normals[::8, ::8]
    azimuth = np.arctan2(np.abs(points[0]), points[2])
    face = (points[1] > -0.98) & (azimuth < 1.10) & (n[..., 1] < 0.7)
    turned = points[:, face].T @ rotation(shot.yaw, shot.pitch, shot.roll).T
    pixels = camera.project(turned)
    return np.concatenate([pixels.min(0), pixels.max(0)])


def render_photo(seed: int, identity: int, image: int, nuisance: Nuisance) -> Tuple[np.ndarray, List[DrawnFace]]:
    """Render one photograph of a person: pixels (H, W, 3) uint8 RGB, and its faces, the subject first."""
    rng = stream(seed, "scene", identity, image)
    width, height = SIZES[rng.integers(len(SIZES))]
    scene = scenery(rng, height, width)
    shot = draw_shot(seed, identity, image, nuisance)
    cast_list = _place_people(rng, seed, identity, shot, nuisance, height, width)
    faces = []
    for person, pose, camera in reversed(cast_list):  # the subject is drawn last, in front
        look = _look(seed, person, CHART if person == identity else BYSTANDER_CHART)
        draw_person(scene, look, pose, camera)
        points = camera.project(posed_landmarks(look, pose))
        faces.append(DrawnFace(person, person == identity, face_box(look, pose, camera), points))
    faces.reverse()
    x1, y1, x2, y2 = np.clip(faces[0].box, 0, (width, height, width, height)).astype(int)
    shown = develop(scene, shot, metered_gain(scene[y1:y2, x1:x2]))
    return degrade(shown, shot, abs(cast_list[0][2].turn) / INTEROCULAR), faces


def _place_people(rng, seed: int, identity: int, shot: Shot, nuisance: Nuisance, height: int, width: int):
    """(identity, shot, camera) of each person, the subject first. All are lit as the subject is."""
    size = rng.uniform(0.075, 0.125) * min(width, height)  # interocular distance, pixels
    x, y = width * rng.uniform(0.42, 0.58), height * rng.uniform(0.34, 0.48)
    people = [(identity, shot, Camera(complex(size), complex(x, y)))]
    bystanders = int(rng.choice(len(BYSTANDERS), p=BYSTANDERS))
    sides = rng.permutation([-1, 1])
    for side in sides[:bystanders]:
        person = STRANGERS + int(rng.integers(1_000_000))
        small = size * rng.uniform(0.45, 0.75)
        room = x if side < 0 else width - x
        away = rng.uniform(1.75 * size + 1.6 * small, max(1.75 * size + 1.6 * small + 1, room - 1.7 * small))
        if away > room - 1.6 * small:
            continue  # no space on this side
        drawn = draw_shot(seed, person, 0, nuisance)
        lights = ("light_azimuth", "light_elevation", "key", "ambient", "warmth")
        pose = replace(drawn, values={**drawn.values, **{name: shot.values[name] for name in lights}})
        level = y + rng.uniform(-0.6, 0.9) * size
        people.append((person, pose, Camera(complex(small), complex(x + side * away, level))))
    return people
