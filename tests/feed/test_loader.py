"""The loader against a plain loop over the records."""

import itertools

import cv2
import numpy as np
import pytest

from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed import sampler
from insight.feed.loader import Loader


class FakeFaces:
    """Eleven tiny images in memory, with the part of FaceSet that the loader uses."""

    rec_path = "fake.rec"
    image_size = (8, 8)

    def __init__(self, count=11):
        draw = np.random.default_rng(5)
        self.pixels = draw.integers(0, 256, (count, 8, 8, 3), np.uint8)
        self.images = np.arange(1, count + 1)
        self.labels = np.arange(count) % 4

    def __len__(self):
        return len(self.images)

    def payload(self, index):
        return memoryview(cv2.imencode(".png", self.pixels[index])[1].tobytes())


def take(loader, count, step=0):
    batches = loader.batches(step)
    out = [(b.data.asnumpy().copy(), b.label.asnumpy(), b.indices) for b in itertools.islice(batches, count)]
    batches.close()
    return out


def expected_batch(faces, seed, step, size):
    per_epoch = len(faces) // size
    epoch, batch = divmod(step, per_epoch)
    indices = sampler.epoch_order(seed, epoch, len(faces))[batch * size : (batch + 1) * size]
    flags = sampler.mirror_flags(seed, epoch, len(faces))
    images = []
    for i in indices:
        bgr = faces.pixels[i][:, ::-1] if flags[i] else faces.pixels[i]
        images.append(bgr[:, :, ::-1].transpose(2, 0, 1).astype(np.float32))
    return np.stack(images), faces.labels[indices], indices


def test_pixels_labels_and_order():
    faces = FakeFaces()
    got = take(Loader(faces, 3, seed=9), 8)  # three batches an epoch: into the third epoch
    for step, (data, label, indices) in enumerate(got):
        want = expected_batch(faces, 9, step, 3)
        np.testing.assert_array_equal(indices, want[2])
        np.testing.assert_array_equal(label, want[1])
        np.testing.assert_array_equal(data, want[0])
    assert any(sampler.mirror_flags(9, 0, 11)) and not all(sampler.mirror_flags(9, 0, 11))


def test_an_epoch_sees_each_image_at_most_once_and_epochs_differ():
    faces = FakeFaces(12)
    got = take(Loader(faces, 3, seed=1), 8)
    first, second = (np.concatenate([b[2] for b in got[e : e + 4]]) for e in (0, 4))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first.tolist() != second.tolist()


def test_workers_and_starting_step_change_nothing():
    faces = FakeFaces()
    whole = take(Loader(faces, 4, seed=2, workers=1), 7)
    later = take(Loader(faces, 4, seed=2, workers=3), 4, step=3)
    for a, b in zip(whole[3:], later):
        for left, right in zip(a, b):
            np.testing.assert_array_equal(left, right)


def test_a_slot_is_not_refilled_while_mxnet_reads_it():
    faces = FakeFaces(64)
    loader = Loader(faces, 32, seed=0)
    heavy = mx.nd.ones((600, 600))
    kept = []
    batches = loader.batches()
    for batch in itertools.islice(batches, 12):
        for _ in range(3):
            heavy = mx.nd.dot(heavy, heavy) * 1e-3  # keeps the engine busy, so that reads below come late
        kept.append((batch.data + heavy[0, 0] * 0, batch.indices))
    batches.close()
    for step, (data, _) in enumerate(kept):
        np.testing.assert_array_equal(data.asnumpy(), expected_batch(faces, 0, step, 32)[0])


def test_no_mirror():
    faces = FakeFaces()
    data, _, indices = take(Loader(faces, 5, seed=3, mirror=False), 1)[0]
    want = np.stack([faces.pixels[i][:, :, ::-1].transpose(2, 0, 1) for i in indices])
    np.testing.assert_array_equal(data, want)


def test_errors_name_the_record():
    faces = FakeFaces()
    good = faces.payload
    faces.payload = lambda i: memoryview(b"no image") if i == 4 else good(i)
    with pytest.raises(InsightError, match=r"fake.rec record 5: not a readable image"):
        take(Loader(faces, 11, seed=0), 1)
    big = FakeFaces()
    big.image_size = (16, 16)
    with pytest.raises(InsightError, match="the set says 16x16 .* the image is 8x8"):
        take(Loader(big, 4), 1)
    with pytest.raises(InsightError, match="--per-batch-size 12: fake.rec holds only 11 images"):
        Loader(faces, 12)
