"""A teacher's model, as an engine for the images of a set."""

from __future__ import annotations

from typing import Callable, Optional, TypeVar

from .. import engines
from ..errors import InsightError
from ..formats.faceset import FaceSet
from ..graph.shapes import Size

Opened = TypeVar("Opened", bound=engines.Engine)


def open_teacher(spec: str, faces: FaceSet, device=None) -> engines.Engine:
    """The fastest engine that is installed for a model, for images of the set's size.

    Parameters
    ----------
    spec : str
        As for :func:`insight.engines.load`.
    faces : FaceSet
    device : optional
        Where a checkpoint is computed, if not on the CPU.

    Raises
    ------
    InsightError
        The model cannot be used, or takes images of another size.
    """
    # The fastest engine is one for CPUs; a checkpoint is computed where the training is.
    where = {"device": device} if device is not None and engines.is_checkpoint(spec) else {}
    common = {"engine": engines.AUTO, "option": "--teacher", **where}
    return for_set(spec, faces, lambda size: engines.load(spec, image_size=size, **common))


def for_set(spec: str, faces: FaceSet, load: Callable[[Optional[Size]], Opened]) -> Opened:
    """What ``load`` opens for images of the set's size.

    Parameters
    ----------
    spec : str
    faces : FaceSet
    load : callable
        From a size of images, or None for the one that the model states, to the engine.

    Raises
    ------
    InsightError
        As ``load``; where the size is the reason, the message has both sizes.
    """
    has = faces.image_size
    try:
        return load(has)
    except InsightError as error:
        takes = load(None).image_size  # raises the same where the size is not the reason
        if tuple(takes) == tuple(has):
            raise error
        raise InsightError(
            f"--teacher {spec}: takes images of {_by(takes)} (height x width), those of "
            f"{faces.rec_path} are {_by(has)}; a teacher and what it teaches see the same images"
        ) from None


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
