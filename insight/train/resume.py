"""Exact resume: everything that the next step depends on, in one file, ``PREFIX-resume.npz``.

The file holds the parameters, each device's running statistics and the momentum as float32
arrays, and under ``meta`` a JSON object: step, options, the set's fingerprint, and what the journal and the
evaluation remember. Order, augmentation, dropout, rate and annealing need no entry: they are functions
of the seed and the step. It is written beside and renamed, so a kill leaves the state before.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np

from ..errors import InsightError
from ..formats import atomic
from .options import TrainOptions

PARAMETER, MOMENTUM = "parameter/", "momentum/"


class State(NamedTuple):
    """A run between two steps."""

    meta: dict
    parameters: dict  # name, or name@device for running statistics, to array
    momenta: dict

    @property
    def step(self) -> int:
        """Steps that were done."""
        return self.meta["step"]

    @property
    def finished(self) -> bool:
        """Whether the run had reached its end, the last verification and checkpoint included."""
        return self.meta["finished"]


def state_path(prefix: str) -> Path:
    """Where the state of a prefix's run stands."""
    return Path(f"{prefix}-resume.npz")


def save(prefix: str, state: State) -> None:
    """Write a state in place of the one before."""
    arrays = {PARAMETER + name: array for name, array in state.parameters.items()}
    arrays.update({MOMENTUM + name: array for name, array in state.momenta.items()})
    meta = np.frombuffer(json.dumps(state.meta).encode(), np.uint8)
    with atomic.write_beside(state_path(prefix)) as out:
        np.savez(out, meta=meta, **arrays)


def load(prefix: str) -> Optional[State]:
    """Read the state of a prefix's run; None where there is none.

    Raises
    ------
    InsightError
        The file is not one of ours.
    """
    return _read(prefix, lambda name: True)


def _read(prefix: str, wanted: Callable[[str], bool]) -> Optional[State]:
    """As :func:`load`, with only those arrays whose names are wanted."""
    path = state_path(prefix)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            arrays = {name: file[name] for name in file.files if name != "meta" and wanted(name)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InsightError(f"{path}: not the state of a training run ({error}); move it away to start afresh") from None

    def part(kind: str) -> dict:
        return {name[len(kind) :]: array for name, array in arrays.items() if name.startswith(kind)}

    return State(meta, part(PARAMETER), part(MOMENTUM))


def find(options: TrainOptions, fingerprint: str) -> Optional[State]:
    """The state that this run is to go on from, or None for a run from its start.

    Raises
    ------
    InsightError
        ``--resume`` with another data set or other options than the run was started with; or no
        ``--resume`` although an unfinished run would be overwritten.
    """
    path = state_path(options.prefix)
    state = _read(options.prefix, lambda name: False)  # first what it says: the arrays may be gigabytes
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
    if differing:
        raise InsightError(
            f"{', '.join(differing)}: the run of {path} was started otherwise; resume it with its options"
        )
    return load(options.prefix)
