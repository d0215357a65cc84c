"""Figures of a step over the whole batch."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from .group import Ranks


def joined(ranks: Ranks, figures: Dict[str, Any]) -> Dict[str, Any]:
    """Join the figures of all ranks: concatenate those of samples in batch order, average scalars.

    Parameters
    ----------
    ranks : Ranks
    figures : dict
        Maps a name to floats of shape (N,) or (), or to any other value, which is returned as it is and must be the
        same on all ranks. All ranks have the same names. N is the number of samples or, for some figures, of devices.
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
