"""Where the recipes may run."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def in_projects_environment():
    """Skips elsewhere: the recipes install into .venv."""
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("the recipes install into .venv; run these tests by tests/run.sh")
