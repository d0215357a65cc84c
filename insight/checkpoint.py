"""Checkpoints in MXNet's layout: ``prefix-symbol.json`` and ``prefix-%04d.params``.

The params file maps ``arg:<name>`` (learned) and ``aux:<name>`` (running statistics) to arrays, in the format of
``mx.model.load_checkpoint`` and InsightFace.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Collection, NamedTuple, Union

from ._mxnet import mx
from .arrays.params_layout import StoredArray, lay_out, stored_arrays
from .errors import InsightError
from .files import atomic
from .files.text import open_text
from .machine.stderr import discarded
from .ranks.group import Ranks
from .ranks.own_rows import OwnRows, fill, write_at
from .ranks.shared_file import raised_on_all, written_together
from .ranks.single import ALONE

SAME_ARRAY = {"fc1_weight": "pre_fc1_weight", "pre_fc1_weight": "fc1_weight"}


class Checkpoint(NamedTuple):
    """A graph and its arrays, on the CPU; to be saved, also a :class:`~insight.ranks.own_rows.OwnRows` of an array."""

    symbol: mx.sym.Symbol
    arg_params: dict
    aux_params: dict


def parse_spec(spec: str, option: str = "--model") -> tuple:
    """Parse ``prefix,epoch`` to (prefix, epoch). The prefix may contain commas."""
    prefix, comma, epoch = str(spec).rpartition(",")
    if not comma or not prefix or not epoch.strip().isdecimal():
        raise InsightError(f"{option} {spec}: want prefix,epoch of a checkpoint, for example models/y1,1")
    return prefix, int(epoch)


def symbol_path(prefix: str) -> Path:
    """Path of the graph of a prefix."""
    return Path(f"{prefix}-symbol.json")


def params_path(prefix: str, epoch: int) -> Path:
    """Path of the arrays of a prefix and epoch."""
    return Path(f"{prefix}-{epoch:04d}.params")


def epochs(prefix: str) -> list:
    """Numbers of the existing checkpoints of a prefix, ascending."""
    folder = Path(prefix).parent
    pattern = re.compile(re.escape(Path(prefix).name) + r"-(\d{4,})\.params")
    matches = (pattern.fullmatch(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(match.group(1)) for match in matches if match)


class RowsOnDisk:
    """An array of a checkpoint whose rows are read when they are asked for: ``rows[begin:end]`` is an NDArray."""

    def __init__(self, array: StoredArray):
        self._array = array
        self.shape = array.shape

    def __getitem__(self, rows: slice):
        first, last, _ = rows.indices(self.shape[0])
        array = mx.nd.empty((last - first, *self.shape[1:]), dtype=self._array.dtype)
        fill(array, lambda begin, end: self._array.read(slice(first + begin, first + end)))
        return array


def load_params(prefix: str, epoch: int, by_rows: Collection[str] = ()) -> tuple:
    """(arg_params, aux_params) of a checkpoint, on the CPU.

    Parameters
    ----------
    prefix : str
    epoch : int
    by_rows : collection of str
        Arrays that are not to be read as a whole: they are :class:`RowsOnDisk`, where the file's layout allows it.

    Raises
    ------
    InsightError
        The file is missing (the message lists the existing epochs) or is not a params file.
    """
    path = _existing(prefix, epoch)
    stored = stored_arrays(path) if by_rows else None
    if stored is None:
        return _read_params(path)
    return _by_kind(path, {name: _opened(array, name[4:] in by_rows) for name, array in stored.items()})


def _opened(array: StoredArray, by_rows: bool):
    rows = RowsOnDisk(array)
    return rows if by_rows else rows[:]


def size(prefix: str, epoch: int) -> int:
    """Size of a checkpoint's params file in bytes.

    Raises
    ------
    InsightError
        The file is missing (the message lists the existing epochs).
    """
    return _existing(prefix, epoch).stat().st_size


def _existing(prefix: str, epoch: int) -> Path:
    path = params_path(prefix, epoch)
    if not path.is_file():
        known = epochs(prefix)
        others = (
            f"existing epochs: {', '.join(map(str, known))}" if known else f"no checkpoint {prefix}-*.params exists"
        )
        raise InsightError(f"{path}: no such checkpoint; {others}")
    return path


def load_symbol(prefix: str) -> mx.sym.Symbol:
    """The graph of a prefix.

    Raises
    ------
    InsightError
        The file is missing or is not a symbol.
    """
    path = symbol_path(prefix)
    if not path.is_file():
        raise InsightError(f"{path}: no such file; want the symbol of {prefix}-*.params")
    return _read_symbol(path)


def load(prefix: str, epoch: int) -> Checkpoint:
    """Read a checkpoint, ours or InsightFace's.

    Raises
    ------
    InsightError
        A file is missing, damaged or of another format.
    """
    arg_params, aux_params = load_params(prefix, epoch)
    return Checkpoint(load_symbol(prefix), arg_params, aux_params)


def read(symbol: Path, params: Path) -> Checkpoint:
    """Read a checkpoint from two files of any names.

    Raises
    ------
    InsightError
        A file is damaged or of another format.
    """
    return Checkpoint(_read_symbol(symbol), *_read_params(params))


def _read_params(path: Path) -> tuple:
    try:
        arrays = mx.nd.load(str(path))
    except mx.MXNetError as error:
        raise InsightError(f"{path}: not an MXNet params file, or cut short ({_first_line(error)})") from None
    return _by_kind(path, arrays)


def _by_kind(path: Path, arrays: Union[dict, list]) -> tuple:
    """(arg_params, aux_params) of a file's arrays."""
    if not isinstance(arrays, dict) or not all(name[:4] in ("arg:", "aux:") for name in arrays):
        raise InsightError(f"{path}: its arrays are not named arg:… and aux:…; want the params of a Module checkpoint")
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
    except UnicodeDecodeError:  # MXNet's message quotes memory beyond the end of the text
        raise InsightError(f"{path}: not an MXNet symbol, or cut short") from None


