"""The loader against a plain loop over the records."""

import itertools
import threading

import cv2
import numpy as np
import pytest

from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed import draws
from insight.feed.augment import Augmentation
from insight.feed.loader import Loader
from insight.feed.samplers.sampler import Mined, Sampler
from insight.feed.selection import enough_images


class FakeFaces:
    """Tiny images in memory, with the part of FaceSet that the loader uses."""

    rec_path = "fake.rec"
    image_size = (8, 8)
    num_classes = 4

    def __init__(self, count=11):
        draw = np.random.default_rng(5)
        self.pixels = draw.integers(0, 256, (count, 8, 8, 3), np.uint8)
        self.images = np.arange(1, count + 1)
        self.labels = np.arange(count) % 4
        self.damaged = ()

    def __len__(self):
        return len(self.images)

    def payload(self, index):
        if index in self.damaged:
            return memoryview(b"no image")
        return memoryview(cv2.imencode(".png", self.pixels[index])[1].tobytes())


def take(loader, count, step=0):
    batches = loader.batches(step)
    out = [(b.data.asnumpy().copy(), b.label.asnumpy(), b.indices) for b in itertools.islice(batches, count)]
    batches.close()
    return out


def expected_batch(faces, seed, step, size):
    per_epoch = len(faces) // size
    epoch, batch = divmod(step, per_epoch)
    indices = draws.epoch_order(seed, epoch, len(faces))[batch * size : (batch + 1) * size]
    changes = Augmentation().draw(seed, epoch, indices, faces.image_size)
    images = []
    for i, change in zip(indices, changes):
        bgr = faces.pixels[i][:, ::-1] if change.mirrored else faces.pixels[i]
        images.append(bgr[:, :, ::-1].transpose(2, 0, 1).astype(np.float32))
    return np.stack(images), faces.labels[indices], indices


def feed_threads():
    return [thread for thread in threading.enumerate() if thread.name == "feed"]


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_pixels_labels_and_order(dtype):
    faces = FakeFaces()
    got = take(Loader(faces, 3, seed=9, dtype=dtype), 8)  # three batches an epoch: into the third epoch
    for step, (data, label, indices) in enumerate(got):
        want = expected_batch(faces, 9, step, 3)
        np.testing.assert_array_equal(indices, want[2])
        np.testing.assert_array_equal(label, want[1])
        np.testing.assert_array_equal(data, want[0])
        assert data.dtype == dtype


def test_labels_that_float32_would_round():
    faces = FakeFaces()
    faces.labels, faces.num_classes = faces.labels + (1 << 24), (1 << 24) + 4
    [(_, label, indices)] = take(Loader(faces, 8, seed=9), 1)
    np.testing.assert_array_equal(label, faces.labels[indices])
    assert (label % 2 == 1).any()


def test_an_epoch_sees_each_image_at_most_once_and_epochs_differ():
    got = take(Loader(FakeFaces(12), 3, seed=1), 8)
    first, second = (np.concatenate([b[2] for b in got[e : e + 4]]) for e in (0, 4))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first.tolist() != second.tolist()


def test_workers_batches_and_starting_step_change_nothing():
    faces = FakeFaces(80)  # a batch of 40 is three tasks, the last one short
    options = {"seed": 2, "augmentation": Augmentation(True, 2, 3), "images_filter": 2}
    whole = take(Loader(faces, 40, workers=1, **options), 7)
    later = take(Loader(faces, 40, workers=5, **options), 4, step=3)
    small = take(Loader(faces, 8, workers=2, **options), 5 * 4, step=5 * 3)
    small = [tuple(np.concatenate(part) for part in zip(*small[i : i + 5])) for i in range(0, 20, 5)]
    for a, b, c in zip(whole[3:], later, small):
        for left, right, in_small_batches in zip(a, b, c):
            np.testing.assert_array_equal(left, right)
            np.testing.assert_array_equal(left, in_small_batches)


def test_a_slot_is_not_refilled_while_mxnet_reads_it():
    faces = FakeFaces(64)
    heavy = mx.nd.ones((600, 600))
    kept = []
    batches = Loader(faces, 32, seed=0).batches()
    for batch in itertools.islice(batches, 12):
        for _ in range(3):
            heavy = mx.nd.dot(heavy, heavy) * 1e-3  # keeps the engine busy, so that reads below come late
        kept.append((batch.data + heavy[0, 0] * 0, batch.indices))
    batches.close()
    for step, (data, _) in enumerate(kept):
        np.testing.assert_array_equal(data.asnumpy(), expected_batch(faces, 0, step, 32)[0])


