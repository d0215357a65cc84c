"""Search for the files of a list, in several places and spellings.

Lists are often used on another machine: paths are relative to a root that the list does not name, or to the list
itself, and Windows writes backslashes. Each file is first searched with its exact path, in every place; only if there
is none, with other spellings.
"""

from __future__ import annotations

import copy
import os
import unicodedata
from typing import Iterator, List, Optional

from ..errors import InsightError
from .text import BLANK


class Places:
    """The places to search for the files of one list.

    Parameters
    ----------
    folder : str
        The folder of the list. It is searched last.
    root : str, optional
        The folder of ``--image-root``. It is searched first, the working directory second.

    Raises
    ------
    InsightError
        The root is not a folder.
    """

    def __init__(self, folder: str = "", root: Optional[str] = None):
        if root is not None and not os.path.isdir(root):
            raise InsightError(
                f"--image-root {root}: no such folder; give the one in which the paths of the list begin"
            )
        self._root = root
        beside = folder if os.path.abspath(folder or ".") != os.getcwd() else ""
        self._folders: List[str] = [*([root] if root is not None else []), "", *([beside] if beside else [])]
        self._beside = beside

    def absolute(self) -> Places:
        """The same places as absolute paths, for a process with another working directory; messages do not change."""
        other = copy.copy(self)
        other._folders = [os.path.abspath(folder) for folder in self._folders]
        return other

    def first(self, name: str) -> str:
        """The first path to try: the exact spelling in the first place, where most files are."""
        return os.path.join(self._folders[0], name)

    def paths(self, name: str) -> Iterator[str]:
        """All paths to try, in order."""
        for spelling in spellings(name):
            if os.path.isabs(spelling):
                yield spelling
            else:
                yield from (os.path.join(folder, spelling) for folder in self._folders)

    def describe(self) -> str:
        """The places as text, for the message about a missing file."""
        places = ["in the working directory"]
        if self._beside:
            places.append(f"beside the list ({self._beside})")
        if self._root is not None:
            places.insert(0, f"in --image-root {self._root}")
        return places[0] if len(places) == 1 else f"{', '.join(places[:-1])} or {places[-1]}"


def spellings(name: str) -> Iterator[str]:
    """Yield the spellings of a path: exact; then without surrounding blanks and quotes, with slashes for backslashes,
    with the suffix in the other case, and with composed or decomposed letters (macOS).
    """
    yield name
    bare = name.strip(BLANK)
    if len(bare) > 1 and bare[0] == bare[-1] in "'\"":
        bare = bare[1:-1].strip(BLANK)
    tried = {name}
    for path in (bare, bare.replace("\\", "/")):
        stem, suffix = os.path.splitext(path)
        for spelling in (path, stem + suffix.swapcase()):
            for form in ("", "NFC", "NFD") if not spelling.isascii() else ("",):
                spelled = unicodedata.normalize(form, spelling) if form else spelling
                if spelled and spelled not in tried:
                    tried.add(spelled)
                    yield spelled
