"""Face detectors, one per file, and their common parts: boxes, ONNX Runtime, the networks of MTCNN."""

from __future__ import annotations

from ...registry import Registry

detectors = Registry("detector", __name__, "insight.detectors")
