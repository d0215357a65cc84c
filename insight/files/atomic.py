"""Atomic writes: a temporary file beside the target, fsync, rename. Readers see the old or the complete new file.

Temporary files are hidden siblings, ``.<name>.<pid>.partial``, so that the rename stays
inside one file system. They are removed on every error and on Ctrl-C; a SIGKILL may leave one,
which the next writer of the same file removes.
"""

from __future__ import annotations

import glob
import os
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Iterable, Iterator, List, Union

from ..errors import InsightError

PathLike = Union[str, "os.PathLike[str]"]


def partial_name(path: Path) -> Path:
    """Path of the hidden file that this process writes and then renames to ``path``."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def left_behind(folder: PathLike, pattern: str, own: bool) -> List[Path]:
    """Files and folders named ``….<process id>.<suffix>`` that a killed process left behind.

    Parameters
    ----------
    folder : path
    pattern : str
        Glob pattern, as for :meth:`pathlib.Path.glob`.
    own : bool
        Whether to include those with the id of this process. They belong to work that has ended, or to an earlier
        process with the same id.
    """
    abandoned = []
    for path in Path(folder).glob(pattern):
        pid = path.name.split(".")[-2]
        if pid.isdigit() and (own if int(pid) == os.getpid() else not _is_running(int(pid))):
            abandoned.append(path)
    return abandoned


def partials(path: PathLike, own: bool = False) -> List[Path]:
    """Temporary siblings left by killed writers of ``path``; see :func:`left_behind`."""
    path = Path(path)
    return left_behind(path.parent, f".{glob.escape(path.name)}.*.partial", own)


def sweep(path: PathLike) -> None:
    """Remove temporary files of killed writers of ``path``; those of running writers are kept."""
    for left in partials(path):
        left.unlink(missing_ok=True)


def sync_directory(directory: PathLike) -> None:
    """Fsync a directory, so that renames in it survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: PathLike) -> Path:
    """Make a folder and its parents, if missing.

    Raises
    ------
    InsightError
        A file exists where a folder is needed.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), folder)
        raise InsightError(f"{file}: a file, want a folder; give another output") from None
    return folder


def check_output(path: PathLike, option: str, inputs: Iterable[PathLike] = ()) -> None:
    """Check, before any work, that an output file can be written and is not one of the inputs.

    Parameters
    ----------
    path : path
    option : str
        The option that gives the path, for messages.
    inputs : iterable of path

    Raises
    ------
    InsightError
        The path is a folder, a device, a pipe or an input; a file exists where a folder is needed; or the folder is
        not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise InsightError(f"{option} {path}: a folder, want a file to write; give its name")
    if path.exists() and not path.is_file():
        raise InsightError(f"{option} {path}: a device or a pipe, which a file would replace; give another name")
    folder = next(parent for parent in Path(os.path.abspath(path)).parents if parent.exists())
    if not folder.is_dir():
        raise InsightError(f"{folder}: a file, want a folder; give another output")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InsightError(f"{option} {path}: {folder} cannot be written to; give another output")
    if any(os.path.realpath(path) == os.path.realpath(given) for given in inputs):
        raise InsightError(f"{option} {path}: is an input, too, and would be replaced; give another name")


@contextmanager
def temporary_beside(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path, for libraries that write a file by its name, and rename it to ``path`` at the end.

    The parent directory is created if missing. On any exception the temporary file is removed and
    ``path`` is not changed. Raises InsightError if ``path`` is a folder.
    """
    path = Path(path)
    make_folder(path.parent)
    if path.is_dir():
        raise InsightError(f"{path}: a folder, want a file to write; give its name")
    sweep(path)
    partial = partial_name(path)
    try:
        yield partial
        with open(partial, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
        sync_directory(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def write_beside(path: PathLike, mode: str = "wb", **kwargs: Any) -> Iterator[IO]:
    """Like ``open(path, mode)``, but write a temporary file and rename it to ``path`` when it is complete."""
    with temporary_beside(path) as partial:
        with open(partial, mode, **kwargs) as out:
            yield out
            out.flush()


def write_text(path: PathLike, text: str) -> None:
    """Write a UTF-8 text file atomically; surrogates, from names that are not UTF-8, are written as ``\\udcXX``."""
    with write_beside(path, "w", encoding="utf-8", errors="backslashreplace") as out:
        out.write(text)
