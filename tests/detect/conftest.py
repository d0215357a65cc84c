"""Made-up photos with the true positions of their faces."""

import numpy as np
import pytest

from insight.detect.find import finder
from insight.faces.alignment import similarity, template
from insight.made_up.nuisance import Nuisance
from insight.made_up.photos import render_photo

PHOTOS = 4
TEMPLATE = template((112, 112)).astype(np.float64)


@pytest.fixture(scope="session")
def photos():
    """(pixels, faces) of photos with one to three people each, the subject's face first."""
    return [render_photo(0, identity, 0, Nuisance()) for identity in range(PHOTOS)]


@pytest.fixture(scope="session")
def mtcnn():
    pytest.importorskip("onnxruntime")
    return finder("mtcnn")


@pytest.fixture(scope="session")
def error_px():
    """Mean distance of five points to the true ones, in pixels of the aligned 112 x 112 face."""

    def error(points, truth) -> float:
        scale = np.hypot(*similarity(np.asarray(truth, np.float64), TEMPLATE)[:, 0])
        return float(np.hypot(*(points - truth).T).mean() * scale)

    return error
