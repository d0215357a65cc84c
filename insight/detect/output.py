"""The output of a run: crops in folders, the table, and the state from which a later run continues.

OUT/NAME/CROP.jpg                             crops
OUT/faces.csv                                 the table, joined from the parts at the end of a run
OUT/.align-faces/settings.json                the settings on which the crops depend
OUT/.align-faces/parts/7f/7f83b1….csv         a line of JSON, then the rows of a unit; written after its crops

Parts are named by a hash and spread over 256 folders, so that no folder becomes large and no name too long.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from ..errors import InsightError, printable
from ..files import atomic

TABLE = "faces.csv"
STATE = ".align-faces"
SETTINGS = "settings.json"
PATIENCE = 10.0  # seconds to wait for the workers of a killed run, which exit after their current photo
BY_CONTENT = ("--detector", "--landmarks", "--model")  # compared by digests, which messages do not show
_SHORT = 2  # hexadecimal digits of the name of a part's folder


class Part(NamedTuple):
    """Record of a finished unit.

    Attributes
    ----------
    settings, inputs : str
        Digests of the settings and of the photos.
    crops : dict of str to str
        Paths of its crops below the output folder, each with the path of the photo below the raw folder.
    left_behind : dict of str to str
        The same for crops of earlier runs that still exist although no photo yields them any more.
    counts : dict of str to int
        See :class:`insight.detect.unit_task.UnitResult`.
    rows : str
        Its lines of the table.
    """

    settings: str
    inputs: str
    crops: Dict[str, str]
    left_behind: Dict[str, str]
    counts: Dict[str, int]
    rows: str = ""


def part_path(out: str, key: str) -> str:
    """Path of the file of a unit's part."""
    name = hashlib.sha256(os.fsencode(key)).hexdigest()
    return os.path.join(out, STATE, "parts", name[:_SHORT], f"{name}.csv")


def has_part(out: str, key: str) -> bool:
    """Whether a unit has a part."""
    return os.path.exists(part_path(out, key))


def read_part(out: str, key: str) -> Optional[Part]:
    """Read the part of a unit; None if it has none, or if the file is damaged."""
    try:
        with open(part_path(out, key), encoding="utf-8", errors="surrogateescape", newline="") as source:
            return Part(**json.loads(source.readline()), rows=source.read())
    except (FileNotFoundError, ValueError, TypeError):
        return None


def write_part(out: str, key: str, part: Part) -> None:
    """Write the part of a unit atomically."""
    head = json.dumps({name: value for name, value in part._asdict().items() if name != "rows"})
    with atomic.write_beside(
        part_path(out, key), "w", encoding="utf-8", errors="surrogateescape", newline=""
    ) as target:
        target.write(f"{head}\n{part.rows}")


class OutputFolder:
    """An output folder, locked against other runs until :meth:`close`.

    Workers inherit the lock, so a run that follows a killed one waits for its workers to exit, at most ``PATIENCE``
    seconds.

    Raises
    ------
    InsightError
        The folder contains other files, or another run is writing into it.
    """

    def __init__(self, path: str):
        self.path = path
        self._state = Path(path, STATE)
        self._made = not os.path.isdir(path)
        if not self._made and not self._state.is_dir() and os.listdir(path):
            raise InsightError(f"{printable(path)}: holds files that align-faces did not write; give another output")
        atomic.make_folder(self._state)
        self._lock = os.open(self._state, os.O_RDONLY)
        try:
            self._take_lock()
        except BaseException:
            os.close(self._lock)
            raise

    def agree(self, settings: Dict[str, Any], overwrite: bool) -> None:
        """Record the settings of the crops.

        Raises
        ------
        InsightError
            The existing crops were made with other settings and ``overwrite`` is False, or the record is damaged.
        """
        path = self._state / SETTINGS
        try:
            stored = dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            stored = {}
        except (ValueError, TypeError):
            raise InsightError(f"{path}: is damaged; give another output, or remove the file") from None
        if stored and not overwrite:
            for option, value in settings.items():
                if stored.get(option) != value:
                    other = _difference(option, stored.get(option), value)
                    raise InsightError(
                        f"{printable(self.path)}: its crops were made with {other}; give the same again, give another "
                        f"output, or --overwrite to replace them"
                    )
        if stored != settings:
            atomic.write_text(path, json.dumps(settings, indent=1) + "\n")

    def folders(self) -> List[str]:
        """Names of the folders of crops."""
        with os.scandir(self.path) as entries:
            return sorted(entry.name for entry in entries if entry.name != STATE and entry.is_dir())

    def sweep(self, folder: str) -> None:
        """Remove temporary files of killed runs from a folder of crops."""
        sweep_crops(os.path.join(self.path, folder))

    def close(self) -> None:
        """Release the lock; if nothing was written, remove the folders that the run created."""
        try:
            self._state.rmdir()
            if self._made:
                os.rmdir(self.path)
        except OSError:
            pass  # something was written
        os.close(self._lock)

    def _take_lock(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise InsightError(
                        f"{printable(self.path)}: another run is writing into it; wait for that, or give another output"
                    ) from None
                time.sleep(0.05)


def sweep_crops(folder: str) -> None:
    """Remove temporary files from a folder of crops, into which no process may be writing."""
    for partial in Path(folder).glob(".*.partial"):
        if partial.name.split(".")[-2].isdigit():
            partial.unlink(missing_ok=True)


def write_crops(out: str, crops: Dict[str, bytes]) -> None:
    """Write crops, by their path below the output folder, atomically and with fsync.

    :func:`insight.files.atomic.write_beside` is not used: it lists the folder for each file, which is slow if it is
    large.
    """
    for path, data in crops.items():
        target = Path(out, path)
        partial = atomic.partial_name(target)
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)


def _difference(option: str, stored: Any, value: Any) -> str:
    if option in BY_CONTENT:
        return f"another {option}" if stored else f"no {option}"
    return f"{option} {stored}, not {value}"
