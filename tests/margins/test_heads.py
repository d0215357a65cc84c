"""Every head against plain NumPy in double precision: loss, gradients by finite differences, and the poles."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from insight._mxnet import mx
from insight.errors import InsightError
from insight.margins import heads
from insight.margins.margin import MarginOptions
from insight.objectives import projection
from insight.objectives.classifier import Classifier

O = MarginOptions
CASES = [
    ("softmax", O()),
    ("sphereface", O(beta=0.0, beta_min=0.0)),
    ("sphereface", O(margin=3, beta=5.0)),
    ("cosface", O(s=8.0, m=0.35)),
    ("arcface", O(s=8.0, m=0.4)),
    ("arcface", O(s=8.0, m=1.2)),  # most of the targets take the fallback
    ("arcface", O(s=8.0, m=0.5, easy_margin=True)),
    ("combined", O(s=8.0, m=0.3, b=0.2)),
    ("combined", O(s=8.0, a=0.9, m=0.4, b=0.15)),
    ("combined", O(s=8.0, a=1.35, m=0.0)),
    ("combined", O(s=8.0, m=0.0, b=0.35)),
    ("arcface_intra", O(s=8.0, m=0.5, b=3.0)),
    ("arcface_inter", O(s=8.0, m=0.5, b=30.0)),
]


def new_cosine(name: str, o: MarginOptions, theta: float) -> float:
    """The papers' target cosine as a function of the angle."""
    cos = math.cos(theta)
    if name == "softmax":
        return cos
    if name == "sphereface":
        k = min(int(o.margin * theta / math.pi), o.margin - 1)
        return ((-1) ** k * math.cos(o.margin * theta) - 2 * k + o.beta * cos) / (1 + o.beta)
    if name == "cosface":
        return cos - o.m
    if name == "arcface" and o.easy_margin:
        return math.cos(theta + o.m) if cos > 0 else cos
    if name == "arcface":
        return math.cos(theta + o.m) if theta + o.m < math.pi else cos - o.m * math.sin(o.m)
    if name == "combined":
        return math.cos(o.a * theta + o.m) - o.b
    return math.cos(theta + o.m)


def losses(name, o, embedding, weight, bias, label):
    """The losses one by one, in double precision, straight from the definition."""
    result = []
    unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    for x, y in zip(embedding, label):
        length = np.linalg.norm(x)
        cosines = unit @ x / length
        theta = math.acos(cosines[y])
        if name == "softmax":
            logits = weight @ x + bias
        else:
            cosines[y] = new_cosine(name, o, theta)
            logits = cosines * (length if name == "sphereface" else o.s)
        loss = math.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[y]
        if name == "arcface_intra":
            loss += o.b * theta / math.pi
        if name == "arcface_inter":
            loss += o.b * np.mean([unit[y] @ other for other in unit])
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


def classifier_of(name, options, weight, bias=None):
    classifier = Classifier(heads.get(name)(options), *weight.shape, use_bias=bias is not None)
    classifier.params.initialize()
    classifier.weight.set_data(mx.nd.array(weight))
    if bias is not None:
        classifier.bias.set_data(mx.nd.array(bias))
    return classifier


