"""Several centres a class against plain NumPy in double precision, by finite differences, and against one centre."""

import os
import subprocess
import sys

import numpy as np
import pytest
from margin_cases import CASES
from test_classification import held, learn, losses, slopes

from insight import objectives
from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives import projection
from insight.objectives.classification import Classification
from insight.objectives.fc7 import stated_centres
from insight.train.train_options import TrainOptions

OF_COSINES = [case for case in CASES if case[0] not in ("softmax", "arcface_inter")]
LABEL = np.array([0, 6, 3, 3, 1, 2])


def classifier_of(margin, weight, centres, devices=None):
    classifier = Classification(margin, len(weight) // centres, weight.shape[1], centres=centres)
    classifier.initialize(mx.init.Zero(), devices or [mx.cpu()])
    classifier.weight.set_data(mx.nd.array(weight))
    return classifier


def made(name, options, weight, centres):
    return classifier_of(margins.get(name)(**options), weight, centres)


def nearest(embedding, weight, centres):
    """(B, C) rows of the weights: of each class the one with the largest cosine, the first of equal ones."""
    unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    cosines = (embedding @ unit.T).reshape(len(embedding), -1, centres)
    return cosines.argmax(2) + centres * np.arange(cosines.shape[1])


def held_of_centres(name, options, embedding, weight, label, centres):
    """As ``held``, with the nearest centre of each sample's class."""
    rows = nearest(embedding, weight, centres)[np.arange(len(label)), label]
    return held(name, options, embedding, weight[rows], np.arange(len(label)))


def losses_of_centres(name, options, embedding, weight, label, centres, fixed):
    """Sample by sample the loss of one centre a class, which is the nearest of the class's."""
    rows, each = nearest(embedding, weight, centres), []
    for i, (x, own, y) in enumerate(zip(embedding, rows, label)):
        mine = {**fixed, "length": fixed["length"][i : i + 1], "drawn": fixed["drawn"][i : i + 1]}
        each.append(losses(name, options, x[None], weight[own], None, [y], mine))
    return np.concatenate(each)


@pytest.mark.parametrize("block", [3, 8192], ids=["blocks", "whole"])
@pytest.mark.parametrize("centres", [2, 3, 4])
@pytest.mark.parametrize("name, options", OF_COSINES, ids=lambda v: v if isinstance(v, str) else "")
def test_loss_and_gradients(name, options, centres, block, monkeypatch):
    monkeypatch.setattr(projection, "BLOCK", block)
    draw = np.random.default_rng(11)
    embedding, weight = draw.normal(size=(6, 4)), draw.normal(size=(7 * centres, 4))
    classifier = made(name, options, weight, centres)
    result = learn(classifier, mx.nd.array(embedding), mx.nd.array(LABEL))
    fixed = held_of_centres(name, options, embedding, weight, LABEL, centres)
    expected = losses_of_centres(name, options, embedding, weight, LABEL, centres, fixed)
    np.testing.assert_allclose(result.loss_B.asnumpy(), expected, rtol=2e-5, atol=2e-6)
    won = np.unique(nearest(embedding, weight, centres))
    assert len(won) > 7

    def total():
        return losses_of_centres(name, options, embedding, weight, LABEL, centres, fixed).sum()

    for got, array in ((result.gradient_BE, embedding), (classifier.weight.grad(), weight)):
        want = slopes(total, array)
        np.testing.assert_allclose(got.asnumpy(), want, rtol=2e-4, atol=2e-4 * np.abs(want).max())
    gradient = classifier.weight.grad().asnumpy()
    assert not np.delete(gradient, won, axis=0).any()  # exactly zero
    assert gradient[won].any(axis=1).all()


def test_of_equal_centres_the_first_learns_and_all_is_as_with_one():
    draw = np.random.default_rng(4)
    weight, embedding = draw.normal(size=(7, 4)), mx.nd.array(draw.normal(size=(6, 4)))
    alone = made("arcface", {}, weight, 1)
    want = learn(alone, embedding, mx.nd.array(LABEL))
    for centres in (2, 3):
        tied = made("arcface", {}, np.repeat(weight, centres, axis=0), centres)
        got = learn(tied, embedding, mx.nd.array(LABEL))
        for one, other in zip(got[:-1], want[:-1]):
            np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=1e-5, atol=1e-5)
        by_centre = tied.weight.grad().asnumpy().reshape(7, centres, 4)
        np.testing.assert_allclose(by_centre[:, 0], alone.weight.grad().asnumpy(), rtol=1e-4, atol=1e-4)
        assert not by_centre[:, 1:].any()


