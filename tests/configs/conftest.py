"""A tiny set to train on."""

import pytest
from small_sets import write_striped_set


@pytest.fixture(scope="module")
def set_dir(tmp_path_factory):
    """Three identities, eight images each, in a plain im2rec-style set, and a verification set ``val``."""
    return write_striped_set(tmp_path_factory.mktemp("set"))
