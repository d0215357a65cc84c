"""Layer fc7 outside the training step: its sizes, and the symbol that a checkpoint saves.

B: batch size per device, C: classes, E: embedding size, K: centres per class.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Tuple

from .._mxnet import MAX_ELEMENTS, mx
from ..errors import InsightError
from ..margins.margin import Margin
from . import cross_entropy, projection, sub_centres
from .class_rows import ClassRows
from .objective import Need

MAX_CLASSES = 1 << 24  # MXNet's operators take class indices as float32
FLOAT = 4  # bytes
GATHERED = 6  # most (B, E) arrays over all ranks at a time: embeddings, normalised ones, gradients, their sums
CENTRES = "__centres__"  # attribute of fc7_weight in a saved symbol: K, if above 1


def check_centres(margin: Margin, centres: int) -> None:
    """Raise an error if the margin does not support this number of centres per class."""
    if centres == 1:
        return
    if not margin.cosine:
        raise InsightError(f"--centres {centres}: {margin.name} has no cosines to compare; use a margin that has")
    if margin.centre_spread:
        raise InsightError(f"--centres {centres}: {margin.name} spreads identities of one centre; use arcface")


def check_filter(margin: Margin, above: float) -> None:
    """Raise an error if ``--interclass-filter`` is out of range, or the margin does not support it."""
    option = f"--interclass-filter {above:g}"
    if not 0 < above <= 1:
        raise InsightError(f"{option}: must be a cosine above 0, or 1 to leave out no class")
    if above < 1 and (margin.modulates or not margin.unit_embedding):
        why = "changes the other classes itself" if margin.modulates else "has no cosines of embeddings of length 1"
        raise InsightError(f"{option}: --loss-type {margin.name} {why}; leave one of them out")


def check_sizes(rows: ClassRows, batch_per_device: int, remedy: str, batch_option: str, size_option: str) -> None:
    """Check that MXNet 1.9.1, which counts elements in 32 bits, can index the class weights and the logits.

    Parameters
    ----------
    rows : ClassRows
        Classes of this rank.
    batch_per_device : int
        B. Where classes are sharded, the logits are those of the samples of all ranks.
    remedy : str
        For error messages: how to reduce the number of classes of the set; may be empty.
    batch_option, size_option : str
        Options that set B and E, for error messages.

    Raises
    ------
    InsightError
        An array would have too many elements, or there are too many classes for float32 indices.
    """
    if rows.classes > MAX_CLASSES:
        raise InsightError(
            f"{rows.classes} classes: MXNet's float32 indices are exact up to {MAX_CLASSES}; divide them among ranks "
            "by --shard-classes"
        )
    rule = f"MXNet 1.9.1 indexes at most {MAX_ELEMENTS} elements of an array"
    more = f"; {remedy}" if remedy else ""
    here = " on a rank" if rows.across.size > 1 else ""
    several = f" of {rows.centres} centres" if rows.centres > 1 else ""
    of_weights = rows.classes * rows.centres, f"{rows.classes} identities{here}{several}", "class weights"
    of_logits = rows.most_drawn * rows.across.size, f"{rows.most_drawn} identities{here}", "logits"
    for option, length, (count, classes, array) in (
        (size_option, rows.embedding_size, of_weights),
        (batch_option, batch_per_device, of_logits),
    ):
        if length * count > MAX_ELEMENTS:
            raise InsightError(
                f"{option} {length} with {classes}: {rule}, the {array} would have {length * count}; use {option} "
                f"{MAX_ELEMENTS // count} or less{more}"
            )


def memory(margin: Margin, rows: ClassRows, batch_per_device: int) -> Need:
    """Memory that a classification needs on each device of this rank."""
    classes, centres, size = rows.most_drawn, rows.centres, rows.embedding_size
    batch = batch_per_device * rows.across.size
    widest = min(projection.BLOCK, classes)
    scratch = widest * (2 * size + batch) + 4 * classes * centres  # blocks; norms and sums
    if centres > 1:
        scratch += sub_centres.block_elements(classes, centres, size, batch)
    if margin.modulates:
        scratch += cross_entropy.ARRAYS_OF_ROWS * cross_entropy.rows_at_once(batch, classes) * classes
    if rows.across.size > 1:
        scratch += GATHERED * batch * size
    elements, gradients = sum(math.prod(shape) for shape in rows.shapes.values()), None
    if rows.rate < 1:  # copies of the rows, their gradients, and copies of these on conversion to row-sparse
        gradients = round(elements * classes / rows.classes)
        scratch += 3 * gradients
    logits = batch * classes
    nearer = logits * (centres - 1)  # bytes: which centre gave a logit
    return Need(elements, FLOAT * (logits + scratch) + nearer, ("classes", "logits"), gradients=gradients)


def symbol(embedding, margin: Margin, shape: Tuple[int, int], use_bias: bool, centres: int = 1):
    """Symbol that a checkpoint saves: [BlockGrad(embedding), softmax over the logits without margin].

    The outputs, the inputs ``data`` and ``softmax_label``, and the internal outputs ``fc1_output`` (B, E) and
    ``fc7_output`` (B, C) have InsightFace's names. The margin is applied in training only. With several centres, a
    logit of ``fc7`` is the largest over the class's centres, and ``fc7_weight`` has K as an attribute
    (:func:`stated_centres`).

    Parameters
    ----------
    embedding : Symbol
    margin : Margin
    shape : (int, int)
        Shape (C K, E) of ``fc7_weight``, with the classes of all ranks.
    use_bias : bool
    centres : int
        K.
    """
    stated = {CENTRES: str(centres)} if centres > 1 else None
    rows = mx.sym.Variable("fc7_weight", shape=shape, attr=stated)  # its shape is not inferred through L2Normalization
    hidden = embedding
    if margin.unit_embedding:
        hidden = mx.sym.L2Normalization(embedding, name="fc1n")
        # `*` would give it an automatic, counted name, which differs in a resumed run
        hidden = mx.sym._internal._mul_scalar(hidden, scalar=margin.scale, name="fc1_scaled")
    if margin.cosine:
        rows = mx.sym.L2Normalization(rows, name="fc7_weight_n")
    inputs = (hidden, rows, mx.sym.Variable("fc7_bias")) if use_bias else (hidden, rows)
    name = "fc7" if centres == 1 else "fc7_centres"
    fc7 = mx.sym.FullyConnected(*inputs, no_bias=not use_bias, num_hidden=shape[0], name=name)
    if centres > 1:
        by_class = mx.sym.reshape(fc7, shape=(0, -1, centres), name="fc7_by_class")
        fc7 = mx.sym.max(by_class, axis=2, name="fc7")
    label = mx.sym.Variable("softmax_label")
    softmax_output = mx.sym.SoftmaxOutput(fc7, label, name="softmax", normalization="valid")
    return mx.sym.Group([mx.sym.BlockGrad(embedding, name="blockgrad0"), softmax_output])


def stated_centres(graph) -> int:
    """K of a symbol from :func:`symbol`; 1 for all others, such as InsightFace's."""
    return int(graph.attr_dict().get("fc7_weight", {}).get(CENTRES, 1))


def adopted(arrays: Dict[str, Any], graph: Optional[Any], weight, centres: int) -> Tuple[Dict[str, Any], List[str]]:
    """As :meth:`insight.objectives.objective.Objective.adopt`, for parameter ``weight`` with ``centres`` per class.

    A single centre of a class becomes the first of several; the others keep their initial values. Several centres are
    not reduced to one: the right one has most of the class's images, which the weights alone do not tell.
    """
    theirs, there = arrays.get("fc7_weight"), 1 if graph is None else stated_centres(graph)
    if theirs is None or there == centres:
        return arrays, []
    if there == 1 and theirs.shape[0] * centres == weight.shape[0] and theirs.shape[1] == weight.shape[1]:
        ours = weight.list_data()[0]
        by_class = ours.reshape((theirs.shape[0], -1))
        by_class[:, : theirs.shape[1]] = theirs.as_in_context(ours.context)
        note = f"fc7_weight has one centre an identity: the first of {centres} here; the others are fresh"
        return {**arrays, "fc7_weight": ours}, [note]
    note = f"{there} centre(s) an identity in fc7_weight, {centres} here: all are left fresh"
    return {name: array for name, array in arrays.items() if name != "fc7_weight"}, [note]
