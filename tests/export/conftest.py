"""Whole networks and all their exported files, created once for all tests."""

import shutil

import pytest
from whole_networks import BATCHES, ship, write_random

from insight.export import parity
from insight.faces.sources import image_source


def faces(request, count):
    """Real faces if the machine has them."""
    try:
        folder = request.getfixturevalue("real_data")
    except pytest.skip.Exception:
        return parity.random_faces(count, (112, 112))
    return image_source(folder / "data/lfw_dev.bin").spread(count, (112, 112))


@pytest.fixture(scope="session")
def shipped(request, tmp_path_factory):
    """Name of a network, or ``real``, to its :class:`whole_networks.Shipped`."""
    made, folders = {}, []

    def get(name):
        if name not in made:
            real = request.getfixturevalue("model_y1") if name == "real" else None
            folder = tmp_path_factory.mktemp(name.translate(str.maketrans(": =", "---")))
            folders.append(folder)
            batches = BATCHES.get(name, (1, 3, 64))
            spec = f"{real[0]},{real[1]}" if real else write_random(name, folder)
            made[name] = ship(spec, folder, faces(request, max(batches)), batches)
        return made[name]

    yield get
    for folder in folders:
        shutil.rmtree(folder)
