"""Payloads that are no images, told by their first bytes: copying a set must not decode it."""

from __future__ import annotations

from typing import Iterator, Optional, Tuple

from ..errors import InsightError
from ..formats import remedies
from ..formats.faceset import FaceSet
from ..images.header import suffix_of
from ..images.kind import DECODED_SUFFIXES

EMPTY, FOREIGN = "empty-image", "not-an-image"  # as dataset-check calls them
_JPEG = b"\xff\xd8\xff"
_SHOWN = 8  # keys in a message


def fault(payload) -> Optional[Tuple[str, str]]:
    """The rule that a payload breaks which no decoder takes, and what it is; None if it begins as an image."""
    if payload[:3] == _JPEG:  # nearly all are
        return None
    if not len(payload):
        return EMPTY, "no bytes"
    suffix = suffix_of(payload)
    if suffix in DECODED_SUFFIXES:
        return None
    what = "" if suffix == ".bin" else f", {suffix[1:]}, which OpenCV does not decode"
    return FOREIGN, f"begins with {bytes(payload[:8])!r}{what}"


def why_unusable(payload) -> str:
    """:func:`fault` as text: ``empty-image: no bytes``; empty if it begins as an image."""
    return ": ".join(fault(payload) or ())


def unusable(faces: FaceSet) -> Iterator[Tuple[int, str]]:
    """Position and reason of each image of a set that no decoder takes."""
    for i in range(len(faces)):
        reason = why_unusable(faces.payload(i))
        if reason:
            yield i, reason


def refuse_unusable(faces: FaceSet) -> None:
    """Complain about payloads that a network cannot embed before hours of work, not in the midst of it.

    Raises
    ------
    InsightError
        The set has such payloads; the message names their keys and the command that leaves them out.
    """
    found = list(unusable(faces))
    if found:
        counted = no_images([int(faces.images[i]) for i, _ in found])
        remedy = f"`{remedies.into_new(faces.rec_path)}` leaves them out and lists them"
        raise InsightError(f"{faces.rec_path}: {counted}, and a network cannot embed them; {remedy}")


def no_images(keys: list) -> str:
    """``3 payloads are no images (keys 4, 9, 11)``."""
    shown = ", ".join(map(str, keys[:_SHOWN])) + (", .." if len(keys) > _SHOWN else "")
    counted = "1 payload is no image (key " if len(keys) == 1 else f"{len(keys)} payloads are no images (keys "
    return counted + shown + ")"