@pytest.mark.parametrize("block", [3, 8192], ids=["blocks", "whole"])
@pytest.mark.parametrize("name, options", CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_loss_and_gradients(name, options, block, monkeypatch):
    monkeypatch.setattr(projection, "BLOCK", block)
    draw = np.random.default_rng(11)
    count, classes, size = 6, 7, 4
    embedding, weight = draw.normal(size=(count, size)), draw.normal(size=(classes, size))
    bias = draw.normal(size=classes) if name == "softmax" else None
    label = np.array([0, 6, 3, 3, 1, 2])
    embedding[5] = 0.2 * draw.normal(size=size) - weight[2]  # nearly opposite its centre: fallbacks, last turns
    classifier = classifier_of(name, options, weight, bias)
    result = classifier.backward(mx.nd.array(embedding), mx.nd.array(label))

    def total():
        return losses(name, options, embedding, weight, bias, label).sum()

    expected = losses(name, options, embedding, weight, bias, label)
    np.testing.assert_allclose(result.loss_B.asnumpy(), expected, rtol=2e-5, atol=2e-6)
    pairs = [(result.gradient_BE, embedding), (classifier.weight.grad(), weight)]
    if bias is not None:
        pairs.append((classifier.bias.grad(), bias))
    for got, array in pairs:
        want = slopes(total, array)
        np.testing.assert_allclose(got.asnumpy(), want, rtol=2e-4, atol=2e-4 * np.abs(want).max())


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_margin_over_all_angles(name, options):
    head = heads.get(name)(options)
    theta = np.deg2rad(np.arange(1, 180) + 0.25)
    new, slope = (a.asnumpy() for a in head.target_logit(mx.nd, mx.nd.array(np.cos(theta))))
    np.testing.assert_allclose(new, [new_cosine(name, options, t) for t in theta], atol=5e-6)
    step = 1e-6
    for t, got in zip(theta, slope):
        change = new_cosine(name, options, t + step) - new_cosine(name, options, t - step)
        assert got == pytest.approx(change / (math.cos(t + step) - math.cos(t - step)), rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("name, options", CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_finite_where_angles_end(name, options):
    """Embeddings on their own centre, opposite it, on another's, of length 0; a centre of length 0."""
    weight = np.array([[3.0, 4.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 0.0], [-1.0, 2.0, 7.0]])
    embedding = np.array([[3.0, 4.0, 0.0], [-3.0, -4.0, 0.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    label = np.array([0, 0, 2, 3, 3])
    classifier = classifier_of(name, options, weight)
    result = classifier.backward(mx.nd.array(embedding), mx.nd.array(label))
    for array in (*result, classifier.weight.grad()):
        assert np.isfinite(array.asnumpy()).all()
    for cosine in (1.0, -1.0, 1.0 + 1e-6, -1.0 - 1e-6):
        for array in classifier.margin.target_logit(mx.nd, mx.nd.array([cosine])):
            assert np.isfinite(array.asnumpy()).all()


def test_zero_rows_learn_as_through_l2_normalization():
    """Gradients of the original's graph, L2Normalization's epsilon included, by MXNet's own autograd."""
    draw = np.random.default_rng(3)
    weight, embedding = draw.normal(size=(5, 4)), draw.normal(size=(3, 4))
    weight[1], embedding[2] = 1e-5 * weight[1], 1e-6 * embedding[2]
    label = mx.nd.array([1, 1, 4])
    classifier = classifier_of("cosface", O(s=4.0, m=0.2), weight)
    result = classifier.backward(mx.nd.array(embedding), label)
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
    classifier = classifier_of("cosface", O(s=128.0, m=0.35), weight)
    result = classifier.backward(mx.nd.array([[0.0, 1.0]]), mx.nd.array([0]))
    assert result.loss_B.asscalar() == pytest.approx(128 * 1.35)


def test_hits_with_and_without_margin():
    classifier = classifier_of("arcface", O(), np.array([[1.0, 0.0], [0.0, 1.0]]))
    angle = np.deg2rad([10.0, 40.0, 60.0])  # from class 0; class 1 stands at 90 degrees
    result = classifier.backward(mx.nd.array(np.stack([np.cos(angle), np.sin(angle)], 1)), mx.nd.zeros(3))
    assert result.hit_free_B.asnumpy().tolist() == [1, 1, 0]
    assert result.hit_B.asnumpy().tolist() == [1, 0, 0]  # 40 + 28.6 degrees lie beyond the other class's 50


@pytest.mark.parametrize("step, beta", [(0, 1000.0), (10, 1000.0), (11, 1000 / 1.12), (110, 1000 / 13), (10**6, 5.0)])
def test_sphereface_anneals_as_a_function_of_the_step(step, beta):
    classifier = Classifier(heads.get("asoftmax")(O(beta_freeze=10)), 3, 2)
    classifier.at_step(10**5)
    classifier.at_step(step)  # whatever came before
    assert classifier.margin.beta == pytest.approx(beta)


@pytest.mark.parametrize("dtype", ["float16", np.dtype([("bfloat16", np.uint16)])], ids=["float16", "bfloat16"])
def test_other_float_types_are_computed_in_float32(dtype):
    draw = np.random.default_rng(5)
    weight, exact = draw.normal(size=(9, 4)), draw.normal(size=(3, 4))
    embedding = mx.nd.array(exact).astype(dtype)
    plain = embedding.astype("float32")
    assert 1e-5 < np.abs(plain.asnumpy() - exact).max() < 2e-2
    results = []
    for array in (embedding, plain):
        classifier = classifier_of("arcface", O(), weight)
        result = classifier.backward(array, mx.nd.array([0, 8, 4]))
        assert all(part.dtype == np.float32 for part in result)
        results.append([part.asnumpy() for part in (*result, classifier.weight.grad())])
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def test_a_trainer_takes_the_gradients_and_labels_may_be_whole_numbers():
    weight = np.random.default_rng(2).normal(size=(5, 3))
    classifier = classifier_of("arcface", O(), weight)
    trainer = mx.gluon.Trainer(classifier.params, "sgd", {"learning_rate": 1.0}, kvstore=None)
    embedding = mx.nd.array(weight[:2] + 1)
    embedding.attach_grad()
    with mx.autograd.record():
        doubled = embedding * 2  # a network of its own; the head stays outside its graph
        result = classifier.backward(doubled, mx.nd.array([4, 0], dtype="int32"))
    doubled.backward(result.gradient_BE)
    np.testing.assert_allclose(embedding.grad.asnumpy(), 2 * result.gradient_BE.asnumpy())
    trainer.step(1)
    moved = classifier.weight.data().asnumpy()
    np.testing.assert_allclose(moved, weight - classifier.weight.grad().asnumpy(), rtol=1e-5)
    assert np.abs(moved - weight).max() > 1e-3


def test_two_devices_share_a_batch():
    draw = np.random.default_rng(8)
    weight, embedding, label = draw.normal(size=(7, 4)), draw.normal(size=(6, 4)), np.array([0, 1, 2, 3, 3, 6])
    whole = classifier_of("combined", O(m=0.3, b=0.2), weight)
    whole.backward(mx.nd.array(embedding), mx.nd.array(label))
    shared = Classifier(whole.margin, 7, 4)
    devices = [mx.cpu(0), mx.cpu(1)]
    shared.params.initialize(ctx=devices)
    shared.weight.set_data(mx.nd.array(weight))
    for i, device in enumerate(devices):
        part = slice(3 * i, 3 * i + 3)
        result = shared.backward(mx.nd.array(embedding[part], ctx=device), mx.nd.array(label[part], ctx=device))
        assert result.gradient_BE.context == device
    total = sum(gradient.asnumpy() for gradient in shared.weight.list_grad())
    np.testing.assert_allclose(total, whole.weight.grad().asnumpy(), rtol=1e-4, atol=1e-4)


MEMORY = """
from insight._mxnet import keep_freed_memory, mx
keep_freed_memory()
from insight.margins import heads
from insight.objectives.classifier import Classifier
from insight.margins.margin import MarginOptions
BATCH, CLASSES, SIZE = 256, 65536, 4  # logits of 64 MB, weights of 1 MB
def megabytes(kind):
    mx.nd.waitall()
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(kind))
classifier = Classifier(heads.get("arcface")(MarginOptions()), CLASSES, SIZE)
classifier.params.initialize(mx.init.Normal(1))
embedding, label = mx.nd.random.normal(shape=(BATCH, SIZE)), mx.nd.arange(BATCH)
classifier.backward(embedding[:1], label[:1])  # kernels and thread pools
before = megabytes("VmRSS")
for _ in range(3):
    classifier.backward(embedding, label)
print(megabytes("VmHWM") - before)
logits = mx.nd.FullyConnected(embedding, classifier.weight.data(), no_bias=True, num_hidden=CLASSES)
logits = logits + mx.nd.one_hot(label, CLASSES)
print(megabytes("VmHWM") - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak of a process is read from Linux's /proc")
def test_memory_has_room_for_one_array_of_the_logits_size():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    ours, with_one_hot = map(float, done.stdout.split())
    assert 60 < ours < 112, done.stderr  # 64 MB, two blocks' buffers, and what the process takes anyway
    assert with_one_hot > 150  # the probe sees a second and a third


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("arcface", {"m": -0.1}, "--margin-m -0.1: .*0 <= m < pi/2"),
        ("arcface", {"m": math.pi / 2}, "--margin-m .*0 <= m < pi/2"),
        ("arcface", {"b": 0.2}, "--margin-b 0.2: does nothing with --loss-type arcface, which uses --margin-s"),
        ("softmax", {"s": 30.0}, "--margin-s 30: does nothing .*no margin option"),
        ("cosface", {"m": 0.0}, "--margin-m 0: "),
        ("cosface", {"easy_margin": True}, "--easy-margin 1: does nothing"),
        ("combined", {"a": 0.0}, "--margin-a 0: "),
        ("combined", {"m": -0.3}, "--margin-m -0.3: "),
        ("combined", {"b": -0.2}, "--margin-b -0.2: "),
        ("6", {}, "--margin-b 0: "),
        ("7", {"b": -1.0}, "--margin-b -1: "),
        ("7", {"b": 1.0, "a": 2.0}, "--margin-a 2: does nothing"),
        ("sphereface", {"margin": 0}, "--margin 0: "),
        ("sphereface", {"gamma": -1.0}, "--gamma -1: "),
        ("sphereface", {"beta": 1.0}, "--beta-min 5: .*--beta 1"),
        ("arcface", {"s": 0.0}, "--margin-s 0: "),
    ],
)
def test_options_that_are_refused(name, options, words):
    with pytest.raises(InsightError, match=words):
        heads.get(name)(MarginOptions(**options))


def test_names_and_descriptions():
    numbers = {"0": "softmax", "1": "sphereface", "2": "cosface", "4": "arcface", "5": "combined"}
    numbers.update({"6": "arcface_intra", "7": "arcface_inter"})
    assert {number: heads.get(number).name for number in numbers} == numbers
    assert all(heads.get(name).name == name for name in heads)
    assert sorted(numbers.values()) == heads.names()
    assert all(heads.get(name)(heads.get(name).example).describe().startswith(name) for name in heads)
    assert heads.get("arcface")(O()).describe() == "arcface s=64 m=0.5"
    assert heads.get("arcface")(O(easy_margin=True)).describe() == "arcface s=64 m=0.5 easy_margin"
    assert heads.get("softmax")(O()).describe() == "softmax"


@pytest.mark.parametrize("label", [-1, 3, float("nan")])
def test_labels_without_a_class_are_refused(label):
    classifier = classifier_of("arcface", O(), np.eye(3))
    with pytest.raises(InsightError, match=r"label .*0\.\.2"):
        classifier.backward(mx.nd.ones((2, 3)), mx.nd.array([0, label]))


def test_sizes_that_mxnet_cannot_index_are_refused():
    margin = heads.get("arcface")(O())
    with pytest.raises(InsightError, match="16777217 classes: .*16777216"):
        Classifier(margin, 2**24 + 1, 1)
    with pytest.raises(InsightError, match="4200000 x 512 class weights"):
        Classifier(margin, 4_200_000, 512)
    many = Classifier(margin, 2**22, 4)  # nothing is allocated yet
    with pytest.raises(InsightError, match="512 x 4194304 logits"):
        many._checked(mx.nd.zeros(512))
