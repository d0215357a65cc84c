"""Write beside, fsync, rename: a reader sees the old file or the whole new one, never half of it.

Temporary files are hidden siblings, ``.<name>.<pid>.partial``, so that the rename stays
inside one file system. They are removed on every error and on Ctrl-C; a SIGKILL may leave one
behind, which the next writer of the same file sweeps away.
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
    """The hidden sibling that this process writes before it is renamed to ``path``."""
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
    """Files and folders ``….<process id>.<suffix>`` whose writer was killed.

    Parameters
    ----------
    folder : path
    pattern : str
        Of :meth:`pathlib.Path.glob`.
    own : bool
        Whether those of this process count too: it has ended that work, or had the number of an earlier process.
    """
    found = []
    for path in Path(folder).glob(pattern):
        pid = path.name.split(".")[-2]
        if pid.isdigit() and (own if int(pid) == os.getpid() else not _is_running(int(pid))):
            found.append(path)
    return found


def partials(path: PathLike, own: bool = False) -> List[Path]:
    """Temporary siblings that killed writers of ``path`` left behind; see :func:`left_behind`."""
    path = Path(path)
    return left_behind(path.parent, f".{glob.escape(path.name)}.*.partial", own)


def sweep(path: PathLike) -> None:
    """Remove what killed writers of ``path`` left behind; those still running are spared."""
    for left in partials(path):
        left.unlink(missing_ok=True)


def sync_directory(directory: PathLike) -> None:
    """Make renames in a directory survive a power cut."""
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
        A file stands where a folder is needed.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), folder)
        raise InsightError(f"{file}: a file, and a folder is needed there; give another output") from None
    return folder


def check_output(path: PathLike, option: str, inputs: Iterable[PathLike] = ()) -> None:
    """Say before any work that a file cannot be written, or is one of those that the work reads.

    Raises
    ------
    InsightError
        The path is a folder or an input, a file stands where a folder is needed, or its folder is read-only.
    """
    path = Path(path)
    if path.is_dir():
        raise InsightError(f"{option} {path}: a folder, and a file is to be written; give its name")
    if path.exists() and not path.is_file():
        raise InsightError(f"{option} {path}: a device or a pipe, which a file would replace; give another name")
    folder = next(parent for parent in Path(os.path.abspath(path)).parents if parent.exists())
    if not folder.is_dir():
        raise InsightError(f"{folder}: a file, and a folder is needed there; give another output")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InsightError(f"{option} {path}: {folder} cannot be written to; give another output")
    if any(os.path.realpath(path) == os.path.realpath(given) for given in inputs):
        raise InsightError(f"{option} {path}: is read, too, and would be replaced; give another name")


@contextmanager
def temporary_beside(path: PathLike) -> Iterator[Path]:
    """Yield a path for a library that insists on writing by name; then rename it to ``path``.

    The parent directory is made. On any exception the temporary file goes and ``path``
    stays as it was.
    """
    path = Path(path)
    make_folder(path.parent)
    if path.is_dir():
        raise InsightError(f"{path}: a folder, and a file is to be written; give its name")
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
    """As ``open(path, mode)``, and the file appears under its name only when it is whole."""
    with temporary_beside(path) as partial:
        with open(partial, mode, **kwargs) as out:
            yield out
            out.flush()


def write_text(path: PathLike, text: str) -> None:
    """Write a whole UTF-8 text file atomically; bytes of names that are not UTF-8 become escapes, as JSON has them."""
    with write_beside(path, "w", encoding="utf-8", errors="backslashreplace") as out:
        out.write(text)
