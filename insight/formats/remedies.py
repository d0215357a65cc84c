"""Commands that repair a damaged set, quoted for the shell, for error messages."""

from __future__ import annotations

import os
import shlex

from ..files.commit import PathLike
from . import shards


def in_place(path: PathLike, overwrite: bool = False) -> str:
    """The command that rewrites .idx and property beside a .rec, without changing the .rec.

    Parameters
    ----------
    path : path
        Folder, .rec or prefix of the set.
    overwrite : bool
        Whether to replace an existing .idx and property.
    """
    return f"insight dataset-repair {typed(path)}" + " --overwrite" * overwrite


def into_new(path: PathLike) -> str:
    """The command that copies the usable part of a damaged set into a folder beside it."""
    return f"insight dataset-repair {typed(path)} --output {typed(repaired(path))}"


def repaired(path: PathLike) -> str:
    """The folder for the repaired set: ``work/set-repaired`` for ``work/set`` and for ``work/set/train.rec``."""
    path = os.path.normpath(os.fspath(path))
    folder, name = os.path.split(path)
    shard = shards.parse(name)
    if shard is not None:
        name = shard.stem + ".rec"
        path = os.path.join(folder, name)
    if name == "train.rec":
        path, (folder, name) = folder, os.path.split(folder)
    elif name.endswith(".rec"):
        name = name[: -len(".rec")]
    if name in ("", os.curdir, os.pardir):
        return os.path.normpath(os.path.join(path, "repaired"))
    return os.path.join(folder, name + "-repaired")


def typed(path: PathLike) -> str:
    """A path, quoted as an argument for the shell."""
    path = os.fspath(path)
    return shlex.quote("./" + path if path.startswith("-") else path)
