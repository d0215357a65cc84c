"""Search of a photo for faces at several sizes and rotations.

The search is a sequence of attempts. It ends with the first attempt in which the second look is sure of a face and
trusts the largest face; without the latter a smaller face could be taken for the main one. If no attempt succeeds, the
best one without rotation is used. The attempts are:

1. at a longest side of 480 pixels, for faces of at least a twelfth of that;
2. the same with a border of replicated edge pixels, which helps with faces that fill the photo or are cut off;
3. at 1280 pixels, for faces from 20 pixels on;
4. at 480 pixels, rotated by 90, 180 and 270 degrees, unless the best attempt so far is sure of a face.

Detectors also report faces in photos that are upside down, with wrong points; the second look rejects them.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from ..errors import InsightError
from .detectors import detectors
from .detectors.detector import Detector
from .face import Face
from .photo import Photo
from .second_look import FAR, SecondLook

LONGEST, LONGEST_AGAIN = 480, 1280  # longest side in pixels
SMALLEST, SHARE = 20, 12  # smallest face: in pixels, and as the divisor of the longest side
SURE, TRUSTED = 0.95, 0.7  # limits of the second look's score; MTCNN itself accepts 0.7
MOST_MOVED = FAR
BORDER = 0.25  # width of the border on each side, as a share of the longest side
TURNS = (90, 180, 270)  # degrees, clockwise


class Found(NamedTuple):
    """The faces of a photo.

    Attributes
    ----------
    faces : list of Face
        In the photo's coordinates, in the order of the detector, without those that the second look does not trust:
        score below 0.7, or a point moved by more than 10 pixels of the aligned face.
    longest : int
        Longest side of the searched image, in pixels.
    turn : int
        Clockwise rotation of the photo that makes its faces upright: 0, 90, 180 or 270 degrees. Points are named as in
        the upright face.
    """

    faces: List[Face]
    longest: int
    turn: int


def finder(spec: str) -> Finder:
    """Create the finder of a detector.

    Parameters
    ----------
    spec : str
        ``mtcnn``, ``yunet:FILE``, ``scrfd:FILE``, or a detector of an installed package.

    Raises
    ------
    InsightError
        The detector is unknown, its file is missing or of another kind, or a package is missing
        (``pip install -e '.[detect]'``).
    """
    name, colon, file = spec.partition(":")
    kind = detectors.get(name)
    if kind.FILE and not file:
        raise InsightError(f"--detector {spec}: the file is missing; want {name}:FILE, {kind.FILE}")
    if colon and not kind.FILE:
        raise InsightError(f"--detector {spec}: {name} takes no file; want --detector {name}")
    if file and not os.path.isfile(file):
        raise InsightError(f"--detector {spec}: no such file: {file}; want {kind.FILE}")
    return Finder(spec, name, kind(file or None))


class Finder:
    """Finds the faces of photos. Created by :func:`finder`; each process creates its own.

    Attributes
    ----------
    identity : dict
        All that its results depend on, as JSON values: detector, SHA-256 of weights, settings.
    """

    def __init__(self, spec: str, name: str, detector: Detector):
        self._spec = spec
        self._detector = detector
        self._second_look = SecondLook()
        self.identity: Dict[str, Any] = {
            "detector": name,
            **detector.identity(),
            "second look": self._second_look.identity(),
            "longest": [LONGEST, LONGEST_AGAIN],
            "smallest": [SMALLEST, SHARE],
            "trusted": [SURE, TRUSTED, MOST_MOVED],
            "border": BORDER,
        }

    def __reduce__(self):
        return finder, (self._spec,)

    def find(self, photo: Photo) -> Found:
        """Find the faces of a photo.

        Raises
        ------
        InsightError
            The photo does not decode.
        """
        best: Optional[_Attempt] = None  # best attempt without rotation
        for longest, smallest, turn, border in _attempts(max(photo.size)):
            if turn and best is not None and best.sure:
                break
            attempt = self._search(photo, longest, smallest, turn, border)
            if attempt.whole and attempt.sure:
                return attempt.found
            if not turn and attempt.found.faces and (best is None or attempt[:2] > best[:2]):
                best = attempt
        return best.found if best is not None else Found([], longest, 0)

    def _search(self, photo: Photo, longest: int, smallest: float, turn: int, border: float) -> _Attempt:
        pixels, scale = photo.at_most(longest)
        turned = np.ascontiguousarray(np.rot90(pixels, -turn // 90))
        edge = round(border * max(turned.shape[:2]))
        if edge:
            turned = cv2.copyMakeBorder(turned, edge, edge, edge, edge, cv2.BORDER_REPLICATE)
        faces = self._second_look.look(turned, self._detector.detect(turned, smallest))
        trusted = [face for face in faces if face.look_score >= TRUSTED and face.moved <= MOST_MOVED]
        size = (pixels.shape[1], pixels.shape[0])
        within = [face._replace(box=face.box - edge, points=face.points - edge) for face in trusted]
        back = [face.turned_back(turn, size).scaled(1 / scale) for face in within]
        whole = bool(trusted) and max(map(_area, trusted)) >= max(map(_area, faces))
        return _Attempt(whole, any(face.look_score >= SURE for face in trusted), Found(back, longest, turn))


class _Attempt(NamedTuple):
    """Result of one attempt.

    ``whole``: the second look trusts the largest face; ``sure``: it is sure of a face; ``found``: the trusted faces.
    """

    whole: bool
    sure: bool
    found: Found


def _area(face: Face) -> float:
    return float(np.prod(face.box[2:] - face.box[:2]))


def _attempts(longest: int) -> Iterator[Tuple[int, float, int, float]]:
    """Yield the attempts in order: (longest side, smallest face, turn, border).

    Sizes are in pixels; ``turn`` is in degrees clockwise; ``border`` is a share of the longest side.
    """
    first = min(LONGEST, longest)
    smallest = max(SMALLEST, first / SHARE)
    yield first, smallest, 0, 0
    yield first, smallest, 0, BORDER  # takes a sixth of the time of the next attempt
    again = min(LONGEST_AGAIN, longest)
    if (again, SMALLEST) != (first, smallest):
        yield again, SMALLEST, 0, 0
    for turn in TURNS:
        yield first, smallest, turn, 0
