"""Lists of face images: paths relative to a root folder, and optionally identities.

A list is a text file with one path per line, such as InsightFace's ``facescrub_lst`` and ``megaface_lst``, or a JSON
file with the lists ``path`` and optionally ``id`` (the identities), such as ``facescrub_features_list.json`` of
MegaFace's development kit.
"""

from __future__ import annotations

import json
import os
from typing import Any, Iterator, List, NamedTuple, Optional

from ..errors import InsightError, printable
from ..faces.folders import SUFFIXES
from ..files.text import BLANK, excerpt, numbered_lines, open_text

_WANT = "want a path per line, or JSON with path (and id)"
_UNUSABLE = ("", ".", "..")


class FaceList(NamedTuple):
    """N paths, with ``/`` as separator, and N identities if the list contains them."""

    names: List[str]
    identities: Optional[List[str]] = None


def read_list(path) -> FaceList:
    """Read a list of images.

    Raises
    ------
    InsightError
        The file is missing or empty, a path is not a path under the root, or the JSON has another structure.
    """
    with open_text(path, _WANT) as source:
        is_json = source.read(64).lstrip(BLANK).startswith("{")
    faces = _from_json(path) if is_json else FaceList([_name(path, *line) for line in numbered_lines(path, _WANT)])
    if not faces.names:
        raise InsightError(f"{path}: empty; {_WANT}")
    return faces


def _name(path, number: int, line: str) -> str:
    name = line.strip(BLANK).replace("\\", "/")
    if name.startswith("./"):
        name = name[2:]
    if any(part in _UNUSABLE for part in name.split("/")):
        raise InsightError(f"{path}:{number}: {_WANT}; found {excerpt(line)}, which is not a path under a folder")
    return name


def _from_json(path) -> FaceList:
    with open_text(path, _WANT) as source:
        try:
            value: Any = json.load(source)
        except (ValueError, RecursionError) as error:
            raise InsightError(f"{path}: not valid JSON ({error}); {_WANT}") from None
    names, identities = value.get("path"), value.get("id")
    if not _is_text(names) or not (identities is None or (_is_text(identities) and len(identities) == len(names))):
        raise InsightError(f"{path}: {_WANT}, lists of strings of one length; found {excerpt(', '.join(value))}")
    return FaceList([_name(path, number, name) for number, name in enumerate(names, 1)], identities)


def _is_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def list_files(root, ending: str = "") -> FaceList:
    """List the files under a folder at any depth, sorted by path.

    Hidden files and folders are skipped, and links to folders are not followed.

    Parameters
    ----------
    root : path
    ending : str
        List the files whose names end in it, and remove it from the names. If empty, list images, with their suffixes.

    Raises
    ------
    InsightError
        The folder is missing, cannot be read or contains no such file.
    """
    root = os.fspath(root)
    names = sorted(_walk(root, ending))
    if not names:
        what = f"file that ends in {ending}" if ending else "image"
        raise InsightError(f"{printable(root)}: has no {what}, at any depth; give the folder that holds them")
    return FaceList(names)


def _walk(root: str, ending: str) -> Iterator[str]:
    def fail(error: OSError):
        raise InsightError(f"{printable(error.filename)}: {error.strerror}; want a folder of faces") from None

    for folder, folders, files in os.walk(root, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(folder, root)
        for file in files:
            is_wanted = file.endswith(ending) if ending else os.path.splitext(file)[1].lower() in SUFFIXES
            if is_wanted and not file.startswith("."):
                name = file[: len(file) - len(ending)]
                yield name if inside == "." else f"{inside}/{name}"


def end_of(name: str, parts: int) -> str:
    """The last ``parts`` parts of a path, for example ``Adam_Sandler/Adam_Sandler_1.png``."""
    return "/".join(name.split("/")[-parts:])


def folder_of(name: str) -> str:
    """Name of an image's folder, which is its identity in a folder tree; empty if the path has no folder."""
    return name.rpartition("/")[0].rpartition("/")[2]
