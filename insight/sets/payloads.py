"""Detection of payloads that are not images by their first bytes, since copying a set must not decode it."""

from __future__ import annotations

from typing import Iterator, Optional, Tuple

from ..errors import InsightError
from ..formats import remedies
from ..formats.faceset import FaceSet
from ..images.header import suffix_of
from ..images.kind import DECODED_SUFFIXES

EMPTY, FOREIGN = "empty-image", "not-an-image"  # rules of dataset-check
_JPEG = b"\xff\xd8\xff"
_SHOWN = 8  # keys in a message


def fault(payload) -> Optional[Tuple[str, str]]:
    """Return the rule that a payload violates and the detail; None if it begins like an image that OpenCV decodes."""
    if payload[:3] == _JPEG:  # nearly all payloads
        return None
    if not len(payload):
        return EMPTY, "no bytes"
    suffix = suffix_of(payload)
    if suffix in DECODED_SUFFIXES:
        return None
    what = "" if suffix == ".bin" else f", {suffix[1:]}, which OpenCV does not decode"
    return FOREIGN, f"begins with {bytes(payload[:8])!r}{what}"


def why_unusable(payload) -> str:
    """Return :func:`fault` as text, such as ``empty-image: no bytes``; "" if there is none."""
    return ": ".join(fault(payload) or ())


def unusable(faces: FaceSet) -> Iterator[Tuple[int, str]]:
    """Yield position and reason of each payload of a set that has a :func:`fault`."""
    for i in range(len(faces)):
        reason = why_unusable(faces.payload(i))
        if reason:
            yield i, reason


def refuse_unusable(faces: FaceSet) -> None:
    """Raise if a set has payloads that a network cannot embed, before hours of work.

    Raises
    ------
    InsightError
        The set has such payloads; the message names their keys and the command that removes them.
    """
    positions = [i for i, _ in unusable(faces)]
    if positions:
        counted = no_images([int(faces.images[i]) for i in positions])
        remedy = f"`{remedies.into_new(faces.rec_path)}` skips and lists them"
        raise InsightError(f"{faces.rec_path}: {counted}, and a network cannot embed them; {remedy}")


def no_images(keys: list) -> str:
    """Return a text such as ``3 payloads are not images (keys 4, 9, 11)``."""
    shown = ", ".join(map(str, keys[:_SHOWN])) + (", .." if len(keys) > _SHOWN else "")
    counted = "1 payload is not an image (key " if len(keys) == 1 else f"{len(keys)} payloads are not images (keys "
    return counted + shown + ")"
