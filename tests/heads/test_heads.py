"""Margins against plain loops over angles, the classifier against plain NumPy."""

import math

import numpy as np
import pytest

from insight._mxnet import mx
from insight.errors import InsightError
from insight.heads import heads
from insight.heads.classifier import Classifier
from insight.heads.margin import MarginOptions


def arcface_by_angle(theta: float, m: float, easy: bool) -> float:
    """ArcFace's target cosine, from the angle, as the paper and the original describe it."""
    if easy:
        return math.cos(theta + m) if math.cos(theta) > 0 else math.cos(theta)
    return math.cos(theta + m) if theta + m < math.pi else math.cos(theta) - m * math.sin(m)


@pytest.mark.parametrize("easy", [False, True])
@pytest.mark.parametrize("m", [0.0, 0.35, 0.5, 1.2])
def test_arcface_over_all_angles(m, easy):
    head = heads.get("arcface")(MarginOptions(64.0, m, easy))
    degrees = np.arange(1, 180) + 0.25
    theta = np.deg2rad(degrees)
    new, slope = (a.asnumpy() for a in head.target_logit(mx.nd, mx.nd.array(np.cos(theta))))
    expected = [arcface_by_angle(t, m, easy) for t in theta]
    np.testing.assert_allclose(new, expected, atol=2e-6)
    step = 1e-5
    for t, got in zip(theta, slope):
        # d new / d cos = (d new / d theta) / (-sin theta), by central differences in double precision
        change = arcface_by_angle(t + step, m, easy) - arcface_by_angle(t - step, m, easy)
        assert got == pytest.approx(change / (math.cos(t + step) - math.cos(t - step)), rel=2e-3, abs=1e-4)


def test_arcface_is_finite_at_the_poles():
    head = heads.get("4")(MarginOptions(64.0, 0.5))
    new, slope = head.target_logit(mx.nd, mx.nd.array([1.0, -1.0, 1.0 + 1e-6, -1.0 - 1e-6]))
    assert np.isfinite(new.asnumpy()).all()
    assert np.isfinite(slope.asnumpy()).all()


@pytest.mark.parametrize("m", [-0.1, math.pi / 2, 2.0])
def test_arcface_refuses_other_margins(m):
    with pytest.raises(InsightError, match="--margin-m .*0 <= m < pi/2"):
        heads.get("arcface")(MarginOptions(64.0, m))


def numpy_loss(name, embedding, weight, bias, label, s, m):
    """Mean cross entropy, in double precision, straight from the definition."""
    total = 0.0
    for x, y in zip(embedding, label):
        if name == "softmax":
            logits = weight @ x + bias
        else:
            cos = weight @ x / np.linalg.norm(weight, axis=1) / np.linalg.norm(x)
            cos[y] = arcface_by_angle(math.acos(cos[y]), m, False)
            logits = s * cos
        top = logits.max()
        total += math.log(np.exp(logits - top).sum()) + top - logits[y]
    return total / len(label)


@pytest.mark.parametrize("name", ["softmax", "arcface"])
def test_classifier_loss_and_gradients(name):
    draw = np.random.default_rng(11)
    count, classes, size, s, m = 5, 7, 4, 8.0, 0.4
    embedding, weight = draw.normal(size=(count, size)), draw.normal(size=(classes, size))
    bias = draw.normal(size=classes) if name == "softmax" else np.zeros(classes)
    label = np.array([0, 6, 3, 3, 1])
    classifier = Classifier(heads.get(name)(MarginOptions(s, m)), classes, size, use_bias=name == "softmax")
    classifier.params.initialize()
    classifier.weight.set_data(mx.nd.array(weight))
    if classifier.bias is not None:
        classifier.bias.set_data(mx.nd.array(bias))
    data = mx.nd.array(embedding)
    data.attach_grad()
    result = classifier.backward(lambda x: x, data, mx.nd.array(label))

    def loss(e, w, b):
        return numpy_loss(name, e, w, b, label, s, m)

    assert result.loss_B.asnumpy().mean() == pytest.approx(loss(embedding, weight, bias), rel=1e-5)
    arrays = {"embedding": (embedding, data.grad), "weight": (weight, classifier.weight.grad())}
    if name == "softmax":
        arrays["bias"] = (bias, classifier.bias.grad())
    for what, (array, grad) in arrays.items():
        grad = grad.asnumpy() / count  # the classifier hands out sums over the batch
        for index in np.ndindex(array.shape):
            kept = array[index]
            sides = []
            for step in (1e-5, -1e-5):
                array[index] = kept + step
                sides.append(loss(embedding, weight, bias))
            array[index] = kept
            assert grad[index] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=2e-3, abs=2e-5), (what, index)


def test_hits_with_and_without_margin():
    classifier = Classifier(heads.get("arcface")(MarginOptions(64.0, 0.5)), 2, 2)
    classifier.params.initialize()
    classifier.weight.set_data(mx.nd.array([[1.0, 0.0], [0.0, 1.0]]))
    angle = np.deg2rad([10.0, 40.0, 60.0])  # from class 0; class 1 stands at 90 degrees
    data = mx.nd.array(np.stack([np.cos(angle), np.sin(angle)], 1))
    data.attach_grad()
    result = classifier.backward(lambda x: x, data, mx.nd.zeros(3))
    assert result.hit_free_B.asnumpy().tolist() == [1, 1, 0]
    assert result.hit_B.asnumpy().tolist() == [1, 0, 0]  # 40 + 28.6 degrees lie beyond the other class's 50