def test_one_centre_is_no_sub_centre_to_the_bit():
    draw = np.random.default_rng(4)
    weight, embedding = draw.normal(size=(7, 4)), mx.nd.array(draw.normal(size=(6, 4)))
    results = []
    for given in ({}, {"centres": 1}):
        classifier = Classification(margins.get("arcface")(), 7, 4, **given)
        classifier.initialize(mx.init.Zero(), [mx.cpu()])
        classifier.weight.set_data(mx.nd.array(weight))
        result = learn(classifier, embedding, mx.nd.array(LABEL))
        graph = classifier.symbol(mx.sym.Variable("fc1"))
        results.append([a.asnumpy().tobytes() for a in (*result[:-1], classifier.weight.grad())])
        assert stated_centres(graph) == 1
        assert "__centres__" not in graph.tojson()
    assert results[0] == results[1]


def test_finite_at_the_ends_of_the_angles():
    """On a centre, opposite it, of length 0; centres of length 0."""
    weight = np.array([[3.0, 4, 0], [0, 0, 0], [0.6, 0.8, 0], [0.6, 0.8, 0], [0, 0, 0], [0, 0, 0]])
    embedding = np.array([[3.0, 4, 0], [-3, -4, 0], [0, 0, 0], [1, 2, 3]])
    for name, given in OF_COSINES:
        classifier = made(name, given, weight, 2)
        result = learn(classifier, mx.nd.array(embedding), mx.nd.array([0, 1, 1, 2]))
        for array in (*result[:-1], *result.figures.values(), classifier.weight.grad()):
            assert np.isfinite(array.asnumpy()).all(), name


def test_nothing_is_written_where_the_weights_take_no_gradient():
    draw = np.random.default_rng(4)
    weight, embedding = draw.normal(size=(14, 4)), mx.nd.array(draw.normal(size=(6, 4)))
    free, fixed = (made("arcface", {}, weight, 2) for _ in range(2))
    fixed.weight.grad_req = "null"
    want, got = (learn(one, embedding, mx.nd.array(LABEL)) for one in (free, fixed))
    np.testing.assert_array_equal(got.gradient_BE.asnumpy(), want.gradient_BE.asnumpy())


def test_two_devices_share_a_batch():
    draw = np.random.default_rng(8)
    weight, embedding = draw.normal(size=(21, 4)), draw.normal(size=(6, 4))
    margin = margins.get("combined")(margin_m=0.3, margin_b=0.2)
    whole, devices = classifier_of(margin, weight, 3), [mx.cpu(0), mx.cpu(1)]
    alone = learn(whole, mx.nd.array(embedding), mx.nd.array(LABEL))
    shared = classifier_of(margin, weight, 3, devices)
    parts = [mx.nd.array(embedding[3 * i : 3 * i + 3], ctx=device) for i, device in enumerate(devices)]
    result = shared.learn(parts, Batch(None, mx.nd.array(LABEL), None, None), 0)
    loss = np.concatenate([part.asnumpy() for part in result.figures["loss"]])
    np.testing.assert_allclose(loss, alone.loss_B.asnumpy(), rtol=1e-5)
    total = sum(gradient.asnumpy() for gradient in shared.weight.list_grad())
    np.testing.assert_allclose(total, whole.weight.grad().asnumpy(), rtol=1e-4, atol=1e-4)


def test_batches_of_different_sizes_follow_each_other():
    draw = np.random.default_rng(8)
    weight, embedding, label = draw.normal(size=(21, 4)), draw.normal(size=(6, 4)), mx.nd.array(LABEL)
    used = made("arcface", {}, weight, 3)
    for count in (6, 2, 4):
        got = learn(used, mx.nd.array(embedding[:count]), label[:count])
        want = learn(made("arcface", {}, weight, 3), mx.nd.array(embedding[:count]), label[:count])
        assert [a.asnumpy().tobytes() for a in got[:-1]] == [a.asnumpy().tobytes() for a in want[:-1]]


def test_the_saved_graph_gives_each_class_its_nearest_centre():
    draw = np.random.default_rng(2)
    weight, embedding = draw.normal(size=(15, 4)), draw.normal(size=(3, 4))
    classifier = made("arcface", {}, weight, 3)
    graph = mx.sym.load_json(classifier.symbol(mx.sym.Variable("data")).tojson())
    assert stated_centres(graph) == 3
    fc7 = graph.get_internals()["fc7_output"]
    inputs = {"data": mx.nd.array(embedding), "fc7_weight": classifier.weight.data()}
    (logits,) = fc7.bind(mx.cpu(), inputs, grad_req="null").forward()
    unit, rows = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (embedding, weight))
    np.testing.assert_allclose(logits.asnumpy(), 64 * (unit @ rows.T).reshape(3, 5, 3).max(2), rtol=1e-5)


