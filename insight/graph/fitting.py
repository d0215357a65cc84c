"""Find the image sizes that fit the arrays of a network.

A fully connected layer fixes the size of its feature map, but strides let several image sizes give that map: 97..112
pixels all become 7 after four strides of 2. So the arrays determine the size only if one size fits.

An array whose shape depends on the image has f(height) * g(width) elements, because convolutions and poolings act on
each side separately. MXNet infers both functions from the graph; they are non-decreasing, so few sizes need to be
tried.
"""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from .._mxnet import mx
from .cut import INPUT
from .nodes import GraphModel

SMALLEST, LARGEST = 16, 512  # range of the sides that are tried, in pixels
WIDEST = 2.0  # long side over short side


class Rectangle(NamedTuple):
    """Sizes that fit: all heights from ``top`` to ``bottom`` with all widths from ``left`` to ``right``."""

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
        """Number of sizes."""
        return (self.bottom - self.top + 1) * (self.right - self.left + 1)


def fitting_sizes(model: GraphModel) -> Optional[List[Rectangle]]:
    """Image sizes that fit the arrays, sorted from the squarest.

    Parameters
    ----------
    model : GraphModel
        From :func:`insight.graph.cut.cut`.

    Returns
    -------
    list of Rectangle or None
        Sizes with sides of ``SMALLEST`` to ``LARGEST`` pixels; each rectangle has a size whose long side is at most
        ``WIDEST`` times the short one. None if no array depends on the size, so that any size may fit.
    """
    inferred = _Inference(model)
    heights, widths = inferred.along(0), inferred.along(1)
    corner = heights[-1]  # element counts for LARGEST x LARGEST
    if corner is None:
        return []
    distinct = {id(counts): counts for counts in heights + widths if counts}.values()
    varying = [name for name in corner if any(counts[name] != corner[name] for counts in distinct)]
    if not varying:
        return None
    grid = np.ones((len(heights), len(widths)), bool)
    for name in varying:
        # Python's integers: the products may exceed 64 bits
        down, across = (
            np.array([counts[name] if counts else 0 for counts in line], object) for line in (heights, widths)
        )
        grid &= np.multiply.outer(down, across) == corner[name] * model.params[name].size
    rectangles = [rectangle for rectangle in _rectangles(grid) if _squarest(rectangle) <= WIDEST]
    return sorted(rectangles, key=lambda rectangle: (_squarest(rectangle), rectangle))


class _Inference:
    """Number of elements of each array, as MXNet infers them from the image size alone."""

    def __init__(self, model: GraphModel):
        self._symbol = model.graph.to_symbol()
        self._names = self._symbol.list_arguments() + self._symbol.list_auxiliary_states()
        # for arrays of one element (a slope for all channels) MXNet may infer another shape that also works
        self._counted = {name for name, array in model.params.items() if array.size > 1}

    def counts(self, size: Tuple[int, int]) -> Optional[Dict[str, int]]:
        """Number of elements by name; None if the graph does not take such images."""
        try:
            arguments, _, auxiliary = self._symbol.infer_shape_partial(**{INPUT: (1, 3, *size)})
        except mx.MXNetError:
            return None
        shapes = zip(self._names, arguments + auxiliary)
        return {name: math.prod(shape) for name, shape in shapes if name in self._counted}

    def along(self, axis: int) -> List[Optional[Dict[str, int]]]:
        """Counts for each height (axis 0) or width (1) from ``SMALLEST`` to ``LARGEST``; the other side is ``LARGEST``.

        All sides between two with equal counts have the same counts, so a bisection finds the steps.
        """

        def at(side: int) -> Optional[Dict[str, int]]:
            return self.counts((side, LARGEST) if axis == 0 else (LARGEST, side))

        by_side = {SMALLEST: at(SMALLEST), LARGEST: at(LARGEST)}
        pending = [(SMALLEST, LARGEST)]
        while pending:
            low, high = pending.pop()
            if by_side[low] == by_side[high]:
                by_side.update(dict.fromkeys(range(low + 1, high), by_side[low]))
            elif high - low > 1:
                middle = (low + high) // 2
                by_side[middle] = at(middle)
                pending += [(low, middle), (middle, high)]
        return [by_side[side] for side in range(SMALLEST, LARGEST + 1)]


def _rectangles(grid: np.ndarray) -> List[Rectangle]:
    """The true cells of (heights, widths) as rectangles: one per run of true cells in consecutive equal rows."""
    rectangles = []
    begin = 0
    for row in range(1, len(grid) + 1):
        if row < len(grid) and (grid[row] == grid[begin]).all():
            continue
        edges = np.flatnonzero(np.diff(np.r_[0, grid[begin].astype(np.int8), 0]))
        for left, right in edges.reshape(-1, 2).tolist():
            rectangles.append(Rectangle(begin + SMALLEST, row - 1 + SMALLEST, left + SMALLEST, right - 1 + SMALLEST))
        begin = row
    return rectangles


def _squarest(rectangle: Rectangle) -> float:
    """The lowest ratio of long to short side among its sizes; 1 if it contains a square."""
    return max(1.0, rectangle.left / rectangle.bottom, rectangle.top / rectangle.right)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}..{last}"
