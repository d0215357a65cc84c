"""How an embedding enters the product with the class weights, and how its gradient comes back.

Each way has ``x_BE``, what is multiplied with the weights; ``scale``, the logit over the cosine; ``follows_length``,
whether that scale is the embedding's length; ``lengths()``; and ``backward``, d loss / d embedding from d loss / d x
and from ``along_B``, what the loss falls along e / |e| beside the path through x (None: nothing).
"""

from __future__ import annotations

from ..margins.margin import Margin
from . import projection


class AsItIs:
    """Softmax: inner products; no cosine, so no scale."""

    scale = 1.0
    follows_length = False

    def __init__(self, embedding_BE):
        self.x_BE = embedding_BE

    def lengths(self):
        return 1 / projection.inverse_norms(self.x_BE)

    def backward(self, gradient_BE, along_B):
        if along_B is None:
            return gradient_BE
        inverse_B = projection.inverse_norms(self.x_BE)
        return gradient_BE + (along_B * inverse_B).reshape((-1, 1)) * self.x_BE


class UnitLength:
    """The margins on the sphere: x = s e / |e|, logits s cos."""

    follows_length = False

    def __init__(self, embedding_BE, s: float):
        self.embedding_BE = embedding_BE
        self.inverse_B = projection.inverse_norms(embedding_BE)
        self.scale = s
        self.x_BE = embedding_BE * (s * self.inverse_B).reshape((-1, 1))

    def lengths(self):
        return 1 / self.inverse_B

    def backward(self, gradient_BE, along_B):
        gradient_BE = gradient_BE * (self.scale * self.inverse_B).reshape((-1, 1))
        projection.take_across(gradient_BE, self.embedding_BE, self.inverse_B, self.x_BE)  # x has done its work
        if along_B is None:
            return gradient_BE
        return gradient_BE + (along_B * self.inverse_B).reshape((-1, 1)) * self.embedding_BE


class OwnLength:
    """SphereFace: x = e, logits |e| cos."""

    follows_length = True

    def __init__(self, embedding_BE):
        inverse_B = projection.inverse_norms(embedding_BE)
        self.x_BE = embedding_BE
        self.unit_BE = embedding_BE * inverse_B.reshape((-1, 1))
        self.scale = 1 / inverse_B

    def lengths(self):
        return self.scale

    def backward(self, gradient_BE, along_B):
        return gradient_BE + along_B.reshape((-1, 1)) * self.unit_BE


def enter(embedding_BE, margin: Margin):
    """The way that a margin wants."""
    if margin.unit_embedding:
        return UnitLength(embedding_BE, margin.scale)
    return OwnLength(embedding_BE) if margin.cosine else AsItIs(embedding_BE)
