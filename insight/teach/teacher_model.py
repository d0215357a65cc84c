"""Opening a teacher's model for the images of a set."""

from __future__ import annotations

from typing import Callable, Optional, TypeVar

from .. import engines
from ..errors import InsightError
from ..formats.faceset import FaceSet
from ..graph.shapes import Size

Opened = TypeVar("Opened", bound=engines.Engine)


def open_teacher(spec: str, faces: FaceSet, device=None) -> engines.Engine:
    """Open a model with the fastest installed engine, for images of the set's size.

    Parameters
    ----------
    spec : str
        As for :func:`insight.engines.load`.
    faces : FaceSet
        Training set.
    device : mxnet.Context, optional
        Device of a checkpoint; by default the CPU. Other models always run on the CPU.

    Raises
    ------
    InsightError
        The model cannot be used, or its images have another size.
    """
    # Checkpoints run on the training device, other models on the CPU, where the engines' order by speed is valid.
    where = {"device": device} if device is not None and engines.is_checkpoint(spec) else {}
    common = {"engine": engines.AUTO, "option": "--teacher", **where}
    return for_set(spec, faces, lambda size: engines.load(spec, image_size=size, **common))


def for_set(spec: str, faces: FaceSet, load: Callable[[Optional[Size]], Opened]) -> Opened:
    """Open a model with ``load`` for images of the set's size.

    Parameters
    ----------
    spec : str
        The model, for error messages.
    faces : FaceSet
        Training set.
    load : callable
        Function from the (height, width) of the images, or None for the size that the model states, to an engine.

    Raises
    ------
    InsightError
        An error of ``load``. If the image size is the reason, the message has both sizes.
    """
    has = faces.image_size
    try:
        return load(has)
    except InsightError as error:
        takes = load(None).image_size  # raises the same error if the image size is not the reason
        if tuple(takes) == tuple(has):
            raise error
        raise InsightError(
            f"--teacher {spec}: takes images of {_by(takes)} (height x width), those of "
            f"{faces.rec_path} are {_by(has)}; a teacher and what it teaches see the same images"
        ) from None


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
