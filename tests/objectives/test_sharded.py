"""Classes divided among ranks, against one process with the samples of all of them; ranks are threads."""

import numpy as np
import pytest
from margin_cases import CASES
from threads_group import run_ranks

from insight._mxnet import mx
from insight.errors import InsightError
from insight.feed.loader import Batch
from insight.margins import margins
from insight.objectives import projection
from insight.objectives.classification import Classification
from insight.ranks.group import span

C, E, EACH = 11, 5, 3
SGD = {"learning_rate": 0.1, "momentum": 0.9, "wd": 0.01}


def case(name, options, centres=1, classes=C, each=EACH, ranks=4, **more):
    """A maker of heads, weights and batches for so many ranks; the head of one process is that of ``None``."""
    draw = np.random.default_rng(len(name) + centres)
    bias = name == "softmax"
    weight, shift = draw.normal(size=(classes * centres, E)), draw.normal(size=classes)
    label = draw.integers(classes, size=(5, each * ranks))
    embedding = draw.normal(size=(5, each * ranks, E))
    embedding[:, :3] += 2 * weight[label[:, :3] * centres]  # some are near their centres

    def head(group=None, **own):
        made = Classification(margins.get(name)(**options), classes, E, bias, centres=centres, **{**more, **own})
        if group is not None:
            made.join(group)
        made.initialize(mx.init.Zero(), [mx.cpu()])
        begin, end = (0, classes) if group is None or not own.get("shard_classes") else group.span(classes)
        made.weight.set_data(mx.nd.array(weight[begin * centres : end * centres]))
        if bias:
            made.bias.set_data(mx.nd.array(shift[begin:end]))
        return made

    return head, embedding, label


def steps(head, embedding, label, begin=0, end=None):
    """What each step gives, of a part of the batch: (gradients, figures, weights, their gradients)."""
    trainer = mx.gluon.Trainer(head.params, mx.optimizer.SGD(**SGD), kvstore=None)
    results = []
    for step in range(len(label)):
        batch = Batch(None, mx.nd.array(label[step, begin:end]), None, None)
        result = head.learn([mx.nd.array(embedding[step, begin:end])], batch, step)
        figures = {name: figure[0].asnumpy() for name, figure in result.figures.items()}
        gradients = [p.grad().asnumpy() for p in head.params.values()]
        trainer.step(label.shape[1])
        results.append((result.gradients[0].asnumpy(), figures, gradients))
    weights = [p.data().asnumpy() for p in head.params.values()]
    momenta = [trainer._updaters[0].states[trainer._params.index(p)].asnumpy() for p in head.params.values()]
    return results, weights, momenta, {name: a[0].asnumpy() for name, a in head.arrays().items()}


