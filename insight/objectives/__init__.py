"""EMBEDDING -> GRADIENT: training objectives, one per file."""

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
    """Objective class that ``--loss-type`` selects.

    Parameters
    ----------
    loss_type : str
        Name of an objective, or name or number of a margin. A margin selects the classification objective.

    Raises
    ------
    InsightError
        No objective and no margin has that name.
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
    """Create the objective of a run, without allocating its parameters.

    Parameters
    ----------
    run_options : insight.train.train_options.TrainOptions
    num_classes : int
        Number of identities in the training set.
    teacher : insight.teach.batch_teacher.BatchTeacher, optional
        Teacher for distillation. If given, the objective is wrapped in
        :class:`insight.objectives.distilled.Distilled`.

    Raises
    ------
    InsightError
        ``--loss-type`` is unknown, or an option has no effect with it or has an invalid value.
    """
    chosen = kind(run_options.loss_type)
    if teacher is None:
        return chosen.from_options(run_options, num_classes)
    from .distilled import around

    return around(chosen, run_options, num_classes, teacher)


def own_defaults(run_options: Any) -> Dict[str, Any]:
    """Option defaults of the objective and margin that ``--loss-type`` selects, by option name.

    Some options have a different default in each component. These are the values in effect where such an option is
    not set.
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
    """Options of objectives and margins that a run sets, by name. Options left at their default are omitted."""
    return given(options(), vars(run_options))
