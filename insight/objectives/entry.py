"""Transformation of embeddings before the product with the class weights, and its backward pass.

Each class has these members, where e is an embedding and x the transformed one:

- ``x_BE``: the left factor of the product with the weights;
- ``scale``: ratio of logit to cosine, a number or (B,);
- ``follows_length``: whether ``scale`` is the embedding's length;
- ``lengths()``: (B,) lengths |e|;
- ``backward(gradient_BE, along_B)``: d loss / d e, from d loss / d x and from the part of d loss / d |e| that does not
  pass through x (None: zero).
"""

from __future__ import annotations

from ..margins.margin import Margin
from . import projection


class AsItIs:
    """Softmax without cosines: x = e, logits are inner products."""

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
    """Margins on the unit sphere: x = s e / |e|, logits are s cos."""

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
        projection.take_across(gradient_BE, self.embedding_BE, self.inverse_B, self.x_BE)  # x is no longer needed
        if along_B is None:
            return gradient_BE
        return gradient_BE + (along_B * self.inverse_B).reshape((-1, 1)) * self.embedding_BE


class OwnLength:
    """SphereFace: x = e, logits are |e| cos."""

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
    """Transform embeddings as a margin requires."""
    if margin.unit_embedding:
        return UnitLength(embedding_BE, margin.scale)
    return OwnLength(embedding_BE) if margin.cosine else AsItIs(embedding_BE)
