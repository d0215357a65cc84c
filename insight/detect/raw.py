"""Listing of raw photos, in identity folders or in a flat folder without identities.

Photos are listed as by all commands (:mod:`insight.faces.folders`), but at any depth below the identity folders. Images
of kinds that OpenCV does not decode, such as HEIC, are listed too, so that the table says why they have no face.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..faces.folders import (
    NESTED,
    SAME_FOLDER,
    UNDECODED,
    Skipped,
    identity_entries,
    place_of,
    root_entries,
    sorted_entries,
    why_left_out,
)

AROUND = "links to a folder that contains them"
FLAT = "flat"  # folder of the crops of photos that are directly in the raw folder
RUN = 64  # mean number of photos per unit of a flat folder
LONGEST_STEM = 200  # bytes; leaves room for number, suffix and the additions of a temporary name within 255 bytes
_CUT, _DIGEST = 180, 12
_UNLISTABLE = str.maketrans("\t\r\n", "___")  # characters that a .lst cannot contain


class RawPhoto(NamedTuple):
    """A photo: its path below the raw folder, and the name of its crop without number and suffix."""

    path: str
    stem: str


class PhotoUnit(NamedTuple):
    """Photos that are processed together: those of an identity folder, or a run of those of a flat folder.

    Attributes
    ----------
    folder : str
        Name of the folder of its crops.
    key : str
        Unique name of the unit.
    photos : list of RawPhoto, optional
        None for all photos below ``folder``.
    """

    folder: str
    key: str
    photos: Optional[List[RawPhoto]] = None


def identity_units(raw: str, skipped: Skipped) -> List[PhotoUnit]:
    """A unit for each identity folder, sorted by name; other entries are counted as skipped.

    Raises
    ------
    InsightError
        The folder is missing or cannot be read.
    """
    return [PhotoUnit(entry.name, entry.name) for entry in identity_entries(raw, skipped)]


def flat_units(raw: str, skipped: Skipped) -> Iterator[PhotoUnit]:
    """Yield the units of a folder without identities.

    Crops of photos directly in it go to the folder ``flat``, those of photos in a subfolder to a folder of the same
    name. A hash of a photo's path determines whether a unit ends after it, so an additional photo changes only one
    unit.

    Raises
    ------
    InsightError
        The folder is missing or cannot be read.
    """
    beside: List[str] = []
    folders: List[str] = []
    for entry in root_entries(raw):
        reason = why_left_out(entry)
        if _is_photo(reason):
            beside.append(entry.name)
        elif reason == NESTED:
            folders.append(entry.name)
        else:
            skipped.note(reason or "", entry.name)
    for folder in sorted({*folders, *([FLAT] if beside else [])}):
        paths = beside if folder == FLAT else []
        if folder in folders:
            paths = paths + photos_below(raw, folder, skipped)
        run: List[RawPhoto] = []
        for photo in with_stems(folder, paths):
            run.append(photo)
            if not _hash(photo.path)[0] % RUN:
                yield PhotoUnit(folder, f"{folder}/{run[0].path}", run)
                run = []
        if run:
            yield PhotoUnit(folder, f"{folder}/{run[0].path}", run)


def photos_of(raw: str, unit: PhotoUnit, skipped: Skipped) -> List[RawPhoto]:
    """List the photos of a unit."""
    if unit.photos is not None:
        return unit.photos
    return with_stems(unit.folder, photos_below(raw, unit.folder, skipped))


def photos_below(raw: str, folder: str, skipped: Skipped) -> List[str]:
    """Sorted paths, relative to ``raw``, of all photos at any depth in one of its folders.

    A folder that is reached by several links is listed once. Links to a folder that contains ``folder`` are not
    followed, because it has photos of other people.
    """
    paths: List[str] = []
    seen: Set[Tuple[int, int]] = set()
    around = {place for path in (raw, os.path.join(raw, folder)) for place in _places_around(path)}
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            place = place_of(os.stat(os.path.join(raw, here)))
            entries = sorted_entries(os.path.join(raw, here)) if place not in seen | around else None
        except OSError as error:
            skipped.note(f"folders that cannot be read ({error.strerror})", here)
            continue
        if entries is None:
            skipped.note(AROUND if place in around else SAME_FOLDER, here)
            continue
        seen.add(place)
        deeper = []
        for entry in entries:
            path = f"{here}/{entry.name}"
            reason = why_left_out(entry)
            if _is_photo(reason):
                paths.append(path)
            elif reason == NESTED:
                deeper.append((entry.is_symlink(), path))
            else:
                skipped.note(reason or "", path)
        waiting += [path for _, path in sorted(deeper, reverse=True)]  # a folder before links to it
    return sorted(paths)


def with_stems(folder: str, paths: Sequence[str]) -> List[RawPhoto]:
    """Give each photo a unique name for its crop: its path in the folder without the suffix, with ``/`` as ``_``.

    If two photos would get the same name, such as ``a.jpg`` and ``a.png``, the later one keeps its suffix. Long names
    are truncated.
    """
    photos, taken = [], set()
    for path in paths:
        within = path[len(folder) + 1 :] if path.startswith(f"{folder}/") else path
        within = within.replace("/", "_").translate(_UNLISTABLE)
        whole = _hash(path).hex()
        digest = whole[:_DIGEST]
        names = [_cut(name, digest) for name in (os.path.splitext(within)[0], within)]
        stem = next(name for name in [*names, f"{_shorter(within)}-{digest}", whole] if name not in taken)
        taken.add(stem)
        photos.append(RawPhoto(path, stem))
    return photos


def inputs_digest(raw: str, photos: Sequence[RawPhoto]) -> str:
    """SHA-256, in hexadecimal, of the paths, crop names, sizes and modification times of photos."""
    state = hashlib.sha256()
    for photo in photos:
        try:
            status = os.stat(os.path.join(raw, photo.path))
            facts: Dict[str, int] = {"size": status.st_size, "time": status.st_mtime_ns}
        except OSError:  # the photo was removed; its row in the table says so
            facts = {}
        state.update(repr((photo.path, photo.stem, facts)).encode())
    return state.hexdigest()


def _is_photo(reason: Optional[str]) -> bool:
    """Whether a file is a photo, given the reason why other commands skip it (None if they do not)."""
    return reason is None or reason.endswith(UNDECODED)


def _places_around(path: str) -> Iterator[Tuple[int, int]]:
    """Yield the places (see :func:`insight.faces.folders.place_of`) of all folders that contain a folder."""
    here = os.path.realpath(path)
    while here != os.path.dirname(here):
        here = os.path.dirname(here)
        with suppress(OSError):
            yield place_of(os.stat(here))


def _hash(path: str) -> bytes:
    return hashlib.sha256(os.fsencode(path)).digest()


def _cut(name: str, digest: str) -> str:
    return name if len(os.fsencode(name)) <= LONGEST_STEM else f"{_shorter(name)}-{digest}"


def _shorter(name: str) -> str:
    while len(os.fsencode(name)) > _CUT:
        name = name[:-1]
    return name