def test_a_batch_is_valid_until_the_next_but_one_is_asked_for():
    faces = FakeFaces(64)
    batches = Loader(faces, 16).batches()
    before = next(batches)
    for step in range(1, 20):
        batch = next(batches)
        threading.Event().wait(0.005)  # time for the threads to write where they may
        np.testing.assert_array_equal(before.data.asnumpy(), expected_batch(faces, 0, step - 1, 16)[0])
        before = batch
    batches.close()


def test_images_filter():
    faces = FakeFaces(11)  # labels 0, 1 and 2 have three images, 3 has two
    loader = Loader(faces, 3, images_filter=3)
    assert (loader.batches_per_epoch, loader.positions.tolist()) == (3, [0, 1, 2, 4, 5, 6, 8, 9, 10])
    got = take(loader, 3)
    assert sorted(np.concatenate([indices for _, _, indices in got])) == loader.positions.tolist()
    assert set(np.concatenate([label for _, label, _ in got])) == {0, 1, 2}
    with pytest.raises(InsightError, match="--per-batch-size 10: fake.rec holds only 9 images of identities with 3"):
        Loader(faces, 10, images_filter=3)


def test_keys_and_labels():
    faces = FakeFaces()
    faces.images = np.arange(100, 111)
    faces.labels = np.arange(11) + (1 << 24) - 11  # the largest that a set may have
    batches = Loader(faces, 11).batches()
    batch = next(batches)
    batches.close()
    assert batch.label.asnumpy().dtype == "float32"
    np.testing.assert_array_equal(batch.keys, batch.indices + 100)
    np.testing.assert_array_equal(batch.label.asnumpy(), faces.labels[batch.indices])


def test_errors_name_the_record():
    faces = FakeFaces()
    faces.damaged = (4,)
    with pytest.raises(InsightError, match=r"fake.rec record 5: not a readable image"):
        take(Loader(faces, 11, seed=0), 1)
    big = FakeFaces()
    big.image_size = (16, 16)
    with pytest.raises(InsightError, match="the set says 16x16 .* the image is 8x8"):
        take(Loader(big, 4), 1)
    with pytest.raises(InsightError, match="--per-batch-size 12: fake.rec holds only 11 images"):
        Loader(faces, 12)
    with pytest.raises(InsightError, match="float16"):
        Loader(faces, 1, dtype="float16")
    assert not feed_threads()


def test_an_error_comes_in_its_turn_and_is_the_first_of_its_batch():
    faces = FakeFaces(96)
    order = draws.epoch_order(0, 0, 96)
    faces.damaged = tuple(order[[90, 60, 95]])
    for workers in (1, 4):
        batches = Loader(faces, 48, seed=0, workers=workers).batches()
        np.testing.assert_array_equal(next(batches).indices, order[:48])
        with pytest.raises(InsightError, match=rf"record {order[60] + 1}:"):
            next(batches)


def test_an_error_of_planning_reaches_the_consumer():
    faces = FakeFaces(8)
    loader = Loader(faces, 4)
    faces.labels = faces.labels[:2]
    with pytest.raises(IndexError):
        take(loader, 1)
    assert not feed_threads()


def test_threads_end_with_the_iteration():
    loader = Loader(FakeFaces(64), 16, workers=3)
    batches = loader.batches()
    next(batches)
    assert len(feed_threads()) == 3
    batches.close()
    assert not feed_threads()
    next(loader.batches())  # dropped without close
    assert not feed_threads()


@pytest.mark.parametrize("least, want", [(0, range(8)), (1, range(8)), (2, [0, 2, 3, 4, 7]), (3, [0, 4, 7]), (4, [])])
def test_enough_images(least, want):
    labels = np.array([5, 2, 9, 9, 5, 1, 7, 5])  # the fives do not stand together
    assert enough_images(labels, least).tolist() == list(want)


class Counting(Sampler):
    """One image after another, and a state: how many have been given."""

    name = "counting"
    given = 0
    size = 0  # of its batches, where it is wrong

    def batch(self, step):
        self.given += self.batch_size
        return self.positions[np.arange(self.given - self.batch_size, self.given + self.size) % len(self.positions)]

    def state(self):
        return {"given": self.given}

    def restore(self, state):
        self.given = state["given"]


