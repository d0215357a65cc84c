"""Photos for alignment_quality.py and own_faces.py: unpacked, turned, or put together from aligned faces.

They are the same on every run.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Dict, Optional, Set, Tuple

import cv2
import numpy as np

PEOPLE, MOST_PHOTOS = 60, 16  # folders of side_by_side, and photos in each
WITH_TWO = 0.6  # share of its photos with a second face
LARGEST = 0.8  # share of those in which the person has the largest face
WIDTH, HEIGHT = 480, 270


def unpack(archive: Path, folder: Path, prefix: str, names: Optional[Set[str]] = None) -> None:
    """Files of a tar below ``prefix``, all or some, into a folder."""
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name[len(prefix) :]
            if member.isfile() and member.name.startswith(prefix) and (names is None or name in names):
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(member).read())


def size_of(path: Path) -> Tuple[int, int]:
    """(width, height)."""
    height, width = cv2.imread(str(path)).shape[:2]
    return width, height


# ------------------------------------------------------------------------------- turned

_CODES = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def turned(raw: Path, folder: Path, names: list, turn: int) -> Path:
    """Write photos turned clockwise by ``turn`` degrees, without a header that says so; returns the folder."""
    for name in names:
        pixels = cv2.imread(str(raw / name))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if turn:
            pixels = cv2.rotate(pixels, _CODES[turn])
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return folder


def turn_points(points: np.ndarray, size: Tuple[int, int], turn: int) -> np.ndarray:
    """Points (5, 2) of an upright photo of (width, height), in the photo turned clockwise."""
    width, height = size
    x, y = points.T
    columns = {0: (x, y), 90: (height - 1 - y, x), 180: (width - 1 - x, height - 1 - y), 270: (y, width - 1 - x)}
    return np.stack(columns[turn], axis=1)


# ------------------------------------------------------------------------------- two people in a photo


def side_by_side(source: Path, folder: Path, same_companion: bool) -> Dict[str, int]:
    """Write folders of photos of one person, most of them with a second face beside it.

    The people are those of ``source`` with the most images, of which each is used once; second faces are of other
    people, a new one each time or the same person in all photos of a folder.

    Returns
    -------
    dict
        Path below ``folder`` of each photo of two, and the side of the person of the folder: 0 left, 1 right.
    """
    albums = {person.name: sorted(person.iterdir()) for person in sorted(source.iterdir())}
    people = sorted(albums, key=lambda name: (-len(albums[name]), name))
    chosen, others = people[:PEOPLE], people[PEOPLE:]
    rng = np.random.default_rng(0)
    sides = {}
    for number, person in enumerate(chosen):
        (folder / person).mkdir(parents=True)
        companions = albums[others[number]] if same_companion else [albums[o][0] for o in rng.permutation(others)]
        for i, path in enumerate(albums[person][:MOST_PHOTOS]):
            two, largest, side = rng.random() < WITH_TWO, rng.random() < LARGEST, int(rng.integers(2))
            tall = int(rng.integers(150, 220))
            small = int(tall * rng.uniform(0.55, 0.85))
            photo = _wall(rng)
            _paste(photo, path, tall if largest or not two else small, side, rng)
            if two:
                _paste(photo, companions[i % len(companions)], small if largest else tall, 1 - side, rng)
                sides[f"{person}/{i:02d}.jpg"] = side
            cv2.imwrite(str(folder / person / f"{i:02d}.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return sides


def mixed_albums(source: Path, folder: Path, people: int, images: Tuple[int, int]) -> Tuple[int, int]:
    """Write folders of photos of people with few images: two thirds unchanged, the others put into larger photos.

    The larger ones are turned by up to 25 degrees, and three quarters have a smaller face of a stranger beside them.

    Parameters
    ----------
    people
        How many, drawn from those of ``source``.
    images
        Least and most images of a person in ``source``.

    Returns
    -------
    (int, int)
        Photos, and how many of them are larger.
    """
    rng = np.random.default_rng(0)
    albums = {person.name: sorted(person.iterdir()) for person in sorted(source.iterdir())}
    fitting = [name for name, album in albums.items() if images[0] <= len(album) <= images[1]]
    chosen = sorted(rng.permutation(fitting)[:people])
    strangers = [album[0] for album in albums.values() if len(album) == 1]
    count = larger = 0
    for person in chosen:
        (folder / person).mkdir(parents=True)
        for path in albums[person]:
            count += 1
            if rng.random() >= 1 / 3:
                (folder / person / path.name).write_bytes(path.read_bytes())
                continue
            larger += 1
            photo, side, tall = _wall(rng), int(rng.integers(2)), int(rng.integers(150, 220))
            _paste(photo, path, tall, side, rng, rng.uniform(-25, 25))
            if rng.random() < 0.75:
                stranger = strangers[rng.integers(len(strangers))]
                _paste(photo, stranger, int(tall * rng.uniform(0.55, 0.85)), 1 - side, rng)
            cv2.imwrite(str(folder / person / path.name), photo, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return count, larger


def side(box: np.ndarray) -> int:
    """The side of the photo on which a box (4,) stands: 0 left, 1 right."""
    return int((box[0] + box[2]) / 2 > WIDTH / 2)


def _wall(rng: np.random.Generator) -> np.ndarray:
    """A blurred background (HEIGHT, WIDTH, 3) uint8."""
    small = rng.uniform(60, 180, (4, 6, 3)).astype(np.float32)
    smooth = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def _paste(photo: np.ndarray, path: Path, size: int, side: int, rng: np.random.Generator, turn: float = 0) -> None:
    """Put an image, scaled to ``size`` x ``size`` and turned by degrees, somewhere into a half of the photo."""
    half = WIDTH // 2
    pixels = cv2.resize(cv2.imread(str(path)), (size, size), interpolation=cv2.INTER_AREA)
    if turn:
        matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn, 1)
        pixels = cv2.warpAffine(pixels, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    x, y = side * half + int(rng.integers(half - size + 1)), int(rng.integers(HEIGHT - size + 1))
    photo[y : y + size, x : x + size] = pixels
