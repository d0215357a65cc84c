"""EMBEDDING -> GRADIENT: the objectives, what a step learns from; one a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Type

from ..errors import InsightError
from ..margins import margins
from ..option import Option, declared, selected
from ..registry import Registry

if TYPE_CHECKING:
    from .objective import Objective

objectives = Registry("objective", __name__)


def options() -> List[Option]:
    """Options of all objectives and margins."""
    components = [objectives.get(name) for name in objectives] + [margins.get(name) for name in margins]
    return declared(components)


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


def create(run_options: Any, num_classes: int) -> Objective:
    """The objective of a run, not yet allocated.

    Parameters
    ----------
    run_options : insight.train.options.TrainOptions
    num_classes : int
        Identities of the training set.

    Raises
    ------
    InsightError
        ``--loss-type`` names nothing, or an option does nothing with it or has a value that it does not take.
    """
    return kind(run_options.loss_type).from_options(run_options, num_classes)


def own_options(component: type, run_options: Any) -> dict:
    """Keyword arguments that create a margin or an objective from a run's options; see :func:`selected`."""
    return selected(component, run_options, options())
