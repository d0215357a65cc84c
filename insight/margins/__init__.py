"""COSINE -> LOGIT: the margins, one a file."""

from __future__ import annotations

from ..registry import Registry

margins = Registry("margin", __name__, "insight.margins")
