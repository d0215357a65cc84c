"""What stops a run before it does harm, and what it says then."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InsightError
from ..formats import atomic, remedies
from .options import TrainOptions


def check_set(faces, options: TrainOptions) -> list:
    """Refuse a set that cannot be trained on; returns notes about what is odd in it.

    MXNet would train on a label without a class, and say nothing.

    Raises
    ------
    InsightError
        Fewer than two identities, a label outside 0..num_classes-1 (the message names its record), or
        images of another size than ``--image-size``.
    """
    if faces.num_classes < 2:
        raise InsightError(f"{faces.rec_path}: holds {faces.num_classes} identity; training needs at least 2")
    bad = np.flatnonzero((faces.labels < 0) | (faces.labels >= faces.num_classes))
    if bad.size:
        first = int(bad[0])
        negative = (faces.labels < 0).any()
        command = remedies.into_new(faces.rec_path) if negative else remedies.in_place(faces.rec_path, overwrite=True)
        what = "leaves out records without a label" if negative else "writes property anew"
        raise InsightError(
            f"{faces.rec_path}: record {faces.images[first]} has label {faces.labels[first]}, the property file says "
            f"{faces.num_classes} classes ({bad.size} such records); `{command}` {what}"
        )
    size = ",".join(map(str, faces.image_size))
    if options.image_size and options.image_size.replace(" ", "") != size:
        raise InsightError(
            f"--image-size {options.image_size}: {faces.rec_path} holds images of {size}; "
            f"rec2image, dir2lst and face2rec --image-size {options.image_size} make a set of that size"
        )
    empty = faces.num_classes - len(np.unique(faces.labels))
    if not empty:
        return list(faces.notes)
    share = f"{empty} of {faces.num_classes} identities have no image: their classes are only ever pushed away"
    remedy = f"`{remedies.into_new(faces.rec_path)}` numbers labels anew"
    return [*faces.notes, f"{faces.rec_path}: {share} ({remedy})"]


def sparse_labels(faces) -> str:
    """For messages about memory: how to have fewer classes, where most have no image; else empty."""
    identities = len(np.unique(faces.labels))
    if 2 * identities > faces.num_classes:
        return ""
    return (
        f"labels are sparse: {identities} identities have images, the largest label is {faces.labels.max()}; "
        f"`insight dataset-repair {faces.rec_path} --output DIR` numbers labels anew"
    )


def non_finite(prefix: str, step: int, batch, loss_B, saved: str) -> InsightError:
    """Write the keys of the batch that gave a loss or gradient which is no number; returns what to raise.

    The parameters are still those from before the step.

    Parameters
    ----------
    step : int
        The step that was not done, 1-based.
    loss_B : np.ndarray
        (B,) losses.
    saved : str
        Where the state from before it stands.
    """
    path = Path(f"{prefix}-nonfinite-{step}.tsv")
    rows = zip(batch.keys, np.asarray(batch.label.asnumpy(), np.int64), loss_B)
    text = "key\tlabel\tloss\n" + "".join(f"{key}\t{label}\t{loss:g}\n" for key, label, loss in rows)
    atomic.write_text(path, text)
    what = "loss" if not np.isfinite(loss_B).all() else "gradient"
    return InsightError(
        f"step {step}: the {what} is not finite any more, and the step was not taken; the records of its batch are in "
        f"{path}; {saved}; go on from a checkpoint by --pretrained with a lower --lr (for margins, from a softmax one)"
    )
