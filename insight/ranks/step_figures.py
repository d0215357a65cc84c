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
        Name to (N,) or () floats, or to what is the same on all ranks and stays as it is. The names are the same. N is
        the number of samples for most, and that of devices for others.
    """
    if ranks.size == 1:
        return figures
    result = dict(figures)
    lengths = sorted({len(f) for f in figures.values() if isinstance(f, np.ndarray) and f.ndim == 1})
    scalars = [name for name, f in figures.items() if isinstance(f, np.ndarray) and f.ndim == 0]
    for length in lengths:
        names = [name for name, f in figures.items() if isinstance(f, np.ndarray) and f.shape == (length,)]
        rows = ranks.gather(f"step/figures/{length}", np.stack([figures[name] for name in names], axis=1))
        result.update(zip(names, np.ascontiguousarray(rows.T)))
    if scalars:
        total = ranks.sum("step/scalars", np.array([float(figures[name]) for name in scalars]))
        result.update((name, np.float64(value / ranks.size)) for name, value in zip(scalars, total))
    return result
