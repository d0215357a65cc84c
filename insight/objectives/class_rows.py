"""fc7's weights and bias on one rank: the rows of all classes or of its range, and what a step takes of them.

With ``--shard-classes`` the classes are divided into contiguous ranges, a rank each. With ``--sample-rate`` a step
computes with some of a rank's classes: their rows are copied together, and their gradient is a row-sparse array, which
MXNet's SGD applies to these rows alone: others see neither decay nor momentum.

B: batch that the classes see, C: classes of the rank, E: embedding size, K: centres of a class, N = C K: rows;
D: classes of a step, R = D K: their rows.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from .._mxnet import mx
from ..errors import InsightError
from ..machine.stderr import discarded
from ..ranks.group import Ranks
from ..ranks.own_rows import Shard
from ..ranks.single import ALONE
from . import drawn_classes
from .initial_rows import RowsOfWhole
from .projection import Kept

nd = mx.nd
LEAST_DRAWN = 32  # classes for each rank, or one might have none by accident


class StepRows(NamedTuple):
    """What a step computes with on a device.

    Attributes
    ----------
    column_B : numpy.ndarray of int64
        The place of each sample's class among those of the step, -1 where this rank does not have it.
    weight_RE, bias_D : NDArray
        ``bias_D`` may be None.
    weight_grad_RE, bias_grad_D : NDArray or None
        Where their gradients go; None: they take none.
    drawn_D : numpy.ndarray of int64 or None
        Which of the rank's classes these are; None: all. Where the step draws none of them it is empty, and the other
        arrays have one class of zeros in their place (:attr:`stand_in`), since MXNet's arrays cannot be empty.
    """

    column_B: np.ndarray
    weight_RE: Any
    bias_D: Any
    weight_grad_RE: Any
    bias_grad_D: Any
    drawn_D: Optional[np.ndarray]

    @property
    def stand_in(self) -> bool:
        """Whether the only class is none, and must not count."""
        return self.drawn_D is not None and not len(self.drawn_D)


class ClassRows:
    """The parameters of a classification, and the rows of each step.

    Parameters
    ----------
    params : mxnet.gluon.ParameterDict
        Gets ``fc7_weight`` and, with ``use_bias``, ``fc7_bias``.
    num_classes, centres, embedding_size : int
        Of the whole set.
    use_bias : bool
    divided : bool
        Each rank has a range of the classes.
    rate : float
        The share of the classes that a step draws; 1: all.
    seed : int
        Of the run.

    Attributes
    ----------
    begin, end : int
        The rank's classes.
    across : Ranks
        Those that the classes are divided among; one, where each has all.
    """

    def __init__(
        self,
        params,
        num_classes: int,
        centres: int,
        embedding_size: int,
        use_bias: bool,
        divided: bool = False,
        rate: float = 1.0,
        seed: int = 0,
    ):
        self.num_classes, self.centres, self.embedding_size = num_classes, centres, embedding_size
        self.divided, self.rate, self.seed = divided, rate, seed
        kind = "row_sparse" if rate < 1 else "default"
        unknown = 0  # of rows: until the rank is known
        self.weight = params.get("fc7_weight", shape=(unknown, embedding_size), grad_stype=kind)
        self.bias = params.get("fc7_bias", shape=(unknown,), init="zeros", grad_stype=kind) if use_bias else None
        self._kept = Kept()
        self._drawn_gradients: list = []
        self.join(ALONE)

    def join(self, ranks: Ranks) -> None:
        """Take the range of a rank.

        Raises
        ------
        InsightError
            A rank would have no class, or the draw would be too small.
        """
        _check(self.num_classes, ranks, self.divided, self.rate)
        self.across = ranks if self.divided else ALONE
        self.begin, self.end = self.across.span(self.num_classes)

    @property
    def classes(self) -> int:
        """C."""
        return self.end - self.begin

    @property
    def most_drawn(self) -> int:
        """The largest D, unless a batch has more classes of a cell than are drawn of it."""
        if self.rate == 1:
            return self.classes
        cells = -(-self.classes // drawn_classes.CELL) + 1  # each may have one more than its share
        return min(self.classes, drawn_classes.count(self.classes, self.rate) + cells)

    @property
    def shapes(self) -> Dict[str, tuple]:
        """Of the parameters on this rank, by name."""
        shapes = {self.weight.name: (self.classes * self.centres, self.embedding_size)}
        return shapes if self.bias is None else {**shapes, self.bias.name: (self.classes,)}

    def initialize(self, initializer, devices: list) -> None:
        """Allocate; with ``divided``, whatever the number of ranks, they have the same array together."""
        if len(devices) > 1 and (self.divided or self.rate < 1):
            option = "--shard-classes" if self.divided else f"--sample-rate {self.rate:g}"
            raise InsightError(f"{option}: a rank has one device; start a rank for each of the {len(devices)} devices")
        if self.rate < 1:
            _hush_lazy_update()
        like = self.weight.init or initializer
        if self.divided and isinstance(like, (mx.init.Xavier, mx.init.Normal)):
            self.weight.init = RowsOfWhole(like, self.num_classes, self.begin, self.centres, self.seed)
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                parameter.shape = self.shapes[parameter.name]
                parameter.initialize(ctx=devices, default_init=initializer)

    def shards(self) -> Dict[str, Shard]:
        """Of the parameters that are parts of an array, by name."""
        if not self.divided:
            return {}
        k = self.centres
        shards = {"fc7_weight": Shard(self.begin * k, self.num_classes * k)}
        return shards if self.bias is None else {**shards, "fc7_bias": Shard(self.begin, self.num_classes)}

    def own(self, arrays: Dict[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
        """A checkpoint's arrays, with this rank's rows of those that are divided, and notes on those of other classes,
        which are left out.
        """
        parts, notes = dict(arrays), []
        for name in self.shards():
            if name not in arrays:
                continue
            array = parts.pop(name)
            per_class, rest = divmod(array.shape[0], self.num_classes)
            if per_class and not rest:
                parts[name] = array[self.begin * per_class : self.end * per_class]
            else:
                notes.append(f"{name} has {array.shape[0]} rows, of other than the {self.num_classes} identities here")
        return parts, notes

    def of_step(self, device, label_B: np.ndarray, step: int) -> StepRows:
        """The rows that a step computes with.

        Parameters
        ----------
        device : mxnet.Context
        label_B : numpy.ndarray of int64
            Classes of all samples that see these rows.
        step : int
            0-based.
        """
        bias = None if self.bias is None else self.bias.data(device)
        if self.rate == 1:
            column_B = np.where((label_B >= self.begin) & (label_B < self.end), label_B - self.begin, -1)
            gradients = _gradient(self.weight, device), _gradient(self.bias, device)
            return StepRows(column_B, self.weight.data(device), bias, *gradients, None)
        positives, span = np.unique(label_B), (self.begin, self.end)
        drawn_D = drawn_classes.draw(self.seed, step, self.num_classes, self.rate, positives, *span) - self.begin
        column_B = _places(drawn_D, label_B - self.begin)
        weight_RE, weight_grad_RE = self._copied(self.weight, device, drawn_D)
        if bias is None:
            return StepRows(column_B, weight_RE, None, weight_grad_RE, None, drawn_D)
        bias_D, bias_grad_D = self._copied(self.bias, device, drawn_D)
        return StepRows(column_B, weight_RE, bias_D, weight_grad_RE, bias_grad_D, drawn_D)

    def _copied(self, parameter, device, drawn_D: np.ndarray) -> tuple:
        """(the drawn classes' rows of a parameter, room for their gradient)."""
        by_class = parameter.data(device).reshape((self.classes, -1))
        name, shape, of_row = parameter.name, (max(1, len(drawn_D)), by_class.shape[1]), parameter.shape[1:]
        drawn = self._kept.get(device, name, shape)
        if len(drawn_D):
            nd.take(by_class, nd.array(drawn_D, ctx=device, dtype="int64"), out=drawn)
        else:
            drawn[:] = 0
        gradient = self._kept.get(device, f"{name}/gradient", shape)
        return drawn.reshape((-1, *of_row)), gradient.reshape((-1, *of_row))

    def learned(self, rows: StepRows, device) -> None:
        """Give the parameters the gradients that were written to ``rows``."""
        if rows.drawn_D is None:
            return
        k, self._drawn_gradients = self.centres, []
        of_rows = (rows.drawn_D[:, None] * k + np.arange(k)).ravel()
        for parameter, gradient, numbers in (
            (self.weight, rows.weight_grad_RE, of_rows),
            (self.bias, rows.bias_grad_D, rows.drawn_D),
        ):
            target = _gradient(parameter, device)
            if target is None:
                continue
            self._drawn_gradients.append(gradient)
            if rows.stand_in:
                mx.nd.sparse.zeros("row_sparse", target.shape, ctx=device).copyto(target)
            else:
                _fill(target, gradient, nd.array(numbers, ctx=device, dtype="int64"))

    def gradients(self) -> list:
        """Dense arrays with all numbers of the last step's gradients."""
        if self.rate < 1:
            return self._drawn_gradients
        learned = [p for p in (self.weight, self.bias) if p is not None and p.grad_req != "null"]
        return [gradient for parameter in learned for gradient in parameter.list_grad()]


def _check(num_classes: int, ranks: Ranks, divided: bool, rate: float) -> None:
    """Refuse a division or a draw that leaves a rank without classes."""
    if divided and num_classes < ranks.size:
        raise InsightError(f"--shard-classes: {num_classes} identities cannot be divided among {ranks.size} ranks")
    if rate == 1:
        return
    option = f"--sample-rate {rate:g}"
    if ranks.size > 1 and not divided:
        raise InsightError(f"{option}: on {ranks.size} ranks it needs --shard-classes")
    drawn = drawn_classes.count(num_classes, rate)
    if drawn < LEAST_DRAWN * ranks.size:
        least = f"{LEAST_DRAWN} or more" + (f" for each of {ranks.size} ranks" if ranks.size > 1 else "")
        raise InsightError(f"{option}: draws {drawn} of {num_classes} identities, and must draw {least}; raise it")


def _places(drawn_D: np.ndarray, class_B: np.ndarray) -> np.ndarray:
    """Where each class is among the drawn ones, which ascend; -1 where it is not."""
    if not len(drawn_D):
        return np.full_like(class_B, -1)
    place_B = np.minimum(np.searchsorted(drawn_D, class_B), len(drawn_D) - 1)
    return np.where(drawn_D[place_B] == class_B, place_B, -1)


def _gradient(parameter: Optional[Any], device):
    """Where to write the gradient of a parameter on a device; None where it takes none."""
    if parameter is None or parameter.grad_req == "null":
        return None
    if parameter.grad_req != "write":
        raise ValueError(f"{parameter.name}: grad_req {parameter.grad_req!r}; the classifier writes gradients")
    parameter.data(device)._fresh_grad = True  # or a Gluon trainer takes it for one of an earlier step
    return parameter.grad(device)


def _fill(target, rows, numbers) -> None:
    """Let a row-sparse array have these rows and no others."""
    mx.nd.sparse.row_sparse_array((rows, numbers), shape=target.shape, ctx=target.context).copyto(target)


def _hush_lazy_update() -> None:
    """Let MXNet log now, unheard, what it logs once: that SGD moves only the rows of a row-sparse gradient."""
    weight, momentum, number = nd.zeros((1, 1)), nd.zeros((1, 1)), nd.zeros((1,), dtype="int64")
    gradient = nd.sparse.row_sparse_array((nd.zeros((1, 1)), number), shape=(1, 1))
    with discarded():
        nd.sgd_mom_update(weight, gradient, momentum, lr=0.0, lazy_update=True, out=weight).wait_to_read()
