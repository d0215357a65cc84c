"""The detectors: PIXELS -> FACES, one a file."""

from __future__ import annotations

from ...registry import Registry

detectors = Registry("detector", __name__, "insight.detectors")
