"""Reader of identity folders, used by all commands: a folder per person, with images directly in it.

A file with a usual image suffix is listed without opening it; errors are reported when it is decoded. Any other file is
an image if its first bytes are of a kind that OpenCV decodes. Everything else is skipped and counted by reason: other
files, broken links, pipes, unreadable files.

This reader never blocks: pipes, sockets and devices are recognised without opening them, and files are opened in
non-blocking mode.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Tuple

from ..errors import InsightError, printable
from ..files import reading as files
from ..images.kind import HEAD_BYTES, kind_of, kind_of_file
from ..progress import track

WANT = "want a folder that holds a folder of images per person"
HIDDEN = "hidden"
BESIDE = "images beside the identity folders"
FILES_BESIDE = "files beside the identity folders"
NESTED = "folders inside identity folders"
NO_IMAGE = "files that are not images"
BROKEN = "broken links"
CIRCLE = "links in a circle"
SPECIAL = "pipes, sockets or devices"
EMPTY = "empty files"
VANISHED = "files or folders that vanished meanwhile"
UNLISTABLE = "paths with a tab or line end, which a list cannot hold"
SAME_FOLDER = "links to a folder that is listed already"
TO_ROOT = "links to the folder itself"
BARE = "folders without images"
UNDECODED = "images, which OpenCV does not decode (convert them to JPEG or PNG)"

NAMED = 3  # names that are listed per reason
SUFFIXES = frozenset(".jpg .jpeg .jpe .jfif .png .bmp .webp .tif .tiff .pgm .ppm .pbm .pnm .jp2".split())
_FILE, _FOLDER = "file", "folder"


class IdentityFolder(NamedTuple):
    """A person: the path of the folder, its name, and the names of the images in it, sorted."""

    folder: str
    name: str
    files: List[str]

    @property
    def paths(self) -> List[str]:
        return [os.path.join(self.folder, file) for file in self.files]


class Skipped(Counter):
    """Counts of skipped files by reason; ``names`` has the first few names for each reason."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Dict[str, List[str]] = {}

    def note(self, reason: str, path: str) -> None:
        self[reason] += 1
        names = self.names.setdefault(reason, [])
        if len(names) < NAMED:
            names.append(path)

    def lines(self) -> List[str]:
        """A line per reason: the count, and the first few names."""
        return [f"left out: {count} {reason}: {self._named(reason, count)}" for reason, count in self.items()]

    def _named(self, reason: str, count: int) -> str:
        return ", ".join(map(printable, self.names[reason])) + (", …" if count > NAMED else "")


@dataclass
class IdentityFolders:
    """Identities in a folder, sorted by name, and the files that were skipped."""

    folder: str
    identities: List[IdentityFolder] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)
    notes: List[str] = field(default_factory=list)

    def lines(self) -> List[str]:
        """Lines about skipped files and ambiguous names; empty if there are none."""
        return self.skipped.lines() + self.notes


def read_identities(folder: str, for_list: bool = False) -> IdentityFolders:
    """Read a folder of identity folders. Links are followed, but nothing is read below the identity folders.

    Parameters
    ----------
    folder : str
    for_list : bool
        Skip paths that a .lst cannot contain.

    Returns
    -------
    IdentityFolders
        Identities and their files, sorted by code points on every file system. A folder that is listed under several
        names is one identity, named after the folder itself or, if only links to it are listed, after the first link.

    Raises
    ------
    InsightError
        The folder is missing, cannot be read, or has no folder with an image.
    """
    read = IdentityFolders(folder)
    for entry in track(identity_entries(folder, read.skipped), "listing", unit="folders"):
        images = _images_of(entry, for_list, read.skipped)
        if images:
            read.identities.append(IdentityFolder(entry.path, entry.name, images))
    if not read.identities:
        raise InsightError(f"{folder}: {_why_empty(read.skipped)}")
    read.notes += _alike([identity.name for identity in read.identities])
    return read


def identity_entries(folder: str, skipped: Skipped) -> List[os.DirEntry]:
    """The identity folders in a folder, sorted by name; other entries are counted as skipped.

    Raises
    ------
    InsightError
        The folder is missing or cannot be read.
    """
    entries = root_entries(folder)
    return _second_names_removed(folder, [e for e in entries if _is_person(e, skipped)], skipped)


def root_entries(folder: str) -> List[os.DirEntry]:
    """The entries of a command's input folder, sorted by name. Raises InsightError if it cannot be read."""
    try:
        return sorted_entries(folder)
    except FileNotFoundError:
        raise InsightError(f"{folder}: no such folder; {WANT}") from None
    except NotADirectoryError:
        raise InsightError(f"{folder}: a file; {WANT}") from None
    except OSError as error:
        raise InsightError(f"{folder}: cannot be read ({error.strerror}); {WANT}") from None


def why_no_image(path: str) -> str:
    """The reason why a file cannot be decoded, from its first bytes; empty if they are those of an image."""
    try:
        head = files.read_head(path, HEAD_BYTES)
    except OSError as error:
        return files.why(path, error)
    if not head:
        return files.why_unreadable(path) or "empty file"
    kind = kind_of(head)
    if kind is None:
        return f"not a readable image (it starts with {head[:8]!r})"
    return "" if kind.decoded else f"{kind.name}, which OpenCV does not decode"