def save(prefix: str, epoch: int, checkpoint: Checkpoint, ranks: Ranks = ALONE) -> Path:
    """Write a checkpoint's two files, both or neither; returns the path of the params.

    All ranks call it together. Rank 0 writes its arrays, and each rank its rows of those that are a
    :class:`~insight.ranks.own_rows.OwnRows`; the file is the same however many ranks there are.
    """
    path = params_path(prefix, epoch)
    if any(isinstance(array, OwnRows) for array in checkpoint.arg_params.values()):
        _save_together(prefix, path, checkpoint, ranks)
        return path
    with raised_on_all(ranks, "checkpoint/saved"):
        if ranks.rank == 0:
            with atomic.temporary_beside(path) as params, atomic.temporary_beside(symbol_path(prefix)) as symbol:
                write(symbol, params, checkpoint)  # renamed from right to left
    return path


def _save_together(prefix: str, path: Path, checkpoint: Checkpoint, ranks: Ranks) -> None:
    arrays = _named(checkpoint)
    layout = lay_out({name: (array.shape, array.dtype) for name, array in arrays.items()})
    with written_together(path, layout.size, ranks) as out:
        with raised_on_all(ranks, "checkpoint/rows", path):
            for name, array in arrays.items():
                if isinstance(array, OwnRows):
                    write_at(out, layout.begins[name] + array.begin, array.array)
                elif ranks.rank == 0:
                    write_at(out, layout.begins[name], array)
        with raised_on_all(ranks, "checkpoint/symbol"):
            if ranks.rank == 0:
                for offset, text in layout.texts:
                    out.seek(offset)
                    out.write(text)
                with atomic.temporary_beside(symbol_path(prefix)) as symbol:
                    checkpoint.symbol.save(str(symbol))


def _named(checkpoint: Checkpoint) -> dict:
    """The arrays by their names in the file, in its order."""
    arrays = {f"arg:{name}": array for name, array in checkpoint.arg_params.items()}
    return {**arrays, **{f"aux:{name}": array for name, array in checkpoint.aux_params.items()}}


def write(symbol: Path, params: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint to two files of any names, not atomically; see :func:`save`."""
    arrays = _named(checkpoint)
    for path, save_as in ((symbol, checkpoint.symbol.save), (params, lambda name: mx.nd.save(name, arrays))):
        path.touch()  # MXNet reports a read-only folder with a stack trace, this as an OSError
        try:
            save_as(str(path))
        except mx.MXNetError as error:
            if "incomplete" not in str(error):
                raise
            # MXNet reports a full disk as an incomplete write
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None


def assign(parameters: dict, arrays: dict) -> list:
    """Copy arrays into Gluon parameters of the same name and shape; returns the names of the other parameters.

    ``fc1_weight`` and ``pre_fc1_weight`` are two names of the same array in InsightFace.

    Parameters
    ----------
    parameters : dict
        Name to initialised Gluon parameter.
    arrays : dict
        Name to NDArray, as in a checkpoint.

    Raises
    ------
    InsightError
        No array fits any parameter.
    """
    unchanged = []
    for name, parameter in sorted(parameters.items()):
        array = _array_for(name, arrays)
        if array is not None and array.shape == parameter.shape:
            parameter.set_data(array)
        else:
            unchanged.append(name)
    if len(unchanged) == len(parameters):
        raise InsightError("no array of the checkpoint fits the network by name and shape; is it another --network?")
    return unchanged


def of_another_shape(parameters: dict, arrays: dict) -> dict:
    """Parameters that :func:`assign` skips because their array has another shape: {name: shape of the array}."""
    namesakes = {name: _array_for(name, arrays) for name in sorted(parameters)}
    return {name: a.shape for name, a in namesakes.items() if a is not None and a.shape != parameters[name].shape}


def _array_for(name: str, arrays: dict):
    """The array of a parameter, under either of its names; None if there is none."""
    return arrays.get(name, arrays.get(SAME_ARRAY.get(name, "")))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Stack trace" not in line]
    return lines[-1][:160] if lines else type(error).__name__
