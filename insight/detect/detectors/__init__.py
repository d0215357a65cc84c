"""PIXELS -> FACES: the detectors, one a file, and what they share (boxes, ONNX Runtime, the networks of MTCNN)."""

from __future__ import annotations

from ...registry import Registry

detectors = Registry("detector", __name__, "insight.detectors")
