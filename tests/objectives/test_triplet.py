"""Triplet objectives: gradients against MXNet's own of the plain formula, devices, a classification beside, guards."""

from types import SimpleNamespace

import numpy as np
import plain_triplets
import pytest

from insight import objectives
from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.mining import picking
from insight.objectives.classification import Classification
from insight.objectives.separation import COLLAPSED_STEPS, EMPTY_STEPS
from insight.objectives.triplet import Triplet
from insight.objectives.triplet_bag import TripletBag, thirds
from insight.train.train_options import TrainOptions

nd = mx.nd
LABELS = np.repeat(np.arange(6), 4)


def rows_of(seed=0, spread=0.6):
    draw = np.random.default_rng(seed)
    return (5 * (draw.normal(size=(6, 8))[LABELS] + spread * draw.normal(size=(24, 8)))).astype(np.float32)


def batch_of(labels=LABELS):
    return Batch(None, nd.array(labels), np.arange(len(labels)), np.arange(len(labels)))


def on(devices, rows):
    return [nd.array(part, ctx=mx.cpu(i)) for i, part in enumerate(np.split(rows, devices))]


def gradients(result):
    return np.concatenate([gradient.asnumpy() for gradient in result.gradients])


def by_mxnet(rows, triplets, alpha):
    """Gradient of the mean loss over copies of the rows, as InsightFace's graph has it."""
    embeddings = nd.array(rows)
    embeddings.attach_grad()
    with mx.autograd.record():
        unit = nd.L2Normalization(embeddings)
        anchor, positive, negative = (nd.take(unit, nd.array([t[part] for t in triplets])) for part in range(3))
        ap = nd.sum(nd.square(anchor - positive), axis=1)
        loss = nd.mean(nd.relu(ap - nd.sum(nd.square(anchor - negative), axis=1) + alpha))
    loss.backward()
    return float(loss.asscalar()), embeddings.grad.asnumpy()


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("negatives", sorted(picking.CANDIDATES))
@pytest.mark.parametrize("devices", [1, 2, 3])
def test_learns_as_the_plain_formula(negatives, devices):
    """The pairs are those of the whole batch, on any number of devices; the gradient is that of B times the mean."""
    objective = Triplet(seed=7, negatives=negatives, triplet_mean="all", triplet_alpha=0.4)
    rows = rows_of()
    result = objective.learn(on(devices, rows), batch_of(), step=5)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    uniforms = picking.generator(7, 5).random(36)
    triplets = plain_triplets.picked(unit, LABELS, uniforms, 0.4, negatives=negatives)
    loss, gradient = by_mxnet(rows, triplets, 0.4)
    figures = result.figures
    assert (figures["pairs"], figures["triplets"]) == (36, len(triplets)) and len(triplets) > 9
    assert figures["loss"] == pytest.approx(loss, rel=1e-5)
    assert relative(gradients(result), 24 * gradient) < 1e-5
    assert [g.context for g in result.gradients] == [mx.cpu(i) for i in range(devices)]
    assert figures["xnorm"] == pytest.approx(np.linalg.norm(rows, axis=1).mean(), rel=1e-6)
    assert 0 < figures["d2_ap"] < figures["d2_an"] < 4 or negatives != "semi-hard"
    assert sum(figures["positives"].counts) == sum(figures["gaps"].counts) == len(triplets)
    one = objective.learn(on(1, rows), batch_of(), step=5)
    np.testing.assert_array_equal(gradients(one), gradients(result))
    other = objective.learn(on(1, rows), batch_of(), step=6)
    assert (gradients(other) != gradients(one)).any() == (negatives in ("semi-hard", "violating"))


def test_the_mean_is_over_active_triplets_by_default():
    rows, options = rows_of(), {"negatives": "all", "seed": 0}
    whole = Triplet(triplet_mean="all", **options).learn(on(1, rows), batch_of(), 0)
    active = Triplet(**options).learn(on(1, rows), batch_of(), 0)
    share = whole.figures["active"]
    assert 0 < share < 1 and active.figures["active"] == share
    assert active.figures["loss"] == pytest.approx(whole.figures["loss"] / share)
    assert relative(gradients(active), gradients(whole) / share) < 1e-6


