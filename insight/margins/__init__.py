"""COSINE -> LOGIT: the margins of the classification losses, one file for each."""

from __future__ import annotations

from ..registry import Registry

margins = Registry("margin", __name__, "insight.margins")
