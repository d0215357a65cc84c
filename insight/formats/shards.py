"""Names of the files of a set: one .rec, or shards ``train-00000-of-00004.rec`` to ``train-00003-of-00004.rec``.

Shards are a single .rec, split between records: concatenated, they are byte-identical to it. Keys continue from shard
to shard, and the offsets in an .idx are relative to its shard. The header record and the identity records are in the
last shard.
"""

from __future__ import annotations

import glob
import os
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from ..errors import InsightError
from ..files import atomic
from ..files.atomic import PathLike

MOST = 500  # an open shard uses a file descriptor; the usual limit of a process is 1024
_DIGITS = 5
_SHARD = re.compile(rf"(.+)-(\d{{{_DIGITS}}})-of-(\d{{{_DIGITS}}})\.rec")


class ShardName(NamedTuple):
    """Parts of ``train-00002-of-00004.rec``: the name of the set, the shard's number from 0, the number of shards."""

    stem: str
    number: int
    count: int


def parse(rec_path: PathLike) -> Optional[ShardName]:
    """Parse the file name of a shard; None if it is not the name of one of two or more shards."""
    match = _SHARD.fullmatch(os.path.basename(os.fspath(rec_path)))
    if match is None:
        return None
    name = ShardName(match[1], int(match[2]), int(match[3]))
    return name if name.number < name.count and name.count > 1 else None


def names(stem: str, count: int) -> List[str]:
    """Names of the .rec files of a set: ``train.rec`` for one file, ``train-00000-of-00004.rec``, .. for several."""
    if count == 1:
        return [stem + ".rec"]
    return [f"{stem}-{number:0{_DIGITS}d}-of-{count:0{_DIGITS}d}.rec" for number in range(count)]


def pairs(stem: str, count: int) -> List[Tuple[str, str]]:
    """Names of the .rec and the .idx of each shard."""
    return [(name, os.path.splitext(name)[0] + ".idx") for name in names(stem, count)]


def check_count(count: int, images: int, source: PathLike) -> None:
    """Raise InsightError if a set of ``images`` images cannot have ``count`` shards."""
    if not 1 <= count <= MOST:
        raise InsightError(f"--shards {count}: want 1 to {MOST}")
    if count > max(images, 1):
        raise InsightError(f"--shards {count}: {source} has only {images} images; use at most that many shards")


def paths(rec_path: PathLike) -> List[str]:
    """Paths of all .rec files of the set that contains ``rec_path``, whether they exist or not."""
    rec_path = os.fspath(rec_path)
    shard = parse(rec_path)
    if shard is None:
        return [rec_path]
    folder = os.path.dirname(rec_path)
    return [os.path.join(folder, name) for name in names(shard.stem, shard.count)]


def members(rec_path: PathLike) -> List[str]:
    """Like :func:`paths`, but raise InsightError if a shard is missing."""
    rec_paths = paths(rec_path)
    missing = [path for path in rec_paths if not os.path.isfile(path)] if len(rec_paths) > 1 else []
    if missing:
        others = f", as are {len(missing) - 1} others" if len(missing) > 1 else ""
        raise InsightError(
            f"{missing[0]}: missing{others}, and the set consists of {len(rec_paths)} shards; copy all of them with "
            "their .idx files"
        )
    return rec_paths


def pattern(rec_path: PathLike) -> str:
    """One name for all .rec files of a set, for messages: ``work/set/train-*-of-00004.rec``."""
    rec_path, shard = os.fspath(rec_path), parse(rec_path)
    if shard is None:
        return rec_path
    return os.path.join(os.path.dirname(rec_path), f"{shard.stem}-*-of-{shard.count:0{_DIGITS}d}.rec")


def stem(rec_path: PathLike) -> str:
    """The name of a set without folder, shard number and suffix: ``train``."""
    shard = parse(rec_path)
    return shard.stem if shard else os.path.splitext(os.path.basename(os.fspath(rec_path)))[0]


def sets_in(folder: PathLike) -> List[str]:
    """Name of the .rec of each set in a folder (of the first existing shard, if there are several), sorted."""
    first: Dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".rec") and not name.startswith("."):
            first.setdefault(pattern(name), name)
    return sorted(first.values())


def existing(folder: PathLike, stem: str) -> List[str]:
    """Names of the existing .rec and .idx files of a set in a folder, for one file and any number of shards."""
    found = [stem + ending for ending in (".rec", ".idx")]
    for path in glob.glob(os.path.join(glob.escape(os.fspath(folder)), f"{glob.escape(stem)}-*-of-*.*")):
        beside, ending = os.path.splitext(os.path.basename(path))
        shard = parse(beside + ".rec")
        if ending in (".rec", ".idx") and shard is not None and shard.stem == stem:
            found.append(beside + ending)
    found = [name for name in found if os.path.exists(os.path.join(folder, name))]
    return sorted(found, key=lambda name: (os.path.splitext(name)[0], name.endswith(".idx")))


def sweep(folder: PathLike, stem: str) -> None:
    """Remove temporary files left by killed writers of a set in shards; those of running writers are kept."""
    for left in atomic.left_behind(folder, f".{glob.escape(stem)}-*-of-*.partial", own=False):
        left.unlink(missing_ok=True)
