"""The layer fc7 apart from its training step: its sizes, and the graph that a checkpoint saves.

B: batch of a device, C: classes, E: embedding size.
"""

from __future__ import annotations

from typing import Optional

from .._mxnet import MAX_ELEMENTS, mx
from ..errors import InsightError
from ..margins.margin import Margin
from . import cross_entropy, projection
from .objective import Need

MAX_CLASSES = 1 << 24  # MXNet's operators take class indices as float32
FLOAT = 4  # bytes


def check_classes(num_classes: int) -> None:
    """Refuse more classes than float32 can number."""
    if num_classes > MAX_CLASSES:
        raise InsightError(f"{num_classes} classes: MXNet's float32 indices are exact up to {MAX_CLASSES}")


def check_filter(margin: Margin, above: float) -> None:
    """Refuse a bound of other classes' cosines that is none, or where it would not act."""
    option = f"--interclass-filter {above:g}"
    if not 0 < above <= 1:
        raise InsightError(f"{option}: must be a cosine above 0, or 1 to leave out no class")
    if above < 1 and (margin.modulates or not margin.unit_embedding):
        why = "changes the other classes itself" if margin.modulates else "has no cosines of embeddings of length 1"
        raise InsightError(f"{option}: --loss-type {margin.name} {why}; leave one of them out")


def check_sizes(
    num_classes: int, size: int, batch_per_device: int, remedy: str, batch_option: str, size_option: str
) -> None:
    """Refuse class weights or logits that MXNet 1.9.1 cannot index: its builds count elements in 32 bits.

    Parameters
    ----------
    num_classes, size, batch_per_device : int
        C, E and B.
    remedy : str
        How the set could have fewer classes, for messages; may be empty.
    batch_option, size_option : str
        Where B and E come from.
    """
    rule = f"MXNet 1.9.1 indexes at most {MAX_ELEMENTS} elements of an array"
    more = f"; {remedy}" if remedy else ""
    for option, rows, array in ((size_option, size, "class weights"), (batch_option, batch_per_device, "logits")):
        if rows * num_classes > MAX_ELEMENTS:
            raise InsightError(
                f"{option} {rows} with {num_classes} identities: {rule}, the {array} would have "
                f"{rows * num_classes}; use {option} {MAX_ELEMENTS // num_classes} or less{more}"
            )


def memory(margin: Margin, parameters: int, num_classes: int, size: int, batch_per_device: int) -> Need:
    """What a classification of so many ``parameters`` allocates on each device."""
    widest = min(projection.BLOCK, num_classes)
    scratch = widest * (2 * size + batch_per_device) + 4 * num_classes  # blocks; norms and sums
    if margin.modulates:
        scratch += cross_entropy.BLOCKS_OF_MODULATION * widest * batch_per_device
    logits = batch_per_device * num_classes
    return Need(parameters, FLOAT * (logits + scratch), ("classes", "logits"))


def symbol(embedding, margin: Margin, weight, bias: Optional[object]):
    """[BlockGrad(embedding), softmax over the logits without margin].

    Outputs, inputs (``data``, ``softmax_label``) and the internals ``fc1_output`` and ``fc7_output`` are
    named as InsightFace's; a margin exists only while training.

    Parameters
    ----------
    embedding : Symbol
    margin : Margin
    weight, bias : Parameter
        ``bias`` may be None.
    """
    centres = mx.sym.Variable("fc7_weight", shape=weight.shape)  # binders can't infer it through its norm
    hidden = embedding
    if margin.unit_embedding:
        hidden = mx.sym.L2Normalization(embedding, name="fc1n") * margin.scale
    if margin.cosine:
        centres = mx.sym.L2Normalization(centres, name="fc7_weight_n")
    inputs = (hidden, centres) if bias is None else (hidden, centres, mx.sym.Variable("fc7_bias"))
    fc7 = mx.sym.FullyConnected(*inputs, no_bias=bias is None, num_hidden=weight.shape[0], name="fc7")
    label = mx.sym.Variable("softmax_label")
    softmax_output = mx.sym.SoftmaxOutput(fc7, label, name="softmax", normalization="valid")
    return mx.sym.Group([mx.sym.BlockGrad(embedding, name="blockgrad0"), softmax_output])
