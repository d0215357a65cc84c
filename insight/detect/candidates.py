"""The faces of one photo, and the decision about each of them."""

from __future__ import annotations

import math
from typing import List, Optional

import cv2

from ..errors import InsightError
from ..files.reading import Unreadable, read_file
from ..images.kind import HEAD_BYTES, RAW, kind_of_file
from ..images.pixels import encode_bgr
from .choose import ALL, SKIP, by_size, main_face
from .crop import Measures, crop_face, eye_distance
from .face import Face
from .face_table import rounded
from .photo import Photo
from .settings import QUALITY, AlignSettings, AlignTools

NO_FACE = "no face found"
UNLISTED = "not in the landmarks file"
UNREADABLE = "unreadable, the table has the reasons"
COINCIDE = "the five points coincide"
SMALL = "eyes nearer than --min-eyes"
DOUBTED = "score below --min-score"
SEVERAL = "several faces in the photo (--multi skip)"
OTHER = "another face of the photo was taken"
STRANGER = "no face of the photo is the folder's person"
BLURRED = "sharpness below --min-sharpness"
CUT = "share outside above --max-outside"


class Candidate:
    """A face of a photo.

    Attributes
    ----------
    face : Face
    measures : Measures, optional
        None if the five points coincide.
    crop : bytes, optional
        The encoded crop; None if it will not be needed.
    reason : str
        Why the face is rejected; "" if it is not.
    cosine : float
        Cosine to the centre of the folder's person; NaN if it was not computed.
    """

    def __init__(self, face: Face):
        self.face = face
        self.measures: Optional[Measures] = None
        self.crop: Optional[bytes] = None
        self.reason = ""
        self.cosine = math.nan


class Candidates:
    """Candidate faces of a photo.

    Attributes
    ----------
    faces : list of Candidate
        All faces, the largest first.
    main : Candidate, optional
        The main face, judged by this photo alone.
    problem : str
        Why the photo has no face; "" if it has some.
    kind : str
        The problem without details, for counting.
    warning : str
        The decoder's warning about damaged data; "" for none.
    """

    def __init__(self) -> None:
        self.faces: List[Candidate] = []
        self.problem = self.kind = self.warning = ""
        self.main: Optional[Candidate] = None

    def open(self) -> List[Candidate]:
        """The faces that are not rejected."""
        return [candidate for candidate in self.faces if not candidate.reason]

    def take(self, chosen: Optional[Candidate], reason: str = OTHER) -> None:
        """Reject all faces but ``chosen``."""
        for candidate in self.open():
            if candidate is not chosen:
                candidate.reason = reason

    def settle(self, settings: AlignSettings) -> None:
        """Choose among the remaining faces by ``settings.multi``, then apply the limits of their measures."""
        remaining = self.open()
        if len(remaining) > 1 and settings.multi == SKIP:
            self.take(None, SEVERAL)
        elif len(remaining) > 1 and settings.multi != ALL:
            self.take(self.main)
        for candidate in self.open():
            measures = candidate.measures
            if settings.min_sharpness is not None and measures.sharpness < settings.min_sharpness:
                candidate.reason = BLURRED
            elif settings.max_outside is not None and measures.outside > settings.max_outside:
                candidate.reason = CUT


def candidates_of(path: str, name: str, tools: AlignTools) -> Candidates:
    """Read a photo, find its faces, and measure them.

    Parameters
    ----------
    path : str
        The photo.
    name : str
        Its path below the raw folder.
    tools : AlignTools

    Raises
    ------
    InsightError
        The detector or the landmarks cannot be opened, or the machine fails. An error of the photo itself is not
        raised; it becomes ``problem``.
    """
    listed = tools.settings.landmarks is not None
    source = tools.landmarks if listed else tools.finder  # outside try: its errors are not the photo's
    candidates = Candidates()
    try:
        data = read_file(path)
    except Unreadable as error:
        candidates.problem, candidates.kind = str(error), UNREADABLE
        return candidates
    try:
        if kind_of_file(name, data[:HEAD_BYTES]) is RAW:  # some are TIFFs, of which only a thumbnail decodes
            raise InsightError(f"{RAW.name}, which OpenCV does not decode; convert it to JPEG or PNG")
        photo = Photo(data)
        faces = source.faces(name) if listed else source.find(photo).faces
        _measure(photo, faces, candidates, tools.settings)
        candidates.warning = photo.warning
        if not faces:
            candidates.problem = candidates.kind = UNLISTED if listed else NO_FACE
    except (InsightError, cv2.error) as error:
        candidates.faces = []
        candidates.problem, candidates.kind = str(getattr(error, "err", "") or error), UNREADABLE
    return candidates


def _measure(photo: Photo, faces: List[Face], candidates: Candidates, settings: AlignSettings) -> None:
    """Add the faces; reject those that are too small, too uncertain or degenerate; crop those that may be chosen."""
    candidates.faces = [Candidate(face) for face in by_size([rounded(face) for face in faces])]
    for candidate in candidates.faces:
        if not candidate.face.points.var(axis=0).sum() > 0:
            candidate.reason = COINCIDE
        elif eye_distance(candidate.face) < settings.min_eyes:
            candidate.reason = SMALL
        elif settings.min_score is not None and candidate.face.score < settings.min_score:
            candidate.reason = DOUBTED
    remaining = candidates.open()
    if remaining:
        candidates.main = remaining[main_face([candidate.face for candidate in remaining], photo.size)]
    needed = remaining if settings.model or settings.multi == ALL else [candidates.main] if remaining else []
    for candidate in needed:
        crop, candidate.measures = crop_face(photo, candidate.face, settings.image_size)
        pixels = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
        candidate.crop = encode_bgr(pixels, settings.encoding, QUALITY[settings.encoding])
    for candidate in candidates.faces:  # not taken, so decoded pixels of any size are enough
        if candidate not in needed and candidate.reason != COINCIDE:
            _, candidate.measures = crop_face(photo, candidate.face, settings.image_size, only_measured=True)
