"""``--interclass-filter`` against the definition in NumPy: classes above the cosine are not there."""

import math

import numpy as np
import pytest

from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives.classification import Classification

S, M, ABOVE = 8.0, 0.3, 0.4
B, C, E = 6, 40, 5  # in five dimensions many classes are above


@pytest.fixture(scope="module")
def arrays():
    """(embedding, weight, label) in float64."""
    draw = np.random.default_rng(4)
    weight = draw.normal(0, 0.2, (C, E))
    weight[7], weight[9] = weight[3], 5 * weight[3] + 0.01  # the same person under other labels
    embedding = draw.normal(0, 3, (B, E))
    embedding[0] = 3 * weight[3] + 0.05
    return embedding, weight, np.array([3, 7, 0, 39, 12, 3])


def cosines(embedding, weight):
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (embedding, weight)]
    return unit[0] @ unit[1].T


def loss(embedding, weight, label, above, counted=None):
    """The sum of CosFace's losses over the classes that count; ``counted`` (B, C) as of other cosines."""
    cos = cosines(embedding, weight)
    counted = (cos <= above) if counted is None else counted
    total = 0.0
    for row, own, keep in zip(cos, label, counted):
        others = [math.exp(S * value) for k, value in enumerate(row) if k != own and keep[k]]
        target = math.exp(S * (row[own] - M))
        total -= math.log(target / (target + sum(others)))
    return total


def learnt(arrays, name="cosface", devices=1, **more):
    """(losses, gradient of the embeddings, gradient of the weights, hits)."""
    embedding, weight, label = arrays
    contexts = [mx.cpu(i) for i in range(devices)]
    margin = margins.get(name)(margin_s=S, margin_m=M)
    head = Classification(margin, C, E, **more)
    head.initialize(mx.init.Zero(), contexts)
    head.weight.set_data(mx.nd.array(weight))
    parts = [mx.nd.array(part, ctx=ctx) for part, ctx in zip(np.split(embedding, devices), contexts)]
    result = head.learn(parts, Batch(None, mx.nd.array(label), None, None), 0)
    gathered = (np.concatenate([one.asnumpy() for one in many]) for many in (result.figures["loss"], result.gradients))
    weights = sum(head.weight.grad(ctx).asnumpy() for ctx in contexts)
    return (*gathered, weights, np.concatenate([one.asnumpy() for one in result.figures["acc"]]))


def slopes(function, array, step=1e-6):
    result = np.empty_like(array)
    for index in np.ndindex(array.shape):
        ends = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * step
            ends.append(function(moved))
        result[index] = (ends[0] - ends[1]) / (2 * step)
    return result


def test_loss_and_gradients(arrays):
    embedding, weight, label = arrays
    counted = cosines(embedding, weight) <= ABOVE
    assert 20 < (~counted).sum() < B * C / 2 and not counted[0, 7]
    losses, gradient_BE, gradient_CE, _ = learnt(arrays, interclass_filter=ABOVE)
    assert losses.sum() == pytest.approx(loss(embedding, weight, label, ABOVE), rel=1e-5)
    assert losses.sum() < 0.8 * learnt(arrays)[0].sum()
    want = slopes(lambda e: loss(e, weight, label, ABOVE, counted), embedding)
    np.testing.assert_allclose(gradient_BE, want, atol=1e-4 * np.abs(want).max())
    want = slopes(lambda w: loss(embedding, w, label, ABOVE, counted), weight)
    np.testing.assert_allclose(gradient_CE, want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("name", ["cosface", "arcface"])
def test_one_and_a_bound_that_nothing_reaches_change_no_bit(arrays, name):
    plain = learnt(arrays, name)
    far = (arrays[0], np.tile(-arrays[0].mean(axis=0), (C, 1)) + 1e-3 * arrays[1], arrays[2])
    for same, with_it in ((plain, learnt(arrays, name, interclass_filter=1.0)),):
        assert all((a == b).all() for a, b in zip(same, with_it))
    highest = cosines(far[0], far[1]).max() + 0.01
    pairs = zip(learnt(far, name), learnt(far, name, interclass_filter=max(highest, 0.01)))
    assert all((a == b).all() for a, b in pairs)


def test_where_no_other_class_is_left(arrays):
    """The own class stays, whatever its cosine; there is nothing to learn from."""
    weight = np.tile(arrays[1][3], (C, 1))
    losses, gradient_BE, gradient_CE, hits = learnt((3 * weight[:B], weight, arrays[2]), interclass_filter=ABOVE)
    assert (losses == 0).all() and (hits == 1).all()
    assert (gradient_BE == 0).all() and (gradient_CE == 0).all()


def test_two_devices_are_one(arrays):
    one, two = (learnt(arrays, devices=count, interclass_filter=ABOVE) for count in (1, 2))
    for a, b in zip(one, two):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, above, message",
    [
        ("arcface", 0.0, "--interclass-filter 0: must be a cosine above 0"),
        ("arcface", 1.5, "--interclass-filter 1.5: must be a cosine above 0"),
        ("softmax", 0.4, "--interclass-filter 0.4: --loss-type softmax has no cosines of embeddings of length 1"),
        ("sphereface", 0.4, "--interclass-filter 0.4: --loss-type sphereface has no cosines"),
    ],
)
def test_refusals(name, above, message):
    with pytest.raises(InsightError, match=message):
        Classification(margins.get(name)(**margins.get(name).example), C, E, interclass_filter=above)


def test_it_is_in_the_run_s_description():
    head = Classification(margins.get("arcface")(), C, E, interclass_filter=0.4)
    assert head.describe() == "arcface s=64 m=0.5, other classes above cosine 0.4 left out"
    assert Classification(margins.get("arcface")(), C, E).describe() == "arcface s=64 m=0.5"
