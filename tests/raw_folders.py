"""Raw folders of "people" who are patterns, a landmarks table of them, and a network that knows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Sequence

import cv2
import numpy as np

from insight.detect.crop import Measures
from insight.detect.face import Face
from insight.detect.face_table import HEADING, FaceRow, to_csv
from insight.faces.alignment import template

SIZE = (112, 112)


def pattern(person: int) -> np.ndarray:
    """uint8 (112, 112, 3): how a person looks."""
    small = np.random.default_rng(person).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC)


class RawFolder:
    """Photos of patterns, and the table of their faces."""

    def __init__(self, root: Path):
        self.root = root
        self.rows: List[FaceRow] = []

    def photo(self, name: str, people: Sequence[tuple], size=(480, 320), suffix: str = "") -> Path:
        """A photo of ``people``: (person, x, y, side) each; side 112 is the size of a crop."""
        pixels = np.full((size[1], size[0], 3), 90, np.uint8)
        for person, x, y, side in people:
            pixels[y : y + side, x : x + side] = cv2.resize(pattern(person), (side, side))
            points = (template(SIZE).astype(np.float64) + 0.5) * side / 112 - 0.5 + [x, y]
            box = np.array([x + 0.15 * side, y + 0.1 * side, x + 0.85 * side, y + 0.95 * side])
            face = Face(box, points, 0.9)
            self.rows.append(FaceRow(name, "kept", face=face, measures=Measures(1, 1, 0)))
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(suffix or path.suffix, pixels[..., ::-1])[1].tobytes())
        os.utime(path, ns=(0, 10**18))
        return path

    def table(self) -> str:
        """The path of the table."""
        path = self.root.parent / f"{self.root.name}.csv"
        path.write_text(HEADING + to_csv(self.rows), encoding="utf-8", errors="surrogateescape")
        return str(path)


class PatternNetwork:
    """Knows patterns by 4 x 4 means."""

    image_size = SIZE
    notes = ("has no layers",)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        small = images.reshape(len(images), 3, 4, 28, 4, 28).mean((3, 5)).reshape(len(images), -1)
        return (small - 127.5).astype(np.float32)

    def describe(self) -> str:
        return "patterns"


def contents(folder) -> Dict[str, bytes]:
    """All files below a folder, with their bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def shown(folder) -> Dict[str, bytes]:
    """Its files that are not hidden."""
    return {name: data for name, data in contents(folder).items() if not name.startswith(".")}
