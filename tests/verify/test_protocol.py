"""A real network on real faces, against an independent implementation of the protocol in plain NumPy."""

import pickle

import cv2
import numpy as np
import pytest

from insight.verify import roc, verification
from insight.verify.figures import figures


class Remembering:
    """An engine that embeds each image only once."""

    def __init__(self, engine):
        self.engine = engine
        self.known = {}

    def __call__(self, images):
        new = [image for image in images if image.tobytes() not in self.known]
        for image, row in zip(new, self.engine(np.stack(new)) if new else ()):
            self.known[image.tobytes()] = row
        return np.stack([self.known[image.tobytes()] for image in images])


def protocol(network, path, folds=10):
    """(accuracy, std, XNorm, distances, issame) from all images of all pairs and their mirror images, in file order."""
    with open(path, "rb") as opened:
        bins, issame = pickle.load(opened, encoding="bytes")
    issame = np.array(issame)
    passes = []
    for mirror in (False, True):
        rows = []
        for data in bins:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
            image = image[:, ::-1] if mirror else image
            rows.append(network(np.ascontiguousarray(image.transpose(2, 0, 1))[None])[0])
        passes.append(np.array(rows, np.float64))
    xnorm = np.mean([np.sqrt((row**2).sum()) for rows in passes for row in rows])
    summed = passes[0] + passes[1]
    unit = summed / np.sqrt((summed**2).sum(axis=1, keepdims=True))
    distance = ((unit[0::2] - unit[1::2]) ** 2).sum(axis=1)
    indices = np.arange(len(issame))
    accuracies = []
    for test in np.array_split(indices, folds):  # contiguous, the first ones longer: KFold without shuffling
        train = np.setdiff1d(indices, test)
        right = [((distance[train] < t) == issame[train]).mean() for t in np.arange(0, 4, 0.01)]
        threshold = np.arange(0, 4, 0.01)[int(np.argmax(right))]
        accuracies.append(((distance[test] < threshold) == issame[test]).mean())
    return np.mean(accuracies), np.std(accuracies), xnorm, distance, issame


@pytest.fixture(scope="module")
def compared(real_data, model_y1):
    """Our result on the whole set, and the protocol's."""
    from insight.engines import load

    network = Remembering(load(",".join(map(str, model_y1)), engine="auto"))
    path = real_data / "data/lfw_dev.bin"
    return verification.verify(network, verification.load_set(path)), protocol(network, path)


def test_equals_the_protocol(compared):
    result, (accuracy, std, xnorm, _, _) = compared
    assert (result.folds.accuracy, result.folds.std, result.xnorm) == pytest.approx((accuracy, std, xnorm), abs=1e-6)
    assert result.folds.accuracy == pytest.approx(0.99333, abs=0.002)  # what the model is known for
    assert result.xnorm == pytest.approx(11.04, abs=0.01)


def test_thresholds_give_their_rates(compared):
    result, (_, _, _, distance, issame) = compared
    found = figures(result, resamples=0)
    points = [found.at_eer, found.at_best_accuracy, *filter(None, found.at_far.values())]
    assert len(points) == 4  # 300 impostor pairs measure FAR 1e-1 and 1e-2
    for far, point in found.at_far.items():
        assert (point is not None) == roc.measurable(int((~issame).sum()), far)
    for point in points:
        cosine = 1 - distance / 2
        for accepted in (distance < point.squared_l2, distance <= point.squared_l2, cosine > point.cosine):
            assert accepted[~issame].sum() == point.false_accepts
            assert accepted[~issame].mean() == pytest.approx(point.far, abs=1e-12)
            assert accepted[issame].mean() == pytest.approx(point.tar, abs=1e-12)
