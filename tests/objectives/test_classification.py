"""Classification with every margin against plain NumPy in double precision, by finite differences; what margins may do
beside: slopes in the length, changed others, state.
"""

import math
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from margin_cases import CASES, chosen, drawn_margins, new_cosine, other_cosines, second_loss

from insight import objectives
from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives import projection
from insight.objectives.classification import Classification
from insight.train.train_options import TrainOptions


def held(name, options, embedding, weight, label):
    """What no gradient goes through in the first step: lengths (adaface), the state, and drawn margins."""
    length = np.linalg.norm(embedding, axis=1)
    unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    cosines = (embedding * unit[label]).sum(axis=1) / length
    state = {"mean": length.mean(), "std": length.std(ddof=1)}
    if name == "curricularface":
        state = {"t": chosen(name, options).t_alpha * cosines.mean()}
    return {"length": length, "state": state, "drawn": drawn_margins(name, options, cosines)}


def losses(name, options, embedding, weight, bias, label, fixed):
    """The losses one by one, in double precision, straight from the definition."""
    result = []
    unit, size = weight / np.linalg.norm(weight, axis=1, keepdims=True), weight.shape[1]
    for i, (x, y) in enumerate(zip(embedding, label)):
        length = np.linalg.norm(x)
        cosines = unit @ x / length
        theta = math.acos(cosines[y])
        seen = fixed["length"][i] if name == "adaface" else length
        if name == "softmax":
            logits = weight @ x + bias
        else:
            target = new_cosine(name, options, theta, seen, fixed["state"], fixed["drawn"][i], size)
            cosines = other_cosines(name, options, cosines, theta, fixed["state"])
            cosines[y] = target
            logits = cosines * (length if name == "sphereface" else options.get("margin_s", 64.0))
        loss = math.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[y]
        loss += second_loss(name, options, theta, length, size)
        if name == "arcface_inter":
            loss += options["margin_b"] * np.mean([unit[y] @ other for other in unit])
        result.append(loss)
    return np.array(result)


def slopes(function, array, step=1e-6):
    """d function / d array by central differences."""
    result = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = function()
        array[index] = kept - step
        result[index] = (above - function()) / (2 * step)
        array[index] = kept
    return result


class Result(NamedTuple):
    """Of one device."""

    loss_B: object
    hit_B: object
    hit_free_B: object
    gradient_BE: object
    figures: dict  # all, by name


def classifier_of(margin, weight, bias=None, devices=None):
    classifier = Classification(margin, *weight.shape, use_bias=bias is not None)
    classifier.initialize(mx.init.Zero(), devices or [mx.cpu()])
    classifier.weight.set_data(mx.nd.array(weight))
    if bias is not None:
        classifier.bias.set_data(mx.nd.array(bias))
    return classifier


def made(name, options, weight, bias=None):
    return classifier_of(margins.get(name)(**options), weight, bias)


def learn(classifier, embedding, label, step=0):
    result = classifier.learn([embedding], Batch(None, label, None, None), step)
    figures = {name: figure[0] for name, figure in result.figures.items()}
    return Result(figures["loss"], figures["acc"], figures["acc_free"], result.gradients[0], figures)


