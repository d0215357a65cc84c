"""Which image sizes the arrays of a network fit.

A fully connected layer fixes the size of its feature map, and strides let several image sizes give that map: 97..112
pixels all become 7 behind four strides of 2. So the arrays alone say the size only where one size fits.

An array whose shape depends on the image has as many elements as f(height) * g(width), since convolutions and
poolings act on each side by itself. MXNet infers both functions from the graph; they never fall, which leaves few
sizes to try.
"""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from .._mxnet import mx
from .cut import INPUT
from .nodes import GraphModel

SMALLEST, LARGEST = 16, 512  # sides of a face image that are looked at, pixels
WIDEST = 2.0  # long side over short side


class Rectangle(NamedTuple):
    """Sizes that fit: every height from ``top`` to ``bottom`` with every width from ``left`` to ``right``."""

    top: int
    bottom: int
    left: int
    right: int

    def __str__(self) -> str:
        sides = _span(self.top, self.bottom), _span(self.left, self.right)
        return ("x" if self.count == 1 else " x ").join(sides)

    def __contains__(self, size) -> bool:
        return self.top <= size[0] <= self.bottom and self.left <= size[1] <= self.right

    @property
    def largest(self) -> Tuple[int, int]:
        """(height, width) of the largest image."""
        return self.bottom, self.right

    @property
    def count(self) -> int:
        """How many sizes it holds."""
        return (self.bottom - self.top + 1) * (self.right - self.left + 1)


def fitting_sizes(model: GraphModel) -> Optional[List[Rectangle]]:
    """The image sizes that the arrays fit, the squarest first.

    Parameters
    ----------
    model : GraphModel
        From :func:`insight.graph.cut.cut`.

    Returns
    -------
    list of Rectangle or None
        Of sides of ``SMALLEST`` to ``LARGEST`` pixels; each holds a size whose long side is at most ``WIDEST`` times
        the short one. None where no array depends on the size, so that any may fit.
    """
    inferred = _Inference(model)
    heights, widths = inferred.along(0), inferred.along(1)
    corner = heights[-1]  # of LARGEST x LARGEST
    if corner is None:
        return []
    taken = {id(one): one for one in heights + widths if one}.values()
    varying = [name for name in corner if any(one[name] != corner[name] for one in taken)]
    if not varying:
        return None
    grid = np.ones((len(heights), len(widths)), bool)
    for name in varying:
        # Python's integers: the products may pass 64 bits
        down, across = (np.array([one[name] if one else 0 for one in line], object) for line in (heights, widths))
        grid &= np.multiply.outer(down, across) == corner[name] * model.params[name].size
    found = [one for one in _rectangles(grid) if _squarest(one) <= WIDEST]
    return sorted(found, key=lambda one: (_squarest(one), one))


class _Inference:
    """Elements of each array, as MXNet infers them from the size of the images alone."""

    def __init__(self, model: GraphModel):
        self._symbol = model.graph.to_symbol()
        self._names = self._symbol.list_arguments() + self._symbol.list_auxiliary_states()
        # of arrays of one element (a slope for all channels) MXNet may infer another shape that works as well
        self._counted = {name for name, array in model.params.items() if array.size > 1}

    def counts(self, size: Tuple[int, int]) -> Optional[Dict[str, int]]:
        """Elements by name; None where the graph does not take such images."""
        try:
            arguments, _, auxiliary = self._symbol.infer_shape_partial(**{INPUT: (1, 3, *size)})
        except mx.MXNetError:
            return None
        shapes = zip(self._names, arguments + auxiliary)
        return {name: math.prod(shape) for name, shape in shapes if name in self._counted}

    def along(self, axis: int) -> List[Optional[Dict[str, int]]]:
        """Elements for each height (axis 0) or width (1) from ``SMALLEST``, the other side being ``LARGEST``.

        Between two sides that give the same, all do, so that only the steps are looked for.
        """

        def at(side: int) -> Optional[Dict[str, int]]:
            return self.counts((side, LARGEST) if axis == 0 else (LARGEST, side))

        found = {SMALLEST: at(SMALLEST), LARGEST: at(LARGEST)}
        pending = [(SMALLEST, LARGEST)]
        while pending:
            low, high = pending.pop()
            if found[low] == found[high]:
                found.update(dict.fromkeys(range(low + 1, high), found[low]))
            elif high - low > 1:
                middle = (low + high) // 2
                found[middle] = at(middle)
                pending += [(low, middle), (middle, high)]
        return [found[side] for side in range(SMALLEST, LARGEST + 1)]


def _rectangles(grid: np.ndarray) -> List[Rectangle]:
    """The true parts of (heights, widths), cut into rectangles: equal rows that follow one another, run by run."""
    found = []
    begin = 0
    for row in range(1, len(grid) + 1):
        if row < len(grid) and (grid[row] == grid[begin]).all():
            continue
        edges = np.flatnonzero(np.diff(np.r_[0, grid[begin].astype(np.int8), 0]))
        for left, right in edges.reshape(-1, 2).tolist():
            found.append(Rectangle(begin + SMALLEST, row - 1 + SMALLEST, left + SMALLEST, right - 1 + SMALLEST))
        begin = row
    return found


def _squarest(one: Rectangle) -> float:
    """The least ratio of a long side to a short one among its sizes; 1 where it holds a square."""
    return max(1.0, one.left / one.bottom, one.top / one.right)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}..{last}"
