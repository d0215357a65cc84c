"""EMBEDDING -> LOSS: the margins, one a file, and the classifier that applies them."""

from __future__ import annotations

from ..registry import Registry

heads = Registry("head", __name__, "insight.margins")