@pytest.mark.parametrize(
    "margin, message",
    [
        ("softmax", "--centres 3: softmax has no cosines to compare; use a margin that has"),
        ("arcface_inter", "--centres 3: arcface_inter spreads identities of one centre; use arcface"),
    ],
)
def test_margins_that_take_one_centre(margin, message):
    with pytest.raises(InsightError, match=message):
        Classification(margins.get(margin)(**margins.get(margin).example), 5, 4, centres=3)


def test_the_option_takes_what_a_byte_numbers():
    for refused in (0, 256):
        with pytest.raises(InsightError, match=f"--centres {refused}: must be from 1 to 255"):
            objectives.create(TrainOptions(data_dir="d", centres=refused), 5)
    assert objectives.create(TrainOptions(data_dir="d", centres=255), 5).memory(1).parameters == 5 * 255 * 512


def test_sizes_that_mxnet_cannot_index_count_the_centres():
    margin = margins.get("arcface")()
    Classification(margin, 1_400_000, 512, centres=2).check(128)
    with pytest.raises(InsightError, match=r"--emb-size 512 with 1400000 identities of 3 centres: .*--emb-size 511 or"):
        Classification(margin, 1_400_000, 512, centres=3).check(128)
    with pytest.raises(InsightError, match=r"--per-batch-size 2048 with 1100000 identities: .* the logits"):
        Classification(margin, 1_100_000, 128, centres=3).check(2048)


class TestFromAnotherCheckpoint:
    def there(self, centres, weight):
        classifier = made("arcface", {}, weight, centres)
        return {"fc7_weight": classifier.weight.data()}, classifier.symbol(mx.sym.Variable("fc1"))

    def test_one_centre_becomes_the_first_of_several(self):
        draw = np.random.default_rng(2)
        weight, fresh = draw.normal(size=(5, 4)).astype("f"), draw.normal(size=(15, 4)).astype("f")
        ours = classifier_of(margins.get("arcface")(), fresh, 3, [mx.cpu(0), mx.cpu(1)])
        arrays, notes = ours.adopt(*self.there(1, weight))
        ours.weight.set_data(arrays["fc7_weight"])
        for copy in ours.weight.list_data():
            by_class = copy.asnumpy().reshape(5, 3, 4)
            np.testing.assert_array_equal(by_class[:, 0], weight)
            np.testing.assert_array_equal(by_class[:, 1:], fresh.reshape(5, 3, 4)[:, 1:])
        assert notes == ["fc7_weight has one centre an identity: the first of 3 here; the others are fresh"]

    def test_the_same_number_is_copied(self):
        weight = np.random.default_rng(2).normal(size=(15, 4))
        there, graph = self.there(3, weight)
        assert made("arcface", {}, weight, 3).adopt(there, graph) == (there, [])
        assert made("arcface", {}, weight, 1).adopt(there, None) == (there, [])

    @pytest.mark.parametrize("theirs, ours", [(3, 1), (3, 2), (1, 2)])
    def test_others_are_left_fresh_even_if_the_shape_is_the_same(self, theirs, ours):
        weight = np.random.default_rng(2).normal(size=(6, 4))
        arrays, notes = made("arcface", {}, weight, ours).adopt(*self.there(theirs, weight))
        assert arrays == {}
        assert notes == [f"{theirs} centre(s) an identity in fc7_weight, {ours} here: all are left fresh"]


MEMORY = """
from insight._mxnet import keep_freed_memory, mx
keep_freed_memory()
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives import projection
from insight.objectives.classification import Classification
projection.BLOCK = 1024
BATCH, CLASSES, SIZE, CENTRES = 256, 65536, 4, 3  # logits of 64 MB, centres' numbers of 16, a whole product of 192
def megabytes(kind):
    mx.nd.waitall()
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(kind))
classifier = Classification(margins.get("arcface")(), CLASSES, SIZE, centres=CENTRES)
classifier.initialize(mx.init.Normal(1), [mx.cpu()])
embedding, label = mx.nd.random.normal(shape=(BATCH, SIZE)), mx.nd.arange(BATCH)
classifier.learn([embedding[:1]], Batch(None, label[:1], None, None), 0)  # kernels and thread pools
before = megabytes("VmRSS")
for _ in range(3):
    classifier.learn([embedding], Batch(None, label, None, None), 0)
print(megabytes("VmHWM") - before, classifier.memory(BATCH).step / 2**20)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak of a process is read from Linux's /proc")
def test_the_product_with_all_centres_never_exists_as_a_whole():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak, predicted = map(float, done.stdout.split())
    assert 80 < peak < 130  # logits, numbers, a block's arrays of 10 MB, and what the process takes anyway
    assert 0.9 < peak / predicted < 1.3
