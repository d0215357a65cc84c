"""EMBEDDING -> GRADIENT: the objectives, what a step learns from; one a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, Tuple, Type

from ..errors import InsightError
from ..margins import margins
from ..options import Option, given
from ..registry import Registry, declared_options

if TYPE_CHECKING:
    from .objective import Objective

objectives = Registry("objective", __name__, "insight.objectives")


def options(taken: Iterable[str] = ()) -> Tuple[Option, ...]:
    """Options of all objectives and margins.

    Parameters
    ----------
    taken : iterable of str
        As in :func:`insight.registry.declared_options`.
    """
    return declared_options(objectives, margins, taken=taken)


def kind(loss_type: str) -> Type[Objective]:
    """The class of objective that ``--loss-type`` selects.

    Parameters
    ----------
    loss_type : str
        An objective's name; or a margin's name or number, which selects the classification with that margin.

    Raises
    ------
    InsightError
        Neither has that name.
    """
    if loss_type in objectives:
        return objectives.get(loss_type)
    if loss_type in margins:
        return objectives.get("classification")
    raise InsightError(
        f"--loss-type {loss_type}: no margin or objective has that name; "
        f"margins: {', '.join(margins)}; objectives: {', '.join(objectives)}"
    )


def create(run_options: Any, num_classes: int, teacher: Any = None) -> Objective:
    """The objective of a run, not yet allocated.

    Parameters
    ----------
    run_options : insight.train.train_options.TrainOptions
    num_classes : int
        Identities of the training set.
    teacher : insight.teach.batch_teacher.BatchTeacher, optional
        Whose embeddings of the set the network is to learn too.

    Raises
    ------
    InsightError
        ``--loss-type`` names nothing, or an option does nothing with it or has a value that it does not take.
    """
    chosen = kind(run_options.loss_type)
    if teacher is None:
        return chosen.from_options(run_options, num_classes)
    from .distilled import around

    return around(chosen, run_options, num_classes, teacher)


def own_defaults(run_options: Any) -> Dict[str, Any]:
    """Defaults of the options of what a run's ``--loss-type`` selects, its margin's included, by name.

    They are what an option stands for whose default depends on the component, and which was not set.
    """
    selected = [kind(run_options.loss_type)]
    for name in (run_options.loss_type, getattr(run_options, "classification_loss", "")):
        if name in margins:
            selected.append(margins.get(name))
    defaults: Dict[str, Any] = {}
    for component in selected:
        defaults = {**{option.name: option.default for option in component.OPTIONS}, **defaults}
    return defaults


def values(run_options: Any) -> Dict[str, Any]:
    """What a run's options set of the options of objectives and margins; what they leave at the default is missing."""
    return given(options(), vars(run_options))
