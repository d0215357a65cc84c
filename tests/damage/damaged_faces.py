"""Faces of which every third file is damaged, with the result of OpenCV's own decoder for each."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, NamedTuple

PEOPLE = 4
EACH = 10


class Faces(NamedTuple):
    """Files of ``faces/<person>/<number>.jpg``, by name: sound ones, damaged ones with the reason, refused ones."""

    folder: Path
    files: Dict[str, bytes]
    damaged: Dict[str, str]
    refused: set


def usable(faces: Faces) -> Dict[str, bytes]:
    return {name: data for name, data in faces.files.items() if name not in faces.refused}


def damaged_keys(faces: Faces) -> Dict[int, str]:
    """Key in ``record_set`` to the decoder's warning."""
    return {key: faces.damaged[name] for key, name in enumerate(usable(faces)) if name in faces.damaged}