@pytest.mark.parametrize("block", [3, 8192], ids=["blocks", "whole"])
@pytest.mark.parametrize("name, options", CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_loss_and_gradients(name, options, block, monkeypatch):
    monkeypatch.setattr(projection, "BLOCK", block)
    monkeypatch.setattr("insight.objectives.cross_entropy.FEWEST_ROWS", 1)
    draw = np.random.default_rng(11)
    count, classes, size = 6, 7, 4
    embedding, weight = draw.normal(size=(count, size)), draw.normal(size=(classes, size))
    bias = draw.normal(size=classes) if name == "softmax" else None
    label = np.array([0, 6, 3, 3, 1, 2])
    embedding[5] = 0.2 * draw.normal(size=size) - weight[2]  # nearly opposite its centre: fallbacks, last turns
    classifier = made(name, options, weight, bias)
    result = learn(classifier, mx.nd.array(embedding), mx.nd.array(label))
    fixed = held(name, options, embedding, weight, label)

    def total():
        return losses(name, options, embedding, weight, bias, label, fixed).sum()

    expected = losses(name, options, embedding, weight, bias, label, fixed)
    np.testing.assert_allclose(result.loss_B.asnumpy(), expected, rtol=2e-5, atol=2e-6)
    pairs = [(result.gradient_BE, embedding), (classifier.weight.grad(), weight)]
    if bias is not None:
        pairs.append((classifier.bias.grad(), bias))
    for got, array in pairs:
        want = slopes(total, array)
        np.testing.assert_allclose(got.asnumpy(), want, rtol=2e-4, atol=2e-4 * np.abs(want).max())


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_finite_where_angles_end(name, options):
    """Embeddings on their own centre, opposite it, on another's, of length 0; a centre of length 0."""
    weight = np.array([[3.0, 4.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 0.0], [-1.0, 2.0, 7.0]])
    embedding = np.array([[3.0, 4.0, 0.0], [-3.0, -4.0, 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    label = np.array([0, 0, 2, 3, 3])
    classifier = made(name, options, weight)
    result = learn(classifier, mx.nd.array(embedding), mx.nd.array(label))
    for array in (*result.figures.values(), result.gradient_BE, classifier.weight.grad()):
        assert np.isfinite(array.asnumpy()).all()


def test_zero_rows_learn_as_through_l2_normalization():
    """Gradients of the original's graph, L2Normalization's epsilon included, by MXNet's own autograd."""
    draw = np.random.default_rng(3)
    weight, embedding = draw.normal(size=(5, 4)), draw.normal(size=(3, 4))
    weight[1], embedding[2] = 1e-5 * weight[1], 1e-6 * embedding[2]
    label = mx.nd.array([1, 1, 4])
    classifier = made("cosface", {"margin_s": 4.0, "margin_m": 0.2}, weight)
    result = learn(classifier, mx.nd.array(embedding), label)
    w, e = mx.nd.array(weight), mx.nd.array(embedding)
    w.attach_grad(), e.attach_grad()
    with mx.autograd.record():
        fc7 = mx.nd.FullyConnected(
            mx.nd.L2Normalization(e) * 4, mx.nd.L2Normalization(w), no_bias=True, num_hidden=5
        ) - mx.nd.one_hot(label, 5, on_value=0.8)
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(fc7, label)
    loss.backward()
    np.testing.assert_allclose(result.loss_B.asnumpy(), loss.asnumpy(), rtol=1e-5)
    np.testing.assert_allclose(result.gradient_BE.asnumpy(), e.grad.asnumpy(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(classifier.weight.grad().asnumpy(), w.grad.asnumpy(), rtol=1e-3, atol=1e-4)


def test_loss_is_exact_where_the_probability_underflows():
    weight = np.array([[1.0, 0.0], [0.0, 1.0]])
    classifier = made("cosface", {"margin_s": 128.0, "margin_m": 0.35}, weight)
    result = learn(classifier, mx.nd.array([[0.0, 1.0]]), mx.nd.array([0]))
    assert result.loss_B.asscalar() == pytest.approx(128 * 1.35)


def test_hits_with_and_without_margin():
    classifier = made("arcface", {}, np.array([[1.0, 0.0], [0.0, 1.0]]))
    angle = np.deg2rad([10.0, 40.0, 60.0])  # from class 0; class 1 stands at 90 degrees
    result = learn(classifier, mx.nd.array(np.stack([np.cos(angle), np.sin(angle)], 1)), mx.nd.zeros(3))
    assert result.hit_free_B.asnumpy().tolist() == [1, 1, 0]
    assert result.hit_B.asnumpy().tolist() == [1, 0, 0]  # 40 + 28.6 degrees lie beyond the other class's 50


@pytest.mark.parametrize("dtype", ["float16", np.dtype([("bfloat16", np.uint16)])], ids=["float16", "bfloat16"])
def test_other_float_types_are_computed_in_float32(dtype):
    draw = np.random.default_rng(5)
    weight, exact = draw.normal(size=(9, 4)), draw.normal(size=(3, 4))
    embedding = mx.nd.array(exact).astype(dtype)
    plain = embedding.astype("float32")
    assert 1e-5 < np.abs(plain.asnumpy() - exact).max() < 2e-2
    results = []
    for array in (embedding, plain):
        classifier = made("arcface", {}, weight)
        result = learn(classifier, array, mx.nd.array([0, 8, 4]))
        parts = (*result[:4], classifier.weight.grad())
        assert all(part.dtype == np.float32 for part in parts)
        results.append([part.asnumpy() for part in parts])
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def test_a_trainer_takes_the_gradients_and_labels_may_be_whole_numbers():
    weight = np.random.default_rng(2).normal(size=(5, 3))
    classifier = made("arcface", {}, weight)
    trainer = mx.gluon.Trainer(classifier.params, "sgd", {"learning_rate": 1.0}, kvstore=None)
    embedding = mx.nd.array(weight[:2] + 1)
    embedding.attach_grad()
    with mx.autograd.record():
        doubled = embedding * 2  # a network of its own; the head stays outside its graph
        result = learn(classifier, doubled, mx.nd.array([4, 0], dtype="int32"))
    doubled.backward(result.gradient_BE)
    np.testing.assert_allclose(embedding.grad.asnumpy(), 2 * result.gradient_BE.asnumpy())
    trainer.step(1)
    moved = classifier.weight.data().asnumpy()
    np.testing.assert_allclose(moved, weight - classifier.weight.grad().asnumpy(), rtol=1e-5)
    assert np.abs(moved - weight).max() > 1e-3


def test_two_devices_share_a_batch():
    draw = np.random.default_rng(8)
    weight, embedding, label = draw.normal(size=(7, 4)), draw.normal(size=(6, 4)), np.array([0, 1, 2, 3, 3, 6])
    whole = made("combined", {"margin_m": 0.3, "margin_b": 0.2}, weight)
    alone = learn(whole, mx.nd.array(embedding), mx.nd.array(label))
    devices = [mx.cpu(0), mx.cpu(1)]
    shared = classifier_of(whole.margin, weight, devices=devices)
    parts = [mx.nd.array(embedding[3 * i : 3 * i + 3], ctx=device) for i, device in enumerate(devices)]
    result = shared.learn(parts, Batch(None, mx.nd.array(label), None, None), 0)
    assert [gradient.context for gradient in result.gradients] == devices
    loss = np.concatenate([part.asnumpy() for part in result.figures["loss"]])
    np.testing.assert_allclose(loss, alone.loss_B.asnumpy(), rtol=1e-5)
    gradient = np.concatenate([part.asnumpy() for part in result.gradients])
    np.testing.assert_allclose(gradient, alone.gradient_BE.asnumpy(), rtol=1e-4, atol=1e-5)
    total = sum(gradient.asnumpy() for gradient in shared.weight.list_grad())
    np.testing.assert_allclose(total, whole.weight.grad().asnumpy(), rtol=1e-4, atol=1e-4)


MEMORY = """
from insight._mxnet import keep_freed_memory, mx
keep_freed_memory()
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives.classification import Classification
BATCH, CLASSES, SIZE = 256, 65536, 4  # logits of 64 MB, weights of 1 MB
def megabytes(kind):
    mx.nd.waitall()
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(kind))
classifier = Classification(margins.get("arcface")(), CLASSES, SIZE)
classifier.initialize(mx.init.Normal(1), [mx.cpu()])
embedding, label = mx.nd.random.normal(shape=(BATCH, SIZE)), mx.nd.arange(BATCH)
classifier.learn([embedding[:1]], Batch(None, label[:1], None, None), 0)  # kernels and thread pools
before = megabytes("VmRSS")
for _ in range(3):
    classifier.learn([embedding], Batch(None, label, None, None), 0)
print(megabytes("VmHWM") - before)
logits = mx.nd.FullyConnected(embedding, classifier.weight.data(), no_bias=True, num_hidden=CLASSES)
logits = logits + mx.nd.one_hot(label, CLASSES)
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("name, most", [("arcface", 112), ("curricularface", 150)])  # 5 blocks more
def test_memory_has_room_for_one_array_of_the_logits_size(name, most):
    done = subprocess.run([sys.executable, "-c", MEMORY.replace("arcface", name)], capture_output=True, text=True)
    ours, with_one_hot = map(float, done.stdout.split())
    assert 60 < ours < most, done.stderr  # 64 MB, two blocks' buffers, and what the process takes anyway
    assert with_one_hot > 150  # the probe sees a second and a third


def test_sizes_that_mxnet_cannot_index_are_refused():
    """Before anything is allocated."""
    margin = margins.get("arcface")()
    with pytest.raises(InsightError, match="16777217 classes: .*16777216"):
        Classification(margin, 2**24 + 1, 1).check(1)
    most = (1 << 31) - 1
    Classification(margin, most // 512, 512).check(128)
    with pytest.raises(InsightError, match=r"--emb-size 512 with 4200000 .* use --emb-size 511 or less"):
        Classification(margin, 4_200_000, 512).check(128)
    with pytest.raises(InsightError, match=r"--per-batch-size 2048 with 1100000 .* use --per-batch-size 1952 or less"):
        Classification(margin, 1_100_000, 128).check(2048)
    with pytest.raises(InsightError, match=r"--per-batch-size 512 with 4194304 identities: .* the logits"):
        Classification(margin, 2**22, 4).check(512)


def test_an_option_of_the_class_weights_that_is_refused():
    with pytest.raises(InsightError, match="--fc7-lr-mult -1: must be 0 or more"):
        objectives.create(TrainOptions(data_dir="d", fc7_lr_mult=-1.0), 5)


def test_the_remedy_is_named_with_the_limit():
    for batch, classes, size in ((128, 5_000_000, 512), (2048, 1_100_000, 128)):
        with pytest.raises(InsightError, match=r"use --\S+ \d+ or less; number the labels anew$"):
            Classification(margins.get("arcface")(), classes, size).check(batch, remedy="number the labels anew")


@pytest.mark.parametrize("name", ["softmax", "cosface", "arcface"])
def test_the_symbol_does_not_depend_on_what_was_built_before(name):
    """A resumed run has saved fewer times in its process, and writes the same file."""
    classifier = Classification(margins.get(name)(**margins.get(name).example), 7, 4)
    first, second = (classifier.symbol(mx.sym.Variable("fc1")).tojson() for _ in range(2))
    assert first == second
