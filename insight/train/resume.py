"""Exact resume: all that the next step depends on is in one file, ``PREFIX-resume.npz``.

The file holds arrays: the parameters, each device's running statistics, the momentum, arrays of the objective, and the
averages of ``--ema``. Its entry ``meta`` is a JSON object: step, options, the set's fingerprint, and states of model,
sampler, journal and evaluations. Order, augmentation, dropout, learning rate and annealing need no entry, as they are
functions of the seed and the step. The file is written under a temporary name and renamed, so a killed run leaves the
previous state.

Arrays that are divided among ranks are stored whole, so that any number of ranks can resume. They are written
(:mod:`insight.train.state_file`) and read in blocks.
"""

from __future__ import annotations

import json
import math
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Dict, Iterator, List, NamedTuple, Optional

import numpy as np

from ..arrays.npz import StoredRows
from ..errors import InsightError
from ..feed import samplers
from ..ranks.group import Ranks
from ..ranks.own_rows import OwnRows, fill
from ..ranks.single import ALONE
from . import state_file
from .state_file import META, SUFFIX
from .train_options import TrainOptions

BLOCK = 1 << 20  # elements copied at once


class Ways(NamedTuple):
    """How the training command resumes, in messages.

    Attributes
    ----------
    again : str
        How to resume a run that was stopped.
    afresh : str
        How to start a new run after one that has ended.
    """

    again: str = "--resume"
    afresh: str = "leave --resume out"


BY_FLAG = Ways()


class State:
    """State of a run between two steps. The constructor gets only ``meta``; arrays are read from the file on demand.

    Attributes
    ----------
    path : Path
        The state file.
    meta : dict
        The JSON object of its entry ``meta``.
    """

    def __init__(self, path: Path, meta: dict):
        self.path = path
        self.meta = meta

    @property
    def step(self) -> int:
        """Number of steps done."""
        return self.meta["step"]

    @property
    def finished(self) -> bool:
        """Whether the run reached its end, including the last verification and checkpoint."""
        return self.meta["finished"]

    @property
    def devices(self) -> int:
        """Number of devices of all ranks; 0 if an older version saved the state."""
        return self.meta.get("devices", 0)

    @property
    def images(self) -> int:
        """Images per step over all devices; 0 if an older version saved the state."""
        return self.meta["options"]["per_batch_size"] * self.devices

    def names(self) -> List[str]:
        """Names of the arrays, in the order of the file."""
        with _opened(self.path) as file:
            entries = [name[: -len(SUFFIX)] for name in file.namelist()]
        return [name for name in entries if name != META]

    def read_into(self, arrays: Dict[str, list]) -> None:
        """Read arrays in place.

        Parameters
        ----------
        arrays : dict of str to list of NDArray, numpy.ndarray or OwnRows
            Maps a name in the file to the arrays that get its values, or to a single OwnRows that gets its rows.

        Raises
        ------
        InsightError
            The file lacks an array, has one of another shape or dtype, or is damaged.
        """
        with _opened(self.path) as file:
            for name, copies in arrays.items():
                if isinstance(copies[0], OwnRows):
                    _read_own_rows(self.path, name, copies[0])
                    continue
                with file.open(name + SUFFIX) as entry:
                    _read(entry, name, copies)


def state_path(prefix: str) -> Path:
    """Path of the state file of a prefix."""
    return Path(f"{prefix}-resume.npz")


def save(prefix: str, meta: dict, arrays: dict, ranks: Ranks = ALONE) -> None:
    """Save a state, replacing the previous one; see :func:`insight.train.state_file.write`."""
    state_file.write(state_path(prefix), meta, arrays, ranks)


def load(prefix: str) -> Optional[State]:
    """Open the state of a prefix's run; None if there is none.

    Raises
    ------
    InsightError
        The file is not the state of a run, or is damaged.
    """
    path = state_path(prefix)
    if not path.exists():
        return None
    with _opened(path) as file, file.open(META + SUFFIX) as entry:
        shape, dtype = _read_header(entry)
        return State(path, json.loads(_take(entry, math.prod(shape) * dtype.itemsize)))


