"""Values of the user's Python as the types that options have."""

from __future__ import annotations

import math
from typing import Any, Optional

from ..errors import InsightError

WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", list: "a list of numbers"}


def as_type(value: Any, kind: Any, place: str) -> Any:
    """A value as an int, float, bool, str or list; NumPy's scalars are taken as Python's.

    A text may be a number, or a list or tuple, whose items are joined by commas: ``['lfw', 'cfp_fp']``,
    ``[1000, 2000]``. A whole number may be True or False, 1 and 0.

    Parameters
    ----------
    value : Any
    kind : type
        int, float, bool, str or list.
    place : str
        Where it is assigned, for messages.

    Raises
    ------
    InsightError
        It cannot be taken as that type.
    """
    value = value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value
    whole = as_whole(value)
    if isinstance(value, (list, tuple)) and kind in (str, list):
        return list(value) if kind is list else ",".join(map(str, value))
    if kind is str and (isinstance(value, str) or type(value) is int):
        return str(value)
    if kind is int and whole is not None:
        return whole
    if kind is bool and whole in (0, 1):
        return bool(whole)
    if kind is float and isinstance(value, (int, float)):
        return float(value)
    raise InsightError(f"{place} {value!r}: want {WORDS[kind]}")


def as_whole(value: Any) -> Optional[int]:
    """A number without a fraction as an int; None for anything else."""
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) and value == int(value) else None