def test_a_sampler_s_state_is_that_of_the_batches_that_were_read():
    """The ring plans batches ahead of their reader: a state that is saved must not hold them."""
    loader = Loader(FakeFaces(20), 3, sampler=Counting, workers=2)
    assert loader.state() == {"given": 0}
    batches = loader.batches()
    read = [next(batches).indices.tolist() for _ in range(4)]
    assert read == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert loader.state() == {"given": 12} and loader.sampler.given > 12
    batches.close()
    later = Loader(FakeFaces(20), 3, sampler=Counting)
    later.restore(loader.state())
    resumed = take(later, 1, step=4)
    assert resumed[0][2].tolist() == [12, 13, 14]
    again = loader.batches(4)  # a second reader of the same loader begins behind the first
    assert next(again).indices.tolist() == [12, 13, 14]
    again.close()


@pytest.mark.parametrize(
    "attributes, found",
    [({"size": 1}, r"int\d+ \(4,\) from 3 to 6"), ({"positions": np.arange(20) + 15}, r"int64 \(3,\) from 18 to 20")],
)
def test_a_sampler_that_gives_no_batch(attributes, found):
    class Wrong(Counting):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            vars(self).update(attributes, given=3)

    with pytest.raises(InsightError, match=rf"^--sampler counting: step 0: want 3 positions in 0..19, got {found}$"):
        take(Loader(FakeFaces(20), 3, sampler=Wrong), 1)


class Looking(Counting):
    """Counting, but before every third batch it wants to see as many images as the batch before the last number."""

    name = "looking"
    wanted = (7, 3)
    seen = 0

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.embedded = []

    def look(self, step):
        if step % 3 or self.seen >= (step // 3 + 1) * len(self.wanted):
            return None
        count = self.wanted[self.seen % len(self.wanted)]
        return self.positions[np.arange(step, step + count) % len(self.positions)]

    def mine(self, embeddings):
        self.embedded.append(embeddings)
        self.seen += 1
        return Mined(len(embeddings), self.seen, 0, 9, (0.0,))


@pytest.mark.parametrize("workers", [1, 4])
def test_a_sampler_looks_at_images_through_the_network(workers):
    """Plain images, in order, embedded in the reader's thread and when it asks for the batch, not before."""
    faces = FakeFaces(20)
    loader = Loader(faces, 3, sampler=Looking, workers=workers)
    mined, calls = [], []
    loader.on_mined = lambda one: mined.append((len(batches_read), one.begin))
    batches_read = []

    def embedder():
        calls.append(len(batches_read))

        def network(pixels):
            assert threading.current_thread() is threading.main_thread()
            return pixels.reshape(len(pixels), -1)[:, :5].copy()

        return network

    batches = loader.batches(0, embedder)
    for _ in range(7):
        batches_read.append(next(batches).indices.tolist())
    assert batches_read == [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(6)] + [[18, 19, 0]]
    assert calls == [0, 3, 6]  # once for both looks of a batch
    assert mined == [(0, 1), (0, 2), (3, 3), (3, 4), (6, 5), (6, 6)]
    assert loader.mining > 0 and loader.mined_batches == 3 * 3
    plain = faces.pixels[:, :, :, ::-1].transpose(0, 3, 1, 2).reshape(20, -1)[:, :5].astype(np.float32)
    for number, embeddings in enumerate(loader.sampler.embedded):
        step, count = number // 2 * 3, Looking.wanted[number % 2]
        np.testing.assert_array_equal(embeddings, plain[step : step + count])
    batches.close()
    assert feed_threads() == []


def test_closing_ends_a_sampler_s_wait():
    """A reader that leaves while its sampler waits for embeddings leaves no thread behind."""

    def embedder():
        raise InsightError("stopped")

    with pytest.raises(InsightError, match="stopped"):
        next(Loader(FakeFaces(20), 3, sampler=Looking, workers=3).batches(0, embedder))
    assert feed_threads() == []


@pytest.mark.parametrize("mirror", [True, False])
def test_a_batch_says_which_images_are_mirrored(mirror):
    faces, augmentation = FakeFaces(), Augmentation(mirror=mirror)
    batches = Loader(faces, 5, seed=9, augmentation=augmentation).batches(0)
    found = set()
    for batch in itertools.islice(batches, 4):
        assert batch.mirrored.shape == (5,) and batch.mirrored.dtype == bool
        for row, index, mirrored in zip(batch.data.asnumpy(), batch.indices, batch.mirrored):
            plain = faces.pixels[index][:, :, ::-1].transpose(2, 0, 1)
            np.testing.assert_array_equal(row, plain[..., ::-1] if mirrored else plain)
        found |= set(batch.mirrored.tolist())
    batches.close()
    assert found == ({True, False} if mirror else {False})
