"""Atomic writes of several files together, such as the .rec, .idx and property of a set.

All files are first written and fsynced under hidden names. Then a journal lists the files to be
renamed or removed, the files are renamed one after the other, and the journal is removed. The last name is the mark of
a complete set. If the process is killed before the journal is written, no file has its final name. If it is killed
later, the journal remains: readers refuse the folder, and the next writer may replace the files that it lists, since
they belong to an unfinished commit.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator, List, Sequence, Tuple

from ..errors import InsightError
from .atomic import PathLike, left_behind, make_folder, partial_name, partials, sweep, sync_directory

_JOURNAL = ".commit.{mark}.{pid}.json"


class Staging:
    """The hidden files of a commit. ``path(name)`` is the path to write for ``name``."""

    def __init__(self, folder: PathLike, names: Sequence[str], overwrite: bool = False):
        self.folder = Path(folder)
        self.names = list(names)
        self.overwrite = overwrite
        self.obsolete: List[str] = []  # names that the commit removes, if they exist

    def path(self, name: str) -> Path:
        """The hidden path that is renamed to ``name``.

        A new name is added to those of the commit, before the mark, which stays last.

        Raises
        ------
        InsightError
            The name is new, and a file of that name already exists and may not be replaced.
        """
        if name not in self.names:
            _make_room(self.folder, [name], self.overwrite)
            self.names.insert(len(self.names) - 1, name)
        return partial_name(self.folder / name)

    def pairs(self, names: Iterable[Tuple[str, str]]) -> List[Tuple[Path, Path]]:
        """The hidden paths of pairs of names."""
        return [(self.path(first), self.path(second)) for first, second in names]


@contextmanager
def commit_together(folder: PathLike, names: Sequence[str], overwrite: bool = False) -> Iterator[Staging]:
    """Write files into a folder, all or none.

    Parameters
    ----------
    folder : path
        Created if missing.
    names : sequence of str
        Final names. The last is the mark: when an old set is replaced, the mark is removed first
        and renamed last.
    overwrite : bool
        Whether existing files of these names may be replaced.

    Yields
    ------
    Staging
        All of its paths must have been written when the block ends. If the block raises,
        no file is renamed and existing files are not changed.

    Raises
    ------
    InsightError
        One of the names exists and may not be replaced: it is a folder, or ``overwrite`` is false and the
        file is not part of an unfinished commit.
    """
    staging = Staging(folder, names, overwrite)
    new = not staging.folder.exists()
    make_folder(staging.folder)
    _make_room(staging.folder, names, overwrite)
    try:
        yield staging
        _refuse_folders(staging.folder, staging.obsolete)
        for name in staging.names:
            _sync_file(partial_name(staging.folder / name))
        if not overwrite:
            refuse_existing(folder, staging.names)  # another run may have written them meanwhile
        _rename_all(staging)
    finally:
        for name in staging.names:
            partial_name(staging.folder / name).unlink(missing_ok=True)
        if new and not any(staging.folder.iterdir()):
            staging.folder.rmdir()


@contextmanager
def folder_beside(path: PathLike) -> Iterator[Path]:
    """Yield a hidden folder to fill; it is renamed to ``path`` when the block ends without an error.

    Raises
    ------
    InsightError
        ``path`` already exists and is not an empty folder.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InsightError(f"{path}: exists and is not an empty folder; give another output")
    make_folder(path.parent)
    for left in partials(path, own=True):
        shutil.rmtree(left)
    partial = partial_name(path)
    partial.mkdir()
    try:
        yield partial
        sync_directory(partial)
        os.rename(partial, path)
        sync_directory(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(folder: PathLike, names: Iterable[str]) -> None:
    """Raise InsightError if a file of one of the names exists in the folder, except those of unfinished commits."""
    folder = Path(folder)
    replaceable = set(unfinished(folder))
    existing = [name for name in names if name not in replaceable and (folder / name).exists()]
    if existing:
        raise InsightError(f"{folder / existing[0]}: already exists; give another output, or --overwrite to replace it")


def _make_room(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    """Raise InsightError for names that may not be written; remove temporary files that killed writers left."""
    if not overwrite:
        refuse_existing(folder, names)
    _refuse_folders(folder, names)
    for name in names:
        sweep(folder / name)


def _refuse_folders(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).is_dir():
            raise InsightError(f"{folder / name}: a folder, want a file to write; give another output")


def unfinished(folder: PathLike) -> List[str]:
    """Names in the folder that a killed commit was writing or removing; empty if there is no such commit."""
    pending: List[str] = []
    for journal in _journals(folder):
        try:
            names = json.loads(journal.read_text(encoding="utf-8"))["names"]
            if not (Path(folder) / names[-1]).exists():  # the mark is removed first and renamed last
                pending += names
        except (OSError, ValueError, LookupError, TypeError):
            continue  # the journal was removed meanwhile, or is incomplete: no file was renamed
    return pending


def _journals(folder: PathLike) -> List[Path]:
    return left_behind(folder, ".commit.*.json", own=True)


def _rename_all(staging: Staging) -> None:
    folder, mark = staging.folder, staging.names[-1]
    journal = folder / _JOURNAL.format(mark=mark, pid=os.getpid())
    old = [j for j in _journals(folder) if j != journal]
    names = [*staging.obsolete, *staging.names]  # the mark stays last
    journal.write_text(json.dumps({"names": names}), encoding="utf-8")
    _sync_file(journal)
    sync_directory(folder)
    (folder / mark).unlink(missing_ok=True)
    sync_directory(folder)  # otherwise a power cut could restore the mark beside newer files
    for name in staging.obsolete:
        (folder / name).unlink(missing_ok=True)
    for name in staging.names:
        os.replace(partial_name(folder / name), folder / name)
    sync_directory(folder)
    for done in [*old, journal]:
        done.unlink(missing_ok=True)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)  # not O_RDWR: it may be a link to a read-only file
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