def find(options: TrainOptions, fingerprint: str, devices: int = 1, ways: Ways = BY_FLAG) -> Optional[State]:
    """Find the state that this run resumes from; None if it starts from the beginning.

    A run may be resumed on another number of devices or ranks if the number of images per step stays the same.

    Parameters
    ----------
    options : TrainOptions
    fingerprint : str
        Fingerprint of the training set.
    devices : int
        Number of devices of all ranks.
    ways : Ways
        How the command resumes, in messages.

    Raises
    ------
    InsightError
        With ``--resume``: the data set or the options differ from those that the run was started with. Without: an
        unfinished run would be overwritten.
    """
    path = state_path(options.prefix)
    state = load(options.prefix)
    if state is None:
        return None
    if not options.resume:
        if not state.finished and state.step:
            raise InsightError(
                f"{path}: an unfinished run stands here, at step {state.step} of {state.meta['total_steps']}; "
                "go on with it by --resume, name another --prefix, or move the file away"
            )
        return None
    if state.meta["set"] != fingerprint:
        raise InsightError(
            f"--data-dir {options.data_dir}: not the set that the run of {path} was started with; "
            "resume with that one, or name another --prefix"
        )
    differing = options.differences(state.meta["options"])
    otherwise = "name another --prefix" + (f", or {ways.afresh}: it has ended" if state.finished else "")
    if state.devices:
        _check_batch(options, state, devices, otherwise)
        differing = [text for text in differing if text.split()[0] not in ("--per-batch-size", "--devices")]
    if differing:
        raise InsightError(
            f"{', '.join(differing)}: the run of {path} was started otherwise; resume it with its options, or "
            f"{otherwise}"
        )
    return state


def _check_batch(options: TrainOptions, state: State, devices: int, otherwise: str) -> None:
    """Refuse a batch that differs in size, or in layout over the devices, from that of the resumed run."""
    images = options.per_batch_size * devices
    on = f"{devices} device{'s' * (devices > 1)}"
    now = f"--per-batch-size {options.per_batch_size}: on {on} a step takes {images} images"
    if images != state.images:
        fits = f"give --per-batch-size {state.images // devices}, or " if state.images % devices == 0 else ""
        took = f"in the run of {state.path} it took {state.images} on {state.devices}"
        raise InsightError(f"{now}, {took}; {fits}{otherwise}")
    if devices != state.devices and samplers.samplers.get(options.sampler).MULTIPLE > 1:
        raise InsightError(
            f"{now}, and --sampler {options.sampler} has laid them out for {state.devices}; resume on that many"
        )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the file as a zip archive; turn any error of reading it into an InsightError."""
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InsightError(f"{path}: not the state of a training run ({error}); move it away to start afresh") from None


def _read(entry: IO[bytes], name: str, copies: list) -> None:
    """Read one array of the file into each of ``copies``."""
    shape, dtype = _read_header(entry)
    for array in copies:
        if (shape, dtype) != (tuple(array.shape), np.dtype(array.dtype)):
            raise ValueError(f"{name} is {dtype} {shape}, and this run has {np.dtype(array.dtype)} {array.shape}")
    flats = [array.reshape((-1,)) for array in copies]
    size = math.prod(shape)
    for begin in range(0, size, BLOCK):
        count = min(BLOCK, size - begin)
        block = np.frombuffer(_take(entry, count * dtype.itemsize), dtype)
        for flat in flats:
            flat[begin : begin + count][:] = block


def _read_own_rows(path: Path, name: str, part: OwnRows) -> None:
    """Read this rank's rows of an array of the file."""
    rows, array = StoredRows(path, name), part.array
    if (rows.shape, rows.dtype) != (part.shape, part.dtype):
        raise ValueError(f"{name} is {rows.dtype} {rows.shape}, and this run has {part.dtype} {part.shape}")
    first = part.shard.begin
    fill(array, lambda begin, end: rows.between(first + begin, first + end))


def _read_header(entry: IO[bytes]) -> tuple:
    """(shape, dtype) from an array's header in NumPy's format 1.0, the only version that is written here."""
    if np.lib.format.read_magic(entry) != (1, 0):
        raise ValueError(f"{entry.name} has another format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(entry)
    if fortran_order or dtype.hasobject:
        raise ValueError(f"{entry.name} has another format")
    return shape, dtype


def _take(entry: IO[bytes], count: int) -> bytes:
    data = entry.read(count)
    if len(data) < count:
        raise EOFError(f"{entry.name} ends early")
    return data