def near(got, wanted):
    """At most 1e-5 of the largest number."""
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def compare(head, embedding, label, ranks, run=run_ranks):
    """Check every number of every step; returns (weights, momenta) of all ranks, as lists by parameter.

    ``run(ranks, work)`` calls ``work(group)`` on each rank and returns the results.
    """
    alone, weights, momenta, state = steps(head(shard_classes=True), embedding, label)
    count = label.shape[1]

    def rank(group):
        return steps(head(group, shard_classes=True), embedding, label, *span(count, group.rank, group.size))

    parts = run(ranks, rank)
    for step, (gradient, figures, gradients) in enumerate(alone):
        of_step = [results[step] for results, *_ in parts]
        near(np.concatenate([mine for mine, _, _ in of_step]), gradient)
        for i, wanted in enumerate(gradients):
            near(np.concatenate([mine[i] for _, _, mine in of_step]), wanted)
        for name, wanted in figures.items():
            shares = [mine[name] for _, mine, _ in of_step]
            near(np.concatenate(shares) if len(wanted) == count else shares[-1], wanted)
    joined = [[np.concatenate(arrays) for arrays in zip(*(part[kind] for part in parts))] for kind in (1, 2)]
    for got, wanted in zip(joined, (weights, momenta)):
        for mine, theirs in zip(got, wanted):
            near(mine, theirs)
    for name, wanted in state.items():
        near(parts[-1][3][name], wanted)
    return joined


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("name, options", CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_ranks_are_as_one(name, options, ranks):
    head, embedding, label = case(name, options, ranks=ranks)
    compare(head, embedding, label, ranks)


@pytest.mark.parametrize("name", ["arcface", "curricularface", "arcface_inter", "softmax"])
def test_a_thousand_classes_on_three_ranks_in_blocks(name, monkeypatch):
    monkeypatch.setattr(projection, "BLOCK", 128)
    monkeypatch.setattr("insight.objectives.cross_entropy.FEWEST_ROWS", 1)
    head, embedding, label = case(name, margins.get(name).example, classes=1000, each=8, ranks=3)
    compare(head, embedding, label, 3)


@pytest.mark.parametrize("name", ["arcface", "curricularface", "adaface"])
def test_several_centres(name):
    head, embedding, label = case(name, {"margin_s": 8.0}, centres=3, ranks=3)
    compare(head, embedding, label, 3)


def test_other_classes_that_are_left_out():
    head, embedding, label = case("cosface", {"margin_s": 8.0, "margin_m": 0.35}, ranks=2, interclass_filter=0.3)
    compare(head, embedding, label, 2)


def test_the_loss_is_exact_where_the_probability_underflows():
    weight = np.array([[1.0, 0.0], [0.0, 1.0]])

    def rank(group):
        head = Classification(margins.get("cosface")(margin_s=128.0, margin_m=0.35), 2, 2, shard_classes=True)
        head.join(group)
        head.initialize(mx.init.Zero(), [mx.cpu()])
        head.weight.set_data(mx.nd.array(weight[group.rank : group.rank + 1]))
        batch = Batch(None, mx.nd.array([group.rank]), None, None)
        return head.learn([mx.nd.array([[0.0, 1.0]])], batch, 0).figures["loss"][0].asscalar()

    assert run_ranks(2, rank) == pytest.approx([128 * 1.35, 0.0])


@pytest.mark.parametrize("name", ["adaface", "curricularface", "elasticface_arc_plus"])
def test_ranks_with_a_copy_each(name):
    """Without --shard-classes: state, order and draws are those of the joint batch, gradients are parts of its own."""
    head, embedding, label = case(name, {"margin_s": 8.0}, ranks=2)
    whole = head()
    wanted = whole.learn([mx.nd.array(embedding[0])], Batch(None, mx.nd.array(label[0]), None, None), 3)

    def rank(group):
        own = slice(*span(label.shape[1], group.rank, group.size))
        mine = head(group)
        result = mine.learn([mx.nd.array(embedding[0, own])], Batch(None, mx.nd.array(label[0, own]), None, None), 3)
        return result.gradients[0].asnumpy(), mine.weight.grad().asnumpy(), mine.arrays()

    parts = run_ranks(2, rank)
    near(np.concatenate([gradient for gradient, _, _ in parts]), wanted.gradients[0].asnumpy())
    near(sum(gradient for _, gradient, _ in parts), whole.weight.grad().asnumpy())
    for key, [array] in whole.arrays().items():
        near(parts[1][2][key][0].asnumpy(), array.asnumpy())


@pytest.mark.parametrize("divided", [False, True])
def test_a_sample_that_is_not_finite_leaves_the_state_of_all_ranks(divided):
    head, embedding, label = case("curricularface", {"margin_s": 8.0}, ranks=2)
    embedding[1, -1] = np.nan  # of the second rank, in the second step

    def rank(group):
        own, mine, states = slice(*span(label.shape[1], group.rank, group.size)), head(group, shard_classes=divided), []
        for step in range(3):
            batch = Batch(None, mx.nd.array(label[step, own]), None, None)
            mine.learn([mx.nd.array(embedding[step, own])], batch, step)
            states.append(mine.arrays()["margin/t"][0].asscalar())
        return states

    for first, second, third in run_ranks(2, rank):
        assert first == second != 0 and np.isfinite(third) and third != first


@pytest.mark.parametrize("centres", [1, 2])
def test_initial_weights_do_not_depend_on_the_ranks(centres):
    def weights(group):
        head = Classification(margins.get("arcface")(), 2500, 3, centres=centres, shard_classes=True, seed=7)
        head.join(group)
        head.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="out", magnitude=2), [mx.cpu()])
        return head.weight.data().asnumpy()

    alone = run_ranks(1, weights)[0]
    assert alone.std() == pytest.approx((2 / (2500 * centres)) ** 0.5, rel=0.02) and len(np.unique(alone)) > 2400
    for ranks in (2, 3):
        np.testing.assert_array_equal(np.concatenate(run_ranks(ranks, weights)), alone)


def test_shards_say_which_rows_they_are():
    def shards(group):
        head = Classification(margins.get("softmax")(), 10, 3, use_bias=True, shard_classes=True)
        head.join(group)
        return {name: tuple(shard) for name, shard in head.shards().items()}, head._rows.shapes

    first, second, third = run_ranks(3, shards)
    assert first == ({"fc7_weight": (0, 10), "fc7_bias": (0, 10)}, {"fc7_weight": (4, 3), "fc7_bias": (4,)})
    assert second[0] == {"fc7_weight": (4, 10), "fc7_bias": (4, 10)}
    assert third == ({"fc7_weight": (7, 10), "fc7_bias": (7, 10)}, {"fc7_weight": (3, 3), "fc7_bias": (3,)})


@pytest.mark.parametrize("centres", [1, 3])
def test_a_checkpoint_of_all_classes_is_cut(centres):
    weight = np.arange(33, dtype=np.float32).reshape(11, 3)

    def adopted(group):
        head = Classification(margins.get("arcface")(), 11, 3, centres=centres, shard_classes=True)
        head.join(group)
        head.initialize(mx.init.Zero(), [mx.cpu()])
        mine, notes = head.adopt({"fc7_weight": mx.nd.array(weight), "fc1_gamma": mx.nd.ones(1)}, None)
        other, refused = head.adopt({"fc7_weight": mx.nd.ones((4, 3))}, None)  # as many as a rank has
        assert (set(mine), set(other)) == ({"fc7_weight", "fc1_gamma"}, set())
        assert refused[0] == "fc7_weight has 4 rows, of other than the 11 identities here"
        return mine["fc7_weight"].asnumpy(), notes

    parts = run_ranks(3, adopted)
    first = np.concatenate([rows for rows, _ in parts]).reshape(11, centres, 3)[:, 0]
    np.testing.assert_array_equal(first, weight)
    assert [len(notes) for _, notes in parts] == [int(centres > 1)] * 3


def test_refusals():
    def too_few(group):
        Classification(margins.get("arcface")(), 2, 4, shard_classes=True).join(group)

    with pytest.raises(InsightError, match="--shard-classes: 2 identities cannot be divided among 3 ranks"):
        run_ranks(3, too_few)
    head = Classification(margins.get("arcface")(), 9, 4, shard_classes=True)
    with pytest.raises(InsightError, match="--shard-classes: a rank has one device; start a rank for each of the 2"):
        head.initialize(mx.init.Zero(), [mx.cpu(0), mx.cpu(1)])
