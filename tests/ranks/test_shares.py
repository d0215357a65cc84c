"""What ranks share out and add up, with threads for ranks."""

import itertools

import cv2
import numpy as np
import pytest
from threads_group import run_ranks

from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.augment import Augmentation
from insight.feed.loader import Loader
from insight.feed.samplers.sampler import Mined, Sampler
from insight.formats import evalbin
from insight.ranks import flat
from insight.ranks.agreement import agree
from insight.ranks.single import ALONE
from insight.ranks.step_figures import joined
from insight.verify import verification


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


class Faces:
    """The part of a FaceSet that the loader uses."""

    rec_path = "fake.rec"
    image_size = (8, 8)
    num_classes = 4

    def __init__(self, count=23):
        draw = np.random.default_rng(5)
        self.payload = [memoryview(png(draw.integers(0, 256, (8, 8, 3), np.uint8))) for _ in range(count)].__getitem__
        self.images = np.arange(1, count + 1)
        self.labels = np.arange(count) % 4

    def __len__(self):
        return len(self.images)


class Looking(Sampler):
    """Looks at seven images before each batch, and gives those whose embeddings are largest."""

    name = "looking"
    seen = None

    def look(self, step):
        return None if self.seen == step else self.positions[step : step + 7]

    def mine(self, embeddings):
        self.embeddings, self.seen = embeddings, 0 if self.seen is None else self.seen + 1
        return Mined(7, 0, 0, 0, (0.0,))

    def batch(self, step):
        return self.positions[step : step + 7][np.argsort(-self.embeddings[:, 0], kind="stable")[: self.batch_size]]


def take(loader, count):
    """(pixels, labels, indices) of some batches, with means of the images as embeddings."""
    batches = loader.batches(0, lambda: lambda images: images.mean((2, 3)))
    taken = [(b.data.asnumpy(), b.label.asnumpy(), b.indices) for b in itertools.islice(batches, count)]
    batches.close()
    return taken


@pytest.mark.parametrize("sampler", [{}, {"sampler": Looking}], ids=["shuffled", "looking"])
@pytest.mark.parametrize("size", [2, 3])
def test_the_shares_of_a_batch_are_the_batch(size, sampler):
    options = {"seed": 3, "augmentation": Augmentation(True, 2, 3, 0.5), "workers": 1, **sampler}
    whole = take(Loader(Faces(), 6, **options), 5)
    shares = run_ranks(size, lambda ranks: take(Loader(Faces(), 6, ranks=ranks, **options), 5))
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert {len(labels) for _, labels, _ in parts} == {6 // size}
        for of_shares, of_whole in zip(zip(*parts), batch):
            np.testing.assert_array_equal(np.concatenate(of_shares), of_whole)


@pytest.mark.parametrize("size", [2, 5])
def test_verification_is_shared_out(tmp_path, size):
    """Three distinct images: with five ranks, two embed none of them."""
    draw = np.random.default_rng(0)
    images = [png(draw.integers(0, 256, (4, 4, 3), np.uint8)) for _ in range(3)]
    evalbin.write_bin(tmp_path / "val.bin", [*images, images[0]], np.array([True, False]))
    eval_set = verification.load_set(tmp_path / "val.bin")
    weights = np.random.default_rng(1).normal(size=(48, 5)).astype(np.float32)
    embedded = [[] for _ in range(size)]

    def verify(ranks):
        def network(pixels):
            embedded[ranks.rank].append(len(pixels))
            return pixels.reshape(len(pixels), -1).astype(np.float32) @ weights

        return verification.verify(network, eval_set, (4, 4), batch_size=1, ranks=ranks)

    one = verification.verify(
        lambda pixels: pixels.reshape(len(pixels), -1).astype(np.float32) @ weights, eval_set, (4, 4), batch_size=1
    )
    for result in run_ranks(size, verify):
        np.testing.assert_array_equal(result.distances, one.distances)
        assert (result.folds.accuracy, result.xnorm, result.images) == (one.folds.accuracy, one.xnorm, 3)
    assert max(map(sum, embedded)) == 2 * -(-3 // size)  # image and mirror image


def test_many_arrays_are_summed_in_few_operations(monkeypatch):
    monkeypatch.setattr(flat, "MOST", 10)
    shapes = [(3,), (2, 3), (25,), (1,), (4, 1)]

    def work(ranks):
        arrays = [mx.nd.array(np.random.default_rng(10 * ranks.rank + i).normal(size=s)) for i, s in enumerate(shapes)]
        before = [array.asnumpy() for array in arrays]
        flat.sum_in_place(ranks, "many", arrays)
        return before, [array.asnumpy() for array in arrays], ranks.names

    results = run_ranks(3, work)
    wanted = [a + b + c for a, b, c in zip(*(before for before, _, _ in results))]
    for _, sums, names in results:
        for one, want in zip(sums, wanted):
            np.testing.assert_allclose(one, want, rtol=1e-6)
        assert names == [f"many/{i}" for i in range(4)]  # 9, 10, 10, 5 + 1 + 4 elements


def test_figures_are_of_the_whole_batch():
    def work(ranks):
        own = {"loss": np.arange(2.0) + 10 * ranks.rank, "acc": np.full(2, ranks.rank, np.float32)}
        devices = {"beta": np.full(1, 5.0 + ranks.rank)}
        return joined(ranks, {**own, **devices, "t": np.asarray(float(ranks.rank)), "histogram": (0, 1)})

    for figures in run_ranks(2, work):
        assert figures["loss"].tolist() == [0, 1, 10, 11]
        assert figures["acc"].tolist() == [0, 0, 1, 1]
        assert figures["beta"].tolist() == [5, 6]
        assert figures["t"] == 0.5
        assert list(figures) == ["loss", "acc", "beta", "t", "histogram"]


def test_the_first_difference_is_named():
    def work(ranks):
        agree(ranks, {"use one command": {"--lr": 0.1, "--wd": 0.1 if ranks.rank < 2 else 0.2}})

    with pytest.raises(InsightError, match=r"^--wd: rank 0 has 0\.1, rank 2 has 0\.2; use one command$"):
        run_ranks(3, work)
    agree(ALONE, {"use one command": {"--lr": 0.1}})
