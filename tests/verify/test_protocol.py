"""A real network on real faces, against the protocol written out anew: plain NumPy, no code of ours but the network."""

import pickle

import cv2
import numpy as np
import pytest

from insight.formats import evalbin
from insight.verify import verification

PAIRS = 160  # of the set, from all over it; each pair costs the network four images


class Remembering:
    """An engine that embeds each image once, however often it is asked."""

    def __init__(self, engine):
        self.engine = engine
        self.known = {}

    def __call__(self, images):
        new = [image for image in images if image.tobytes() not in self.known]
        for image, row in zip(new, self.engine(np.stack(new)) if new else ()):
            self.known[image.tobytes()] = row
        return np.stack([self.known[image.tobytes()] for image in images])


def protocol(network, path, folds=10):
    """(accuracy, std, XNorm): every image of every pair, decoded, mirrored, embedded, in the file's order."""
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
    return np.mean(accuracies), np.std(accuracies), xnorm


def test_equals_the_protocol(real_data, model_y1, tmp_path):
    from insight.engines import load

    images, issame = evalbin.read_bin(real_data / "data/lfw_dev.bin")
    chosen = np.unique(np.linspace(0, len(issame) - 1, PAIRS).astype(int))
    path = tmp_path / "some.bin"
    evalbin.write_bin(path, [images[2 * i + side] for i in chosen for side in (0, 1)], issame[chosen])
    network = Remembering(load(",".join(map(str, model_y1))))
    result = verification.verify(network, verification.load_set(path))
    got = (result.folds.accuracy, result.folds.std, result.xnorm)
    assert got == pytest.approx(protocol(network, path), abs=1e-6)
    assert result.xnorm == pytest.approx(11, abs=1)  # what it is on the whole set, 11.04
    assert result.folds.accuracy > 0.97
