"""Checks of the data and options of a run, and their error messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import checkpoint, nets
from .._mxnet import mx
from ..errors import InsightError
from ..files import atomic
from ..formats import remedies
from ..graph import nodes, shapes
from ..images.header import image_size
from .train_options import TrainOptions


def check_set(faces, options: TrainOptions, labelled: bool = True) -> list:
    """Refuse a set that cannot be trained on; return notes about what is unusual in it.

    Labels are checked only here. MXNet does not check them: a label out of range makes it write outside the logits.

    Parameters
    ----------
    faces : FaceSet
    options : TrainOptions
    labelled : bool
        Whether the loss needs labels; if not, they are not checked.

    Raises
    ------
    InsightError
        Fewer than two identities, a label outside 0..num_classes-1 (the message names its record), or
        images of another size than ``--image-size``.
    """
    if labelled:
        _check_labels(faces)
    size = ",".join(map(str, faces.image_size))
    asked = options.image_size.lower().replace(" ", "").replace("x", ",").split(",")
    if options.image_size and ",".join(asked * 2 if len(asked) == 1 else asked) != size:
        raise InsightError(
            f"--image-size {options.image_size}: {faces.rec_path} holds images of {size}; "
            "leave the option out; or "
            f"rec2image, dir2lst and face2rec --image-size {options.image_size} make a set of that size"
        )
    empty = faces.num_classes - len(faces.distinct_labels())
    if not empty or not labelled:
        return list(faces.notes)
    share = f"{empty} of {faces.num_classes} identities have no image: their classes are only ever pushed away"
    remedy = f"`{remedies.into_new(faces.rec_path)}` numbers labels anew"
    return [*faces.notes, f"{faces.rec_path}: {share} ({remedy})"]


def _check_labels(faces) -> None:
    if faces.num_classes < 2:
        raise InsightError(
            f"{faces.rec_path}: holds {faces.num_classes} identity; training needs at least 2, or --loss-type none "
            "with a --teacher"
        )
    known = faces.distinct_labels()
    if known[0] < 0 or known[-1] >= faces.num_classes:
        bad = np.flatnonzero((faces.labels < 0) | (faces.labels >= faces.num_classes))
        first = int(bad[0])
        negative = known[0] < 0
        command = remedies.into_new(faces.rec_path) if negative else remedies.in_place(faces.rec_path, overwrite=True)
        what = "leaves out records without a label" if negative else "writes property anew"
        raise InsightError(
            f"{faces.rec_path}: record {faces.images[first]} has label {faces.labels[first]}, the property file says "
            f"{faces.num_classes} classes ({bad.size} such records); `{command}` {what}"
        )


def sparse_labels(faces) -> str:
    """How to have fewer classes, for messages about memory; empty unless at least half of them have no image."""
    identities = len(faces.distinct_labels())
    if 2 * identities > faces.num_classes:
        return ""
    return (
        f"labels are sparse: {identities} identities have images, the largest label is {faces.labels.max()}; "
        f"`insight dataset-repair {faces.rec_path} --output DIR` numbers labels anew"
    )


def check_targets(sets: list, faces) -> None:
    """Refuse verification sets whose images differ in size from the training set's: a network takes one size.

    Raises
    ------
    InsightError
        A size differs; the message names both sizes and how to scale the verification set.
    """
    for eval_set in sets:
        size = image_size(bytes(eval_set.source.read(0)))
        if size not in (None, tuple(faces.image_size)):
            raise InsightError(
                f"{eval_set.path}: its images are {_by(size)} (height x width), those of {faces.rec_path} "
                f"{_by(faces.image_size)}, and a network takes one size; {eval_set.source.to_scale(faces.image_size)}; "
                f"or leave {eval_set.name} out of --target"
            )


def check_averages(options: TrainOptions, sets: list) -> None:
    """Refuse averages that would be neither verified nor saved.

    Raises
    ------
    InsightError
        ``--ema`` with ``--ckpt 0`` and without a verification set.
    """
    if options.ema and not options.ckpt and not sets:
        raise InsightError(
            f"--ema {options.ema:g}: with --ckpt 0 and no verification set the averages would be neither saved nor "
            "verified; leave one of them out"
        )


def check_prefix(prefix: str, network) -> None:
    """Refuse a prefix with checkpoints of another network: they need the symbol file that this run would overwrite.

    Parameters
    ----------
    prefix : str
    network : insight.nets.network.Network
        The network to train.

    Raises
    ------
    InsightError
        There are checkpoints of another network, or of one for images of another size.
    """
    numbers = checkpoint.epochs(prefix)
    if not numbers or not checkpoint.symbol_path(prefix).is_file():
        return
    before, now = checkpoint.load_symbol(prefix), nets.symbol(network)
    theirs = shapes.stated_size(nodes.Graph.from_symbol(before)) or shapes.CONVENTION
    if theirs != network.image_size:
        what = f"a network for {_by(theirs)} images, and this one takes {_by(network.image_size)}"
    elif _arrays(before, theirs) != _arrays(now, theirs):
        what = "another network than this one"
    else:
        return
    raise InsightError(
        f"--prefix {prefix}: {checkpoint.symbol_path(prefix)} describes {what}, and the checkpoints beside it "
        f"({', '.join(map(str, numbers))}) need it; give another --prefix"
    )


def _arrays(symbol, size: tuple) -> dict:
    """Shapes by name of the arrays up to ``fc1_output``; empty if there is no such output or the size does not fit."""
    if "fc1_output" not in symbol.get_internals().list_outputs():
        return {}
    embedding = symbol.get_internals()["fc1_output"]
    try:
        arguments, _, auxiliary = embedding.infer_shape_partial(data=(1, 3, *size))
    except mx.MXNetError:
        return {}
    return dict(zip(embedding.list_arguments() + embedding.list_auxiliary_states(), arguments + auxiliary))


def _by(size: tuple) -> str:
    return "x".join(map(str, size))


def non_finite(prefix: str, step: int, rows: tuple, saved: str, writes: bool = True) -> InsightError:
    """Write a table of the batch whose loss or gradient is not finite; return the error to raise.

    The parameters still have their values from before the step.

    Parameters
    ----------
    prefix : str
        The table is ``PREFIX-nonfinite-STEP.tsv``.
    step : int
        The step that was not taken, 1-based.
    rows : (numpy.ndarray, numpy.ndarray, numpy.ndarray)
        (B,) keys, labels and losses of the whole batch.
    saved : str
        Names the newest checkpoint, for the message.
    writes : bool
        Whether this rank writes the file.
    """
    path = Path(f"{prefix}-nonfinite-{step}.tsv")
    text = "key\tlabel\tloss\n" + "".join(f"{key}\t{label}\t{loss:g}\n" for key, label, loss in zip(*rows))
    if writes:
        atomic.write_text(path, text)
    what = "loss" if not np.isfinite(rows[2]).all() else "gradient"
    return InsightError(
        f"step {step}: the {what} is not finite any more, and the step was not taken; the records of its batch are in "
        f"{path}; {saved}; go on from a checkpoint by --pretrained with a lower --lr (for margins, from a softmax one)"
    )
