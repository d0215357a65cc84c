"""Several files that appear together or not at all: the .rec, .idx and property of a set.

Everything is written and fsynced under hidden names first. Then a journal names what is about
to move, the files are renamed one after the other, the last name being the mark of a whole
set, and the journal goes. A kill before the journal leaves nothing under a final name; a kill
after it leaves the journal, by which readers refuse the folder and the next writer knows that
what stands there is an unfinished commit of its own kind and nobody's data.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator, List, Sequence

from ..errors import InsightError
from .atomic import PathLike, _is_running, _partial_name, glob_escape, make_folder, sweep, sync_directory

_JOURNAL = ".commit.{mark}.{pid}.json"


class Staging:
    """Names a commit's hidden files. ``path(name)`` is where to write what will be ``name``."""

    def __init__(self, folder: PathLike, names: Sequence[str], overwrite: bool = False):
        self.folder = Path(folder)
        self.names = list(names)
        self.overwrite = overwrite
        self.obsolete: List[str] = []  # names that the commit removes, if they stand

    def path(self, name: str) -> Path:
        """The hidden path that is renamed to ``name``.

        A name that the commit was not opened with goes before the mark, which stays last.

        Raises
        ------
        InsightError
            A file of such a name stands there and may not be replaced.
        """
        if name not in self.names:
            _make_room(self.folder, [name], self.overwrite)
            self.names.insert(len(self.names) - 1, name)
        return _partial_name(self.folder / name)


@contextmanager
def commit_together(folder: PathLike, names: Sequence[str], overwrite: bool = False) -> Iterator[Staging]:
    """Write files into a folder so that they appear together.

    Parameters
    ----------
    folder : path
        Made if missing.
    names : sequence of str
        Final names. The last is the mark: it is removed first, where an old set is replaced,
        and renamed last.
    overwrite : bool
        Whether files of these names may be replaced.

    Yields
    ------
    Staging
        All of its paths must have been written when the block ends. If the block raises,
        nothing appears and nothing that stood there is touched.

    Raises
    ------
    InsightError
        A file of one of these names stands there, and neither ``overwrite`` nor an unfinished
        commit allows to replace it; or a folder, which is never replaced.
    """
    staging = Staging(folder, names, overwrite)
    new = not staging.folder.exists()
    make_folder(staging.folder)
    _make_room(staging.folder, names, overwrite)
    try:
        yield staging
        _refuse_folders(staging.folder, staging.obsolete)
        for name in staging.names:
            _sync_file(_partial_name(staging.folder / name))
        if not overwrite:
            refuse_existing(folder, staging.names)  # another run of the same command may have been faster
        _rename_all(staging)
    finally:
        for name in staging.names:
            _partial_name(staging.folder / name).unlink(missing_ok=True)
        if new and not any(staging.folder.iterdir()):
            staging.folder.rmdir()


@contextmanager
def folder_beside(path: PathLike) -> Iterator[Path]:
    """Yield a hidden folder to fill; it appears as ``path`` when the block ends without an error.

    Raises
    ------
    InsightError
        ``path`` exists and is not an empty folder: nothing is mixed into what stands there.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InsightError(f"{path}: exists and is not an empty folder; give another output")
    make_folder(path.parent)
    for left in path.parent.glob(f".{glob_escape(path.name)}.*.partial"):
        pid = left.name[: -len(".partial")].rpartition(".")[2]
        if pid.isdigit() and (int(pid) == os.getpid() or not _is_running(int(pid))):
            shutil.rmtree(left)
    partial = _partial_name(path)
    partial.mkdir()
    try:
        yield partial
        sync_directory(partial)
        os.rename(partial, path)
        sync_directory(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(folder: PathLike, names: Iterable[str]) -> None:
    """Raise if a file of one of the names stands in the folder, unfinished commits set aside."""
    folder = Path(folder)
    ours = set(unfinished(folder))
    standing = [name for name in names if name not in ours and (folder / name).exists()]
    if standing:
        raise InsightError(f"{folder / standing[0]}: already exists; give another output, or --overwrite to replace it")


def _make_room(folder: Path, names: Sequence[str], overwrite: bool) -> None:
    """Refuse names that may not be written, before any is; sweep what killed writers of the others left."""
    if not overwrite:
        refuse_existing(folder, names)
    _refuse_folders(folder, names)
    for name in names:
        sweep(folder / name)


def _refuse_folders(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (folder / name).is_dir():
            raise InsightError(f"{folder / name}: a folder, and a file is to be written; give another output")


def unfinished(folder: PathLike) -> List[str]:
    """Names that a killed commit was moving into the folder; empty where all is well."""
    found: List[str] = []
    for journal in _journals(folder):
        try:
            names = json.loads(journal.read_text(encoding="utf-8"))["names"]
            if not (Path(folder) / names[-1]).exists():  # the mark goes first and comes last
                found += names
        except (OSError, ValueError, LookupError, TypeError):
            continue  # gone meanwhile, or not whole: then no rename had begun
    return found


def _journals(folder: PathLike) -> List[Path]:
    found = []
    for journal in Path(folder).glob(".commit.*.json"):
        pid = journal.name.split(".")[-2]
        if pid.isdigit() and (int(pid) == os.getpid() or not _is_running(int(pid))):
            found.append(journal)
    return found


def _rename_all(staging: Staging) -> None:
    folder, mark = staging.folder, staging.names[-1]
    journal = folder / _JOURNAL.format(mark=mark, pid=os.getpid())
    old = [j for j in _journals(folder) if j != journal]
    journal.write_text(json.dumps({"names": staging.names}), encoding="utf-8")
    _sync_file(journal)
    sync_directory(folder)
    (folder / mark).unlink(missing_ok=True)
    sync_directory(folder)  # no power cut may bring the mark back beside newer files
    for name in staging.obsolete:
        (folder / name).unlink(missing_ok=True)
    for name in staging.names:
        os.replace(_partial_name(folder / name), folder / name)
    sync_directory(folder)
    for done in [*old, journal]:
        done.unlink(missing_ok=True)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)  # it may be a link to a file that is read-only
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
