"""Where the files are that a list names, and how they may be spelled there.

Lists are made on one machine and used on another: paths begin at a root that the list does not name, or at the list
itself, and Windows writes backslashes. Each file is looked for as it is written first, in every place; only where
there is none, under the other spellings.
"""

from __future__ import annotations

import os
import unicodedata
from typing import Iterator, List, Optional

from ..errors import InsightError
from .text import BLANK


class Places:
    """Where to look for the files of one list.

    Parameters
    ----------
    folder : str
        Of the list: the last place.
    root : str, optional
        What ``--image-root`` names: the first place. The working directory is between them.

    Raises
    ------
    InsightError
        The root is no folder.
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

    def first(self, name: str) -> str:
        """Where a file is looked for first, spelled as it is written; most are there."""
        return name if self._root is None else os.path.join(self._root, name)

    def paths(self, name: str) -> Iterator[str]:
        """Where a file may be, in the order in which to try."""
        for spelling in spellings(name):
            if os.path.isabs(spelling):
                yield spelling
            else:
                yield from (os.path.join(folder, spelling) for folder in self._folders)

    def describe(self) -> str:
        """The places in words, for the message about a file that is in none of them."""
        places = ["in the working directory"]
        if self._beside:
            places.append(f"beside the list ({self._beside})")
        if self._root is not None:
            places.insert(0, f"in --image-root {self._root}")
        return places[0] if len(places) == 1 else f"{', '.join(places[:-1])} or {places[-1]}"


def spellings(name: str) -> Iterator[str]:
    """A path as it is written; then without blanks and quotes around it, with slashes for backslashes, its suffix in
    the other case, and its letters composed or decomposed, as macOS has them.
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
