"""The commands that mend a damaged set, as messages name them: ready to be typed."""

from __future__ import annotations

import os
import shlex

from ..files.commit import PathLike


def in_place(path: PathLike, overwrite: bool = False) -> str:
    """The command that writes .idx and property anew beside a .rec, which stays as it is.

    Parameters
    ----------
    path : path
        Folder, .rec or prefix of the set.
    overwrite : bool
        A wrong file of one of these names exists.
    """
    return f"insight dataset-repair {typed(path)}" + " --overwrite" * overwrite


def into_new(path: PathLike) -> str:
    """The command that writes a sound set from a damaged one into a folder beside it."""
    return f"insight dataset-repair {typed(path)} --output {typed(repaired(path))}"


def repaired(path: PathLike) -> str:
    """The folder for the repaired set: ``work/set-repaired`` of ``work/set`` and ``work/set/train.rec``."""
    path = os.path.normpath(os.fspath(path))
    folder, name = os.path.split(path)
    if name == "train.rec":
        path, (folder, name) = folder, os.path.split(folder)
    elif name.endswith(".rec"):
        name = name[: -len(".rec")]
    if name in ("", os.curdir, os.pardir):
        return os.path.normpath(os.path.join(path, "repaired"))
    return os.path.join(folder, name + "-repaired")


def typed(path: PathLike) -> str:
    """A path as an argument in a shell."""
    path = os.fspath(path)
    return shlex.quote("./" + path if path.startswith("-") else path)
