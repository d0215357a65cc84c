"""A step's figures, of the whole batch."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from .group import Ranks


def joined(ranks: Ranks, figures: Dict[str, Any]) -> Dict[str, Any]:
    """Figures of the samples of all ranks, in the order of the batch; scalars are averaged.

    Parameters
    ----------
    ranks : Ranks
    figures : dict
        Name to (B,) or () floats, or to what is the same on all ranks and stays as it is. The names are the same.
    """
    if ranks.size == 1:
        return figures
    result = dict(figures)
    samples = [name for name, f in figures.items() if isinstance(f, np.ndarray) and f.ndim == 1]
    scalars = [name for name, f in figures.items() if isinstance(f, np.ndarray) and f.ndim == 0]
    if samples:
        rows = ranks.gather("step/figures", np.stack([figures[name] for name in samples], axis=1))
        result.update(zip(samples, np.ascontiguousarray(rows.T)))
    if scalars:
        total = ranks.sum("step/scalars", np.array([float(figures[name]) for name in scalars]))
        result.update((name, np.float64(value / ranks.size)) for name, value in zip(scalars, total))
    return result
