"""Paths to real data, where the machine has it, and small sets made on the spot."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that INSIGHT_TEST_DATA names; tests that need it skip where it is unset."""
    folder = os.environ.get("INSIGHT_TEST_DATA")
    if not folder:
        pytest.skip("INSIGHT_TEST_DATA is unset: no real faces and models here")
    return Path(folder)


@pytest.fixture(scope="session")
def model_y1(real_data) -> tuple:
    """(prefix, epoch) of a real MobileFaceNet that InsightFace trained."""
    return str(real_data / "models/model-y1-test2/model"), 0