@pytest.mark.parametrize("devices", [1, 2])
def test_mined_batches_are_thirds_of_each_device(devices):
    objective = TripletBag(triplet_alpha=0.4)
    rows = rows_of(spread=1.5)
    result = objective.learn(on(devices, rows), batch_of(), 0)
    size = 24 // devices
    triplets = [
        (begin + i, begin + size // 3 + i, begin + 2 * size // 3 + i)
        for begin in range(0, 24, size)
        for i in range(size // 3)
    ]
    assert list(zip(*map(np.ndarray.tolist, thirds(24, devices)))) == triplets
    loss, gradient = by_mxnet(rows, triplets, 0.4)
    assert result.figures["loss"] == pytest.approx(loss, rel=1e-5)
    assert (result.figures["pairs"], result.figures["triplets"]) == (8, 8) and 0 < result.figures["active"] <= 1
    assert relative(gradients(result), 24 * gradient) < 1e-5


def options(**more):
    return TrainOptions(**{"data_dir": "d", "emb_size": 8, "loss_type": "triplet", "seed": 3, **more})


@pytest.mark.parametrize("devices", [1, 2])
def test_a_classification_in_the_same_step(devices):
    """Its gradients count by their weight, in the embeddings and in fc7; its margin and options are train-softmax's."""
    more = {"classification_weight": 0.25, "classification_loss": "cosface", "margin_m": 0.2}
    objective = objectives.create(options(**more), 6)
    assert objective.describe().endswith(", with cosface s=64 m=0.2")
    alone = objectives.create(options(), 6)
    head = objectives.create(options(loss_type="cosface", margin_m=0.2), 6)
    rows, contexts = rows_of(), [mx.cpu(i) for i in range(devices)]
    weight = nd.array(np.random.default_rng(1).normal(size=(6, 8)))
    for one in (objective, head):
        one.initialize(mx.init.Xavier(), contexts)
        one.params.get("fc7_weight", shape=(6, 8)).set_data(weight)
    both, triplets, classes = (one.learn(on(devices, rows), batch_of(), 2) for one in (objective, alone, head))
    assert relative(gradients(both), gradients(triplets) + 0.25 * gradients(classes)) < 1e-6
    for mine, theirs in zip(objective.params["fc7_weight"].list_grad(), head.params["fc7_weight"].list_grad()):
        assert relative(mine.asnumpy(), 0.25 * theirs.asnumpy()) < 1e-6
    assert both.figures["loss"] == triplets.figures["loss"]
    for mine, theirs in (("class_loss", "loss"), ("acc", "acc"), ("acc_free", "acc_free")):
        for a, b in zip(both.figures[mine], classes.figures[theirs]):
            np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
    assert objective.memory(24) == head.memory(24) and objective.multipliers() == head.multipliers()
    embedding = mx.sym.Variable("fc1_output")
    assert objective.symbol(embedding).list_outputs() == head.symbol(embedding).list_outputs()
    assert alone.symbol(embedding) is embedding and not list(alone.params.keys())


def test_options_that_do_nothing_are_refused():
    for more, says in (
        ({"margin_m": 0.2}, "--margin-m 0.2: does nothing with --mining batch, which uses --negatives"),
        ({"classification_loss": "0"}, "--classification-loss 0: does nothing without --classification-weight"),
        ({"classification_weight": 1.0, "classification_loss": "tight"}, "--classification-loss tight: no margin has"),
        ({"classification_weight": -1.0}, "--classification-weight -1: must be 0 or more"),
        ({"triplet_alpha": 1.5}, "--triplet-alpha 1.5: must be in 0 <= alpha <= 1"),
        ({"loss_type": "triplet_bag", "negatives": "all"}, "--negatives all: does nothing with --mining bag"),
        ({"negatives": "softest"}, "--negatives softest: is not known; --mining batch takes semi-hard, violating"),
    ):
        with pytest.raises(InsightError, match=says):
            objectives.create(options(**more), 6)


def test_embeddings_that_are_not_finite_reach_no_update():
    rows = rows_of()
    rows[3, 2] = np.nan
    result = Triplet().learn(on(2, rows), batch_of(), 0)
    assert np.isnan(result.figures["loss"]) and np.isnan(gradients(result)).all()


def test_steps_without_triplets_stop_the_run():
    objective, rows = Triplet(triplet_alpha=0.0), rows_of()
    for step in range(EMPTY_STEPS - 2):
        result = objective.learn(on(1, rows), batch_of(), step)
        assert result.figures["loss"] == 0 and not gradients(result).any()
    resumed = Triplet(triplet_alpha=0.0)
    resumed.restore(objective.state())
    resumed.learn(on(1, rows), batch_of(), 98)
    with pytest.raises(
        InsightError, match=rf"^step 100: no triplets in {EMPTY_STEPS} batches in a row; .*--triplet-alpha is 0"
    ):
        resumed.learn(on(1, rows), batch_of(), 99)


@pytest.mark.parametrize("soft", [False, True])
def test_a_network_that_has_collapsed_stops_the_run(soft):
    objective = Triplet(negatives="violating", soft_margin=soft)
    rows = 1 + 1e-3 * rows_of()  # all images have nearly one embedding
    for step in range(COLLAPSED_STEPS - 1):
        objective.learn(on(1, rows), batch_of(), step)
    before = objective.state()
    objective.learn(on(1, rows_of()), batch_of(), 99)  # a step that is different begins the count anew
    objective.learn(on(1, rows), batch_of(), 100)
    objective.restore(before)
    with pytest.raises(InsightError, match=r"^step 102: the network has collapsed: for 100 steps .*lower --lr"):
        objective.learn(on(1, rows), batch_of(), 101)


def test_a_head_is_a_classification():
    assert isinstance(objectives.create(options(classification_weight=1.0), 6).head, Classification)
    assert objectives.create(options(), 6).head is None
    assert objectives.kind("triplet_bag") is TripletBag
    assert SimpleNamespace(**vars(options())).sampler == "balanced"
