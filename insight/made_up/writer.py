"""Writer of a licence-free set of faces of people who do not exist, drawn from a seed.

Two pictures of one person differ in pose, light, expression, sharpness, colour and background, while shape, features,
skin, hair and marks are the same. Each picture depends only on (seed, identity, image), not on the numbers of pictures
or workers, so a larger set contains all smaller ones. Bytes are the same on all machines with the same arithmetic of
NumPy and OpenCV and the same JPEG encoder of OpenCV.

    write_aligned("faces", identities=64, images=20)      faces/person_00000/0000.jpg, 112 x 112
    write_photos("photos", identities=64, images=5)       photos/person_00000/0000.jpg and faces.csv
    pixels, points = render_face(identity=3, image=7)

Raises :class:`insight.errors.InsightError` for invalid counts and folders.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Callable, List, Optional, Tuple

import cv2
import numpy as np

from ..errors import InsightError
from ..executor import PROCESSES, Workers
from ..files.commit import folder_beside
from ..machine.cores import physical_cores
from ..progress import track
from .face_paint import Look, build_look
from .face_render import render_aligned
from .nuisance import Nuisance, draw_shot
from .people import draw_identity
from .photos import STRANGERS, DrawnFace, render_photo

__all__ = ["DrawnFace", "Nuisance", "Written", "render_face", "render_photo", "write_aligned", "write_photos"]

CHART = 320  # texels; 1.5 per pixel of the crop
QUALITY = 95  # of the JPEG files; earlier compression is part of Nuisance
MOST_IMAGES = 10_000  # per person: file names have four digits
TRUTH_NAME = "faces.csv"
TRUTH_COLUMNS = (
    "image face identity subject x1 y1 x2 y2 left_eye_x left_eye_y right_eye_x right_eye_y nose_x nose_y "
    "left_mouth_x left_mouth_y right_mouth_x right_mouth_y"
).split()


@dataclass
class Written:
    """Summary of a written set."""

    folder: str
    identities: int
    images: int
    faces: int
    seconds: float

    def lines(self) -> List[str]:
        faces = f", {self.faces} faces ({TRUTH_NAME})" if self.faces != self.images else ""
        return [f"{self.folder}: {self.images} images of {self.identities} people{faces}, {self.seconds:.1f} s"]


def render_face(
    identity: int, image: int, seed: int = 0, nuisance: Optional[Nuisance] = None
) -> Tuple[np.ndarray, np.ndarray]:
    """Draw one aligned face.

    Parameters
    ----------
    identity, image : int
        Numbers of the person and the picture, from 0.
    seed : int
        Another seed gives other people.
    nuisance : Nuisance, optional
        Ranges of the differences between pictures of a person; ``Nuisance()`` by default.

    Returns
    -------
    pixels : np.ndarray
        (112, 112, 3) uint8 RGB.
    points : np.ndarray
        (5, 2) float64: eyes, nose tip and mouth corners, x, y in pixels, image-left first. The similarity transform
        that fits them to InsightFace's template is the crop's jitter.
    """
    _check(identity + 1, image + 1, seed)
    look = _look(seed, identity)
    return render_aligned(look, draw_shot(seed, identity, image, nuisance or Nuisance()))


def write_aligned(
    out_dir: str,
    identities: int = 64,
    images: int = 20,
    seed: int = 0,
    nuisance: Optional[Nuisance] = None,
    workers: Optional[int] = None,
) -> Written:
    """Write a folder of aligned 112 x 112 faces, ``person_<identity>/<image>.jpg``.

    Parameters
    ----------
    out_dir : str
        Must not exist or be empty. It is created when the set is complete; until then the set is written to a hidden
        folder beside it, which is removed on any error.
    identities, images : int
        Number of people, and of pictures per person.
    seed, nuisance
        As in :func:`render_face`.
    workers : int, optional
        Processes; by default all physical cores. The set does not depend on it.

    Raises
    ------
    InsightError
        A count is out of range, or ``out_dir`` already exists and is not an empty folder.
    OSError
        The disk is full, or the folder cannot be written.
    """
    _check(identities, images, seed)
    return _write(out_dir, _write_person, identities, images, seed, nuisance, workers)


def write_photos(
    out_dir: str,
    identities: int = 64,
    images: int = 5,
    seed: int = 0,
    nuisance: Optional[Nuisance] = None,
    workers: Optional[int] = None,
) -> Written:
    """Write a folder of photographs, 540 x 720 to 960 x 720, of the same people as :func:`write_aligned`.

    The person of a folder has the largest face, nearest to the middle; up to two bystanders have no folder.
    ``faces.csv`` beside the folders has a row per face: image, face (0 is the subject), identity, subject (1 or 0), box
    (x1, y1, x2, y2: hairline to chin, cheek to cheek) and five points, in pixels. Parameters and errors are those of
    :func:`write_aligned`.
    """
    _check(identities, images, seed)
    return _write(out_dir, _write_album, identities, images, seed, nuisance, workers)


def _check(identities: int, images: int, seed: int) -> None:
    for name, value, most in (("identities", identities, STRANGERS), ("images", images, MOST_IMAGES)):
        if not 1 <= value <= most:
            raise InsightError(f"--{name} {value}: want 1 to {most}")
    if not 0 <= seed < 2**32:
        raise InsightError(f"--seed {seed}: want 0 to 4294967295")


# ------------------------------------------------------------------------- one worker


@lru_cache(maxsize=4)
def _look(seed: int, identity: int) -> Look:
    return build_look(draw_identity(seed, identity), CHART)


def _save(pixels: np.ndarray, path: Path) -> None:
    coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    path.write_bytes(coded.tobytes())  # not cv2.imwrite, which does not report a full disk


def _write_person(root: Path, identity: int, images: int, seed: int, nuisance: Nuisance) -> List[list]:
    folder = root / f"person_{identity:05d}"
    folder.mkdir()
    look = build_look(draw_identity(seed, identity), CHART)
    for image in range(images):
        _save(render_aligned(look, draw_shot(seed, identity, image, nuisance))[0], folder / f"{image:04d}.jpg")
    return []


def _write_album(root: Path, identity: int, images: int, seed: int, nuisance: Nuisance) -> List[list]:
    folder = root / f"person_{identity:05d}"
    folder.mkdir()
    rows = []
    for image in range(images):
        path = folder / f"{image:04d}.jpg"
        pixels, faces = render_photo(seed, identity, image, nuisance)
        _save(pixels, path)
        for number, face in enumerate(faces):
            numbers = [f"{v:.2f}" for v in (*face.box, *face.points.ravel())]
            rows.append([str(path.relative_to(root)), number, face.identity, int(face.subject), *numbers])
    return rows


# ----------------------------------------------------------------------------- many workers, one set


def _write(out_dir, write_one: Callable, identities, images, seed, nuisance, workers) -> Written:
    start = time.monotonic()
    workers = physical_cores() if workers is None else workers
    if workers < 1:
        raise InsightError(f"--num-workers {workers}: want 1 or more")
    with folder_beside(out_dir) as root:

        def write_identity(identity: int) -> List[list]:
            return write_one(root, identity, images, seed, nuisance or Nuisance())

        rows: List[list] = []
        with Workers(write_identity, min(workers, identities), PROCESSES, _draw_on_one_core) as pool:
            for album in track(pool.in_order(range(identities)), "drawing", identities, "people"):
                rows += album
        if rows:
            rows.sort(key=lambda row: (row[0], row[1]))
            with open(root / TRUTH_NAME, "w", encoding="ascii", newline="") as out:
                csv.writer(out, lineterminator="\n").writerows([TRUTH_COLUMNS, *rows])
    pictures = identities * images
    return Written(str(out_dir), identities, pictures, len(rows) or pictures, time.monotonic() - start)


def _draw_on_one_core() -> None:
    cv2.setNumThreads(0)  # each worker has a core; OpenCV's own threads would slow the others down
