"""Checkpoints in MXNet's layout: ``prefix-symbol.json`` beside ``prefix-%04d.params``.

The params file maps ``arg:<name>`` (learned) and ``aux:<name>`` (running statistics) to
arrays, as ``mx.model.load_checkpoint`` and InsightFace read it.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from ._mxnet import mx
from .errors import InsightError
from .files import atomic
from .files.text import open_text
from .machine.stderr import discarded

SAME_ARRAY = {"fc1_weight": "pre_fc1_weight", "pre_fc1_weight": "fc1_weight"}


class Checkpoint(NamedTuple):
    """A graph and its arrays, on the CPU."""

    symbol: mx.sym.Symbol
    arg_params: dict
    aux_params: dict


def parse_spec(spec: str, option: str = "--model") -> tuple:
    """``prefix,epoch`` -> (prefix, epoch). The prefix may hold commas; the epoch may not."""
    prefix, comma, epoch = str(spec).rpartition(",")
    if not comma or not prefix or not epoch.strip().isdecimal():
        raise InsightError(f"{option} {spec}: a checkpoint is named prefix,epoch; for example models/y1,1")
    return prefix, int(epoch)


def symbol_path(prefix: str) -> Path:
    """Where the graph of a prefix stands."""
    return Path(f"{prefix}-symbol.json")


def params_path(prefix: str, epoch: int) -> Path:
    """Where the arrays of a prefix and epoch stand."""
    return Path(f"{prefix}-{epoch:04d}.params")


def epochs(prefix: str) -> list:
    """Numbers of the checkpoints that a prefix holds, ascending."""
    folder = Path(prefix).parent
    pattern = re.compile(re.escape(Path(prefix).name) + r"-(\d{4,})\.params")
    found = (pattern.fullmatch(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(match.group(1)) for match in found if match)


def load_params(prefix: str, epoch: int) -> tuple:
    """(arg_params, aux_params) of a checkpoint, on the CPU.

    Raises
    ------
    InsightError
        The file is missing (the message lists the epochs that exist) or is no params file.
    """
    return _read_params(_existing(prefix, epoch))


def size(prefix: str, epoch: int) -> int:
    """Bytes of a checkpoint's arrays.

    Raises
    ------
    InsightError
        The file is missing (the message lists the epochs that exist).
    """
    return _existing(prefix, epoch).stat().st_size


def _existing(prefix: str, epoch: int) -> Path:
    path = params_path(prefix, epoch)
    if not path.is_file():
        known = epochs(prefix)
        have = f"epochs there: {', '.join(map(str, known))}" if known else f"no checkpoint {prefix}-*.params exists"
        raise InsightError(f"{path}: no such checkpoint; {have}")
    return path


def load_symbol(prefix: str) -> mx.sym.Symbol:
    """The graph of a prefix.

    Raises
    ------
    InsightError
        The file is missing or is no symbol.
    """
    path = symbol_path(prefix)
    if not path.is_file():
        raise InsightError(f"{path}: no such file; it belongs beside {prefix}-*.params")
    return _read_symbol(path)


def load(prefix: str, epoch: int) -> Checkpoint:
    """Read a checkpoint, ours or InsightFace's.

    Raises
    ------
    InsightError
        A file is missing or is not what its name says.
    """
    arg_params, aux_params = load_params(prefix, epoch)
    return Checkpoint(load_symbol(prefix), arg_params, aux_params)


def read(symbol: Path, params: Path) -> Checkpoint:
    """Read two files, whatever their names are.

    Raises
    ------
    InsightError
        One is not what it should be.
    """
    return Checkpoint(_read_symbol(symbol), *_read_params(params))


def _read_params(path: Path) -> tuple:
    try:
        arrays = mx.nd.load(str(path))
    except mx.MXNetError as error:
        raise InsightError(f"{path}: not an MXNet params file, or cut short ({_first_line(error)})") from None
    if not isinstance(arrays, dict) or not all(name[:4] in ("arg:", "aux:") for name in arrays):
        raise InsightError(f"{path}: its arrays are not named arg:… and aux:…; it is no Module checkpoint")
    parts: dict = {"arg:": {}, "aux:": {}}
    for name, array in arrays.items():
        parts[name[:4]][name[4:]] = array
    return parts["arg:"], parts["aux:"]


def _read_symbol(path: Path) -> mx.sym.Symbol:
    try:
        # MXNet prints a line for every symbol of an older release that it upgrades
        with discarded(), open_text(path, "want an MXNet symbol", errors="replace") as source:
            return mx.sym.load_json(source.read())
    except mx.MXNetError as error:
        raise InsightError(f"{path}: not an MXNet symbol, or cut short ({_first_line(error)})") from None
    except UnicodeDecodeError:  # MXNet's message quotes memory behind the end of the text
        raise InsightError(f"{path}: not an MXNet symbol, or cut short") from None


def save(prefix: str, epoch: int, checkpoint: Checkpoint) -> Path:
    """Write both files or neither; returns the path of the params."""
    path = params_path(prefix, epoch)
    with atomic.temporary_beside(path) as params, atomic.temporary_beside(symbol_path(prefix)) as symbol:
        write(symbol, params, checkpoint)  # renamed from right to left
    return path


def write(symbol: Path, params: Path, checkpoint: Checkpoint) -> None:
    """Write two files under any names, in place; :func:`save` is the careful way."""
    arrays = {f"arg:{name}": array for name, array in checkpoint.arg_params.items()}
    arrays.update({f"aux:{name}": array for name, array in checkpoint.aux_params.items()})
    for path, save_as in ((symbol, checkpoint.symbol.save), (params, lambda name: mx.nd.save(name, arrays))):
        path.touch()  # MXNet's word for a folder that may not be written is a stack trace
        try:
            save_as(str(path))
        except mx.MXNetError as error:
            if "incomplete" not in str(error):
                raise
            # MXNet's word for a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None


def assign(parameters: dict, arrays: dict) -> list:
    """Copy arrays into Gluon parameters of the same name and shape; returns the names left as they were.

    ``fc1_weight`` and ``pre_fc1_weight`` are two names that InsightFace gave the same array.

    Parameters
    ----------
    parameters : dict
        Name to initialised Gluon parameter.
    arrays : dict
        Name to NDArray, as a checkpoint holds them.
    """
    fresh = []
    for name, parameter in sorted(parameters.items()):
        array = _array_for(name, arrays)
        if array is not None and array.shape == parameter.shape:
            parameter.set_data(array)
        else:
            fresh.append(name)
    if len(fresh) == len(parameters):
        raise InsightError("no array of the checkpoint fits the network by name and shape; is it another --network?")
    return fresh


def of_another_shape(parameters: dict, arrays: dict) -> dict:
    """What :func:`assign` leaves as it was although there is an array of its name: {name: shape of that array}."""
    found = {name: _array_for(name, arrays) for name in sorted(parameters)}
    return {name: a.shape for name, a in found.items() if a is not None and a.shape != parameters[name].shape}


def _array_for(name: str, arrays: dict):
    """The array of a parameter, under either of its names; None where there is none."""
    return arrays.get(name, arrays.get(SAME_ARRAY.get(name, "")))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Stack trace" not in line]
    return lines[-1][:160] if lines else type(error).__name__
