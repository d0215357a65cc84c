"""How an embedding enters the product with the class weights, and how its gradient comes back.

Each way has ``x_BE``, what is multiplied with the weights; ``scale``, the logit over the cosine; and ``backward``,
d loss / d embedding from d loss / d x.
"""

from __future__ import annotations

from ..margins.margin import Margin
from . import projection


class AsItIs:
    """Softmax: inner products; no cosine, so no scale."""

    scale = 1.0

    def __init__(self, embedding_BE):
        self.x_BE = embedding_BE

    def backward(self, gradient_BE, residual_B):
        return gradient_BE


class UnitLength:
    """The margins on the sphere: x = s e / |e|, logits s cos."""

    def __init__(self, embedding_BE, s: float):
        self.embedding_BE = embedding_BE
        self.inverse_B = projection.inverse_norms(embedding_BE)
        self.scale = s
        self.x_BE = embedding_BE * (s * self.inverse_B).reshape((-1, 1))

    def backward(self, gradient_BE, residual_B):
        gradient_BE = gradient_BE * (self.scale * self.inverse_B).reshape((-1, 1))
        projection.take_across(gradient_BE, self.embedding_BE, self.inverse_B, self.x_BE)  # x has done its work
        return gradient_BE


class OwnLength:
    """SphereFace: x = e, logits |e| cos. A margin bends the target logit in the length too.

    ``residual_B`` is what it learns along e / |e| beside the path through the logits:
    d loss / d logit times (new cosine - slope cosine), since d (|e| f(cos)) / d e = f' w^ + (f - f' cos) e^.
    """

    def __init__(self, embedding_BE):
        inverse_B = projection.inverse_norms(embedding_BE)
        self.x_BE = embedding_BE
        self.unit_BE = embedding_BE * inverse_B.reshape((-1, 1))
        self.scale = 1 / inverse_B

    def backward(self, gradient_BE, residual_B):
        return gradient_BE + residual_B.reshape((-1, 1)) * self.unit_BE


def enter(embedding_BE, margin: Margin):
    """The way that a margin wants."""
    if margin.unit_embedding:
        return UnitLength(embedding_BE, margin.options.s)
    return OwnLength(embedding_BE) if margin.cosine else AsItIs(embedding_BE)