def sorted_entries(folder: str) -> List[os.DirEntry]:
    """The entries of a folder, sorted by name. Raises OSError."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_person(entry: os.DirEntry, skipped: Skipped) -> bool:
    """Whether an entry of the root is an identity folder; other entries are counted as skipped."""
    if entry.name.startswith("."):
        skipped.note(HIDDEN, entry.name)
        return False
    what = _what(entry)
    if what == _FILE:
        what = FILES_BESIDE if _why_no_image(entry) else BESIDE
    if what != _FOLDER:
        skipped.note(what, entry.name)
    return what == _FOLDER


def _second_names_removed(folder: str, entries: List[os.DirEntry], skipped: Skipped) -> List[os.DirEntry]:
    """Remove links to the root, and links to folders that are listed under another name."""
    if not any(entry.is_symlink() for entry in entries):
        return entries
    root = place_of(os.stat(folder))
    seen, kept = {root}, set()
    for entry in sorted(entries, key=lambda entry: entry.is_symlink()):  # stable: names stay in order
        try:
            place = place_of(entry.stat())
        except OSError:
            kept.add(entry.name)  # it vanished, which is reported when it is read
            continue
        if entry.is_symlink() and place in seen:
            skipped.note(TO_ROOT if place == root else SAME_FOLDER, entry.name)
        else:
            seen.add(place)
            kept.add(entry.name)
    return [entry for entry in entries if entry.name in kept]


def place_of(status: os.stat_result) -> Tuple[int, int]:
    """Device and inode, which identify a folder that has several names."""
    return status.st_dev, status.st_ino


def _images_of(person: os.DirEntry, for_list: bool, skipped: Skipped) -> List[str]:
    """The names of the images in an identity folder; other entries are counted as skipped."""
    try:
        entries = sorted_entries(person.path)
    except OSError as error:
        skipped.note(reason_of(person, error, "folders that cannot be read"), person.name)
        return []
    images = []
    for entry in entries:
        reason = why_left_out(entry, for_list)
        if reason is None:
            images.append(entry.name)
        else:
            skipped.note(reason, f"{person.name}/{entry.name}")
    if not images:
        skipped.note(BARE, person.name)
    return images


def why_left_out(entry: os.DirEntry, for_list: bool = False) -> Optional[str]:
    """The reason why an entry of an identity folder is skipped; None for an image. ``NESTED`` for a folder."""
    if entry.name.startswith("."):
        return HIDDEN
    what = _what(entry)
    if what != _FILE:
        return NESTED if what == _FOLDER else what
    reason = _why_no_image(entry)
    if reason is None and for_list and any(c in entry.path for c in "\t\r\n"):
        return UNLISTABLE
    return reason


def _what(entry: os.DirEntry) -> str:
    """``file``, ``folder``, or the reason why an entry is neither. Links are followed; nothing is opened."""
    try:
        if entry.is_file():
            return _FILE
        if entry.is_dir():
            return _FOLDER
        entry.stat()
        return SPECIAL
    except OSError as error:
        return reason_of(entry, error, "links that cannot be followed")


def _why_no_image(entry: os.DirEntry) -> Optional[str]:
    """The reason why a file is skipped; None for an image."""
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in SUFFIXES:
        return None
    try:
        head = files.read_head(entry.path, HEAD_BYTES)
    except OSError as error:
        return reason_of(entry, error, "files that cannot be read")
    if not head:
        return EMPTY
    kind = kind_of_file(entry.name, head)
    if kind is None or not kind.image:
        return f"{NO_IMAGE} ({kind.name})" if kind else NO_IMAGE
    if not kind.decoded:
        return f"{kind.name} {UNDECODED}"
    return None


def reason_of(entry: os.DirEntry, error: OSError, otherwise: str) -> str:
    """The reason for skipping an entry that raised an error; ``otherwise`` for less common errors."""
    files.raise_if_not_its_own(entry.path, error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return BROKEN if entry.is_symlink() else VANISHED
    return CIRCLE if error.errno == errno.ELOOP else f"{otherwise} ({error.strerror})"


def _why_empty(skipped: Skipped) -> str:
    if skipped[BESIDE]:
        return f"its images are in the folder itself; {WANT}"
    if skipped:
        return f"holds no folder with images ({', '.join(f'{n} {what}' for what, n in skipped.items())}); {WANT}"
    return f"is empty; {WANT}"


def _alike(names: List[str]) -> List[str]:
    """A note, in a list, about names that differ only in case or in the encoding of accents; empty if none do."""
    groups: Dict[str, List[str]] = {}
    for name in names:
        groups.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(name)
    alike = [", ".join(map(printable, group)) for group in groups.values() if len(group) > 1]
    if not alike:
        return []
    shown = "; ".join(alike[:NAMED]) + ("; …" if len(alike) > NAMED else "")
    return [f"note: names that differ only in case or in the encoding of accents are different identities: {shown}"]
