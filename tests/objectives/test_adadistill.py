"""AdaDistill: centres against a plain loop, gradients against double precision, devices, what is not learned."""

import numpy as np
import pytest
from test_classification import slopes
from test_distilled import CLASSES, LABELS, SIZE, FakeTeacher, create, learn, options, rows_of, whole
from threads_group import run_ranks

from insight import objectives
from insight._mxnet import mx
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives.adadistill import AdaDistill
from insight.train.optimizer import make_trainer

BATCHES = (LABELS, np.array([2, 2, 2, 5, 2, 0, 5, 4]), LABELS[::-1].copy())


def plain_loop(centres, rows, taught, labels):
    """The method's formula, a sample at a time."""
    for student, teacher, label in zip(rows, taught, labels):
        cos_teacher = student @ teacher / np.linalg.norm(student) / np.linalg.norm(teacher)
        cos_centre = centres[label] @ teacher / np.linalg.norm(centres[label]) / np.linalg.norm(teacher)
        alpha = min(max(cos_teacher * min(max(cos_centre, 1e-6), 1.0), 1e-6), 1.0)
        centres[label] = alpha * centres[label] + (1 - alpha) * teacher / np.linalg.norm(teacher)


def near(taught, seed):
    """Embeddings of a student that has learned something."""
    return 3 * (taught + 0.6 * np.random.default_rng(seed).normal(size=taught.shape))


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_centres_are_those_of_a_loop(devices):
    teacher = FakeTeacher()
    objective = create(devices, teacher, adadistill=True)
    weight = objective.inner.weight
    centres = weight.list_data()[0].asnumpy().astype(np.float64)
    assert 0 < np.abs(centres).max() < 0.05
    first = centres.copy()
    for step, labels in enumerate(BATCHES):
        rows = near(teacher.unit.astype(np.float64), step)
        if step == 1:
            rows[3] *= -1  # alpha is the least
        learn(objective, rows, step, labels, devices)
        plain_loop(centres, rows.astype(np.float32).astype(np.float64), teacher.unit.astype(np.float64), labels)
        for copy in weight.list_data():
            np.testing.assert_allclose(copy.asnumpy(), centres, rtol=0, atol=1e-6)
            np.testing.assert_array_equal(copy.asnumpy(), weight.list_data()[0].asnumpy())
    seen = np.unique(np.concatenate(BATCHES))
    assert (np.abs(centres - first).max(axis=1) > 0.1).tolist() == [c in seen for c in range(CLASSES)]


@pytest.mark.parametrize("ranks", [2, 4])
def test_centres_divided_among_ranks(ranks):
    teacher = FakeTeacher()

    def centres_and_gradients(group):
        objective = objectives.create(options(adadistill=True, shard_classes=True), CLASSES, teacher)
        objective.join(group)
        objective.initialize(mx.init.Xavier(), [mx.cpu()])
        own, found = slice(*group.span(len(LABELS))), [objective.inner.weight.data().asnumpy()]
        for step, labels in enumerate(BATCHES):
            rows = mx.nd.array(near(teacher.unit, step)[own])
            batch = Batch(None, mx.nd.array(labels[own]), np.arange(len(LABELS))[own], None, np.zeros(len(LABELS))[own])
            gradient = objective.learn([rows], batch, step).gradients[0]
            found += [gradient.asnumpy(), objective.inner.weight.data().asnumpy()]
        return found

    [alone], parts = run_ranks(1, centres_and_gradients), run_ranks(ranks, centres_and_gradients)
    assert 0 < np.abs(alone[0]).max() < 0.05
    for number, wanted in enumerate(alone):
        got = np.concatenate([part[number] for part in parts])
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("loss_type", [name for name in margins if margins.get(name).cosine])
def test_gradients_are_the_margins_against_the_adapted_centres(loss_type):
    more = {**margins.get(loss_type).example, "loss_type": loss_type}
    objective, rows = create(adadistill=True, **more), rows_of()
    result = learn(objective, rows)
    plain = create(loss_type=loss_type, teacher_weight=0.0, **margins.get(loss_type).example)
    plain.inner.weight.set_data(objective.inner.weight.data())
    expected = learn(plain, rows)
    np.testing.assert_allclose(whole(result.gradients), whole(expected.gradients), rtol=1e-5, atol=1e-5)
    for name in ("loss", "acc", "acc_free", "cos_teacher"):
        np.testing.assert_allclose(whole(result.figures[name]), whole(expected.figures[name]), rtol=1e-6)


def test_gradient_against_double_precision():
    objective, rows = create(adadistill=True, margin_s=8.0, margin_m=0.45), rows_of()
    result = learn(objective, rows)
    centres = objective.inner.weight.data().asnumpy().astype(np.float64)

    def loss():
        unit = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        cos = rows @ unit.T / np.linalg.norm(rows, axis=1, keepdims=True)
        own = cos[np.arange(8), LABELS]
        moved = np.where(own > np.cos(np.pi - 0.45), np.cos(np.arccos(own) + 0.45), own - 0.45 * np.sin(0.45))
        cos[np.arange(8), LABELS] = moved
        return (np.log(np.exp(8 * cos).sum(axis=1)) - 8 * moved).sum()

    np.testing.assert_allclose(whole(result.gradients), slopes(loss, rows), rtol=3e-4, atol=1e-4)


def test_nothing_of_fc7_is_learned():
    objective = create(adadistill=True)
    weight = objective.inner.weight
    assert weight.grad_req == "null"
    learn(objective, rows_of())
    before = weight.data().asnumpy()
    network = mx.gluon.Parameter("network_weight", shape=(2,))
    network.initialize(ctx=[mx.cpu()])
    trainer = make_trainer({"network_weight": network, **dict(objective.params.items())}, 0.9, 5e-4, 1.0)
    trainer.step(1, ignore_stale_grad=True)
    np.testing.assert_array_equal(weight.data().asnumpy(), before)
    need, plain = objective.memory(8), create().memory(8)
    assert (need.parameters, need.kept) == (0, CLASSES * SIZE) and plain.parameters == CLASSES * SIZE
    symbol = objective.symbol(mx.sym.Variable("fc1_output"))
    assert "fc7_weight" in symbol.list_arguments()


def test_embeddings_that_are_not_finite_move_no_centre():
    """float16 skips such a step, with a lower loss scale; the centres must not be lost in it."""
    objective, rows = create(adadistill=True), rows_of()
    learn(objective, rows)
    before = objective.inner.weight.data().asnumpy()
    rows[1], rows[4, 2] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        learn(objective, rows)
    after = objective.inner.weight.data().asnumpy()
    assert np.isfinite(after).all()
    assert (before[1] == after[1]).all() and (before[0] != after[0]).any()


def test_the_margin_is_described():
    assert AdaDistill(margins.get("arcface")(margin_m=0.45), CLASSES, SIZE).describe().startswith("arcface s=64 m=0.45")
