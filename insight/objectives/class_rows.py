"""Weights and bias of fc7 on one rank, and the rows of them that a step uses.

With ``--shard-classes`` each rank has a contiguous range of the classes. With ``--sample-rate`` a step uses only some
of a rank's classes. Their rows are copied into one dense array, and the gradient is a row-sparse array. MXNet's SGD
updates only the rows of that gradient; weight decay and momentum are not applied to the other rows.

B: samples that have logits on this rank, C: classes of the rank, E: embedding size, K: centres per class,
N = C K: rows; D: classes of a step, R = D K: their rows.
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
LEAST_DRAWN = 32  # drawn classes per rank, on average, so that a rank without any is unlikely


class StepRows(NamedTuple):
    """Class weights that a step uses on a device.

    Attributes
    ----------
    column_B : numpy.ndarray of int64
        Column of each sample's class in the logits of the step; -1 if this rank does not have the class.
    weight_RE, bias_D : NDArray
        float32 weights and bias; ``bias_D`` may be None.
    weight_grad_RE, bias_grad_D : NDArray or None
        Arrays to write the gradients to; None: no gradient is needed.
    drawn_D : numpy.ndarray of int64 or None
        Drawn classes, counted from the rank's first one; None: all classes. If the step draws no class of this rank,
        ``drawn_D`` is empty and the other arrays have one placeholder class of zeros (:attr:`stand_in`), because
        MXNet arrays cannot be empty.
    """

    column_B: np.ndarray
    weight_RE: Any
    bias_D: Any
    weight_grad_RE: Any
    bias_grad_D: Any
    drawn_D: Optional[np.ndarray]

    @property
    def stand_in(self) -> bool:
        """Whether the only class is a placeholder, which must not contribute to the loss."""
        return self.drawn_D is not None and not len(self.drawn_D)


class ClassRows:
    """Parameters of a classification on one rank, and the rows of them that a step uses.

    Parameters
    ----------
    params : mxnet.gluon.ParameterDict
        Receives ``fc7_weight`` and, with ``use_bias``, ``fc7_bias``.
    num_classes : int
        Number of classes over all ranks.
    centres : int
        K.
    embedding_size : int
        E.
    use_bias : bool
    divided : bool
        Whether each rank has only a range of the classes.
    rate : float
        Fraction of the classes that a step draws; 1: all classes.
    seed : int
        Seed of the run.

    Attributes
    ----------
    begin, end : int
        Range of the rank's classes.
    across : Ranks
        Ranks among which the classes are divided; a group of one rank if they are not.
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
        unknown = 0  # rows; set when the rank is known
        self.weight = params.get("fc7_weight", shape=(unknown, embedding_size), grad_stype=kind)
        self.bias = params.get("fc7_bias", shape=(unknown,), init="zeros", grad_stype=kind) if use_bias else None
        self._kept = Kept()
        self._drawn_gradients: list = []
        self.join(ALONE)

    def join(self, ranks: Ranks) -> None:
        """Set the ranks of the run, and this rank's range of classes.

        Raises
        ------
        InsightError
            There are fewer classes than ranks, or a step would draw too few classes.
        """
        _check(self.num_classes, ranks, self.divided, self.rate)
        self.across = ranks if self.divided else ALONE
        self.begin, self.end = self.across.span(self.num_classes)

    @property
    def classes(self) -> int:
        """Number of classes of this rank, C."""
        return self.end - self.begin

    @property
    def most_drawn(self) -> int:
        """The largest D, unless a batch has more classes of one cell than its share of the draw."""
        if self.rate == 1:
            return self.classes
        cells = -(-self.classes // drawn_classes.CELL) + 1  # each may have one more than its share
        return min(self.classes, drawn_classes.count(self.classes, self.rate) + cells)

    @property
    def shapes(self) -> Dict[str, tuple]:
        """Shapes of the parameters on this rank, by name."""
        shapes = {self.weight.name: (self.classes * self.centres, self.embedding_size)}
        return shapes if self.bias is None else {**shapes, self.bias.name: (self.classes,)}

    def initialize(self, initializer, devices: list) -> None:
        """Allocate the parameters. With ``divided``, the initial weights do not depend on the number of ranks."""
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
        """This rank's shards of the parameters that are divided among the ranks, by name."""
        if not self.divided:
            return {}
        k = self.centres
        shards = {"fc7_weight": Shard(self.begin * k, self.num_classes * k)}
        return shards if self.bias is None else {**shards, "fc7_bias": Shard(self.begin, self.num_classes)}

    def own(self, arrays: Dict[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
        """Cut the divided arrays of a checkpoint to this rank's rows.

        Returns the arrays, and notes on those that are left out because they have another number of classes.
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
        """Rows that a step uses.

        Parameters
        ----------
        device : mxnet.Context
        label_B : numpy.ndarray of int64
            Classes of all samples that have logits on this device.
        step : int
            0-based.

        Returns
        -------
        StepRows
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
        """(copy of the drawn classes' rows of a parameter, uninitialised array for their gradient)."""
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
        """Set the gradients of the parameters from the gradient arrays of ``rows``."""
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
        """Dense arrays that together hold the gradients of the last step."""
        if self.rate < 1:
            return self._drawn_gradients
        learned = [p for p in (self.weight, self.bias) if p is not None and p.grad_req != "null"]
        return [gradient for parameter in learned for gradient in parameter.list_grad()]


def _check(num_classes: int, ranks: Ranks, divided: bool, rate: float) -> None:
    """Raise an error if a rank has no classes, or may have none in a step."""
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
    """Index of each class in ``drawn_D``, which is ascending; -1 for classes that are not in it."""
    if not len(drawn_D):
        return np.full_like(class_B, -1)
    place_B = np.minimum(np.searchsorted(drawn_D, class_B), len(drawn_D) - 1)
    return np.where(drawn_D[place_B] == class_B, place_B, -1)


def _gradient(parameter: Optional[Any], device):
    """Gradient array of a parameter on a device; None if there is no parameter or it needs no gradient."""
    if parameter is None or parameter.grad_req == "null":
        return None
    if parameter.grad_req != "write":
        raise ValueError(f"{parameter.name}: grad_req {parameter.grad_req!r}; the classifier writes gradients")
    parameter.data(device)._fresh_grad = True  # otherwise Gluon's trainer takes the gradient for a stale one
    return parameter.grad(device)


def _fill(target, rows, numbers) -> None:
    """Set a row-sparse array to ``rows``, whose row numbers are ``numbers``."""
    mx.nd.sparse.row_sparse_array((rows, numbers), shape=target.shape, ctx=target.context).copyto(target)


def _hush_lazy_update() -> None:
    """Suppress the message that MXNet logs once about lazy updates with row-sparse gradients.

    MXNet is made to log it here, with stderr discarded.
    """
    weight, momentum, number = nd.zeros((1, 1)), nd.zeros((1, 1)), nd.zeros((1,), dtype="int64")
    gradient = nd.sparse.row_sparse_array((nd.zeros((1, 1)), number), shape=(1, 1))
    with discarded():
        nd.sgd_mom_update(weight, gradient, momentum, lr=0.0, lazy_update=True, out=weight).wait_to_read()
